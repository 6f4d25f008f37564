//! The short-time Fourier transform, there and back.
//!
//! Pure. Periodic Hann window, frames centred on multiples of the hop, sound mirrored beyond its ends: what
//! `torch.stft(center=True, pad_mode="reflect")` gives, on which the MDX-Net models were trained
//! (`lib_v5/tfc_tdf_v3.py` and `separate.py` of Ultimate Vocal Remover). One frame more than there where the length
//! is not whole hops, so that the last samples are covered as well as all others.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::reflect::reflected;

/// Where the squared windows over a sample sum to less, nothing can be said of it; never within a sound.
const LEAST_WEIGHT: f32 = 1e-9;

/// Transforms of one size and hop. Shared freely: what a transform needs besides is made for each call.
pub struct Stft {
    n_fft: usize,
    hop: usize,
    window: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl Stft {
    /// Frames of `n_fft` samples every `hop` samples; `None` unless frames overlap by half at least, so that every
    /// sample lies well inside one.
    pub fn new(n_fft: usize, hop: usize) -> Option<Self> {
        if hop == 0 || hop > n_fft / 2 {
            return None;
        }
        let mut planner = RealFftPlanner::new();
        Some(Self {
            n_fft,
            hop,
            window: periodic_hann(n_fft),
            forward: planner.plan_fft_forward(n_fft),
            inverse: planner.plan_fft_inverse(n_fft),
        })
    }

    /// Bins of a frame: from 0 Hz to half the rate.
    pub fn bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// Frames of `length` samples: one at 0, and one at every hop up to the end or the first hop behind it. None of
    /// nothing.
    pub fn frames(&self, length: usize) -> usize {
        if length == 0 { 0 } else { length.div_ceil(self.hop) + 1 }
    }

    /// Hands out the frames of `samples` in order, as (number, bins).
    pub fn forward(&self, samples: &[f32], mut take: impl FnMut(usize, &[Complex32])) {
        let mut framed = self.forward.make_input_vec();
        let mut bins = self.forward.make_output_vec();
        let mut scratch = self.forward.make_scratch_vec();
        for frame in 0..self.frames(samples.len()) {
            self.cut(samples, frame, &mut framed);
            for (sample, weight) in framed.iter_mut().zip(&self.window) {
                *sample *= weight;
            }
            self.forward
                .process_with_scratch(&mut framed, &mut bins, &mut scratch)
                .expect("buffers made by the plan fit it");
            take(frame, &bins);
        }
    }

    /// Writes into `samples` the sound whose frames `give` fills in, asked in order, as (number, bins); each
    /// sample is the mean of its frames, weighted as the least-squares inverse wants it (Griffin and Lim, 1984). The
    /// imaginary parts of the first and, for an even size, the last bin count as 0.
    pub fn inverse(&self, samples: &mut [f32], mut give: impl FnMut(usize, &mut [Complex32])) {
        let mut bins = self.inverse.make_input_vec();
        let mut framed = self.inverse.make_output_vec();
        let mut scratch = self.inverse.make_scratch_vec();
        let mut weights = vec![0.0_f32; samples.len()];
        samples.fill(0.0);
        for frame in 0..self.frames(samples.len()) {
            give(frame, &mut bins);
            self.make_real(&mut bins);
            self.inverse
                .process_with_scratch(&mut bins, &mut framed, &mut scratch)
                .expect("buffers made by the plan fit it, and the outer bins are real");
            self.lay(&framed, frame, samples, &mut weights);
        }
        let size = self.n_fft as f32; // the transforms are not normalised
        for (sample, weight) in samples.iter_mut().zip(&weights) {
            *sample /= weight.max(LEAST_WEIGHT) * size;
        }
    }

    /// Copies the sound of a frame, mirrored where it reaches beyond an end.
    fn cut(&self, samples: &[f32], frame: usize, framed: &mut [f32]) {
        let start = self.start(frame);
        let inside = usize::try_from(start).ok().and_then(|start| samples.get(start..start + self.n_fft));
        match inside {
            Some(inside) => framed.copy_from_slice(inside),
            None => {
                for (sample, at) in framed.iter_mut().zip(start..) {
                    *sample = reflected(samples, at);
                }
            }
        }
    }

    /// Adds a frame to the sound, and the squares of its window to what the sound is divided by.
    fn lay(&self, framed: &[f32], frame: usize, samples: &mut [f32], weights: &mut [f32]) {
        let start = self.start(frame);
        let skipped = start.min(0).unsigned_abs() as usize;
        let from = start.max(0) as usize;
        let count = self.n_fft.saturating_sub(skipped).min(samples.len().saturating_sub(from));
        let range = skipped..skipped + count;
        let sums = samples[from..from + count].iter_mut().zip(&mut weights[from..from + count]);
        let values = framed[range.clone()].iter().zip(&self.window[range]);
        for ((sample, total), (value, weight)) in sums.zip(values) {
            *sample += value * weight;
            *total += weight * weight;
        }
    }

    fn start(&self, frame: usize) -> i64 {
        (frame * self.hop) as i64 - (self.n_fft / 2) as i64
    }

    fn make_real(&self, bins: &mut [Complex32]) {
        bins[0].im = 0.0;
        if self.n_fft.is_multiple_of(2) {
            bins[self.n_fft / 2].im = 0.0;
        }
    }
}

/// The Hann window of which `size + 1` would be symmetric, computed in f64.
fn periodic_hann(size: usize) -> Vec<f32> {
    let step = std::f64::consts::TAU / size as f64;
    (0..size).map(|n| (0.5 - 0.5 * (step * n as f64).cos()) as f32).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/noise.rs"));

    fn there_and_back(stft: &Stft, samples: &[f32]) -> Vec<f32> {
        let mut frames = Vec::new();
        stft.forward(samples, |_, bins| frames.push(bins.to_vec()));
        assert_eq!(frames.len(), stft.frames(samples.len()));
        let mut out = vec![f32::NAN; samples.len()];
        stft.inverse(&mut out, |frame, bins| bins.copy_from_slice(&frames[frame]));
        out
    }

    /// Power of the difference below the power of the sound, in dB.
    pub(crate) fn error_db(expected: &[f32], actual: &[f32]) -> f64 {
        assert_eq!(expected.len(), actual.len());
        let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let error = power(&mut expected.iter().zip(actual).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let sound = power(&mut expected.iter().map(|v| f64::from(*v)));
        10.0 * ((error + 1e-30) / (sound + 1e-30)).log10()
    }

    #[test]
    fn sound_comes_back_from_the_models_transforms() {
        for (n_fft, hop) in [(7_680, 1_024), (6_144, 1_024), (5_120, 1_024), (4_096, 1_024), (2_048, 512)] {
            let stft = Stft::new(n_fft, hop).unwrap();
            for length in [4_410, 44_100, 261_120, 400_001] {
                let samples = noise(length, length as u32);
                let error = error_db(&samples, &there_and_back(&stft, &samples));
                assert!(error < -100.0, "{n_fft}/{hop}, {length} samples: {error:.1} dB");
            }
        }
    }

    #[test]
    fn ten_minutes_come_back() {
        let stft = Stft::new(7_680, 1_024).unwrap();
        let samples = noise(600 * 44_100, 7);
        let (mut framed, mut scratch) = (stft.forward.make_input_vec(), stft.forward.make_scratch_vec());
        let mut out = vec![f32::NAN; samples.len()];
        // Frames are made when they are asked for: all of them would take a gigabyte.
        stft.inverse(&mut out, |frame, bins| {
            stft.cut(&samples, frame, &mut framed);
            framed.iter_mut().zip(&stft.window).for_each(|(sample, weight)| *sample *= weight);
            stft.forward.process_with_scratch(&mut framed, bins, &mut scratch).unwrap();
        });
        let error = error_db(&samples, &out);
        assert!(error < -100.0, "{error:.1} dB");
    }

    #[test]
    fn a_tone_is_where_its_frequency_says() {
        let stft = Stft::new(1_024, 256).unwrap();
        let tone: Vec<f32> =
            (0..8_192).map(|n| (std::f32::consts::TAU * 100.0 * n as f32 / 1_024.0).cos()).collect();
        stft.forward(&tone, |frame, bins| {
            if (2..30).contains(&frame) {
                // A cosine through the middle of a Hann window: a quarter of the size, the sum of the window halved.
                assert!((bins[100].norm() - 256.0).abs() < 0.1, "frame {frame}: {}", bins[100]);
                assert!(bins[103].norm() < 0.1 && bins[97].norm() < 0.1);
            }
        });
    }

    #[test]
    fn nothing_and_next_to_nothing_are_no_trouble() {
        let stft = Stft::new(7_680, 1_024).unwrap();
        for length in [0, 1, 2, 3, 100, 1_023, 1_024, 1_025, 3_839, 3_840, 3_841] {
            let samples = noise(length, 3);
            let out = there_and_back(&stft, &samples);
            assert!(error_db(&samples, &out) < -100.0 || length == 0, "{length}");
        }
        for (n_fft, hop) in [(0, 0), (1, 1), (512, 0), (512, 257), (512, 600)] {
            assert!(Stft::new(n_fft, hop).is_none(), "{n_fft}/{hop}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn any_size_and_hop_that_overlap_by_half_give_the_sound_back(
            n_fft in 4_usize..3_000,
            share in 0.05_f64..0.5,
            length in 1_usize..20_000,
        ) {
            let hop = ((n_fft as f64 * share) as usize).max(1);
            let stft = Stft::new(n_fft, hop).unwrap();
            let samples = noise(length, n_fft as u32);
            let error = error_db(&samples, &there_and_back(&stft, &samples));
            prop_assert!(error < -100.0, "{error:.1} dB");
        }
    }
}
