//! Tokens to words by the rules of Whisper's tokenizer. Pure.
//!
//! Source of the rules: openai/whisper (MIT), `tokenizer.py` (`split_to_word_tokens`) and `timing.py`
//! (`merge_punctuations`). Knows tokens as bytes and times, no vocabulary. Read next: `stitch`.

use crate::language::Language;
use crate::time::TimeSpan;
use crate::transcript::Word;

/// Punctuation that belongs to the word after it.
const PREPENDED: &str = "\"'“¿([{-";

/// Punctuation that belongs to the word before it.
const APPENDED: &str = "\"'.。,，!！?？:：”)]}、";

/// Python's `string.punctuation`, which Whisper tests against.
const ASCII_PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// A token of text and when it is spoken. Special and timestamp tokens have no bytes and are skipped.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedToken {
    /// The token's bytes; may begin and end inside a UTF-8 character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of the model's probability, at most 0.
    pub logprob: f32,
    /// When it is spoken.
    pub span: TimeSpan,
}

/// Words of `tokens` in order; no tokens give no words. Together the words hold all the text of the
/// tokens except blanks with no word to belong to. Bytes that are no UTF-8 become U+FFFD.
///
/// Languages written without spaces are split at every character that a token completes, others at
/// tokens that begin with a space and at punctuation; then punctuation joins its neighbour. A word has
/// the times and the mean probability of what is spoken of it: punctuation is never heard.
pub fn words(tokens: &[TimedToken], language: Language) -> Vec<Word> {
    let pieces = split_on_unicode(tokens);
    let mut words = if language.is_unspaced() { pieces } else { join_at_spaces(pieces) };
    prepend_punctuation(&mut words);
    append_punctuation(&mut words);
    words.iter().filter(|word| !word.text.trim().is_empty()).map(Piece::to_word).collect()
}

/// Makes word times sound: starts never go back, no word reaches into the next, and all lie inside
/// `segment`. Starts are trusted over ends, which models place worse. Words may come out empty.
pub fn fit_words(words: &mut [Word], segment: TimeSpan) {
    let mut earliest = segment.start;
    for word in words.iter_mut() {
        word.span.start = word.span.start.clamp(earliest, segment.end);
        earliest = word.span.start;
    }
    let mut latest = segment.end;
    for word in words.iter_mut().rev() {
        word.span.end = word.span.end.clamp(word.span.start, latest);
        latest = word.span.start;
    }
}

/// Text in the making, with the numbers of the tokens it came from.
struct Piece {
    text: String,
    span: TimeSpan,
    probability_sum: f64,
    tokens: usize,
}

impl Piece {
    fn to_word(&self) -> Word {
        let mean = self.probability_sum / self.tokens.max(1) as f64;
        Word {
            text: self.text.clone(),
            span: self.span,
            probability: (mean as f32).clamp(0.0, 1.0),
            ..Word::default()
        }
    }

    fn absorb(&mut self, next: Piece) {
        self.text.push_str(&next.text);
        self.span = TimeSpan::new(self.span.start, self.span.end.max(next.span.end));
        self.probability_sum += next.probability_sum;
        self.tokens += next.tokens;
    }
}

/// The smallest runs of tokens that are whole characters.
fn split_on_unicode(tokens: &[TimedToken]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut run: Vec<&TimedToken> = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut spoken = tokens.iter().filter(|token| !token.bytes.is_empty()).peekable();
    while let Some(token) = spoken.next() {
        run.push(token);
        bytes.extend_from_slice(&token.bytes);
        let continued = spoken.peek().is_some_and(|next| is_continuation(next.bytes[0]));
        if continued && ends_inside_character(&bytes) {
            continue;
        }
        pieces.push(piece(&run, &bytes));
        run.clear();
        bytes.clear();
    }
    pieces
}

