//! Classes of the segmentation network to sets of speakers. Pure.
//!
//! The network does not say of each speaker whether it is active, but which set of at most two of the three is:
//! seven classes, of which exactly one holds in each frame (Plaquet & Bredin 2023, "Powerset multi-class cross
//! entropy loss for neural speaker diarization").

use super::activity::{Activity, SpeakerSet};

/// The set that each class stands for, in the network's order: nobody, one, two.
const CLASSES: [SpeakerSet; 7] = [0b000, 0b001, 0b010, 0b100, 0b011, 0b101, 0b110];

/// How many classes there are.
pub const CLASS_COUNT: usize = CLASSES.len();

/// The activity of a window. `scores` has the shape (frames, `CLASS_COUNT`), log probabilities or anything that
/// rises with them; the first of equal classes counts, as with pyannote.audio, and a class that is no number never
/// does.
pub fn activity(scores: &[f32]) -> Activity {
    let frames: Vec<SpeakerSet> = scores.as_chunks::<CLASS_COUNT>().0.iter().map(likeliest).collect();
    Activity::of(&frames)
}

fn likeliest(scores: &[f32; CLASS_COUNT]) -> SpeakerSet {
    let mut best = (f32::NEG_INFINITY, CLASSES[0]);
    for (score, set) in scores.iter().zip(CLASSES) {
        if *score > best.0 {
            best = (*score, set);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(class: usize) -> [f32; CLASS_COUNT] {
        std::array::from_fn(|index| if index == class { -0.1 } else { -3.0 })
    }

    #[test]
    fn each_class_is_another_set_of_at_most_two_speakers() {
        let mut sets = CLASSES.to_vec();
        sets.sort_unstable();
        sets.dedup();
        assert_eq!(sets.len(), 7);
        assert!(sets.iter().all(|set| set.count_ones() <= 2 && *set < 8));
    }

    #[test]
    fn the_likeliest_class_counts_and_the_first_of_equals() {
        let scores = [frame(0), frame(3), frame(6), [0.0; CLASS_COUNT]].concat();
        let sets: Vec<_> = activity(&scores).frames().collect();
        assert_eq!(sets, [0b000, 0b100, 0b110, 0b000]);
    }

    #[test]
    fn what_is_no_number_is_nobody() {
        let sets: Vec<_> = activity(&[f32::NAN; CLASS_COUNT]).frames().collect();
        assert_eq!(sets, [0]);
    }
}
