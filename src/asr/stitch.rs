//! Segments of overlapping chunks to one ordered list. Pure.
//!
//! Where a chunk was cut in a pause its segments pass through. Where two chunks overlap, both heard the
//! same words, each badly at its own edge, and `seam` says where to leave the one and enter the other. Where
//! they do not agree on the words, a third hearing with the overlap in its middle can come between them. Works
//! chunk by chunk; what is given out is final.

use crate::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{Segment, Token, Word};

use super::seam::{self, Overlap, Unit, normalised, units};
use super::words::fit_words;

/// How much is heard at both sides of the middle of a disputed overlap, in ms.
const THIRD_HEARING_MS: u64 = 5_000;

/// Joins the segments of consecutive chunks.
///
/// Segments that reach into an overlap must carry words, or the seam can only keep or drop them whole:
/// the caller computes word times for every chunk whose `owned` span is shorter than its `span`.
#[derive(Default)]
pub struct Stitcher {
    /// The chunk before, when the next one hears its end again.
    open: Option<Open>,
    /// End of what was given out; nothing that follows begins before it.
    given_until: SampleIndex,
}

/// A chunk with its segments that the next chunk may cut into, ordered.
struct Open {
    chunk: Chunk,
    segments: Vec<Segment>,
}

impl Stitcher {
    /// A stitcher for one recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the segments of the next chunk, on the source's clock and in order; gives the segments that
    /// are now final, in order and without overlap. Chunks come in the order of the recording, chunks
    /// without segments included.
    pub fn push(&mut self, chunk: &Chunk, segments: Vec<Segment>) -> Vec<Segment> {
        let middle = self.open.as_ref().map_or(chunk.owned.start, |open| open.chunk.owned.end);
        self.push_at(middle, chunk, segments)
    }

    /// What is to be heard once more before the segments of `chunk` are pushed: a place in the overlap where the two
    /// hearings do not have the same words, with sound around it. `None` where there is no need.
    pub fn disputed(&self, chunk: &Chunk, segments: &[Segment]) -> Option<Chunk> {
        let open = self.open.as_ref()?;
        let overlap = overlap(&open.chunk, chunk, open.chunk.owned.end)?;
        let fresh = fitted(segments.to_vec(), chunk.span);
        if !seam::is_disputed(&units(&open.segments), &units(&fresh), overlap) {
            return None;
        }
        let both = TimeSpan::new(open.chunk.span.start, chunk.span.end);
        // No longer than the recogniser is given otherwise.
        let half = ms_to_samples(THIRD_HEARING_MS).min(open.chunk.span.len().max(chunk.span.len()) / 2);
        let around = TimeSpan::new(overlap.middle, overlap.middle).widened(half).clamped(both);
        Some(Chunk { span: around, owned: overlap.span.clamped(around) })
    }

    /// As `push`, after a third hearing: the chunk that `disputed` gave, with what was heard in it. It has the overlap in
    /// its middle, and its words are taken there.
    pub fn push_after(
        &mut self,
        (between, heard): (&Chunk, Vec<Segment>),
        chunk: &Chunk,
        segments: Vec<Segment>,
    ) -> Vec<Segment> {
        let mut ready = self.push_at(between.owned.start, between, heard);
        ready.append(&mut self.push_at(between.owned.end, chunk, segments));
        ready
    }

    /// Takes a chunk's segments; the seam with the chunk before is to be at `middle`.
    fn push_at(&mut self, middle: SampleIndex, chunk: &Chunk, segments: Vec<Segment>) -> Vec<Segment> {
        let fresh = fitted(segments, chunk.span);
        let mut joined = match self.open.take() {
            Some(open) => match overlap(&open.chunk, chunk, middle) {
                Some(overlap) => join(open.segments, fresh, overlap),
                None => [open.segments, fresh].concat(),
            },
            None => fresh,
        };
        set_apart(&mut joined, self.given_until);
        let held = if chunk.owned.end < chunk.span.end {
            // The chunk owns up to the middle of the overlap: the next one hears as much before it, or a third.
            let beyond = (chunk.span.end - chunk.owned.end).max(ms_to_samples(THIRD_HEARING_MS));
            let heard_again = chunk.owned.end.saturating_sub(beyond);
            let first_held = joined.iter().position(|segment| segment.span.end > heard_again);
            let held = joined.split_off(first_held.unwrap_or(joined.len()));
            Some(Open { chunk: *chunk, segments: held })
        } else {
            None
        };
        self.open = held;
        self.give(joined)
    }

