//! Any rate and any number of channels to one rate and one or two channels, block by block.
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
pub struct MonoResampler(Resampler);

impl MonoResampler {
    /// A resampler that learns the rate from the first block.
    pub fn new() -> Self {
        Self(Resampler::new(SAMPLE_RATE, 1))
    }

    /// Appends to `out` the 16 kHz samples that `block` completes; see `Resampler::push`.
    ///
    /// `block.sample_rate` must not be 0.
    pub fn push(&mut self, block: &AudioBlock, out: &mut Vec<f32>) {
        self.0.push(block, std::slice::from_mut(out));
    }

    /// Appends to `out` everything held back; the next block starts afresh.
    pub fn flush(&mut self, out: &mut Vec<f32>) {
        self.0.flush(std::slice::from_mut(out));
    }
}

impl Default for MonoResampler {
    fn default() -> Self {
        Self::new()
    }
}

/// Blocks of any rate and any channels to one rate, and to one channel or two.
///
/// One channel is the mean of all. Of two, the first channel of a block goes left and the second right; a mono block
/// feeds both; what a block has beyond two channels goes to both sides at half the weight, so that the mean of the two
/// is the mean of all channels, whatever their number: left = (2 c₁ + c₃ + … + cₙ) / n.
pub struct Resampler {
    target_rate: u32,
    /// Of the running stretch; 0 before the first block and after a flush.
    source_rate: u32,
    /// One for each channel that comes out.
    streams: Vec<Stream>,
    /// A channel of the block, mixed from all of them.
    mixed: Vec<f32>,
}

impl Resampler {
    /// A resampler to `target_rate` Hz that learns the source's rate from the first block.
    ///
    /// # Panics
    /// When `channels` is neither 1 nor 2, or the rate is 0.
    pub fn new(target_rate: u32, channels: usize) -> Self {
        assert!(matches!(channels, 1 | 2) && target_rate > 0, "one channel or two, at a rate");
        let streams = (0..channels).map(|_| Stream::Untouched).collect();
        Self { target_rate, source_rate: 0, streams, mixed: Vec::new() }
    }

    /// Appends to `out`, which has as many channels as were asked for, the samples that `block` completes; the filter
    /// holds some back. A block of another rate than the last one first flushes what was held back.
    ///
    /// `block.sample_rate` must not be 0.
    pub fn push(&mut self, block: &AudioBlock, out: &mut [Vec<f32>]) {
        if self.source_rate != block.sample_rate {
            self.flush(out);
            self.start(block.sample_rate);
        }
        let sides = self.streams.len();
        for (side, (stream, out)) in self.streams.iter_mut().zip(out).enumerate() {
            fold(&block.channels, side, sides, &mut self.mixed);
            stream.push(&self.mixed, out);
        }
    }

    /// Appends to `out` everything held back; the next block starts afresh.
    pub fn flush(&mut self, out: &mut [Vec<f32>]) {
        for (stream, out) in self.streams.iter_mut().zip(out) {
            stream.flush(out);
            *stream = Stream::Untouched;
        }
        self.source_rate = 0;
    }

    fn start(&mut self, rate: u32) {
        self.source_rate = rate;
        for stream in &mut self.streams {
            *stream = Stream::new(rate, self.target_rate);
        }
    }
}

/// Replaces `mixed` by what the block's `channels` give to one of `sides` sides.
fn fold(channels: &[Vec<f32>], side: usize, sides: usize, mixed: &mut Vec<f32>) {
    mixed.clear();
    if sides == 1 || channels.len() < 2 {
        return downmix(channels, mixed);
    }
    mixed.extend_from_slice(&channels[side]);
    if channels.len() == 2 {
        return;
    }
    mixed.iter_mut().for_each(|sample| *sample *= 2.0);
    add(&channels[2..], mixed);
    let share = 1.0 / channels.len() as f32;
    mixed.iter_mut().for_each(|sample| *sample *= share);
}

/// Writes the mean of the channels into `mono`, which is empty.
fn downmix(channels: &[Vec<f32>], mono: &mut Vec<f32>) {
    let Some((first, others)) = channels.split_first() else { return };
    mono.extend_from_slice(first);
    add(others, mono);
    let share = 1.0 / channels.len() as f32;
    mono.iter_mut().for_each(|sample| *sample *= share);
}

fn add(channels: &[Vec<f32>], sum: &mut [f32]) {
    for channel in channels {
        for (sum, sample) in sum.iter_mut().zip(channel) {
            *sum += sample;
        }
    }
}

/// A stretch of input at one rate.
enum Stream {
    Untouched,
    Filtered(Box<Filtered>),
}

impl Stream {
    fn new(rate: u32, target: u32) -> Self {
        if rate == target { Self::Untouched } else { Self::Filtered(Box::new(Filtered::new(rate, target))) }
    }

    fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        match self {
            Self::Untouched => out.extend_from_slice(samples),
            Self::Filtered(filtered) => filtered.push(samples, out),
        }
    }

    fn flush(&mut self, out: &mut Vec<f32>) {
        if let Self::Filtered(filtered) = self {
            filtered.flush(out);
        }
    }
}

