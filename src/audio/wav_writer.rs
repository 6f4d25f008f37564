//! Writes sound as a WAV file: 32-bit floating point, so that nothing is cut off at full scale.
//!
//! A file of more than 4 GiB becomes RF64 when it is finished (EBU Tech 3306): room for its 64-bit sizes is kept from
//! the beginning in a chunk that readers pass over.

use std::io::{self, Seek, SeekFrom, Write};

const BYTES_PER_SAMPLE: u64 = 4;

/// `RIFF` and its size, `WAVE`.
const RIFF_HEAD: u64 = 12;
/// Of the chunk that holds 64-bit sizes, or their place: its data alone.
const SIZES: u32 = 28;
/// Of the chunk that says what samples are: its data alone.
const FORMAT: u32 = 16;
/// Name and size of a chunk.
const CHUNK_HEAD: u64 = 8;
/// Bytes before the first sample.
const HEAD: u64 = RIFF_HEAD + CHUNK_HEAD + SIZES as u64 + CHUNK_HEAD + FORMAT as u64 + CHUNK_HEAD;

/// Samples are floating-point numbers.
const FLOAT: u16 = 3;

/// A WAV file that is being written.
pub struct WavWriter<W: Write + Seek> {
    out: W,
    channels: u16,
    frames: u64,
    /// Largest file that is plain WAV, in bytes.
    riff_limit: u64,
    bytes: Vec<u8>,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Begins a file of `channels` channels at `rate` Hz.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W, channels: u16, rate: u32) -> io::Result<Self> {
        Self::with_limit(out, channels, rate, u64::from(u32::MAX))
    }

    fn with_limit(mut out: W, channels: u16, rate: u32, riff_limit: u64) -> io::Result<Self> {
        let frame = channels * BYTES_PER_SAMPLE as u16;
        let mut head = Vec::with_capacity(HEAD as usize);
        // Sizes are filled in at the end. Until then the file is an empty one.
        head.extend(b"RIFF\0\0\0\0WAVE");
        head.extend(b"JUNK");
        head.extend(SIZES.to_le_bytes());
        head.extend([0; SIZES as usize]);
        head.extend(b"fmt ");
        head.extend(FORMAT.to_le_bytes());
        head.extend(FLOAT.to_le_bytes());
        head.extend(channels.to_le_bytes());
        head.extend(rate.to_le_bytes());
        head.extend((rate * u32::from(frame)).to_le_bytes());
        head.extend(frame.to_le_bytes());
        head.extend((BYTES_PER_SAMPLE as u16 * 8).to_le_bytes());
        head.extend(b"data\0\0\0\0");
        out.write_all(&head)?;
        Ok(Self { out, channels, frames: 0, riff_limit, bytes: Vec::new() })
    }

    /// Appends planar samples, as many channels as the file has, all equally long.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, channels: &[Vec<f32>]) -> io::Result<()> {
        debug_assert_eq!(channels.len(), usize::from(self.channels));
        let frames = channels.first().map_or(0, Vec::len);
        self.bytes.clear();
        for frame in 0..frames {
            for channel in channels {
                self.bytes.extend(channel[frame].to_le_bytes());
            }
        }
        self.out.write_all(&self.bytes)?;
        self.frames += frames as u64;
        Ok(())
    }

    /// Fills in the sizes and gives back what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        let data = self.frames * u64::from(self.channels) * BYTES_PER_SAMPLE;
        let riff = HEAD - CHUNK_HEAD + data;
        if riff <= self.riff_limit {
            self.put(4, &(riff as u32).to_le_bytes())?;
            self.put(HEAD - 4, &(data as u32).to_le_bytes())?;
        } else {
            self.put(0, b"RF64\xff\xff\xff\xff")?;
            let sizes = [riff, data, self.frames].map(u64::to_le_bytes).concat();
            self.put(RIFF_HEAD, b"ds64")?;
            self.put(RIFF_HEAD + CHUNK_HEAD, &sizes)?; // and no table of further chunks
            self.put(HEAD - 4, &u32::MAX.to_le_bytes())?;
        }
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn written(limit: u64) -> Vec<u8> {
        let mut writer = WavWriter::with_limit(Cursor::new(Vec::new()), 2, 44_100, limit).unwrap();
        writer.write(&[vec![0.5, -1.5], vec![0.25, 0.0]]).unwrap();
        writer.write(&[vec![1.0], vec![-1.0]]).unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn other_readers_read_it() {
        let mut reader = hound::WavReader::new(Cursor::new(written(u64::MAX))).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 44_100, 32));
        assert_eq!(spec.sample_format, hound::SampleFormat::Float);
        let samples: Vec<f32> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [0.5, 0.25, -1.5, 0.0, 1.0, -1.0]);
    }

    #[test]
    fn sizes_beyond_32_bits_stand_in_a_chunk_of_their_own() {
        let [plain, large] = [written(u64::MAX), written(50)];
        assert_eq!(plain.len() as u64, HEAD + 24);
        assert_eq!(&large[..20], b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0");
        let number = |at: usize| u64::from_le_bytes(large[at..at + 8].try_into().unwrap());
        assert_eq!([number(20), number(28), number(36)], [plain.len() as u64 - 8, 24, 3]);
        assert_eq!(&large[44..48], [0; 4], "no further chunks in the table");
        assert_eq!(&large[72..80], b"data\xff\xff\xff\xff");
        assert_eq!(large[80..], plain[80..]);
    }
}
