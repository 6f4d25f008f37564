//! Which of the local speakers of a window are active, frame by frame. Pure.

use std::ops::Range;

/// Local speakers that the segmentation network tells apart in a window.
pub const LOCAL_SPEAKERS: usize = 3;

/// A set of local speakers: bit s is speaker s.
pub type SpeakerSet = u8;

/// The activity of one window's local speakers, kept as runs of equal frames: a day of windows fits in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// End (exclusive) and set of each run; ends rise to `grid::FRAMES`.
    runs: Box<[(u16, SpeakerSet)]>,
}

impl Activity {
    /// The activity of a window with these sets, one for each of its frames.
    pub fn of(frames: &[SpeakerSet]) -> Self {
        let mut runs: Vec<(u16, SpeakerSet)> = Vec::new();
        for (end, set) in (1..).zip(frames) {
            match runs.last_mut() {
                Some(run) if run.1 == *set => run.0 = end,
                _ => runs.push((end, *set)),
            }
        }
        Self { runs: runs.into() }
    }

    /// The frames of each run and who is active in them, in order.
    pub fn runs(&self) -> impl Iterator<Item = (Range<usize>, SpeakerSet)> {
        let mut start = 0;
        self.runs.iter().map(move |(end, set)| {
            let end = usize::from(*end);
            (std::mem::replace(&mut start, end)..end, *set)
        })
    }

    /// The set of each frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = SpeakerSet> {
        self.runs().flat_map(|(frames, set)| std::iter::repeat_n(set, frames.len()))
    }

    /// Whether nobody speaks.
    pub fn is_silent(&self) -> bool {
        self.runs.iter().all(|(_, set)| *set == 0)
    }

    /// In how many frames each local speaker is active.
    pub fn active_frames(&self) -> [usize; LOCAL_SPEAKERS] {
        self.frames_where(|set, speaker| set >> speaker & 1 == 1)
    }

    /// In how many frames each local speaker is the only one active: speech that an encoder can learn a voice from.
    pub fn clean_frames(&self) -> [usize; LOCAL_SPEAKERS] {
        self.frames_where(|set, speaker| set == 1 << speaker)
    }

    fn frames_where(&self, counts: impl Fn(SpeakerSet, usize) -> bool) -> [usize; LOCAL_SPEAKERS] {
        std::array::from_fn(|speaker| {
            self.runs().filter(|(_, set)| counts(*set, speaker)).map(|(frames, _)| frames.len()).sum()
        })
    }
}

/// The local speakers of a set, in order.
pub fn members(set: SpeakerSet) -> impl Iterator<Item = usize> {
    (0..LOCAL_SPEAKERS).filter(move |speaker| set >> speaker & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_give_back_the_frames() {
        let frames = [0, 0, 1, 1, 3, 2, 2, 0];
        let activity = Activity::of(&frames);
        assert_eq!(activity.frames().collect::<Vec<_>>(), frames);
        assert_eq!(
            activity.runs().map(|(frames, set)| (frames.start, frames.end, set)).collect::<Vec<_>>(),
            [(0, 2, 0), (2, 4, 1), (4, 5, 3), (5, 7, 2), (7, 8, 0)]
        );
        assert_eq!(activity.active_frames(), [3, 3, 0]);
        assert_eq!(activity.clean_frames(), [2, 2, 0]);
        assert!(!activity.is_silent());
    }

    #[test]
    fn nothing_is_silent() {
        for activity in [Activity::default(), Activity::of(&[]), Activity::of(&[0; 589])] {
            assert!(activity.is_silent());
            assert_eq!(activity.active_frames(), [0; 3]);
        }
    }

    #[test]
    fn members_are_the_bits() {
        assert_eq!(members(0b101).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(members(0).count(), 0);
    }
}
