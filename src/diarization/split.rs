//! segmentation-3.0 in two pieces, so that overlapping windows share its first layer.
//!
//! The network begins with 80 band filters of 251 taps over the samples, a quarter and more of all its work. Before
//! them it makes every window equally loud, which is linear: so the filters can hear the recording once, as it is, and
//! what a window would have made of their answers follows from its mean and deviation (`Loudness`). With a window
//! every second each answer is used ten times. `scripts/split_segmentation.py` makes the two files; the results are
//! those of the whole network up to rounding.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::DiarizationError;
use super::activity::Activity;
use super::grid::WINDOW;
use super::samples::{Samples, padded};
use super::segmentation::{SpeakerSegmenter, WindowSegmenter, activity, failed, load};
use crate::runtime::network::{Network, Tensor};
use crate::time::SampleIndex;

const SAMPLES: &[&CStr] = &[c"samples"];
const LOUDEST: &[&CStr] = &[c"loudest"];

/// Filters of the first layer.
const FILTERS: usize = 80;
/// Samples that one answer hears.
const TAPS: usize = 251;
/// Samples from one answer to the next.
const STRIDE: SampleIndex = 10;
/// Answers in a window.
const ANSWERS: usize = (WINDOW as usize - TAPS) / STRIDE as usize + 1;
/// Answers of which the loudest goes on.
const POOL: usize = 3;
/// Answers that are made and kept together: 2.5 s, 1.3 MB.
const TILE: usize = 4_000;
/// What the network adds to a window's variance.
const EPSILON: f64 = 1e-5;

/// The network's two pieces.
pub struct SplitSegmenter {
    filters: Network,
    rest: Network,
    /// What each filter answers to silence.
    silence: Vec<f32>,
    /// What it answers to a constant of 1 beyond that.
    unit: Vec<f32>,
}

impl SplitSegmenter {
    /// Makes one of the first layer and the rest, each with the path that it has been read from.
    ///
    /// # Errors
    /// `Model` when one is another network, or ONNX Runtime is missing.
    pub fn new(filters: (&[u8], &Path), rest: (&[u8], &Path)) -> Result<Self, DiarizationError> {
        let filters_path = filters.1.display().to_string();
        let (filters, rest) = (load(filters.0, filters.1, SAMPLES)?, load(rest.0, rest.1, LOUDEST)?);
        // A first layer of another shape shows itself here.
        let probe = |level| {
            answers(&filters, &[level; TAPS])
                .map_err(|error| DiarizationError::Model(format!("{filters_path}: {error}")))
        };
        let silence = probe(0.0)?;
        let unit = std::iter::zip(probe(1.0)?, &silence).map(|(one, none)| one - none).collect();
        Ok(Self { filters, rest, silence, unit })
    }
}

impl SpeakerSegmenter for SplitSegmenter {
    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(SharedAnswers { segmenter: self, sound, tiles: Mutex::default() })
    }

    fn lookahead(&self) -> SampleIndex {
        tile_length() as SampleIndex
    }
}

/// What the filters answer to `samples`, shape (`FILTERS`, answers).
fn answers(filters: &Network, samples: &[f32]) -> Result<Vec<f32>, DiarizationError> {
    let count = (samples.len() - TAPS) / STRIDE as usize + 1;
    let mut out = vec![0.0; FILTERS * count];
    let input = Tensor { shape: &[1, 1, samples.len()], values: samples };
    filters.run(&[input], &[1, FILTERS, count], &mut out).map_err(failed)?;
    Ok(out)
}

/// Samples that a tile hears.
fn tile_length() -> usize {
    (TILE - 1) * STRIDE as usize + TAPS
}

/// Some of the answers to one recording.
type Tile = Arc<Vec<f32>>;

/// The filters' answers to one recording, as far as windows need them now.
struct SharedAnswers<'a> {
    segmenter: &'a SplitSegmenter,
    sound: &'a dyn Samples,
    /// By number; whoever needs one first makes it, and others who need it wait.
    tiles: Mutex<BTreeMap<u64, Arc<Mutex<Option<Tile>>>>>,
}

