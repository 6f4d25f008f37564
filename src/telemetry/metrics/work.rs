//! What the pipeline counts, while it works: sound, stages, chunks, what the checks found.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::time::{SampleIndex, samples_to_seconds};

use super::{CounterBy, Seconds, counters};

type HistogramBy = Family<[(&'static str, String); 1], Histogram, fn() -> Histogram>;
type SecondsBy = Family<[(&'static str, &'static str); 1], Seconds>;

/// Counters of work. By default they count for nobody.
#[derive(Clone, Debug)]
pub struct WorkMetrics {
    transcriptions: CounterBy,
    audio_received: Seconds,
    audio_done: Seconds,
    speech: Seconds,
    stages: SecondsBy,
    real_time_factors: HistogramBy,
    chunks: Counter,
    redecoded: Counter,
    failed: Counter,
    dropped: CounterBy,
    gaps: Counter,
    uncovered: Seconds,
    separated: Seconds,
}

impl Default for WorkMetrics {
    fn default() -> Self {
        let stages = SecondsBy::default();
        for stage in ["decode", "separation", "vad", "language", "asr", "diarization", "merge"] {
            drop(stages.get_or_create(&[("stage", stage)]));
        }
        Self {
            transcriptions: counters("outcome", &["ok", "cancelled", "internal"]),
            audio_received: Seconds::default(),
            audio_done: Seconds::default(),
            speech: Seconds::default(),
            stages,
            real_time_factors: Family::new_with_constructor(factors),
            chunks: Counter::default(),
            redecoded: Counter::default(),
            failed: Counter::default(),
            dropped: counters("reason", &["loop", "rate", "silence", "prompt"]),
            gaps: Counter::default(),
            uncovered: Seconds::default(),
            separated: Seconds::default(),
        }
    }
}

/// From a hundred times as fast as the sound to ten times as slow.
fn factors() -> Histogram {
    Histogram::new([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0])
}

impl WorkMetrics {
    /// Counters that `registry` shows.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register(
            "transcriptions",
            "Recordings worked on, by how that ended",
            new.transcriptions.clone(),
        );
        registry.register_with_unit(
            "audio_received",
            "Sound that was decoded",
            Unit::Seconds,
            new.audio_received.clone(),
        );
        registry.register_with_unit(
            "audio_done",
            "Sound that was transcribed, silence included",
            Unit::Seconds,
            new.audio_done.clone(),
        );
        registry.register_with_unit(
            "speech",
            "Speech in it, where coverage is on",
            Unit::Seconds,
            new.speech.clone(),
        );
        registry.register_with_unit(
            "stage",
            "Wall time of the stages; asr is the wait for the engine, decode, separation and diarization run beside the others",
            Unit::Seconds,
            new.stages.clone(),
        );
        registry.register(
            "real_time_factor",
            "Wall time of a finished recording over its length, without the wait for a place; below 1 is faster",
            new.real_time_factors.clone(),
        );
        registry.register("chunks", "Chunks whose text was settled", new.chunks.clone());
        registry.register("chunks_redecoded", "Chunks heard more than once", new.redecoded.clone());
        registry.register(
            "chunks_failed",
            "Chunks without text because the engine failed",
            new.failed.clone(),
        );
        registry.register(
            "passages_dropped",
            "Passages that nobody said and that were left out, by reason",
            new.dropped.clone(),
        );
        registry.register("coverage_gaps", "Stretches of speech without text", new.gaps.clone());
        registry.register_with_unit(
            "uncovered_speech",
            "Speech without text",
            Unit::Seconds,
            new.uncovered.clone(),
        );
        registry.register_with_unit(
            "audio_separated",
            "Sound whose voice was separated from what plays under it",
            Unit::Seconds,
            new.separated.clone(),
        );
        new
    }

    /// A recording is through, or has failed with an error of this kind.
    pub fn ended(&self, outcome: &'static str) {
        self.transcriptions.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A recording of `length` samples was transcribed with `model` in `took`.
    pub fn transcribed(&self, model: &str, length: SampleIndex, took: Duration) {
        if length > 0 {
            let factor = took.as_secs_f64() / samples_to_seconds(length);
            self.real_time_factors.get_or_create(&[("model", model.to_owned())]).observe(factor);
        }
    }

    /// So many samples were decoded.
    pub fn received(&self, samples: SampleIndex) {
        self.audio_received.inc_by(samples_to_seconds(samples));
    }

    /// So many more samples have their text.
    pub fn done(&self, samples: SampleIndex) {
        self.audio_done.inc_by(samples_to_seconds(samples));
    }

    /// The voice of so many samples was separated.
    pub fn separated(&self, samples: SampleIndex) {
        self.separated.inc_by(samples_to_seconds(samples));
    }

    /// A stage has worked so long.
    pub fn stage(&self, name: &'static str, took: Duration) {
        self.stages.get_or_create(&[("stage", name)]).inc_by(took.as_secs_f64());
    }

    /// A chunk has its text, in the end.
    pub fn chunk(&self, heard_again: bool, speech: SampleIndex) {
        self.chunks.inc();
        self.redecoded.inc_by(u64::from(heard_again));
        self.speech.inc_by(samples_to_seconds(speech));
    }

    /// A chunk has none, because the engine failed.
    pub fn chunk_failed(&self) {
        self.failed.inc();
    }

    /// A passage was left out.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&[("reason", reason)]).inc();
    }

    /// A stretch of speech of so many samples has no text.
    pub fn gap(&self, samples: SampleIndex) {
        self.gaps.inc();
        self.uncovered.inc_by(samples_to_seconds(samples));
    }
}
