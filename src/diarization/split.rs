//! segmentation-3.0 in two pieces, so that overlapping windows share its first layer.
//!
//! The network begins with 80 band filters of 251 taps over the samples, a quarter and more of all its work. Before
//! them it makes every window equally loud, which is linear: so the filters can hear the recording once, as it is, and
//! what a window would have made of their answers follows from its mean and deviation (`Loudness`). With a window
//! every second each answer is used ten times. `scripts/split_segmentation.py` makes the two files; the results are
//! those of the whole network up to rounding.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::iter::once;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::DiarizationError;
use super::activity::Activity;
use super::buffers::{Buffers, Lent};
use super::grid::WINDOW;
use super::samples::{Samples, read_padded};
use super::segmentation::{SpeakerSegmenter, Window, WindowSegmenter, activity, failed, load};
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
/// What goes on of a filter's answers to a window.
const FRAMES: usize = ANSWERS / POOL;
/// Groups of `POOL` answers that are made and kept together: 2.5 s, 1.3 MB.
const TILE: usize = 1_333;
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
        let buffers = Buffers::default();
        // A first layer of another shape shows itself here.
        let probe = |level| {
            answers(&filters, &[level; TAPS], &buffers)
                .map(|answers| answers.to_vec())
                .map_err(|error| DiarizationError::Model(format!("{filters_path}: {error}")))
        };
        let silence = probe(0.0)?;
        let unit = std::iter::zip(probe(1.0)?, &silence).map(|(one, none)| one - none).collect();
        Ok(Self { filters, rest, silence, unit })
    }
}

impl SpeakerSegmenter for SplitSegmenter {
    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn WindowSegmenter + 'a> {
        Box::new(SharedAnswers {
            segmenter: self,
            sound,
            tiles: Mutex::default(),
            buffers: Buffers::default(),
        })
    }

    fn lookahead(&self) -> SampleIndex {
        tile_length() as SampleIndex
    }
}

/// What the filters answer to `samples`, shape (`FILTERS`, answers).
fn answers(filters: &Network, samples: &[f32], buffers: &Buffers) -> Result<Lent, DiarizationError> {
    let count = (samples.len() - TAPS) / STRIDE as usize + 1;
    let mut out = buffers.take(FILTERS * count);
    let input = Tensor { shape: &[1, 1, samples.len()], values: samples };
    filters.run(&[input], &[1, FILTERS, count], &mut out).map_err(failed)?;
    Ok(out)
}

/// The answers of each filter in rows: those whose numbers leave the same rest when they are divided by `POOL`.
fn in_rows(answers: &[f32], buffers: &Buffers) -> Lent {
    let count = answers.len() / FILTERS;
    let mut out = buffers.take(answers.len());
    for (of, mut out) in answers.chunks_exact(count).zip(out.chunks_exact_mut(count)) {
        for rest in 0..POOL {
            let (row, later) = out.split_at_mut((count - rest).div_ceil(POOL));
            row.iter_mut().zip(of.iter().skip(rest).step_by(POOL)).for_each(|(out, answer)| *out = *answer);
            out = later;
        }
    }
    out
}

/// Samples that a tile hears.
fn tile_length() -> usize {
    (TILE * POOL - 1) * STRIDE as usize + TAPS
}

/// Some of the answers to one recording, shape (`FILTERS`, `POOL`, `TILE`): of each filter first every third answer from the
/// first on, then those from the second on, then from the third on. A window may begin with any of the three; so the
/// answers that are compared always lie in rows.
type Tile = Arc<Lent>;

/// The filters' answers to one recording, as far as windows need them now.
struct SharedAnswers<'a> {
    segmenter: &'a SplitSegmenter,
    sound: &'a dyn Samples,
    /// By number; whoever needs one first makes it, and others who need it wait.
    tiles: Mutex<BTreeMap<u64, Arc<Mutex<Option<Tile>>>>>,
    buffers: Buffers,
}

impl WindowSegmenter for SharedAnswers<'_> {
    fn segment(&self, windows: &[Window<'_>]) -> Result<Vec<Activity>, DiarizationError> {
        let mut loudest = self.buffers.take(windows.len() * FILTERS * FRAMES);
        for (window, out) in windows.iter().zip(loudest.chunks_exact_mut(FILTERS * FRAMES)) {
            self.hear(window, out)?;
        }
        activity(&self.segmenter.rest, Tensor { shape: &[windows.len(), FILTERS, FRAMES], values: &loudest })
    }
}

