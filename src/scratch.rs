//! Temporary files: uploads, decoded sound, long transcripts.
//!
//! `folder` gives each process a private folder, and at start removes those of processes that have died; `room`
//! counts what the files take and keeps some of the disk free; `file` is a file that is counted; `error` says
//! what to do when there is no room. Knows nothing of what is stored.

mod error;
mod file;
mod folder;
mod room;

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::ScratchError;
pub use file::{NamedFile, ScratchFile, Share};
use folder::Folder;
pub use room::Disk;
use room::Room;

/// Where temporary files lie, and how much room they may take.
#[derive(Clone, Debug, Default)]
pub struct ScratchOptions {
    /// Existing folder in which the process makes its own (`temp_dir`).
    pub parent: PathBuf,
    /// Bytes of the disk that stay free for others (`temp_min_free_bytes`); 0 does not look.
    pub min_free_bytes: u64,
    /// Most bytes of all temporary files together (`temp_max_bytes`); 0 sets no limit.
    pub max_bytes: u64,
}

/// The temporary files of this process. Clones share folder and count.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    room: Room,
}

impl Scratch {
    /// Removes what ended processes have left in `options.parent` and makes a private folder (0700) there, which is
    /// removed with the last clone of this, or by `close`.
    ///
    /// # Errors
    /// When the parent does not take a folder.
    pub fn open(options: &ScratchOptions) -> Result<Self, ScratchError> {
        let folder = Folder::private(&options.parent)?;
        let room = Room::new(&options.parent, options.min_free_bytes, options.max_bytes);
        Ok(Self(Arc::new(Inner { folder, room })))
    }

    /// Files directly in `folder`, without limits, for whoever looks after that folder himself.
    pub fn within(folder: &Path) -> Self {
        let room = Room::new(folder, 0, 0);
        Self(Arc::new(Inner { folder: Folder::shared(folder), room }))
    }

    /// A file without a name (0600); the system removes it when the last handle closes, even after a crash.
    ///
    /// # Errors
    /// When there is no room, or the folder takes no file.
    pub fn unnamed(&self) -> Result<ScratchFile, ScratchError> {
        self.0.room.check(0)?;
        let file = self.0.folder.create(|folder| tempfile::tempfile_in(folder))?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(ScratchFile::new(file, self.share()))
    }

    /// A file (0600) whose name starts with `prefix`, removed when it is dropped, for readers that need a path; and
    /// the handle to write to it.
    ///
    /// # Errors
    /// When there is no room, or the folder takes no file.
    pub fn named(&self, prefix: &str) -> Result<(NamedFile, File), ScratchError> {
        self.0.room.check(0)?;
        let file = self.0.folder.create(|folder| file::create(folder, prefix))?;
        Ok(NamedFile::new(file, self.share()))
    }

    /// Whether `bytes` more would find room now. Nothing is set aside for them.
    ///
    /// # Errors
    /// `LowSpace` or `OverLimit` if not, `Failed` when the disk cannot be asked.
    pub fn check(&self, bytes: u64) -> Result<(), ScratchError> {
        self.0.room.check(bytes)
    }

    /// Bytes that all temporary files of this process take now.
    pub fn bytes(&self) -> u64 {
        self.0.room.taken()
    }

    /// The disk under the files; what is free includes those bytes that are to stay so.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn disk(&self) -> io::Result<Disk> {
        self.0.room.disk()
    }

    /// Where files are made now.
    pub fn path(&self) -> PathBuf {
        self.0.folder.path()
    }

    /// Removes the folder with everything in it; afterwards no more files are made. For the end of the process,
    /// when threads that still hold clones will never get to drop them.
    pub fn close(&self) {
        self.0.folder.close();
    }

    fn share(&self) -> Share {
        Share::new(Arc::clone(&self.0))
    }
}

