//! What is heard of a stretch of the recording when long pauses are shortened, and when it was. Pure.
//!
//! A recogniser whose window is 30 s takes as long over a pause as over speech, so the middle of long pauses is
//! left out and speech moves together. The sound that stays is the recording's own, with part of each pause at
//! both sides of a seam, and times are brought back exactly: within a piece by one addition, at a seam to the
//! piece that a start or an end belongs to. Read next: `chunks`, which counts by the same rule.

use crate::time::{SampleIndex, TimeSpan};

/// The pieces of a span that are heard one after the other.
///
/// They are in order and disjoint, the first begins with the span and the last ends with it, so that a span
/// without long pauses is one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condensed {
    pieces: Vec<TimeSpan>,
}

impl Condensed {
    /// `span` with the pauses of `speech` (sorted, disjoint) shortened to `max_pause` samples, or whole where that
    /// is `None`. Only pauses between two stretches of speech are: sound before the first and after the last is
    /// there because somebody wants it heard.
    pub fn new(span: TimeSpan, speech: &[TimeSpan], max_pause: Option<SampleIndex>) -> Self {
        let mut pieces = Vec::new();
        let mut start = span.start;
        let heard: Vec<TimeSpan> =
            speech.iter().map(|region| region.clamped(span)).filter(|region| !region.is_empty()).collect();
        for pair in heard.windows(2) {
            let pause = TimeSpan::new(pair[0].end, pair[1].start);
            if let Some(limit) = max_pause.filter(|limit| pause.len() > *limit) {
                let before = limit / 2;
                pieces.push(TimeSpan::new(start, pause.start + before));
                start = pause.end - (limit - before);
            }
        }
        pieces.push(TimeSpan::new(start, span.end));
        Self { pieces }
    }

    /// What is to be read, in order.
    pub fn pieces(&self) -> &[TimeSpan] {
        &self.pieces
    }

    /// The parts of pauses that are not heard, in order, one between any two pieces.
    pub fn left_out(&self) -> impl Iterator<Item = TimeSpan> {
        self.pieces.windows(2).map(|pair| TimeSpan::new(pair[0].end, pair[1].start))
    }

    /// How long it takes to hear, in samples.
    pub fn len(&self) -> SampleIndex {
        self.pieces.iter().map(TimeSpan::len).sum()
    }

    /// Whether there is nothing to hear.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When on the source's clock something starts that is heard `at` samples from the beginning. At a seam, what
    /// starts belongs to the piece after it; past the end, to the end.
    pub fn start_on_source(&self, at: SampleIndex) -> SampleIndex {
        self.on_source(at, |left, piece| left < piece)
    }

    /// When on the source's clock something ends that is heard to end `at` samples from the beginning. At a seam,
    /// what ends belongs to the piece before it.
    pub fn end_on_source(&self, at: SampleIndex) -> SampleIndex {
        self.on_source(at, |left, piece| left <= piece)
    }

    /// A span of what is heard on the source's clock. Pauses that were left out inside it are part of it.
    pub fn span_on_source(&self, heard: TimeSpan) -> TimeSpan {
        TimeSpan::new(self.start_on_source(heard.start), self.end_on_source(heard.end))
    }

    fn on_source(&self, at: SampleIndex, lies_in: impl Fn(SampleIndex, SampleIndex) -> bool) -> SampleIndex {
        let mut left = at;
        for piece in &self.pieces {
            if lies_in(left, piece.len()) {
                return piece.start + left;
            }
            left -= piece.len();
        }
        self.pieces.last().map_or(0, |last| last.end)
    }
}

