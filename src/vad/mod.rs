//! Where somebody speaks, and how the recording is cut for the recogniser.
//!
//! A model gives a speech probability per window (`silero`); pure code turns probabilities into
//! `SpeechRegion`s (`regions`) and regions into `Chunk`s (`chunks`). Both work incrementally, so chunks
//! leave while the rest of the recording is still being read. What is heard of a chunk, its long pauses
//! shortened, says `condensed`.

pub mod chunks;
pub mod condensed;
pub mod regions;
pub mod silero;

use crate::error::ErrorKind;

pub use chunks::{ChunkOptions, Chunker, SpeechLog};
pub use condensed::Condensed;
pub use regions::{LongestRegion, RegionBuilder, VadOptions};
pub use silero::SileroVad;

/// Window of a voice activity detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VadSpec {
    /// Samples per window at 16 kHz; one probability per window.
    pub window: usize,
}

/// Gives the probability of speech window by window.
///
/// Called by the pipeline from one thread. State persists from call to call until `reset`; after an
/// error the detector must be reset before it is used again.
pub trait VoiceActivityDetector: Send {
    /// The model's window.
    fn spec(&self) -> VadSpec;

    /// Appends one probability in [0, 1] to `out` for each whole window in `samples` (16 kHz mono, in
    /// [-1, 1]); a trailing part of a window is padded with silence.
    ///
    /// # Errors
    /// When the engine fails.
    fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError>;

    /// Forgets what was heard.
    fn reset(&mut self);
}

/// Why voice activity could not be detected.
#[derive(Debug, thiserror::Error)]
pub enum VadError {
    /// The model file is missing or not a VAD.
    #[error("the voice activity model cannot be used: {0}")]
    Model(String),
    /// The engine failed while running.
    #[error("voice activity detection failed: {0}")]
    Engine(String),
}

impl VadError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(_) => ErrorKind::ModelUnusable,
            Self::Engine(_) => ErrorKind::Internal,
        }
    }
}
