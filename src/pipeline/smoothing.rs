//! Sentences that are not torn by a word or two. Pure.
//!
//! Word times and turns are both a little off, so the last word of a sentence may fall into the turn of whoever speaks
//! next. People rarely finish each other's sentences; so a word or two at an edge of a sentence, or inside it, go to
//! whoever speaks the rest around them. The idea is that of MahmoudAshraf97/whisper-diarization (its realignment by
//! punctuation), which gives a whole sentence to its majority; here only short runs change hands, so that a
//! recogniser that puts two speakers into one sentence does not cost one of them half a line.

use crate::time::{SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::SpeakerId;

/// Most words that change hands together.
const SHORT_RUN: usize = 2;

/// Words that whoever takes them must have beside them, for each of theirs; and one more.
const LONGER_BY: usize = 2;

/// A sentence of more words is none: the recogniser has left the marks out.
const MAX_SENTENCE: usize = 50;

/// A pause that ends a sentence as a mark does.
const PAUSE: SampleIndex = ms_to_samples(1_000);

/// Marks that end a sentence, in the scripts that Whisper writes.
const ENDS: &str = ".!?…。！？｡।॥؟۔";

/// Marks that may follow them.
const CLOSES: &str = "\"'”’»›)]}」』）》〉】";

/// One word, or a passage of which no words are known.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// With its marks.
    pub text: &'a str,
    /// When.
    pub span: TimeSpan,
    /// Who; `None`: nobody seems to.
    pub speaker: Option<SpeakerId>,
}

/// Whether a sentence ends with this word.
pub fn ends_sentence(word: &str) -> bool {
    word.trim_end().trim_end_matches(|c| CLOSES.contains(c)).ends_with(|c| ENDS.contains(c))
}

