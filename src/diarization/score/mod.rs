//! How far a diarization is from the truth. Pure.
//!
//! `rttm` and `uem` read what the field writes, `sweep` measures who speaks together with whom, `mapping` pairs
//! speakers with those of the truth, and `Score` gives the error rates. Conventions are pyannote.metrics' (Bredin
//! 2017): overlapped speech counts once for every speaker, the pairing is the best one over the recording, and no part
//! of the truth is forgiven unless a collar is given. Read next: `Score`, `sweep`.

mod lines;
mod mapping;
pub mod regions;
pub mod rttm;
mod sweep;
pub mod uem;

use std::ops::AddAssign;

use super::Diarization;
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::SpeakerTurn;

pub use lines::FormatError;

/// Most speakers in one recording; a file with more is taken for a mistake.
pub const MAX_SPEAKERS: usize = 1_000;

/// Who speaks when in one recording, as somebody wrote it down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Names by number.
    pub speakers: Vec<String>,
    /// In any order; they may overlap, also those of one speaker, who still speaks only once. None is empty.
    pub turns: Vec<SpeakerTurn>,
}

impl From<&Diarization> for Annotation {
    fn from(diarization: &Diarization) -> Self {
        let heard = diarization.turns.iter().map(|turn| turn.speaker.0 as usize + 1).max().unwrap_or(0);
        let speakers = (0..heard.max(diarization.voices.len())).map(|number| number.to_string()).collect();
        Self { speakers, turns: diarization.turns.clone() }
    }
}

/// Durations of right and wrong speech, of one recording or of several together; in samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Recordings.
    pub recordings: usize,
    /// Speech of the truth, each speaker counted.
    pub speech: SampleIndex,
    /// Speech of the truth that nobody was found for.
    pub missed: SampleIndex,
    /// Speech that was found where the truth has less.
    pub false_alarm: SampleIndex,
    /// Speech that was given to the wrong speaker.
    pub confusion: SampleIndex,
    /// Speakers of the truth.
    pub speakers: usize,
    /// Sum of the Jaccard errors of the truth's speakers, each in [0, 1].
    pub jaccard_errors: f64,
    /// Speakers found beyond or short of those of the truth, summed over recordings.
    pub speakers_off: usize,
    /// The same with its sign: above 0, too many were found.
    pub speakers_bias: i64,
}

impl Score {
    /// Scores one recording inside `evaluated` (disjoint, in order), leaving out `collar` samples on each side of
    /// the start and end of every turn of the truth.
    pub fn of(truth: &Annotation, found: &Annotation, evaluated: &[TimeSpan], collar: SampleIndex) -> Self {
        let counted = regions::without(evaluated, &regions::collars(&truth.turns, collar));
        let sweep = sweep::Sweep::over(truth, found, &counted);
        let pairs = mapping::best(&sweep.together);
        let agreed: SampleIndex = pairs.iter().map(|(one, other)| sweep.together[*one][*other]).sum();
        let heard = |times: &[SampleIndex]| times.iter().filter(|time| **time > 0).count();
        let (speakers, found) = (heard(&sweep.truth), heard(&sweep.found));
        Self {
            recordings: 1,
            speech: sweep.truth.iter().sum(),
            missed: sweep.missed,
            false_alarm: sweep.false_alarm,
            confusion: sweep.paired - agreed,
            speakers,
            jaccard_errors: jaccard_errors(&sweep, &pairs),
            speakers_off: speakers.abs_diff(found),
            speakers_bias: found as i64 - speakers as i64,
        }
    }

    /// Diarization error rate: what is wrong over all speech of the truth, 0 or more. `None` without speech.
    pub fn der(&self) -> Option<f64> {
        self.share(self.missed + self.false_alarm + self.confusion)
    }

    /// `part` over all speech of the truth; `None` without speech.
    pub fn share(&self, part: SampleIndex) -> Option<f64> {
        (self.speech > 0).then(|| part as f64 / self.speech as f64)
    }

    /// Jaccard error rate, in [0, 1]: the mean over the truth's speakers of what they do not share with whom they
    /// are paired with. `None` without speakers. Defined in the second DIHARD challenge's evaluation plan.
    pub fn jer(&self) -> Option<f64> {
        (self.speakers > 0).then(|| self.jaccard_errors / self.speakers as f64)
    }
}

impl AddAssign<&Score> for Score {
    fn add_assign(&mut self, other: &Score) {
        self.recordings += other.recordings;
        self.speech += other.speech;
        self.missed += other.missed;
        self.false_alarm += other.false_alarm;
        self.confusion += other.confusion;
        self.speakers += other.speakers;
        self.jaccard_errors += other.jaccard_errors;
        self.speakers_off += other.speakers_off;
        self.speakers_bias += other.speakers_bias;
    }
}

