//! Which speakers a recording has, from the voices heard clearly in it. Pure.
//!
//! A tree over the voices gives the first guess, VBx refines it; a count that is known beforehand has the last word.
//! Read next: `clustering`, `vbx`, then `assignment`.

use super::SpeakerLimits;
use super::clustering::{Tree, absorb_small, clusters, means};
use super::gathering::Heard;
use super::method::Method;
use super::vbx::{self, Evidence, Shares};
use crate::time::SampleIndex;

/// A bound for noise that sounds new each time, not for conversations.
const MOST_SPEAKERS: usize = 128;
/// Where the tree counts speakers, smaller clusters are outliers.
const SMALLEST_SPEAKER: usize = 2;

/// What is asked for beside the method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// From one window to the next.
    pub step: SampleIndex,
    /// Distance at which the tree is cut, if not the method's own.
    pub threshold: Option<f32>,
    /// How many speakers there are.
    pub limits: SpeakerLimits,
}

/// Centroids of the speakers of `heard`, in the method's space: none where nothing was heard, and no more than there
/// are voices.
pub(super) fn find(heard: &[Heard], method: &Method, wanted: &Wanted) -> Vec<Vec<f32>> {
    if heard.len() < 2 {
        return heard.iter().map(|heard| heard.place.at.clone()).collect();
    }
    let threshold = wanted.threshold.unwrap_or(method.grouping().threshold);
    let weights: Vec<usize> = heard.iter().map(|heard| heard.weight).collect();
    let directions: Vec<&[f32]> = heard.iter().map(|heard| &heard.place.direction[..]).collect();
    let tree = Tree::grow(&directions, weights.clone(), method.grouping().linkage);

    let mut guess = tree.cut_at(threshold);
    if clusters(&guess) > MOST_SPEAKERS {
        guess = tree.cut_into(MOST_SPEAKERS);
    }
    let centroids = refined(heard, &guess, method, wanted.step);
    let count = clamped(centroids.len(), wanted.limits);
    if count == centroids.len() {
        return centroids;
    }
    let labels = counted(&tree, threshold, count, weights.iter().sum());
    let labels = absorb_small(&directions, &weights, &labels, smallest(weights.iter().sum()));
    let at: Vec<&[f32]> = heard.iter().map(|heard| &heard.place.at[..]).collect();
    means(&at, &weights, &labels)
}

/// Centroids after VBx: means of the voices, weighted by how much each speaker answers for them.
fn refined(heard: &[Heard], guess: &[usize], method: &Method, step: SampleIndex) -> Vec<Vec<f32>> {
    let evidence = Evidence {
        features: heard.iter().map(|heard| &heard.place.feature[..]).collect(),
        weights: heard.iter().map(|heard| heard.weight as f64).collect(),
        phi: method.phi(),
    };
    let grouping = method.grouping();
    let shares = vbx::refine(&evidence, guess, clusters(guess), grouping.strength(step));
    let kept =
        (0..shares.of_speakers.len()).filter(|speaker| shares.of_speakers[*speaker] > grouping.least_share);
    kept.map(|speaker| centroid(heard, &shares, speaker)).collect()
}

fn centroid(heard: &[Heard], shares: &Shares, speaker: usize) -> Vec<f32> {
    let rows = shares.of_features.chunks_exact(shares.of_speakers.len());
    let mut sum = vec![0.0f64; heard[0].place.at.len()];
    let mut all = 0.0;
    for (heard, row) in heard.iter().zip(rows) {
        let share = row[speaker] * heard.weight as f64;
        all += share;
        sum.iter_mut().zip(&heard.place.at).for_each(|(sum, x)| *sum += share * f64::from(*x));
    }
    sum.into_iter().map(|x| (x / all) as f32).collect()
}

fn clamped(count: usize, limits: SpeakerLimits) -> usize {
    count.max(limits.min.unwrap_or(1)).min(limits.max.unwrap_or(usize::MAX)).max(1)
}

fn smallest(voices: usize) -> usize {
    SMALLEST_SPEAKER.min((voices as f64 * 0.1).round() as usize).max(1)
}

/// Labels of a cut with `count` clusters that are no outliers, or with any clusters where that gives too few.
fn counted(tree: &Tree, threshold: f32, count: usize, voices: usize) -> Vec<usize> {
    tree.cut_near(threshold, count, smallest(voices))
}
