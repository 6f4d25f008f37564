//! Which speakers a recording has, from the voices heard clearly in it. Pure.
//!
//! A tree over the voices gives the first guess, VBx refines it; a count that is known beforehand has the last word.
//! Read next: `clustering`, `vbx`, then `assignment`.

use super::SpeakerLimits;
use super::clustering::{Tree, clusters};
use super::gathering::Heard;
use super::method::{Grouping, Method, Minor};
use super::vbx::{self, Evidence, Shares};
use super::vectors::cosine;
use crate::time::SampleIndex;

/// A bound for noise that sounds new each time, not for conversations.
const MOST_SPEAKERS: usize = 128;
/// Voices this similar to a speaker are no others.
const NOTHING_NEW: f32 = 0.9999;

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
    let voices = heard.iter().map(|heard| heard.weight).sum();
    let grouping = method.grouping().for_length(voices, wanted.step);
    let threshold = wanted.threshold.unwrap_or(grouping.threshold);
    let directions: Vec<&[f32]> = heard.iter().map(|heard| &heard.place.direction[..]).collect();
    let tree = Tree::grow(&directions, grouping.linkage);

    let mut guess = tree.cut_at(threshold);
    if clusters(&guess) > MOST_SPEAKERS {
        guess = tree.cut_into(MOST_SPEAKERS);
    }
    let mut speakers = refined(heard, &guess, method.phi(), &grouping, wanted.step);
    if let Some(minor) = grouping.minor {
        join_minor(&mut speakers, minor);
    }
    let count = allowed(speakers.len(), wanted.limits).min(heard.len());
    while speakers.len() > count {
        join_weakest(&mut speakers);
    }
    split_off(&mut speakers, heard, count);
    speakers.into_iter().map(|speaker| speaker.centroid).collect()
}

/// A speaker of the recording.
struct Speaker {
    centroid: Vec<f32>,
    /// Its share of the voices.
    share: f64,
}

impl Speaker {
    /// The other one's moments are its own.
    fn take_in(&mut self, other: &Speaker) {
        let all = self.share + other.share;
        for (x, y) in self.centroid.iter_mut().zip(&other.centroid) {
            *x = ((f64::from(*x) * self.share + f64::from(*y) * other.share) / all) as f32;
        }
        self.share = all;
    }
}

