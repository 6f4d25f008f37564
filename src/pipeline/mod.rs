//! The whole story of one request: file in, transcript out.
//!
//! `plan` decides everything before any work, `scan` finds speech and cuts it into chunks as it is asked,
//! `recognise` sends chunks through the engine and puts their text in order, `review` and `coverage` decide what
//! is heard again and what is left out, `findings` gathers that, `control` carries cancel,
//! progress and finished segments. Where a request asks who speaks (`speakers`), voices are told apart `beside` all that: `known`
//! reads the clips of known ones, `speech_map` spares it the silence, and `merge` (with `floor` and `smoothing`) gives
//! words to speakers. Where the voice is to be heard by itself (`vocals`), `separating` writes it down beside decoding
//! (`voice_writer`). Blocking; called from a pipeline thread, never from an async one.

mod beside;
pub mod control;
mod coverage;
pub mod error;
mod findings;
mod floor;
mod known;
mod merge;
pub mod plan;
mod recognise;
mod review;
mod scan;
mod separating;
mod smoothing;
pub mod speakers;
mod speech_map;
mod vocals;
mod voice_writer;

pub use control::{Control, Event, Stage};
pub use error::PipelineError;
pub use plan::{Chunking, PipelineOptions, Request};
pub use review::ReviewChecks;
pub use speakers::{DiarizationOutcome, DiarizationRequest, KnownSpeaker, SpeakerOptions, lent};
pub use vocals::{LentSeparator, SeparationMode, SeparatorFactory, lent_separator};

