//! Who has the floor at a moment: what words are attributed by. Pure.

use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{SpeakerId, SpeakerTurn};

/// How far a word may lie from the nearest turn and still be that speaker's: recognisers place words by a few tenths
/// of a second wrongly, and turns begin and end as coarsely.
const NEAR: SampleIndex = ms_to_samples(500);

/// The turns of a recording, ready to be asked about any span.
pub struct Floor {
    /// One speaker at a time; ordered, disjoint.
    exclusive: Vec<SpeakerTurn>,
    /// Where two or more speak; ordered, disjoint.
    shared: Vec<TimeSpan>,
}

impl Floor {
    /// Over all `turns`, and over those with one speaker at a time (`exclusive`, ordered and disjoint).
    pub fn new(turns: &[SpeakerTurn], exclusive: Vec<SpeakerTurn>) -> Self {
        Self { exclusive, shared: shared(turns) }
    }

    /// Whoever speaks most of `span`, the earlier one of two with the same share; or else the nearest within half a
    /// second; or else nobody.
    pub fn speaker(&self, span: TimeSpan) -> Option<SpeakerId> {
        let first = self.exclusive.partition_point(|turn| turn.span.end <= span.start);
        let mut shares: Vec<(SpeakerId, SampleIndex)> = Vec::new();
        for turn in self.exclusive[first..].iter().take_while(|turn| turn.span.start < span.end) {
            let common = turn.span.common(span);
            match shares.iter_mut().find(|(speaker, _)| *speaker == turn.speaker) {
                Some((_, share)) => *share += common,
                None => shares.push((turn.speaker, common)),
            }
        }
        let longest = shares.iter().map(|(_, share)| *share).max().filter(|share| *share > 0);
        match longest {
            Some(longest) => shares.into_iter().find(|(_, share)| *share == longest).map(|(who, _)| who),
            None => self.nearest(span, first),
        }
    }

    /// The turn before or after a span that no turn reaches into; `next` is the first that ends after its start.
    fn nearest(&self, span: TimeSpan, next: usize) -> Option<SpeakerId> {
        let before = next.checked_sub(1).map(|index| &self.exclusive[index]);
        let before = before.map(|turn| (span.start - turn.span.end, turn.speaker));
        let after = self.exclusive.get(next);
        let after = after.map(|turn| (turn.span.start.saturating_sub(span.end), turn.speaker));
        let nearest = before.into_iter().chain(after).min_by_key(|(distance, _)| *distance);
        nearest.filter(|(distance, _)| *distance <= NEAR).map(|(_, speaker)| speaker)
    }

    /// Whether somebody else speaks during at least half of `span`.
    pub fn is_overlapped(&self, span: TimeSpan) -> bool {
        let first = self.shared.partition_point(|shared| shared.end <= span.start);
        let meeting = self.shared[first..].iter().take_while(|shared| shared.start < span.end);
        let common: SampleIndex = meeting.map(|shared| shared.common(span)).sum();
        common > 0 && 2 * common >= span.len()
    }
}

