//! Where all decoders pour their blocks: limits, then 16 kHz, then the spool.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::time::{SAMPLE_RATE, SampleIndex};

use super::resample::MonoResampler;
use super::{AudioBlock, AudioError, BlockSink, PcmSpool, SpoolWriter};

/// Shortest recording accepted.
const MIN_LENGTH_MS: u64 = 100;

/// Rates accepted, in Hz; outside, the declaration is taken for damage. At a few hertz a small file would
/// grow to days of sound, and a single block to gigabytes.
const RATES: RangeInclusive<u32> = 1_000..=768_000;

/// Most channels accepted.
const MAX_CHANNELS: usize = 64;

/// Times that the rate may change in one recording. Each costs a new filter, up to a fifth of a second at odd rates.
const MAX_RATE_CHANGES: usize = 100;

/// Frames of a block that are resampled before the limit is looked at again; a block may hold millions, and at a
/// low rate each of them becomes sixteen.
const STEP_FRAMES: usize = 65_536;

/// Frames of silence inserted at a time.
const SILENCE_BLOCK: u64 = 16_384;

/// Takes blocks in order and writes the recording.
pub(super) struct Intake<'a> {
    writer: SpoolWriter,
    resampler: MonoResampler,
    sink: Option<Box<dyn BlockSink>>,
    scratch: Vec<f32>,
    touched: bool,
    /// That of the last block, and how often it was another.
    rate: u32,
    rate_changes: usize,
    limit_s: u64,
    cancel: &'a CancelToken,
}

impl<'a> Intake<'a> {
    pub(super) fn new(writer: SpoolWriter, limit_s: u64, cancel: &'a CancelToken) -> Self {
        Self {
            writer,
            resampler: MonoResampler::new(),
            sink: None,
            scratch: Vec::new(),
            touched: false,
            rate: 0,
            rate_changes: 0,
            limit_s,
            cancel,
        }
    }

    /// The same, giving every block to `sink` as well.
    pub(super) fn with_sink(self, sink: Option<Box<dyn BlockSink>>) -> Self {
        Self { sink, ..self }
    }

    /// Whether somebody wants the sound as it was recorded, and not just at 16 kHz.
    pub(super) fn has_sink(&self) -> bool {
        self.sink.is_some()
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
        self.rate_changes += usize::from(rate != std::mem::replace(&mut self.rate, rate));
        if self.rate_changes > MAX_RATE_CHANGES {
            return Err(AudioError::Undecodable("its sample rate changes again and again".to_owned()));
        }
        self.touched |= !block.channels[0].is_empty();
        if block.channels[0].len() <= STEP_FRAMES {
            return self.resample(block);
        }
        let mut step = AudioBlock { sample_rate: rate, channels: vec![Vec::new(); channels] };
        for at in (0..block.channels[0].len()).step_by(STEP_FRAMES) {
            for (part, whole) in step.channels.iter_mut().zip(&block.channels) {
                part.clear();
                part.extend_from_slice(&whole[at..whole.len().min(at + STEP_FRAMES)]);
            }
            self.resample(&step)?;
        }
        Ok(())
    }

    fn resample(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
        self.scratch.clear();
        self.resampler.push(block, &mut self.scratch);
        self.store()?;
        self.sink.as_mut().map_or(Ok(()), |sink| sink.push(block))
    }

    /// Appends samples that are already 16 kHz mono.
    pub(super) fn push_resampled(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        self.touched |= !samples.is_empty();
        self.scratch.clear();
        self.resampler.flush(&mut self.scratch);
        self.scratch.extend_from_slice(samples);
        self.store()
    }

    /// Appends silence of `frames` at `rate`, block by block, in as many channels as the sound around it has.
    pub(super) fn push_silence(
        &mut self,
        rate: u32,
        channels: usize,
        mut frames: u64,
    ) -> Result<(), AudioError> {
        let mut block = AudioBlock { sample_rate: rate, channels: vec![Vec::new(); channels.max(1)] };
        while frames > 0 {
            let count = frames.min(SILENCE_BLOCK);
            block.channels.iter_mut().for_each(|channel| channel.resize(count as usize, 0.0));
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
        let spool = self.writer.finish()?;
        self.sink.as_mut().map_or(Ok(()), |sink| sink.finish())?;
        Ok(spool)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(cancel: &CancelToken) -> Intake<'_> {
        Intake::new(SpoolWriter::create(&crate::scratch::Scratch::default()).unwrap(), 1_000, cancel)
    }

    fn block(sample_rate: u32, frames: usize) -> AudioBlock {
        AudioBlock { sample_rate, channels: vec![vec![0.5; frames]; 2] }
    }

    /// Counts the channels of each block.
    struct Channels(std::sync::mpsc::Sender<usize>);

    impl BlockSink for Channels {
        fn push(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
            self.0.send(block.channels.len()).map_err(|_| AudioError::Cancelled)
        }

        fn finish(&mut self) -> Result<(), AudioError> {
            Ok(())
        }
    }

    #[test]
    fn silence_has_the_channels_of_the_sound() {
        let (cancel, (told, blocks)) = (CancelToken::new(), std::sync::mpsc::channel());
        let mut intake = intake(&cancel).with_sink(Some(Box::new(Channels(told))));
        intake.push_silence(44_100, 2, 20_000).unwrap();
        intake.push(&block(44_100, 100)).unwrap();
        drop(intake);
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [2, 2, 2]);
    }

    #[test]
    fn a_long_block_gives_what_its_parts_give() {
        let cancel = CancelToken::new();
        let (mut whole, mut parts) = (intake(&cancel), intake(&cancel));
        whole.push(&block(44_100, 300_000)).unwrap();
        (0..300).for_each(|_| parts.push(&block(44_100, 1_000)).unwrap());
        let read = |intake: Intake<'_>| {
            let (spool, mut samples) = (intake.finish().unwrap(), Vec::new());
            spool.read(crate::time::TimeSpan::new(0, spool.len()), &mut samples);
            samples
        };
        assert_eq!(read(whole), read(parts));
    }

    #[test]
    fn a_block_over_the_limit_is_not_stored_whole() {
        let cancel = CancelToken::new();
        let mut intake =
            Intake::new(SpoolWriter::create(&crate::scratch::Scratch::default()).unwrap(), 60, &cancel);
        let error = intake.push(&block(1_000, 4_000_000)).unwrap_err();
        assert!(matches!(error, AudioError::TooLong { limit_s: 60 }), "{error}");
        assert!(intake.writer.len() < 2 * 65_536 * 16, "{} samples were stored", intake.writer.len());
    }

    #[test]
    fn a_recording_that_only_changes_its_rate_is_given_up() {
        let cancel = CancelToken::new();
        let mut intake = intake(&cancel);
        let mut refused = (8_000..9_000).map(|rate| intake.push(&block(rate, 10))).skip_while(Result::is_ok);
        assert!(matches!(refused.next(), Some(Err(AudioError::Undecodable(_)))));
    }
}
