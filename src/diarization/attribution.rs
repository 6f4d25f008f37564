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