/// Where at least two of `turns` meet; ordered, disjoint.
fn shared(turns: &[SpeakerTurn]) -> Vec<TimeSpan> {
    // Ends sort before starts at the same moment: turns that touch do not overlap.
    let starts = turns.iter().map(|turn| (turn.span.start, true));
    let mut edges: Vec<_> = starts.chain(turns.iter().map(|turn| (turn.span.end, false))).collect();
    edges.sort_unstable();
    let (mut spans, mut speaking, mut since) = (Vec::<TimeSpan>::new(), 0_usize, 0);
    for (at, is_start) in edges {
        if is_start {
            speaking += 1;
            if speaking == 2 {
                since = at;
            }
        } else {
            if speaking == 2 && at > since {
                spans.push(TimeSpan::new(since, at));
            }
            speaking = speaking.saturating_sub(1);
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turn(start_ms: u64, end_ms: u64, speaker: u32) -> SpeakerTurn {
        SpeakerTurn { span: at(start_ms, end_ms), speaker: SpeakerId(speaker) }
    }

    fn at(start_ms: u64, end_ms: u64) -> TimeSpan {
        TimeSpan::new(ms_to_samples(start_ms), ms_to_samples(end_ms))
    }

    fn floor(exclusive: &[SpeakerTurn]) -> Floor {
        Floor::new(exclusive, exclusive.to_vec())
    }

    fn who(floor: &Floor, start_ms: u64, end_ms: u64) -> Option<u32> {
        floor.speaker(at(start_ms, end_ms)).map(|speaker| speaker.0)
    }

    #[test]
    fn a_word_is_whose_turn_it_overlaps_most() {
        let floor =
            floor(&[turn(0, 1_000, 0), turn(1_000, 1_100, 1), turn(1_100, 1_200, 0), turn(3_000, 4_000, 1)]);
        assert_eq!(who(&floor, 800, 1_050), Some(0));
        assert_eq!(who(&floor, 980, 1_080), Some(1));
        // Two turns of one speaker count together.
        assert_eq!(who(&floor, 930, 1_200), Some(0));
        assert_eq!(who(&floor, 900, 3_100), Some(0));
    }

    #[test]
    fn a_word_beside_all_turns_goes_to_the_nearest_or_to_nobody() {
        let floor = floor(&[turn(1_000, 2_000, 0), turn(3_000, 4_000, 1)]);
        assert_eq!(who(&floor, 2_100, 2_300), Some(0));
        assert_eq!(who(&floor, 2_700, 2_900), Some(1));
        assert_eq!(who(&floor, 600, 700), Some(0));
        assert_eq!(who(&floor, 0, 400), None);
        assert_eq!(who(&floor, 4_501, 4_600), None);
        assert_eq!(who(&floor, 4_500, 4_600), Some(1));
    }

    #[test]
    fn a_word_without_length_is_whose_turn_it_lies_in() {
        let floor = floor(&[turn(1_000, 2_000, 0), turn(2_000, 3_000, 1)]);
        assert_eq!(who(&floor, 1_500, 1_500), Some(0));
        assert_eq!(who(&floor, 2_500, 2_500), Some(1));
        assert_eq!(who(&self::floor(&[]), 1_500, 1_600), None);
    }

    #[test]
    fn a_word_is_overlapped_when_two_speak_for_half_of_it() {
        let turns = [turn(0, 2_000, 0), turn(1_000, 3_000, 1), turn(1_200, 1_300, 2), turn(3_000, 4_000, 0)];
        let floor = Floor::new(&turns, Vec::new());
        assert_eq!(floor.shared, [at(1_000, 2_000)]);
        assert!(floor.is_overlapped(at(900, 1_100)));
        assert!(!floor.is_overlapped(at(880, 1_100)));
        assert!(!floor.is_overlapped(at(2_900, 3_100)));
        assert!(!floor.is_overlapped(at(1_500, 1_500)));
    }

    proptest! {
        #[test]
        fn the_quick_search_finds_what_a_slow_one_does(
            lengths in prop::collection::vec((0_u64..900, 1_u64..900, 0_u32..3), 0..12),
            start in 0_u64..6_000, length in 0_u64..2_000,
        ) {
            let (mut turns, mut end) = (Vec::new(), 0);
            for (gap, length, speaker) in lengths {
                turns.push(turn(end + gap, end + gap + length, speaker));
                end += gap + length;
            }
            let span = at(start, start + length);
            let share = |who: SpeakerId| -> SampleIndex {
                turns.iter().filter(|turn| turn.speaker == who).map(|turn| turn.span.common(span)).sum()
            };
            let found = floor(&turns).speaker(span);
            let most = (0..3).map(|who| share(SpeakerId(who))).max().unwrap();
            match found {
                Some(who) if most > 0 => prop_assert_eq!(share(who), most),
                Some(who) => {
                    let mut near = turns.iter().filter(|turn| turn.span.widened(NEAR + 1).common(span.widened(1)) > 0);
                    prop_assert!(near.any(|turn| turn.speaker == who));
                }
                None => prop_assert!(turns.iter().all(|turn| turn.span.widened(NEAR).common(span) == 0)),
            }
        }

        #[test]
        fn shared_spans_are_where_two_speak(
            turns in prop::collection::vec((0_u64..50, 1_u64..20), 0..12), at in 0_u64..80,
        ) {
            let turns: Vec<_> = turns
                .into_iter()
                .map(|(start, length)| {
                    SpeakerTurn { span: TimeSpan::new(start, start + length), speaker: SpeakerId(0) }
                })
                .collect();
            let speaking = turns.iter().filter(|turn| turn.span.contains(at)).count();
            let spans = shared(&turns);
            prop_assert_eq!(spans.iter().any(|span| span.contains(at)), speaking >= 2);
            prop_assert!(spans.is_sorted_by(|one, next| one.end <= next.start));
        }
    }
}
