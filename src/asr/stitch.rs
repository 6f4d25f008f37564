//! Segments of overlapping chunks to one ordered list. Pure.
//!
//! Where a chunk was cut in a pause its segments pass through. Where two chunks overlap, both heard the
//! same words, each badly at its own edge: the words of both are aligned by text and time, and the seam
//! is put at the aligned word nearest to the middle of the overlap, far from both edges. Works chunk by
//! chunk; what is given out is final.

use std::cmp::Ordering;

use crate::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{Segment, Token, Word};

use super::words::fit_words;

/// Two chunks' times for the same word differ by less than this, in ms; token times are coarse.
const MAX_TIME_DIFFERENCE_MS: u64 = 1_000;

/// Most words of one side that are aligned. An overlap of seconds holds some dozens; a looping
/// recogniser may give hundreds, and those nearest to the seam suffice.
const MAX_ALIGNED_WORDS: usize = 256;

/// Words in a row that both sides heard alike and that are no chance.
const TRUSTED_RUN: usize = 3;

/// A word that takes less time than this, in ms, was not said there.
const SHORTEST_WORD_MS: u64 = 30;

/// A word takes no longer than this, in ms, and so much for each letter, or something near it was not written.
const LONGEST_WORD_MS: u64 = 800;
const LONGEST_LETTER_MS: u64 = 80;

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
        let mut fresh: Vec<Segment> =
            segments.into_iter().map(|segment| bounded(segment, chunk.span)).collect();
        set_apart(&mut fresh, chunk.span.start);
        let mut joined = match self.open.take() {
            Some(open) if open.chunk.span.end > chunk.span.start => {
                let overlap = TimeSpan::new(chunk.span.start, open.chunk.span.end.min(chunk.span.end));
                let middle = open.chunk.owned.end.clamp(overlap.start, overlap.end);
                join(open.segments, fresh, overlap, middle)
            }
            Some(open) => {
                let mut all = open.segments;
                all.append(&mut fresh);
                all
            }
            None => fresh,
        };
        set_apart(&mut joined, self.given_until);
        let held = if chunk.owned.end < chunk.span.end {
            // The chunk owns up to the middle of the overlap: the next one hears as much before it.
            let heard_again = chunk.owned.end.saturating_sub(chunk.span.end - chunk.owned.end);
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

/// What is kept or dropped as one: a word, or a whole segment that carries no words.
struct Unit<'a> {
    text: &'a str,
    span: TimeSpan,
    probability: f32,
}

fn units(segments: &[Segment]) -> Vec<Unit<'_>> {
    fn of_word(word: &Word) -> Unit<'_> {
        Unit { text: &word.text, span: word.span, probability: word.probability }
    }
    let mut units = Vec::new();
    for segment in segments {
        if segment.words.is_empty() {
            let probability = segment.avg_logprob.exp();
            units.push(Unit { text: &segment.text, span: segment.span, probability });
        } else {
            units.extend(segment.words.iter().map(of_word));
        }
    }
    units
}

/// Where to leave the left side and enter the right one: the left's first `left` units are kept, and the
/// right's units from `right` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seam {
    left: usize,
    right: usize,
}