/// How long a pause of `pause` samples is heard.
pub fn heard_pause(pause: SampleIndex, max_pause: Option<SampleIndex>) -> SampleIndex {
    max_pause.map_or(pause, |limit| pause.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(edges: &[(u64, u64)]) -> Vec<TimeSpan> {
        edges.iter().map(|&(start, end)| TimeSpan::new(start, end)).collect()
    }

    #[test]
    fn the_middle_of_a_long_pause_is_left_out() {
        let speech = spans(&[(100, 200), (210, 300), (500, 600)]);
        let heard = Condensed::new(TimeSpan::new(100, 600), &speech, Some(21));
        assert_eq!(heard.pieces(), spans(&[(100, 310), (489, 600)]));
        assert_eq!(heard.len(), 321);
        assert_eq!(heard.left_out().collect::<Vec<_>>(), spans(&[(310, 489)]));
        let seam = 210;
        assert_eq!((heard.end_on_source(seam), heard.start_on_source(seam)), (310, 489));
        assert_eq!(heard.span_on_source(TimeSpan::new(190, 230)), TimeSpan::new(290, 509));
        assert_eq!(heard.span_on_source(TimeSpan::new(seam, seam)), TimeSpan::new(489, 489));
        assert_eq!(heard.span_on_source(TimeSpan::new(320, 400)), TimeSpan::new(599, 600));
    }

    #[test]
    fn sound_around_the_speech_is_kept_whole() {
        let span = TimeSpan::new(0, 1_000);
        for speech in [spans(&[(600, 700)]), spans(&[(0, 300), (2_000, 2_100)]), Vec::new()] {
            assert_eq!(Condensed::new(span, &speech, Some(10)).pieces(), [span]);
        }
    }

    #[test]
    fn without_a_limit_pauses_are_whole() {
        let span = TimeSpan::new(50, 1_000);
        let heard = Condensed::new(span, &spans(&[(60, 100), (900, 950)]), None);
        assert_eq!(heard.pieces(), [span]);
        assert_eq!(heard.span_on_source(TimeSpan::new(3, 7)), TimeSpan::new(53, 57));
    }

    /// A span and speech that may reach beyond both of its ends.
    fn stretch() -> impl Strategy<Value = (TimeSpan, Vec<TimeSpan>)> {
        let parts = prop::collection::vec((0u64..300, 1u64..200), 0..12);
        (parts, 0u64..400, 1u64..3_000).prop_map(|(parts, start, length)| {
            let mut at = 0;
            let speech = parts.into_iter().map(|(pause, length)| {
                let region = TimeSpan::new(at + pause, at + pause + length);
                at = region.end;
                region
            });
            (TimeSpan::new(start, start + length), speech.collect())
        })
    }

    proptest! {
        #[test]
        fn pieces_lie_inside_in_order_and_hold_all_speech_once(
            (span, speech) in stretch(), limit in 0u64..120,
        ) {
            let heard = Condensed::new(span, &speech, Some(limit));
            let pieces = heard.pieces();
            prop_assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (span.start, span.end));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end < pair[1].start));
            for region in &speech {
                let held: u64 = pieces.iter().map(|piece| piece.common(*region)).sum();
                prop_assert_eq!(held, region.common(span));
            }
            // What is left out is pause, and as much of each as exceeds the limit.
            let inside: Vec<TimeSpan> =
                speech.iter().map(|region| region.clamped(span)).filter(|region| !region.is_empty()).collect();
            let too_long: u64 =
                inside.windows(2).map(|pair| (pair[1].start - pair[0].end).saturating_sub(limit)).sum();
            prop_assert_eq!(heard.len(), span.len() - too_long);
            if too_long == 0 {
                prop_assert_eq!(pieces, [span]);
            }
        }

        #[test]
        fn every_sample_comes_back_to_its_own_time_and_order_is_kept(
            (span, speech) in stretch(), limit in 0u64..120,
        ) {
            let heard = Condensed::new(span, &speech, Some(limit));
            let samples = heard.pieces().iter().flat_map(|piece| piece.start..piece.end);
            for (at, source) in samples.enumerate() {
                let at = at as u64;
                prop_assert_eq!(heard.start_on_source(at), source);
                prop_assert_eq!(heard.end_on_source(at + 1), source + 1);
                // Starts and ends differ only where a pause was left out.
                prop_assert!(heard.end_on_source(at) <= source);
                prop_assert!(heard.start_on_source(at + 1) > source);
            }
            for beyond in [0, 1, 1_000] {
                prop_assert_eq!(heard.start_on_source(heard.len() + beyond), span.end);
                prop_assert_eq!(heard.end_on_source(heard.len() + beyond), span.end);
            }
        }
    }
}
