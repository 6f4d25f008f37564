//! Any rate and any number of channels to 16 kHz mono, block by block.
//!
//! The output is as long as the input to the sample, and nothing is moved in time: the filter's delay is
//! taken off the front and its tail is flushed at the end. Rates and channel counts may change between
//! blocks. Pure: no I/O, no clock.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::time::SAMPLE_RATE;

use super::AudioBlock;

/// Shortest transform, in samples of the slower side. Longer ones have a steeper filter: with 2048 the
/// pass band reaches 7.9 kHz while everything above 8 kHz is gone.
const MIN_TRANSFORM: usize = 2_048;

/// Mean of the channels, then conversion to 16 kHz.
#[derive(Default)]
pub struct MonoResampler {
    stream: Option<Stream>,
    mono: Vec<f32>,
}

impl MonoResampler {
    /// A resampler that learns the rate from the first block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `out` the 16 kHz samples that `block` completes; the filter holds some back. A block
    /// of another rate than the last one first flushes what was held back.
    ///
    /// `block.sample_rate` must not be 0.
    pub fn push(&mut self, block: &AudioBlock, out: &mut Vec<f32>) {
        downmix(&block.channels, &mut self.mono);
        if self.stream.as_ref().is_some_and(|stream| stream.rate() != block.sample_rate) {
            self.flush(out);
        }
        let stream = self.stream.get_or_insert_with(|| Stream::new(block.sample_rate));
        match stream {
            Stream::Untouched => out.extend_from_slice(&self.mono),
            Stream::Filtered(filtered) => filtered.push(&self.mono, out),
        }
    }

    /// Appends to `out` everything held back; the next block starts afresh.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some(Stream::Filtered(mut filtered)) = self.stream.take() {
            filtered.flush(out);
        }
    }
}

/// Replaces `mono` by the mean of the channels.
fn downmix(channels: &[Vec<f32>], mono: &mut Vec<f32>) {
    mono.clear();
    let Some((first, others)) = channels.split_first() else { return };
    mono.extend_from_slice(first);
    for channel in others {
        for (sum, sample) in mono.iter_mut().zip(channel) {
            *sum += sample;
        }
    }
    let share = 1.0 / channels.len() as f32;
    mono.iter_mut().for_each(|sample| *sample *= share);
}

/// A stretch of input at one rate.
enum Stream {
    Untouched,
    Filtered(Box<Filtered>),
}

impl Stream {
    fn new(rate: u32) -> Self {
        if rate == SAMPLE_RATE { Self::Untouched } else { Self::Filtered(Box::new(Filtered::new(rate))) }
    }

    fn rate(&self) -> u32 {
        match self {
            Self::Untouched => SAMPLE_RATE,
            Self::Filtered(filtered) => filtered.rate,
        }
    }
}

/// One FFT resampler with the books kept: what went in, what is due, what to drop.
struct Filtered {
    rate: u32,
    fft: Fft<f32>,
    /// Input not yet transformed; always shorter than one transform between calls.
    waiting: Vec<f32>,
    transformed: Vec<f32>,
    frames_in: u64,
    frames_out: u64,
    /// Output samples of the filter's delay that are still to be dropped.
    delay_left: usize,
}

impl Filtered {
    fn new(rate: u32) -> Self {
        let (size_in, size_out) = transform_sizes(rate);
        let fft = Fft::new_custom(
            rate as usize,
            SAMPLE_RATE as usize,
            size_in,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Input,
        )
        .expect("a rate above 0 and a whole transform make a resampler");
        let delay_left = fft.output_delay();
        Self {
            rate,
            fft,
            waiting: Vec::with_capacity(size_in),
            transformed: vec![0.0; size_out],
            frames_in: 0,
            frames_out: 0,
            delay_left,
        }
    }

    fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) {
        self.frames_in += samples.len() as u64;
        let size_in = self.fft.fft_size_in();
        while !samples.is_empty() {
            let taken = samples.len().min(size_in - self.waiting.len());
            self.waiting.extend_from_slice(&samples[..taken]);
            samples = &samples[taken..];
            if self.waiting.len() == size_in {
                self.transform(out);
            }
        }
    }

    /// Pushes silence through the filter until all that is due has come out.
    fn flush(&mut self, out: &mut Vec<f32>) {
        let due = exact_length(self.frames_in, self.rate);
        let size_in = self.fft.fft_size_in();
        let before = out.len();
        let owed = due.saturating_sub(self.frames_out) as usize;
        while out.len() - before < owed {
            self.waiting.resize(size_in, 0.0);
            self.transform(out);
        }
        out.truncate(before + owed);
        self.frames_out = due;
    }

    fn transform(&mut self, out: &mut Vec<f32>) {
        let input = InterleavedSlice::new(&self.waiting, 1, self.waiting.len())
            .expect("a mono buffer is as long as its frames");
        let frames = self.transformed.len();
        let mut output = InterleavedSlice::new_mut(&mut self.transformed, 1, frames)
            .expect("a mono buffer is as long as its frames");
        let (_, produced) = self
            .fft
            .process_into_buffer(&input, &mut output, None)
            .expect("buffers of the transform's own sizes fit");
        self.waiting.clear();
        let dropped = self.delay_left.min(produced);
        self.delay_left -= dropped;
        out.extend_from_slice(&self.transformed[dropped..produced]);
        self.frames_out += (produced - dropped) as u64;
    }
}

