//! The spectrogram that the GE2E encoder hears: power on the mel scale, not its logarithm. Pure.
//!
//! As `librosa.feature.melspectrogram(sr=16000, n_fft=400, hop_length=160, n_mels=40)` makes it, on which the encoder
//! was trained (Resemblyzer, `audio.wav_to_mel_spectrogram`): frames of 25 ms every 10 ms, centred, silence beyond
//! both ends; Hann window; bands on Slaney's mel scale from 0 to 8 kHz, each of unit area.

use std::f64::consts::TAU;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::time::SAMPLE_RATE;

/// Samples in a frame.
const FRAME: usize = 400;
/// Samples from one frame to the next.
pub const HOP: usize = 160;
/// Bands.
pub const BANDS: usize = 40;
/// Samples before the middle of a frame that it hears.
pub const MARGIN: usize = FRAME / 2;
/// Frequencies in the spectrum of a frame: 0 to 8 kHz.
const BINS: usize = FRAME / 2 + 1;

/// Makes spectrograms; shared by threads.
pub struct PowerMel {
    fft: Arc<dyn RealToComplex<f32>>,
    window: [f32; FRAME],
    bands: Vec<Band>,
}

/// A stretch of a recording as the encoder hears it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MelFrames {
    /// (frames, `BANDS`)
    pub mels: Vec<f32>,
    /// Mean power of the samples nearest to the middle of each frame. (frames)
    pub powers: Vec<f32>,
}

/// A triangle on the frequency axis, without the zeros around it.
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl PowerMel {
    /// Plans the transform.
    pub fn new() -> Self {
        // The periodic window, as librosa takes it.
        let window = std::array::from_fn(|n| (0.5 - 0.5 * (TAU * n as f64 / FRAME as f64).cos()) as f32);
        Self { fft: RealFftPlanner::new().plan_fft_forward(FRAME), window, bands: bands() }
    }

    /// The frames whose middles lie at sample `MARGIN` of `samples` (16 kHz mono in [-1, 1]) and every `HOP` from
    /// there, as long as all that they hear is there: `samples.len() / HOP - 2` for whole hops.
    pub fn frames(&self, samples: &[f32]) -> MelFrames {
        let count = samples.len().checked_sub(FRAME).map_or(0, |rest| rest / HOP + 1);
        let mut frames =
            MelFrames { mels: Vec::with_capacity(count * BANDS), powers: Vec::with_capacity(count) };
        let mut windowed = vec![0.0; FRAME];
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = [0.0; BINS];
        for frame in samples.windows(FRAME).step_by(HOP) {
            for ((out, sample), factor) in windowed.iter_mut().zip(frame).zip(&self.window) {
                *out = sample * factor;
            }
            // It fails only for buffers of other lengths than its own.
            let transformed = self.fft.process_with_scratch(&mut windowed, &mut spectrum, &mut scratch);
            debug_assert!(transformed.is_ok());
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = bin.norm_sqr();
            }
            frames.mels.extend(self.bands.iter().map(|band| band.of(&power)));
            let middle = &frame[MARGIN - HOP / 2..MARGIN + HOP / 2];
            frames.powers.push(middle.iter().map(|sample| sample * sample).sum::<f32>() / HOP as f32);
        }
        frames
    }
}

impl Default for PowerMel {
    fn default() -> Self {
        Self::new()
    }
}

impl Band {
    fn of(&self, power: &[f32; BINS]) -> f32 {
        power[self.first_bin..].iter().zip(&self.weights).map(|(power, weight)| power * weight).sum()
    }
}

/// The triangles: each rises from the middle of the one before to its own and falls to that of the next.
fn bands() -> Vec<Band> {
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let step = mel(nyquist) / (BANDS + 1) as f64;
    let edges: Vec<f64> = (0..BANDS + 2).map(|n| hertz(n as f64 * step)).collect();
    edges.windows(3).map(|edges| band(edges[0], edges[1], edges[2])).collect()
}

fn band(low: f64, middle: f64, high: f64) -> Band {
    let height = 2.0 / (high - low);
    let weight = |bin: usize| {
        let frequency = bin as f64 * f64::from(SAMPLE_RATE) / FRAME as f64;
        let rising = (frequency - low) / (middle - low);
        let falling = (high - frequency) / (high - middle);
        (rising.min(falling).max(0.0) * height) as f32
    };
    let first_bin = (0..BINS).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
    let weights = (first_bin..BINS).map(weight).take_while(|weight| *weight > 0.0).collect();
    Band { first_bin, weights }
}

/// Where Slaney's scale turns from linear to logarithmic, in Hz and mel.
const TURN_HZ: f64 = 1_000.0;
const TURN_MEL: f64 = 15.0;

/// Mel above the turn for each e-fold of frequency: 27 for a factor of 6.4.
fn mels_per_fold() -> f64 {
    27.0 / 6.4_f64.ln()
}

fn mel(hertz: f64) -> f64 {
    if hertz < TURN_HZ {
        hertz * TURN_MEL / TURN_HZ
    } else {
        TURN_MEL + (hertz / TURN_HZ).ln() * mels_per_fold()
    }
}

fn hertz(mel: f64) -> f64 {
    if mel < TURN_MEL {
        mel * TURN_HZ / TURN_MEL
    } else {
        TURN_HZ * ((mel - TURN_MEL) / mels_per_fold()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_and_its_inverse_agree() {
        for frequency in [0.0, 440.0, 999.0, 1_000.0, 3_333.0, 8_000.0] {
            assert!((hertz(mel(frequency)) - frequency).abs() < 1e-9);
        }
        // librosa.hz_to_mel(8000) = 45.2456…
        assert!((mel(8_000.0) - 45.245_640_5).abs() < 1e-6, "{}", mel(8_000.0));
    }

    #[test]
    fn a_tone_is_loudest_in_the_band_around_it() {
        let samples: Vec<f32> =
            (0..4_000).map(|n| (n as f32 * 1_000.0 / 16_000.0 * TAU as f32).sin()).collect();
        let frames = PowerMel::new().frames(&samples);
        assert_eq!(frames.powers.len(), (4_000 - FRAME) / HOP + 1);
        let loudest = |row: &[f32]| (0..BANDS).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        // Band n has its middle at (n + 1) steps of the scale: 15 mel / (45.2456 / 41) = 13.6.
        let bands: Vec<_> = frames.mels.chunks(BANDS).map(loudest).collect();
        assert!(bands.iter().all(|band| *band == Some(13) || *band == Some(12)), "{bands:?}");
        assert!(frames.powers.iter().all(|power| (power - 0.5).abs() < 0.01));
    }

    #[test]
    fn silence_has_no_power_and_too_little_sound_no_frames() {
        let mel = PowerMel::new();
        let silence = mel.frames(&[0.0; 800]);
        assert!(silence.mels.iter().chain(&silence.powers).all(|value| *value == 0.0));
        assert_eq!(mel.frames(&[0.5; FRAME - 1]), MelFrames::default());
        assert_eq!(mel.frames(&[0.5; FRAME]).powers.len(), 1);
    }
}
