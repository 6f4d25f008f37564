//! Times of words and segments held to the speech that was found. Pure.
//!
//! Whisper's word times come from attention, which drifts into the pause after a word, and its segment times
//! have a grid of their own; both may run into silence by seconds. Voice activity knows better where silence
//! is. Read next: `guard`.

use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::Segment;

use super::words::fit_words;

/// How far a time may lie outside a region of speech, in ms. Regions carry a padding of their own; this is
/// for soft endings that the detector misses.
const TOLERANCE_MS: u64 = 200;

/// Holds the segment and its words to `speech` (sorted, disjoint regions); a segment that lies outside all
/// of them is left as it is. Afterwards starts still ascend, no span is negative, nothing lies further from
/// speech than 200 ms that did not before, and nothing outside the old span of the segment.
pub fn hold_to_speech(segment: &mut Segment, speech: &[TimeSpan]) {
    let wide: Vec<TimeSpan> =
        speech.iter().map(|region| region.widened(ms_to_samples(TOLERANCE_MS))).collect();
    let Some(span) = trimmed(segment.span, &wide) else { return };
    segment.span = span;
    for word in &mut segment.words {
        word.span = held(word.span, &wide).clamped(span);
    }
    fit_words(&mut segment.words, span);
}

/// `span` without the silence at both of its ends; `None` when it holds nothing else.
fn trimmed(span: TimeSpan, speech: &[TimeSpan]) -> Option<TimeSpan> {
    let mut inside = speech.iter().filter(|region| region.common(span) > 0);
    let first = inside.next()?;
    let last = inside.next_back().unwrap_or(first);
    Some(TimeSpan::new(span.start.max(first.start), span.end.min(last.end)))
}

/// A word's span inside the region that most of it lies in; a word in silence goes to the nearest edge.
fn held(word: TimeSpan, speech: &[TimeSpan]) -> TimeSpan {
    let most = speech.iter().max_by_key(|region| (region.common(word), u64::MAX - distance(**region, word)));
    most.map_or(word, |region| word.clamped(*region))
}

fn distance(a: TimeSpan, b: TimeSpan) -> SampleIndex {
    b.start.saturating_sub(a.end).max(a.start.saturating_sub(b.end))
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
            text: " w".repeat(words.len()),
            words: words.iter().map(word).collect(),
            ..Segment::default()
        }
    }

    #[test]
    fn a_word_that_runs_into_the_pause_ends_where_speech_ends() {
        let mut held = segment(span(0, 6_000), &[span(0, 400), span(400, 4_900), span(5_000, 6_000)]);
        hold_to_speech(&mut held, &[span(0, 1_000), span(4_800, 5_500)]);
        let spans: Vec<_> = held.words.iter().map(|word| word.span).collect();
        assert_eq!(spans, [span(0, 400), span(400, 1_200), span(5_000, 5_700)]);
        assert_eq!(held.span, span(0, 5_700));
    }

    #[test]
    fn segments_without_words_lose_the_silence_at_their_ends() {
        let mut held = segment(span(0, 9_000), &[]);
        hold_to_speech(&mut held, &[span(2_000, 3_000), span(5_000, 6_000)]);
        assert_eq!(held.span, span(1_800, 6_200));
    }

    #[test]
    fn a_segment_in_silence_is_left_to_the_guard() {
        let mut held = segment(span(4_000, 5_000), &[span(4_000, 5_000)]);
        let before = held.clone();
        hold_to_speech(&mut held, &[span(0, 1_000)]);
        assert_eq!(held, before);
    }

    proptest! {
        #[test]
        fn order_is_kept_and_no_word_lies_far_from_speech(
            gaps in prop::collection::vec((0u64..3_000, 50u64..4_000), 1..6),
            starts in prop::collection::vec((0u64..1_500, 0u64..5_000), 0..12),
        ) {
            let mut at = 0;
            let speech: Vec<TimeSpan> = gaps.iter().map(|(gap, length)| {
                let region = span(at + gap, at + gap + length);
                at += gap + length + 1;
                region
            }).collect();
            let mut at = 0;
            let words: Vec<TimeSpan> = starts.iter().map(|(step, length)| {
                at += step;
                span(at, at + length)
            }).collect();
            let end = words.iter().map(|word| word.end).max().unwrap_or(100 * MS);
            let mut held = segment(TimeSpan::new(0, end), &words);
            let before = held.span;
            hold_to_speech(&mut held, &speech);
            prop_assert!(held.span.start <= held.span.end && held.span.clamped(before) == held.span);
            let mut last = held.span.start;
            for word in &held.words {
                prop_assert!(last <= word.span.start && word.span.start <= word.span.end);
                prop_assert!(word.span.end <= held.span.end);
                last = word.span.start;
            }
            let near = |at: u64| speech.iter().any(|region| {
                let wide = region.widened(ms_to_samples(TOLERANCE_MS));
                wide.start <= at && at <= wide.end
            });
            if speech.iter().any(|region| region.widened(ms_to_samples(TOLERANCE_MS)).common(before) > 0) {
                for word in &held.words {
                    prop_assert!(near(word.span.start) && near(word.span.end), "{word:?} {speech:?}");
                    let longest = speech.iter().map(TimeSpan::len).max().unwrap_or(0);
                    prop_assert!(word.span.len() <= longest + 2 * ms_to_samples(TOLERANCE_MS));
                }
            }
        }
    }
}