impl Default for Scratch {
    /// The system's folder, as `within`.
    fn default() -> Self {
        Self::within(&std::env::temp_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(parent: &Path, min_free_bytes: u64, max_bytes: u64) -> Scratch {
        Scratch::open(&ScratchOptions { parent: parent.to_owned(), min_free_bytes, max_bytes }).unwrap()
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folder_and_files_are_private_and_go_with_their_owner() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 0);
        let (file, _handle) = scratch.named("upload-").unwrap();
        let unnamed = scratch.unnamed().unwrap();
        assert_eq!(mode(&scratch.path()), 0o700);
        assert_eq!(mode(file.path()), 0o600);
        assert_eq!(unnamed.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(entries(&scratch.path()), 1, "the other one has no name");
        drop(file);
        assert_eq!(entries(&scratch.path()), 0);
        drop(unnamed);
        let clone = scratch.clone();
        drop(scratch);
        assert_eq!(entries(parent.path()), 1);
        drop(clone);
        assert_eq!(entries(parent.path()), 0);
    }

    #[test]
    fn a_closed_folder_is_gone_and_takes_no_more_files() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 0);
        let _kept = scratch.named("upload-").unwrap();
        scratch.close();
        assert_eq!(entries(parent.path()), 0);
        assert!(scratch.named("upload-").is_err() && scratch.unnamed().is_err());
        assert_eq!(entries(parent.path()), 0);
    }

    #[test]
    fn files_are_counted_by_their_size_as_long_as_they_are_there() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 0);
        let file = scratch.unnamed().unwrap();
        file.write_all_at(&[1; 100], 0).unwrap();
        file.write_all_at(&[2; 100], 50).unwrap();
        assert_eq!(scratch.bytes(), 150, "written twice, there once");
        let (mut named, _handle) = scratch.named("upload-").unwrap();
        named.share.grow(1_000).unwrap();
        assert_eq!(scratch.bytes(), 1_150);
        drop(file);
        drop(named);
        assert_eq!(scratch.bytes(), 0);
    }

    #[test]
    fn the_limit_of_all_files_together_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 1_000);
        let (one, two) = (scratch.unnamed().unwrap(), scratch.unnamed().unwrap());
        one.write_all_at(&[0; 600], 0).unwrap();
        let error = two.write_all_at(&[0; 401], 0).unwrap_err();
        assert!(matches!(error, ScratchError::OverLimit { limit: 1_000 }), "{error:?}");
        assert!(scratch.check(400).is_ok() && scratch.check(401).is_err());
        two.write_all_at(&[0; 400], 0).unwrap();
        drop(one);
        assert!(scratch.check(600).is_ok());
    }

    #[test]
    fn some_of_the_disk_stays_free() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), u64::MAX, 0);
        let error = scratch.unnamed().unwrap_err();
        assert!(matches!(error, ScratchError::LowSpace { .. }), "{error:?}");
        let roomy = open(parent.path(), 1, 0);
        assert!(roomy.disk().unwrap().free_bytes > 1 && roomy.check(1).is_ok());
        assert!(matches!(roomy.check(u64::MAX / 2), Err(ScratchError::LowSpace { .. })));
    }

    #[test]
    fn a_disk_has_room_and_a_missing_folder_has_none() {
        let disk_here = Scratch::within(Path::new(".")).disk().unwrap();
        assert!(disk_here.free_bytes <= disk_here.size_bytes && disk_here.size_bytes > 0);
        assert!(Scratch::within(Path::new("/nonexistent/folder")).disk().is_err());
    }

    #[test]
    fn a_folder_that_somebody_removed_is_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 0);
        let before = scratch.unnamed().unwrap();
        std::fs::remove_dir_all(scratch.path()).unwrap();
        let (after, _handle) = scratch.named("upload-").unwrap();
        assert!(after.path().exists() && after.path().starts_with(scratch.path()));
        assert_eq!(mode(&scratch.path()), 0o700);
        drop(before);
        // And with the folder that it lay in.
        let inner = parent.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let scratch = open(&inner, 0, 0);
        std::fs::remove_dir_all(&inner).unwrap();
        assert!(scratch.unnamed().is_ok());
    }

    #[test]
    fn a_folder_that_somebody_put_in_the_place_of_ours_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = open(parent.path(), 0, 0);
        let path = scratch.path();
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let (file, _handle) = scratch.named("upload-").unwrap();
        assert!(!file.path().starts_with(&path), "{:?}", file.path());
        assert_eq!(entries(&path), 0);
        scratch.close();
        assert!(path.exists(), "it is not ours to remove");
    }

    #[test]
    fn a_missing_folder_is_told_without_its_path() {
        let options = ScratchOptions { parent: "/nonexistent/folder".into(), ..ScratchOptions::default() };
        let error = Scratch::open(&options).unwrap_err();
        assert!(!error.to_string().contains("nonexistent"), "{error}");
        let error = Scratch::within(Path::new("/nonexistent/folder")).unnamed().unwrap_err();
        assert!(!error.to_string().contains("nonexistent"), "{error}");
    }
}
