//! The whole recording as 16 kHz mono 16-bit samples in a temporary file.
//!
//! Samples are read back with positioned reads, not through a memory map: readers convert to `f32` and
//! so copy anyway, mapped pages would count as the process's memory (115 MB per hour of sound), and a
//! failing disk would end the whole process with a signal instead of one request with an error.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use crate::time::{SampleIndex, TimeSpan};

use super::AudioError;

/// Bytes of one stored sample.
const SAMPLE_BYTES: usize = size_of::<i16>();

/// Stored value of full scale.
const FULL_SCALE: f32 = 32_768.0;

/// Samples converted at a time.
const BATCH: usize = 8_192;

/// Takes 16 kHz mono samples and writes them down.
pub struct SpoolWriter {
    file: BufWriter<File>,
    length: SampleIndex,
}

impl SpoolWriter {
    /// A new, private (0600), unnamed file in `dir`; the system removes it when the last handle closes,
    /// even after a crash.
    ///
    /// # Errors
    /// When the folder does not take a file.
    pub fn create(dir: &Path) -> Result<Self, AudioError> {
        let file = tempfile::tempfile_in(dir)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Self { file: BufWriter::with_capacity(BATCH * SAMPLE_BYTES, file), length: 0 })
    }

    /// Appends samples in [-1, 1]; values outside are clipped, and what is not a number becomes silence.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        for &sample in samples {
            // The cast saturates, and gives 0 for NaN.
            let stored = (sample * FULL_SCALE).round() as i16;
            self.file.write_all(&stored.to_le_bytes())?;
        }
        self.length += samples.len() as SampleIndex;
        Ok(())
    }

    /// Samples written so far.
    pub fn len(&self) -> SampleIndex {
        self.length
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Closes the file for reading.
    ///
    /// # Errors
    /// When the file cannot be flushed.
    pub fn finish(self) -> Result<PcmSpool, AudioError> {
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        Ok(PcmSpool { file, length: self.length })
    }
}

/// A finished recording; `Send + Sync`, read by any number of stages at once.
#[derive(Debug)]
pub struct PcmSpool {
    file: File,
    length: SampleIndex,
}

impl PcmSpool {
    /// Length in samples.
    pub fn len(&self) -> SampleIndex {
        self.length
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Replaces `out` by the samples of `span`, in [-1, 1]; the part past the end is left out.
    ///
    /// # Panics
    /// When the disk fails to give back what it took; the stage boundary turns that into an error of
    /// the one request.
    pub fn read(&self, span: TimeSpan, out: &mut Vec<f32>) {
        let span = span.clamped(TimeSpan::new(0, self.length));
        out.clear();
        out.reserve(span.len() as usize);
        let mut bytes = [0_u8; BATCH * SAMPLE_BYTES];
        let mut at = span.start;
        while at < span.end {
            let count = (span.end - at).min(BATCH as SampleIndex) as usize;
            let batch = &mut bytes[..count * SAMPLE_BYTES];
            self.file
                .read_exact_at(batch, at * SAMPLE_BYTES as u64)
                .expect("the temporary file gives back what was written to it");
            let samples = batch.as_chunks::<SAMPLE_BYTES>().0;
            out.extend(samples.iter().map(|&pair| f32::from(i16::from_le_bytes(pair)) / FULL_SCALE));
            at += count as SampleIndex;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool_of(samples: &[f32]) -> PcmSpool {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(dir.path()).unwrap();
        writer.push(samples).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn sixteen_bit_samples_come_back_exactly() {
        let samples: Vec<f32> = (-32_768_i32..=32_767).step_by(7).map(|v| v as f32 / FULL_SCALE).collect();
        let spool = spool_of(&samples);
        let mut out = vec![9.0];
        spool.read(TimeSpan::new(0, spool.len()), &mut out);
        assert_eq!(out, samples);
    }

    #[test]
    fn a_window_over_several_batches_starts_and_ends_where_asked() {
        let samples: Vec<f32> = (0..30_000).map(|n| n as f32 / FULL_SCALE).collect();
        let mut out = Vec::new();
        spool_of(&samples).read(TimeSpan::new(123, 20_123), &mut out);
        assert_eq!(out, samples[123..20_123]);
    }

    #[test]
    fn values_out_of_range_are_clipped_and_nan_is_silence() {
        let mut out = Vec::new();
        spool_of(&[2.0, -2.0, f32::NAN, f32::INFINITY]).read(TimeSpan::new(0, 4), &mut out);
        assert_eq!(out, [32_767.0 / FULL_SCALE, -1.0, 0.0, 32_767.0 / FULL_SCALE]);
    }

    #[test]
    fn reading_past_the_end_gives_what_is_there() {
        let spool = spool_of(&[0.5, 0.25]);
        let mut out = Vec::new();
        spool.read(TimeSpan::new(1, 100), &mut out);
        assert_eq!(out, [0.25]);
        spool.read(TimeSpan::new(50, 100), &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn an_empty_spool_can_be_read() {
        let spool = spool_of(&[]);
        let mut out = vec![1.0];
        spool.read(TimeSpan::new(0, 10), &mut out);
        assert!(spool.is_empty() && out.is_empty());
    }

    #[test]
    fn the_file_is_private_and_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let spool = SpoolWriter::create(dir.path()).unwrap().finish().unwrap();
        assert_eq!(spool.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_a_storage_error() {
        let result = SpoolWriter::create(Path::new("/nonexistent/folder"));
        assert!(matches!(result, Err(AudioError::Storage(_))));
    }
}
