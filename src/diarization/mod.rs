//! Who spoke when.
//!
//! Two networks give numbers (`engine` runs them over sliding windows of 10 s): which of three local speakers is
//! active in each frame of a window, and what each of them sounds like. Pure code decides from those numbers who
//! is who over the whole recording (`attribution`). Follows pyannote.audio's speaker diarization (Bredin 2023,
//! Plaquet & Bredin 2023) with VBx (Landini 2022).
//! Knows nothing of text, requests or formats. Read next: `grid`, `activity`, `engine`, `attribution`.
//!
//! What the networks hear and say: `segmentation`, `split` and `powerset`; `embedding` with `mel`, `fbank` and `masks`;
//! `tables`, by which voices are compared; `team`, the threads.

pub mod activity;
mod assignment;
pub mod attribution;
mod buffers;
mod clustering;
pub mod embedding;
pub mod engine;
pub mod fbank;
mod gathering;
pub mod grid;
mod known;
pub mod masks;
pub mod mel;
mod method;
#[cfg(test)]
mod parity;
pub mod powerset;
mod reconstruction;
pub mod samples;
pub mod score;
pub mod segmentation;
mod speakers;
pub mod split;
pub mod tables;
pub mod team;
mod turns;
mod vbx;
mod vectors;

use crate::audio::AudioError;
use crate::error::ErrorKind;
use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{SpeakerId, SpeakerTurn};

pub use engine::{DiarizationEngine, Sound};

/// What a step may be, in ms (both ends included); further apart, windows of 10 s would leave gaps.
pub const STEPS_MS: std::ops::RangeInclusive<u64> = 500..=10_000;

/// What a known number of speakers may be (both ends included).
pub const SPEAKER_COUNTS: std::ops::RangeInclusive<usize> = 1..=100;

/// Largest distance that two voices can have: their directions are opposite.
pub const MAX_DISTANCE: f32 = 2.0;

/// How a recording is diarized.
#[derive(Clone, Debug, PartialEq)]
pub struct DiarizationOptions {
    /// From one window to the next, in samples; 16 000 is the reference's exact mode.
    pub step: SampleIndex,
    /// How many speakers there are.
    pub limits: SpeakerLimits,
    /// Distance at which voices count as different, or `None` for the encoder's own.
    pub threshold: Option<f32>,
    /// Shorter turns are left out, in samples; 0 for scoring.
    pub min_on: SampleIndex,
    /// Shorter pauses within a speaker's turn are closed, in samples; 0 for scoring.
    pub min_off: SampleIndex,
}

impl Default for DiarizationOptions {
    fn default() -> Self {
        Self {
            step: ms_to_samples(2_500),
            limits: SpeakerLimits::default(),
            threshold: None,
            min_on: ms_to_samples(100),
            min_off: ms_to_samples(500),
        }
    }
}

/// What is known beforehand of the number of speakers; `min <= max`, and both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpeakerLimits {
    /// At least so many.
    pub min: Option<usize>,
    /// At most so many.
    pub max: Option<usize>,
}

impl SpeakerLimits {
    /// Exactly `count` speakers.
    pub fn exactly(count: usize) -> Self {
        Self { min: Some(count), max: Some(count) }
    }
}

/// A voice that the client knows by name.
#[derive(Clone, Debug)]
pub struct KnownVoice {
    /// Its name, verbatim.
    pub name: String,
    /// Its reference clip: 16 kHz mono in [-1, 1].
    pub clip: Vec<f32>,
}

/// A known voice, as the encoder hears it.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedVoice {
    /// Its name, verbatim.
    pub name: String,
    /// What its clip sounds like.
    pub embedding: Vec<f32>,
}

/// Who spoke when, in one recording. Speakers are numbered from 0 by first appearance in `turns`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diarization {
    /// Ordered by start; those of different speakers may overlap, those of one do not.
    pub turns: Vec<SpeakerTurn>,
    /// The same with one speaker at a time: what words are attributed by. Ordered, disjoint.
    pub exclusive: Vec<SpeakerTurn>,
    /// One for each speaker, by number.
    pub voices: Vec<Voice>,
}

/// One speaker of a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Voice {
    /// Name of the known voice that it is, if it is one.
    pub name: Option<String>,
    /// Mean of what the encoder gave for it, of unit length; (256) with both encoders.
    pub embedding: Vec<f32>,
}

impl Diarization {
    /// The voice of `speaker`.
    pub fn voice(&self, speaker: SpeakerId) -> Option<&Voice> {
        self.voices.get(speaker.0 as usize)
    }
}

/// Whether anybody may be speaking in a span: the transcription's voice activity, which saves the networks silent
/// windows. Blocks until that is known; gives an error when the request ends before.
pub type MayHoldSpeech<'a> = &'a (dyn Fn(TimeSpan) -> Result<bool, AudioError> + Sync);

/// Why speakers could not be told apart.
#[derive(Debug, thiserror::Error)]
pub enum DiarizationError {
    /// A model file is missing or of another kind.
    #[error("the diarization model cannot be used: {0}")]
    Model(String),
    /// A network failed while running.
    #[error("diarization failed: {0}")]
    Engine(String),
    /// A reference clip cannot be used.
    #[error("the reference of known speaker {index} {reason}")]
    Reference {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it, as the rest of a sentence.
        reason: String,
    },
    /// The recording could not be read, or the request was cancelled.
    #[error(transparent)]
    Audio(#[from] AudioError),
}

impl DiarizationError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(_) => ErrorKind::ModelUnusable,
            Self::Engine(_) => ErrorKind::Internal,
            Self::Reference { .. } => ErrorKind::InvalidRequest,
            Self::Audio(error) => error.kind(),
        }
    }
}