fn piece(run: &[&TimedToken], bytes: &[u8]) -> Piece {
    let start = run.first().map_or(0, |token| token.span.start);
    let end = run.iter().map(|token| token.span.end).max().unwrap_or(start);
    Piece {
        text: String::from_utf8_lossy(bytes).into_owned(),
        span: TimeSpan::new(start, end),
        probability_sum: run.iter().map(|token| f64::from(probability(token.logprob))).sum(),
        tokens: run.len(),
    }
}

fn probability(logprob: f32) -> f32 {
    let probability = logprob.exp();
    if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Whether more bytes could complete the last character.
fn ends_inside_character(bytes: &[u8]) -> bool {
    let tail = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    !tail.is_empty() && std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none())
}

/// A piece begins a word when it begins with a space or is punctuation.
fn join_at_spaces(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::new();
    for piece in pieces {
        let begins = piece.text.starts_with(' ') || ASCII_PUNCTUATION.contains(piece.text.trim());
        match words.last_mut() {
            Some(word) if !begins => word.absorb(piece),
            _ => words.push(piece),
        }
    }
    words
}

/// `" ("`, `"word"` → `" (word"`: opening punctuation after a space joins the word that follows.
fn prepend_punctuation(words: &mut [Piece]) {
    let Some(mut following) = words.len().checked_sub(1) else { return };
    for index in (0..following).rev() {
        let opens = words[index].text.starts_with(' ') && PREPENDED.contains(words[index].text.trim());
        if opens {
            let opening = std::mem::take(&mut words[index].text);
            words[following].text.insert_str(0, &opening);
        } else {
            following = index;
        }
    }
}

