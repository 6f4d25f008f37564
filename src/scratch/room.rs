//! How much temporary files take, and how much they may.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ScratchError;

/// The disk is asked for its free space whenever all files together have grown by so many bytes.
const LOOK_EVERY: u64 = 1 << 20;

/// What the disk under the temporary files has. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What unprivileged programs may still write.
    pub free_bytes: u64,
    /// Its size.
    pub size_bytes: u64,
}

/// The count of all files, and its limits.
#[derive(Debug)]
pub(super) struct Room {
    /// A folder on the disk in question.
    place: PathBuf,
    min_free: u64,
    max: u64,
    taken: AtomicU64,
    /// Bytes taken since the disk was asked last.
    unseen: AtomicU64,
}

impl Room {
    /// Limits of 0 are none.
    pub(super) fn new(place: &Path, min_free: u64, max: u64) -> Self {
        let (taken, unseen) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { place: place.to_owned(), min_free, max, taken, unseen }
    }

    /// Bytes taken now.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// What the disk has.
    pub(super) fn disk(&self) -> io::Result<Disk> {
        let disk = rustix::fs::statvfs(&self.place)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Disk { free_bytes: bytes(disk.f_bavail), size_bytes: bytes(disk.f_blocks) })
    }

    /// Whether `bytes` more would be within both limits.
    pub(super) fn check(&self, bytes: u64) -> Result<(), ScratchError> {
        if self.max > 0 && self.taken().saturating_add(bytes) > self.max {
            return Err(ScratchError::OverLimit { limit: self.max });
        }
        self.look(bytes)
    }

    /// Counts `bytes` more, which are about to be written.
    ///
    /// # Errors
    /// As `check`; then they are not counted.
    pub(super) fn take(&self, bytes: u64) -> Result<(), ScratchError> {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let outcome = if self.max > 0 && taken > self.max {
            Err(ScratchError::OverLimit { limit: self.max })
        } else {
            self.look_now_and_then(bytes)
        };
        if outcome.is_err() {
            self.give_back(bytes);
        }
        outcome
    }

    /// Counts `bytes` less.
    pub(super) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn look_now_and_then(&self, bytes: u64) -> Result<(), ScratchError> {
        if self.unseen.fetch_add(bytes, Ordering::Relaxed) + bytes < LOOK_EVERY {
            return Ok(());
        }
        // While it is short of space, every further write asks.
        self.look(bytes)?;
        self.unseen.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn look(&self, wanted: u64) -> Result<(), ScratchError> {
        if self.min_free == 0 {
            return Ok(());
        }
        match self.disk().map(|disk| disk.free_bytes) {
            Ok(free) if free < self.min_free.saturating_add(wanted) => {
                Err(ScratchError::LowSpace { free, wanted })
            }
            Ok(_) => Ok(()),
            // Whoever removed the folder; making the next file makes it again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_not_counted() {
        let room = Room::new(Path::new("/"), 0, 10);
        room.take(6).unwrap();
        assert!(room.take(5).is_err());
        assert_eq!(room.taken(), 6);
        room.give_back(6);
        room.take(10).unwrap();
    }

    #[test]
    fn a_short_disk_stops_files_once_they_have_grown_enough_to_look() {
        let room = Room::new(Path::new("/"), u64::MAX, 0);
        room.take(LOOK_EVERY - 1).unwrap();
        assert!(room.take(1).is_err());
        assert!(room.take(1).is_err(), "and every time after that");
        assert_eq!(room.taken(), LOOK_EVERY - 1);
    }
}
