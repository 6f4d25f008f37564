//! Which stage failed, and why.

use crate::asr::AsrError;
use crate::audio::AudioError;
use crate::diarization::DiarizationError;
use crate::error::ErrorKind;
use crate::models::ModelError;
use crate::scratch::ScratchError;
use crate::separation::SeparationError;
use crate::vad::VadError;

/// Why a request ended without a transcript.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The recording could not be taken in.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The model could not be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot do what the request asks.
    #[error("{message}")]
    Incapable {
        /// Field of the request, by its stage's name: `language`, `task`.
        field: &'static str,
        /// What cannot be done, and the remedy.
        message: String,
    },
    /// Voice activity detection failed.
    #[error(transparent)]
    Vad(#[from] VadError),
    /// Recognition failed.
    #[error(transparent)]
    Asr(#[from] AsrError),
    /// The clip of a known speaker cannot be used.
    #[error("the reference of known speaker {} {reason}", index + 1)]
    Reference {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it, as the rest of a sentence.
        reason: String,
    },
    /// Speakers could not be told apart.
    #[error(transparent)]
    Diarization(DiarizationError),
    /// The voice could not be separated from what plays under it.
    #[error(transparent)]
    Separation(SeparationError),
    /// The temporary file that holds a long transcript failed.
    #[error(transparent)]
    Storage(#[from] ScratchError),
}

impl PipelineError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Audio(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Incapable { .. } => ErrorKind::ModelIncapable,
            Self::Vad(error) => error.kind(),
            Self::Asr(error) => error.kind(),
            Self::Reference { .. } => ErrorKind::InvalidRequest,
            Self::Diarization(error) => error.kind(),
            Self::Separation(error) => error.kind(),
            Self::Storage(error) => error.kind(),
        }
    }
}

impl From<DiarizationError> for PipelineError {
    fn from(error: DiarizationError) -> Self {
        match error {
            DiarizationError::Reference { index, reason } => Self::Reference { index, reason },
            DiarizationError::Audio(error) => Self::Audio(error),
            error => Self::Diarization(error),
        }
    }
}

impl From<SeparationError> for PipelineError {
    fn from(error: SeparationError) -> Self {
        match error {
            SeparationError::Audio(error) => Self::Audio(error),
            error => Self::Separation(error),
        }
    }
}

impl From<std::io::Error> for PipelineError {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.into())
    }
}
