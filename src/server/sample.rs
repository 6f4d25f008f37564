//! A short recording that comes with the program, with its words, for trying things out.

use std::path::Path;

use crate::audio::{self, AudioSource};
use crate::cancel::CancelToken;
use crate::config::Settings;
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
pub fn clip(settings: &Settings) -> Result<Vec<f32>, String> {
    with_file(&settings.temp_dir(), |path| {
        let source = AudioSource { path: path.to_owned(), name: None };
        let decoded = audio::decode_to_spool(&source, &settings.pipeline().audio, &CancelToken::new());
        let spool = decoded.map_err(|error| error.to_string())?.spool;
        let mut samples = Vec::new();
        spool.read(TimeSpan::new(0, CLIP.min(spool.len())), &mut samples);
        Ok(samples)
    })
}

/// Calls `work` with the recording as a file in `folder`, which is removed afterwards.
///
/// # Errors
/// When the file cannot be written; what `work` gives.
pub fn with_file<R>(folder: &Path, work: impl FnOnce(&Path) -> Result<R, String>) -> Result<R, String> {
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;
    std::fs::write(file.path(), RECORDING).map_err(|error| error.to_string())?;
    work(file.path())
}