    /// Ends the recording; gives what was held back.
    pub fn finish(mut self) -> Vec<Segment> {
        let held = self.open.take().map(|open| open.segments).unwrap_or_default();
        self.give(held)
    }

    fn give(&mut self, segments: Vec<Segment>) -> Vec<Segment> {
        if let Some(last) = segments.last() {
            self.given_until = self.given_until.max(last.span.end);
        }
        segments
    }
}

/// What both chunks heard, if anything; the seam is to be at `middle`.
fn overlap(before: &Chunk, chunk: &Chunk, middle: SampleIndex) -> Option<Overlap> {
    let span = TimeSpan::new(chunk.span.start, before.span.end.min(chunk.span.end));
    (!span.is_empty()).then(|| Overlap { span, middle: middle.clamp(span.start, span.end) })
}

/// Segments inside their chunk, in order.
fn fitted(segments: Vec<Segment>, span: TimeSpan) -> Vec<Segment> {
    let mut fitted: Vec<Segment> = segments.into_iter().map(|segment| bounded(segment, span)).collect();
    set_apart(&mut fitted, span.start);
    fitted
}

/// The segment inside its chunk: recognisers sometimes end past what they heard.
fn bounded(mut segment: Segment, span: TimeSpan) -> Segment {
    segment.span = segment.span.clamped(span);
    fit_words(&mut segment.words, segment.span);
    segment
}

/// Makes starts ascend from `earliest` on and ends not pass the next start; words follow.
fn set_apart(segments: &mut [Segment], earliest: SampleIndex) {
    let mut start = earliest;
    for segment in segments.iter_mut() {
        start = segment.span.start.max(start);
        segment.span = TimeSpan::new(start, segment.span.end);
    }
    let mut latest = SampleIndex::MAX;
    for segment in segments.iter_mut().rev() {
        segment.span.end = segment.span.end.min(latest);
        latest = segment.span.start;
        fit_words(&mut segment.words, segment.span);
    }
}

/// `fresh`, heard in a gap of `segments` whose middle is `middle`, without the words at its edges that stand before or after
/// the gap already: a gap is heard with some sound around it. Words are needed on both sides.
pub fn without_repeats(segments: &[Segment], mut fresh: Vec<Segment>, middle: SampleIndex) -> Vec<Segment> {
    let key = |unit: &Unit<'_>| normalised(unit.text);
    let (before, after): (Vec<_>, Vec<_>) =
        units(segments).into_iter().partition(|unit| unit.span.midpoint() < middle);
    let [before, after] = [before, after].map(|units| units.iter().map(key).collect::<Vec<_>>());
    let found: Vec<String> = units(&fresh).iter().map(key).collect();
    let head = (1..=found.len()).rev().find(|count| before.ends_with(&found[..*count])).unwrap_or(0);
    let rest = &found[head..];
    let tail =
        (1..=rest.len()).rev().find(|count| after.starts_with(&rest[rest.len() - count..])).unwrap_or(0);
    keep_units(&mut fresh, head, found.len() - tail);
    fresh
}

/// The left side up to the seam, then the right side from it on.
fn join(mut left: Vec<Segment>, mut right: Vec<Segment>, overlap: Overlap) -> Vec<Segment> {
    let seam = seam::between(&units(&left), &units(&right), overlap);
    keep_units(&mut left, 0, seam.left);
    keep_units(&mut right, seam.right, usize::MAX);
    if let (Some(last), Some(first)) = (left.last_mut(), right.first_mut()) {
        part(last, first);
    }
    left.append(&mut right);
    left
}

