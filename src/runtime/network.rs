//! A network from a file: named inputs, one output, numbers in and out.
//!
//! For rooms that only want the numbers: they name the inputs and say the shapes. Any number of
//! threads run it at once on one copy of the weights. Read next: `onnx`, which finds the library.

use std::ffi::{CStr, CString};
use std::path::Path;

use ort::value::{TensorRef, TensorRefMut};

use super::onnx::{self, OnnxError, SharedSession};

/// Numbers of a shape, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Length of each axis; their product is the number of values.
    pub shape: &'a [usize],
    /// The values.
    pub values: &'a [f32],
}

/// A loaded network; on the processor, one thread for each run.
#[derive(Debug)]
pub struct Network {
    session: SharedSession,
    inputs: &'static [&'static CStr],
    output: CString,
}

impl Network {
    /// Loads the network in `model`, which has been read from `path`, and makes sure that it has these inputs. Its
    /// first output is the one that counts.
    ///
    /// # Errors
    /// `Model` when it is not a network, or another one; `Missing` and `Unusable` when there is no ONNX Runtime.
    pub fn load(model: &[u8], path: &Path, inputs: &'static [&'static CStr]) -> Result<Self, OnnxError> {
        let session = onnx::runtime(None)?.shared_session_of(model, path)?;
        let (known, outputs) = session.names();
        let has = |name: &CStr| known.iter().any(|known| known.as_bytes() == name.to_bytes());
        let output = outputs.first().and_then(|name| CString::new(*name).ok());
        match output {
            Some(output) if inputs.iter().all(|name| has(name)) => Ok(Self { session, inputs, output }),
            _ => Err(OnnxError::Model {
                path: path.display().to_string(),
                reason: format!("it is another network: its inputs are {}", known.join(", ")),
            }),
        }
    }

    /// Runs it on `inputs`, in the order of their names, and writes what comes out into `out`, which has the shape
    /// `shape`.
    ///
    /// # Errors
    /// A sentence, when shapes do not fit the network or it fails.
    pub fn run(&self, inputs: &[Tensor<'_>], shape: &[usize], out: &mut [f32]) -> Result<(), String> {
        self.try_run(inputs, shape, out).map_err(|error| error.to_string())
    }

    fn try_run(&self, inputs: &[Tensor<'_>], shape: &[usize], out: &mut [f32]) -> ort::Result<()> {
        let values = inputs
            .iter()
            .map(|input| TensorRef::from_array_view((input.shape.to_vec(), input.values)))
            .collect::<ort::Result<Vec<_>>>()?;
        let named: Vec<_> = self.inputs.iter().copied().zip(&values).collect();
        let out = TensorRefMut::from_array_view_mut((shape.to_vec(), out))?;
        self.session.run(&named, &mut [(self.output.as_c_str(), out)])
    }
}
