//! The whole recording as 16 kHz mono 16-bit samples in a temporary file.
//!
//! It can be read while it grows: the decoder writes on its own thread, and whoever wants samples that are
//! not there yet waits for them (`PcmSpool::wait_for`).
//!
//! Samples are read back with positioned reads, not through a memory map: readers convert to `f32` and
//! so copy anyway, mapped pages would count as the process's memory (115 MB per hour of sound), and a
//! failing disk would end the whole process with a signal instead of one request with an error.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::scratch::{Scratch, ScratchError, ScratchFile};
use crate::time::{SampleIndex, TimeSpan};

use super::AudioError;

/// Bytes of one stored sample.
const SAMPLE_BYTES: usize = size_of::<i16>();

/// Stored value of full scale.
const FULL_SCALE: f32 = 32_768.0;

/// Samples written, or read, at a time: about half a second.
const BATCH: usize = 8_192;

/// Takes 16 kHz mono samples and writes them down. Dropping it unfinished tells the readers that no more
/// will come.
#[derive(Debug)]
pub struct SpoolWriter {
    spool: Arc<PcmSpool>,
    /// Samples that have not been written yet, as stored; less than a batch between calls.
    pending: Vec<u8>,
    /// Samples in the file.
    written: SampleIndex,
}

impl SpoolWriter {
    /// A new file without a name.
    ///
    /// # Errors
    /// When there is no room, or the folder does not take a file.
    pub fn create(scratch: &Scratch) -> Result<Self, AudioError> {
        let file = scratch.unnamed()?;
        let spool = PcmSpool { file, growth: Mutex::default(), changed: Condvar::new() };
        let pending = Vec::with_capacity(BATCH * SAMPLE_BYTES);
        Ok(Self { spool: Arc::new(spool), pending, written: 0 })
    }

    /// What is being written, for readers.
    pub fn spool(&self) -> Arc<PcmSpool> {
        Arc::clone(&self.spool)
    }

    /// Appends samples in [-1, 1]; values outside are clipped, and what is not a number becomes silence.
    ///
    /// # Errors
    /// When there is no room.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        for &sample in samples {
            // The cast saturates, and gives 0 for NaN.
            let stored = (sample * FULL_SCALE).round() as i16;
            self.pending.extend_from_slice(&stored.to_le_bytes());
            if self.pending.len() == BATCH * SAMPLE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Samples taken so far.
    pub fn len(&self) -> SampleIndex {
        self.written + (self.pending.len() / SAMPLE_BYTES) as SampleIndex
    }

    /// Whether nothing has been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the recording; readers now know its length.
    ///
    /// # Errors
    /// When there is no room.
    pub fn finish(mut self) -> Result<Arc<PcmSpool>, AudioError> {
        self.flush()?;
        self.spool.change(|growth| growth.end = growth.end.or(Some(End::Complete)));
        Ok(self.spool())
    }

    fn flush(&mut self) -> Result<(), AudioError> {
        self.spool.file.write_all_at(&self.pending, self.written * SAMPLE_BYTES as u64)?;
        self.written = self.len();
        self.pending.clear();
        self.spool.change(|growth| growth.readable = self.written);
        Ok(())
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.spool.change(|growth| growth.end = growth.end.or(Some(End::GivenUp)));
    }
}

/// A recording that may still be growing; `Send + Sync`, read by any number of stages at once.
#[derive(Debug)]
pub struct PcmSpool {
    file: ScratchFile,
    growth: Mutex<Growth>,
    changed: Condvar,
}

/// How far the recording has been written.
#[derive(Debug, Default)]
struct Growth {
    /// Samples in the file.
    readable: SampleIndex,
    /// `None` while it is being written.
    end: Option<End>,
    /// Why samples could not be read back.
    failure: Option<ScratchError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of the recording is there.
    Complete,
    /// The writer stopped before the end, or the disk does not give back what it took.
    GivenUp,
}

impl PcmSpool {
    /// Samples that can be read now; all of the recording once it is complete.
    pub fn len(&self) -> SampleIndex {
        self.growth().readable
    }

    /// Whether there is nothing to be read yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the whole recording in samples, once it is known.
    pub fn total(&self) -> Option<SampleIndex> {
        let growth = self.growth();
        (growth.end == Some(End::Complete)).then_some(growth.readable)
    }

    /// Waits until the first `samples` can be read, or the recording has ended before. Gives how many can be
    /// read now: fewer than asked for only at the end of the recording.
    ///
    /// # Errors
    /// `Cancelled` once the writer has given up, however much there is; the writer knows why. Also once the disk
    /// has failed a reader; `take_failure` knows why.
    pub fn wait_for(&self, samples: SampleIndex) -> Result<SampleIndex, AudioError> {
        let waits = |growth: &mut Growth| growth.end.is_none() && growth.readable < samples;
        let growth = self.changed.wait_while(self.growth(), waits).unwrap_or_else(PoisonError::into_inner);
        if growth.end == Some(End::GivenUp) { Err(AudioError::Cancelled) } else { Ok(growth.readable) }
    }

    /// Replaces `out` by the samples of `span`, in [-1, 1]; the part that is not there (yet) is left out.
    ///
    /// Should the disk fail to give back what it took, the rest of the span is silence, the recording counts as
    /// given up, and whoever runs the request finds the reason with `take_failure`.
    pub fn read(&self, span: TimeSpan, out: &mut Vec<f32>) {
        out.clear();
        self.append(span, out);
    }

