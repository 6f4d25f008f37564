//! The GE2E encoder (Wan 2018; Resemblyzer's weights) on one grid over the recording.
//!
//! The encoder hears partials of 1.6 s. Windows overlap, so partials lie on a grid of the recording, every 0.4 s, and
//! each is heard once, whatever the step of the windows; with a window every second that is a third of the work of
//! hearing each window by itself, at the same error. A window's speaker is the mean of the partials in which it speaks
//! alone for at least four fifths; partials that are part of no such mean are not heard.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CStr;
use std::ops::Range;
use std::path::Path;

use super::{DIMENSIONS, HeardWindow, Horizon, SpeakerEmbedder, VoiceListener, unit};
use crate::diarization::DiarizationError;
use crate::diarization::activity::LOCAL_SPEAKERS;
use crate::diarization::attribution::{Method, WindowNumbers};
use crate::diarization::grid::{FRAMES, WINDOW};
use crate::diarization::masks::{speakers, voice_mask};
use crate::diarization::mel::{BANDS, HOP, MARGIN, PowerMel};
use crate::diarization::samples::{Samples, padded};
use crate::diarization::team::Team;
use crate::runtime::network::{Network, Tensor};

const INPUT: &CStr = c"mels";

/// Frames of the spectrogram in a partial: 1.6 s, which the encoder was trained on.
const PARTIAL: usize = 160;
/// Frames from one partial to the next. Every 0.2 s is no better, every 0.8 s costs two points of error.
const PARTIAL_HOP: usize = 40;
/// Frames of the spectrogram in a window.
const WINDOW_FRAMES: usize = WINDOW as usize / HOP;
/// Speech that a partial must hold to be heard, in frames: 40 %.
const MIN_SPEECH: usize = PARTIAL * 2 / 5;
/// Share of a partial in which a speaker must be alone for it to count.
const PURITY: f32 = 0.8;
/// Partials heard in one run: from 8 on the encoder is at its fastest.
const BATCH: usize = 16;
/// Mean power to which quieter partials are raised: -30 dBFS, as in training.
const TARGET_POWER: f32 = 1e-3;
/// Added to it, so that silence is not raised without end.
const SILENCE: f32 = 1e-12;

/// Runs the encoder: (partials, `PARTIAL`, `BANDS`) to (partials, `DIMENSIONS`).
type Encode = Box<dyn Fn(&[f32], usize) -> Result<Vec<f32>, DiarizationError> + Send + Sync>;

/// A frame of the spectrogram, counted from the beginning of the recording; negative before it.
type Frame = i64;

/// The encoder and what it hears.
pub struct Ge2eEmbedder {
    encode: Encode,
    mel: PowerMel,
    method: Method,
}

impl Ge2eEmbedder {
    /// Makes one of the network in `model`, which has been read from `path`.
    ///
    /// # Errors
    /// `Model` when it is another network, or ONNX Runtime is missing.
    pub fn new(model: &[u8], path: &Path, method: Method) -> Result<Self, DiarizationError> {
        let network = Network::load(model, path, &[INPUT])
            .map_err(|error| DiarizationError::Model(error.to_string()))?;
        let encode = move |mels: &[f32], partials: usize| {
            let mut out = vec![0.0; partials * DIMENSIONS];
            let input = Tensor { shape: &[partials, PARTIAL, BANDS], values: mels };
            network
                .run(&[input], &[partials, DIMENSIONS], &mut out)
                .map_err(|error| DiarizationError::Engine(format!("speaker encoder: {error}")))?;
            Ok(out)
        };
        Ok(Self { encode: Box::new(encode), mel: PowerMel::new(), method })
    }

    /// What the partials at these frames sound like.
    fn hear(&self, sound: &dyn Samples, starts: &[Frame]) -> Result<Vec<Box<[f32]>>, DiarizationError> {
        let mut mels = Vec::with_capacity(starts.len() * PARTIAL * BANDS);
        for run in starts.chunk_by(|earlier, later| later - earlier <= PARTIAL as Frame) {
            self.spectrogram(sound, run, &mut mels);
        }
        let vectors = (self.encode)(&mels, starts.len())?; // (partials, DIMENSIONS)
        Ok(vectors.chunks_exact(DIMENSIONS).map(Box::from).collect())
    }

    /// Adds the spectrograms of partials that lie close together; what they share is computed once.
    fn spectrogram(&self, sound: &dyn Samples, starts: &[Frame], mels: &mut Vec<f32>) {
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return };
        let count = (last - first) as usize + PARTIAL;
        let samples = padded(sound, first * HOP as Frame - MARGIN as Frame, (count - 1) * HOP + 2 * MARGIN);
        let frames = self.mel.frames(&samples);
        for start in starts {
            let at = (start - first) as usize;
            let power = frames.powers[at..at + PARTIAL].iter().sum::<f32>() / PARTIAL as f32;
            let gain = (TARGET_POWER / (power + SILENCE)).max(1.0);
            mels.extend(frames.mels[at * BANDS..(at + PARTIAL) * BANDS].iter().map(|value| value * gain));
        }
    }
}

