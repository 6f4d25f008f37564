//! Where all decoders pour their blocks: limits, then 16 kHz, then the spool.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::time::{SAMPLE_RATE, SampleIndex};

use super::resample::MonoResampler;
use super::{AudioBlock, AudioError, PcmSpool, SpoolWriter};

/// Shortest recording accepted.
const MIN_LENGTH_MS: u64 = 100;

/// Rates accepted, in Hz; outside, the declaration is taken for damage. At a few hertz a small file would
/// grow to days of sound, and a single block to gigabytes.
const RATES: RangeInclusive<u32> = 1_000..=768_000;

/// Most channels accepted.
const MAX_CHANNELS: usize = 64;

/// Frames of silence inserted at a time.
const SILENCE_BLOCK: u64 = 16_384;

/// Takes blocks in order and writes the recording.
pub(super) struct Intake<'a> {
    writer: SpoolWriter,
    resampler: MonoResampler,
    scratch: Vec<f32>,
    touched: bool,
    limit_s: u64,
    cancel: &'a CancelToken,
}

impl<'a> Intake<'a> {
    pub(super) fn new(writer: SpoolWriter, limit_s: u64, cancel: &'a CancelToken) -> Self {
        Self { writer, resampler: MonoResampler::new(), scratch: Vec::new(), touched: false, limit_s, cancel }
    }

    /// Whether nothing has arrived yet, so that another decoder may still try.
    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Fails once the request has been taken back.
    pub(super) fn check_cancelled(&self) -> Result<(), AudioError> {
        if self.cancel.is_cancelled() { Err(AudioError::Cancelled) } else { Ok(()) }
    }

    /// Appends a block of any rate and channels.
    pub(super) fn push(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
        let (rate, channels) = (block.sample_rate, block.channels.len());
        if !RATES.contains(&rate) {
            return Err(AudioError::Undecodable(format!("it declares {rate} samples per second")));
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(AudioError::Undecodable(format!("it declares {channels} channels")));
        }
        self.touched |= !block.channels[0].is_empty();
        self.scratch.clear();
        self.resampler.push(block, &mut self.scratch);
        self.store()
    }

    /// Appends samples that are already 16 kHz mono.
    pub(super) fn push_resampled(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        self.touched |= !samples.is_empty();
        self.scratch.clear();
        self.resampler.flush(&mut self.scratch);
        self.scratch.extend_from_slice(samples);
        self.store()
    }

    /// Appends silence of `frames` at `rate`, block by block.
    pub(super) fn push_silence(&mut self, rate: u32, mut frames: u64) -> Result<(), AudioError> {
        let mut block = AudioBlock { sample_rate: rate, channels: vec![Vec::new()] };
        while frames > 0 {
            let count = frames.min(SILENCE_BLOCK);
            block.channels[0].resize(count as usize, 0.0);
            self.push(&block)?;
            self.check_cancelled()?;
            frames -= count;
        }
        Ok(())
    }

    /// Flushes the filter and closes the spool.
    pub(super) fn finish(mut self) -> Result<Arc<PcmSpool>, AudioError> {
        self.scratch.clear();
        self.resampler.flush(&mut self.scratch);
        self.store()?;
        let milliseconds = self.writer.len() * 1_000 / SampleIndex::from(SAMPLE_RATE);
        if milliseconds < MIN_LENGTH_MS {
            return Err(AudioError::TooShort { milliseconds });
        }
        self.writer.finish()
    }

    fn store(&mut self) -> Result<(), AudioError> {
        self.writer.push(&self.scratch)?;
        let limit = self.limit_s.saturating_mul(u64::from(SAMPLE_RATE));
        if self.writer.len() > limit {
            return Err(AudioError::TooLong { limit_s: self.limit_s });
        }
        Ok(())
    }
}
