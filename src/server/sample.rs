//! A short recording that comes with the program, with its words, for trying things out.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::audio::{self, AudioOptions, AudioSource, PcmSpool};
use crate::cancel::CancelToken;
use crate::scratch::{Scratch, ScratchError};
use crate::time::{SampleIndex, TimeSpan, ms_to_samples};

/// The recording.
pub const RECORDING: &[u8] = include_bytes!("../../fixtures/audio/hello.flac");

/// What is spoken in it.
pub const TEXT: &str = include_str!("../../fixtures/expected/hello.txt");

/// Name of the bundled model, which knows these words.
pub const MODEL: &str = "diarist-micro-en";

/// Its first sentence or so.
const CLIP: SampleIndex = ms_to_samples(2_000);

/// The first two seconds, 16 kHz mono.
///
/// # Errors
/// When temporary files cannot be written.
pub fn clip(scratch: &Scratch) -> Result<Vec<f32>, String> {
    let spool = spool(scratch)?;
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, CLIP.min(spool.len())), &mut samples);
    Ok(samples)
}

/// All of it, decoded.
///
/// # Errors
/// When temporary files cannot be written.
pub fn spool(scratch: &Scratch) -> Result<Arc<PcmSpool>, String> {
    with_file(scratch, |path| {
        let source = AudioSource { path: path.to_owned(), name: None };
        let options = AudioOptions { scratch: scratch.clone(), max_duration_s: 60, ffmpeg: None };
        let decoded = audio::decode_to_spool(&source, &options, &CancelToken::new());
        Ok(decoded.map_err(|error| error.to_string())?.spool)
    })
}

/// Calls `work` with the recording as a file, which is removed afterwards.
///
/// # Errors
/// When the file cannot be written; what `work` gives.
pub fn with_file<R>(scratch: &Scratch, work: impl FnOnce(&Path) -> Result<R, String>) -> Result<R, String> {
    let (file, mut out) = scratch.named("sample-").map_err(|error| error.to_string())?;
    out.write_all(RECORDING).map_err(|error| ScratchError::from(error).to_string())?;
    work(file.path())
}
