//! Which voices of a recording belong to people whose voices the client knows. Pure.
//!
//! Read next: `assignment`, which does the matching.

use super::assignment::matching;
use super::method::Method;
use super::{LearnedVoice, Voice};

/// Gives names to the voices that sound like the known ones. Each name goes to one voice at most, so that the sum of
/// similarities is the largest; a voice that sounds like none of them, and a name that nobody sounds like, stay
/// without. `known` are of the same encoder, their vectors of any length.
pub fn name_voices(voices: &mut [Voice], known: &[LearnedVoice], method: &Method) {
    let unlike = -1.0;
    let similarities: Vec<Vec<f32>> = known
        .iter()
        .map(|known| {
            let to = |voice: &Voice| method.similarity(&known.embedding, &voice.embedding).unwrap_or(unlike);
            voices.iter().map(to).collect()
        })
        .collect();
    for (known, voice) in known.iter().zip(matching(&similarities, method.same_voice())) {
        if let Some(voice) = voice {
            voices[voice].name = Some(known.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::method::tests::plain;

    fn voice(embedding: &[f32]) -> Voice {
        Voice { name: None, embedding: embedding.to_vec() }
    }

    fn known(name: &str, reference: &[f32]) -> LearnedVoice {
        LearnedVoice { name: name.into(), embedding: reference.to_vec() }
    }

    fn names(voices: &[Voice]) -> Vec<Option<&str>> {
        voices.iter().map(|voice| voice.name.as_deref()).collect()
    }

    #[test]
    fn each_name_goes_to_whom_it_fits_and_strangers_stay_strangers() {
        let mut voices =
            [voice(&[1.0, 0.1, 0.0, 0.0]), voice(&[0.0, 0.0, 1.0, 0.0]), voice(&[0.2, 1.0, 0.0, 0.0])];
        let known = [
            known("Bo", &[0.1, 2.0, 0.0, 0.0]),
            known("nobody here", &[0.0, 0.0, 0.0, 1.0]),
            known("Al", &[1.0, 0.0, 0.0, 0.0]),
        ];
        name_voices(&mut voices, &known, &plain());
        assert_eq!(names(&voices), [Some("Al"), None, Some("Bo")]);
    }

    #[test]
    fn one_voice_has_one_name_and_one_name_one_voice() {
        let mut voices = [voice(&[1.0, 0.0, 0.0, 0.0]), voice(&[0.9, 0.1, 0.0, 0.0])];
        name_voices(&mut voices, &[known("Al", &[1.0, 0.0, 0.0, 0.0])], &plain());
        assert_eq!(names(&voices), [Some("Al"), None]);
        let mut one = [voice(&[1.0, 0.0, 0.0, 0.0])];
        let two = [known("far", &[0.9, 0.3, 0.0, 0.0]), known("near", &[1.0, 0.0, 0.0, 0.0])];
        name_voices(&mut one, &two, &plain());
        assert_eq!(names(&one), [Some("near")]);
    }

    #[test]
    fn nothing_known_and_nothing_heard_are_no_error() {
        name_voices(&mut [], &[known("Al", &[1.0, 0.0, 0.0, 0.0])], &plain());
        let mut voices = [voice(&[]), voice(&[f32::NAN; 4])];
        name_voices(&mut voices, &[known("Al", &[1.0, 0.0, 0.0, 0.0])], &plain());
        name_voices(&mut voices, &[], &plain());
        assert_eq!(names(&voices), [None, None]);
    }
}
