//! Lists of spans: joined, and cut out of one another. Pure.

use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::SpeakerTurn;

/// The same moments as disjoint spans in order; spans that touch become one, and none is empty.
pub fn joined(mut spans: Vec<TimeSpan>) -> Vec<TimeSpan> {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable();
    let mut joined: Vec<TimeSpan> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// `spans` without what `holes` hold; both are disjoint and in order, and so is what is left.
pub fn without(spans: &[TimeSpan], holes: &[TimeSpan]) -> Vec<TimeSpan> {
    let mut left = Vec::new();
    let mut next = 0;
    for span in spans {
        let mut from = span.start;
        while holes.get(next).is_some_and(|hole| hole.end <= from) {
            next += 1;
        }
        // The last hole may reach into the next span, so it is not passed yet.
        for hole in holes[next..].iter().take_while(|hole| hole.start < span.end) {
            left.push(TimeSpan::new(from, hole.start.max(from)));
            from = hole.end;
        }
        left.push(TimeSpan::new(from, span.end));
    }
    left.retain(|span| !span.is_empty());
    left
}

/// What lies within `collar` samples of the start or end of a turn: disjoint and in order.
pub fn collars(turns: &[SpeakerTurn], collar: SampleIndex) -> Vec<TimeSpan> {
    let edges = turns.iter().flat_map(|turn| [turn.span.start, turn.span.end]);
    joined(edges.map(|edge| TimeSpan::new(edge, edge).widened(collar)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Vec<TimeSpan>> {
        prop::collection::vec((0..60u64, 0..12u64), 0..8).prop_map(|pairs| {
            pairs.into_iter().map(|(start, length)| TimeSpan::new(start, start + length)).collect()
        })
    }

    fn moments(spans: &[TimeSpan]) -> Vec<u64> {
        (0..80).filter(|at| spans.iter().any(|span| span.contains(*at))).collect()
    }

    proptest! {
        #[test]
        fn joining_keeps_every_moment_and_leaves_gaps_between(spans in spans()) {
            let joined = joined(spans.clone());
            prop_assert_eq!(moments(&joined), moments(&spans));
            prop_assert!(joined.windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn cutting_takes_what_the_holes_hold_and_nothing_else(spans in spans(), holes in spans()) {
            let (spans, holes) = (joined(spans), joined(holes));
            let left = without(&spans, &holes);
            let expected: Vec<_> =
                moments(&spans).into_iter().filter(|at| !holes.iter().any(|hole| hole.contains(*at))).collect();
            prop_assert_eq!(moments(&left), expected);
            prop_assert!(left.iter().all(|span| !span.is_empty()));
            prop_assert!(left.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
