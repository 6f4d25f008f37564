//! A door for the fuzz targets to what reads a model's file. Built with the feature `fuzzing` only.

use std::path::Path;

use super::encoder::weights::TensorFile;
use super::header;

/// Reads the file at `path` as the engine's guards and the encoder's builder do: its header, its list of
/// tensors, and each of them.
pub fn read_model(path: &Path) {
    if let Ok(header) = header::read(path) {
        let _ = (header.alignment_heads(), header.top_layers());
    }
    let Ok(mut file) = TensorFile::open(path) else { return };
    for name in file.names() {
        let _ = file.read(&name);
    }
}