/// One FFT resampler with the books kept: what went in, what is due, what to drop.
struct Filtered {
    rate: u32,
    target: u32,
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
    fn new(rate: u32, target: u32) -> Self {
        let (size_in, size_out) = transform_sizes(rate, target);
        let fft = Fft::new_custom(
            rate as usize,
            target as usize,
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
            target,
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
        let due = exact_length(self.frames_in, self.rate, self.target);
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

/// Length at `target` Hz of `frames` at `rate`, to the nearest sample.
fn exact_length(frames: u64, rate: u32, target: u32) -> u64 {
    let rate = u128::from(rate);
    let length = (u128::from(frames) * u128::from(target) + rate / 2) / rate;
    length as u64
}

/// Frames in and out of one transform: the smallest even multiple of the reduced rates whose slower side reaches
/// [`MIN_TRANSFORM`]. Even, because the filter's delay is half a transform, and only whole samples can be taken off.
fn transform_sizes(rate: u32, target: u32) -> (usize, usize) {
    let divisor = greatest_common_divisor(rate, target);
    let (step_in, step_out) = ((rate / divisor) as usize, (target / divisor) as usize);
    let blocks = MIN_TRANSFORM.div_ceil(step_in.min(step_out)).next_multiple_of(2);
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
    fn a_tone_keeps_its_phase_to_a_small_part_of_a_sample() {
        for (rate, target) in
            [(16_000, 44_100), (44_100, 16_000), (48_000, 44_100), (22_050, 16_000), (8_000, 44_100)]
        {
            let mono = low_tones(rate, rate as usize, 0.0);
            let [out, _] = resample_two(rate, target, &[mono], 1_000);
            let expected = low_tones(target, target as usize, 0.0);
            let inner = target as usize / 10..target as usize * 9 / 10;
            let error = expected[inner.clone()].iter().zip(&out[inner]).map(|(a, b)| (a - b).abs());
            let worst = error.fold(0.0, f32::max);
            assert!(worst < 1e-4, "{rate} to {target} Hz: {worst}");
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

    /// Two channels at `target`, from blocks of `channels` at `rate`.
    fn resample_two(rate: u32, target: u32, channels: &[Vec<f32>], block: usize) -> [Vec<f32>; 2] {
        let mut resampler = Resampler::new(target, 2);
        let mut out = [Vec::new(), Vec::new()];
        for start in (0..channels[0].len()).step_by(block) {
            let part = |channel: &Vec<f32>| channel[start..channel.len().min(start + block)].to_vec();
            let channels = channels.iter().map(part).collect();
            resampler.push(&AudioBlock { sample_rate: rate, channels }, &mut out);
        }
        resampler.flush(&mut out);
        out
    }

    /// Sines below every rate's limit, `phase` telling channels apart.
    fn low_tones(rate: u32, frames: usize, phase: f64) -> Vec<f32> {
        let tone = |n: usize, frequency: f64| {
            (std::f64::consts::TAU * frequency * n as f64 / f64::from(rate) + phase).sin() * 0.3
        };
        (0..frames).map(|n| (tone(n, 333.0) + tone(n, 2_950.0)) as f32).collect()
    }

    #[test]
    fn two_channels_go_to_44_khz_and_back_unchanged() {
        for rate in [8_000_u32, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000] {
            let there = [low_tones(rate, rate as usize, 0.0), low_tones(rate, rate as usize, 1.0)];
            let middle = resample_two(rate, 44_100, &there, 4_000);
            let back = resample_two(44_100, rate, &middle, 999);
            for (before, after) in there.iter().zip(&back) {
                assert_eq!(before.len(), after.len(), "{rate} Hz");
                let edge = rate as usize / 10; // where the sound begins and ends at once, its band has no limit
                let inner = edge..before.len() - edge;
                let error = before[inner.clone()].iter().zip(&after[inner]);
                let worst = error.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{rate} Hz: {worst}");
            }
        }
    }

    #[test]
    fn a_mono_block_feeds_both_sides_and_further_channels_keep_the_mean() {
        let channels = |list: &[f32]| list.iter().map(|v| vec![*v; 3]).collect::<Vec<_>>();
        let folded = |list: &[f32]| resample_two(44_100, 44_100, &channels(list), 2).map(|side| side[2]);
        assert_eq!(folded(&[0.5]), [0.5, 0.5]);
        assert_eq!(folded(&[0.5, -0.25]), [0.5, -0.25]);
        let six = [1.0, 0.0, 0.5, -0.5, 0.25, 0.25];
        let [left, right] = folded(&six);
        assert!(left > right);
        assert!(((left + right) / 2.0 - six.iter().sum::<f32>() / 6.0).abs() < 1e-6);
    }

    #[test]
    fn channels_may_come_and_go() {
        let mut resampler = Resampler::new(44_100, 2);
        let mut out = [Vec::new(), Vec::new()];
        for count in [1, 2, 6, 0, 1] {
            let channels = vec![vec![0.5; if count == 0 { 0 } else { 4_800 }]; count];
            resampler.push(&AudioBlock { sample_rate: 48_000, channels }, &mut out);
        }
        resampler.flush(&mut out);
        assert_eq!(out.map(|side| side.len()), [17_640; 2]);
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
