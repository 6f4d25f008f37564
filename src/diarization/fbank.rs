//! The spectrogram that WeSpeaker's encoders hear: Kaldi's log filterbank. Pure.
//!
//! As `torchaudio.compliance.kaldi.fbank(waveform * 32768, num_mel_bins=80, frame_length=25, frame_shift=10,
//! window_type="hamming", dither=0)` makes it, less the mean of each band over the window (pyannote.audio,
//! `BaseWeSpeakerResNet.compute_fbank`).

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::time::SAMPLE_RATE;

/// Samples in a frame: 25 ms.
const FRAME: usize = 400;
/// Samples from one frame to the next: 10 ms.
const HOP: usize = 160;
/// Samples that are transformed: the next power of two.
const PADDED: usize = 512;
/// Frequencies in a spectrum, without the highest, which no band takes.
const BINS: usize = PADDED / 2;
/// Bands.
pub const BANDS: usize = 80;
/// Where the lowest band begins, in Hz.
const LOWEST: f64 = 20.0;
/// Samples are taken as 16 bit numbers.
const SCALE: f32 = 32_768.0;
const PREEMPHASIS: f32 = 0.97;

/// Makes filterbanks; shared by threads.
pub struct Fbank {
    fft: Arc<dyn RealToComplex<f32>>,
    window: [f32; FRAME],
    bands: Vec<Band>,
}

/// A triangle on the frequency axis, without the zeros around it.
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl Fbank {
    /// Plans the transform.
    pub fn new() -> Self {
        // Symmetric: the last sample weighs as much as the first.
        let window =
            std::array::from_fn(|n| (0.54 - 0.46 * (TAU * n as f64 / (FRAME - 1) as f64).cos()) as f32);
        Self { fft: RealFftPlanner::new().plan_fft_forward(PADDED), window, bands: bands() }
    }

    /// How many frames so many samples make: those that lie in them as a whole.
    pub fn frame_count(samples: usize) -> usize {
        samples.checked_sub(FRAME).map_or(0, |rest| rest / HOP + 1)
    }

    /// The filterbank of `samples` (16 kHz mono in [-1, 1]): (`frame_count`, `BANDS`), mean 0 in each band.
    pub fn features(&self, samples: &[f32]) -> Vec<f32> {
        let mut features = Vec::with_capacity(Self::frame_count(samples.len()) * BANDS);
        let mut padded = vec![0.0; PADDED];
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = [0.0; BINS];
        for frame in samples.windows(FRAME).step_by(HOP) {
            self.prepare(frame, &mut padded);
            // It fails only for buffers of other lengths than its own.
            let transformed = self.fft.process_with_scratch(&mut padded, &mut spectrum, &mut scratch);
            debug_assert!(transformed.is_ok());
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = bin.norm_sqr();
            }
            features.extend(self.bands.iter().map(|band| band.of(&power).max(f32::EPSILON).ln()));
        }
        subtract_means(&mut features);
        features
    }

    /// Scales, takes off the mean, raises high frequencies, and fades both ends.
    fn prepare(&self, frame: &[f32], padded: &mut [f32]) {
        let mean = frame.iter().map(|sample| sample * SCALE).sum::<f32>() / FRAME as f32;
        let first = frame.first().map_or(0.0, |sample| sample * SCALE - mean);
        let mut before = first;
        for ((out, sample), factor) in padded.iter_mut().zip(frame).zip(&self.window) {
            let sample = sample * SCALE - mean;
            *out = (sample - PREEMPHASIS * before) * factor;
            before = sample;
        }
        padded[FRAME..].fill(0.0);
    }
}

impl Default for Fbank {
    fn default() -> Self {
        Self::new()
    }
}

impl Band {
    fn of(&self, power: &[f32; BINS]) -> f32 {
        power[self.first_bin..].iter().zip(&self.weights).map(|(power, weight)| power * weight).sum()
    }
}

/// `features` has the shape (frames, `BANDS`).
fn subtract_means(features: &mut [f32]) {
    let frames = (features.len() / BANDS).max(1) as f64;
    let mut means = [0.0_f64; BANDS];
    for row in features.chunks_exact(BANDS) {
        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / frames);
    }
    for row in features.chunks_exact_mut(BANDS) {
        row.iter_mut().zip(&means).for_each(|(value, mean)| *value -= *mean as f32);
    }
}

/// The triangles, as wide as each other on Kaldi's mel scale.
fn bands() -> Vec<Band> {
    let lowest = mel(LOWEST);
    let step = (mel(f64::from(SAMPLE_RATE) / 2.0) - lowest) / (BANDS + 1) as f64;
    (0..BANDS).map(|band| triangle(lowest + band as f64 * step, step)).collect()
}

/// A triangle that begins at `low` and is two `step`s wide, in mel.
fn triangle(low: f64, step: f64) -> Band {
    let weight = |bin: usize| {
        let mel = mel(bin as f64 * f64::from(SAMPLE_RATE) / PADDED as f64);
        let rising = (mel - low) / step;
        rising.min(2.0 - rising).max(0.0) as f32
    };
    let first_bin = (0..BINS).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
    let weights = (first_bin..BINS).map(weight).take_while(|weight| *weight > 0.0).collect();
    Band { first_bin, weights }
}

fn mel(hertz: f64) -> f64 {
    1_127.0 * (1.0 + hertz / 700.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_ten_seconds_has_998_frames_and_no_mean() {
        let samples: Vec<f32> = (0..160_000_u32).map(|n| ((n * n) % 97) as f32 / 97.0 - 0.5).collect();
        let features = Fbank::new().features(&samples);
        assert_eq!(features.len(), 998 * BANDS);
        for band in 0..BANDS {
            let mean: f32 = features.iter().skip(band).step_by(BANDS).sum::<f32>() / 998.0;
            assert!(mean.abs() < 1e-4, "{mean}");
        }
    }

    #[test]
    fn every_band_hears_something_and_silence_is_finite() {
        assert!(bands().iter().all(|band| !band.weights.is_empty()));
        assert!(Fbank::new().features(&[0.0; 1_600]).iter().all(|value| *value == 0.0));
        assert!(Fbank::new().features(&[0.0; FRAME - 1]).is_empty());
    }
}
