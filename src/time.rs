//! The clock of a recording: integer sample indices at 16 kHz.
//!
//! Every stage speaks this clock; seconds and `HH:MM:SS,mmm` exist only in `output`.
//! Knows nothing of audio files, models or requests. Read next: `transcript`.

use serde::{Deserialize, Serialize};

/// Rate of the clock and of everything the models hear, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;

/// A position or a length on the 16 kHz clock of the source recording.
pub type SampleIndex = u64;

/// Converts milliseconds to samples.
pub const fn ms_to_samples(ms: u64) -> SampleIndex {
    ms * SAMPLE_RATE as u64 / 1000
}

/// Converts seconds to samples; negative and non-finite values give 0.
pub fn seconds_to_samples(seconds: f64) -> SampleIndex {
    (seconds * f64::from(SAMPLE_RATE)).round() as SampleIndex
}

/// Converts samples to seconds.
pub fn samples_to_seconds(samples: SampleIndex) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}

/// A half-open span `[start, end)` of the recording, `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TimeSpan {
    /// First sample.
    pub start: SampleIndex,
    /// One past the last sample.
    pub end: SampleIndex,
}

impl TimeSpan {
    /// A span; an `end` before `start` gives an empty span at `start`.
    pub fn new(start: SampleIndex, end: SampleIndex) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Length in samples.
    pub fn len(&self) -> SampleIndex {
        self.end - self.start
    }

    /// Whether the span holds no sample.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// The sample in the middle.
    pub fn midpoint(&self) -> SampleIndex {
        self.start + self.len() / 2
    }

    /// Whether `at` lies within the span.
    pub fn contains(&self, at: SampleIndex) -> bool {
        self.start <= at && at < self.end
    }

    /// The span moved later by `offset` samples.
    pub fn shifted(&self, offset: SampleIndex) -> Self {
        Self { start: self.start + offset, end: self.end + offset }
    }

    /// The length of what both spans hold, in samples.
    pub fn common(&self, other: TimeSpan) -> SampleIndex {
        self.end.min(other.end).saturating_sub(self.start.max(other.start))
    }

    /// The span grown by `margin` at both ends, not before 0.
    pub fn widened(&self, margin: SampleIndex) -> Self {
        Self { start: self.start.saturating_sub(margin), end: self.end.saturating_add(margin) }
    }

    /// The part inside `bounds`; empty (at the nearer edge) where they do not meet.
    pub fn clamped(&self, bounds: TimeSpan) -> Self {
        let start = self.start.clamp(bounds.start, bounds.end);
        Self { start, end: self.end.clamp(start, bounds.end) }
    }
}

/// A stretch in which somebody speaks.
///
/// Lists of regions are sorted and disjoint, and no region is empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeechRegion {
    /// Where it lies.
    pub span: TimeSpan,
    /// Mean speech probability over the region, in [0, 1].
    pub confidence: f32,
    /// Whether speech goes on after it: the region had grown too long and was cut at its weakest moment.
    pub continues: bool,
}

/// A stretch to be fed to the recogniser in one piece; the middle of long pauses may be left out on the way
/// (`vad::Condensed`).
///
/// `owned` lies inside `span`. The `owned` spans of a recording are disjoint and ordered; where two
/// chunks overlap in `span`, the words of the overlap are heard twice and `asr::stitch` merges them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where what the model hears begins and ends.
    pub span: TimeSpan,
    /// What this chunk answers for.
    pub owned: TimeSpan,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_samples_convert_both_ways() {
        assert_eq!(seconds_to_samples(1.5), 24_000);
        assert_eq!(seconds_to_samples(-1.0), 0);
        assert_eq!(ms_to_samples(30), 480);
        assert_eq!(samples_to_seconds(8_000), 0.5);
    }

    #[test]
    fn clamping_a_span_outside_its_bounds_gives_an_empty_span() {
        let bounds = TimeSpan::new(10, 20);
        assert!(TimeSpan::new(25, 30).clamped(bounds).is_empty());
        assert_eq!(TimeSpan::new(5, 15).clamped(bounds), TimeSpan::new(10, 15));
    }
}
