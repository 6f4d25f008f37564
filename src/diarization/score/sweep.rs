//! One pass over a recording, from edge to edge: who speaks, who was found, and who with whom. Pure.

use super::{Annotation, regions};
use crate::time::{SampleIndex, TimeSpan};

/// Durations, in samples.
pub struct Sweep {
    /// Of each speaker of the truth.
    pub truth: Vec<SampleIndex>,
    /// Of each speaker found.
    pub found: Vec<SampleIndex>,
    /// Of both together: shape (speakers of the truth, speakers found).
    pub together: Vec<Vec<SampleIndex>>,
    /// Speakers of the truth beyond those found, over time.
    pub missed: SampleIndex,
    /// Speakers found beyond those of the truth, over time.
    pub false_alarm: SampleIndex,
    /// Pairs of one of the truth and one found that can be made at each moment, over time.
    pub paired: SampleIndex,
}

/// Which list an edge belongs to; regions come first, but at one moment the order makes no difference.
#[derive(Clone, Copy)]
enum Of {
    Region,
    Truth(usize),
    Found(usize),
}

impl Sweep {
    /// Of what lies inside `counted`, which is disjoint.
    pub fn over(truth: &Annotation, found: &Annotation, counted: &[TimeSpan]) -> Self {
        let (rows, columns) = (truth.speakers.len(), found.speakers.len());
        let mut sweep = Self {
            truth: vec![0; rows],
            found: vec![0; columns],
            together: vec![vec![0; columns]; rows],
            missed: 0,
            false_alarm: 0,
            paired: 0,
        };
        let mut edges: Vec<(SampleIndex, bool, Of)> =
            counted.iter().flat_map(|span| both(span, Of::Region)).collect();
        edges.extend(edges_of(truth, Of::Truth));
        edges.extend(edges_of(found, Of::Found));
        edges.sort_by_key(|(at, ..)| *at);

        let (mut inside, mut speaking, mut heard) = (0_usize, Vec::new(), Vec::new());
        let mut last = 0;
        for (at, begins, of) in edges {
            if inside > 0 && at > last {
                sweep.add(at - last, &speaking, &heard);
            }
            last = at;
            match of {
                Of::Region if begins => inside += 1,
                Of::Region => inside -= 1,
                Of::Truth(speaker) => enter_or_leave(&mut speaking, speaker, begins),
                Of::Found(speaker) => enter_or_leave(&mut heard, speaker, begins),
            }
        }
        sweep
    }

    fn add(&mut self, length: SampleIndex, speaking: &[usize], heard: &[usize]) {
        speaking.iter().for_each(|speaker| self.truth[*speaker] += length);
        heard.iter().for_each(|speaker| self.found[*speaker] += length);
        for speaker in speaking {
            heard.iter().for_each(|other| self.together[*speaker][*other] += length);
        }
        let (wanted, given) = (speaking.len() as SampleIndex, heard.len() as SampleIndex);
        self.missed += length * wanted.saturating_sub(given);
        self.false_alarm += length * given.saturating_sub(wanted);
        self.paired += length * wanted.min(given);
    }
}

fn both(span: &TimeSpan, of: Of) -> [(SampleIndex, bool, Of); 2] {
    [(span.start, true, of), (span.end, false, of)]
}

/// Edges of each speaker's speech, whose turns may overlap.
fn edges_of(annotation: &Annotation, of: impl Fn(usize) -> Of) -> Vec<(SampleIndex, bool, Of)> {
    let mut spans = vec![Vec::new(); annotation.speakers.len()];
    for turn in &annotation.turns {
        spans[turn.speaker.0 as usize].push(turn.span);
    }
    let joined = spans.into_iter().map(regions::joined).enumerate();
    joined
        .flat_map(|(speaker, spans)| {
            let of = of(speaker);
            spans.into_iter().flat_map(move |span| both(&span, of))
        })
        .collect()
}

fn enter_or_leave(present: &mut Vec<usize>, speaker: usize, begins: bool) {
    if begins {
        present.push(speaker);
    } else {
        present.retain(|other| *other != speaker);
    }
}