/// Gives short runs inside a sentence to whoever speaks the rest beside them.
///
/// Only sentences with a mark at their end count: where there is none, nobody knows what belongs together.
pub fn smooth(words: &mut [Spoken<'_>]) {
    let mut rest = words;
    while !rest.is_empty() {
        let (length, is_whole) = sentence(rest);
        let (sentence, after) = rest.split_at_mut(length);
        if is_whole && length <= MAX_SENTENCE {
            mend(sentence);
        }
        rest = after;
    }
}

/// Words up to the end of the first sentence, and whether a mark ends it.
fn sentence(words: &[Spoken<'_>]) -> (usize, bool) {
    for (index, word) in words.iter().enumerate() {
        if ends_sentence(word.text) {
            return (index + 1, true);
        }
        let next = words.get(index + 1);
        if next.is_none_or(|next| next.span.start.saturating_sub(word.span.end) >= PAUSE) {
            return (index + 1, false);
        }
    }
    (words.len(), false)
}

/// Moves the shortest run that has a neighbour long enough, until there is none. Each move makes one run less.
fn mend(words: &mut [Spoken<'_>]) {
    loop {
        let runs: Vec<(Option<SpeakerId>, usize)> = words
            .chunk_by(|one, next| one.speaker == next.speaker)
            .map(|run| (run[0].speaker, run.len()))
            .collect();
        let Some((index, taker)) = next_move(&runs) else { return };
        let start: usize = runs[..index].iter().map(|(_, length)| length).sum();
        words[start..start + runs[index].1].iter_mut().for_each(|word| word.speaker = taker);
    }
}

/// The run to move, and to whom.
fn next_move(runs: &[(Option<SpeakerId>, usize)]) -> Option<(usize, Option<SpeakerId>)> {
    let mut short: Vec<usize> = (0..runs.len()).filter(|index| runs[*index].1 <= SHORT_RUN).collect();
    short.sort_by_key(|index| runs[*index].1);
    short.into_iter().find_map(|index| {
        let before = index.checked_sub(1).and_then(|index| runs.get(index));
        let beside = before.into_iter().chain(runs.get(index + 1));
        let takes = |run: &&(Option<SpeakerId>, usize)| run.0.is_some() && run.1 > LONGER_BY * runs[index].1;
        let taker = beside.filter(takes).max_by_key(|(_, length)| *length)?;
        Some((index, taker.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words that follow each other at once; each letter says who speaks, `-` nobody.
    fn smoothed(text: &str, speakers: &str) -> String {
        let words = text.split_inclusive(' ').zip(speakers.chars()).zip(0_u64..);
        let mut words: Vec<Spoken<'_>> = words
            .map(|((text, who), index)| Spoken {
                text,
                span: TimeSpan::new(index * 4_000, (index + 1) * 4_000),
                speaker: (who != '-').then(|| SpeakerId(u32::from(who))),
            })
            .collect();
        assert_eq!(words.len(), speakers.len(), "{text}");
        smooth(&mut words);
        letters(&words)
    }

    fn letters(words: &[Spoken<'_>]) -> String {
        let letter = |word: &Spoken<'_>| word.speaker.map_or('-', |who| char::from_u32(who.0).unwrap());
        words.iter().map(letter).collect()
    }

    #[test]
    fn a_word_or_two_at_the_edge_of_a_sentence_belong_to_it() {
        assert_eq!(smoothed("we meet at nine. you too are there. ", "AAABBBBB"), "AAAABBBB");
        assert_eq!(smoothed("we meet at the old station. yes. ", "BAAAAAB"), "AAAAAAB");
        assert_eq!(smoothed("we all meet at the old big station. ", "AAAAAABB"), "AAAAAAAA");
    }

    #[test]
    fn a_word_inside_a_sentence_does_not_tear_it() {
        assert_eq!(smoothed("we all meet yeah at nine. ", "AAABAA"), "AAAAAA");
        assert_eq!(smoothed("we all meet now at nine. ", "AAA-AA"), "AAAAAA");
    }

    #[test]
    fn a_sentence_of_one_word_stays_with_whoever_says_it() {
        assert_eq!(smoothed("we meet at nine. yes. and then we eat. ", "AAAABAAAA"), "AAAABAAAA");
        assert_eq!(smoothed("we meet at nine. (yes!) and then we eat. ", "AAAABAAAA"), "AAAABAAAA");
    }

    #[test]
    fn what_is_no_small_part_stays() {
        assert_eq!(smoothed("we meet at nine so we do. ", "AAAABBB"), "AAAABBB");
        assert_eq!(smoothed("right we do. ", "ABB"), "ABB");
        // Nobody takes nothing.
        assert_eq!(smoothed("we meet at the station. ", "----A"), "----A");
    }

    #[test]
    fn without_a_mark_nothing_is_known_of_sentences() {
        assert_eq!(smoothed("we meet at nine yes and then we eat ", "AAAABAAAA"), "AAAABAAAA");
        let long = format!("{}end. ", "word ".repeat(60));
        let speakers = format!("{}B", "A".repeat(60));
        assert_eq!(smoothed(&long, &speakers), speakers);
    }

    #[test]
    fn a_pause_ends_a_sentence() {
        let span = |start, end| TimeSpan::new(ms_to_samples(start), ms_to_samples(end));
        let who = |letter| Some(SpeakerId(u32::from(letter)));
        let mut words: Vec<Spoken<'_>> = (0..4)
            .map(|index| Spoken {
                text: " so",
                span: span(index * 200, index * 200 + 200),
                speaker: who('A'),
            })
            .collect();
        words.push(Spoken { text: " well.", span: span(2_000, 2_200), speaker: who('B') });
        smooth(&mut words);
        assert_eq!(letters(&words), "AAAAB");
    }

    #[test]
    fn sentences_end_in_every_script() {
        for word in [" Yes.", " no!", "吗？", "です。", " है।", " \"So?\"", " (ok.)", " well…"] {
            assert!(ends_sentence(word), "{word}");
        }
        for word in ["", " Yes", " no,", " 3.5", " (ok)"] {
            assert!(!ends_sentence(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_made_up_and_long_runs_stay(
            text in "([a-c]{1,3}[.,]? ){1,30}", picks in prop::collection::vec(0_usize..4, 30),
        ) {
            let speakers: String =
                text.split_inclusive(' ').zip(picks).map(|(_, pick)| ['A', 'B', 'C', '-'][pick]).collect();
            let after = smoothed(&text, &speakers);
            prop_assert_eq!(after.len(), speakers.len());
            for letter in after.chars() {
                prop_assert!(speakers.contains(letter));
            }
            prop_assert_eq!(smoothed(&text, &after), after.clone(), "twice is as once");
        }
    }
}
