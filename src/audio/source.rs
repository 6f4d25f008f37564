//! Files as the built-in decoders read them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::io::MediaSource;

/// Most bytes fetched between two packets, in what stands before the first among them. Readers keep an index, tags
/// and pictures in memory as they come; the index of two days of MP4 takes about 50 MB.
const MAX_UNPACKETED_BYTES: u64 = 128 << 20;

/// How a file is to be read other than as it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mend {
    /// Bytes to read instead of those in the file, in order of their offsets.
    pub(super) patches: Vec<(u64, [u8; 4])>,
    /// Where to begin; readers take it for the start of the file.
    pub(super) start: u64,
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
    progress: Arc<Progress>,
}

/// How far a file has been read.
#[derive(Default)]
pub(super) struct Progress {
    at: AtomicU64,
    /// Bytes fetched since the last packet.
    unpacketed: AtomicU64,
}

impl Progress {
    /// Offset in the file of the latest read; readers buffer, so what they have handed out lies before.
    pub(super) fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// Says that the reader has handed out a packet, so that it may fetch as much again.
    pub(super) fn note_packet(&self) {
        self.unpacketed.store(0, Ordering::Relaxed);
    }
}

impl PatchedFile {
    /// Opens `path` at its start. Without `seekable` its readers are told that they cannot go back, which
    /// makes them take what comes instead of looking for an index that a damaged file may not have.
    /// A file with a hole is never seekable.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, mend: Mend, seekable: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(mend.start))?;
        let file_length = file.metadata()?.len();
        let length = mend.end.map_or(file_length, |end| end.min(file_length));
        let seekable = seekable && mend.hole.is_none();
        let at = mend.start;
        Ok(Self { file, mend, length, at, seekable, progress: Arc::default() })
    }

    /// How far it has been read, while it is being read.
    pub(super) fn progress(&self) -> Arc<Progress> {
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
        if self.progress.unpacketed.load(Ordering::Relaxed) > MAX_UNPACKETED_BYTES {
            return Err(io::Error::other("too much in it is not sound"));
        }
        self.progress.at.store(self.at, Ordering::Relaxed);
        let left = usize::try_from(stop.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read(&mut buffer[..wanted])?;
        self.patch(&mut buffer[..count]);
        self.progress.unpacketed.fetch_add(count as u64, Ordering::Relaxed);
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
            SeekFrom::Start(at) => at.checked_add(self.mend.start),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let absolute = absolute.filter(|&at| at >= self.mend.start);
        self.at = absolute.ok_or(io::ErrorKind::InvalidInput)?;
        // Offsets come from the file, and the system refuses some of those past its end; there is
        // nothing to be read there anyway.
        self.file.seek(SeekFrom::Start(self.at.min(self.length)))?;
        Ok(self.at - self.mend.start)
    }
}

impl MediaSource for PatchedFile {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then_some(self.length.saturating_sub(self.mend.start))
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
        assert_eq!(read_all(Mend { patches, end: Some(8), ..Mend::default() }), b"01abcd6w");
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
    fn a_file_may_begin_further_on() {
        assert_eq!(read_all(Mend { start: 3, ..Mend::default() }), b"3456789");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut patched = PatchedFile::open(file.path(), Mend { start: 3, ..Mend::default() }, true).unwrap();
        assert_eq!(patched.byte_len(), Some(7));
        for (to, place) in [(SeekFrom::Start(2), 2), (SeekFrom::End(-3), 4), (SeekFrom::Current(1), 5)] {
            assert_eq!(patched.seek(to).unwrap(), place);
        }
        let mut rest = String::new();
        patched.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "89");
        assert!(patched.seek(SeekFrom::End(-8)).is_err());
        assert!(patched.seek(SeekFrom::Start(u64::MAX)).is_err());
    }

    #[test]
    fn a_reader_cannot_fetch_without_end_before_its_first_packet() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_UNPACKETED_BYTES * 2).unwrap();
        let mut patched = PatchedFile::open(file.path(), Mend::default(), true).unwrap();
        let read = io::copy(&mut patched, &mut io::sink());
        assert!(read.is_err(), "{read:?}");
        patched.progress().note_packet();
        assert_eq!(patched.read(&mut [0; 8]).unwrap(), 8);
    }

    #[test]
    fn a_hole_is_left_out() {
        let patches = vec![(1, *b"abcd")];
        assert_eq!(read_all(Mend { patches, hole: Some((2, 7)), ..Mend::default() }), b"0a789");
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
