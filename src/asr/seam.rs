//! Where to leave one chunk's hearing of an overlap and enter the next one's. Pure.
//!
//! Both heard the same words, each badly at its own edge. The words of both are aligned by text and time, and the
//! seam is put at a word that both have, far from both edges. Where they differ, the overlap is disputed, and `stitch`
//! asks for a third hearing. Read next: `stitch`.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{Segment, Word};

/// Two chunks' times for the same word differ by less than this, in ms; token times are coarse.
const MAX_TIME_DIFFERENCE_MS: u64 = 1_000;

/// Most words of one side that are aligned. An overlap of seconds holds some dozens; a looping
/// recogniser may give hundreds, and those nearest to the seam suffice.
const MAX_ALIGNED_WORDS: usize = 256;

/// Words this near to the edge of a chunk, in ms, may be misheard in it: that is what overlaps are for.
const EDGE_MS: u64 = 500;

/// Words in a row that both sides heard alike and that are no chance.
const TRUSTED_RUN: usize = 3;

/// A word that takes less time than this, in ms, was not said there.
const SHORTEST_WORD_MS: u64 = 30;

/// A word takes no longer than this, in ms, and so much for each letter, or something near it was not written.
const LONGEST_WORD_MS: u64 = 800;
const LONGEST_LETTER_MS: u64 = 80;

/// What is kept or dropped as one: a word, or a whole segment that carries no words.
pub(super) struct Unit<'a> {
    pub(super) text: &'a str,
    pub(super) span: TimeSpan,
    pub(super) probability: f32,
}

/// The words of segments, and the segments that have none.
pub(super) fn units(segments: &[Segment]) -> Vec<Unit<'_>> {
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
pub(super) struct Seam {
    pub(super) left: usize,
    pub(super) right: usize,
}

/// What two chunks both heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    pub(super) span: TimeSpan,
    /// Where the seam should be.
    pub(super) middle: SampleIndex,
}

/// The seam between two hearings of an overlap.
pub(super) fn between(left: &[Unit<'_>], right: &[Unit<'_>], overlap: Overlap) -> Seam {
    seam_at_match(left, right, overlap).unwrap_or_else(|| seam_at_middle(left, right, overlap))
}

/// Whether one side has a word, away from the edges of the overlap, that the other has not.
pub(super) fn is_disputed(left: &[Unit<'_>], right: &[Unit<'_>], overlap: Overlap) -> bool {
    let margin = ms_to_samples(EDGE_MS);
    let core = TimeSpan::new(overlap.span.start + margin, overlap.span.end.saturating_sub(margin));
    let (left_from, right_to) = common_part(left, right, overlap.span);
    let (left, right) = (&left[left_from..], &right[..right_to]);
    let (of_left, of_right): (HashSet<usize>, HashSet<usize>) = align(left, right).into_iter().unzip();
    let has_alone = |units: &[Unit<'_>], paired: &HashSet<usize>| {
        let mut units = units.iter().enumerate();
        units.any(|(at, unit)| !paired.contains(&at) && core.contains(unit.span.midpoint()))
    };
    has_alone(left, &of_left) || has_alone(right, &of_right)
}

/// From which unit of the left side on, and up to which one of the right side, they lie in the overlap.
fn common_part(left: &[Unit<'_>], right: &[Unit<'_>], overlap: TimeSpan) -> (usize, usize) {
    let left_from = left.iter().position(|unit| unit.span.end > overlap.start).unwrap_or(left.len());
    let right_to = right.iter().position(|unit| unit.span.start >= overlap.end).unwrap_or(right.len());
    (left_from.max(left.len().saturating_sub(MAX_ALIGNED_WORDS)), right_to.min(MAX_ALIGNED_WORDS))
}

