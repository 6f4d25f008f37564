//! What speakers are called in answers. Pure.
//!
//! Known voices by their names, verbatim; the others by letters in the order of their numbers: A to Z, then AA, AB, …
//! A letter that is the name of a known voice is left out, so that every label means one voice; whether that voice is
//! heard or not, since a stranger called by its name would be taken for it.

use std::collections::BTreeSet;

use crate::transcript::{Speaker, SpeakerId};

/// Whom a text is given to that nobody seems to speak, where a form needs somebody.
const NOBODY: &str = "unknown";

/// The labels of one recording's speakers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    by_number: Vec<String>,
    nobody: String,
}

impl Labels {
    /// One label for each of `speakers`; those without a name get none of `known_names`.
    pub fn new(speakers: &[Speaker], known_names: &[String]) -> Self {
        let names = speakers.iter().filter_map(|speaker| speaker.name.as_ref());
        let names: BTreeSet<&str> = names.chain(known_names).map(String::as_str).collect();
        let is_name = |label: &str| names.contains(label);
        let mut letters = (0..).map(letters).filter(|label| !is_name(label));
        let label = |speaker: &Speaker| speaker.name.clone().or_else(|| letters.next()).unwrap_or_default();
        let by_number = speakers.iter().map(label).collect();
        let mut nobody = NOBODY.to_owned();
        while is_name(&nobody) {
            nobody.push('_');
        }
        Self { by_number, nobody }
    }

    /// What `speaker` is called; `None` for nobody.
    pub fn get(&self, speaker: Option<SpeakerId>) -> Option<&str> {
        self.by_number.get(speaker?.0 as usize).map(String::as_str)
    }

    /// What `speaker` is called, nobody included.
    pub fn get_or_nobody(&self, speaker: Option<SpeakerId>) -> &str {
        self.get(speaker).unwrap_or(&self.nobody)
    }
}

/// The number as columns of a table are lettered: A … Z, AA … AZ, BA …
fn letters(number: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = u64::from(number) + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[Option<&str>]) -> Vec<String> {
        let speaker = |name: &Option<&str>| Speaker { name: name.map(str::to_owned), ..Speaker::default() };
        Labels::new(&names.iter().map(speaker).collect::<Vec<_>>(), &[]).by_number
    }

    #[test]
    fn letters_go_on_after_z() {
        for (number, label) in
            [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")]
        {
            assert_eq!(letters(number), label);
        }
        assert!(!letters(u32::MAX).is_empty());
        let many = labels(&[None; 2_000]);
        assert_eq!(many.iter().collect::<BTreeSet<_>>().len(), 2_000);
    }

    #[test]
    fn the_unknown_start_at_a_beside_known_names() {
        assert_eq!(labels(&[Some("agent"), None, Some("Zoë"), None]), ["agent", "A", "Zoë", "B"]);
    }

    #[test]
    fn no_label_means_two_voices() {
        assert_eq!(labels(&[None, Some("A"), None, Some("C")]), ["B", "A", "D", "C"]);
        let speakers = [Some("unknown"), Some("unknown_")];
        let speakers = speakers.map(|name| Speaker { name: name.map(str::to_owned), ..Speaker::default() });
        let labels = Labels::new(&speakers, &[]);
        assert_eq!(labels.get_or_nobody(None), "unknown__");
        assert_eq!((labels.get(None), labels.get(Some(SpeakerId(9)))), (None, None));
        assert_eq!(Labels::new(&[], &[]).get_or_nobody(None), "unknown");
    }

    #[test]
    fn nobody_is_called_by_the_name_of_a_known_voice_that_is_not_heard() {
        let known = ["A".to_owned(), "C".to_owned(), "unknown".to_owned()];
        let labels = Labels::new(&[Speaker::default(), Speaker::default()], &known);
        assert_eq!(labels.by_number, ["B", "D"]);
        assert_eq!(labels.get_or_nobody(None), "unknown_");
    }
}
