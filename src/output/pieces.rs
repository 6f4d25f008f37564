//! Text that comes in pieces, trimmed as if it had come at once. Pure.
//!
//! A stream shows each segment when it is finished, yet the whole must equal `Transcript::text`: without
//! white space at either end. `Trimmer` therefore drops leading space and holds trailing space back until more
//! text follows. The same rule trims the tokens of an answer, so that they spell exactly its text.

use crate::transcript::{Segment, Token};

/// A bit of text with the logarithm of its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// For example `" Hello"`; never empty in what `Trimmer` gives.
    pub text: String,
    /// Natural logarithm, at most 0.
    pub logprob: f32,
}

/// Drops white space at the start of a stream of pieces and holds it back at the end.
#[derive(Clone, Debug, Default)]
pub struct Trimmer {
    started: bool,
    held: String,
}

impl Trimmer {
    /// The next pieces, as they may be shown now. Joined over all calls they equal the trimmed joined input.
    pub fn push(&mut self, pieces: impl IntoIterator<Item = Piece>) -> Vec<Piece> {
        pieces.into_iter().filter_map(|piece| self.trim(piece)).collect()
    }

    /// The next text, as it may be shown now; may be empty.
    pub fn push_text(&mut self, text: &str) -> String {
        self.trim(Piece { text: text.to_owned(), logprob: 0.0 }).map(|piece| piece.text).unwrap_or_default()
    }

    fn trim(&mut self, piece: Piece) -> Option<Piece> {
        let text = if self.started { piece.text.as_str() } else { piece.text.trim_start() };
        let shown = text.trim_end();
        if shown.is_empty() {
            if self.started {
                self.held.push_str(text);
            }
            return None;
        }
        self.started = true;
        let tail = text[shown.len()..].to_owned();
        let text = std::mem::replace(&mut self.held, tail) + shown;
        Some(Piece { text, logprob: piece.logprob })
    }
}

/// The tokens of `segment` as pieces that spell exactly its text.
///
/// Tokens that end inside a character are joined with those that complete it, as their joint probability.
/// Where a segment's tokens do not spell its text (it was cut at a seam), its words stand in for them, and
/// where those do not either, the text is one piece.
pub fn segment_pieces(segment: &Segment) -> Vec<Piece> {
    let spells = |pieces: &[Piece]| {
        let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        joined == segment.text
    };
    let tokens = token_pieces(&segment.tokens);
    if spells(&tokens) {
        return tokens;
    }
    let words: Vec<Piece> = segment
        .words
        .iter()
        .map(|word| Piece {
            text: word.text.clone(),
            logprob: word.probability.clamp(f32::MIN_POSITIVE, 1.0).ln(),
        })
        .collect();
    if spells(&words) {
        return words;
    }
    vec![Piece { text: segment.text.clone(), logprob: segment.avg_logprob }]
}

fn token_pieces(tokens: &[Token]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut bytes, mut logprob) = (Vec::new(), 0.0);
    for token in tokens.iter().filter(|token| !token.bytes.is_empty()) {
        bytes.extend_from_slice(&token.bytes);
        logprob += token.logprob;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            pieces.push(Piece { text: text.to_owned(), logprob });
            (bytes, logprob) = (Vec::new(), 0.0);
        }
    }
    if !bytes.is_empty() {
        pieces.push(Piece { text: String::from_utf8_lossy(&bytes).into_owned(), logprob });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::samples::segment;
    use super::*;

    fn joined(pieces: &[Piece]) -> String {
        pieces.iter().map(|piece| piece.text.as_str()).collect()
    }

    #[test]
    fn trimmed_pieces_join_to_the_trimmed_whole() {
        for parts in [
            vec![" Hello", " world. ", " ", " Bye. "],
            vec!["  ", "", " a", "\n", "b "],
            vec![],
            vec![" ", " "],
            vec!["東", "京 ", " 🎉"],
        ] {
            let mut trimmer = Trimmer::default();
            let shown: String = parts.iter().map(|part| trimmer.push_text(part)).collect();
            assert_eq!(shown, parts.concat().trim(), "{parts:?}");
        }
    }

    #[test]
    fn tokens_that_split_a_character_are_joined_as_one_piece() {
        let mut cut = segment(0.0, 1.0, " 京");
        let bytes = " 京".as_bytes();
        cut.tokens = vec![
            Token { id: 1, bytes: bytes[..2].to_vec(), logprob: -0.5 },
            Token { id: 2, bytes: bytes[2..].to_vec(), logprob: -0.25 },
        ];
        assert_eq!(segment_pieces(&cut), [Piece { text: " 京".into(), logprob: -0.75 }]);
    }

    #[test]
    fn words_stand_in_for_tokens_that_do_not_spell_the_text() {
        let mut cut = segment(0.0, 1.0, " Hello there");
        cut.tokens.remove(1);
        let pieces = segment_pieces(&cut);
        assert_eq!(joined(&pieces), " Hello there");
        assert_eq!(pieces.len(), 2);
        assert!((pieces[0].logprob - 0.75f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_whole_text_is_one_piece_when_neither_tokens_nor_words_spell_it() {
        let mut cut = segment(0.0, 1.0, " Hello there");
        cut.tokens.clear();
        cut.words.clear();
        assert_eq!(segment_pieces(&cut), [Piece { text: " Hello there".into(), logprob: -0.25 }]);
    }

    proptest::proptest! {
        #[test]
        fn any_cutting_trims_like_the_whole(parts in proptest::collection::vec("[ab \n東]{0,4}", 0..8)) {
            let mut trimmer = Trimmer::default();
            let shown: String = parts.iter().map(|part| trimmer.push_text(part)).collect();
            proptest::prop_assert_eq!(shown, parts.concat().trim().to_owned());
        }
    }
}