/// Parts of a request, for the rooms above.
pub use crate::asr::engine::Priority;
pub use crate::diarization::{MAX_DISTANCE, SPEAKER_COUNTS, STEPS_MS, SpeakerLimits};
pub use crate::vad::VadOptions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::asr::engine::EnginePool;
use crate::audio::decoding::Done;
use crate::audio::{AudioError, PcmSpool};
use crate::diarization::{Diarization, DiarizationError};
use crate::error::ErrorKind;
use crate::models::manager::{Lease, ModelManager};
use crate::telemetry::metrics::WorkMetrics;
use crate::time::{SampleIndex, ms_to_samples, samples_to_seconds};
use crate::transcript::{Transcript, VocalSeparation, Warning};
use crate::vad::{VadError, VoiceActivityDetector};
use beside::{Diarized, Listener, beside};
use plan::Plan;
use recognise::Recording;
use speakers::DiarizerFactory;
use speech_map::SpeechMap;
use vocals::{Separation, Tracks};

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
    diarizers: Option<DiarizerFactory>,
    separators: Option<SeparatorFactory>,
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
        Self {
            options,
            models,
            vad_factory,
            diarizers: None,
            separators: None,
            idle_vads: Mutex::default(),
            metrics,
        }
    }

    /// The same, able to tell speakers apart.
    pub fn with_diarizers(self, diarizers: DiarizerFactory) -> Self {
        Self { diarizers: Some(diarizers), ..self }
    }

    /// The same, able to separate voices from what plays under them.
    pub fn with_separators(self, separators: SeparatorFactory) -> Self {
        Self { separators: Some(separators), ..self }
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
        self.ending(|| self.work(request, control))
    }

    /// Finds out who spoke when in one recording, without its text. Blocking.
    ///
    /// # Errors
    /// As `run`.
    pub fn diarize(
        &self,
        request: &DiarizationRequest,
        control: &Control,
    ) -> Result<DiarizationOutcome, PipelineError> {
        self.ending(|| self.listen(request, control))
    }

    /// Runs `work` and counts how it ended.
    fn ending<T>(&self, work: impl FnOnce() -> Result<T, PipelineError>) -> Result<T, PipelineError> {
        let mut ending = Ending { metrics: &self.metrics, outcome: ErrorKind::Internal.name() };
        let result = work();
        ending.outcome = result.as_ref().map_or_else(|error| error.kind().name(), |_| "ok");
        result
    }

    fn work(&self, request: &Request, asked: &Control) -> Result<Outcome, PipelineError> {
        // Whatever fails ends the rest of this request's work.
        let control = &asked.part();
        let listener = request.speakers.as_ref();
        let listener = listener.map(|speakers| self.listener(speakers, control)).transpose()?;
        let engine = self.lease(request)?;
        let separation = self.separation(request.separation)?;
        let (mut clock, start) = (StageClock::new(self.metrics.clone()), Instant::now());
        let plan = Plan::new(request, &self.options, &engine)?;

        let audio = &self.options.audio;
        let (decoding, tracks) = vocals::start(&request.source, audio, &control.cancel, separation)?;
        let mut vad = self.vad()?;
        let mut recognise = |map: Option<&SpeechMap>| {
            let recording = Recording { tracks: &tracks, vad: vad.as_mut(), map };
            let heard = hear(&plan, &engine, recording, control, &mut clock);
            if heard.is_err() {
                decoding.stop();
                control.cancel.cancel();
            }
            heard
        };
        let (heard, diarized) = match &listener {
            None => (recognise(None), None),
            Some(listener) => {
                let (heard, diarized) =
                    beside(listener, tracks.clearest(), &control.cancel, |map| recognise(Some(map)));
                (heard, Some(diarized))
            }
        };
        let decoded = decoding.finish().map_err(|error| tracks.cause(error));
        let results = first_cause(heard, decoded, diarized);
        let (mut transcript, done, diarized) = self.all_heard(results, &tracks, asked)?;
        self.give_back(vad);
        if let Some((diarization, took)) = diarized {
            clock.put(Stage::Diarization, took);
            let names = request.speakers.as_ref().map(SpeakerOptions::known_names).unwrap_or_default();
            let attribute =
                || speakers::attribute(transcript, diarization, names, plan.attribution, &plan.scratch);
            transcript = clock.time(Stage::Merge, attribute)?;
        }
        clock.put_decoding(done.took, tracks.took());
        let unlisted = transcript.separation.as_mut().and_then(|separation| self.separated(separation));
        transcript.warnings.extend(unlisted);
        self.metrics.transcribed(&engine.spec().id, transcript.duration, start.elapsed());
        transcript.warnings.splice(0..0, plan.warnings.into_iter().chain(done.decoded.warnings));
        Ok(Outcome { transcript, timings: clock.timings })
    }

    fn listen(
        &self,
        request: &DiarizationRequest,
        asked: &Control,
    ) -> Result<DiarizationOutcome, PipelineError> {
        let control = asked.part();
        let listener = self.listener(&request.speakers, &control)?;
        let separation = self.separation(request.separation)?;
        let mut clock = StageClock::new(self.metrics.clone());
        let audio = &self.options.audio;
        let (decoding, tracks) = vocals::start(&request.source, audio, &control.cancel, separation)?;
        let heard = wait_until_sound(&tracks.mix, &control).and_then(|()| {
            // Voice activity alone would cost as much as it spares.
            let diarized: Diarized = listener.listen(tracks.clearest(), None, &control.cancel);
            Ok(diarized?)
        });
        if heard.is_err() {
            decoding.stop();
            control.cancel.cancel();
        }
        let decoded = decoding.finish().map_err(|error| tracks.cause(error));
        let results = first_cause(heard, decoded, None);
        let ((diarization, took), done, _) = self.all_heard(results, &tracks, asked)?;
        clock.put_decoding(done.took, tracks.took());
        clock.put(Stage::Diarization, took);
        let mut conversation =
            speakers::conversation(diarization, request.speakers.known_names(), tracks.mix.len());
        conversation.warnings = done.decoded.warnings;
        conversation.separation = tracks.account(None);
        let unlisted = conversation.separation.as_mut().and_then(|separation| self.separated(separation));
        conversation.warnings.extend(unlisted);
        Ok(DiarizationOutcome { conversation, timings: clock.timings })
    }

    /// What a request's threads gave, unless the disk failed one of them or the client has left meanwhile.
    fn all_heard<T>(
        &self,
        results: Result<Results<T>, PipelineError>,
        tracks: &Tracks,
        asked: &Control,
    ) -> Result<Results<T>, PipelineError> {
        self.metrics.received(tracks.mix.len());
        if let Some(error) = tracks.take_failure() {
            return Err(error);
        }
        let results = results?;
        if asked.cancel.is_cancelled() { Err(AudioError::Cancelled.into()) } else { Ok(results) }
    }

    /// What separates the voice, if the request or the settings want that.
    fn separation(&self, asked: Option<SeparationMode>) -> Result<Option<Separation>, PipelineError> {
        Separation::lend(self.separators.as_ref(), asked.unwrap_or(self.options.separation))
    }

    /// Counts what was separated, and makes it fit an answer.
    fn separated(&self, separation: &mut VocalSeparation) -> Option<Warning> {
        self.metrics.separated(separation.samples);
        tracing::info!(
            model = separation.model,
            seconds = samples_to_seconds(separation.samples),
            regions = separation.regions.len(),
            chunks_of_voice = separation.chunks.map(|chunks| chunks.voice),
            chunks_of_mix = separation.chunks.map(|chunks| chunks.mix),
            "the voice was separated"
        );
        vocals::bound(separation)
    }

    /// Who tells the speakers of a request apart, knowing the voices that have names.
    fn listener(&self, speakers: &SpeakerOptions, control: &Control) -> Result<Listener, PipelineError> {
        let none = || DiarizationError::Model("none has been set up".to_owned());
        let diarizers = self.diarizers.as_ref().ok_or_else(none)?;
        let diarizer = diarizers().map_err(|error| match error.kind() {
            // The server's choice: the client has named no such model.
            ErrorKind::ModelNotFound | ErrorKind::ModelUnusable => {
                DiarizationError::Model(error.to_string()).into()
            }
            _ => PipelineError::from(error),
        })?;
        let clips = known::voices(&speakers.known, &self.options.audio, &control.cancel)?;
        Ok(Listener {
            // Before anything else is done: a clip of no use is the request's fault.
            known: diarizer.learn(&clips, &control.cancel)?,
            diarizer,
            options: speakers.over(&self.options.diarization),
        })
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
    wait_until_sound(&recording.tracks.mix, control)?;
    recognise::recognise(plan, engine, recording, control, clock)
}

