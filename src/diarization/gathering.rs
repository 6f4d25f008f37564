//! The voices heard clearly in a recording, in a number that can be compared with each other. Pure.
//!
//! Read next: `speakers`, which finds out whose they are.

use super::clustering::{Linkage, Tree, clusters, means};
use super::method::{Method, Place};

/// How many voices may be compared with each other at once, since that takes memory and time by the square.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Up to so many are kept as they are.
    pub most: usize,
    /// More are first joined among so many that were heard one after the other.
    pub block: usize,
}

impl Default for Bound {
    /// 2 500 voices are about 70 minutes at a step of 2.5 s and half an hour at 1 s; their distances take 12 MB.
    fn default() -> Self {
        Self { most: 2_500, block: 2_000 }
    }
}

/// A voice as it was heard, or the mean of several that are nearly the same.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// How it is compared.
    pub place: Place,
    /// How many it stands for.
    pub weight: usize,
}

/// The places of `voices`, `count` vectors of the encoder in the order of the recording. Beyond `bound` the nearest
/// ones of each block become one, as the first merges of a tree over all would make them.
pub(super) fn gather(
    voices: impl Iterator<Item = Vec<f32>>,
    count: usize,
    method: &Method,
    bound: Bound,
) -> Vec<Heard> {
    let mut heard = voices.filter_map(|voice| Some(Heard { place: method.place(&voice)?, weight: 1 }));
    if count <= bound.most {
        return heard.collect();
    }
    let mut joined = Vec::new();
    loop {
        let block: Vec<Heard> = heard.by_ref().take(bound.block).collect();
        if block.is_empty() {
            return joined;
        }
        let most = (block.len() * bound.most / count).max(1);
        joined.extend(join(&block, most, method.grouping().linkage));
    }
}

/// The voices joined to `most`.
fn join(heard: &[Heard], most: usize, linkage: Linkage) -> Vec<Heard> {
    let weights: Vec<usize> = heard.iter().map(|heard| heard.weight).collect();
    let directions: Vec<&[f32]> = heard.iter().map(|heard| &heard.place.direction[..]).collect();
    let labels = Tree::grow(&directions, linkage).cut_into(most);
    let at: Vec<&[f32]> = heard.iter().map(|heard| &heard.place.at[..]).collect();
    let mut joined: Vec<Heard> =
        std::iter::zip(means(&at, &weights, &labels), means(&directions, &weights, &labels))
            .map(|(at, direction)| {
                let feature = vec![0.0; heard[0].place.feature.len()];
                Heard { place: Place { at, direction, feature }, weight: 0 }
            })
            .collect();
    debug_assert_eq!(joined.len(), clusters(&labels));
    for (heard, label) in heard.iter().zip(&labels) {
        let whole = &mut joined[*label];
        whole.weight += heard.weight;
        for (sum, x) in whole.place.feature.iter_mut().zip(&heard.place.feature) {
            *sum += heard.weight as f64 * x;
        }
    }
    for whole in &mut joined {
        let weight = whole.weight as f64;
        whole.place.feature.iter_mut().for_each(|x| *x /= weight);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::method::tests::plain;

    /// `count` vectors, by turns around the first four axes.
    fn voices(count: usize) -> impl Iterator<Item = Vec<f32>> {
        (0..count).map(|i| {
            let mut vector: Vec<f32> =
                (0..4).map(|axis| 0.05 * ((i * 31 + axis * 17) as f32).sin()).collect();
            vector[i % 4] += 1.0;
            vector
        })
    }

    #[test]
    fn few_are_kept_as_they_are_and_what_has_no_place_is_left_out() {
        let heard = gather(voices(10).chain([vec![0.0; 4]]), 11, &plain(), Bound::default());
        assert_eq!(heard.len(), 10);
        assert!(heard.iter().all(|heard| heard.weight == 1));
    }

    #[test]
    fn many_are_joined_within_the_bound_and_none_is_lost() {
        let heard = gather(voices(1_000), 1_000, &plain(), Bound { most: 100, block: 60 });
        assert!(heard.len() <= 100 && heard.len() > 60, "{}", heard.len());
        assert_eq!(heard.iter().map(|heard| heard.weight).sum::<usize>(), 1_000);
        for heard in heard {
            let largest = heard.place.at.iter().fold(0.0f32, |largest, x| largest.max(*x));
            assert!(largest > 0.95, "voices of different axes were joined: {:?}", heard.place.at);
        }
    }
}
