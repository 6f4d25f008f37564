//! Mends WAV headers whose sizes say less than the file holds.
//!
//! A recorder that streams or dies leaves sizes of 0 or 0xFFFFFFFF, and RF64 keeps the true sizes
//! elsewhere. Only the header is looked at; the patches make it an ordinary streamed WAV.

use std::io::{self, Read, Seek, SeekFrom};

use super::source::Mend;

/// A size that means "until the end of the file".
const UNKNOWN_SIZE: [u8; 4] = [0xff; 4];

/// Format tags of Microsoft and IMA ADPCM, whose last block is filled up.
const PADDED_FORMATS: [u16; 2] = [0x02, 0x11];

/// Chunks looked at before the data; real files have fewer than ten.
const MAX_CHUNKS: usize = 1_000;

/// What a WAV file is beyond what its reader sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wav {
    /// How to read it, so that its sizes are right.
    pub(super) mend: Mend,
    /// Whether the patched header does not say how long the recording is, so that any end is a good end.
    pub(super) open_ended: bool,
    /// Frames of sound in a kind that pads its last block.
    pub(super) frames: Option<u64>,
}

/// Reads the chunk headers of `file`; `None` when it is no RIFF WAVE file with data.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn inspect(file: &mut (impl Read + Seek)) -> io::Result<Option<Wav>> {
    let file_end = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut head = [0; 12];
    if read_or_end(file, &mut head)?.is_none() || &head[8..] != b"WAVE" {
        return Ok(None);
    }
    let mut wav = Wav::default();
    match &head[..4] {
        b"RIFF" => {}
        b"RF64" | b"BW64" => wav.mend.patches.push((0, *b"RIFF")),
        _ => return Ok(None),
    }
    // The outer size adds nothing to the chunks' own sizes and is wrong more often.
    wav.mend.patches.push((4, UNKNOWN_SIZE));
    let (mut long_data_size, mut stated_frames, mut is_padded) = (None, None, false);
    let mut at = 12;
    for _ in 0..MAX_CHUNKS {
        file.seek(SeekFrom::Start(at))?;
        let mut chunk = [0; 8];
        if read_or_end(file, &mut chunk)?.is_none() {
            return Ok(None);
        }
        let size_bytes: [u8; 4] = [chunk[4], chunk[5], chunk[6], chunk[7]];
        let size = u64::from(u32::from_le_bytes(size_bytes));
        match &chunk[..4] {
            b"ds64" => {
                let mut sizes = [0; 16];
                if read_or_end(file, &mut sizes)?.is_some() {
                    long_data_size = sizes.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
                }
            }
            b"fmt " => {
                let mut format = [0; 2];
                let found = read_or_end(file, &mut format)?;
                is_padded = found.is_some() && PADDED_FORMATS.contains(&u16::from_le_bytes(format));
            }
            b"fact" => {
                let mut frames = [0; 4];
                let found = read_or_end(file, &mut frames)?;
                stated_frames = found.map(|()| u64::from(u32::from_le_bytes(frames)));
            }
            b"data" => {
                wav.frames = stated_frames.filter(|&frames| is_padded && frames > 0);
                let start = at + 8;
                if size == 0 || size_bytes == UNKNOWN_SIZE {
                    wav.mend.patches.push((at + 4, UNKNOWN_SIZE));
                    wav.mend.end = long_data_size
                        .filter(|&size| size > 0)
                        .and_then(|size| start.checked_add(size))
                        .filter(|&end| end <= file_end);
                    wav.open_ended = wav.mend.end.is_some() || long_data_size.is_none_or(|size| size == 0);
                }
                return Ok(Some(wav));
            }
            _ => {}
        }
        // Chunks are padded to whole words.
        at += 8 + size + size % 2;
    }
    Ok(None)
}

/// Fills `buffer`, or says that the file ends first.
fn read_or_end(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<()>> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A WAV file with these outer bytes, `data` size, and `payload` bytes of sound.
    fn wav(outer: &[u8; 4], before: &[u8], data_size: u32, payload: usize) -> Vec<u8> {
        let mut bytes = outer.to_vec();
        bytes.extend(36_u32.to_le_bytes());
        bytes.extend(b"WAVE");
        bytes.extend(before);
        bytes.extend(b"fmt \x10\x00\x00\x00");
        bytes.extend([0; 16]);
        bytes.extend(b"data");
        bytes.extend(data_size.to_le_bytes());
        bytes.extend(vec![1; payload]);
        bytes
    }

    fn inspected(bytes: Vec<u8>) -> Option<Wav> {
        inspect(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn an_honest_header_keeps_its_data_size() {
        let found = inspected(wav(b"RIFF", b"", 100, 100)).unwrap();
        assert_eq!(found.mend.patches, [(4, UNKNOWN_SIZE)]);
        assert!(!found.open_ended);
    }

    #[test]
    fn a_data_size_never_filled_in_means_until_the_end() {
        for size in [0, u32::MAX] {
            let found = inspected(wav(b"RIFF", b"", size, 100)).unwrap();
            assert_eq!(found.mend.patches, [(4, UNKNOWN_SIZE), (40, UNKNOWN_SIZE)]);
            assert!(found.open_ended);
        }
    }

    #[test]
    fn rf64_is_read_as_riff_up_to_its_true_end() {
        let mut sizes = b"ds64\x1c\x00\x00\x00".to_vec();
        sizes.extend(0_u64.to_le_bytes());
        sizes.extend(60_u64.to_le_bytes());
        sizes.extend([0; 12]);
        let found = inspected(wav(b"RF64", &sizes, u32::MAX, 100)).unwrap();
        assert_eq!(found.mend.patches, [(0, *b"RIFF"), (4, UNKNOWN_SIZE), (76, UNKNOWN_SIZE)]);
        assert_eq!(found.mend.end, Some(80 + 60));
        assert!(found.open_ended);
    }

    #[test]
    fn rf64_that_ends_before_its_true_end_is_not_open_ended() {
        let mut sizes = b"ds64\x1c\x00\x00\x00".to_vec();
        sizes.extend(0_u64.to_le_bytes());
        sizes.extend(600_u64.to_le_bytes());
        sizes.extend([0; 12]);
        let found = inspected(wav(b"RF64", &sizes, u32::MAX, 100)).unwrap();
        assert_eq!((found.mend.end, found.open_ended), (None, false));
    }

    #[test]
    fn other_files_and_cut_headers_are_left_alone() {
        assert_eq!(inspected(b"OggS".to_vec()), None);
        assert_eq!(inspected(wav(b"RIFF", b"", 0, 0)[..30].to_vec()), None);
    }
}
