//! Who speaks: what a request may ask of it, who finds out, and how it comes into the transcript (`merge`).
//! Read next: `beside`.

use std::sync::Arc;
use std::time::Duration;

use crate::audio::AudioSource;
use crate::cancel::CancelToken;
use crate::diarization::{
    Diarization, DiarizationEngine, DiarizationError, DiarizationOptions, KnownVoice, LearnedVoice, Sound,
    SpeakerLimits, Voice,
};
use crate::models::ModelError;
use crate::models::manager::{Lease, ModelManager};
use crate::scratch::Scratch;
use crate::time::SampleIndex;
use crate::transcript::{Conversation, Segment, Segments, Speaker, Transcript};

use super::merge::{Cast, Merger};
use super::vocals::SeparationMode;
use super::{PipelineError, Stage};

/// What a request says about the speakers.
#[derive(Clone, Debug)]
pub struct SpeakerOptions {
    /// From one window to the next, in samples, or `None` as configured; smaller is slower and more exact.
    pub step: Option<SampleIndex>,
    /// How many speakers there are.
    pub limits: SpeakerLimits,
    /// Distance at which voices count as different, or `None` for the encoder's own.
    pub threshold: Option<f32>,
    /// Voices that have names.
    pub known: Vec<KnownSpeaker>,
    /// Whether sentences are kept whole where a word or two seem to be another speaker's.
    pub smoothing: bool,
}

impl Default for SpeakerOptions {
    fn default() -> Self {
        Self {
            step: None,
            limits: SpeakerLimits::default(),
            threshold: None,
            known: Vec::new(),
            smoothing: true,
        }
    }
}

impl SpeakerOptions {
    /// Of all known voices.
    pub(super) fn known_names(&self) -> Vec<String> {
        self.known.iter().map(|speaker| speaker.name.clone()).collect()
    }

    /// For the networks, where `configured` holds what the request does not say.
    pub(super) fn over(&self, configured: &DiarizationOptions) -> DiarizationOptions {
        DiarizationOptions {
            step: self.step.unwrap_or(configured.step),
            limits: self.limits,
            threshold: self.threshold.or(configured.threshold),
            ..configured.clone()
        }
    }
}

/// A voice with a name.
#[derive(Clone, Debug)]
pub struct KnownSpeaker {
    /// The name, verbatim.
    pub name: String,
    /// Two to ten seconds of it alone.
    pub clip: AudioSource,
}

/// A request for who spoke when, without text.
#[derive(Clone, Debug)]
pub struct DiarizationRequest {
    /// The recording.
    pub source: AudioSource,
    /// What is known of the speakers.
    pub speakers: SpeakerOptions,
    /// When the voice is separated from what plays under it, or `None` as configured.
    pub separation: Option<SeparationMode>,
}

/// A finished request for who spoke when.
#[derive(Debug)]
pub struct DiarizationOutcome {
    /// Who spoke when.
    pub conversation: Conversation,
    /// As in `Outcome`.
    pub timings: Vec<(Stage, Duration)>,
}

/// Whatever tells voices apart: the engine, or what tests put in its place.
pub trait Diarizer: Send + Sync {
    /// As `DiarizationEngine::learn`.
    ///
    /// # Errors
    /// As there.
    fn learn(
        &self,
        known: &[KnownVoice],
        cancel: &CancelToken,
    ) -> Result<Vec<LearnedVoice>, DiarizationError>;

    /// As `DiarizationEngine::diarize`.
    ///
    /// # Errors
    /// As there.
    fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[LearnedVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError>;
}

impl Diarizer for Lease<DiarizationEngine> {
    fn learn(
        &self,
        known: &[KnownVoice],
        cancel: &CancelToken,
    ) -> Result<Vec<LearnedVoice>, DiarizationError> {
        DiarizationEngine::learn(self, known, cancel)
    }

    fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[LearnedVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        DiarizationEngine::diarize(self, sound, known, options)
    }
}

/// Lends a diarizer for one request, loading it if need be. Blocking.
pub type DiarizerFactory = Box<dyn Fn() -> Result<Box<dyn Diarizer>, ModelError> + Send + Sync>;

/// Lends the engine called `id`, loaded once by `engines` and shared.
pub fn lent(engines: Arc<ModelManager<DiarizationEngine>>, id: String) -> DiarizerFactory {
    Box::new(move || Ok(Box::new(engines.lease(&id)?) as Box<dyn Diarizer>))
}

/// How a transcript gets its speakers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribution {
    /// Whether sentences are kept whole where a word or two seem to be another speaker's.
    pub smoothing: bool,
    /// Whether words are kept in the end.
    pub words: bool,
}

/// The transcript with speakers. Segments go from one store into another, so memory does not grow with them.
///
/// # Errors
/// When a temporary file fails.
pub(super) fn attribute(
    transcript: Transcript,
    diarization: Diarization,
    known_names: Vec<String>,
    how: Attribution,
    scratch: &Scratch,
) -> Result<Transcript, PipelineError> {
    let mut merger = Merger::new(&diarization, how.smoothing);
    let mut segments = Segments::spilling_into(scratch);
    let mut store = |settled: Vec<Segment>| -> std::io::Result<()> {
        for mut segment in settled {
            if !how.words {
                segment.words = Vec::new();
            }
            segments.push(segment)?;
        }
        Ok(())
    };
    for segment in transcript.segments.iter() {
        store(merger.push(segment?.into_owned()))?;
    }
    let (rest, Cast { turns, speakers }) = merger.finish(diarization);
    store(rest)?;
    Ok(Transcript { segments, turns, speakers, known_names, ..transcript })
}

/// What a diarization says, without text.
pub(super) fn conversation(
    diarization: Diarization,
    known_names: Vec<String>,
    duration: SampleIndex,
) -> Conversation {
    let named = |voice: Voice| Speaker { name: voice.name, embedding: voice.embedding };
    let speakers = diarization.voices.into_iter().map(named).collect();
    Conversation {
        duration,
        turns: diarization.turns,
        speakers,
        known_names,
        separation: None,
        warnings: Vec::new(),
    }
}