/// Speakers after VBx: means of the voices, weighted by how much each speaker answers for them.
fn refined(
    heard: &[Heard],
    guess: &[usize],
    phi: &[f64],
    grouping: &Grouping,
    step: SampleIndex,
) -> Vec<Speaker> {
    let evidence = Evidence {
        features: heard.iter().map(|heard| &heard.place.feature[..]).collect(),
        weights: heard.iter().map(|heard| heard.weight as f64).collect(),
        phi,
    };
    let shares = vbx::refine(&evidence, guess, clusters(guess), grouping.strength(step));
    let kept =
        (0..shares.of_speakers.len()).filter(|speaker| shares.of_speakers[*speaker] > grouping.least_share);
    kept.map(|speaker| Speaker {
        centroid: centroid(heard, &shares, speaker),
        share: shares.of_speakers[speaker],
    })
    .collect()
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

/// Joins speakers who are hardly heard with those they sound like: in a long recording somebody's odd moments and
/// stretches of two voices are many enough to stand by themselves. The most alike go first.
fn join_minor(speakers: &mut Vec<Speaker>, minor: Minor) {
    while let Some((gone, into)) = nearest_to_minor(speakers, minor) {
        let gone = std::mem::replace(&mut speakers[gone], Speaker { centroid: Vec::new(), share: 0.0 });
        speakers[into].take_in(&gone);
        speakers.retain(|speaker| !speaker.centroid.is_empty());
    }
}

/// Who is hardly heard, and whom they sound like most; the most alike of all.
fn nearest_to_minor(speakers: &[Speaker], minor: Minor) -> Option<(usize, usize)> {
    let share = minor.share / speakers.len() as f64;
    let mut best = None;
    for (one, speaker) in speakers.iter().enumerate().filter(|(_, speaker)| speaker.share < share) {
        for (other, larger) in speakers.iter().enumerate() {
            let alike = cosine(&speaker.centroid, &larger.centroid);
            let best_yet = best.map_or(minor.likeness, |(_, alike)| alike);
            if one != other && larger.share >= speaker.share && alike > best_yet {
                best = Some(((one, other), alike));
            }
        }
    }
    best.map(|(pair, _)| pair)
}

/// Joins the speaker who is heard least with the one that sounds most like it: a count that is too high is mostly so by
/// somebody's odd moments. There must be two.
fn join_weakest(speakers: &mut Vec<Speaker>) {
    let least = |a: &usize, b: &usize| speakers[*a].share.total_cmp(&speakers[*b].share);
    let weakest = (0..speakers.len()).min_by(least).expect("there are speakers");
    let gone = speakers.swap_remove(weakest);
    let alike = |speaker: &Speaker| cosine(&speaker.centroid, &gone.centroid);
    let into =
        speakers.iter_mut().max_by(|a, b| alike(a).total_cmp(&alike(b))).expect("there are two speakers");
    into.take_in(&gone);
}

/// Makes the voice that sounds least like any speaker a speaker, until there are `count` or no voice sounds new. That
/// takes little from those who are there; cutting the tree lower would halve whoever speaks most.
fn split_off(speakers: &mut Vec<Speaker>, heard: &[Heard], count: usize) {
    let to = |heard: &Heard, speaker: &Speaker| cosine(&speaker.centroid, &heard.place.at);
    let mut likeness: Vec<f32> = heard
        .iter()
        .map(|heard| speakers.iter().map(|speaker| to(heard, speaker)).fold(-1.0, f32::max))
        .collect();
    while speakers.len() < count {
        let least = (0..heard.len()).min_by(|a, b| likeness[*a].total_cmp(&likeness[*b]));
        let Some(strangest) = least.filter(|strangest| likeness[*strangest] < NOTHING_NEW) else { return };
        let speaker = Speaker { centroid: heard[strangest].place.at.clone(), share: 0.0 };
        for (likeness, heard) in likeness.iter_mut().zip(heard) {
            *likeness = likeness.max(to(heard, &speaker));
        }
        speakers.push(speaker);
    }
}

/// The count nearest to the one found that the limits allow.
fn allowed(found: usize, limits: SpeakerLimits) -> usize {
    found.max(limits.min.unwrap_or(1)).min(limits.max.unwrap_or(MOST_SPEAKERS)).clamp(1, MOST_SPEAKERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::method::tests::plain;

    /// Voices around axes of four dimensions, a little different each time.
    fn heard(axes: &[usize]) -> Vec<Heard> {
        let voice = |(i, axis): (usize, &usize)| {
            let mut vector: Vec<f32> = (0..4).map(|d| 0.1 * ((i * 37 + d * 11) as f32).sin()).collect();
            vector[*axis] += 1.0;
            Heard { place: plain().place(&vector).unwrap(), weight: 1 }
        };
        axes.iter().enumerate().map(voice).collect()
    }

    fn found(heard: &[Heard], limits: SpeakerLimits) -> usize {
        find(heard, &plain(), &Wanted { step: 40_000, threshold: None, limits }).len()
    }

    #[test]
    fn as_many_speakers_as_sound_different() {
        assert_eq!(found(&heard(&[0, 1, 0, 1, 2, 2, 0, 1, 2]), SpeakerLimits::default()), 3);
        assert_eq!(found(&heard(&[3; 20]), SpeakerLimits::default()), 1);
    }

    #[test]
    fn the_limits_have_the_last_word() {
        let heard = heard(&[0, 1, 0, 1, 2, 2, 0, 1, 2]);
        for count in 1..=9 {
            assert_eq!(found(&heard, SpeakerLimits::exactly(count)), count);
        }
        assert_eq!(found(&heard, SpeakerLimits { min: Some(2), max: Some(5) }), 3);
        assert_eq!(found(&heard, SpeakerLimits { min: None, max: Some(2) }), 2);
        assert_eq!(found(&heard, SpeakerLimits { min: Some(4), max: None }), 4);
    }

    #[test]
    fn there_are_no_more_speakers_than_voices() {
        assert_eq!(found(&[], SpeakerLimits::exactly(3)), 0);
        assert_eq!(found(&heard(&[0]), SpeakerLimits::exactly(3)), 1);
        assert_eq!(found(&heard(&[0, 1]), SpeakerLimits::exactly(3)), 2);
        let equal = vec![heard(&[0]).remove(0); 30];
        assert_eq!(found(&equal, SpeakerLimits::exactly(5)), 1, "equal voices cannot be told apart");
    }

    #[test]
    fn who_is_hardly_heard_is_joined_with_whom_they_sound_like_and_stays_otherwise() {
        let speaker = |centroid: [f32; 2], share| Speaker { centroid: centroid.to_vec(), share };
        let minor = Minor { share: 0.25, likeness: 0.5 };
        let joined = |mut speakers: Vec<Speaker>| {
            join_minor(&mut speakers, minor);
            speakers.into_iter().map(|speaker| speaker.share).collect::<Vec<_>>()
        };
        let both = [speaker([1.0, 0.0], 0.5), speaker([0.0, 1.0], 0.46)];
        let [one, other] = both;
        assert_eq!(
            joined(vec![one, speaker([0.9, 0.2], 0.03), speaker([0.8, 0.1], 0.01), other]),
            [0.54, 0.46]
        );
        let far = vec![speaker([1.0, 0.0], 0.95), speaker([-0.5, 1.0], 0.05)];
        assert_eq!(joined(far), [0.95, 0.05], "somebody who says little");
        let alike = vec![speaker([1.0, 0.0], 0.5), speaker([0.9, 0.1], 0.5)];
        assert_eq!(joined(alike), [0.5, 0.5], "both are heard a lot");
    }

    #[test]
    fn whoever_is_heard_least_is_joined_with_whom_they_sound_like() {
        let speaker = |centroid: [f32; 2], share| Speaker { centroid: centroid.to_vec(), share };
        let mut speakers = vec![speaker([1.0, 0.0], 0.6), speaker([0.0, 1.0], 0.3), speaker([0.2, 1.0], 0.1)];
        join_weakest(&mut speakers);
        assert_eq!(speakers.len(), 2);
        assert!((speakers[1].share - 0.4).abs() < 1e-9 && (speakers[1].centroid[0] - 0.05).abs() < 1e-6);
    }
}
