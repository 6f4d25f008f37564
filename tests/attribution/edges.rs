//! What is rare, empty or broken: sensible answers, never a panic.

use diarist::diarization::SpeakerLimits;
use diarist::diarization::activity::{Activity, SpeakerSet};
use diarist::diarization::attribution::{Attributed, WindowNumbers};
use diarist::diarization::grid::{FRAMES, Grid, WINDOW};

use crate::conversation::{Chance, Conversation, decide, options};

const STEP: u64 = 40_000;

fn window(set: SpeakerSet, embeddings: [Option<Vec<f32>>; 3]) -> WindowNumbers {
    WindowNumbers {
        activity: Activity::of(&[set; FRAMES]),
        embeddings: embeddings.map(|embedding| embedding.map(Vec::into_boxed_slice)),
    }
}

fn of(windows: &[WindowNumbers]) -> Attributed {
    let grid = Grid { step: STEP, length: WINDOW + (windows.len().max(1) as u64 - 1) * STEP };
    decide(windows, grid, &options(STEP))
}

fn axis(axis: usize) -> Option<Vec<f32>> {
    Some((0..256).map(|i| if i == axis { 1.0 } else { 0.01 }).collect())
}

#[test]
fn silence_has_no_speakers() {
    for windows in [vec![], vec![WindowNumbers::default(); 9], vec![window(0, [axis(1), None, None]); 9]] {
        let found = of(&windows);
        assert!(found.turns.is_empty() && found.exclusive.is_empty() && found.voices.is_empty());
    }
}

#[test]
fn one_window_and_two_have_their_speakers() {
    let alone = of(&[window(1, [axis(0), None, None])]);
    assert_eq!((alone.turns.len(), alone.voices.len()), (1, 1));
    assert_eq!(alone.turns[0].span.start, 495);
    assert_eq!(alone.turns[0].span.end, 495 + FRAMES as u64 * 270);
    let apart = of(&[window(1, [axis(0), None, None]), window(1, [axis(9), None, None])]);
    assert_eq!(apart.voices.len(), 2);
}

#[test]
fn whoever_is_there_all_the_time_is_one_speaker() {
    let mut chance = Chance(1);
    let alone = Conversation::told(vec![(0, 120 * 16_000, 0)], 120 * 16_000, 1, &mut chance);
    let windows: Vec<WindowNumbers> = alone.windows(STEP, &mut chance).collect();
    let found = decide(&windows, alone.grid(STEP), &options(STEP));
    assert_eq!((found.turns.len(), found.exclusive.len(), found.voices.len()), (1, 1, 1));
    assert!((found.voices[0].embedding.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
}

#[test]
fn three_who_never_stop_are_three_turns() {
    let found = of(&vec![window(0b111, [axis(0), axis(1), axis(2)]); 20]);
    assert_eq!((found.turns.len(), found.exclusive.len(), found.voices.len()), (3, 1, 3));
}

#[test]
fn speech_without_a_voice_is_not_lost() {
    for embedding in [None, Some(vec![f32::NAN; 256]), Some(vec![0.0; 256]), Some(vec![1.0; 3])] {
        let found = of(&vec![window(1, [embedding, None, None]); 5]);
        assert_eq!((found.turns.len(), found.voices.len()), (1, 1));
        assert!(found.voices[0].embedding.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn equal_voices_are_one_speaker_even_where_two_are_asked_for() {
    let windows = vec![window(1, [axis(3), None, None]); 30];
    assert_eq!(of(&windows).voices.len(), 1);
    let grid = Grid { step: STEP, length: WINDOW + 29 * STEP };
    let asked = decide(
        &windows,
        grid,
        &diarist::diarization::DiarizationOptions { limits: SpeakerLimits::exactly(2), ..options(STEP) },
    );
    assert_eq!(asked.voices.len(), 1);
}

#[test]
fn thirty_voices_are_told_apart() {
    let mut chance = Chance(30);
    let many = Conversation::of(30, 1_800, &mut chance);
    let windows: Vec<WindowNumbers> = many.windows(STEP, &mut chance).collect();
    let found = decide(&windows, many.grid(STEP), &options(STEP));
    assert_eq!(found.voices.len(), 30);
    assert!(many.error(&found) < 0.03, "{}", many.error(&found));
}

#[test]
fn the_count_that_is_asked_for_is_the_count_that_is_given() {
    let mut chance = Chance(5);
    let five = Conversation::of(5, 300, &mut chance);
    let windows: Vec<WindowNumbers> = five.windows(STEP, &mut chance).collect();
    let count = |limits| {
        let options = diarist::diarization::DiarizationOptions { limits, ..options(STEP) };
        decide(&windows, five.grid(STEP), &options).voices.len()
    };
    assert_eq!(count(SpeakerLimits::default()), 5);
    for exactly in 1..=5 {
        assert_eq!(count(SpeakerLimits::exactly(exactly)), exactly);
    }
    // A sixth is looked for; whether most windows agree on it is up to the recording.
    assert!((5..=6).contains(&count(SpeakerLimits::exactly(6))));
    assert_eq!(count(SpeakerLimits { min: Some(2), max: Some(3) }), 3);
    assert_eq!(count(SpeakerLimits { min: Some(1), max: Some(9) }), 5);
}
