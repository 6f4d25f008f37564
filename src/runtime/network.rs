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

/// A loaded network; on the processor, one thread for each run unless it was loaded as `wide`.
#[derive(Debug)]
pub struct Network {
    session: SharedSession,
    inputs: Vec<CString>,
    output: CString,
}

impl Network {
    /// Loads the network in `model`, which has been read from `path`, and makes sure that it has these inputs. Its
    /// first output is the one that counts.
    ///
    /// # Errors
    /// `Model` when it is not a network, or another one; `Missing` and `Unusable` when there is no ONNX Runtime.
    pub fn load(model: &[u8], path: &Path, inputs: &[&CStr]) -> Result<Self, OnnxError> {
        let session = onnx::runtime(None)?.shared_session_of(model, path)?;
        let (known, outputs) = session.names();
        let has = |name: &CStr| known.iter().any(|known| known.as_bytes() == name.to_bytes());
        let output = outputs.first().and_then(|name| CString::new(*name).ok());
        match output {
            Some(output) if inputs.iter().all(|name| has(name)) => {
                Ok(Self { session, inputs: inputs.iter().map(|name| (*name).to_owned()).collect(), output })
            }
            _ => Err(OnnxError::Model {
                path: path.display().to_string(),
                reason: format!("it is another network: its inputs are {}", known.join(", ")),
            }),
        }
    }

    /// Loads a network of one input and one output, whatever they are called, in which each run takes `threads`
    /// threads, and makes sure that it gives numbers of the shape `shape` for numbers of that shape: by what it says of
    /// itself, and where that leaves an axis open, by a run on silence.
    ///
    /// # Errors
    /// As `load`; `Model` with both shapes when they are others.
    pub fn load_wide(model: &[u8], path: &Path, shape: &[usize], threads: usize) -> Result<Self, OnnxError> {
        let session = onnx::runtime(None)?.wide_session_of(model, path, threads)?;
        let other = |reason: String| OnnxError::Model { path: path.display().to_string(), reason };
        let (inputs, outputs) = session.names();
        let ([input], [output]) = (&inputs[..], &outputs[..]) else {
            let (inputs, outputs) = (inputs.len(), outputs.len());
            return Err(other(format!(
                "it has {inputs} inputs and {outputs} outputs instead of one of each"
            )));
        };
        let named = |name: &str| CString::new(name).map_err(|error| other(error.to_string()));
        let (input, output) = (named(input)?, named(output)?);
        let (takes, gives) = session.shapes();
        for (what, told) in [("takes", &takes[0]), ("gives", &gives[0])] {
            if !told.as_deref().is_some_and(|told| may_be(told, shape)) {
                return Err(other(format!(
                    "it {what} {} instead of {}",
                    in_words(told),
                    in_words(&Some(signed(shape)))
                )));
            }
        }
        let is_open = [&takes[0], &gives[0]].into_iter().flatten().flatten().any(|axis| *axis < 0);
        let network = Self { session, inputs: vec![input], output };
        if is_open {
            let values = vec![0.0; shape.iter().product()];
            let mut out = vec![0.0; values.len()];
            network.run(&[Tensor { shape, values: &values }], shape, &mut out).map_err(other)?;
        }
        Ok(network)
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
        let named: Vec<_> = self.inputs.iter().map(CString::as_c_str).zip(&values).collect();
        let out = TensorRefMut::from_array_view_mut((shape.to_vec(), out))?;
        self.session.run(&named, &mut [(self.output.as_c_str(), out)])
    }
}

/// Whether an input or output that tells this shape takes numbers of `shape`.
fn may_be(told: &[i64], shape: &[usize]) -> bool {
    told.len() == shape.len() && told.iter().zip(shape).all(|(told, axis)| *told < 0 || *told == *axis as i64)
}

fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|axis| *axis as i64).collect()
}

/// A shape for a message: `1 × 4 × ? × 256`.
fn in_words(shape: &Option<Vec<i64>>) -> String {
    let axis = |axis: &i64| if *axis < 0 { "?".to_owned() } else { axis.to_string() };
    match shape {
        Some(shape) => shape.iter().map(axis).collect::<Vec<_>>().join(" × "),
        None => "something that is no 32-bit numbers".to_owned(),
    }
}
