//! The scores of random recordings are those that pyannote.metrics gives (`make_vectors.py`).

use serde::Deserialize;

use diarist::diarization::score::{Score, regions, rttm, uem};
use diarist::time::{TimeSpan, samples_to_seconds, seconds_to_samples};
use diarist::transcript::SpeakerTurn;

/// Most by which a duration may differ, in seconds, and an error rate, in points.
const SECONDS: f64 = 1e-4;
const POINTS: f64 = 0.01;

#[derive(Deserialize)]
struct Case {
    truth: String,
    found: String,
    uem: Option<String>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    collar: f64,
    speech: f64,
    missed: f64,
    false_alarm: f64,
    confusion: f64,
    speakers: usize,
    jaccard_errors: f64,
}

impl Expected {
    /// As pyannote.metrics divides.
    fn der(&self) -> Option<f64> {
        (self.speech > 0.0).then(|| (self.missed + self.false_alarm + self.confusion) / self.speech)
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn score(case: &Case, collar: f64) -> Score {
    let truth = rttm::read_one(case.truth.as_bytes(), "case").unwrap();
    let found = rttm::read_one(case.found.as_bytes(), "case").unwrap();
    let extent = |turns: &mut dyn Iterator<Item = &SpeakerTurn>| {
        let spans: Vec<_> = turns.map(|turn| turn.span).collect();
        let start = spans.iter().map(|span| span.start).min().unwrap_or(0);
        TimeSpan::new(start, spans.iter().map(|span| span.end).max().unwrap_or(0))
    };
    let evaluated = match &case.uem {
        Some(text) => uem::read(text.as_bytes(), "case").unwrap().unwrap(),
        None => regions::joined(vec![extent(&mut truth.turns.iter().chain(&found.turns))]),
    };
    Score::of(&truth, &found, &evaluated, seconds_to_samples(collar))
}

#[test]
fn every_duration_is_that_of_pyannote_metrics() {
    let mut checked = 0;
    for (number, case) in cases().iter().enumerate() {
        for expected in &case.expected {
            let score = score(case, expected.collar);
            let ours =
                [score.speech, score.missed, score.false_alarm, score.confusion].map(samples_to_seconds);
            let theirs = [expected.speech, expected.missed, expected.false_alarm, expected.confusion];
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() < SECONDS, "case {number}: {score:?}");
            }
            assert_eq!(score.speakers, expected.speakers, "case {number}");
            assert!(
                (score.jaccard_errors - expected.jaccard_errors).abs() < SECONDS,
                "case {number}: {score:?}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 120);
}

#[test]
fn rates_of_one_and_of_all_agree_to_a_hundredth_of_a_point() {
    let cases = cases();
    for place in 0..2 {
        let (mut pool, mut wrong, mut speech) = (Score::default(), 0.0, 0.0);
        let (mut jaccard, mut speakers) = (0.0, 0);
        for case in &cases {
            let expected = &case.expected[place];
            let score = score(case, expected.collar);
            let difference = score.der().zip(expected.der()).map_or(0.0, |(ours, theirs)| ours - theirs);
            assert!(difference.abs() * 100.0 < POINTS && score.der().is_some() == expected.der().is_some());
            pool += &score;
            wrong += expected.missed + expected.false_alarm + expected.confusion;
            speech += expected.speech;
            jaccard += expected.jaccard_errors;
            speakers += expected.speakers;
        }
        assert!((pool.der().unwrap() - wrong / speech).abs() * 100.0 < POINTS);
        assert!((pool.jer().unwrap() - jaccard / speakers as f64).abs() * 100.0 < POINTS);
    }
}