impl WindowSegmenter for SharedAnswers<'_> {
    fn segment(&self, start: SampleIndex, window: &[f32]) -> Result<Activity, DiarizationError> {
        if window.len() != WINDOW as usize {
            return Err(failed(format!("a window has {WINDOW} samples, not {}", window.len())));
        }
        let loudest = if start.is_multiple_of(STRIDE) {
            self.loudest_of_tiles(start / STRIDE, window)?
        } else {
            // Between the places at which the filters have listened: nothing to share.
            let own = answers(&self.segmenter.filters, window)?;
            self.loudest(window, |filter, row| row.copy_from_slice(&own[filter * ANSWERS..][..ANSWERS]))
        };
        let frames = ANSWERS / POOL;
        activity(&self.segmenter.rest, Tensor { shape: &[1, FILTERS, frames], values: &loudest })
    }
}

impl SharedAnswers<'_> {
    /// The loudest answers of a window whose first is answer `first` of the recording.
    fn loudest_of_tiles(&self, first: u64, window: &[f32]) -> Result<Vec<f32>, DiarizationError> {
        let (size, end) = (TILE as u64, first + ANSWERS as u64);
        self.forget_before(first);
        let tiles: Vec<Tile> =
            (first / size..end.div_ceil(size)).map(|number| self.tile(number)).collect::<Result<_, _>>()?;
        let skipped = (first % size) as usize;
        Ok(self.loudest(window, |filter, row| {
            let (mut skipped, mut left) = (skipped, row);
            for tile in &tiles {
                let piece = &tile[filter * TILE..][std::mem::take(&mut skipped)..TILE];
                let (now, later) = left.split_at_mut(piece.len().min(left.len()));
                now.copy_from_slice(&piece[..now.len()]);
                left = later;
            }
        }))
    }

    /// What goes on to the rest of the network, shape (`FILTERS`, `ANSWERS / POOL`). `fill` writes a filter's answers to
    /// the window as it was recorded.
    fn loudest(&self, window: &[f32], fill: impl Fn(usize, &mut [f32])) -> Vec<f32> {
        let loudness = Loudness::of(window);
        let mut out = Vec::with_capacity(FILTERS * ANSWERS / POOL);
        let mut row = vec![0.0; ANSWERS];
        for (filter, (silence, unit)) in
            std::iter::zip(&self.segmenter.silence, &self.segmenter.unit).enumerate()
        {
            fill(filter, &mut row);
            let (scale, shift) = loudness.line(*silence, *unit);
            let loud = |answer: f32| (scale * answer + shift).abs();
            out.extend(
                row.as_chunks::<POOL>().0.iter().map(|[a, b, c]| loud(*a).max(loud(*b)).max(loud(*c))),
            );
        }
        out
    }

    fn tile(&self, number: u64) -> Result<Tile, DiarizationError> {
        let slot = Arc::clone(self.tiles().entry(number).or_default());
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = &*slot {
            return Ok(Arc::clone(tile));
        }
        let start = number * TILE as u64 * STRIDE;
        let samples = padded(self.sound, start as i64, tile_length());
        let tile = Arc::new(answers(&self.segmenter.filters, &samples)?);
        *slot = Some(Arc::clone(&tile));
        Ok(tile)
    }

    /// Windows come nearly in order; whoever is behind another thread by more than a window makes its tiles again.
    fn forget_before(&self, first: u64) {
        let oldest = first.saturating_sub(ANSWERS as u64) / TILE as u64;
        let mut tiles = self.tiles();
        *tiles = tiles.split_off(&oldest);
    }

    fn tiles(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Mutex<Option<Tile>>>>> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How loud a window is: the network takes `(sample - mean) / deviation`.
struct Loudness {
    mean: f64,
    deviation: f64,
}

impl Loudness {
    fn of(window: &[f32]) -> Self {
        let count = window.len() as f64;
        let mean = window.iter().map(|sample| f64::from(*sample)).sum::<f64>() / count;
        let variance = window.iter().map(|sample| (f64::from(*sample) - mean).powi(2)).sum::<f64>() / count;
        Self { mean, deviation: (variance + EPSILON).sqrt() }
    }

    /// What makes of a filter's answer to the recording its answer to the window: a factor and a summand. The filter is
    /// linear but for what it answers to silence.
    fn line(&self, silence: f32, unit: f32) -> (f32, f32) {
        let (silence, unit) = (f64::from(silence), f64::from(unit));
        let shift = silence - (silence + self.mean * unit) / self.deviation;
        ((1.0 / self.deviation) as f32, shift as f32)
    }
}
