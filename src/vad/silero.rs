//! The Silero voice activity model on ONNX Runtime.
//!
//! A small recurrent network (Silero v6, MIT): 32 ms in, one probability out, and a state that goes on to
//! the next window. Read next: `regions`.

use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;

use super::{VadError, VadSpec, VoiceActivityDetector};
use crate::runtime::onnx::{self, OnnxError};
use crate::time::SAMPLE_RATE;

/// Samples per window at 16 kHz, fixed by the network.
const WINDOW: usize = 512;

/// Samples of the window before that the network hears in front of each window.
const CONTEXT: usize = 64;

/// Windows of digital silence (about 1 s) after which the network's state no longer moves. What follows, as
/// long as every sample is zero, is silence without asking: hours of it cost next to nothing.
const SETTLED_WINDOWS: usize = 32;

/// Shape of the recurrent state: (h and c, batch, units).
const STATE_SHAPE: [usize; 3] = [2, 1, 128];
const STATE_LEN: usize = STATE_SHAPE[0] * STATE_SHAPE[1] * STATE_SHAPE[2];

/// One detector; keeps the network's state.
pub struct SileroVad {
    session: Session,
    /// Context, then window: what the network hears. (CONTEXT + WINDOW)
    input: [f32; CONTEXT + WINDOW],
    state: [f32; STATE_LEN],
    /// Windows of digital silence in a row.
    silent_windows: usize,
}

impl SileroVad {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// When the file is not Silero's network or ONNX Runtime is not there.
    pub fn load(path: &Path) -> Result<Self, VadError> {
        Self::new(onnx::session(path), path)
    }

    /// Makes one of a model that has been read from `path` before, whatever has become of the file.
    ///
    /// # Errors
    /// As `load`.
    pub fn of(model: &[u8], path: &Path) -> Result<Self, VadError> {
        Self::new(onnx::session_of(model, path), path)
    }

    fn new(session: Result<Session, OnnxError>, path: &Path) -> Result<Self, VadError> {
        let session = session.map_err(|error| VadError::Model(error.to_string()))?;
        for (what, names, found) in [
            ("inputs", ["input", "state", "sr"].as_slice(), names(session.inputs())),
            ("outputs", ["output", "stateN"].as_slice(), names(session.outputs())),
        ] {
            if found != names {
                return Err(VadError::Model(format!(
                    "{} is not Silero's 16 kHz network: its {what} are {}, not {}",
                    path.display(),
                    found.join(", "),
                    names.join(", ")
                )));
            }
        }
        Ok(Self { session, input: [0.0; CONTEXT + WINDOW], state: [0.0; STATE_LEN], silent_windows: 0 })
    }

    /// Probability of the window in `input`; afterwards its tail is the context of the next.
    fn step(&mut self) -> Result<f32, ort::Error> {
        let outputs = self.session.run(ort::inputs! {
            "input" => TensorRef::from_array_view(([1, CONTEXT + WINDOW], self.input.as_slice()))?,
            "state" => TensorRef::from_array_view((STATE_SHAPE, self.state.as_slice()))?,
            "sr" => TensorRef::from_array_view(([0_usize; 0], [i64::from(SAMPLE_RATE)].as_slice()))?,
        })?;
        let (_, probability) = outputs["output"].try_extract_tensor::<f32>()?; // (1, 1)
        let (_, state) = outputs["stateN"].try_extract_tensor::<f32>()?; // (2, 1, 128)
        if probability.len() != 1 || state.len() != STATE_LEN {
            return Err(ort::Error::new("the network's outputs have other shapes than Silero's"));
        }
        self.state.copy_from_slice(state);
        self.input.copy_within(WINDOW.., 0);
        Ok(probability[0].clamp(0.0, 1.0))
    }
}

impl VoiceActivityDetector for SileroVad {
    fn spec(&self) -> VadSpec {
        VadSpec { window: WINDOW }
    }

    fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        out.reserve(samples.len().div_ceil(WINDOW));
        for window in samples.chunks(WINDOW) {
            let fresh = &mut self.input[CONTEXT..];
            fresh[..window.len()].copy_from_slice(window);
            fresh[window.len()..].fill(0.0);
            let is_silent = fresh.iter().all(|sample| *sample == 0.0);
            self.silent_windows = if is_silent { self.silent_windows + 1 } else { 0 };
            if self.silent_windows > SETTLED_WINDOWS {
                out.push(0.0);
                continue;
            }
            out.push(self.step().map_err(|error| VadError::Engine(error.to_string()))?);
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.input.fill(0.0);
        self.state.fill(0.0);
        self.silent_windows = 0;
    }
}

fn names(outlets: &[ort::value::Outlet]) -> Vec<&str> {
    outlets.iter().map(ort::value::Outlet::name).collect()
}
