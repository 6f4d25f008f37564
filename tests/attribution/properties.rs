//! What holds for every conversation.

use diarist::diarization::activity::{Activity, SpeakerSet, members};
use diarist::diarization::attribution::{Attributed, WindowNumbers};
use diarist::diarization::{DiarizationOptions, SpeakerLimits};
use diarist::transcript::SpeakerTurn;
use proptest::prelude::*;

use crate::conversation::{Chance, Conversation, decide, options};

const STEP: u64 = 40_000;

fn windows(speakers: usize, seconds: u64, seed: u64) -> (Conversation, Vec<WindowNumbers>) {
    let mut chance = Chance(seed);
    let conversation = Conversation::of(speakers, seconds, &mut chance);
    let windows = conversation.windows(STEP, &mut chance).collect();
    (conversation, windows)
}

/// The same window with its local speakers in another order.
fn turned(window: &WindowNumbers, by: usize) -> WindowNumbers {
    let place = |local: usize| (local + by) % 3;
    let sets: Vec<SpeakerSet> = window
        .activity
        .frames()
        .map(|set| members(set).map(|local| 1 << place(local)).sum::<SpeakerSet>())
        .collect();
    let mut embeddings = [None, None, None];
    for (local, embedding) in window.embeddings.iter().enumerate() {
        embeddings[place(local)] = embedding.clone();
    }
    WindowNumbers { activity: Activity::of(&sets), embeddings }
}

fn ordered(turns: &[SpeakerTurn]) -> bool {
    turns.windows(2).all(|pair| pair[0].span.start <= pair[1].span.start)
}

fn check(found: &Attributed, length: u64, limits: SpeakerLimits) -> Result<(), TestCaseError> {
    for turns in [&found.turns, &found.exclusive] {
        prop_assert!(ordered(turns));
        for turn in turns {
            prop_assert!(turn.span.start < turn.span.end && turn.span.end <= length, "{turn:?}");
            prop_assert!((turn.speaker.0 as usize) < found.voices.len());
        }
        for speaker in 0..found.voices.len() as u32 {
            let own: Vec<&SpeakerTurn> = turns.iter().filter(|turn| turn.speaker.0 == speaker).collect();
            prop_assert!(own.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start));
        }
    }
    prop_assert!(found.exclusive.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start));
    let mut seen = 0;
    for turn in &found.turns {
        prop_assert!(turn.speaker.0 <= seen, "numbered by first appearance");
        seen = seen.max(turn.speaker.0 + 1);
    }
    prop_assert_eq!(seen as usize, found.voices.len());
    prop_assert!(limits.max.is_none_or(|max| found.voices.len() <= max));
    prop_assert!(found.voices.iter().all(|voice| voice.embedding.iter().all(|x| x.is_finite())));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_local_speakers_makes_no_difference(speakers in 1usize..6, seed in 0u64..1_000, turns in any::<u64>()) {
        let (conversation, windows) = windows(speakers, 90, seed);
        let other: Vec<WindowNumbers> =
            windows.iter().enumerate().map(|(i, window)| turned(window, (turns >> (2 * (i % 32)) & 3) as usize % 3)).collect();
        let a = decide(&windows, conversation.grid(STEP), &options(STEP));
        let b = decide(&other, conversation.grid(STEP), &options(STEP));
        prop_assert_eq!(a.voices.len(), b.voices.len());
        prop_assert_eq!(a.turns, b.turns);
        prop_assert_eq!(a.exclusive, b.exclusive);
    }

    #[test]
    fn turns_are_in_order_and_exclusive_ones_disjoint(
        speakers in 1usize..8, seconds in 1u64..120, seed in 0u64..1_000,
        min in 1usize..5, more in 0usize..5, limited in any::<bool>(),
        min_on in 0u64..8_000, min_off in 0u64..16_000, broken in any::<u64>(),
    ) {
        let (conversation, mut windows) = windows(speakers, seconds, seed);
        for (i, window) in windows.iter_mut().enumerate() {
            let embedding = &mut window.embeddings[i % 3];
            match broken >> (3 * (i % 21)) & 7 {
                0 => *embedding = None,
                1 => *embedding = Some(vec![f32::NAN; 256].into()),
                2 => *embedding = Some(vec![0.0; 256].into()),
                3 => *embedding = Some(vec![f32::MAX; 256].into()),
                _ => {}
            }
        }
        let limits = if limited { SpeakerLimits { min: Some(min), max: Some(min + more) } } else { SpeakerLimits::default() };
        let options = DiarizationOptions { limits, min_on, min_off, ..options(STEP) };
        check(&decide(&windows, conversation.grid(STEP), &options), conversation.length, limits)?;
    }
}
