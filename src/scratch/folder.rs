//! The folder that temporary files lie in.
//!
//! Each process makes one of its own, `diarist-PID-XXXXXX`, and holds a lock (flock) on it. The system lets go of the
//! lock when the process ends, however it ends, so a folder whose lock can be taken belongs to nobody any more: process
//! numbers come again, locks do not lie. The lock is on the folder itself, which keeps systemd-tmpfiles away too.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the names of our folders begin with.
const PREFIX: &str = "diarist-";

/// Random letters at the end of their names.
const RANDOM: usize = 6;

/// Rights of our folders: nobody else looks in.
const MODE: u32 = 0o700;

/// Times that a new folder is tried for, should others remove it at once.
const ATTEMPTS: usize = 8;

/// Where files are made.
#[derive(Debug)]
pub(super) enum Folder {
    /// A folder of this process alone.
    Private { parent: PathBuf, home: Mutex<Option<Home>> },
    /// A folder that others look after.
    Shared(PathBuf),
}

/// A private folder that is there.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// Open as long as it is ours; locked, where the file system has locks.
    handle: File,
}

impl Folder {
    /// Sweeps `parent` and makes a folder in it.
    pub(super) fn private(parent: &Path) -> io::Result<Self> {
        let parent = std::path::absolute(parent)?;
        sweep(&parent);
        let home = Mutex::new(Some(Home::make(&parent)?));
        Ok(Self::Private { parent, home })
    }

    /// The folder `path` as it is.
    pub(super) fn shared(path: &Path) -> Self {
        Self::Shared(path.to_owned())
    }

    /// Lets `make` create something in the folder. Should somebody have removed it, it is made again.
    pub(super) fn create<T>(&self, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let (parent, home) = match self {
            Self::Shared(path) => return make(path),
            Self::Private { parent, home } => (parent, home),
        };
        for _ in 0..ATTEMPTS {
            let path = present(parent, &mut lock(home))?;
            match make(&path) {
                // It went away just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome,
            }
        }
        make(&present(parent, &mut lock(home))?)
    }

    /// Where files are made now; the parent once it is closed.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Shared(path) => path.clone(),
            Self::Private { parent, home } => {
                lock(home).as_ref().map_or_else(|| parent.clone(), |home| home.path.clone())
            }
        }
    }

    /// Removes a private folder for good.
    pub(super) fn close(&self) {
        if let Self::Private { home, .. } = self
            && let Some(home) = lock(home).take()
            && home.is_there()
            && let Err(error) = fs::remove_dir_all(&home.path)
        {
            tracing::warn!(%error, "the folder of temporary files was not removed; the next start does");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(home: &Mutex<Option<Home>>) -> MutexGuard<'_, Option<Home>> {
    // It is replaced in one step.
    home.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Path of the folder, which is made again if it is there no more.
fn present(parent: &Path, home: &mut Option<Home>) -> io::Result<PathBuf> {
    let Some(current) = home else { return Err(io::Error::other("the program is stopping")) };
    if !current.is_there() {
        tracing::warn!("somebody removed the folder of temporary files; it is made again");
        // There when the program started.
        DirBuilder::new().recursive(true).mode(MODE).create(parent)?;
        *current = Home::make(parent)?;
    }
    Ok(current.path.clone())
}

impl Home {
    /// A new folder in `parent`, locked.
    fn make(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let made = tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{}-", std::process::id()))
                .rand_bytes(RANDOM)
                .permissions(Permissions::from_mode(MODE))
                .tempdir_in(parent)?;
            let handle = match open_folder(made.path()) {
                Ok(handle) => handle,
                // Swept before it was locked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match handle.try_lock() {
                Ok(()) => {}
                // A sweeper has just taken it and will remove it.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => tracing::warn!(
                    %error,
                    "the file system of temp_dir has no locks: what a killed process leaves there stays"
                ),
            }
            let home = Self { path: made.path().to_owned(), handle };
            if home.is_there() {
                let _ = made.keep();
                return Ok(home);
            }
        }
        Err(io::Error::other("a new folder is removed by others again and again"))
    }

    /// Whether the path still leads to this folder, and not to none or to somebody else's.
    fn is_there(&self) -> bool {
        match (fs::symlink_metadata(&self.path), self.handle.metadata()) {
            (Ok(found), Ok(ours)) => (found.dev(), found.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }
}

/// Opens a folder, never through a link.
fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Removes the folders of processes that have ended. What cannot be removed is logged and stays.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let mut removed = 0;
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(is_our_name);
        match ours.then(|| remove_if_dead(&entry.path())) {
            Some(Ok(true)) => removed += 1,
            Some(Err(error)) => {
                tracing::warn!(%error, folder = %entry.path().display(), "left-over temporary files stay");
            }
            Some(Ok(false)) | None => {}
        }
    }
    if removed > 0 {
        tracing::info!(folders = removed, "temporary files of ended processes removed");
    }
}

/// Removes the folder `path` if it is a real one, of this user, that no living process holds; gives whether it was.
fn remove_if_dead(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let home = Home { path: path.to_owned(), handle: open_folder(path)? };
    match home.handle.try_lock() {
        Ok(()) if home.is_there() => {}
        // Held; or without locks, and then nobody knows.
        _ => return Ok(false),
    }
    fs::remove_dir_all(path)?;
    Ok(true)
}

/// Whether a folder of this name is one that `Home::make` made.
fn is_our_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).is_some_and(|(process, random)| {
        (1..=10).contains(&process.len())
            && process.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == RANDOM
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_dead_are_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let alive = Home::make(parent.path()).unwrap();
        let alive_name = alive.path.file_name().unwrap().to_str().unwrap().to_owned();
        // The same process number as that of a living one: the lock counts, not the number.
        let dead = format!("diarist-{}-aB3xYz", std::process::id());
        let others = [
            "diarist-12-toolong1",
            "diarist-12-short",
            "diarist-x-aB3xYz",
            "diarist-models",
            "diarist--aB3xYz",
            "other-12-aB3xYz",
        ];
        for name in [dead.as_str(), "diarist-1-000000"].iter().chain(&others) {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("upload-1"), "x").unwrap();
        }
        fs::create_dir(at(&dead).join("deeper")).unwrap();
        fs::write(at("diarist-7-aaaaaa"), "a file").unwrap();
        symlink(at("diarist-models"), at("diarist-8-aaaaaa")).unwrap();
        symlink(at("diarist-models"), at(&dead).join("link")).unwrap();

        sweep(parent.path());
        let mut expected: Vec<&str> = others.to_vec();
        expected.extend(["diarist-7-aaaaaa", "diarist-8-aaaaaa", &alive_name]);
        expected.sort_unstable();
        assert_eq!(names(parent.path()), expected);
        assert_eq!(names(&at("diarist-models")), ["upload-1"], "links are not followed");

        drop(alive);
        sweep(parent.path());
        assert!(!at(&alive_name).exists(), "its owner has gone");
    }

    #[test]
    fn sweepers_and_makers_at_once_leave_each_maker_its_folder() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let home = Home::make(parent.path()).unwrap();
                        fs::write(home.path.join("upload-1"), "x").unwrap();
                        assert!(home.is_there());
                    }
                });
                scope.spawn(|| (0..200).for_each(|_| sweep(parent.path())));
            }
        });
        sweep(parent.path());
        assert_eq!(names(parent.path()), [""; 0]);
    }
}