impl SpeakerEmbedder for Ge2eEmbedder {
    fn method(&self) -> Method {
        self.method.clone()
    }

    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn VoiceListener + 'a> {
        Box::new(GridListener {
            embedder: self,
            sound,
            speech: SpeechFrames::default(),
            partials: VecDeque::new(),
            next_partial: 0,
            waiting: VecDeque::new(),
        })
    }
}

/// One recording. Holds what the windows that are not finished need, however long it is.
struct GridListener<'a> {
    embedder: &'a Ge2eEmbedder,
    sound: &'a dyn Samples,
    speech: SpeechFrames,
    /// Those that windows may still need, by start.
    partials: VecDeque<Partial>,
    /// The first that is not decided.
    next_partial: Frame,
    /// Windows whose partials are not all decided.
    waiting: VecDeque<HeardWindow>,
}

struct Partial {
    start: Frame,
    /// What it sounds like, once a voice is made of it.
    vector: Option<Box<[f32]>>,
}

/// The partials that a voice is made of, by their places in the queue, and how much each counts.
type Recipe = Vec<(usize, f32)>;

impl VoiceListener for GridListener<'_> {
    fn hear(
        &mut self,
        windows: Vec<HeardWindow>,
        horizon: Horizon,
        team: &Team<'_>,
    ) -> Result<Vec<WindowNumbers>, DiarizationError> {
        for window in &windows {
            self.speech.mark(window);
        }
        self.waiting.extend(windows);
        let spoken: Vec<Frame> = self.decide(horizon).filter(|start| self.holds_speech(*start)).collect();
        self.partials.extend(spoken.into_iter().map(|start| Partial { start, vector: None }));
        let finished = self.finish_windows(horizon).into_iter();
        let finished: Vec<_> = finished.map(|window| (self.recipes(&window), window)).collect();
        let recipes = finished.iter().flat_map(|(recipes, _)| recipes);
        self.listen_to(recipes.flatten().map(|(place, _)| *place), team)?;
        let numbers = finished.into_iter().map(|(recipes, window)| WindowNumbers {
            activity: window.activity,
            embeddings: recipes.map(|recipe| self.voice(&recipe)),
        });
        let numbers = numbers.collect();
        self.forget();
        Ok(numbers)
    }
}

impl GridListener<'_> {
    /// The partials about which all is known now: no window to come reaches into them.
    fn decide(&mut self, horizon: Horizon) -> impl Iterator<Item = Frame> + use<> {
        let known = match horizon {
            Horizon::Next(start) => (start as usize / HOP) as Frame,
            Horizon::End(length) => (length as usize / HOP) as Frame + 1,
        };
        let (first, length) = (self.next_partial, PARTIAL as Frame);
        // A recording shorter than a partial is heard with silence before it.
        let is_short = matches!(horizon, Horizon::End(_)) && known < length && first == 0;
        let decided = if is_short { known - length..1 } else { first..known - length + 1 };
        let hop = if is_short { length as usize } else { PARTIAL_HOP };
        let count = (decided.end - decided.start).max(0) as usize;
        self.next_partial += (count.div_ceil(hop) * hop) as Frame;
        decided.step_by(hop)
    }

    fn holds_speech(&self, start: Frame) -> bool {
        self.speech.count(start..start + PARTIAL as Frame) > MIN_SPEECH
    }

    /// Hears those partials that have not been heard.
    fn listen_to(
        &mut self,
        places: impl Iterator<Item = usize>,
        team: &Team<'_>,
    ) -> Result<(), DiarizationError> {
        let unheard =
            |place: &usize| self.partials.get(*place).is_some_and(|partial| partial.vector.is_none());
        let wanted: Vec<usize> = places.filter(unheard).collect::<BTreeSet<_>>().into_iter().collect();
        let starts: Vec<Frame> = wanted.iter().map(|place| self.partials[*place].start).collect();
        let batches: Vec<&[Frame]> = starts.chunks(BATCH).collect();
        let vectors = team.map(&batches, |batch| self.embedder.hear(self.sound, batch))?;
        for (place, vector) in wanted.into_iter().zip(vectors.into_iter().flatten()) {
            self.partials[place].vector = Some(vector);
        }
        Ok(())
    }

    fn finish_windows(&mut self, horizon: Horizon) -> Vec<HeardWindow> {
        let is_finished = |window: &HeardWindow| {
            matches!(horizon, Horizon::End(_)) || centres(window).end <= self.next_partial
        };
        let count = self.waiting.iter().take_while(|window| is_finished(window)).count();
        self.waiting.drain(..count).collect()
    }

    /// Lets go of what no window to come can need.
    fn forget(&mut self) {
        let needed = self.waiting.front().map_or(self.next_partial, |window| centres(window).start);
        while self.partials.front().is_some_and(|partial| partial.start < needed.min(self.next_partial)) {
            self.partials.pop_front();
        }
        self.speech.forget_before(self.next_partial);
    }

    fn recipes(&self, window: &HeardWindow) -> [Recipe; LOCAL_SPEAKERS] {
        let mut recipes = <[Recipe; LOCAL_SPEAKERS]>::default();
        for speaker in speakers(&window.activity) {
            let mask = Spread::over(&voice_mask(&window.activity, speaker, 0));
            recipes[speaker] = self.recipe(window, &mask);
        }
        recipes
    }

    /// The partials in which the speaker is nearly alone, the purer the more; where there is none, the purest.
    fn recipe(&self, window: &HeardWindow, mask: &Spread) -> Recipe {
        let (centres, origin) = (centres(window), first_frame(window));
        let first = self.partials.partition_point(|partial| partial.start < centres.start);
        let shares = self.partials.range(first..).take_while(|partial| partial.start < centres.end);
        let shares: Recipe =
            (first..).zip(shares.map(|partial| mask.share(partial.start - origin))).collect();
        let pure: Recipe = shares.iter().copied().filter(|(_, share)| *share >= PURITY).collect();
        if !pure.is_empty() {
            return pure.into_iter().map(|(place, share)| (place, share * share)).collect();
        }
        let purest = shares.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
        purest.filter(|(_, share)| *share > 0.0).map(|(place, _)| (place, 1.0)).into_iter().collect()
    }

    /// The mean of partials that have been heard, of unit length.
    fn voice(&self, recipe: &Recipe) -> Option<Box<[f32]>> {
        let mut sum = vec![0.0; DIMENSIONS];
        for (place, weight) in recipe {
            let vector = self.partials.get(*place).and_then(|partial| partial.vector.as_deref());
            for (sum, value) in sum.iter_mut().zip(vector.unwrap_or_default()) {
                *sum += weight * value;
            }
        }
        unit(sum)
    }
}