    /// Adds the samples of `span` to `out`, otherwise as `read`.
    pub fn append(&self, span: TimeSpan, out: &mut Vec<f32>) {
        let span = span.clamped(TimeSpan::new(0, self.len()));
        out.reserve(span.len() as usize);
        let mut bytes = [0_u8; BATCH * SAMPLE_BYTES];
        let mut at = span.start;
        while at < span.end {
            let count = (span.end - at).min(BATCH as SampleIndex) as usize;
            let batch = &mut bytes[..count * SAMPLE_BYTES];
            if let Err(error) = self.file.read_exact_at(batch, at * SAMPLE_BYTES as u64) {
                out.resize(out.len() + (span.end - at) as usize, 0.0);
                return self.fail(error);
            }
            let samples = batch.as_chunks::<SAMPLE_BYTES>().0;
            out.extend(samples.iter().map(|&pair| f32::from(i16::from_le_bytes(pair)) / FULL_SCALE));
            at += count as SampleIndex;
        }
    }

    /// Why samples could not be read back, if that happened; what was heard is then worth nothing.
    pub fn take_failure(&self) -> Option<ScratchError> {
        self.growth().failure.take()
    }

    fn fail(&self, error: ScratchError) {
        tracing::error!(%error, "decoded sound could not be read back");
        self.change(|growth| {
            growth.end = Some(End::GivenUp);
            growth.failure.get_or_insert(error);
        });
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        // Numbers are set in one step each, so a holder that panicked left nothing half done.
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, set: impl FnOnce(&mut Growth)) {
        set(&mut self.growth());
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn spool_of(samples: &[f32]) -> Arc<PcmSpool> {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(&Scratch::within(dir.path())).unwrap();
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
    fn a_disk_that_gives_nothing_back_ends_the_recording_with_the_reason() {
        let spool = spool_of(&[0.5; 3 * BATCH]);
        spool.file.file().set_len((BATCH * SAMPLE_BYTES) as u64).unwrap();
        let mut out = Vec::new();
        spool.read(TimeSpan::new(0, 3 * BATCH as SampleIndex), &mut out);
        assert_eq!((out.len(), out[BATCH - 1], out[BATCH]), (3 * BATCH, 0.5, 0.0));
        assert!(matches!(spool.wait_for(1), Err(AudioError::Cancelled)));
        assert!(spool.total().is_none() && spool.take_failure().is_some());
    }

    #[test]
    fn a_missing_folder_is_a_storage_error() {
        let result = SpoolWriter::create(&Scratch::within(Path::new("/nonexistent/folder")));
        assert!(matches!(result, Err(AudioError::Storage(_))));
    }

    #[test]
    fn a_writer_that_gives_up_wakes_its_readers() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(&Scratch::within(dir.path())).unwrap();
        writer.push(&[0.5; BATCH]).unwrap();
        let spool = writer.spool();
        assert_eq!(spool.wait_for(1).unwrap(), BATCH as SampleIndex);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| spool.wait_for(2 * BATCH as SampleIndex));
            drop(writer);
            assert!(matches!(reader.join().unwrap(), Err(AudioError::Cancelled)));
        });
        assert!(spool.wait_for(1).is_err(), "what is there belongs to no recording");
        assert_eq!(spool.total(), None);
    }

    #[test]
    fn waiting_past_the_end_gives_the_length() {
        let spool = spool_of(&[0.25; 10_000]);
        assert_eq!(spool.wait_for(SampleIndex::MAX).unwrap(), 10_000);
        assert_eq!(spool.total(), Some(10_000));
    }

    /// Reads to the end in steps of `step`, as a scan does, and gives all that was read.
    fn read_growing(spool: &PcmSpool, step: SampleIndex) -> Vec<f32> {
        let (mut all, mut window, mut at) = (Vec::new(), Vec::new(), 0);
        loop {
            let end = spool.wait_for(at + step).unwrap().min(at + step);
            if end == at {
                return all;
            }
            spool.read(TimeSpan::new(at, end), &mut window);
            all.append(&mut window);
            at = end;
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_while_others_read_comes_out_whole(
            blocks in prop::collection::vec(0_usize..30_000, 0..12),
            steps in prop::collection::vec(1_u64..50_000, 1..4),
        ) {
            let total: usize = blocks.iter().sum();
            let samples: Vec<f32> = (0..total).map(|n| ((n % 65_521) as f32 - 32_760.0) / FULL_SCALE).collect();
            let dir = tempfile::tempdir().unwrap();
            let mut writer = SpoolWriter::create(&Scratch::within(dir.path())).unwrap();
            let spool = writer.spool();
            std::thread::scope(|scope| {
                let readers: Vec<_> =
                    steps.iter().map(|&step| scope.spawn({ let spool = &spool; move || read_growing(spool, step) })).collect();
                let mut at = 0;
                for block in blocks {
                    writer.push(&samples[at..at + block]).unwrap();
                    at += block;
                    std::thread::yield_now();
                }
                writer.finish().unwrap();
                for reader in readers {
                    prop_assert!(reader.join().unwrap() == samples);
                }
                Ok(())
            })?;
            prop_assert_eq!(spool.total(), Some(total as SampleIndex));
        }
    }
}
