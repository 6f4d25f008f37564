//! The Silero voice activity model on ONNX Runtime.

use super::{VadError, VadSpec, VoiceActivityDetector};
use std::path::Path;

/// One detector; keeps the network's state.
pub struct SileroVad {}

impl SileroVad {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// When the file is not Silero's network or ONNX Runtime is not there.
    pub fn load(_path: &Path) -> Result<Self, VadError> {
        unimplemented!()
    }
}

impl VoiceActivityDetector for SileroVad {
    fn spec(&self) -> VadSpec {
        unimplemented!()
    }
    fn probabilities(&mut self, _samples: &[f32], _out: &mut Vec<f32>) -> Result<(), VadError> {
        unimplemented!()
    }
    fn reset(&mut self) {}
}
