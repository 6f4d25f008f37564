//! How many words were given to the wrong speaker. Pure.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// Furthest that the middle of a word may be from the same word in the truth, in seconds.
const REACH_S: f64 = 0.6;

/// One word and who speaks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    pub text: String,
    /// Seconds.
    pub start: f64,
    pub end: f64,
    /// Any label; `None` where nobody seems to speak.
    pub speaker: Option<String>,
}

/// What became of the words of the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attribution {
    pub spoken: usize,
    /// Of those, heard right and at their time.
    pub heard: usize,
    /// Of those, given to another speaker or to none.
    pub misattributed: usize,
}

impl Attribution {
    /// Words given to the wrong speaker over words heard right, in percent.
    pub fn error(&self) -> f64 {
        100.0 * self.misattributed as f64 / self.heard.max(1) as f64
    }

    /// Words heard right over words spoken, in percent.
    pub fn heard_share(&self) -> f64 {
        100.0 * self.heard as f64 / self.spoken.max(1) as f64
    }
}

impl std::ops::AddAssign for Attribution {
    fn add_assign(&mut self, other: Self) {
        self.spoken += other.spoken;
        self.heard += other.heard;
        self.misattributed += other.misattributed;
    }
}

/// Pairs words by text and time, then labels by the words they share, and counts what does not fit.
pub fn attribution(truth: &[Spoken], heard: &[Spoken]) -> Attribution {
    let pairs = pairs(truth, heard);
    let names = labels(truth);
    let found = labels(heard);
    let mut together = vec![vec![0_i64; found.len().max(names.len())]; names.len()];
    let place = |list: &[String], speaker: &Option<String>| {
        speaker.as_ref().and_then(|speaker| list.iter().position(|label| label == speaker))
    };
    for (one, other) in &pairs {
        if let (Some(row), Some(column)) =
            (place(&names, &truth[*one].speaker), place(&found, &heard[*other].speaker))
        {
            together[row][column] += 1;
        }
    }
    let right = if names.is_empty() {
        0
    } else {
        kuhn_munkres(&Matrix::from_rows(together).expect("rows are equally long")).0 as usize
    };
    Attribution { spoken: truth.len(), heard: pairs.len(), misattributed: pairs.len() - right }
}

fn labels(words: &[Spoken]) -> Vec<String> {
    let mut labels: Vec<_> = words.iter().filter_map(|word| word.speaker.clone()).collect();
    labels.sort();
    labels.dedup();
    labels
}

/// (word of the truth, word heard): the same letters, the nearest first, each at most once. Order does not matter, since
/// sentences that overlap are heard one after the other.
fn pairs(truth: &[Spoken], heard: &[Spoken]) -> Vec<(usize, usize)> {
    let middle = |word: &Spoken| (word.start + word.end) / 2.0;
    let mut candidates = Vec::new();
    for (one, spoken) in truth.iter().enumerate() {
        for (other, word) in heard.iter().enumerate() {
            let apart = (middle(spoken) - middle(word)).abs();
            if apart <= REACH_S && letters(&spoken.text) == letters(&word.text) {
                candidates.push((apart, one, other));
            }
        }
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut taken, mut used) = (vec![false; truth.len()], vec![false; heard.len()]);
    candidates
        .into_iter()
        .filter(|(_, one, other)| {
            !taken[*one] && !used[*other] && {
                (taken[*one], used[*other]) = (true, true);
                true
            }
        })
        .map(|(_, one, other)| (one, other))
        .collect()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of one letter each, a second long, from second to second.
    fn words(text: &str, speakers: &str) -> Vec<Spoken> {
        let word = |(second, (text, speaker)): (i32, (char, char))| Spoken {
            text: format!(" {text},"),
            start: f64::from(second),
            end: f64::from(second + 1),
            speaker: (speaker != '-').then(|| speaker.to_string()),
        };
        (0..).zip(text.chars().zip(speakers.chars())).map(word).collect()
    }

    #[test]
    fn labels_may_be_any_as_long_as_they_are_consistent() {
        let result = attribution(&words("abcdef", "112212"), &words("ABCDEF", "yyxxyx"));
        assert_eq!(result, Attribution { spoken: 6, heard: 6, misattributed: 0 });
    }

    #[test]
    fn a_word_of_another_speaker_or_of_none_counts() {
        let result = attribution(&words("abcdef", "111222"), &words("abcdef", "AABB-B"));
        assert_eq!(result, Attribution { spoken: 6, heard: 6, misattributed: 2 });
        assert_eq!(attribution(&words("ab", "12"), &words("ab", "AA")).misattributed, 1);
        // Two labels for one speaker: only one of them can be right.
        assert_eq!(attribution(&words("abc", "111"), &words("abc", "AAB")).misattributed, 1);
    }

    #[test]
    fn words_that_were_heard_wrongly_or_elsewhere_do_not_count() {
        let mut heard = words("axcd", "AAAA");
        heard[3].start += 5.0;
        heard[3].end += 5.0;
        let result = attribution(&words("abcd", "1111"), &heard);
        assert_eq!(result, Attribution { spoken: 4, heard: 2, misattributed: 0 });
    }

    #[test]
    fn a_word_said_twice_is_paired_with_the_nearer_one() {
        let mut heard = words("aa", "AB");
        heard.reverse();
        assert_eq!(attribution(&words("aa", "12"), &heard).misattributed, 0);
    }

    #[test]
    fn nothing_said_or_heard_is_no_error() {
        assert_eq!(attribution(&[], &words("ab", "AB")), Attribution::default());
        assert_eq!(attribution(&words("ab", "12"), &[]).error(), 0.0);
    }
}
