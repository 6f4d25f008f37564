//! The scenes of the fixtures: the right words to the right speakers, and turns near the truth.

use diarist::diarization::score::{Score, rttm, uem};
use diarist::time::ms_to_samples;

use crate::program::Program;
use crate::support::{diarize, fixture, truth, words};
use crate::words::{Attribution, attribution};

/// Scenes of several voices in turn, and such in which they overlap.
const IN_TURN: [&str; 6] = ["two-voices", "four-voices", "five-voices", "noise", "telephone", "music"];
const OVERLAPPING: [&str; 2] = ["three-voices-overlapping", "five-voices-overlapping"];

/// Most words, of those heard right, that may be given to the wrong speaker, in percent: in turn, and overlapping.
const WRONG_IN_TURN: f64 = 3.0;
const WRONG_OVERLAPPING: f64 = 8.0;

/// Words that must be heard right for the share to mean anything, in percent: one of two voices at once is lost.
const HEARD_IN_TURN: f64 = 80.0;
const HEARD_OVERLAPPING: f64 = 50.0;

/// The scenes' words together.
fn heard(scenes: &[&str]) -> Attribution {
    let program = Program::start(&[]);
    let mut sum = Attribution::default();
    for scene in scenes {
        let said = words(&program, &fixture(&format!("audio/scenes/{scene}.flac")));
        let result = attribution(&truth(scene), &said);
        println!("{scene}: {result:?}, {:.1} % to the wrong speaker", result.error());
        sum += result;
    }
    sum
}

#[test]
fn words_of_voices_in_turn_go_to_their_speakers() {
    let result = heard(&IN_TURN);
    assert!(result.heard_share() >= HEARD_IN_TURN, "{result:?}");
    assert!(result.error() <= WRONG_IN_TURN, "{result:?}");
}

#[test]
fn words_of_overlapping_voices_go_to_their_speakers() {
    let result = heard(&OVERLAPPING);
    assert!(result.heard_share() >= HEARD_OVERLAPPING, "{result:?}");
    assert!(result.error() <= WRONG_OVERLAPPING, "{result:?}");
}

#[test]
fn turns_lie_near_the_truth_in_every_scene() {
    let program = Program::start(&[]);
    let mut pool = Score::default();
    for scene in [&IN_TURN[..], &OVERLAPPING, &["long-pauses"]].concat() {
        let read =
            |ending: &str| std::fs::read(fixture(&format!("expected/scenes/{scene}.{ending}"))).unwrap();
        let found = diarize(&program, &fixture(&format!("audio/scenes/{scene}.flac")), &[]);
        let everything = uem::read(b"scene 1 0 3600", scene).unwrap().unwrap();
        let score = Score::of(
            &rttm::read_one(&read("rttm"), scene).unwrap(),
            &found,
            &everything,
            ms_to_samples(250),
        );
        println!("{scene}: {score:?}");
        pool += &score;
    }
    // Synthetic voices are not what the networks were made for.
    assert!(pool.der().unwrap() < 0.25, "{pool:?}");
}
