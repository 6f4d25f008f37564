//! Which speech has no text. Pure.
//!
//! Voice activity says where somebody speaks, words or segments say what was understood. What lies in the one
//! and not in the other was lost, or was no speech after all; `review` listens to it once more.

use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::Segment;

/// How far text counts around itself, in ms: word times are coarse, and a breath is no loss.
const TOLERANCE_MS: u64 = 500;

/// Shortest stretch without text that is worth a second hearing, in ms. A spoken word takes 200 ms and more;
/// shorter stretches are mostly breaths and word ends.
const SHORTEST_GAP_MS: u64 = 300;

/// The stretches of `speech` (sorted, disjoint, without padding) that no text of `segments` is near.
///
/// Segments without words count from their start to their end.
pub fn uncovered(speech: &[TimeSpan], segments: &[Segment]) -> Vec<TimeSpan> {
    let text = text_spans(segments);
    let shortest = ms_to_samples(SHORTEST_GAP_MS);
    let gaps = speech.iter().flat_map(|region| subtract(*region, &text));
    gaps.filter(|gap| gap.len() >= shortest).collect()
}

/// Where text is, sorted and disjoint, its tolerance included.
fn text_spans(segments: &[Segment]) -> Vec<TimeSpan> {
    let mut spans: Vec<TimeSpan> = Vec::new();
    for segment in segments.iter().filter(|segment| !segment.text.trim().is_empty()) {
        if segment.words.is_empty() {
            spans.push(segment.span);
        } else {
            spans.extend(segment.words.iter().map(|word| word.span));
        }
    }
    let mut spans: Vec<_> = spans.iter().map(|span| span.widened(ms_to_samples(TOLERANCE_MS))).collect();
    spans.sort_unstable();
    let mut merged: Vec<TimeSpan> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// What is left of `region` without `text` (sorted, disjoint).
fn subtract(region: TimeSpan, text: &[TimeSpan]) -> Vec<TimeSpan> {
    let mut left = Vec::new();
    let mut from = region.start;
    for span in text.iter().filter(|span| span.common(region) > 0) {
        if span.start > from {
            left.push(TimeSpan::new(from, span.start));
        }
        from = from.max(span.end);
    }
    if from < region.end {
        left.push(TimeSpan::new(from, region.end));
    }
    left
}

/// The regions without the padding that voice activity put around them, and inside `owned`. A region shorter
/// than its padding shrinks to its middle.
pub fn without_padding(speech: &[TimeSpan], padding: SampleIndex, owned: TimeSpan) -> Vec<TimeSpan> {
    let bare = speech.iter().map(|region| {
        let margin = padding.min(region.len() / 3);
        TimeSpan::new(region.start + margin, region.end - margin).clamped(owned)
    });
    bare.filter(|region| !region.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Word;
    use proptest::prelude::*;

    const MS: u64 = 16;

    fn span(start_ms: u64, end_ms: u64) -> TimeSpan {
        TimeSpan::new(start_ms * MS, end_ms * MS)
    }

    fn segment(at: TimeSpan, words: &[TimeSpan]) -> Segment {
        let word =
            |span: &TimeSpan| Word { text: " w".into(), span: *span, probability: 1.0, ..Word::default() };
        Segment {
            span: at,
            text: " text".into(),
            words: words.iter().map(word).collect(),
            ..Segment::default()
        }
    }

    #[test]
    fn speech_without_any_text_is_uncovered_whole() {
        assert_eq!(uncovered(&[span(0, 2_000)], &[]), [span(0, 2_000)]);
        assert_eq!(uncovered(&[], &[segment(span(0, 1_000), &[])]), []);
    }

    #[test]
    fn a_gap_between_words_is_found_inside_a_segment() {
        let words = [span(0, 1_000), span(6_000, 7_000)];
        let gaps = uncovered(&[span(0, 7_000)], &[segment(span(0, 7_000), &words)]);
        assert_eq!(gaps, [span(1_500, 5_500)]);
    }

    #[test]
    fn pauses_breaths_and_edges_are_no_loss() {
        let speech = [span(0, 3_000), span(5_000, 8_000)];
        let text = [segment(span(400, 2_600), &[]), segment(span(5_400, 7_500), &[])];
        assert_eq!(uncovered(&speech, &text), []);
    }

    #[test]
    fn empty_text_covers_nothing() {
        let mut blank = segment(span(0, 2_000), &[]);
        blank.text = "  ".into();
        assert_eq!(uncovered(&[span(0, 2_000)], &[blank]), [span(0, 2_000)]);
    }

    #[test]
    fn padding_is_no_speech() {
        let owned = span(0, 2_500);
        let bare = without_padding(&[span(0, 1_500), span(2_000, 4_000)], 300 * MS, owned);
        assert_eq!(bare, [span(300, 1_200), span(2_300, 2_500)]);
        assert_eq!(without_padding(&[span(0, 300)], 300 * MS, owned), [span(100, 200)]);
    }

    proptest! {
        #[test]
        fn gaps_lie_in_speech_and_away_from_text(
            regions in prop::collection::vec((1u64..3_000, 1u64..6_000), 0..8),
            texts in prop::collection::vec((0u64..30_000, 0u64..4_000), 0..8),
        ) {
            let mut at = 0;
            let speech: Vec<TimeSpan> = regions.iter().map(|(gap, length)| {
                let region = span(at + gap, at + gap + length);
                at += gap + length;
                region
            }).collect();
            let text: Vec<Segment> =
                texts.iter().map(|(start, length)| segment(span(*start, start + length), &[])).collect();
            let gaps = uncovered(&speech, &text);
            for pair in gaps.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for gap in &gaps {
                prop_assert!(gap.len() >= ms_to_samples(SHORTEST_GAP_MS));
                prop_assert!(speech.iter().any(|region| gap.clamped(*region) == *gap));
                prop_assert!(text.iter().all(|segment| segment.span.common(*gap) == 0));
            }
        }
    }
}
