//! Files as the built-in decoders read them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

/// How a file is to be read other than as it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mend {
    /// Bytes to read instead of those in the file, in order of their offsets.
    pub(super) patches: Vec<(u64, [u8; 4])>,
    /// Where to stop reading, if not at the end.
    pub(super) end: Option<u64>,
    /// A part to leave out: its first byte, and the byte to go on with.
    pub(super) hole: Option<(u64, u64)>,
}

/// A file with some bytes replaced or left out, perhaps only readable forwards.
pub(super) struct PatchedFile {
    file: File,
    mend: Mend,
    length: u64,
    at: u64,
    seekable: bool,
    progress: Arc<AtomicU64>,
}

impl PatchedFile {
    /// Opens `path` at its start. Without `seekable` its readers are told that they cannot go back, which
    /// makes them take what comes instead of looking for an index that a damaged file may not have.
    /// A file with a hole is never seekable.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, mend: Mend, seekable: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let file_length = file.metadata()?.len();
        let length = mend.end.map_or(file_length, |end| end.min(file_length));
        let seekable = seekable && mend.hole.is_none();
        Ok(Self { file, mend, length, at: 0, seekable, progress: Arc::default() })
    }

    /// Offset in the file of the latest read; readers buffer, so what they have handed out lies before.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        self.progress.clone()
    }

    /// Lays the patches over `bytes`, which were read at the current place.
    fn patch(&self, bytes: &mut [u8]) {
        let end = self.at + bytes.len() as u64;
        let first = self.mend.patches.partition_point(|(offset, _)| offset + 4 <= self.at);
        for (offset, patch) in self.mend.patches[first..].iter().take_while(|(offset, _)| *offset < end) {
            for (place, byte) in (*offset..).zip(patch) {
                if let Some(index) = place.checked_sub(self.at)
                    && let Some(target) = bytes.get_mut(index as usize)
                {
                    *target = *byte;
                }
            }
        }
    }
}

impl Read for PatchedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stop = self.length;
        if let Some((hole, next)) = self.mend.hole {
            if self.at == hole {
                self.at = self.file.seek(SeekFrom::Start(next))?;
            } else if self.at < hole {
                stop = hole;
            }
        }
        self.progress.store(self.at, Ordering::Relaxed);
        let left = usize::try_from(stop.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read(&mut buffer[..wanted])?;
        self.patch(&mut buffer[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for PatchedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if !self.seekable {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let absolute = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = absolute.ok_or(io::ErrorKind::InvalidInput)?;
        // Offsets come from the file, and the system refuses some of those past its end; there is
        // nothing to be read there anyway.
        self.file.seek(SeekFrom::Start(self.at.min(self.length)))?;
        Ok(self.at)
    }
}

impl MediaSource for PatchedFile {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then_some(self.length)
    }
}

/// Offset of the first place at or after `from` where `needle` lies in `file`, looking no further than
/// `reach` bytes.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn find(
    file: &mut (impl Read + Seek),
    needle: &[u8; 4],
    from: u64,
    reach: u64,
) -> io::Result<Option<u64>> {
    const BLOCK: usize = 65_536;
    file.seek(SeekFrom::Start(from))?;
    let mut window = Vec::with_capacity(BLOCK + needle.len());
    let mut window_at = from;
    while window_at - from < reach {
        let before = window.len();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut window)?;
        if window.len() == before {
            return Ok(None);
        }
        if let Some(index) = window.windows(needle.len()).position(|bytes| bytes == needle) {
            return Ok(Some(window_at + index as u64));
        }
        // The needle may lie across two blocks.
        let done = window.len().saturating_sub(needle.len() - 1);
        window.drain(..done);
        window_at += done as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn read_all(mend: Mend) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut patched = PatchedFile::open(file.path(), mend, true).unwrap();
        let mut first = [0; 4];
        patched.read_exact(&mut first).unwrap();
        let mut rest = Vec::new();
        patched.read_to_end(&mut rest).unwrap();
        [&first[..], &rest[..]].concat()
    }

    #[test]
    fn patches_hold_across_reads_and_the_end_is_where_the_mend_says() {
        let patches = vec![(2, *b"abcd"), (7, *b"wxyz")];
        assert_eq!(read_all(Mend { patches, end: Some(8), hole: None }), b"01abcd6w");
    }

    #[test]
    fn there_is_nothing_past_the_end_however_far() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut patched = PatchedFile::open(file.path(), Mend::default(), true).unwrap();
        for offset in [1, u64::MAX] {
            assert_eq!(patched.seek(SeekFrom::Start(offset)).unwrap(), offset);
            assert_eq!(patched.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn a_hole_is_left_out() {
        let patches = vec![(1, *b"abcd")];
        assert_eq!(read_all(Mend { patches, end: None, hole: Some((2, 7)) }), b"0a789");
    }

    #[test]
    fn a_needle_across_two_blocks_is_found() {
        for place in [0, 65_533, 65_534, 65_536, 131_070] {
            let mut bytes = vec![0; 140_000];
            bytes[place..place + 4].copy_from_slice(b"OggS");
            let found = find(&mut Cursor::new(&bytes), b"OggS", 0, u64::MAX).unwrap();
            assert_eq!(found, Some(place as u64));
        }
        assert_eq!(find(&mut Cursor::new(vec![0; 100]), b"OggS", 0, u64::MAX).unwrap(), None);
    }
}
