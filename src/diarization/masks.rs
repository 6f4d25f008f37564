//! In which frames of a window a local speaker can be heard by itself. Pure.

use super::activity::{Activity, SpeakerSet, members};

/// The frames that the voice of local speaker `speaker` is taken from: those in which nobody else speaks, if there are
/// more than `at_least`; otherwise all in which it speaks.
pub fn voice_mask(activity: &Activity, speaker: usize, at_least: usize) -> Vec<bool> {
    let alone: SpeakerSet = 1 << speaker;
    let is_clean = activity.clean_frames()[speaker] > at_least;
    activity.frames().map(|set| if is_clean { set == alone } else { set & alone != 0 }).collect()
}

/// The local speaker that speaks alone in the most frames, and in how many; the first of equals. `None` where nobody
/// speaks alone.
pub fn clearest_speaker(activity: &Activity) -> Option<(usize, usize)> {
    let counts = activity.clean_frames().into_iter().enumerate();
    counts.filter(|(_, frames)| *frames > 0).rev().max_by_key(|(_, frames)| *frames)
}

/// The local speakers that speak at all.
pub fn speakers(activity: &Activity) -> impl Iterator<Item = usize> {
    members(activity.runs().fold(0, |all, (_, set)| all | set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_taken_from_where_nobody_else_speaks() {
        let activity = Activity::of(&[0b001, 0b001, 0b011, 0b010, 0b000]);
        assert_eq!(voice_mask(&activity, 0, 1), [true, true, false, false, false]);
        assert_eq!(voice_mask(&activity, 1, 0), [false, false, false, true, false]);
    }

    #[test]
    fn with_too_little_of_that_all_of_it_is_taken() {
        let activity = Activity::of(&[0b001, 0b001, 0b011, 0b010, 0b000]);
        assert_eq!(voice_mask(&activity, 1, 1), [false, false, true, true, false]);
        assert_eq!(voice_mask(&activity, 2, 0), [false; 5]);
    }

    #[test]
    fn the_clearest_speaker_is_the_one_alone_for_longest() {
        assert_eq!(clearest_speaker(&Activity::of(&[0b001, 0b010, 0b010, 0b111])), Some((1, 2)));
        assert_eq!(clearest_speaker(&Activity::of(&[0b100, 0b010])), Some((1, 1)));
        assert_eq!(clearest_speaker(&Activity::of(&[0b000, 0b011])), None);
        assert_eq!(clearest_speaker(&Activity::default()), None);
    }

    #[test]
    fn speakers_are_those_with_any_frame() {
        let all: Vec<_> = speakers(&Activity::of(&[0b101, 0b000])).collect();
        assert_eq!(all, [0, 2]);
    }
}
