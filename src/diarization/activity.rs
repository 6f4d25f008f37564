//! Which of the local speakers of a window are active, frame by frame. Pure.

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

    /// The set of each frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = SpeakerSet> {
        let mut start = 0;
        self.runs.iter().flat_map(move |(end, set)| {
            let length = end - std::mem::replace(&mut start, *end);
            std::iter::repeat_n(*set, usize::from(length))
        })
    }

    /// Whether nobody speaks.
    pub fn is_silent(&self) -> bool {
        self.runs.iter().all(|(_, set)| *set == 0)
    }
}
