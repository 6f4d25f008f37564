//! Who of three local speakers is active when, in windows of 10 s.
//!
//! The network is pyannote's segmentation-3.0 (SincNet, LSTMs, a powerset of classes): a window in, a class for each
//! of 589 frames out. Which speaker of a window is which of another one, it does not know; `attribution` decides.

use std::ffi::CStr;
use std::path::Path;

use super::DiarizationError;
use super::activity::Activity;
use super::grid::{FRAMES, WINDOW};
use super::powerset::{self, CLASS_COUNT};
use crate::runtime::network::{Network, Tensor};

const INPUT: &CStr = c"input_values";

/// Finds out who is active in a window. Called by several threads at once; nothing persists from call to call.
pub trait SpeakerSegmenter: Send + Sync {
    /// Who is active in `window`: `grid::WINDOW` samples, 16 kHz mono in [-1, 1]. Its loudness makes no difference.
    ///
    /// # Errors
    /// `Engine` when the network fails.
    fn segment(&self, window: &[f32]) -> Result<Activity, DiarizationError>;
}

/// segmentation-3.0 on ONNX Runtime.
pub struct PyannoteSegmenter {
    network: Network,
}

impl PyannoteSegmenter {
    /// Makes one of the network in `model`, which has been read from `path`.
    ///
    /// # Errors
    /// `Model` when it is another network, or ONNX Runtime is missing.
    pub fn new(model: &[u8], path: &Path) -> Result<Self, DiarizationError> {
        let network = Network::load(model, path, &[INPUT])
            .map_err(|error| DiarizationError::Model(error.to_string()))?;
        Ok(Self { network })
    }
}

impl SpeakerSegmenter for PyannoteSegmenter {
    // One window a run: on one thread more are no faster, and the 8-bit network scales its numbers over the whole
    // batch, so that a window's result would depend on its company.
    fn segment(&self, window: &[f32]) -> Result<Activity, DiarizationError> {
        let mut scores = vec![0.0; FRAMES * CLASS_COUNT];
        let input = Tensor { shape: &[1, 1, WINDOW as usize], values: window };
        self.network
            .run(&[input], &[1, FRAMES, CLASS_COUNT], &mut scores)
            .map_err(|error| DiarizationError::Engine(format!("segmentation: {error}")))?;
        Ok(powerset::activity(&scores))
    }
}