/// Length at 16 kHz of `frames` at `rate`, to the nearest sample.
fn exact_length(frames: u64, rate: u32) -> u64 {
    let rate = u128::from(rate);
    let length = (u128::from(frames) * u128::from(SAMPLE_RATE) + rate / 2) / rate;
    length as u64
}

/// Frames in and out of one transform: the smallest whole multiple of the reduced rates whose slower
/// side reaches [`MIN_TRANSFORM`].
fn transform_sizes(rate: u32) -> (usize, usize) {
    let divisor = greatest_common_divisor(rate, SAMPLE_RATE);
    let (step_in, step_out) = ((rate / divisor) as usize, (SAMPLE_RATE / divisor) as usize);
    let blocks = MIN_TRANSFORM.div_ceil(step_in.min(step_out));
    (blocks * step_in, blocks * step_out)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resample(rate: u32, samples: &[f32], block: usize) -> Vec<f32> {
        let mut resampler = MonoResampler::new();
        let mut out = Vec::new();
        for part in samples.chunks(block) {
            resampler.push(&AudioBlock { sample_rate: rate, channels: vec![part.to_vec()] }, &mut out);
        }
        resampler.flush(&mut out);
        out
    }

    /// Level in dB of the output for a full-scale sine of `frequency`, away from both ends.
    fn tone_level(rate: u32, frequency: f64) -> f64 {
        let step = std::f64::consts::TAU * frequency / f64::from(rate);
        let tone: Vec<f32> = (0..rate).map(|n| (step * f64::from(n)).sin() as f32).collect();
        let out = resample(rate, &tone, 1_152);
        let middle = &out[4_000..12_000];
        let power = middle.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / middle.len() as f64;
        10.0 * (2.0 * power + 1e-30).log10()
    }

    #[test]
    fn tones_below_7900_hz_pass_and_tones_above_8100_hz_are_gone() {
        for rate in [22_050, 32_000, 44_100, 48_000, 96_000, 192_000] {
            for frequency in [100.0, 1_000.0, 7_000.0, 7_500.0, 7_800.0, 7_900.0] {
                let level = tone_level(rate, frequency);
                assert!(level.abs() < 0.1, "{frequency} Hz at {rate} Hz came out at {level:.2} dB");
            }
            for frequency in [8_100.0, 8_200.0, 8_500.0, 9_000.0, 10_500.0] {
                let level = tone_level(rate, frequency);
                assert!(level < -100.0, "{frequency} Hz at {rate} Hz came out at {level:.2} dB");
            }
        }
    }

    #[test]
    fn slow_rates_keep_their_whole_band() {
        for (rate, highest) in [(8_000, 3_900.0), (11_025, 5_400.0)] {
            for frequency in [100.0, 3_000.0, highest] {
                let level = tone_level(rate, frequency);
                assert!(level.abs() < 0.1, "{frequency} Hz at {rate} Hz came out at {level:.2} dB");
            }
        }
    }

    #[test]
    fn an_impulse_stays_where_it_is() {
        for rate in [8_000_u32, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000] {
            let mut samples = vec![0.0; rate as usize];
            samples[rate as usize / 2] = 1.0;
            let out = resample(rate, &samples, 777);
            let loudest = out.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            let expected = (rate / 2) as f64 * 16_000.0 / f64::from(rate);
            assert!((loudest as f64 - expected).abs() <= 1.0, "{rate} Hz: {loudest}, not {expected}");
        }
    }

    #[test]
    fn sixteen_khz_passes_untouched() {
        let samples: Vec<f32> = (0..1_000).map(|n| (n as f32).sin()).collect();
        assert_eq!(resample(16_000, &samples, 100), samples);
    }

    #[test]
    fn channels_are_averaged() {
        let mut resampler = MonoResampler::new();
        let mut out = Vec::new();
        let channels = vec![vec![1.0, 0.5], vec![0.0, 0.5], vec![0.5, -1.0], vec![0.5, 0.0]];
        resampler.push(&AudioBlock { sample_rate: 16_000, channels }, &mut out);
        assert_eq!(out, [0.5, 0.0]);
    }

    #[test]
    fn a_change_of_rate_goes_on_where_the_last_rate_ended() {
        let mut resampler = MonoResampler::new();
        let mut out = Vec::new();
        for (rate, value) in [(44_100, 0.25), (16_000, 0.5), (48_000, 0.75)] {
            let channels = vec![vec![value; rate as usize]];
            resampler.push(&AudioBlock { sample_rate: rate, channels }, &mut out);
        }
        resampler.flush(&mut out);
        assert_eq!(out.len(), 48_000);
        for (at, value) in [(8_000, 0.25), (24_000, 0.5), (40_000, 0.75)] {
            assert!((out[at] - value).abs() < 1e-3, "{} at {at}", out[at]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_length_is_exact_for_any_rate_and_block(
            rate in prop_oneof![
                prop::sample::select(vec![8_000_u32, 11_025, 22_050, 44_100, 48_000, 192_000]),
                8_000_u32..=192_000,
            ],
            frames in 0_usize..60_000,
            block in 1_usize..10_000,
        ) {
            let out = resample(rate, &vec![0.1; frames], block);
            let expected = (frames as f64 * 16_000.0 / f64::from(rate)).round();
            prop_assert!((out.len() as f64 - expected).abs() <= 0.5);
        }
    }
}
