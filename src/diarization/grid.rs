//! Where windows and frames lie. Pure.
//!
//! The segmentation network hears 10 s and gives 589 frames, one every 270 samples, each the middle of 991
//! samples. Frames of all windows fall on one grid over the recording; numbers and rounding are pyannote.audio's.

use crate::time::SampleIndex;

/// Samples in a window.
pub const WINDOW: SampleIndex = 160_000;
/// Frames that the network gives for a window.
pub const FRAMES: usize = 589;
/// Samples from one frame to the next.
pub const FRAME_SHIFT: SampleIndex = 270;
/// Samples that a frame looks at.
pub const RECEPTIVE_FIELD: SampleIndex = 991;

/// The windows of one recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Samples from one window to the next.
    pub step: SampleIndex,
    /// Samples in the recording.
    pub length: SampleIndex,
}

impl Grid {
    /// How many windows there are: all that lie inside the recording, and one filled up with silence where they do
    /// not reach its end.
    pub fn windows(&self) -> usize {
        let inside = self.length.checked_sub(WINDOW).map_or(0, |rest| rest / self.step + 1);
        let reaches_end = self.length >= WINDOW && (self.length - WINDOW).is_multiple_of(self.step);
        (inside + u64::from(!reaches_end)) as usize
    }

    /// First sample of window `window`.
    pub fn start(&self, window: usize) -> SampleIndex {
        window as u64 * self.step
    }

    /// Frame of the recording on which the first of window `window` falls: the nearest, ties to even.
    pub fn first_frame(&self, window: usize) -> usize {
        (self.start(window) as f64 / FRAME_SHIFT as f64).round_ties_even() as usize
    }
}
