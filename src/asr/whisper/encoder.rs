//! Whisper's encoder on ONNX Runtime, in place of ggml's.
//!
//! On processors ONNX Runtime multiplies matrices two to four times faster than ggml, and finds out by
//! itself which instructions there are (AVX2, AVX-512, VNNI, AMX). whisper.cpp keeps everything else: the
//! spectrogram, the decoder, timestamps and alignment. `weights` reads the file, `graph` builds the network,
//! `hook` puts it into whisper.cpp's states.

mod graph;
pub mod hook;
pub(super) mod weights;

use std::path::Path;
use std::sync::Arc;

use ort::editor::{Model, ONNX_DOMAIN, Opset};
use ort::value::{TensorRef, TensorRefMut};

use crate::runtime::onnx::{self, SharedSession};
use graph::{ENCODED, MEL, MICROSOFT_DOMAIN, POSITIONS};
use weights::TensorFile;

/// Operator sets that the graph is written in.
const OPSETS: [(&str, u32); 2] = [(ONNX_DOMAIN, 18), (MICROSOFT_DOMAIN, 1)];

/// What matrix products are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point: more exact than the file.
    F32,
    /// 8 bits with a scale per output channel and per position.
    Int8,
}

/// Sizes of a model's encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Bands of the spectrogram.
    pub mels: usize,
    /// Channels.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Residual layers.
    pub layers: usize,
}

/// One model's encoder, shared by all its workers.
pub struct Encoder {
    session: SharedSession,
    /// (most positions, width): Whisper's embedding of positions.
    positions: Vec<f32>,
    dimensions: Dimensions,
    precision: Precision,
}

impl Encoder {
    /// Builds the encoder of the model file at `path`.
    ///
    /// # Errors
    /// A sentence, when the file or ONNX Runtime cannot be used.
    pub fn load(path: &Path, dimensions: Dimensions, precision: Precision) -> Result<Arc<Self>, String> {
        // Before anything else of ort's, which would look for the library by itself.
        let runtime = onnx::runtime(None).map_err(|error| error.to_string())?;
        let mut file = TensorFile::open(path).map_err(|error| error.to_string())?;
        let positions = file.read("encoder.positional_embedding").map_err(|error| error.to_string())?.values;
        let graph = graph::build(&mut file, dimensions, precision)?;
        let session = runtime.shared_session(model(graph).map_err(|error| error.to_string())?)?;
        Ok(Arc::new(Self { session, positions, dimensions, precision }))
    }

    /// Memory of its weights, in bytes: convolutions, and twelve matrices of width × width a layer.
    pub fn weight_bytes(&self) -> u64 {
        let Dimensions { mels, width, layers, .. } = self.dimensions;
        let matrices = 12 * layers * width * width;
        let rest = 3 * (mels + width) * width + self.positions.len();
        let matrix_bytes = if self.precision == Precision::F32 { 4 * matrices } else { matrices };
        (matrix_bytes + 4 * rest) as u64
    }

    /// Encodes `mel` (bands × frames) into `out` (positions × width); two frames make a position.
    ///
    /// # Errors
    /// A sentence, when the sizes do not fit the model or ONNX Runtime fails.
    pub fn encode(&self, mel: &[f32], out: &mut [f32]) -> Result<(), String> {
        let Dimensions { mels, width, .. } = self.dimensions;
        let (frames, positions) = (mel.len() / mels, out.len() / width);
        if frames != 2 * positions || positions * width > self.positions.len() {
            return Err(format!("{frames} frames do not make {positions} positions"));
        }
        self.run(mel, out, frames, positions).map_err(|error| error.to_string())
    }

    fn run(&self, mel: &[f32], out: &mut [f32], frames: usize, positions: usize) -> ort::Result<()> {
        let Dimensions { mels, width, .. } = self.dimensions;
        let mel = TensorRef::from_array_view(([1, mels, frames], mel))?;
        let known = TensorRef::from_array_view(([positions, width], &self.positions[..positions * width]))?;
        let out = TensorRefMut::from_array_view_mut(([1, positions, width], out))?;
        self.session.run(&[(MEL, &mel), (POSITIONS, &known)], &mut [(ENCODED, out)])
    }
}

fn model(graph: ort::editor::Graph) -> ort::Result<Model> {
    let opsets = OPSETS.map(|(domain, version)| Opset::new(domain, version));
    let mut model = Model::new(opsets.into_iter().collect::<ort::Result<Vec<_>>>()?)?;
    model.set_graph(graph)?;
    Ok(model)
}

#[cfg(test)]
impl Encoder {
    /// The encoder at `path`, refusing every spectrogram.
    pub fn broken(path: &Path, dimensions: Dimensions) -> Arc<Self> {
        let mut encoder = Arc::into_inner(Self::load(path, dimensions, Precision::F32).unwrap()).unwrap();
        encoder.dimensions.mels += 1;
        Arc::new(encoder)
    }
}
