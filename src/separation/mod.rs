//! Voices out of music: splits a recording's sound into what is sung or said and what plays under it.
//!
//! Knows nothing of text, requests or formats. A `VocalSeparator` is one loaded model; it hears windows of a fixed
//! length. `parameters` says what a catalogue must know of one; `mdx` and `spleeter` are the two families; `stft`
//! (with `reflect`) is what both hear through; `music` says where that is worth the while. Read next: `stream`, which runs one over a recording of any length.

pub mod halves;
pub mod mdx;
pub mod music;
pub mod parameters;
pub mod reflect;
pub mod spleeter;
pub mod stft;
pub mod stream;

use std::sync::Arc;

use crate::audio::AudioError;
use crate::error::ErrorKind;
use crate::time::SampleIndex;

/// What a separator takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeparatorSpec {
    /// Its rate, in Hz; both families were trained at 44 100.
    pub sample_rate: u32,
    /// Length of a window, in samples at that rate.
    pub window: SampleIndex,
    /// Windows begin at multiples of this, in samples, so that all of them cut the sound in the same places.
    pub hop: SampleIndex,
    /// Samples at either end of a window in which what it gives is worth less: they come from neighbouring windows.
    pub margin: SampleIndex,
}

/// A loaded model that hears voices apart from the rest. Shared by requests; `Sync`, so any number may run it at once.
pub trait VocalSeparator: Send + Sync {
    /// What it takes.
    fn spec(&self) -> SeparatorSpec;

    /// The voice in `mix`: planar samples in [-1, 1], one channel or two, each `spec().window` long. Writes as many
    /// channels of the same length into `voice`. One channel stands for two that are equal.
    ///
    /// # Errors
    /// `Engine` when the network fails.
    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError>;
}

/// A separator as the model manager keeps it.
pub struct LoadedSeparator(Arc<dyn VocalSeparator>);

impl LoadedSeparator {
    /// Of a loaded model.
    pub fn new(separator: Arc<dyn VocalSeparator>) -> Self {
        Self(separator)
    }

    /// The separator itself, for a `VoiceStream`. Whoever holds it keeps the model's lease as long.
    pub fn shared(&self) -> Arc<dyn VocalSeparator> {
        Arc::clone(&self.0)
    }
}

/// Why a voice could not be separated.
#[derive(Debug, thiserror::Error)]
pub enum SeparationError {
    /// The model file is missing, damaged, or of another kind.
    #[error("the separation model cannot be used: {0}")]
    Model(String),
    /// The network failed while running.
    #[error("vocal separation failed: {0}")]
    Engine(String),
    /// What was separated could not be written.
    #[error("{0}")]
    Output(String),
    /// The recording could not be read or written, or the request was cancelled.
    #[error(transparent)]
    Audio(#[from] AudioError),
}

impl SeparationError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(_) => ErrorKind::ModelUnusable,
            Self::Engine(_) | Self::Output(_) => ErrorKind::Internal,
            Self::Audio(error) => error.kind(),
        }
    }
}
