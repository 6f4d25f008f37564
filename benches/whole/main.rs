//! The whole program beside a peer or a limit, in one run on one machine: only ratios mean something, so
//! every line gives one. `docs/benchmarks.md` says how to read them.
//!
//! `cargo bench --bench whole -- memory` measures one part; the parts are `decode`, `overhead`, `fairness`,
//! `first-text`, `memory`, `crowd`, `peers`, `speakers`, `diarizers`, `separation`, `music` and `unbroken`.

mod crowd;
mod decode;
mod diarizers;
mod fairness;
mod first_text;
mod measure;
mod memory;
mod music;
mod overhead;
mod peers;
#[allow(dead_code, reason = "made for the pipeline's tests; the benches use its recordings")]
#[path = "../../tests/pipeline/support.rs"]
mod recordings;
#[allow(dead_code, reason = "made for the pipeline's tests; the benches use its numbers")]
#[path = "../../tests/pipeline/scenes.rs"]
mod scenes;
mod separation;
#[allow(dead_code, reason = "made for the pipeline's tests; the benches use its recordings")]
#[path = "../../tests/pipeline/songs.rs"]
mod songs;
mod speakers;
mod unbroken;
mod voices;

/// As the tests call it, which the songs are from.
use recordings as support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A part measures and prints; `false` when a limit was broken.
type Part = fn(&Path) -> bool;

const PARTS: [(&str, Part); 12] = [
    ("decode", decode::run),
    ("overhead", overhead::run),
    ("fairness", fairness::run),
    ("first-text", first_text::run),
    ("memory", memory::run),
    ("crowd", crowd::run),
    ("peers", peers::run),
    ("speakers", speakers::run),
    ("diarizers", diarizers::run),
    ("music", music::run),
    ("separation", separation::run),
    ("unbroken", unbroken::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, file, folder] = &arguments[..]
        && first == decode::CHILD
    {
        decode::child(Path::new(file), Path::new(folder));
        return ExitCode::SUCCESS;
    }
    // Cargo adds `--bench`.
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut kept = true;
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|text| name.contains(text.as_str())) {
            kept &= part(folder.path());
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A recording of the fixtures' sentences, about so many minutes long.
fn speech(folder: &Path, minutes: f64) -> PathBuf {
    let path = folder.join(format!("speech-{minutes}-min.wav"));
    if !path.exists() {
        recordings::long_recording(&path, (minutes * 60.0) as u64);
    }
    path
}
