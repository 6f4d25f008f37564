//! Recordings with hardly anybody in them, and with very many: something sensible, never an error.

use std::path::Path;

use diarist::audio::{AudioSource, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::diarization::score::Annotation;
use diarist::time::{SAMPLE_RATE, TimeSpan, ms_to_samples};

use crate::program::Program;
use crate::recordings;
use crate::support::{diarize, fixture};

/// Who speaks in a recording of these samples.
fn who_speaks(program: &Program, samples: &[i16]) -> Annotation {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.wav");
    let mut writer = recordings::wav_writer(&path);
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    diarize(program, &path, &[])
}

fn sentence(number: usize) -> Vec<i16> {
    recordings::bare_speech(&recordings::sentences()[number]).0
}

fn silence(seconds: f64) -> Vec<i16> {
    vec![0; (seconds * f64::from(SAMPLE_RATE)) as usize]
}

/// All of a recording of the fixtures, in which one voice speaks.
fn samples_of(path: &Path) -> Vec<i16> {
    let source = AudioSource { path: path.to_owned(), name: None };
    let options = recordings::settings().pipeline().audio;
    let spool = decode_to_spool(&source, &options, &CancelToken::new()).unwrap().spool;
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, spool.len()), &mut samples);
    samples.iter().map(|sample| (sample * 32_767.0) as i16).collect()
}

/// The same, `percent` as long: faster is higher, which makes another voice of it.
fn at_speed(samples: &[i16], percent: usize) -> Vec<i16> {
    (0..samples.len() * percent / 100).map(|at| samples[at * 100 / percent]).collect()
}

fn all_turns_lie_within(found: &Annotation, samples: usize) {
    assert!(found.turns.iter().all(|turn| turn.span.end <= samples as u64 + ms_to_samples(10)), "{found:?}");
}

#[test]
fn nobody_speaks_in_silence_or_noise_or_next_to_nothing() {
    let program = Program::start(&[]);
    for seconds in [0.2, 3.0, 25.0] {
        assert_eq!(who_speaks(&program, &silence(seconds)).turns, [], "{seconds} s of silence");
    }
    assert_eq!(who_speaks(&program, &samples_of(&fixture("audio/tone.flac"))).turns, []);
    let found = who_speaks(&program, &samples_of(&fixture("audio/noise.flac")));
    assert!(found.speakers.len() <= 1, "{found:?}");
}

#[test]
fn a_fifth_of_a_second_of_speech_is_no_error() {
    let program = Program::start(&[]);
    let piece = &sentence(0)[8_000..11_200];
    let found = who_speaks(&program, piece);
    assert!(found.speakers.len() <= 1, "{found:?}");
    all_turns_lie_within(&found, piece.len());
}

#[test]
fn one_word_has_one_speaker_where_it_is_said() {
    let program = Program::start(&[]);
    let word = &sentence(1)[..9_600];
    let recording = [&silence(4.0)[..], word, &silence(5.0)].concat();
    let found = who_speaks(&program, &recording);
    assert_eq!(found.speakers.len(), 1, "{found:?}");
    let said = TimeSpan::new(ms_to_samples(4_000), ms_to_samples(4_600)).widened(ms_to_samples(400));
    assert!(found.turns.iter().all(|turn| turn.span == turn.span.clamped(said)), "{found:?}");
}

#[test]
fn one_speaker_stays_one() {
    let program = Program::start(&[]);
    let found = who_speaks(&program, &samples_of(&fixture("audio/hello.flac")));
    assert_eq!(found.speakers.len(), 1, "{found:?}");
}

#[test]
fn thirty_voices_are_many_speakers_and_no_error() {
    let program = Program::start(&[]);
    let mut recording = silence(0.5);
    for voice in 0..30 {
        // Every third sentence is another synthesiser's voice.
        let samples = at_speed(&sentence(voice % 10 * 3), [84, 100, 119][voice / 10]);
        for _ in 0..2 {
            recording.extend(&samples);
            recording.extend(silence(0.4));
        }
    }
    let found = who_speaks(&program, &recording);
    println!("{} speakers for 30 voices", found.speakers.len());
    // To an encoder of real voices, most of the synthesisers' are alike.
    assert!((5..=40).contains(&found.speakers.len()), "{} speakers", found.speakers.len());
    all_turns_lie_within(&found, recording.len());
    // Neighbours who sound alike become one turn.
    assert!(found.turns.len() >= 10, "{} turns", found.turns.len());
}