/// Waits until the recording has shown itself to be one, and says so.
fn wait_until_sound(spool: &PcmSpool, control: &Control) -> Result<(), PipelineError> {
    spool.wait_for(SOUND_AFTER)?;
    control.emit(Event::Accepted);
    Ok(())
}

/// What a request's threads gave: what was heard, how decoding went, and who spoke when, if that was asked.
type Results<T> = (T, Done, Option<(Diarization, Duration)>);

/// All results, or the error that came first: a recording that cannot be decoded further interrupts its readers, and a
/// stage that fails stops the others; each then ends as cancelled, which says nothing.
fn first_cause<T>(
    heard: Result<T, PipelineError>,
    decoded: Result<Done, PipelineError>,
    diarized: Option<Diarized>,
) -> Result<Results<T>, PipelineError> {
    match (heard, decoded, diarized.transpose()) {
        (Ok(heard), Ok(decoded), Ok(diarized)) => Ok((heard, decoded, diarized)),
        (heard, decoded, diarized) => {
            let diarized = diarized.err().map(PipelineError::from);
            let mut errors: Vec<_> = decoded.err().into_iter().chain(heard.err()).chain(diarized).collect();
            let cause = errors.iter().position(|error| error.kind() != ErrorKind::Cancelled);
            Err(errors.swap_remove(cause.unwrap_or(0)))
        }
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

    /// Notes how long the decoder's thread was at work, and how much of that it was separating, before all others.
    fn put_decoding(&mut self, took: Duration, separating: Option<Duration>) {
        if let Some(separating) = separating {
            self.put_first(Stage::Separation, separating);
        }
        self.put_first(Stage::Decode, took.saturating_sub(separating.unwrap_or_default()));
    }

    /// Notes a stage that kept its own time beside the others.
    fn put(&mut self, stage: Stage, took: Duration) {
        self.metrics.stage(stage.name(), took);
        self.timings.push((stage, took));
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
        first_cause(heard, decoded.map_err(PipelineError::from), None).unwrap_err().kind()
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

        let with = |heard, decoded: Result<Done, AudioError>, diarized| {
            first_cause::<()>(heard, decoded.map_err(PipelineError::from), Some(Err(diarized)))
        };
        let stopped = || DiarizationError::Audio(cancelled());
        let broken = || DiarizationError::Model("broken".into());
        let error = with(Err(cancelled().into()), Err(cancelled()), broken()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelUnusable);
        let error = with(Err(cancelled().into()), Err(too_long()), stopped()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AudioTooLong);
        let error = with(Err(engine()), Err(cancelled()), stopped()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let error = with(Err(cancelled().into()), Err(cancelled()), stopped()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
