//! From the windows' numbers to turns: who is who over the whole recording. Pure.

use super::activity::{Activity, LOCAL_SPEAKERS};
use super::grid::Grid;
use super::{DiarizationError, DiarizationOptions, Voice};
use crate::transcript::SpeakerTurn;

/// What the networks gave for one window.
#[derive(Clone, Debug, Default)]
pub struct WindowNumbers {
    /// Who is active when.
    pub activity: Activity,
    /// What each local speaker sounds like; `None` for whoever is silent or heard too little.
    pub embeddings: [Option<Box<[f32]>>; LOCAL_SPEAKERS],
}

/// How voices of one encoder are compared and grouped.
#[derive(Clone, Debug)]
pub struct Method {}

/// The PLDA of pyannote's speaker-diarization-community-1. Matrices are row-major.
#[derive(Clone, Debug, Default)]
pub struct Plda {
    /// Mean of the encoder's vectors; (256).
    pub mean1: Vec<f32>,
    /// Linear discriminant analysis; (256 × 128).
    pub lda: Vec<f32>,
    /// Mean after it; (128).
    pub mean2: Vec<f32>,
    /// Mean of the PLDA model; (128).
    pub mu: Vec<f32>,
    /// Eigenvectors of the between-speaker covariance in its columns, largest first; (128 × 128).
    pub eigenvectors: Vec<f32>,
    /// Between-speaker variances, largest first; (128).
    pub phi: Vec<f32>,
}

impl Method {
    /// For the GE2E encoder.
    ///
    /// # Errors
    /// `Model` when sizes do not go together or a number is none.
    pub fn ge2e(_mean: &[f32], _lda: &[f32], _phi: &[f32]) -> Result<Self, DiarizationError> {
        Ok(Self {})
    }

    /// For the WeSpeaker ResNet34-LM encoder.
    ///
    /// # Errors
    /// `Model` when sizes do not go together or a number is none.
    pub fn community1(_plda: &Plda) -> Result<Self, DiarizationError> {
        Ok(Self {})
    }
}

/// Gives names to the voices that sound like the known ones.
pub fn name_voices(_voices: &mut [Voice], _known: &[(String, Vec<f32>)], _method: &Method) {}

/// Gathers windows in order, keeps of each what the decision needs, and decides at the end.
pub struct Attribution {
    _method: Method,
}

/// Speakers are numbered by first appearance; `voices` have no names yet.
pub struct Attributed {
    /// As in `Diarization`.
    pub turns: Vec<SpeakerTurn>,
    /// As in `Diarization`.
    pub exclusive: Vec<SpeakerTurn>,
    /// As in `Diarization`.
    pub voices: Vec<Voice>,
}

impl Attribution {
    /// Nothing gathered yet.
    pub fn new(method: Method) -> Self {
        Self { _method: method }
    }

    /// Takes the next window.
    pub fn push(&mut self, _numbers: &WindowNumbers) {}

    /// Decides.
    pub fn finish(self, _grid: Grid, _options: &DiarizationOptions) -> Attributed {
        Attributed { turns: Vec::new(), exclusive: Vec::new(), voices: Vec::new() }
    }
}
