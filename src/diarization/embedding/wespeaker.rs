//! WeSpeaker's ResNet34 (Wang 2023), as pyannote.audio uses it: a window at a time, pooled for each speaker.
//!
//! Nearly all of the work is the trunk, which does not depend on who speaks; only the statistics behind it are weighted
//! by a speaker's mask. So the trunk is to run once for a window, with as many masks as there are speakers. The network
//! takes features and masks together, but where it was exported without ties between the two, a single window is
//! combined with many masks by the usual rules of arrays. Whether it does is tried when it is loaded.

use std::ffi::CStr;
use std::path::Path;

use super::{DIMENSIONS, HeardWindow, Horizon, SpeakerEmbedder, VoiceListener};
use crate::diarization::DiarizationError;
use crate::diarization::attribution::{Method, WindowNumbers};
use crate::diarization::fbank::{BANDS, Fbank};
use crate::diarization::grid::WINDOW;
use crate::diarization::masks::{speakers, voice_mask};
use crate::diarization::samples::{Samples, padded};
use crate::diarization::team::Team;
use crate::runtime::network::{Network, Tensor};

/// Features (windows, frames, `BANDS`), and masks (windows, frames of the segmentation network).
const INPUTS: [&CStr; 2] = [c"fbank", c"weights"];

/// Frames alone that are too few to be a voice: what the network needs at least (400 samples), in frames of
/// the segmentation network, as pyannote.audio counts them.
const TOO_FEW: usize = 2;

/// How far both ways to run it may be apart, as a share of the largest number.
const TOLERANCE: f32 = 1e-3;

/// The encoder and what it hears.
pub struct WespeakerEmbedder {
    network: Network,
    fbank: Fbank,
    method: Method,
    shares_trunk: bool,
}

impl WespeakerEmbedder {
    /// Makes one of the network in `model`, which has been read from `path`.
    ///
    /// # Errors
    /// `Model` when it is another network, or ONNX Runtime is missing.
    pub fn new(model: &[u8], path: &Path, method: Method) -> Result<Self, DiarizationError> {
        let network = Network::load(model, path, &INPUTS)
            .map_err(|error| DiarizationError::Model(error.to_string()))?;
        let mut embedder = Self { network, fbank: Fbank::new(), method, shares_trunk: false };
        embedder.shares_trunk = embedder.can_share_trunk()?;
        if !embedder.shares_trunk {
            tracing::info!("this speaker encoder runs once for each speaker of a window, not once for all");
        }
        Ok(embedder)
    }

    /// Whether the trunk runs once for a window, and not for each of its speakers.
    pub fn shares_trunk(&self) -> bool {
        self.shares_trunk
    }

    /// Whether one window with several masks gives what it gives with each of them.
    fn can_share_trunk(&self) -> Result<bool, DiarizationError> {
        const FRAMES: usize = 120;
        const MASK: usize = 70;
        // Anything that is not the same everywhere.
        let features: Vec<f32> =
            (0..FRAMES * BANDS).map(|n| ((n * 7_919) % 1_009) as f32 / 504.0 - 1.0).collect();
        let masks: Vec<f32> = (0..3 * MASK).map(|n| f32::from(u8::from(n % (n / MASK + 2) == 0))).collect();
        let apart = self.run_apart(&features, &masks, 3)?;
        let Ok(together) = self.run(&features, &masks, 3) else { return Ok(false) };
        let largest = apart.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        Ok(apart.iter().zip(&together).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest))
    }

    /// The voices behind `count` masks in one window: (`count`, `DIMENSIONS`), as the network gives them.
    fn embed(&self, features: &[f32], masks: &[f32], count: usize) -> Result<Vec<f32>, DiarizationError> {
        if self.shares_trunk {
            self.run(features, masks, count)
        } else {
            self.run_apart(features, masks, count)
        }
    }

    fn run_apart(&self, features: &[f32], masks: &[f32], count: usize) -> Result<Vec<f32>, DiarizationError> {
        let mut all = Vec::with_capacity(count * DIMENSIONS);
        for mask in masks.chunks_exact((masks.len() / count).max(1)) {
            all.extend(self.run(features, mask, 1)?);
        }
        Ok(all)
    }

    fn run(&self, features: &[f32], masks: &[f32], count: usize) -> Result<Vec<f32>, DiarizationError> {
        let mut out = vec![0.0; count * DIMENSIONS];
        let shape = [1, features.len() / BANDS, BANDS];
        let features = Tensor { shape: &shape, values: features };
        let masks = Tensor { shape: &[count, masks.len() / count], values: masks };
        self.network
            .run(&[features, masks], &[count, DIMENSIONS], &mut out)
            .map_err(|error| DiarizationError::Engine(format!("speaker encoder: {error}")))?;
        Ok(out)
    }

    fn numbers(&self, sound: &dyn Samples, window: &HeardWindow) -> Result<WindowNumbers, DiarizationError> {
        let mut numbers = WindowNumbers { activity: window.activity.clone(), ..WindowNumbers::default() };
        let speakers: Vec<usize> = speakers(&window.activity).collect();
        if speakers.is_empty() {
            return Ok(numbers);
        }
        let samples = padded(sound, window.start as i64, WINDOW as usize);
        let masks: Vec<f32> = speakers
            .iter()
            .flat_map(|speaker| voice_mask(&window.activity, *speaker, TOO_FEW))
            .map(|is_voice| f32::from(u8::from(is_voice)))
            .collect();
        let voices = self.embed(&self.fbank.features(&samples), &masks, speakers.len())?;
        for (speaker, voice) in speakers.iter().zip(voices.chunks_exact(DIMENSIONS)) {
            if let Some(slot) = numbers.embeddings.get_mut(*speaker) {
                *slot = voice.iter().all(|value| value.is_finite()).then(|| voice.into());
            }
        }
        Ok(numbers)
    }
}

impl SpeakerEmbedder for WespeakerEmbedder {
    fn method(&self) -> Method {
        self.method.clone()
    }

    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn VoiceListener + 'a> {
        Box::new(WindowListener { embedder: self, sound })
    }
}

/// One recording; each window stands for itself.
struct WindowListener<'a> {
    embedder: &'a WespeakerEmbedder,
    sound: &'a dyn Samples,
}

impl VoiceListener for WindowListener<'_> {
    fn hear(
        &mut self,
        windows: Vec<HeardWindow>,
        _horizon: Horizon,
        team: &Team<'_>,
    ) -> Result<Vec<WindowNumbers>, DiarizationError> {
        team.map(&windows, |window| self.embedder.numbers(self.sound, window))
    }
}
