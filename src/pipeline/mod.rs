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
use crate::audio::{self, AudioError};
use crate::models::manager::{Lease, ModelManager};
use crate::transcript::Transcript;
use crate::vad::{VadError, VoiceActivityDetector};
use plan::Plan;
use recognise::Recording;

/// A finished request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was said.
    pub transcript: Transcript,
    /// Wall time of each stage that ran, in order, for logs and the `Server-Timing` header.
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
}

impl Pipeline {
    /// A pipeline over `models`; detectors are made by `vad_factory` as they are needed and kept.
    pub fn new(
        options: PipelineOptions,
        models: Arc<ModelManager<EnginePool>>,
        vad_factory: VadFactory,
    ) -> Self {
        Self { options, models, vad_factory, idle_vads: Mutex::default() }
    }

    /// Runs one request to its end. Blocking.
    ///
    /// # Errors
    /// Before `Event::Accepted` for what is wrong with the request or the file, afterwards only for what
    /// goes wrong with the machine.
    pub fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError> {
        let mut clock = StageClock::default();
        let engine = self.lease(request)?;
        let plan = Plan::new(request, &self.options, &engine)?;

        let decoded = clock.time(Stage::Decode, || {
            audio::decode_to_spool(&request.source, &self.options.audio, &control.cancel)
        })?;
        let spool = Arc::new(decoded.spool);
        tracing::debug!(source = decoded.description, samples = spool.len(), "decoded");
        control.emit(Event::Accepted { duration: spool.len() });

        let mut vad = self.vad()?;
        let recording = Recording { spool: &spool, vad: vad.as_mut() };
        let mut transcript = recognise::recognise(&plan, &engine, recording, control, &mut clock)?;
        self.give_back(vad);
        if control.cancel.is_cancelled() {
            return Err(AudioError::Cancelled.into());
        }
        transcript.warnings.splice(0..0, plan.warnings.into_iter().chain(decoded.warnings));
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

/// Adds up the wall time of each stage, in order of first use.
#[derive(Default)]
pub(crate) struct StageClock {
    timings: Vec<(Stage, Duration)>,
}

impl StageClock {
    fn time<R>(&mut self, stage: Stage, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        let spent = start.elapsed();
        match self.timings.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, total)) => *total += spent,
            None => self.timings.push((stage, spent)),
        }
        result
    }
}
