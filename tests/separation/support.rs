//! The small networks, sounds to try them on, and how results are compared.

#[path = "../support/noise.rs"]
mod noise;

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diarist::separation::mdx::MdxNet;
use diarist::separation::parameters::{Grid, MdxParameters, Part, SpleeterParameters};
use diarist::separation::spleeter::{NetworkFile, Spleeter};
use diarist::separation::{SeparationError, VocalSeparator};

pub use noise::noise;

pub const RATE: u32 = 44_100;

pub const VOICE_BAND: MdxParameters = MdxParameters {
    grid: Grid { n_fft: 2_048, hop: 512, dim_f: 256, dim_t: 256 },
    compensation: 1.0,
    predicts: Part::Voice,
};

pub const SMALL_SPLEETER: SpleeterParameters =
    SpleeterParameters { grid: Grid { n_fft: 2_048, hop: 512, dim_f: 512, dim_t: 64 } };

pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn bytes_of(path: &str) -> Vec<u8> {
    std::fs::read(in_repository(path)).expect("a file of the repository")
}

pub fn mdx(parameters: &MdxParameters) -> Result<MdxNet, SeparationError> {
    let path = in_repository("models/voice_band.onnx");
    MdxNet::new(&std::fs::read(&path).unwrap(), &path, parameters, 2)
}

pub fn spleeter(parameters: &SpleeterParameters) -> Result<Spleeter, SeparationError> {
    let [voice, background] = ["tests/separation/voice.onnx", "tests/separation/background.onnx"]
        .map(|path| (bytes_of(path), in_repository(path)));
    Spleeter::new(
        &NetworkFile { bytes: &voice.0, path: &voice.1 },
        &NetworkFile { bytes: &background.0, path: &background.1 },
        parameters,
        2,
    )
}

/// One of each family.
pub fn separators() -> [(&'static str, Arc<dyn VocalSeparator>); 3] {
    let background = MdxParameters { predicts: Part::Background, ..VOICE_BAND };
    [
        ("mdx, voice", Arc::new(mdx(&VOICE_BAND).unwrap())),
        ("mdx, background", Arc::new(mdx(&background).unwrap())),
        ("spleeter", Arc::new(spleeter(&SMALL_SPLEETER).unwrap())),
    ]
}

/// Sines at full length.
pub fn tones(frequencies: &[f64], frames: usize, rate: u32) -> Vec<f32> {
    let tone = |n: usize| {
        frequencies.iter().map(|f| (TAU * f * n as f64 / f64::from(rate)).sin() * 0.25).sum::<f64>()
    };
    (0..frames).map(|n| tone(n) as f32).collect()
}

/// Power of the difference below the power of what was expected, in dB.
pub fn error_db(expected: &[f32], actual: &[f32]) -> f64 {
    assert_eq!(expected.len(), actual.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let error = squares(&mut expected.iter().zip(actual).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let sound = squares(&mut expected.iter().map(|v| f64::from(*v)));
    10.0 * ((error + 1e-30) / (sound + 1e-30)).log10()
}