/// The seam after the word nearest to the middle that both sides heard, where the times of what is kept are those of
/// words; `None` when they share none.
fn seam_at_match(left: &[Unit<'_>], right: &[Unit<'_>], overlap: Overlap) -> Option<Seam> {
    let (left_from, right_to) = common_part(left, right, overlap.span);
    let pairs = align(&left[left_from..], &right[..right_to]);
    let pairs = if pairs.is_empty() { common_phrase(&left[left_from..], &right[..right_to]) } else { pairs };
    let distance = |(i, j): (usize, usize)| {
        let at = left[left_from + i].span.midpoint().midpoint(right[j].span.midpoint());
        at.abs_diff(overlap.middle)
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

/// How many of the words lie over a time in which several would have been said, or, of those between the first and the
/// last, in no time at all: the two at the ends have been heard by both sides.
fn flaws(units: &[Unit<'_>]) -> usize {
    let last = units.len().saturating_sub(1);
    let is_flawed = |(at, unit): &(usize, &Unit<'_>)| {
        let longest = LONGEST_WORD_MS + LONGEST_LETTER_MS * unit.text.trim().chars().count() as u64;
        let is_between = 0 < *at && *at < last;
        unit.span.len() > ms_to_samples(longest)
            || is_between && unit.span.len() < ms_to_samples(SHORTEST_WORD_MS)
    };
    units.iter().enumerate().filter(is_flawed).count()
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
pub(super) fn normalised(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The seam where no word is common: each word goes to the side that owns its middle. A side that heard
/// nothing in its own half leaves that half to the other.
fn seam_at_middle(left: &[Unit<'_>], right: &[Unit<'_>], overlap: Overlap) -> Seam {
    let Overlap { span: overlap, middle } = overlap;
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 16;

    /// The words of a text, one every 300 ms.
    fn said(text: &str, start_ms: u64) -> Vec<Unit<'_>> {
        let place = |(n, text)| Unit {
            text,
            span: TimeSpan::new((start_ms + 300 * n) * MS, (start_ms + 300 * n + 250) * MS),
            probability: 0.9,
        };
        (0u64..).zip(text.split(" ")).map(place).collect()
    }

    const OVERLAP: Overlap =
        Overlap { span: TimeSpan { start: 1_000 * MS, end: 4_000 * MS }, middle: 2_500 * MS };

    #[test]
    fn an_overlap_is_disputed_where_one_side_has_a_word_of_its_own() {
        let left = "so we will meet at ten o'clock on Monday morn";
        let disputed = |right: &str| is_disputed(&said(left, 1_000), &said(right, 1_000), OVERLAP);
        assert!(!disputed(left));
        assert!(!disputed("though we will meet at ten O'clock, on Monday morning"), "edges differ always");
        assert!(disputed("so we will meet at two o'clock on Monday morn"));
        assert!(disputed("so we will meet at ten o'clock Monday morn"));
        assert!(is_disputed(&said(left, 1_000), &[], OVERLAP));
        assert!(!is_disputed(&[], &[], OVERLAP));
    }

    #[test]
    fn a_phrase_that_both_sides_have_once_joins_them_though_its_times_are_off() {
        let (left, right) = (said("we will meet at ten", 1_000), said("will meet at ten tomorrow", 4_000));
        assert_eq!(align(&left, &right), []);
        assert_eq!(common_phrase(&left, &right), [(1, 0), (2, 1), (3, 2), (4, 3)]);
        assert_eq!(common_phrase(&left[3..], &right), [], "two words are chance");
        let twice: Vec<Unit<'_>> = left.iter().chain(&left).map(|unit| Unit { ..*unit }).collect();
        assert_eq!(common_phrase(&twice, &right), [], "which of the two?");
    }

    #[test]
    fn pairs_in_a_row_are_counted() {
        assert_eq!(run_lengths(&[(0, 1), (1, 2), (2, 3), (4, 4), (6, 5), (7, 6)]), [3, 3, 3, 1, 2, 2]);
        assert_eq!(run_lengths(&[]), [0; 0]);
    }
}
