//! An hour of silence, noise and music with twenty spoken sentences: exactly these sentences.

use std::path::Path;

use diarist::pipeline::{Chunking, Request, VadOptions};
use diarist::time::{SAMPLE_RATE, samples_to_seconds};
use diarist::transcript::{DropReason, Transcript};

use crate::scenes::{Random, Scene};
use crate::support::{Spoken, assert_spoken, bare_speech, request, run, sentences, transcribe, wav_writer};

/// Sentences in the recording.
const SENTENCES: usize = 20;

/// Length of one scene, in seconds; there are sixty of them.
const SCENE_SECONDS: usize = 60;

/// Samples between 0 and full scale.
const FULL_SCALE: f32 = 32_767.0;

/// Writes the recording; gives what is spoken where.
fn an_hour_of_scenes(path: &Path) -> Vec<Spoken> {
    let mut writer = wav_writer(path);
    let speech: Vec<_> = sentences().iter().map(bare_speech).collect();
    let length = SCENE_SECONDS * SAMPLE_RATE as usize;
    let mut truth = Vec::new();
    for index in 0..60 {
        let scene = Scene::ALL[index % Scene::ALL.len()];
        // From a whisper of noise to a loud party.
        let level = [0.02, 0.05, 0.1, 0.15, 0.005, 0.25][index / Scene::ALL.len()];
        let mut samples = scene.render(length, level, index as u64);
        if index % 3 == 1 {
            let (sentence, text) = &speech[index % speech.len()];
            let at = SAMPLE_RATE as usize * (10 + Random::new(index as u64).below(35));
            let clear = index % 2 == 1;
            mix(&mut samples, at, sentence, clear);
            let start = (index * length + at) as u64;
            truth.push(Spoken {
                text: text.clone(),
                start: samples_to_seconds(start),
                end: samples_to_seconds(start + sentence.len() as u64),
            });
        }
        for sample in samples {
            writer.write_sample((sample * FULL_SCALE) as i16).unwrap();
        }
    }
    writer.finalize().unwrap();
    assert_eq!(truth.len(), SENTENCES);
    truth
}

/// Puts speech into a scene: two seconds around it are silent (`clear`), or the scene goes on faintly under it.
fn mix(samples: &mut [f32], at: usize, speech: &[i16], clear: bool) {
    let margin = 2 * SAMPLE_RATE as usize;
    let around = &mut samples[at - margin..at + speech.len() + margin];
    let power = around.iter().map(|s| s * s).sum::<f32>() / around.len() as f32;
    let bed = if clear { 0.0 } else { (0.002 / power.sqrt().max(1e-6)).min(1.0) };
    around.iter_mut().for_each(|sample| *sample *= bed);
    for (sample, spoken) in samples[at..].iter_mut().zip(speech) {
        *sample = (*sample + f32::from(*spoken) / FULL_SCALE).clamp(-1.0, 1.0);
    }
}

/// The hour as `request` has it heard, beside what was spoken.
fn heard(change: impl Fn(Request) -> Request) -> (Transcript, Vec<Spoken>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenes.wav");
    let truth = an_hour_of_scenes(&path);
    (run(&change(request(&path))).unwrap().transcript, truth)
}

#[test]
fn an_hour_of_silence_noise_and_music_holds_exactly_the_sentences_spoken() {
    let (transcript, truth) = heard(|request| request);
    assert_spoken(&transcript, &truth, 0.3);
    assert_eq!(transcript.dropped, []);
    let coverage = transcript.coverage.unwrap();
    assert_eq!(coverage.uncovered, [], "what is no speech was not taken for any");
    // After loud wind the detector misses the beginning of a sentence; a second hearing has it whole.
    assert!(coverage.redecoded_chunks >= 1);
}

#[test]
fn sounds_taken_for_speech_give_no_text() {
    // So low a threshold takes drums and clicks for speech.
    let vad = VadOptions { threshold: 0.02, neg_threshold: 0.01, ..VadOptions::default() };
    let hair_trigger = |request| Request { chunking: Chunking::Vad(vad), ..request };
    let (guarded, truth) = heard(hair_trigger);
    let texts = |transcript: &Transcript| -> Vec<String> {
        transcript.segments.iter().map(|segment| segment.unwrap().text.trim().to_owned()).collect()
    };
    let spoken: Vec<_> = truth.iter().map(|sentence| sentence.text.clone()).collect();
    assert_eq!(texts(&guarded), spoken);
    assert!(!guarded.dropped.is_empty());
    assert!(
        guarded.dropped.iter().all(|dropped| dropped.reason == DropReason::Silence),
        "{:?}",
        guarded.dropped
    );
    assert!(guarded.warnings.iter().any(|warning| warning.code == "text_dropped"));

    let (unguarded, _) =
        heard(|request| Request { guard: Some(false), coverage: Some(false), ..hair_trigger(request) });
    assert_eq!((&unguarded.dropped[..], &unguarded.coverage), (&[][..], &None));
    assert!(texts(&unguarded).len() > spoken.len(), "without the guard its text would be there");
}

#[test]
fn ten_minutes_of_each_sound_at_three_levels_give_no_text() {
    const SECONDS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.wav");
    for scene in Scene::ALL {
        let mut writer = wav_writer(&path);
        for (seed, level) in [0.1, 0.02, 0.003].into_iter().enumerate() {
            for sample in scene.render(SECONDS * SAMPLE_RATE as usize, level, seed as u64) {
                writer.write_sample((sample.clamp(-1.0, 1.0) * FULL_SCALE) as i16).unwrap();
            }
        }
        writer.finalize().unwrap();
        assert_eq!(transcribe(&path).text(), "", "{scene:?}");
    }
}
