//! Who of three local speakers is active when, in windows of 10 s.
//!
//! The network is pyannote's segmentation-3.0 (SincNet, LSTMs, a powerset of classes): a window in, a class for each
//! of 589 frames out. Which speaker of a window is which of another one, it does not know; `attribution` decides.
//! Read next: `split`, which runs it so that overlapping windows share its first layer.

use std::ffi::CStr;
use std::path::Path;

use super::DiarizationError;
use super::activity::Activity;
use super::grid::{FRAMES, WINDOW};
use super::powerset::{self, CLASS_COUNT};
use super::samples::Samples;
use crate::runtime::network::{Network, Tensor};
use crate::time::SampleIndex;

const INPUT: &CStr = c"input_values";

/// A network that finds out who is active, shared by all requests.
pub trait SpeakerSegmenter: Send + Sync {
    /// Begins a recording.
    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a>;

    /// How far behind a window's end it listens, in samples: so much more of the recording must be there before.
    fn lookahead(&self) -> SampleIndex {
        0
    }
}

/// Listens to the windows of one recording. Called by several threads at once.
pub trait WindowSegmenter: Sync {
    /// Who is active in each of a few windows. Their loudness makes no difference; but an 8-bit network scales its
    /// numbers over all of them, so that a window's result depends a little on its company.
    ///
    /// # Errors
    /// `Engine` when the network fails.
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError>;
}

/// What a segmentation network hears at once.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Where it begins in the recording.
    pub start: SampleIndex,
    /// `grid::WINDOW` of them, 16 kHz mono in [-1, 1].
    pub samples: &'a [f32],
}

/// segmentation-3.0 in one piece, as it is exported from pyannote.audio: whatever its weights.
pub struct PyannoteSegmenter {
    network: Network,
}

impl PyannoteSegmenter {
    /// Makes one of the network in `model`, which has been read from `path`.
    ///
    /// # Errors
    /// `Model` when it is another network, or ONNX Runtime is missing.
    pub fn new(model: &[u8], path: &Path) -> Result<Self, DiarizationError> {
        Ok(Self { network: load(model, path, &[INPUT])? })
    }
}

impl SpeakerSegmenter for PyannoteSegmenter {
    fn open<'a>(&'a self, _sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(self)
    }
}

impl WindowSegmenter for &PyannoteSegmenter {
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError> {
        let samples = windows.iter().map(|window| window.samples).collect::<Vec<_>>().concat();
        activity(&self.network, Tensor { shape: &[windows.len(), 1, WINDOW as usize], values: &samples })
    }
}

/// Loads a network with these inputs.
pub(super) fn load(
    model: &[u8],
    path: &Path,
    inputs: &'static [&'static CStr],
) -> Result<Network, DiarizationError> {
    Network::load(model, path, inputs).map_err(|error| DiarizationError::Model(error.to_string()))
}

/// What `network` says of windows; the input's first axis is theirs.
pub(super) fn activity(network: &Network, input: Tensor<'_>) -> Result<Vec<Activity>, DiarizationError> {
    let count = input.shape[0];
    let mut scores = vec![0.0; count * FRAMES * CLASS_COUNT];
    network.run(&[input], &[count, FRAMES, CLASS_COUNT], &mut scores).map_err(failed)?;
    Ok(scores.chunks_exact(FRAMES * CLASS_COUNT).map(powerset::activity).collect())
}

pub(super) fn failed(error: String) -> DiarizationError {
    DiarizationError::Engine(format!("segmentation: {error}"))
}
