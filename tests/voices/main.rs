//! The networks of diarization with their real weights, against numbers that others got from them.
//!
//! Needs ONNX Runtime (`make test` installs it; else DIARIST_ONNXRUNTIME names the library). Numbers of
//! pyannote.audio and of Resemblyzer lie beside the project, in `../shared`; without them the tests that compare with
//! them say so and pass.

mod ge2e;
mod listening;
mod segmentation;
mod wespeaker;

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray_npy::{NpzReader, ReadableElement};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the data beside the project; `None`, and a line that says so, where there is none.
fn shared(path: &str) -> Option<PathBuf> {
    let path = in_repository("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

/// The array `name` of an npz file, with its shape.
fn array<T: ReadableElement + Clone>(path: &Path, name: &str) -> (Vec<usize>, Vec<T>) {
    let mut file = NpzReader::new(File::open(path).expect("a file")).expect("an npz file");
    let array: ndarray::ArrayD<T> = file.by_name(name).expect("the array");
    (array.shape().to_vec(), array.iter().cloned().collect())
}

/// 16 kHz mono samples in [-1, 1].
fn read_wav(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).expect("a WAV file");
    let spec = reader.spec();
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (16_000, 1, 16));
    reader.samples::<i16>().map(|sample| f32::from(sample.expect("a sample")) / 32_768.0).collect()
}

/// Largest difference between two rows of numbers.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Two sentences by one voice.
fn fixture() -> Vec<f32> {
    read_wav(&in_repository("fixtures/audio/vad_check.wav"))
}
