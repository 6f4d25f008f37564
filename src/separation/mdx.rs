//! The MDX-Net family: real and imaginary parts of both channels in, those of the voice or the background out.
//!
//! Knows the layout of the tensors, and no file. The networks come from the Sony Music Demixing Challenge (Kim et al.,
//! "KUIELab-MDX-Net", 2021); their use and numbers are those of Ultimate Vocal Remover (`separate.py` and
//! `models/MDX_Net_Models/model_data`), compared with `scripts/uvr_mdx` of sherpa-onnx.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use realfft::num_complex::Complex32;

use super::parameters::{Grid, MdxParameters, Part};
use super::stft::Stft;
use super::{SeparationError, SeparatorSpec, VocalSeparator};
use crate::runtime::network::{Network, Tensor};

/// Real and imaginary part, left and right.
const PLANES: usize = 4;

/// Bins from 0 Hz on that the networks never heard in training: nothing is given to them and nothing taken.
const SILENT_BINS: usize = 3;

/// One loaded MDX-Net. Windows of all who use it are heard one after the other, each by all threads: two at once would
/// be no faster and take twice the memory.
pub struct MdxNet {
    network: Network,
    grid: Grid,
    stft: Stft,
    compensation: f32,
    predicts: Part,
    turn: Mutex<Planes>,
}

/// What goes in and comes out, shape (1, 4, dim_f, dim_t), kept to be used again.
struct Planes {
    mix: Vec<f32>,
    prediction: Vec<f32>,
}

impl MdxNet {
    /// Loads the network in `model`, which has been read from `path`; each window is heard by `threads` threads.
    ///
    /// # Errors
    /// `Model` when it is not a network, or one that takes or gives another shape than `parameters` say.
    pub fn new(
        model: &[u8],
        path: &Path,
        parameters: &MdxParameters,
        threads: usize,
    ) -> Result<Self, SeparationError> {
        let grid = parameters.grid;
        let stft = grid.stft().map_err(SeparationError::Model)?;
        let network = Network::load_wide(model, path, &shape(&grid), threads)
            .map_err(|error| SeparationError::Model(error.to_string()))?;
        let size = PLANES * grid.dim_f * grid.dim_t;
        let turn = Mutex::new(Planes { mix: vec![0.0; size], prediction: vec![0.0; size] });
        let MdxParameters { compensation, predicts, .. } = *parameters;
        Ok(Self { network, grid, stft, compensation, predicts, turn })
    }

    /// Writes the spectrum of one channel into two planes, bin by bin: shape (2, dim_f, dim_t).
    fn spread(&self, samples: &[f32], planes: &mut [f32]) {
        let Grid { dim_f, dim_t, .. } = self.grid;
        let (re, im) = planes.split_at_mut(dim_f * dim_t);
        self.stft.forward(samples, |frame, bins| {
            for (bin, value) in bins.iter().enumerate().take(dim_f).skip(SILENT_BINS) {
                re[bin * dim_t + frame] = value.re;
                im[bin * dim_t + frame] = value.im;
            }
        });
    }

    /// Writes the voice of one channel, of whose planes `planes` gives the numbers of a bin.
    fn gather(&self, voice: &mut [f32], value: impl Fn(usize) -> Complex32) {
        let Grid { dim_f, dim_t, .. } = self.grid;
        self.stft.inverse(voice, |frame, bins| {
            bins.fill(Complex32::default());
            for (bin, out) in bins.iter_mut().enumerate().take(dim_f).skip(SILENT_BINS) {
                *out = value(bin * dim_t + frame);
            }
        });
    }

    /// The voice in a bin, of what went in and what came out. Where the background is predicted, the voice is the
    /// rest of what the network heard, so that bins which it does not hear are no voice.
    fn voice(&self, mix: Complex32, prediction: Complex32) -> Complex32 {
        match self.predicts {
            Part::Voice => prediction * self.compensation,
            Part::Background => mix - prediction * self.compensation,
        }
    }
}

impl VocalSeparator for MdxNet {
    fn spec(&self) -> SeparatorSpec {
        self.grid.spec()
    }

    /// One channel is transformed once, given to the network as both, and the mean of what comes out is transformed
    /// back.
    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        let plane = self.grid.dim_f * self.grid.dim_t;
        // What a panic left there is overwritten.
        let mut planes = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let planes = &mut *planes;
        for (channel, part) in mix.iter().zip(planes.mix.chunks_mut(2 * plane)) {
            self.spread(channel, part);
        }
        if mix.len() == 1 {
            planes.mix.copy_within(..2 * plane, 2 * plane);
        }
        let shape = shape(&self.grid);
        let input = Tensor { shape: &shape, values: &planes.mix };
        self.network.run(&[input], &shape, &mut planes.prediction).map_err(SeparationError::Engine)?;
        let complex = |values: &[f32], channel: usize, at: usize| {
            let at = channel * 2 * plane + at;
            Complex32::new(values[at], values[at + plane])
        };
        if let [voice] = voice {
            self.gather(voice, |at| {
                let [left, right] = [0, 1].map(|channel| complex(&planes.prediction, channel, at));
                self.voice(complex(&planes.mix, 0, at), (left + right) * 0.5)
            });
            return Ok(());
        }
        for (channel, voice) in voice.iter_mut().enumerate() {
            self.gather(voice, |at| {
                self.voice(complex(&planes.mix, channel, at), complex(&planes.prediction, channel, at))
            });
        }
        Ok(())
    }
}

fn shape(grid: &Grid) -> [usize; 4] {
    [1, PLANES, grid.dim_f, grid.dim_t]
}