/// Sum over the truth's speakers; whoever has no partner counts as wholly wrong.
fn jaccard_errors(sweep: &sweep::Sweep, pairs: &[(usize, usize)]) -> f64 {
    let error = |(number, time): (usize, &SampleIndex)| match pairs.iter().find(|pair| pair.0 == number) {
        Some((_, partner)) => {
            let common = sweep.together[number][*partner];
            let either = time + sweep.found[*partner] - common;
            (either - common) as f64 / either as f64
        }
        None => 1.0,
    };
    sweep.truth.iter().enumerate().filter(|(_, time)| **time > 0).map(error).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::seconds_to_samples;
    use crate::transcript::SpeakerId;

    /// Turns as (start, end, speaker), in seconds.
    fn annotation(turns: &[(f64, f64, u32)]) -> Annotation {
        let span = |start, end| TimeSpan::new(seconds_to_samples(start), seconds_to_samples(end));
        let turns: Vec<_> = turns
            .iter()
            .map(|(start, end, speaker)| SpeakerTurn {
                span: span(*start, *end),
                speaker: SpeakerId(*speaker),
            })
            .collect();
        let speakers = turns.iter().map(|turn| turn.speaker.0 + 1).max().unwrap_or(0);
        Annotation { speakers: (0..speakers).map(|number| number.to_string()).collect(), turns }
    }

    fn minute() -> [TimeSpan; 1] {
        [TimeSpan::new(0, seconds_to_samples(60.0))]
    }

    #[test]
    fn the_truth_scores_nothing_under_other_names() {
        let truth = annotation(&[(0.0, 5.0, 0), (4.0, 9.0, 1), (20.0, 21.0, 0)]);
        let found = annotation(&[(0.0, 5.0, 1), (4.0, 9.0, 0), (20.0, 21.0, 1)]);
        let score = Score::of(&truth, &found, &minute(), 0);
        assert_eq!((score.der(), score.jer()), (Some(0.0), Some(0.0)));
        assert_eq!(score.speech, seconds_to_samples(11.0));
    }

    #[test]
    fn each_kind_of_error_counts_in_its_own_place() {
        let truth = annotation(&[(0.0, 10.0, 0), (10.0, 20.0, 1)]);
        // One second missed, two found too much, three of the wrong speaker.
        let found = annotation(&[(1.0, 13.0, 0), (13.0, 22.0, 1)]);
        let score = Score::of(&truth, &found, &minute(), 0);
        let seconds = |seconds| seconds_to_samples(seconds);
        assert_eq!(
            (score.missed, score.false_alarm, score.confusion),
            (seconds(1.0), seconds(2.0), seconds(3.0))
        );
        assert_eq!(score.der(), Some(0.3));
        // First: 9 of 13 s in common, second: 7 of 12 s.
        let jer = (4.0 / 13.0 + 5.0 / 12.0) / 2.0;
        assert!((score.jer().unwrap() - jer).abs() < 1e-12);
    }

    #[test]
    fn a_collar_forgives_small_shifts_of_edges() {
        let truth = annotation(&[(1.0, 5.0, 0), (5.5, 9.0, 1)]);
        let found = annotation(&[(0.8, 5.2, 0), (5.3, 9.2, 1)]);
        assert!(Score::of(&truth, &found, &minute(), 0).der().unwrap() > 0.05);
        let forgiven = Score::of(&truth, &found, &minute(), seconds_to_samples(0.25));
        assert_eq!(forgiven.der(), Some(0.0));
        // Four and three and a half seconds, but for a quarter at each end.
        assert_eq!(forgiven.speech, seconds_to_samples(6.5));
    }

    #[test]
    fn what_lies_outside_the_evaluated_regions_does_not_count() {
        let truth = annotation(&[(0.0, 10.0, 0), (30.0, 40.0, 1)]);
        let found = annotation(&[(0.0, 10.0, 0), (50.0, 60.0, 1)]);
        let score = Score::of(&truth, &found, &[TimeSpan::new(0, seconds_to_samples(20.0))], 0);
        assert_eq!((score.der(), score.speakers, score.speakers_off), (Some(0.0), 1, 0));
    }

    #[test]
    fn a_speaker_who_talks_over_himself_speaks_once() {
        let truth = annotation(&[(0.0, 5.0, 0), (3.0, 8.0, 0)]);
        let found = annotation(&[(0.0, 8.0, 0)]);
        let score = Score::of(&truth, &found, &minute(), 0);
        assert_eq!((score.speech, score.der()), (seconds_to_samples(8.0), Some(0.0)));
    }

    #[test]
    fn without_speech_there_is_no_rate_but_what_was_found_counts_in_the_pool() {
        let nothing = annotation(&[]);
        let found = annotation(&[(0.0, 1.0, 0)]);
        let alone = Score::of(&nothing, &found, &minute(), 0);
        assert_eq!((alone.der(), alone.jer(), alone.speakers_bias), (None, None, 1));
        let mut pool =
            Score::of(&annotation(&[(0.0, 10.0, 0)]), &annotation(&[(0.0, 10.0, 4)]), &minute(), 0);
        pool += &alone;
        assert_eq!((pool.der(), pool.recordings, pool.speakers_off), (Some(0.1), 2, 1));
    }
}
