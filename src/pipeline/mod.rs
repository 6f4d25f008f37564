//! The whole story of one request: file in, transcript out.
//!
//! `plan` decides everything before any work, `scan` finds speech and cuts it into chunks as it is asked,
//! `recognise` sends chunks through the engine and puts their text in order, `review` and `coverage` decide what
//! is heard again and what is left out, `findings` gathers that, `control` carries cancel,
//! progress and finished segments. Blocking; called from a pipeline thread, never from an async one.

pub mod control;
mod coverage;
pub mod error;
mod findings;
pub mod plan;
mod recognise;
mod review;
mod scan;

pub use control::{Control, Event, Stage};
pub use error::PipelineError;
pub use plan::{Chunking, PipelineOptions, Request};
pub use review::ReviewChecks;

/// Parts of a request, for the rooms above.
pub use crate::asr::engine::Priority;
pub use crate::vad::VadOptions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::asr::engine::EnginePool;
use crate::audio::AudioError;
use crate::audio::decoding::{Decoding, Done};
use crate::error::ErrorKind;
use crate::models::manager::{Lease, ModelManager};
use crate::telemetry::metrics::WorkMetrics;
use crate::time::{SampleIndex, ms_to_samples};
use crate::transcript::Transcript;
use crate::vad::{VadError, VoiceActivityDetector};
use plan::Plan;
use recognise::Recording;

/// How much is decoded before a recording counts as sound, or all of a shorter one. What is no audio, or of a kind
/// that nobody can decode, has shown itself by then.
const SOUND_AFTER: SampleIndex = ms_to_samples(5_000);

/// A finished request.
#[derive(Debug)]
pub struct Outcome {
    /// What was said.
    pub transcript: Transcript,
    /// Wall time of each stage that ran, in order, for logs and the `Server-Timing` header. Decoding goes on
    /// beside the others, so they add up to more than the whole.
    pub timings: Vec<(Stage, Duration)>,
}

/// Makes a voice activity detector.
pub type VadFactory = Box<dyn Fn() -> Result<Box<dyn VoiceActivityDetector>, VadError> + Send + Sync>;

/// Everything a request needs, built once by `server` and shared.
pub struct Pipeline {
    options: PipelineOptions,
    models: Arc<ModelManager<EnginePool>>,
    vad_factory: VadFactory,
    idle_vads: Mutex<Vec<Box<dyn VoiceActivityDetector>>>,
    metrics: WorkMetrics,
}

impl Pipeline {
    /// A pipeline over `models`; detectors are made by `vad_factory` as they are needed and kept.
    pub fn new(
        options: PipelineOptions,
        models: Arc<ModelManager<EnginePool>>,
        vad_factory: VadFactory,
    ) -> Self {
        let metrics = WorkMetrics::default();
        Self { options, models, vad_factory, idle_vads: Mutex::default(), metrics }
    }

    /// The same, counting what it does.
    pub fn counted(self, metrics: WorkMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Runs one request to its end. Blocking.
    ///
    /// # Errors
    /// Before `Event::Accepted` for what is wrong with the request or the file; afterwards for what goes wrong
    /// with the machine, and for limits and damage that decoding meets late.
    pub fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError> {
        let mut ending = Ending { metrics: &self.metrics, outcome: ErrorKind::Internal.name() };
        let result = self.work(request, control);
        ending.outcome = result.as_ref().map_or_else(|error| error.kind().name(), |_| "ok");
        result
    }

    fn work(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError> {
        let engine = self.lease(request)?;
        let (mut clock, start) = (StageClock::new(self.metrics.clone()), Instant::now());
        let plan = Plan::new(request, &self.options, &engine)?;

        let audio = self.options.audio.clone();
        let decoding = Decoding::start(request.source.clone(), audio, &control.cancel)?;
        let mut vad = self.vad()?;
        let spool = Arc::clone(decoding.spool());
        let recording = Recording { spool: &spool, vad: vad.as_mut() };
        let heard = hear(&plan, &engine, recording, control, &mut clock);
        if heard.is_err() {
            decoding.stop();
        }
        let outcome = first_cause(heard, decoding.finish());
        self.metrics.received(spool.len());
        if let Some(error) = spool.take_failure() {
            return Err(error.into());
        }
        let (mut transcript, done) = outcome?;
        self.give_back(vad);
        if control.cancel.is_cancelled() {
            return Err(AudioError::Cancelled.into());
        }
        clock.put_first(Stage::Decode, done.took);
        self.metrics.transcribed(&engine.spec().id, transcript.duration, start.elapsed());
        transcript.warnings.splice(0..0, plan.warnings.into_iter().chain(done.decoded.warnings));
        Ok(Outcome { transcript, timings: clock.timings })
    }

    /// Makes sure a voice activity detector can be had, and keeps it for the first request.
    ///
    /// # Errors
    /// What the factory gives.
    pub fn warm_up(&self) -> Result<(), PipelineError> {
        let vad = self.vad()?;
        self.give_back(vad);
        Ok(())
    }

    fn lease(&self, request: &Request) -> Result<Lease<EnginePool>, PipelineError> {
        Ok(self.models.lease(&request.model)?)
    }

    fn vad(&self) -> Result<Box<dyn VoiceActivityDetector>, VadError> {
        let idle = self.idle_vads.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| (self.vad_factory)(), Ok)
    }

    /// Keeps a detector for the next request; after an error it is dropped instead.
    fn give_back(&self, mut vad: Box<dyn VoiceActivityDetector>) {
        vad.reset();
        self.idle_vads.lock().unwrap_or_else(PoisonError::into_inner).push(vad);
    }
}

/// Counts how a request ended when it is dropped, which a panic does too.
struct Ending<'a> {
    metrics: &'a WorkMetrics,
    outcome: &'static str,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.metrics.ended(self.outcome);
    }
}