/// The frame that a window begins with.
fn first_frame(window: &HeardWindow) -> Frame {
    (window.start as usize / HOP) as Frame
}

/// Where partials begin whose middle lies in the window.
fn centres(window: &HeardWindow) -> Range<Frame> {
    let first = first_frame(window) - PARTIAL as Frame / 2;
    first..first + WINDOW_FRAMES as Frame
}

/// Frame of the segmentation network for each frame of a window's spectrogram.
fn network_frame(frame: usize) -> usize {
    frame * FRAMES / WINDOW_FRAMES
}

/// Frames of the spectrogram in which any window hears anybody.
#[derive(Default)]
struct SpeechFrames {
    first: Frame,
    frames: VecDeque<bool>,
}

impl SpeechFrames {
    fn mark(&mut self, window: &HeardWindow) {
        let sets: Vec<_> = window.activity.frames().collect();
        let start = (first_frame(window) - self.first).max(0) as usize;
        if self.frames.len() < start + WINDOW_FRAMES {
            self.frames.resize(start + WINDOW_FRAMES, false);
        }
        for (index, is_speech) in self.frames.range_mut(start..start + WINDOW_FRAMES).enumerate() {
            *is_speech |= sets.get(network_frame(index)).is_some_and(|set| *set != 0);
        }
    }

    fn count(&self, frames: Range<Frame>) -> usize {
        let at = |frame: Frame| ((frame - self.first).max(0) as usize).min(self.frames.len());
        self.frames.range(at(frames.start)..at(frames.end)).filter(|is_speech| **is_speech).count()
    }

    fn forget_before(&mut self, frame: Frame) {
        let count = ((frame - self.first).max(0) as usize).min(self.frames.len());
        self.frames.drain(..count);
        self.first += count as Frame;
    }
}

/// A mask over a window's frames of the spectrogram, summed up so that shares are differences.
struct Spread {
    /// How many frames before each are in the mask. (`WINDOW_FRAMES` + 1)
    before: Vec<usize>,
}

impl Spread {
    /// `mask` over the network's frames.
    fn over(mask: &[bool]) -> Self {
        let mut before = vec![0];
        let mut count = 0;
        for frame in 0..WINDOW_FRAMES {
            count += usize::from(mask.get(network_frame(frame)).copied().unwrap_or(false));
            before.push(count);
        }
        Self { before }
    }

    /// Share of the partial that begins `start` frames after the window; what lies outside the window is not in it.
    fn share(&self, start: Frame) -> f32 {
        let at = |frame: Frame| self.before[frame.clamp(0, WINDOW_FRAMES as Frame) as usize];
        (at(start + PARTIAL as Frame) - at(start)) as f32 / PARTIAL as f32
    }
}
