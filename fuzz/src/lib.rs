//! What the fuzz targets share: a scratch folder in memory where there is one, and a file there.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::Builder::new().prefix("diarist-fuzz-").to_owned();
    folder.tempdir_in(memory).or_else(|_| folder.tempdir()).expect("a folder for temporary files")
});

/// A folder for temporary files, the same for the whole run. Statics are never dropped, so `scripts/fuzz.sh` removes it.
pub fn scratch() -> &'static Path {
    SCRATCH.path()
}

/// Runs `work` on a file that holds `data`.
pub fn with_file(data: &[u8], work: impl FnOnce(&Path)) {
    let path = scratch().join("input");
    fs::write(&path, data).expect("room for the input");
    work(&path);
}
