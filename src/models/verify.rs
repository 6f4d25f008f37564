//! Is a file what it should be? SHA-256 of model files, and the notes that keep hashes beside them.
//!
//! A model that is in no catalogue is verified when it is pulled, against the hub's own value; the value is
//! kept beside it as `<file>.sha256`, in the form that `sha256sum -c` reads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ModelError;
use super::catalogue::ModelSpec;

/// What hashing a model file showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file is what the catalogue or the hub said.
    Sound {
        /// SHA-256 of the file.
        sha256: String,
    },
    /// The file is something else.
    Damaged {
        /// SHA-256 that it should have.
        expected: String,
        /// SHA-256 that it has.
        actual: String,
    },
    /// Nobody has said what the file should be.
    Unverifiable {
        /// SHA-256 of the file.
        sha256: String,
    },
    /// The model is not on this machine.
    NotInstalled,
}

/// Hashes the file of a model. `on_bytes` hears how many bytes more have been read.
///
/// # Errors
/// `Unusable` when the file cannot be read.
pub fn verify(spec: &ModelSpec, on_bytes: &mut dyn FnMut(u64)) -> Result<Verdict, ModelError> {
    let Some(path) = &spec.path else { return Ok(Verdict::NotInstalled) };
    let sha256 = sha256_of_file(path, on_bytes).map_err(|error| ModelError::Unusable {
        id: spec.id.clone(),
        reason: format!("its file cannot be read ({error})"),
    })?;
    Ok(match spec.sha256.clone().or_else(|| noted_sha256(path)) {
        None => Verdict::Unverifiable { sha256 },
        Some(expected) if expected == sha256 => Verdict::Sound { sha256 },
        Some(expected) => Verdict::Damaged { expected, actual: sha256 },
    })
}

/// Holds a file against what is known of it, before an engine takes it: one with damaged weights can end the process,
/// or keep it busy without end. Nothing is read of a file of which nothing is known.
///
/// # Errors
/// `Unusable` when it is something else, or cannot be read.
pub fn check_before_loading(spec: &ModelSpec) -> Result<(), ModelError> {
    let known = spec.sha256.is_some() || spec.path.as_deref().and_then(noted_sha256).is_some();
    if !known || !matches!(verify(spec, &mut |_| {})?, Verdict::Damaged { .. }) {
        return Ok(());
    }
    let id = spec.id.clone();
    let reason = format!(
        "its file is damaged or has been replaced, for its checksum is not the known one; `diarist models pull {id}` \
         fetches it again, and a model of your own needs a name of its own"
    );
    Err(ModelError::Unusable { id, reason })
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256_of_file(path: &Path, on_bytes: &mut dyn FnMut(u64)) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hash_into(&mut hasher, &mut File::open(path)?, on_bytes)?;
    Ok(hex(hasher))
}

/// Feeds everything that `source` still has to `hasher`; gives the number of bytes.
pub(super) fn hash_into(
    hasher: &mut Sha256,
    source: &mut dyn Read,
    on_bytes: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                total += read as u64;
                on_bytes(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The hash so far, in lower-case hexadecimal.
pub(super) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` in lower case if it is a SHA-256 in hexadecimal.
pub(super) fn parse_sha256(text: &str) -> Option<String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

/// Keeps the hash of a file beside it.
pub(super) fn note_sha256(path: &Path, sha256: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::write(note_path(path), format!("{sha256}  {name}\n"))
}

/// The hash kept beside a file, if there is one.
pub(super) fn noted_sha256(path: &Path) -> Option<String> {
    let mut text = String::new();
    // A note is one line; whatever else lies there is not read whole.
    File::open(note_path(path)).ok()?.take(1024).read_to_string(&mut text).ok()?;
    parse_sha256(text.split_whitespace().next()?)
}

fn note_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sha256");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn spec(path: Option<PathBuf>, sha256: Option<&str>) -> ModelSpec {
        ModelSpec {
            id: "x".into(),
            role: super::super::catalogue::Role::Speech,
            path,
            size: None,
            sha256: sha256.map(str::to_owned),
            created: 0,
            owned_by: "user".into(),
            licence: None,
            chunk_target_ms: None,
            chunk_max_ms: None,
            short_context: false,
            separation: None,
            needs: Vec::new(),
            description: String::new(),
        }
    }

    fn verdict(path: Option<PathBuf>, sha256: Option<&str>) -> Verdict {
        verify(&spec(path, sha256), &mut |_| {}).expect("readable")
    }

    #[test]
    fn a_file_is_held_against_the_catalogue_first_and_the_note_beside_it_second() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.bin");
        fs::write(&path, "abc").expect("a file");
        let here = || Some(path.clone());
        assert_eq!(verdict(here(), None), Verdict::Unverifiable { sha256: ABC.into() });
        assert_eq!(verdict(here(), Some(ABC)), Verdict::Sound { sha256: ABC.into() });
        note_sha256(&path, &"0".repeat(64)).expect("a note");
        let damaged = Verdict::Damaged { expected: "0".repeat(64), actual: ABC.into() };
        assert_eq!(verdict(here(), None), damaged);
        assert_eq!(verdict(here(), Some(ABC)), Verdict::Sound { sha256: ABC.into() });
        assert_eq!(verdict(None, Some(ABC)), Verdict::NotInstalled);
    }

    #[test]
    fn only_a_file_that_is_known_to_be_something_else_is_kept_from_the_engine() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.bin");
        fs::write(&path, "abc").expect("a file");
        let check = |sha256| check_before_loading(&spec(Some(path.clone()), sha256));
        assert!(check(None).is_ok() && check(Some(ABC)).is_ok());
        let error = check(Some(&"0".repeat(64))).expect_err("another file").to_string();
        assert!(error.contains("models pull x") && error.contains("checksum"), "{error}");
    }

    #[test]
    fn a_note_that_is_no_hash_is_no_note() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.bin");
        fs::write(note_path(&path), "not a hash").expect("a note");
        assert_eq!(noted_sha256(&path), None);
        fs::write(note_path(&path), format!("{}  x.bin", ABC.to_uppercase())).expect("a note");
        assert_eq!(noted_sha256(&path).as_deref(), Some(ABC));
    }

    #[test]
    fn all_bytes_are_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.bin");
        fs::write(&path, vec![0; 3_000_000]).expect("a file");
        let mut counted = 0;
        sha256_of_file(&path, &mut |bytes| counted += bytes).expect("readable");
        assert_eq!(counted, 3_000_000);
    }
}
