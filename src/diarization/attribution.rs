//! From the windows' numbers to turns: who is who over the whole recording. Pure.
//!
//! Follows pyannote.audio's speaker diarization: voices that are heard clearly are grouped into speakers, each window's
//! local speakers are matched with them, and windows laid over one another say who is active in each frame.
//! Read next: `method`, `gathering`, `speakers`, `assignment`, `reconstruction`, `turns`.

use super::activity::{Activity, LOCAL_SPEAKERS};
use super::assignment::matching;
use super::gathering::{Bound, gather};
use super::grid::{FRAMES, Grid};
use super::reconstruction::Overlay;
use super::speakers::{self, Wanted};
use super::turns::{Pauses, Track, by_appearance, number, polish, polish_exclusive};
use super::vectors::{Packed, dot, unit};
use super::{DiarizationOptions, Voice};
use crate::time::{SampleIndex, ms_to_samples};
use crate::transcript::SpeakerTurn;

pub use super::known::name_voices;
pub use super::method::{Method, Plda};

/// Share of a window in which a local speaker must speak alone to be taken for a voice: the encoder learns nothing from
/// less. 0.05 costs 1.7 points of error.
const CLEAN_SHARE: f64 = 0.20;

/// Who speaks less in the whole recording, but was found by more, is nobody; in samples.
const OUTLIER: SampleIndex = ms_to_samples(1_000);

/// Similarity of a local speaker who is matched with nobody: less than any.
const ALONE: f32 = -2.0;

/// What the networks gave for one window.
#[derive(Clone, Debug, Default)]
pub struct WindowNumbers {
    /// Who is active when.
    pub activity: Activity,
    /// What each local speaker sounds like; `None` for whoever is silent or heard too little.
    pub embeddings: [Option<Box<[f32]>>; LOCAL_SPEAKERS],
}

/// Gathers windows in order, keeps of each what the decision needs, and decides at the end. Takes 0.5 KB for each
/// local speaker who is active in a window: 45 MB for a day of lively conversation at a step of 2.5 s.
pub struct Attribution {
    method: Method,
    pub(super) bound: Bound,
    windows: Vec<Window>,
}

/// What is kept of a window.
#[derive(Default)]
struct Window {
    activity: Activity,
    /// Of those who are active, if there is any; in raw encoder space.
    voices: [Option<Packed>; LOCAL_SPEAKERS],
}

/// A local speaker of a window: window, speaker.
type LocalTrack = (usize, usize);

/// The global speaker of each local one.
pub(super) type Who = [Option<usize>; LOCAL_SPEAKERS];

