//! From the windows' numbers to turns: who is who over the whole recording. Pure.

use super::activity::{Activity, LOCAL_SPEAKERS};
use super::grid::Grid;
use super::{DiarizationOptions, Voice};
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

/// The PLDA of pyannote's community-1, row by row: for an embedding x of length 1,
/// sqrt(128) l2(ldaᵀ sqrt(256) l2(x - mean1) - mean2), less mu, times the eigenvectors.
#[derive(Clone, Debug)]
pub struct Plda {
    /// (256)
    pub mean1: Vec<f64>,
    /// (128)
    pub mean2: Vec<f64>,
    /// (256, 128)
    pub lda: Vec<f64>,
    /// (128)
    pub mu: Vec<f64>,
    /// (128, 128); each column is an eigenvector.
    pub eigenvectors: Vec<f64>,
    /// Variance between speakers along each of them, falling. (128)
    pub phi: Vec<f64>,
}

impl Method {
    /// For GE2E embeddings: `mean` (256), `lda` (256, 64), `phi` (64).
    pub fn ge2e(_mean: &[f32], _lda: &[f32], _phi: &[f32]) -> Self {
        Self {}
    }

    /// For WeSpeaker embeddings.
    pub fn community1(_plda: &Plda) -> Self {
        Self {}
    }
}

/// Gives the names of `known` voices, each with its raw embedding, to the voices that are theirs.
pub fn name_voices(_voices: &mut [Voice], _known: &[(&str, &[f32])], _method: &Method) {}

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