/// The left side up to the seam, then the right side from it on.
fn join(
    mut left: Vec<Segment>,
    mut right: Vec<Segment>,
    overlap: TimeSpan,
    middle: SampleIndex,
) -> Vec<Segment> {
    let seam = {
        let (left, right) = (units(&left), units(&right));
        seam_at_match(&left, &right, overlap, middle)
            .unwrap_or_else(|| seam_at_middle(&left, &right, overlap, middle))
    };
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

/// The seam after the word nearest to `middle` that both sides heard, where the times of what is kept are those of
/// words; `None` when they share none.
fn seam_at_match(
    left: &[Unit<'_>],
    right: &[Unit<'_>],
    overlap: TimeSpan,
    middle: SampleIndex,
) -> Option<Seam> {
    let left_from = left.iter().position(|unit| unit.span.end > overlap.start).unwrap_or(left.len());
    let left_from = left_from.max(left.len().saturating_sub(MAX_ALIGNED_WORDS));
    let right_to = right.iter().position(|unit| unit.span.start >= overlap.end).unwrap_or(right.len());
    let right_to = right_to.min(MAX_ALIGNED_WORDS);
    let pairs = align(&left[left_from..], &right[..right_to]);
    let pairs = if pairs.is_empty() { common_phrase(&left[left_from..], &right[..right_to]) } else { pairs };
    let distance = |(i, j): (usize, usize)| {
        let at = left[left_from + i].span.midpoint().midpoint(right[j].span.midpoint());
        at.abs_diff(middle)
    };
    // A single word in common may be chance, where one side heard nonsense at its edge.
    let runs = run_lengths(&pairs);
    let flaws = flaws_kept(&pairs, &left[left_from..], &right[..right_to]);
    let best = (0..pairs.len()).min_by_key(|&at| (flaws[at], runs[at] < TRUSTED_RUN, distance(pairs[at])))?;
    let (i, j) = pairs[best];
    Some(Seam { left: left_from + i + 1, right: j + 1 })
}

/// For a seam at each of the pairs, how many flaws are kept where the two sides differ between (or on) pairs: those of the
/// left side before the seam, and those of the right side after it.
fn flaws_kept(pairs: &[(usize, usize)], left: &[Unit<'_>], right: &[Unit<'_>]) -> Vec<usize> {
    let between: Vec<(usize, usize)> = pairs
        .windows(2)
        .map(|two| {
            let ((i, j), (k, l)) = (two[0], two[1]);
            let is_same = (k - i, l - j) == (1, 1);
            if is_same { (0, 0) } else { (flaws(&left[i..=k]), flaws(&right[j..=l])) }
        })
        .collect();
    let of_left = |at: usize| between[..at].iter().map(|(left, _)| left).sum::<usize>();
    let of_right = |at: usize| between[at..].iter().map(|(_, right)| right).sum::<usize>();
    (0..pairs.len()).map(|at| of_left(at) + of_right(at)).collect()
}

/// How many of the words lie in no time at all, or over one in which several would have been said.
fn flaws(units: &[Unit<'_>]) -> usize {
    let is_flawed = |unit: &&Unit<'_>| {
        let longest = LONGEST_WORD_MS + LONGEST_LETTER_MS * unit.text.trim().chars().count() as u64;
        unit.span.len() < ms_to_samples(SHORTEST_WORD_MS) || unit.span.len() > ms_to_samples(longest)
    };
    units.iter().filter(is_flawed).count()
}

/// For each pair, how many pairs in a row with no word between them it belongs to.
fn run_lengths(pairs: &[(usize, usize)]) -> Vec<usize> {
    let follows = |at: usize| at > 0 && pairs[at] == (pairs[at - 1].0 + 1, pairs[at - 1].1 + 1);
    let mut lengths = vec![0; pairs.len()];
    let mut first = 0;
    for at in 0..pairs.len() {
        if !follows(at) {
            first = at;
        }
        if at + 1 == pairs.len() || !follows(at + 1) {
            lengths[first..=at].fill(at + 1 - first);
        }
    }
    lengths
}

/// The pairs of the longest phrase that both sides have and neither has twice, wherever their times put it:
/// times may be off by seconds where a recogniser was lost. Empty when there is none of `TRUSTED_RUN` words.
fn common_phrase(left: &[Unit<'_>], right: &[Unit<'_>]) -> Vec<(usize, usize)> {
    let keys = |units: &[Unit<'_>]| units.iter().map(|unit| normalised(unit.text)).collect::<Vec<_>>();
    let (left, right) = (keys(left), keys(right));
    let same = |i: usize, j: usize| !left[i].is_empty() && left[i] == right[j];
    let mut best = (0, 0, 0);
    for i in 0..left.len() {
        for j in 0..right.len() {
            let length =
                (0..).take_while(|n| i + n < left.len() && j + n < right.len() && same(i + n, j + n)).count();
            if length > best.2 {
                best = (i, j, length);
            }
        }
    }
    let (i, j, length) = best;
    let occurs =
        |words: &[String]| words.windows(length).filter(|phrase| *phrase == &left[i..i + length]).count();
    if length < TRUSTED_RUN || occurs(&left) != 1 || occurs(&right) != 1 {
        return Vec::new();
    }
    (0..length).map(|n| (i + n, j + n)).collect()
}

/// The common subsequence of two word lists with the greatest weight, as index pairs.
///
/// A pair of equal words weighs less the further apart their times are: in "no no no" every word equals
/// every other, and only the times tell which is which.
fn align(left: &[Unit<'_>], right: &[Unit<'_>]) -> Vec<(usize, usize)> {
    let keys = |units: &[Unit<'_>]| units.iter().map(|unit| normalised(unit.text)).collect::<Vec<_>>();
    let (left_keys, right_keys) = (keys(left), keys(right));
    let weight = |i: usize, j: usize| {
        let difference = left[i].span.midpoint().abs_diff(right[j].span.midpoint());
        let limit = ms_to_samples(MAX_TIME_DIFFERENCE_MS);
        let same = !left_keys[i].is_empty() && left_keys[i] == right_keys[j] && difference < limit;
        if same { 1.0 - difference as f32 / limit as f32 } else { 0.0 }
    };
    // best[i][j]: greatest weight of left[i..] against right[j..].
    let columns = right.len() + 1;
    let mut best = vec![0.0f32; (left.len() + 1) * columns];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            let skip = best[(i + 1) * columns + j].max(best[i * columns + j + 1]);
            let pair = weight(i, j);
            let paired = pair + best[(i + 1) * columns + j + 1];
            best[i * columns + j] = if pair > 0.0 { skip.max(paired) } else { skip };
        }
    }
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        let here = best[i * columns + j];
        if here == best[(i + 1) * columns + j] {
            i += 1;
        } else if here == best[i * columns + j + 1] {
            j += 1;
        } else {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        }
    }
    pairs
}

/// A word without case, punctuation and blanks; empty when nothing is left.
fn normalised(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The seam where no word is common: each word goes to the side that owns its middle. A side that heard
/// nothing in its own half leaves that half to the other.
fn seam_at_middle(left: &[Unit<'_>], right: &[Unit<'_>], overlap: TimeSpan, middle: SampleIndex) -> Seam {
    let within = |units: &[Unit<'_>], from: SampleIndex, to: SampleIndex| {
        let half = TimeSpan::new(from, to);
        units.iter().any(|unit| half.contains(unit.span.midpoint()))
    };
    let left_silent = !within(left, overlap.start, middle);
    let right_silent = !within(right, middle, overlap.end.saturating_add(1));
    let cut = match (left_silent, right_silent) {
        (true, false) => overlap.start,
        (false, true) => overlap.end,
        _ => middle,
    };
    let before = |units: &[Unit<'_>]| units.partition_point(|unit| unit.span.midpoint() < cut);
    let seam = Seam { left: before(left), right: before(right) };
    mend_straddling_word(left, right, seam)
}

/// A word across the seam may have its middle on the wrong side in both chunks' times: said twice then,
/// or not at all. The more probable one is kept, once.
fn mend_straddling_word(left: &[Unit<'_>], right: &[Unit<'_>], seam: Seam) -> Seam {
    let Seam { left: kept, right: entered } = seam;
    if let (Some(last), Some(first)) = (kept.checked_sub(1).map(|at| &left[at]), right.get(entered))
        && is_same_stretch(last.span, first.span)
    {
        return match last.probability.total_cmp(&first.probability) {
            Ordering::Less => Seam { left: kept - 1, right: entered },
            _ => Seam { left: kept, right: entered + 1 },
        };
    }
    if let (Some(lost), Some(also_lost)) = (left.get(kept), entered.checked_sub(1).map(|at| &right[at]))
        && is_same_stretch(lost.span, also_lost.span)
    {
        return match lost.probability.total_cmp(&also_lost.probability) {
            Ordering::Less => Seam { left: kept, right: entered - 1 },
            _ => Seam { left: kept + 1, right: entered },
        };
    }
    seam
}

/// Whether two spans share more than half of the shorter one.
fn is_same_stretch(a: TimeSpan, b: TimeSpan) -> bool {
    let common = a.end.min(b.end).saturating_sub(a.start.max(b.start));
    common * 2 > a.len().min(b.len())
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

    #[test]
    fn a_phrase_that_both_sides_have_once_joins_them_though_its_times_are_off() {
        let said = |text: &str, start_ms: u64| -> Vec<Word> {
            let place = |(n, text): (u64, &str)| word(text, start_ms + 300 * n, start_ms + 300 * n + 250);
            (0..).zip(text.split(' ')).map(place).collect()
        };
        let (left, right) = (said("we will meet at ten", 1_000), said("will meet at ten tomorrow", 4_000));
        let unit = |word: &Word| Unit { text: "", span: word.span, probability: word.probability };
        let units = |words: &[Word]| words.iter().map(unit).collect::<Vec<_>>();
        let (mut l, mut r) = (units(&left), units(&right));
        l.iter_mut().zip(&left).for_each(|(unit, word)| unit.text = &word.text);
        r.iter_mut().zip(&right).for_each(|(unit, word)| unit.text = &word.text);
        assert_eq!(align(&l, &r), []);
        assert_eq!(common_phrase(&l, &r), [(1, 0), (2, 1), (3, 2), (4, 3)]);
        assert_eq!(common_phrase(&l[3..], &r), [], "two words are chance");
        let twice: Vec<Unit<'_>> = l.iter().chain(&l).map(|unit| Unit { ..*unit }).collect();
        assert_eq!(common_phrase(&twice, &r), [], "which of the two?");
    }

    #[test]
    fn pairs_in_a_row_are_counted() {
        assert_eq!(run_lengths(&[(0, 1), (1, 2), (2, 3), (4, 4), (6, 5), (7, 6)]), [3, 3, 3, 1, 2, 2]);
        assert_eq!(run_lengths(&[]), [0; 0]);
    }

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
