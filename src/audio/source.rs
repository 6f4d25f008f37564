//! Files as the built-in decoders read them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::io::MediaSource;

use super::wav::WavMend;

/// A file with some bytes replaced, perhaps ending early, perhaps only readable forwards.
pub(super) struct PatchedFile {
    file: File,
    mend: WavMend,
    length: u64,
    at: u64,
    seekable: bool,
}

impl PatchedFile {
    /// Opens `path` at its start. Without `seekable` its readers are told that they cannot go back, which
    /// makes them take what comes instead of looking for an index that a damaged file may not have.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, mend: WavMend, seekable: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let file_length = file.metadata()?.len();
        let length = mend.end.map_or(file_length, |end| end.min(file_length));
        Ok(Self { file, mend, length, at: 0, seekable })
    }
}

impl Read for PatchedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read(&mut buffer[..wanted])?;
        for (patch_at, patch) in &self.mend.patches {
            for (offset, byte) in patch.iter().enumerate() {
                let place = (patch_at + offset as u64).checked_sub(self.at);
                if let Some(place) = place.and_then(|place| usize::try_from(place).ok())
                    && place < count
                {
                    buffer[place] = *byte;
                }
            }
        }
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
        let absolute = absolute.ok_or(io::ErrorKind::InvalidInput)?;
        self.at = self.file.seek(SeekFrom::Start(absolute))?;
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn patches_hold_across_reads_and_the_end_is_where_the_mend_says() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mend = WavMend { patches: vec![(2, *b"abcd")], end: Some(8), ..WavMend::default() };
        let mut patched = PatchedFile::open(file.path(), mend, true).unwrap();
        let mut first = [0; 4];
        patched.read_exact(&mut first).unwrap();
        let mut rest = Vec::new();
        patched.read_to_end(&mut rest).unwrap();
        assert_eq!([&first[..], &rest[..]].concat(), b"01abcd67");
        patched.seek(SeekFrom::End(-3)).unwrap();
        rest.clear();
        patched.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"d67");
    }
}