/// Puts the end of `last` and the start of `first` on one place where the two sides' times cross, so that
/// neither of the words there is left without a time.
fn part(last: &mut Segment, first: &mut Segment) {
    if last.span.end <= first.span.start {
        return;
    }
    let ending = last.words.last().map_or(last.span, |word| word.span);
    let beginning = first.words.first().map_or(first.span, |word| word.span);
    let common_start = ending.start.max(beginning.start);
    let border = common_start.midpoint(ending.end.min(beginning.end).max(common_start));
    last.span.end = border.clamp(last.span.start, last.span.end);
    first.span = TimeSpan::new(last.span.end.max(first.span.start), first.span.end);
    fit_words(&mut last.words, last.span);
    fit_words(&mut first.words, first.span);
}

/// Keeps the units `from..to` of the segments, counted over all of them; empty segments go.
fn keep_units(segments: &mut Vec<Segment>, from: usize, to: usize) {
    let mut first = 0;
    segments.retain_mut(|segment| {
        let count = segment.words.len().max(1);
        let kept = from.saturating_sub(first).min(count)..to.saturating_sub(first).min(count);
        first += count;
        if kept.is_empty() {
            return false;
        }
        if kept.len() < count {
            trim(segment, kept);
        }
        true
    });
}

/// The segment's words that begin before `at`, and the others, as segments of their own. `None` when it has no
/// words on one of the sides.
pub fn split_at(segment: &Segment, at: SampleIndex) -> Option<(Segment, Segment)> {
    let count = segment.words.partition_point(|word| word.span.start < at);
    if count == 0 || count == segment.words.len() {
        return None;
    }
    Some((reduced(segment, 0..count), reduced(segment, count..segment.words.len())))
}

/// The segment reduced to the words `kept`, which are neither none nor all: text, times and tokens follow. Where the
/// words spell the text, so do those of the parts.
pub fn reduced(segment: &Segment, kept: std::ops::Range<usize>) -> Segment {
    let mut rest = segment.clone();
    trim(&mut rest, kept);
    rest
}

/// Reduces a segment to some of its words: text, times and tokens follow; its quality numbers stay those
/// of the window it was decoded from. `kept` is neither empty nor all.
fn trim(segment: &mut Segment, kept: std::ops::Range<usize>) {
    let bytes_of = |words: &[Word]| words.iter().map(|word| word.text.len()).sum::<usize>();
    let before = bytes_of(&segment.words[..kept.start]);
    let inside = bytes_of(&segment.words[kept.clone()]);
    let written: String = segment.words.iter().map(|word| word.text.as_str()).collect();
    segment.tokens = tokens_within(std::mem::take(&mut segment.tokens), &written, before..before + inside);

    let start = if kept.start == 0 { segment.span.start } else { segment.words[kept.start].span.start };
    let end =
        if kept.end == segment.words.len() { segment.span.end } else { segment.words[kept.end - 1].span.end };
    segment.span = TimeSpan::new(start, end);
    segment.words.truncate(kept.end);
    segment.words.drain(..kept.start);
    segment.text = segment.words.iter().map(|word| word.text.as_str()).collect();
}

