//! Which files of a folder belong together: NAME.rttm (who really spoke when), NAME.uem (what is scored, if not
//! all), and the recording NAME.flac, .wav, ….

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::diarization::score::{Annotation, FormatError, rttm, uem};
use crate::time::TimeSpan;

/// Largest file of turns or regions that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Endings of files that are recordings.
const RECORDINGS: [&str; 17] = [
    "aac", "aif", "aiff", "caf", "flac", "m4a", "m4b", "mka", "mkv", "mov", "mp3", "mp4", "oga", "ogg",
    "opus", "wav", "webm",
];

/// One recording of a folder with its truth.
pub struct Pair {
    /// Its name without ending.
    pub name: String,
    /// Who really speaks when.
    pub truth: Annotation,
    /// What is scored, disjoint and in order; `None` for everything.
    pub evaluated: Option<Vec<TimeSpan>>,
    /// Its sound, if the folder has it.
    pub recording: Option<PathBuf>,
}

/// Everything in `folder` that has an RTTM file, by name.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn find(folder: &Path) -> Result<Vec<Pair>, String> {
    let mut truths: Vec<(String, PathBuf)> = Vec::new();
    let mut recordings: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let cannot = |error: std::io::Error| format!("the folder {} cannot be read: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let Some((name, ending)) = name_and_ending(&path) else { continue };
        if ending == "rttm" {
            truths.push((name, path));
        } else if RECORDINGS.contains(&ending.as_str()) {
            recordings.entry(name).or_default().push(path);
        }
    }
    if truths.is_empty() {
        return Err(format!("there is no .rttm file in {}", folder.display()));
    }
    truths.sort();
    truths.into_iter().map(|(name, path)| pair(name, &path, &mut recordings)).collect()
}

fn pair(name: String, path: &Path, recordings: &mut BTreeMap<String, Vec<PathBuf>>) -> Result<Pair, String> {
    let truth = turns(path, &name)?;
    let regions = path.with_extension("uem");
    let evaluated = if regions.is_file() { parsed(&regions, |bytes| uem::read(bytes, &name))? } else { None };
    let mut sound = recordings.remove(&name).unwrap_or_default();
    if let [first, second, ..] = &sound[..] {
        return Err(format!("{} and {} have the same name", first.display(), second.display()));
    }
    Ok(Pair { name, truth, evaluated, recording: sound.pop() })
}

/// The turns of recording `name` in an RTTM file.
///
/// # Errors
/// Names the file, and the line where one is wrong.
pub fn turns(path: &Path, name: &str) -> Result<Annotation, String> {
    parsed(path, |bytes| rttm::read_one(bytes, name))
}

fn parsed<T>(path: &Path, read: impl FnOnce(&[u8]) -> Result<T, FormatError>) -> Result<T, String> {
    let cannot = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > MAX_BYTES {
        return Err(format!("{} has {bytes} bytes, at most {MAX_BYTES} are read", path.display()));
    }
    let content = std::fs::read(path).map_err(cannot)?;
    read(&content).map_err(|error| format!("{}, {error}", path.display()))
}

/// Ending in lower case; `None` for what has none, and for names that are not Unicode.
fn name_and_ending(path: &Path) -> Option<(String, String)> {
    let text = |part: Option<&OsStr>| part.and_then(OsStr::to_str).map(str::to_owned);
    Some((text(path.file_stem())?, text(path.extension())?.to_ascii_lowercase()))
}