/// `"word"`, `"."` → `"word."`: closing punctuation without a space joins the word before it.
fn append_punctuation(words: &mut [Piece]) {
    let mut previous = 0;
    for index in 1..words.len() {
        if !words[previous].text.ends_with(' ') && APPENDED.contains(words[index].text.as_str()) {
            let closing = std::mem::take(&mut words[index].text);
            words[previous].text.push_str(&closing);
        } else {
            previous = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(bytes: &[u8], at: u64) -> TimedToken {
        TimedToken { bytes: bytes.to_vec(), logprob: 0.0, span: TimeSpan::new(at * 100, at * 100 + 100) }
    }

    fn tokens(texts: &[&str]) -> Vec<TimedToken> {
        texts.iter().zip(0..).map(|(text, at)| token(text.as_bytes(), at)).collect()
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    fn split(parts: &[&str], code: &str) -> Vec<String> {
        let words = words(&tokens(parts), Language::parse(code).unwrap());
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn no_tokens_give_no_words() {
        assert_eq!(words(&[], Language::ENGLISH), []);
        assert_eq!(words(&tokens(&["", " ", ""]), Language::ENGLISH), []);
    }

    #[test]
    fn a_token_with_a_space_begins_a_word_and_punctuation_joins_its_neighbour() {
        let parts = [" Hel", "lo", ",", " (", "dear", ")", " wor", "ld", "!", "\""];
        assert_eq!(split(&parts, "en"), [" Hello,", " (dear)", " world!\""]);
    }

    #[test]
    fn a_contraction_is_one_word_and_a_dash_stays_with_what_follows() {
        assert_eq!(split(&[" don", "'t", " -", "go", "?"], "en"), [" don't", " -go?"]);
    }

    #[test]
    fn text_without_a_leading_space_is_one_word_until_the_next_space() {
        assert_eq!(split(&["Is", " it", " Mün", "chen", "?"], "de"), ["Is", " it", " München?"]);
    }

    #[test]
    fn opening_punctuation_may_come_in_several_tokens() {
        assert_eq!(split(&[" \"", "¿", "Qué", "?"], "es"), [" \"¿Qué?"]);
        assert_eq!(split(&[" \"", " (", "a"], "en"), [" \" (a"]);
    }

    #[test]
    fn unspaced_languages_split_at_every_character_that_a_token_completes() {
        assert_eq!(split(&["你好", "，", "世", "界", "。"], "zh"), ["你好，", "世", "界。"]);
        assert_eq!(split(&["สวัส", "ดี"], "th"), ["สวัส", "ดี"]);
    }

    #[test]
    fn tokens_that_end_inside_a_character_are_joined() {
        let bytes = "世界".as_bytes();
        let split = [token(&bytes[..2], 0), token(&bytes[2..4], 1), token(&bytes[4..], 2)];
        let words = words(&split, Language::parse("ja").unwrap());
        assert_eq!(texts(&words), ["世界"]);
        assert_eq!(words[0].span, TimeSpan::new(0, 300));
    }

    #[test]
    fn a_broken_character_does_not_swallow_what_follows() {
        let broken =
            [token(&[b' ', 0xe4, 0xb8], 0), token(b" next", 1), token(&[0xff], 2), token(&[0xe4], 3)];
        let words = words(&broken, Language::ENGLISH);
        assert_eq!(texts(&words), [" \u{fffd}", " next\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn punctuation_changes_neither_times_nor_probability_of_its_word() {
        let mut parts = tokens(&[" a", "b", "."]);
        parts[0].logprob = 0.5f32.ln();
        parts[1].logprob = 1.0f32.ln();
        parts[2].logprob = 0.01f32.ln();
        let words = words(&parts, Language::ENGLISH);
        assert_eq!(texts(&words), [" ab."]);
        assert_eq!(words[0].span, TimeSpan::new(0, 200));
        assert!((words[0].probability - 0.75).abs() < 1e-6);
    }

    #[test]
    fn punctuation_alone_is_a_word() {
        assert_eq!(split(&[" ..."], "en"), [" ..."]);
        assert_eq!(split(&["."], "en"), ["."]);
    }

    #[test]
    fn fitted_words_lie_in_order_inside_their_segment() {
        let word = |start, end| Word {
            text: "x".into(),
            span: TimeSpan { start, end },
            probability: 1.0,
            ..Word::default()
        };
        let mut words = [word(5, 18), word(15, 40), word(12, 20), word(90, 95)];
        fit_words(&mut words, TimeSpan::new(10, 50));
        let spans: Vec<_> = words.iter().map(|word| (word.span.start, word.span.end)).collect();
        assert_eq!(spans, [(10, 15), (15, 15), (15, 20), (50, 50)]);
        fit_words(&mut [], TimeSpan::new(0, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_give_words_that_hold_all_of_the_text(
            parts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..4),
                "[ a-c.,(\"é世]{0,4}".prop_map(String::into_bytes),
            ], 0..30),
            unspaced in any::<bool>(),
        ) {
            let tokens: Vec<_> = parts.iter().zip(0..).map(|(bytes, at)| token(bytes, at)).collect();
            let language = Language::parse(if unspaced { "ja" } else { "fr" }).unwrap();
            let words = words(&tokens, language);
            let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let together: String = words.iter().map(|word| word.text.as_str()).collect();
            let all: Vec<u8> = parts.concat();
            // Where bytes are no UTF-8, the number of U+FFFD depends on where the tokens were split.
            if let Ok(text) = std::str::from_utf8(&all) {
                prop_assert_eq!(squeezed(&together), squeezed(text));
            }
            for word in &words {
                prop_assert!((0.0..=1.0).contains(&word.probability));
            }
            for pair in words.windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start);
            }
        }

        #[test]
        fn any_word_times_can_be_fitted(
            spans in prop::collection::vec((0u64..200, 0u64..200), 0..20), segment in (0u64..150, 0u64..150),
        ) {
            let segment = TimeSpan::new(segment.0, segment.1);
            let word = |&(start, end): &(u64, u64)| {
                Word { text: "x".into(), span: TimeSpan { start, end }, probability: 1.0, ..Word::default() }
            };
            let mut words: Vec<Word> = spans.iter().map(word).collect();
            fit_words(&mut words, segment);
            for word in &words {
                prop_assert!(segment.start <= word.span.start && word.span.end <= segment.end);
                prop_assert!(word.span.start <= word.span.end);
            }
            for pair in words.windows(2) {
                prop_assert!(pair[0].span.end <= pair[1].span.start);
            }
        }
    }
}
