//! Telling speakers apart beside recognition: what a request may ask, who does it, and the thread on which it runs.
//!
//! Diarization and recognition read the same growing recording, each at its own pace. What fails, or panics, in one ends
//! the other. `merge` puts their results together.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use crate::audio::{AudioError, AudioSource, PcmSpool};
use crate::cancel::CancelToken;
use crate::diarization::{
    Diarization, DiarizationEngine, DiarizationError, DiarizationOptions, KnownVoice, MayHoldSpeech, Sound,
    SpeakerLimits, Voice,
};
use crate::models::ModelError;
use crate::models::manager::Lease;
use crate::scratch::Scratch;
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{Conversation, Segment, Segments, Speaker, Transcript};

use super::merge::{Cast, Merger};
use super::speech_map::SpeechMap;
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
    /// As `DiarizationEngine::diarize`.
    ///
    /// # Errors
    /// As there.
    fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[KnownVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError>;
}

impl Diarizer for DiarizationEngine {
    fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[KnownVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        Self::diarize(self, sound, known, options)
    }
}

impl Diarizer for Lease<DiarizationEngine> {
    fn diarize(
        &self,
        sound: &Sound<'_>,
        known: &[KnownVoice],
        options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        DiarizationEngine::diarize(self, sound, known, options)
    }
}

/// Lends a diarizer for one request, loading it if need be. Blocking.
pub type DiarizerFactory = Box<dyn Fn() -> Result<Box<dyn Diarizer>, ModelError> + Send + Sync>;

/// One request's diarization, ready to run.
pub(super) struct Listener {
    /// Who does it.
    pub diarizer: Box<dyn Diarizer>,
    /// The named voices.
    pub known: Vec<KnownVoice>,
    /// How.
    pub options: DiarizationOptions,
}

/// Who spoke when, and the wall time it took.
pub(super) type Diarized = Result<(Diarization, Duration), DiarizationError>;

impl Listener {
    /// Diarizes `spool` on this thread.
    pub fn listen(&self, spool: &PcmSpool, speech: Option<&SpeechMap>, cancel: &CancelToken) -> Diarized {
        let _stage = Stage::Diarization.span().entered();
        let start = Instant::now();
        let ask = speech.map(|map| |span: TimeSpan| map.may_hold_speech(span));
        let speech = ask.as_ref().map(|ask| ask as MayHoldSpeech<'_>);
        let sound = Sound { spool, speech, cancel };
        let diarization = self.diarizer.diarize(&sound, &self.known, &self.options)?;
        Ok((diarization, start.elapsed()))
    }
}

/// Runs `work` on this thread and `listener` on another, and gives both results. `cancel` is that of both: whichever
/// ends badly sets it.
///
/// # Panics
/// When either did, once both have ended.
pub(super) fn beside<T, E>(
    listener: &Listener,
    spool: &PcmSpool,
    cancel: &CancelToken,
    work: impl FnOnce(&SpeechMap) -> Result<T, E>,
) -> (Result<T, E>, Diarized) {
    let map = SpeechMap::default();
    let request = tracing::Span::current();
    thread::scope(|scope| {
        let diarizing = thread::Builder::new().name("diarize".to_owned()).spawn_scoped(scope, || {
            let _request = request.entered();
            let mut alarm = Alarm { cancel, map: &map, armed: true };
            let diarized = listener.listen(spool, Some(&map), cancel);
            alarm.armed = diarized.is_err();
            diarized
        });
        let mut alarm = Alarm { cancel, map: &map, armed: true };
        if diarizing.is_err() {
            cancel.cancel();
        }
        let worked = work(&map);
        alarm.armed = worked.is_err();
        drop(alarm);
        let diarized = match diarizing {
            Ok(diarizing) => diarizing.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => Err(AudioError::from(error).into()),
        };
        (worked, diarized)
    })
}

/// Ends the request when one of its threads ends badly, by a panic too.
struct Alarm<'a> {
    cancel: &'a CancelToken,
    map: &'a SpeechMap,
    armed: bool,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.cancel.cancel();
            self.map.give_up();
        }
    }
}

/// The transcript with speakers. Segments go from one store into another, so memory does not grow with them.
///
/// # Errors
/// When a temporary file fails.
pub(super) fn attribute(
    transcript: Transcript,
    diarization: Diarization,
    (smoothing, keeps_words): (bool, bool),
    scratch: &Scratch,
) -> Result<Transcript, PipelineError> {
    let mut merger = Merger::new(&diarization, smoothing);
    let mut segments = Segments::spilling_into(scratch);
    let mut store = |settled: Vec<Segment>| -> std::io::Result<()> {
        for mut segment in settled {
            if !keeps_words {
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
    Ok(Transcript { segments, turns, speakers, ..transcript })
}

/// What a diarization says, without text.
pub(super) fn conversation(diarization: Diarization, duration: SampleIndex) -> Conversation {
    let named = |voice: Voice| Speaker { name: voice.name, embedding: voice.embedding };
    let speakers = diarization.voices.into_iter().map(named).collect();
    Conversation { duration, turns: diarization.turns, speakers, warnings: Vec::new() }
}
