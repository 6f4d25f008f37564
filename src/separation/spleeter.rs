//! Spleeter's two stems: two networks that guess the magnitudes of voice and background; what is given is the sound
//! itself, bin by bin in the share of the voice.
//!
//! Knows the layout of the tensors, and no file. After Hennequin et al., "Spleeter: a fast and efficient music source
//! separation tool", 2020 (`spleeter/model/__init__.py`, `configs/2stems`), in the form in which
//! `scripts/spleeter/export_onnx.py` of sherpa-onnx exports it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use realfft::num_complex::Complex32;

use super::parameters::{Grid, SpleeterParameters};
use super::stft::Stft;
use super::{SeparationError, SeparatorSpec, VocalSeparator};
use crate::runtime::network::{Network, Tensor};

const CHANNELS: usize = 2;

/// Keeps shares in order where both networks hear nothing; each then has half.
const EPSILON: f32 = 1e-10;

/// A file that has been read.
pub struct NetworkFile<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it lies, for messages.
    pub path: &'a Path,
}

/// A loaded pair of networks. Windows of all who use it are heard one after the other, each by all threads.
pub struct Spleeter {
    voice: Network,
    background: Network,
    grid: Grid,
    stft: Stft,
    turn: Mutex<Magnitudes>,
}

/// Shape (2, 1, dim_t, dim_f) each, kept to be used again.
struct Magnitudes {
    mix: Vec<f32>,
    voice: Vec<f32>,
    background: Vec<f32>,
    /// The spectrum of each channel, frame by frame, dim_f bins each.
    spectra: [Vec<Complex32>; CHANNELS],
}

impl Spleeter {
    /// Loads both networks; each window is heard by `threads` threads.
    ///
    /// # Errors
    /// `Model` when one is not a network, or one that takes or gives another shape than `parameters` say.
    pub fn new(
        voice: &NetworkFile<'_>,
        background: &NetworkFile<'_>,
        parameters: &SpleeterParameters,
        threads: usize,
    ) -> Result<Self, SeparationError> {
        let grid = parameters.grid;
        let stft = grid.stft().map_err(SeparationError::Model)?;
        let load = |file: &NetworkFile<'_>| {
            Network::load_wide(file.bytes, file.path, &shape(&grid), threads)
                .map_err(|error| SeparationError::Model(error.to_string()))
        };
        let empty = || vec![0.0; CHANNELS * grid.dim_t * grid.dim_f];
        let spectrum = || vec![Complex32::default(); grid.dim_t * grid.dim_f];
        Ok(Self {
            voice: load(voice)?,
            background: load(background)?,
            grid,
            stft,
            turn: Mutex::new(Magnitudes {
                mix: empty(),
                voice: empty(),
                background: empty(),
                spectra: [spectrum(), spectrum()],
            }),
        })
    }

    /// Keeps the spectrum of one channel, and its magnitudes for the networks.
    fn spread(&self, samples: &[f32], spectrum: &mut [Complex32], magnitudes: &mut [f32]) {
        let dim_f = self.grid.dim_f;
        self.stft.forward(samples, |frame, bins| {
            let range = frame * dim_f..(frame + 1) * dim_f;
            let kept = spectrum[range.clone()].iter_mut().zip(&mut magnitudes[range]);
            for ((kept, magnitude), bin) in kept.zip(bins) {
                *kept = *bin;
                *magnitude = bin.norm_sqr().sqrt(); // hypot is many times slower, and nothing overflows here
            }
        });
    }

    /// Writes the voice of one channel. Bins above `dim_f` are background, as Spleeter's own `mask_extension: zeros`
    /// has it.
    fn gather(&self, voice: &mut [f32], spectrum: &[Complex32], share: impl Fn(usize) -> f32) {
        let dim_f = self.grid.dim_f;
        self.stft.inverse(voice, |frame, bins| {
            bins[dim_f..].fill(Complex32::default());
            for (at, (bin, kept)) in
                (frame * dim_f..).zip(bins.iter_mut().zip(&spectrum[frame * dim_f..][..dim_f]))
            {
                *bin = kept * share(at);
            }
        });
    }
}

impl VocalSeparator for Spleeter {
    fn spec(&self) -> SeparatorSpec {
        self.grid.spec()
    }

    /// One channel is transformed once, given to the networks as both, and takes the mean of both shares.
    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        let size = self.grid.dim_t * self.grid.dim_f;
        // What a panic left there is overwritten.
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Magnitudes { mix: heard, voice: voices, background, spectra } = &mut *turn;
        for ((channel, spectrum), part) in mix.iter().zip(&mut *spectra).zip(heard.chunks_mut(size)) {
            self.spread(channel, spectrum, part);
        }
        if mix.len() == 1 {
            heard.copy_within(..size, size);
        }
        let shape = shape(&self.grid);
        for (network, out) in [(&self.voice, &mut *voices), (&self.background, &mut *background)] {
            let input = Tensor { shape: &shape, values: heard };
            network.run(&[input], &shape, out).map_err(SeparationError::Engine)?;
        }
        let share = |at: usize| share(voices[at], background[at]);
        if let [voice] = voice {
            self.gather(voice, &spectra[0], |at| 0.5 * (share(at) + share(at + size)));
            return Ok(());
        }
        for (channel, (voice, spectrum)) in voice.iter_mut().zip(spectra).enumerate() {
            self.gather(voice, spectrum, |at| share(channel * size + at));
        }
        Ok(())
    }
}

/// The voice's share of a bin, by power; that of the background is what is missing to 1.
fn share(voice: f32, background: f32) -> f32 {
    let (voice, background) = (voice * voice, background * background);
    (voice + EPSILON / 2.0) / (voice + background + EPSILON)
}

/// The export takes channels before windows: (channels, windows, frames, bins).
fn shape(grid: &Grid) -> [usize; 4] {
    [CHANNELS, 1, grid.dim_t, grid.dim_f]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_by_power_and_sum_to_one() {
        assert_eq!(share(0.0, 0.0), 0.5);
        assert!((share(2.0, 1.0) - 0.8).abs() < 1e-6);
        for (voice, background) in [(0.3, 0.7), (1e-6, 1e-6), (40.0, 0.0)] {
            assert!((share(voice, background) + share(background, voice) - 1.0).abs() < 1e-6);
        }
    }
}
