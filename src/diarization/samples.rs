//! Sound that windows are cut from: a recording on disk, or a clip in memory.

use crate::audio::PcmSpool;
use crate::time::{SampleIndex, TimeSpan};

/// 16 kHz mono samples in [-1, 1] that any number of threads read at positions.
pub trait Samples: Sync {
    /// Replaces `out` by the samples of `span`; what lies beyond the end is left out.
    fn read(&self, span: TimeSpan, out: &mut Vec<f32>);
}

impl Samples for PcmSpool {
    fn read(&self, span: TimeSpan, out: &mut Vec<f32>) {
        PcmSpool::read(self, span, out);
    }
}

impl Samples for &[f32] {
    fn read(&self, span: TimeSpan, out: &mut Vec<f32>) {
        let at = |index: SampleIndex| (index as usize).min(self.len());
        out.clear();
        out.extend_from_slice(&self[at(span.start)..at(span.end)]);
    }
}

/// `length` samples from `start`, which may lie before the beginning; silence where there are none.
pub fn padded(samples: &dyn Samples, start: i64, length: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(length);
    read_padded(samples, start, length, &mut out);
    out
}

/// As `padded`, into a buffer whose values do not matter.
pub fn read_padded(samples: &dyn Samples, start: i64, length: usize, out: &mut Vec<f32>) {
    let before = start.min(0).unsigned_abs() as usize;
    let first = start.max(0) as SampleIndex;
    samples.read(TimeSpan::new(first, first + length.saturating_sub(before) as SampleIndex), out);
    out.splice(0..0, std::iter::repeat_n(0.0, before.min(length)));
    out.resize(length, 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_stands_before_the_beginning_and_after_the_end() {
        let clip = [1.0, 2.0, 3.0];
        assert_eq!(padded(&&clip[..], -2, 4), [0.0, 0.0, 1.0, 2.0]);
        assert_eq!(padded(&&clip[..], 2, 3), [3.0, 0.0, 0.0]);
        assert_eq!(padded(&&clip[..], -1, 5), [0.0, 1.0, 2.0, 3.0, 0.0]);
        assert_eq!(padded(&&clip[..], -9, 3), [0.0; 3]);
        assert_eq!(padded(&&clip[..], 9, 2), [0.0; 2]);
    }
}
