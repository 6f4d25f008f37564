//! Which model files lie in the folders, and whether they look sound.
//!
//! A look costs one directory listing and the first 48 bytes of each file; nothing is hashed (that is
//! `verify`). Paths come from the listing alone, never from a request.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::ModelError;
use super::catalogue::Role;
use super::entries::{Entries, Entry, id_of_file, printable};

/// A model file on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Unix time it was written.
    pub modified: u64,
    /// Why it cannot be used, with the remedy.
    pub fault: Option<String>,
}

/// Files by the id of their model.
pub type Shelf = BTreeMap<String, Found>;

/// Looks into the folders, the first of which goes before the others. A folder that does not exist is
/// empty. Files that are in no catalogue count if they are Whisper models in GGML form.
///
/// # Errors
/// `Catalogue` when a folder is there and cannot be read.
pub fn look(entries: &Entries, folders: &[&Path]) -> Result<Shelf, ModelError> {
    let mut shelf = Shelf::new();
    for folder in folders {
        for (name, path) in files_of(folder)? {
            let entry = entries.models.iter().find(|entry| entry.file == name);
            let id = entry.map_or_else(|| id_of_file(&name), |entry| entry.id.as_str());
            let known = entry.or_else(|| entries.models.iter().find(|entry| entry.id == id));
            let Some(found) = inspect(&path, known) else { continue };
            let is_better = shelf.get(id).is_none_or(|other| other.fault.is_some() && found.fault.is_none());
            if is_better {
                shelf.insert(id.to_owned(), found);
            }
        }
    }
    Ok(shelf)
}

/// What the names of model files end with.
const ENDINGS: [&str; 3] = [".bin", ".onnx", ".safetensors"];

/// Names and paths of the files in a folder that may be models, by name.
fn files_of(folder: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let unreadable = |error: io::Error| {
        ModelError::Catalogue(format!(
            "the folder of models {} cannot be read ({error}); DIARIST_MODELS_DIR names another",
            folder.display()
        ))
    };
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for item in listing {
        let item = item.map_err(unreadable)?;
        let Ok(name) = item.file_name().into_string() else { continue };
        let may_be_a_model = ENDINGS.iter().any(|ending| name.ends_with(ending)) && !name.starts_with('.');
        if may_be_a_model && printable(&name) == name {
            files.push((name, item.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// What the file is; `None` if it is neither in the catalogue nor a Whisper model.
fn inspect(path: &Path, entry: Option<&Entry>) -> Option<Found> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let size = metadata.len();
    let is_whisper = is_whisper_file(path);
    let fault = match entry {
        None if !is_whisper => return None,
        None => None,
        Some(entry) => fault_of(entry, size, is_whisper),
    };
    let modified = modified.map_or(0, |age| age.as_secs());
    Some(Found { path: path.to_owned(), size, modified, fault })
}

/// What is wrong with the file of a catalogued model.
fn fault_of(entry: &Entry, size: u64, is_whisper: bool) -> Option<String> {
    let remedy = match entry.repo {
        Some(_) => format!("`diarist models pull {}` fetches it again", entry.id),
        None => "it comes with Diarist, install that again".to_owned(),
    };
    match entry.size {
        Some(expected) if expected != size => {
            Some(format!("its file has {size} bytes instead of {expected}; {remedy}"))
        }
        _ if entry.role == Role::Speech && !is_whisper => {
            Some(format!("its file is not a Whisper model in GGML form; {remedy}"))
        }
        _ => None,
    }
}

/// Whether the file starts as a Whisper model in GGML form does.
pub fn is_whisper_file(path: &Path) -> bool {
    let mut header = [0; WHISPER_HEADER_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && is_whisper_header(&header)
}

/// Magic number and the eleven sizes of the network, four bytes each.
const WHISPER_HEADER_BYTES: usize = 48;

/// The header as whisper.cpp's `whisper_model_load` reads it: little endian; magic, n_vocab, n_audio_ctx,
/// n_audio_state, n_audio_head, n_audio_layer, n_text_ctx, n_text_state, n_text_head, n_text_layer, n_mels,
/// ftype. Voice activity models share the magic number, and have the length of a string where Whisper has
/// its vocabulary.
fn is_whisper_header(header: &[u8; WHISPER_HEADER_BYTES]) -> bool {
    const MAGIC: u32 = 0x6767_6d6c;
    let field = |index: usize| {
        let bytes = header.get(4 * index..4 * index + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let (vocabulary, frames, mels) = (field(1), field(2), field(10));
    field(0) == MAGIC
        && (1_000..1_000_000).contains(&vocabulary)
        && (1..100_000).contains(&frames)
        && (1..1_000).contains(&mels)
}

/// Writes a file of `size` bytes (mostly a hole) that starts as a Whisper model does.
#[cfg(test)]
pub(super) fn write_fake_model(path: &Path, size: u64) {
    let header = [0x6767_6d6c_u32, 51864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1];
    let bytes: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    fs::write(path, bytes).expect("a file");
    File::options().write(true).open(path).and_then(|file| file.set_len(size)).expect("a length");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: [u32; 12]) -> [u8; WHISPER_HEADER_BYTES] {
        let mut bytes = [0; WHISPER_HEADER_BYTES];
        for (slot, field) in bytes.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_header_of_whisper_is_known_from_others() {
        let tiny = [0x6767_6d6c, 51864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1];
        assert!(is_whisper_header(&header(tiny)));
        let mut gguf = tiny;
        gguf[0] = 0x4655_4747;
        assert!(!is_whisper_header(&header(gguf)));
        // ggml-silero: the magic number, then the length of its type's name
        let mut silero = tiny;
        silero[1] = 10;
        assert!(!is_whisper_header(&header(silero)));
        assert!(!is_whisper_header(&[0; WHISPER_HEADER_BYTES]));
    }
}