/// Speakers are numbered by first appearance; `voices` have no names yet. Whoever was never heard alone has a voice with
/// an empty embedding.
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
        Self { method, bound: Bound::default(), windows: Vec::new() }
    }

    /// Takes the next window. Embeddings of whoever is not active, and those that are no direction, are left out.
    pub fn push(&mut self, numbers: &WindowNumbers) {
        if numbers.activity.is_silent() {
            return self.windows.push(Window::default());
        }
        let active = numbers.activity.active_frames();
        let voices = std::array::from_fn(|local| {
            let embedding = numbers.embeddings[local].as_deref().filter(|_| active[local] > 0);
            Packed::of(embedding?)
        });
        self.windows.push(Window { activity: numbers.activity.clone(), voices });
    }

    /// Decides. `grid` says where the windows lie that were pushed.
    pub fn finish(self, grid: Grid, options: &DiarizationOptions) -> Attributed {
        let mut centroids = self.centroids(options);
        let mut who = self.assign(&centroids);
        let (mut turns, mut exclusive) = self.lay_over(&grid, &who, options, centroids.len());
        if self.let_go_of_outliers(&mut centroids, &turns, options) {
            who = self.assign(&centroids);
            (turns, exclusive) = self.lay_over(&grid, &who, options, centroids.len());
        }

        let pauses = Pauses { min_on: options.min_on, min_off: options.min_off };
        let mut turns = polish(turns, pauses);
        let mut exclusive = polish_exclusive(exclusive, pauses);
        let speakers = by_appearance(&turns);
        number(&mut turns, &speakers);
        number(&mut exclusive, &speakers);
        let sounds = self.sounds(&who);
        let sound = |speaker: &usize| sounds.get(*speaker).cloned().unwrap_or_default();
        let voices =
            speakers.iter().map(|speaker| Voice { name: None, embedding: sound(&(speaker.0 as usize)) });
        Attributed { turns, exclusive, voices: voices.collect() }
    }

    /// The speakers' centroids, in the method's space.
    fn centroids(&self, options: &DiarizationOptions) -> Vec<Vec<f32>> {
        let tracks = self.clear_tracks();
        let voices = tracks.iter().filter_map(|track| self.voice(*track));
        let heard = gather(voices, tracks.len(), &self.method, self.bound);
        let wanted = Wanted { step: options.step, threshold: options.threshold, limits: options.limits };
        speakers::find(&heard, &self.method, &wanted)
    }

    /// Who the local speakers are, window by window, in any numbering.
    #[cfg(test)]
    pub(super) fn who(&self, options: &DiarizationOptions) -> Vec<Who> {
        self.assign(&self.centroids(options))
    }

    /// Removes speakers who were found by speech heard clearly for two seconds, but whom most windows take for others,
    /// so that next to nothing is left for them. Gives whether there were any.
    fn let_go_of_outliers(
        &self,
        centroids: &mut Vec<Vec<f32>>,
        turns: &[SpeakerTurn],
        options: &DiarizationOptions,
    ) -> bool {
        let mut spoken = vec![0; centroids.len()];
        for turn in turns {
            // Beyond the speakers found there may be somebody nobody knows.
            spoken.get_mut(turn.speaker.0 as usize).into_iter().for_each(|spoken| *spoken += turn.span.len());
        }
        let kept = spoken.iter().filter(|spoken| **spoken >= OUTLIER).count();
        let clear = !self.tracks_of(CLEAN_SHARE * FRAMES as f64).is_empty();
        if !clear || kept == centroids.len() || kept < options.limits.min.unwrap_or(1) {
            return false;
        }
        let mut spoken = spoken.into_iter();
        centroids.retain(|_| spoken.next().is_some_and(|spoken| spoken >= OUTLIER));
        true
    }

    fn voice(&self, (window, local): LocalTrack) -> Option<Vec<f32>> {
        Some(self.windows[window].voices[local].as_ref()?.unpack())
    }

    /// The tracks that speakers are found by: heard alone for a fifth of a window; where there are none, heard alone
    /// at all; where there are none of those either, heard.
    fn clear_tracks(&self) -> Vec<LocalTrack> {
        let enough = CLEAN_SHARE * FRAMES as f64;
        [enough, 1.0, 0.0]
            .into_iter()
            .map(|frames| self.tracks_of(frames))
            .find(|tracks| !tracks.is_empty())
            .unwrap_or_default()
    }

    /// Tracks with a voice that are heard alone for at least so many frames.
    fn tracks_of(&self, frames: f64) -> Vec<LocalTrack> {
        let mut tracks = Vec::new();
        for (number, window) in self.windows.iter().enumerate() {
            let clean = window.activity.clean_frames();
            let clear = |local: &usize| window.voices[*local].is_some() && clean[*local] as f64 >= frames;
            tracks.extend((0..LOCAL_SPEAKERS).filter(clear).map(|local| (number, local)));
        }
        tracks
    }

    /// Matches the local speakers of each window with the speakers, no two with the same.
    fn assign(&self, centroids: &[Vec<f32>]) -> Vec<Who> {
        let centroids: Vec<Option<Vec<f32>>> =
            centroids.iter().map(|centroid| unit(centroid.clone())).collect();
        self.windows.iter().map(|window| self.assign_window(window, &centroids)).collect()
    }

    fn assign_window(&self, window: &Window, centroids: &[Option<Vec<f32>>]) -> Who {
        let mut who = [None; LOCAL_SPEAKERS];
        let mut locals = Vec::with_capacity(LOCAL_SPEAKERS);
        let mut similarities = Vec::with_capacity(LOCAL_SPEAKERS);
        for (local, voice) in window.voices.iter().enumerate() {
            let place = voice.as_ref().and_then(|voice| unit(self.method.place(&voice.unpack())?.at));
            if let Some(place) = place {
                let to = |centroid: &Option<Vec<f32>>| {
                    centroid.as_ref().map_or(ALONE, |centroid| dot(&place, centroid))
                };
                similarities.push(centroids.iter().map(to).collect());
                locals.push(local);
            }
        }
        for (local, speaker) in locals.into_iter().zip(matching(&similarities, ALONE)) {
            who[local] = speaker;
        }
        who
    }

    /// Turns of the windows laid over one another: those of all, and those of one speaker at a time.
    fn lay_over(
        &self,
        grid: &Grid,
        who: &[Who],
        options: &DiarizationOptions,
        speakers: usize,
    ) -> (Vec<SpeakerTurn>, Vec<SpeakerTurn>) {
        let mut overlay = Overlay::new(speakers, options.limits.max.unwrap_or(usize::MAX));
        let (mut all, mut exclusive) = (Track::default(), Track::default());
        let mut take = |frame: usize, active: &[usize]| {
            all.frame(frame, active);
            exclusive.frame(frame, &active[..active.len().min(1)]);
        };
        for (number, (window, who)) in self.windows.iter().zip(who).enumerate() {
            overlay.lay(grid.first_frame(number), &window.activity, who, &mut take);
        }
        let frames = overlay.finish(&mut take);
        (all.finish(frames, grid.length), exclusive.finish(frames, grid.length))
    }

    /// What each speaker sounds like: the mean of its tracks, weighted by how long they are heard alone, of unit
    /// length; empty where it is never heard so.
    fn sounds(&self, who: &[Who]) -> Vec<Vec<f32>> {
        let mut sums: Vec<Vec<f64>> = Vec::new();
        for (window, who) in self.windows.iter().zip(who) {
            let clean = window.activity.clean_frames();
            for local in 0..LOCAL_SPEAKERS {
                let (Some(speaker), Some(voice)) = (who[local], &window.voices[local]) else { continue };
                let Some(direction) = unit(voice.unpack()) else { continue };
                sums.resize(sums.len().max(speaker + 1), Vec::new());
                let sum = &mut sums[speaker];
                sum.resize(direction.len(), 0.0);
                sum.iter_mut().zip(direction).for_each(|(sum, x)| *sum += f64::from(x) * clean[local] as f64);
            }
        }
        let mean = |sum: Vec<f64>| unit(sum.into_iter().map(|x| x as f32).collect()).unwrap_or_default();
        sums.into_iter().map(mean).collect()
    }
}