impl SharedAnswers<'_> {
    /// Writes what goes on of a window, shape (`FILTERS`, `FRAMES`).
    fn hear(&self, window: &Window<'_>, out: &mut [f32]) -> Result<(), DiarizationError> {
        let samples = window.samples;
        if samples.len() != WINDOW as usize {
            return Err(failed(format!("a window has {WINDOW} samples, not {}", samples.len())));
        }
        if window.start.is_multiple_of(STRIDE) {
            return self.loudest_of_tiles(window.start / STRIDE, samples, out);
        }
        // Between the places at which the filters have listened: nothing to share.
        let own = in_rows(&answers(&self.segmenter.filters, samples, &self.buffers)?, &self.buffers);
        let place = |filter: usize, row: usize| (filter * POOL + row) * FRAMES;
        self.loudest(samples, out, |filter, row| once(&own[place(filter, row)..][..FRAMES]));
        Ok(())
    }

    /// The loudest answers of a window whose first is answer `first` of the recording.
    fn loudest_of_tiles(&self, first: u64, samples: &[f32], out: &mut [f32]) -> Result<(), DiarizationError> {
        let (pool, size) = (POOL as u64, TILE as u64);
        self.forget_before(first);
        let oldest = first / pool / size;
        let newest = (first + ANSWERS as u64 - 1) / pool / size;
        let tiles: Vec<Tile> = (oldest..=newest).map(|number| self.tile(number)).collect::<Result<_, _>>()?;
        self.loudest(samples, out, |filter, row| {
            let answer = first + row as u64;
            let place = (filter * POOL + (answer % pool) as usize) * TILE;
            let before = (answer / pool - oldest * size) as usize;
            tiles.iter().scan(before, move |before, tile| {
                let piece = &tile[place..place + TILE][(*before).min(TILE)..];
                *before = before.saturating_sub(TILE);
                Some(piece)
            })
        });
        Ok(())
    }

    /// What goes on to the rest of the network, shape (`FILTERS`, `FRAMES`). `pieces` gives a row of a filter's answers
    /// to the window as it was recorded.
    fn loudest<'t, I>(&self, samples: &[f32], out: &mut [f32], pieces: impl Fn(usize, usize) -> I)
    where
        I: Iterator<Item = &'t [f32]>,
    {
        let loudness = Loudness::of(samples);
        let facts = std::iter::zip(&self.segmenter.silence, &self.segmenter.unit);
        for ((filter, out), (silence, unit)) in out.chunks_exact_mut(FRAMES).enumerate().zip(facts) {
            let (scale, shift) = loudness.line(*silence, *unit);
            let loud = |answer: f32| (scale * answer + shift).abs();
            out.fill(0.0); // nothing is quieter
            for row in 0..POOL {
                let mut left = &mut *out;
                for piece in pieces(filter, row) {
                    let (now, later) = left.split_at_mut(piece.len().min(left.len()));
                    now.iter_mut().zip(piece).for_each(|(out, answer)| *out = out.max(loud(*answer)));
                    left = later;
                }
            }
        }
    }

    fn tile(&self, number: u64) -> Result<Tile, DiarizationError> {
        let slot = Arc::clone(self.tiles().entry(number).or_default());
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = &*slot {
            return Ok(Arc::clone(tile));
        }
        let start = number * (TILE * POOL) as u64 * STRIDE;
        let mut samples = self.buffers.take(tile_length());
        read_padded(self.sound, start as i64, tile_length(), &mut samples);
        let tile =
            Arc::new(in_rows(&answers(&self.segmenter.filters, &samples, &self.buffers)?, &self.buffers));
        *slot = Some(Arc::clone(&tile));
        Ok(tile)
    }

    /// Windows come nearly in order; whoever is behind another thread by more than a window makes its tiles again.
    fn forget_before(&self, first: u64) {
        let oldest = first.saturating_sub(ANSWERS as u64) / (TILE * POOL) as u64;
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
        let mean = sum(window, |sample| sample) / count;
        let variance = sum(window, |sample| (sample - mean).powi(2)) / count;
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

/// The sum of `of` each sample, in several sums beside each other, which the processor takes at once.
fn sum(samples: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    const LANES: usize = 16;
    let (groups, rest) = samples.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, sample)| *sum += of(f64::from(*sample)));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|sample| of(f64::from(*sample))).sum::<f64>()
}