/// The tokens that begin within `range` of the bytes they write together; tokens without bytes (special
/// and timestamp tokens) stay where their edge of the text stays. Empty when the tokens do not write
/// `written` exactly, for then nobody can tell which of them wrote what.
fn tokens_within(tokens: Vec<Token>, written: &str, range: std::ops::Range<usize>) -> Vec<Token> {
    let spelled: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    if spelled != written.as_bytes() {
        return Vec::new();
    }
    let mut offset = 0;
    let is_kept = |token: &Token| {
        let at = offset;
        offset += token.bytes.len();
        if token.bytes.is_empty() {
            (range.start == 0 || at > range.start) && (range.end == written.len() || at < range.end)
        } else {
            range.contains(&at)
        }
    };
    tokens.into_iter().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 16;

    fn word(text: &str, start_ms: u64, end_ms: u64) -> Word {
        Word {
            text: format!(" {text}"),
            span: TimeSpan::new(start_ms * MS, end_ms * MS),
            probability: 0.9,
            ..Word::default()
        }
    }

    fn token(bytes: &[u8]) -> Token {
        Token { id: bytes.len() as i32, bytes: bytes.to_vec(), logprob: -0.1 }
    }

    /// A segment of `words`, its tokens one for each word between two timestamp tokens.
    fn segment(words: Vec<Word>) -> Segment {
        let text: String = words.iter().map(|word| word.text.as_str()).collect();
        let mut tokens = vec![token(b"")];
        tokens.extend(words.iter().map(|word| token(word.text.as_bytes())));
        tokens.push(token(b""));
        Segment {
            span: TimeSpan::new(words[0].span.start, words[words.len() - 1].span.end),
            text,
            tokens,
            words,
            avg_logprob: -0.1,
            ..Segment::default()
        }
    }

    fn chunk(span_ms: (u64, u64), owned_ms: (u64, u64)) -> Chunk {
        Chunk {
            span: TimeSpan::new(span_ms.0 * MS, span_ms.1 * MS),
            owned: TimeSpan::new(owned_ms.0 * MS, owned_ms.1 * MS),
        }
    }

    /// Two chunks of ten seconds that share 8 to 10 s.
    const LEFT: ((u64, u64), (u64, u64)) = ((0, 10_000), (0, 9_000));
    const RIGHT: ((u64, u64), (u64, u64)) = ((8_000, 18_000), (9_000, 18_000));

    fn stitched(left: Vec<Segment>, right: Vec<Segment>) -> Vec<Segment> {
        let mut stitcher = Stitcher::new();
        let mut all = stitcher.push(&chunk(LEFT.0, LEFT.1), left);
        all.extend(stitcher.push(&chunk(RIGHT.0, RIGHT.1), right));
        all.extend(stitcher.finish());
        all
    }

    fn text(segments: &[Segment]) -> String {
        segments.iter().map(|segment| segment.text.as_str()).collect()
    }

    #[test]
    fn chunks_that_were_cut_in_a_pause_pass_through_at_once() {
        let mut stitcher = Stitcher::new();
        let first = segment(vec![word("one", 100, 900)]);
        assert_eq!(stitcher.push(&chunk((0, 1_000), (0, 1_000)), vec![first.clone()]), [first]);
        let second = segment(vec![word("two", 1_000, 1_900)]);
        assert_eq!(stitcher.push(&chunk((1_000, 2_000), (1_000, 2_000)), vec![second.clone()]), [second]);
        assert_eq!(stitcher.finish(), []);
    }

    #[test]
    fn a_segment_leaves_as_soon_as_the_next_chunk_cannot_hear_it_again() {
        let mut stitcher = Stitcher::new();
        let early = segment(vec![word("early", 1_000, 2_000)]);
        let late = segment(vec![word("late", 8_500, 9_000)]);
        let out = stitcher.push(&chunk(LEFT.0, LEFT.1), vec![early.clone(), late.clone()]);
        assert_eq!(out, [early]);
        assert_eq!(stitcher.finish(), [late]);
    }

    #[test]
    fn the_seam_lies_at_the_common_word_nearest_to_the_middle() {
        let left = segment(vec![
            word("a", 7_000, 7_500),
            word("b", 8_300, 8_500),
            word("c", 8_900, 9_100),
            word("damaged", 9_700, 10_000),
        ]);
        let right = segment(vec![
            word("broken", 8_000, 8_100),
            word("B,", 8_350, 8_500),
            word("C.", 8_950, 9_150),
            word("d", 9_600, 10_100),
        ]);
        let out = stitched(vec![left], vec![right]);
        assert_eq!(text(&out), " a b c d");
        assert_eq!(out[0].span, TimeSpan::new(7_000 * MS, 9_100 * MS));
        assert_eq!(out[1].span, TimeSpan::new(9_600 * MS, 10_100 * MS));
        let bytes = |segment: &Segment| segment.tokens.iter().map(|t| t.bytes.len()).collect::<Vec<_>>();
        assert_eq!(bytes(&out[0]), [0, 2, 2, 2], "opening timestamp kept, closing one gone with its words");
        assert_eq!(bytes(&out[1]), [2, 0]);
    }

    /// Two hearings of eight seconds, four of them the same, each word from its start to the next one's.
    fn joined(left: &[(&str, u64)], right: &[(&str, u64)]) -> String {
        let heard = |words: &[(&str, u64)]| {
            let ends = words[1..].iter().map(|(_, start)| *start).chain([words[words.len() - 1].1 + 300]);
            segment(words.iter().zip(ends).map(|((text, start), end)| word(text, *start, end)).collect())
        };
        let mut stitcher = Stitcher::new();
        let mut all = stitcher.push(&chunk((0, 8_000), (0, 6_000)), vec![heard(left)]);
        all.extend(stitcher.push(&chunk((4_000, 12_000), (6_000, 12_000)), vec![heard(right)]));
        all.extend(stitcher.finish());
        text(&all)
    }

    #[test]
    fn what_one_side_skipped_is_taken_from_the_other() {
        let whole =
            [("it", 4_100), ("was", 4_300), ("warm", 4_600), ("it", 5_000), ("was", 5_300), ("cold", 5_700)];
        let skipped = [("it", 4_100), ("was", 4_300), ("cold", 5_700)];
        let rest = [("in", 6_100), ("May", 6_400)];
        let all = " it was warm it was cold in May";
        assert_eq!(joined(&[&skipped[..], &rest].concat(), &[&whole[..], &rest].concat()), all);
        assert_eq!(joined(&[&whole[..], &rest].concat(), &[&skipped[..], &rest].concat()), all);
        let late = |words: &[(&'static str, u64)]| -> Vec<(&'static str, u64)> {
            words.iter().map(|(text, start)| (*text, start + 1_900)).collect()
        };
        let before = [("on", 5_400), ("May", 5_700)];
        let all = " on May it was warm it was cold";
        assert_eq!(
            joined(&[&before[..], &late(&skipped)].concat(), &[&before[..], &late(&whole)].concat()),
            all
        );
        assert_eq!(
            joined(&[&before[..], &late(&whole)].concat(), &[&before[..], &late(&skipped)].concat()),
            all
        );
    }

    #[test]
    fn a_word_in_no_time_that_only_one_side_has_was_made_up() {
        let said = [("walk", 4_600), ("on", 5_000), ("Robert", 5_300), ("is", 5_700), ("here", 6_000)];
        let mut made_up = said.to_vec();
        made_up.insert(2, ("please", 5_300));
        assert_eq!(joined(&made_up, &said), " walk on Robert is here");
        assert_eq!(joined(&said, &made_up), " walk on Robert is here");
    }

    #[test]
    fn a_word_in_no_time_that_both_sides_have_was_said() {
        let heard =
            [("at", 4_000), ("ten", 4_300), ("the", 4_700), ("next", 4_710), ("man", 5_200), ("is", 5_600)];
        let rest = [("here", 6_100), ("now", 6_400)];
        let without: Vec<_> = [&heard[2..3], &heard[4..], &rest].concat();
        assert_eq!(joined(&[&heard[..], &rest].concat(), &without), " at ten the next man is here now");
    }

    #[test]
    fn equal_words_far_apart_in_time_are_not_the_same_word() {
        let left = segment(vec![word("yes", 8_100, 8_300)]);
        let right = segment(vec![word("yes", 9_600, 9_900)]);
        assert_eq!(text(&stitched(vec![left], vec![right])), " yes yes");
    }

    #[test]
    fn without_a_common_word_each_side_keeps_what_it_owns() {
        let left = segment(vec![word("a", 8_100, 8_400), word("x", 9_500, 9_900)]);
        let right = segment(vec![word("y", 8_100, 8_400), word("b", 9_500, 9_900)]);
        assert_eq!(text(&stitched(vec![left], vec![right])), " a b");
    }

    #[test]
    fn a_word_across_the_seam_is_neither_said_twice_nor_lost() {
        let a = || word("a", 8_000, 8_300);
        let b = || word("b", 9_700, 9_900);
        let doubled = stitched(
            vec![segment(vec![a(), word("color", 8_700, 9_200)])],
            vec![segment(vec![word("colour", 8_800, 9_300), b()])],
        );
        assert_eq!(text(&doubled), " a color b");
        let lost = stitched(
            vec![segment(vec![a(), word("color", 8_800, 9_300)])],
            vec![segment(vec![word("colour", 8_700, 9_200), b()])],
        );
        assert_eq!(text(&lost), " a color b");
    }

    #[test]
    fn of_two_versions_of_a_word_across_the_seam_the_more_probable_is_kept() {
        let mut unsure = word("color", 8_700, 9_200);
        unsure.probability = 0.3;
        let sure = word("colour", 8_800, 9_300);
        assert_eq!(text(&stitched(vec![segment(vec![unsure])], vec![segment(vec![sure])])), " colour");
    }

    #[test]
    fn a_third_hearing_settles_what_the_other_two_do_not_agree_on() {
        let heard = |text: &str| {
            let words = text.split(' ').zip(0..);
            vec![segment(words.map(|(text, n)| word(text, 8_050 + 250 * n, 8_250 + 250 * n)).collect())]
        };
        let (left, right) = (chunk(LEFT.0, LEFT.1), chunk(RIGHT.0, RIGHT.1));
        let settled = |words: [&str; 3]| {
            let [first, second, third] =
                words.map(|said| heard(&format!("we will meet {said} o'clock on Monday morning")));
            let mut stitcher = Stitcher::new();
            let mut all = stitcher.push(&left, first);
            let between = stitcher.disputed(&right, &second).expect("they differ");
            assert_eq!(between, chunk((4_000, 14_000), (8_000, 10_000)));
            all.extend(stitcher.push_after((&between, third), &right, second));
            all.extend(stitcher.finish());
            text(&all)
        };
        let with = |word: &str| format!(" we will meet {word} o'clock on Monday morning");
        assert_eq!(settled(["ten", "two", "ten"]), with("ten"));
        assert_eq!(settled(["ten", "two", "two"]), with("two"));
        assert_eq!(settled(["ten", "two", "six"]), with("six"));

        let mut stitcher = Stitcher::new();
        stitcher.push(&left, heard("we will meet ten o'clock on"));
        assert_eq!(stitcher.disputed(&right, &heard("we will meet ten o'clock on Monday")), None);
        assert_eq!(stitcher.disputed(&chunk((10_000, 20_000), (10_000, 20_000)), &[]), None, "no overlap");
    }

    #[test]
    fn a_side_that_heard_nothing_leaves_its_half_to_the_other() {
        let words = || vec![word("a", 8_100, 8_500), word("b", 9_400, 9_800)];
        assert_eq!(text(&stitched(vec![], vec![segment(words())])), " a b");
        assert_eq!(text(&stitched(vec![segment(words())], vec![])), " a b");
        assert_eq!(stitched(vec![], vec![]), []);
    }

    #[test]
    fn segments_without_words_are_kept_or_dropped_whole() {
        let bare = |text, start, end| Segment { words: Vec::new(), ..segment(vec![word(text, start, end)]) };
        let left = vec![bare("left", 6_000, 8_900), bare("edge", 9_000, 10_000)];
        let right = vec![bare("edge", 8_000, 8_800), bare("right", 9_000, 12_000)];
        assert_eq!(text(&stitched(left, right)), " left right");
    }

    #[test]
    fn tokens_that_do_not_spell_the_words_are_dropped_with_the_first_cut() {
        let mut left = segment(vec![word("a", 8_100, 8_500), word("b", 9_500, 9_900)]);
        left.tokens[1].bytes = b" other".to_vec();
        let out = stitched(vec![left], vec![segment(vec![word("c", 9_400, 9_800)])]);
        assert_eq!(text(&out), " a c");
        assert_eq!(out[0].tokens, []);
        assert_eq!(out[1].tokens.len(), 3);
    }

    #[test]
    fn ends_past_the_chunk_or_the_next_start_are_drawn_back() {
        let first = segment(vec![word("a", 100, 900)]);
        let second = segment(vec![word("b", 700, 5_000)]);
        let mut stitcher = Stitcher::new();
        let out = stitcher.push(&chunk((0, 1_000), (0, 1_000)), vec![first, second]);
        let spans: Vec<_> = out.iter().map(|s| (s.span.start / MS, s.span.end / MS)).collect();
        assert_eq!(spans, [(100, 700), (700, 1_000)]);
        assert_eq!(out[0].words[0].span, out[0].span);
    }

    /// What a recogniser makes of `spoken` in `chunk`: whole words with times that are `jitter_ms` off at
    /// most, in other case and punctuation; words cut by the chunk's edge damaged or not at all.
    fn recognised(spoken: &[Word], chunk: &Chunk, dice: &mut Dice, jitter_ms: u64) -> Vec<Segment> {
        let mut heard = Vec::new();
        for word in spoken {
            let part = word.span.clamped(chunk.span);
            if part.is_empty() {
                continue;
            }
            let whole = part == word.span;
            if !whole && dice.roll(2) == 0 {
                continue;
            }
            let shift = dice.roll(2 * jitter_ms + 1) * MS;
            let moved = |at: u64| (at + shift).saturating_sub(jitter_ms * MS);
            let text = match (whole, dice.roll(3)) {
                (false, _) => " damaged".to_owned(),
                (true, 0) => format!("{},", word.text.to_uppercase()),
                (true, _) => word.text.clone(),
            };
            heard.push(Word {
                text,
                span: TimeSpan::new(moved(part.start), moved(part.end)),
                ..word.clone()
            });
        }
        let mut segments = Vec::new();
        while !heard.is_empty() {
            let count = (1 + dice.roll(12) as usize).min(heard.len());
            segments.push(segment(heard.drain(..count).collect()));
        }
        segments
    }

    /// A small deterministic source of chance: proptest chooses only its seed.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    /// Chunks of at most 30 s with 4 s of overlap, as speech without a pause is cut.
    fn cut(total: u64) -> Vec<Chunk> {
        let (max, overlap) = (30_000 * MS, 4_000 * MS);
        let mut chunks = Vec::new();
        let (mut start, mut owned_start) = (0, 0);
        while start + max < total {
            let owned_end = start + max - overlap / 2;
            chunks.push(Chunk {
                span: TimeSpan::new(start, start + max),
                owned: TimeSpan::new(owned_start, owned_end),
            });
            (start, owned_start) = (start + max - overlap, owned_end);
        }
        chunks.push(Chunk { span: TimeSpan::new(start, total), owned: TimeSpan::new(owned_start, total) });
        chunks
    }

    fn check(spoken: &[Word], seed: u64, jitter_ms: u64) -> Result<(), TestCaseError> {
        let total = spoken.last().map_or(0, |word| word.span.end);
        let mut dice = Dice(seed);
        let mut stitcher = Stitcher::new();
        let mut out = Vec::new();
        for chunk in cut(total) {
            let heard = recognised(spoken, &chunk, &mut dice, jitter_ms);
            out.extend(stitcher.push(&chunk, heard));
        }
        out.extend(stitcher.finish());

        let said: Vec<String> = spoken.iter().map(|word| normalised(&word.text)).collect();
        let written: Vec<String> =
            out.iter().flat_map(|segment| &segment.words).map(|word| normalised(&word.text)).collect();
        prop_assert_eq!(written, said);
        for segment in &out {
            let words: String = segment.words.iter().map(|word| word.text.as_str()).collect();
            prop_assert_eq!(&segment.text, &words);
            let spelled: Vec<u8> = segment.tokens.iter().flat_map(|t| t.bytes.iter().copied()).collect();
            prop_assert_eq!(spelled, words.into_bytes());
            for word in &segment.words {
                prop_assert_eq!(word.span.clamped(segment.span), word.span);
            }
        }
        for pair in out.windows(2) {
            prop_assert!(pair[0].span.end <= pair[1].span.start);
        }
        Ok(())
    }

    /// Words in a row, of `lengths` in ms; the text of each is up to `name`.
    fn spoken(lengths: &[u64], name: impl Fn(usize) -> String) -> Vec<Word> {
        let mut at = 0;
        let say = |(index, length): (usize, &u64)| {
            let said = word(&name(index), at, at + length);
            at += length;
            said
        };
        lengths.iter().enumerate().map(say).collect()
    }

    proptest! {
        #[test]
        fn every_word_comes_out_once_and_in_order(
            lengths in prop::collection::vec(120u64..1_200, 1..250), seed: u64,
        ) {
            check(&spoken(&lengths, |index| format!("w{index}")), seed, 200)?;
        }

        #[test]
        fn repeated_words_are_told_apart_by_their_times(
            lengths in prop::collection::vec(150u64..700, 1..250), seed: u64, vocabulary in 1usize..4,
        ) {
            check(&spoken(&lengths, |index| format!("no{}", (index * index) % vocabulary)), seed, 30)?;
        }
    }
}
