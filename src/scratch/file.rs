//! Temporary files whose size is counted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempPath;
use uuid::Uuid;

use super::{Inner, ScratchError};

/// What one file has of the room; given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Inner>,
    bytes: u64,
}

impl Share {
    pub(super) fn new(of: Arc<Inner>) -> Self {
        Self { of, bytes: 0 }
    }

    /// Takes room for `bytes` more, before they are written.
    ///
    /// # Errors
    /// When there is none; the file must then not grow.
    pub fn grow(&mut self, bytes: u64) -> Result<(), ScratchError> {
        self.of.room.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.room.give_back(self.bytes);
    }
}

/// A file without a name, read and written at positions by any number of threads.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    share: Mutex<Share>,
}

impl ScratchFile {
    pub(super) fn new(file: File, share: Share) -> Self {
        Self { file, share: Mutex::new(share) }
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), ScratchError> {
        let end = offset + bytes.len() as u64;
        {
            let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
            let more = end.saturating_sub(share.bytes);
            share.grow(more)?;
        }
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// When the disk fails, or the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ScratchError> {
        Ok(self.file.read_exact_at(buffer, offset)?)
    }

    /// Reads up to `buffer.len()` bytes from `offset`, and gives how many; 0 at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// The file itself, for tests that damage it.
    #[cfg(test)]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// A new file (0600) in `folder`. `tempfile` would do, but for its errors, which hide the system's number.
pub(super) fn create(folder: &Path, prefix: &str) -> io::Result<(TempPath, File)> {
    let path = folder.join(format!("{prefix}{}", Uuid::new_v4().simple()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((TempPath::try_from_path(path)?, file))
}

/// A file with a name, removed when it is dropped.
#[derive(Debug)]
pub struct NamedFile {
    path: TempPath,
    /// Its room; whoever writes takes it first.
    pub share: Share,
}

impl NamedFile {
    /// The file, with the handle to write to it.
    pub(super) fn new((path, file): (TempPath, File), share: Share) -> (Self, File) {
        (Self { path, share }, file)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