/// Recognises the recording while it is being decoded.
fn hear(
    plan: &Plan,
    engine: &EnginePool,
    recording: Recording<'_>,
    control: &Control,
    clock: &mut StageClock,
) -> Result<Transcript, PipelineError> {
    recording.spool.wait_for(SOUND_AFTER)?;
    control.emit(Event::Accepted);
    recognise::recognise(plan, engine, recording, control, clock)
}

/// Both results, or the error that came first: a recording that cannot be decoded further interrupts its
/// readers, and a stage that fails stops the decoding; each then ends as cancelled, which says nothing.
fn first_cause<T>(
    heard: Result<T, PipelineError>,
    decoded: Result<Done, AudioError>,
) -> Result<(T, Done), PipelineError> {
    match (heard, decoded) {
        (Ok(heard), Ok(decoded)) => Ok((heard, decoded)),
        (Err(error), Ok(_) | Err(AudioError::Cancelled)) => Err(error),
        (_, Err(error)) => Err(error.into()),
    }
}

/// Adds up the wall time of each stage, in order of first use, and counts it for everybody.
pub(crate) struct StageClock {
    timings: Vec<(Stage, Duration)>,
    /// One span for each stage, entered again and again.
    spans: Vec<(Stage, tracing::Span)>,
    metrics: WorkMetrics,
}

impl StageClock {
    fn new(metrics: WorkMetrics) -> Self {
        Self { timings: Vec::new(), spans: Vec::new(), metrics }
    }

    /// Notes a stage that kept its own time, before all others.
    fn put_first(&mut self, stage: Stage, took: Duration) {
        self.metrics.stage(stage.name(), took);
        self.timings.insert(0, (stage, took));
    }

    fn time<R>(&mut self, stage: Stage, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = self.span(stage).in_scope(work);
        let spent = start.elapsed();
        self.metrics.stage(stage.name(), spent);
        match self.timings.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, total)) => *total += spent,
            None => self.timings.push((stage, spent)),
        }
        result
    }

    /// From the first use of a stage to the end of the request; traces tell how much of that it was at work.
    fn span(&mut self, stage: Stage) -> tracing::Span {
        if let Some((_, span)) = self.spans.iter().find(|(known, _)| *known == stage) {
            return span.clone();
        }
        let span = stage.span();
        self.spans.push((stage, span.clone()));
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::AsrError;

    fn kind(heard: Result<(), PipelineError>, decoded: Result<Done, AudioError>) -> ErrorKind {
        first_cause(heard, decoded).unwrap_err().kind()
    }

    #[test]
    fn the_cause_is_told_and_not_the_interruption_that_it_brought() {
        let cancelled = || AudioError::Cancelled;
        let too_long = || AudioError::TooLong { limit_s: 1 };
        let engine = || PipelineError::Asr(AsrError::Engine("broken".into()));
        assert_eq!(kind(Err(cancelled().into()), Err(too_long())), ErrorKind::AudioTooLong);
        assert_eq!(kind(Err(engine()), Err(cancelled())), ErrorKind::Internal);
        assert_eq!(kind(Err(cancelled().into()), Err(cancelled())), ErrorKind::Cancelled);
        assert_eq!(kind(Ok(()), Err(too_long())), ErrorKind::AudioTooLong);
    }
}
