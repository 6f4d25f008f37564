//! Text that nobody said: found, and left out where a second hearing does not bear it out. Pure.
//!
//! Whisper invents text where it hears none: it goes round in circles, says its favourite phrases in silence,
//! writes more than anybody could speak, or gives its prompt back. None of these is proof, for people do say
//! "no no no no", read out digits and talk fast. So a suspicion never drops anything by itself: the chunk is
//! heard again with another cut and temperature (`pipeline::review`), and only what that hearing does not
//! repeat is left out. No list of phrases is kept.
//!
//! Sources: openai/whisper `transcribe.py` (`compression_ratio_threshold` 2.4, `no_speech_threshold` 0.6,
//! `hallucination_silence_threshold`), SYSTRAN/faster-whisper `transcribe.py` (the same), and what was measured
//! on the fixtures, as the constants say. Read next: `pipeline::review`.

use std::ops::Range;

use crate::time::{SAMPLE_RATE, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{DropReason, DroppedText, Segment, Word};

/// Longest phrase, in words, whose repetition is looked for.
const MAX_PERIOD: usize = 24;

/// Repetitions that make a loop of one or two words suspicious, and of longer phrases. "No" eight times and
/// the same sentence four times over are things that people say.
const SHORT_REPEATS: usize = 10;
const LONG_REPEATS: usize = 5;

/// Repetitions of the phrase that stay when a loop is cut out.
const KEPT_REPEATS: usize = 1;

/// Letters and digits per second of speech that are suspicious. The fixtures have at most 17; 30 are some
/// 400 English words a minute, an auctioneer.
const SUSPICIOUS_RATE: f32 = 30.0;

/// Letters and digits per second that no mouth produces: the fastest talkers on record reach about 55.
const IMPOSSIBLE_RATE: f32 = 60.0;

/// What a character of Chinese, Japanese or Korean counts: it stands for a syllable or more.
const SYLLABLE_LETTERS: f32 = 2.5;

/// Fewer letters than this say nothing about a rate.
const MIN_RATED_LETTERS: f32 = 15.0;

/// Text may begin or end this far from speech, in ms, before it counts as text in silence.
const SILENCE_TOLERANCE_MS: u64 = 500;

/// Whisper's own bound for the probability of no speech (`no_speech_threshold`). On the bundled model
/// speech lies below 0.01, clicks and drums taken for speech at 0.95.
const NO_SPEECH_PROB: f32 = 0.6;

/// Fewer words than this in common with the prompt are no proof that it came back.
const MIN_PROMPT_WORDS: usize = 4;

/// Share of the longer hearing's words that another must have for the two to agree.
const AGREEMENT: f32 = 0.6;

/// What a chunk's text is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Where voice activity found speech in the chunk: sorted, disjoint, with its padding.
    pub speech: &'a [TimeSpan],
    /// The prompt the chunk was decoded with; empty for none.
    pub prompt: &'a str,
}

/// Something about a chunk's text that speech seldom has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Of what.
    pub reason: DropReason,
    /// The units (see `units`) that would go.
    units: Range<usize>,
    /// What a second hearing must hold, letters and digits only, for them to stay.
    proof: String,
}

/// The smallest bit of text that is kept or dropped: a word, or a character where words are not spaced.
#[derive(Clone, Debug, PartialEq)]
struct Unit {
    segment: usize,
    /// Bytes of the segment's text.
    bytes: Range<usize>,
    key: String,
}

/// What is suspicious in `segments`, in order of the text; nothing for ordinary speech.
pub fn suspicions(segments: &[Segment], evidence: &Evidence<'_>) -> Vec<Suspicion> {
    let units = units(segments);
    let mut found = loops(&units);
    if let Some(all) = too_fast(&units, evidence.speech, SUSPICIOUS_RATE) {
        found.push(suspicion(DropReason::Rate, &units, all));
    }
    for (index, segment) in segments.iter().enumerate() {
        let own = of_segment(&units, index);
        if is_in_silence(segment, evidence.speech) {
            found.push(suspicion(DropReason::Silence, &units, own));
        } else if gives_back_prompt(&units[own.clone()], evidence.prompt) {
            found.push(suspicion(DropReason::Prompt, &units, own));
        }
    }
    found.sort_by_key(|suspicion| suspicion.units.start);
    found
}

fn suspicion(reason: DropReason, units: &[Unit], range: Range<usize>) -> Suspicion {
    Suspicion { reason, proof: joined(&units[range.clone()]), units: range }
}

fn joined(units: &[Unit]) -> String {
    units.iter().map(|unit| unit.key.as_str()).collect()
}

/// The words of `segments` as they are compared.
fn keys(segments: &[Segment]) -> Vec<String> {
    units(segments).into_iter().map(|unit| unit.key).filter(|key| !key.is_empty()).collect()
}

/// Whether `longer` says what `shorter` does, word for word, and something before it.
pub fn begins_earlier(longer: &[Segment], shorter: &[Segment]) -> bool {
    let (longer, shorter) = (keys(longer), keys(shorter));
    longer.len() > shorter.len() && longer.ends_with(&shorter)
}

/// Whether two hearings of the same sound say much the same: most words of the longer one, in order.
pub fn agree(one: &[Segment], other: &[Segment]) -> bool {
    let (one, other) = (keys(one), keys(other));
    // common[j]: longest common subsequence of what was seen of `one` with other[..j].
    let mut common = vec![0usize; other.len() + 1];
    for word in &one {
        let mut diagonal = 0;
        for (j, candidate) in other.iter().enumerate() {
            let above = common[j + 1];
            common[j + 1] = if word == candidate { diagonal + 1 } else { above.max(common[j]) };
            diagonal = above;
        }
    }
    let longer = one.len().max(other.len());
    longer > 0 && common[other.len()] as f32 >= AGREEMENT * longer as f32
}

/// Whether all that was heard of a chunk is a word out of the middle of nowhere, and `second`, another hearing of the same
/// sound with more before it, has no such word: a drum or a door sounds like a syllable, but not twice like the same one.
pub fn is_stray(first: &[Segment], second: &[Segment]) -> bool {
    let heard = keys(first);
    let [word] = &heard[..] else { return false };
    !keys(second).contains(word)
}

/// Text that needs no second hearing to be left out: marks without a letter or digit in a window that Whisper
/// itself takes for silence.
pub fn is_blank(segment: &Segment) -> bool {
    segment.no_speech_prob > NO_SPEECH_PROB && !segment.text.chars().any(char::is_alphanumeric)
}

/// Leaves out of `segments` what `second`, another hearing of the same sound, does not bear out. What both
/// hearings agree on stays, unless nobody could say it in the time.
pub fn settle(segments: Vec<Segment>, second: &[Segment], evidence: &Evidence<'_>) -> Settled {
    let confirmed = joined(&units(second));
    let units = units(&segments);
    let impossible = too_fast(&units, evidence.speech, IMPOSSIBLE_RATE).is_some();
    let mut dropped: Vec<(Range<usize>, DropReason)> = Vec::new();
    for suspicion in suspicions(&segments, evidence) {
        let is_confirmed = !suspicion.proof.is_empty() && confirmed.contains(&suspicion.proof);
        let is_impossible = impossible && suspicion.reason != DropReason::Prompt;
        if !is_confirmed || is_impossible {
            dropped.push((suspicion.units, suspicion.reason));
        }
    }
    leave_out(segments, &units, &dropped)
}

/// What is kept of a chunk's text, and what is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// In order, without empty segments.
    pub segments: Vec<Segment>,
    /// In order of the text.
    pub dropped: Vec<DroppedText>,
}

fn leave_out(segments: Vec<Segment>, units: &[Unit], ranges: &[(Range<usize>, DropReason)]) -> Settled {
    let reason_of =
        |at: usize| ranges.iter().find(|(range, _)| range.contains(&at)).map(|(_, reason)| *reason);
    let mut settled = Settled::default();
    for (index, segment) in segments.into_iter().enumerate() {
        let own = of_segment(units, index);
        let lost: Vec<(usize, DropReason)> =
            own.clone().filter_map(|at| reason_of(at).map(|reason| (at, reason))).collect();
        let Some((_, reason)) = lost.first().copied() else {
            settled.segments.push(segment);
            continue;
        };
        let kept: Vec<Range<usize>> =
            own.filter(|at| reason_of(*at).is_none()).map(|at| units[at].bytes.clone()).collect();
        let gone: Vec<Range<usize>> = lost.iter().map(|(at, _)| units[*at].bytes.clone()).collect();
        settled.dropped.push(DroppedText {
            span: span_of(&segment, &gone),
            text: pick(&segment.text, &gone).trim().to_owned(),
            reason,
        });
        if !kept.is_empty() {
            settled.segments.push(reduced(segment, &kept));
        }
    }
    settled
}

/// The segment with only some bytes of its text; words and tokens follow, quality numbers stay.
fn reduced(mut segment: Segment, kept: &[Range<usize>]) -> Segment {
    let inside = |at: usize| kept.iter().any(|range| range.contains(&at));
    let span = span_of(&segment, kept);
    let mut at = 0;
    let written: usize = segment.words.iter().map(|word| word.text.len()).sum();
    if written == segment.text.len() {
        segment.words.retain(|word| {
            let start = at;
            at += word.text.len();
            inside(start)
        });
    } else {
        segment.words.clear();
    }
    let spelled: Vec<u8> = segment.tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    if spelled == segment.text.as_bytes() {
        let mut at = 0;
        segment.tokens.retain(|token| {
            let start = at;
            at += token.bytes.len();
            token.bytes.is_empty() || inside(start)
        });
    } else {
        segment.tokens.clear();
    }
    segment.text = pick(&segment.text, kept);
    segment.span = span;
    segment
}

fn pick(text: &str, ranges: &[Range<usize>]) -> String {
    ranges.iter().map(|range| &text[range.clone()]).collect()
}

/// When the bytes of `ranges` are spoken: by the words, or by their share of the segment's time.
fn span_of(segment: &Segment, ranges: &[Range<usize>]) -> TimeSpan {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return segment.span };
    let mut at = 0;
    let mut words = segment.words.iter().filter(|word| {
        let start = at;
        at += word.text.len();
        first.start <= start && start < last.end
    });
    if let Some(word) = words.next() {
        let end = words.last().unwrap_or(word);
        return TimeSpan::new(word.span.start, end.span.end);
    }
    let total = segment.text.len().max(1) as u64;
    let place = |byte: usize| segment.span.start + segment.span.len() * byte as u64 / total;
    TimeSpan::new(place(first.start), place(last.end))
}

/// The text of all segments in its smallest bits.
fn units(segments: &[Segment]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (segment, text) in segments.iter().map(|segment| segment.text.as_str()).enumerate() {
        let mut start = 0;
        let mut place = |end: usize, units: &mut Vec<Unit>| {
            let bytes = start..end;
            let key: String = text[bytes.clone()].chars().filter_map(bare).flatten().collect();
            units.push(Unit { segment, bytes, key });
            start = end;
        };
        let mut before = text.chars().next().unwrap_or(' ');
        for (at, c) in text.char_indices().skip(1) {
            // A unit begins with its space, as words do, or with a character that is a syllable.
            if (c.is_whitespace() && !before.is_whitespace()) || is_syllable(c) {
                place(at, &mut units);
            }
            before = c;
        }
        if !text.is_empty() {
            place(text.len(), &mut units);
        }
    }
    units
}

fn of_segment(units: &[Unit], segment: usize) -> Range<usize> {
    units.partition_point(|unit| unit.segment < segment)
        ..units.partition_point(|unit| unit.segment <= segment)
}

/// The character in lower case, if it is a letter or digit.
fn bare(c: char) -> Option<std::char::ToLowercase> {
    c.is_alphanumeric().then(|| c.to_lowercase())
}

/// Whether the character is written without spaces and stands for a syllable or a word: Han, kana, hangul.
fn is_syllable(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}')
}

/// Phrases that come again and again without anything between them; without the first `KEPT_REPEATS`.
fn loops(units: &[Unit]) -> Vec<Suspicion> {
    // Marks alone are no words: they neither repeat nor interrupt.
    let spoken: Vec<usize> = (0..units.len()).filter(|at| !units[*at].key.is_empty()).collect();
    let key = |at: usize| units[spoken[at]].key.as_str();
    let mut found = Vec::new();
    let mut at = 0;
    while at < spoken.len() {
        let run = (1..=MAX_PERIOD).find_map(|period| {
            let same = (at..).take_while(|i| i + period < spoken.len() && key(*i) == key(i + period)).count();
            let repeats = same / period + 1;
            let limit = if period <= 2 { SHORT_REPEATS } else { LONG_REPEATS };
            (repeats >= limit).then_some((period, limit, same + period))
        });
        match run {
            Some((period, limit, length)) => {
                let end = spoken.get(at + length).copied().unwrap_or(units.len());
                found.push(Suspicion {
                    reason: DropReason::Loop,
                    units: spoken[at + KEPT_REPEATS * period]..end,
                    // A hearing that goes round often enough to be suspicious too bears it out.
                    proof: (at..at + limit * period).map(key).collect(),
                });
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

/// All units, when they are more than `rate` letters per second of speech.
fn too_fast(units: &[Unit], speech: &[TimeSpan], rate: f32) -> Option<Range<usize>> {
    let letters: f32 = units.iter().flat_map(|unit| unit.key.chars()).map(weight).sum();
    let samples: SampleIndex = speech.iter().map(TimeSpan::len).sum();
    let seconds = samples as f32 / SAMPLE_RATE as f32;
    (letters >= MIN_RATED_LETTERS && letters > rate * seconds).then_some(0..units.len())
}

fn weight(c: char) -> f32 {
    if is_syllable(c) { SYLLABLE_LETTERS } else { 1.0 }
}

/// Whether the segment lies in a pause: nothing of it is near speech.
fn is_in_silence(segment: &Segment, speech: &[TimeSpan]) -> bool {
    let near = ms_to_samples(SILENCE_TOLERANCE_MS);
    let touches = |span: TimeSpan| {
        speech.iter().any(|region| {
            let wide = region.widened(near);
            wide.start < span.end.max(span.start + 1) && span.start < wide.end
        })
    };
    !segment.text.trim().is_empty()
        && if segment.words.is_empty() {
            !touches(segment.span)
        } else {
            !segment.words.iter().any(|word: &Word| touches(word.span))
        }
}

/// Whether a segment says nothing but a stretch of the prompt.
fn gives_back_prompt(units: &[Unit], prompt: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .map(|word| word.chars().filter_map(bare).flatten().collect::<String>())
            .filter(|word| !word.is_empty())
            .collect()
    };
    let said: Vec<&str> = units.iter().map(|unit| unit.key.as_str()).filter(|key| !key.is_empty()).collect();
    said.len() >= MIN_PROMPT_WORDS && words(prompt).windows(said.len()).any(|stretch| stretch == said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_first_word_of_one_letter_stands_alone() {
        let keys: Vec<String> =
            units(&[segment(0.0, 1.0, "I am here")]).into_iter().map(|unit| unit.key).collect();
        assert_eq!(keys, ["i", "am", "here"]);
    }

    fn seconds(start: f64, end: f64) -> TimeSpan {
        TimeSpan::new((start * 16_000.0) as u64, (end * 16_000.0) as u64)
    }

    fn segment(start: f64, end: f64, text: &str) -> Segment {
        Segment { span: seconds(start, end), text: text.to_owned(), avg_logprob: -0.2, ..Segment::default() }
    }

    /// Reasons for which ten seconds of speech with this text are suspicious.
    fn reasons(text: &str) -> Vec<DropReason> {
        reasons_with(&[segment(0.0, 10.0, text)], "")
    }

    fn reasons_with(segments: &[Segment], prompt: &str) -> Vec<DropReason> {
        let speech = [seconds(0.0, 10.0)];
        let evidence = Evidence { speech: &speech, prompt };
        suspicions(segments, &evidence).into_iter().map(|suspicion| suspicion.reason).collect()
    }

    fn settled(text: &str, second: &str) -> (String, Vec<String>) {
        let speech = [seconds(0.0, 10.0)];
        let evidence = Evidence { speech: &speech, prompt: "" };
        let settled = settle(vec![segment(0.0, 10.0, text)], &[segment(0.0, 10.0, second)], &evidence);
        let kept = settled.segments.iter().map(|segment| segment.text.as_str()).collect();
        (kept, settled.dropped.into_iter().map(|dropped| dropped.text).collect())
    }

    #[test]
    fn what_people_say_is_not_suspicious() {
        for text in [
            " No, no, no, no!",
            " no no no no no no no no",
            " Six six six, zero zero, one one one one.",
            " Ha ha ha ha ha ha. Very, very, very, very good.",
            " I would like some tea. I would like some tea. I would like some tea.",
            " One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen.",
            " Na na na na na na na na, hey hey hey, goodbye.",
            " ... - - ... ? ! ? ! ? ! ? !",
            "",
        ] {
            assert_eq!(reasons(text), [], "{text}");
        }
    }

    #[test]
    fn circles_are_suspicious_in_words_phrases_and_characters() {
        for text in [
            " Good.".repeat(12),
            " and so".repeat(12),
            " Thank you for watching.".repeat(6),
            "ご視聴".repeat(6),
            " I I I".repeat(6),
        ] {
            assert_eq!(reasons(&text), [DropReason::Loop], "{text}");
        }
    }

    #[test]
    fn a_circle_over_segments_is_found() {
        let segments: Vec<_> =
            (0..6).map(|i| segment(f64::from(i), f64::from(i) + 1.0, " Thank you very much.")).collect();
        assert_eq!(reasons_with(&segments, ""), [DropReason::Loop]);
        assert_eq!(reasons_with(&segments[..4], ""), []);
    }

    #[test]
    fn a_circle_that_a_second_hearing_does_not_repeat_is_cut_to_one_turn() {
        let text = format!(" We begin.{} And go on.", " Thank you all.".repeat(7));
        let (kept, dropped) = settled(&text, " We begin. And go on.");
        assert_eq!(kept, " We begin. Thank you all. And go on.");
        assert_eq!(dropped, [" Thank you all.".repeat(6).trim()]);
    }

    #[test]
    fn a_circle_that_both_hearings_have_was_said() {
        let text = " USA!".repeat(14);
        assert_eq!(settled(&text, &text), (text.clone(), vec![]));
    }

    #[test]
    fn more_than_anybody_can_say_goes_even_if_it_is_said_twice() {
        let words = " the quick brown fox jumps over a lazy dog while seven wizards mix their jugs".repeat(2);
        let speech = [seconds(0.0, 2.5)];
        let evidence = Evidence { speech: &speech, prompt: "" };
        let fast = [segment(0.0, 2.5, &words)];
        let found = suspicions(&fast, &evidence);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].reason, DropReason::Rate);
        // An auctioneer is borne out by the second hearing ...
        assert_eq!(settle(fast.to_vec(), &fast, &evidence).dropped, []);
        // ... and three times as fast nobody is.
        let speech = [seconds(0.0, 0.8)];
        let evidence = Evidence { speech: &speech, ..evidence };
        let settled = settle(fast.to_vec(), &fast, &evidence);
        assert_eq!((settled.segments.len(), settled.dropped[0].reason), (0, DropReason::Rate));
    }

    #[test]
    fn fast_talkers_of_any_script_are_not_suspicious() {
        // Eight words a second; nine characters a second.
        assert_eq!(reasons(&(0..60).map(|i| format!(" wo{i}")).collect::<String>()), []);
        let han: String = (0..90).filter_map(|i| char::from_u32(0x4E00 + i * 7)).collect();
        assert_eq!(reasons(&han), []);
    }

    #[test]
    fn text_in_a_pause_is_suspicious_and_text_at_its_edge_is_not() {
        let speech = [seconds(0.0, 2.0), seconds(5.0, 7.0)];
        let evidence = Evidence { speech: &speech, prompt: "" };
        let found = |start, end| suspicions(&[segment(start, end, " Thanks.")], &evidence).len();
        assert_eq!(found(3.0, 4.0), 1);
        assert_eq!(found(2.3, 4.0), 0);
        assert_eq!(found(1.0, 6.0), 0);
    }

    #[test]
    fn a_prompt_that_comes_back_is_suspicious_and_a_name_of_it_is_not() {
        let prompt = "Minutes of the Diarist meeting in Geneva, with Laura and Martin.";
        let back = [segment(0.0, 3.0, " with Laura and Martin.")];
        assert_eq!(reasons_with(&back, prompt), [DropReason::Prompt]);
        let named = [segment(0.0, 3.0, " Laura and Martin")];
        assert_eq!(reasons_with(&named, prompt), []);
    }

    #[test]
    fn hearings_agree_by_their_words_in_order() {
        let agree = |one: &str, other: &str| agree(&[segment(0.0, 1.0, one)], &[segment(0.0, 1.0, other)]);
        assert!(agree(" Please open the door.", " please open a door"));
        assert!(agree("東京の天気", "東京は天気"));
        assert!(!agree(" Now repair our boat.", " Our boat is now here."));
        assert!(!agree("", "") && !agree(" Yes.", "") && !agree(" ...", " ..."));
    }

    #[test]
    fn marks_in_silence_are_blank() {
        let mut dot = segment(0.0, 1.0, " .");
        assert!(!is_blank(&dot));
        dot.no_speech_prob = 0.95;
        assert!(is_blank(&dot));
        dot.text = " 5.".into();
        assert!(!is_blank(&dot));
    }

    #[test]
    fn words_follow_their_text() {
        let mut looped = segment(0.0, 10.0, &" on and on".repeat(5));
        looped.words = (0..15)
            .map(|i| Word {
                text: [" on", " and", " on"][i % 3].to_owned(),
                span: seconds(i as f64 * 0.5, i as f64 * 0.5 + 0.5),
                probability: 1.0,
                ..Word::default()
            })
            .collect();
        let speech = [seconds(0.0, 10.0)];
        let evidence = Evidence { speech: &speech, prompt: "" };
        let settled = settle(vec![looped], &[], &evidence);
        let kept = &settled.segments[0];
        assert_eq!(kept.text, " on and on");
        assert_eq!(kept.words.len(), 3);
        assert_eq!(kept.span, seconds(0.0, 1.5));
        assert_eq!(settled.dropped[0].span, seconds(1.5, 7.5));
    }

    proptest! {
        /// Whatever is heard: nothing is lost without being listed, and nothing new appears.
        #[test]
        fn kept_and_dropped_text_together_are_the_whole(
            texts in prop::collection::vec("( (no|yes|東|a b)){0,14}", 0..4), second in "( no){0,12}",
        ) {
            let segments: Vec<_> =
                texts.iter().zip(0..).map(|(text, i)| segment(f64::from(i), f64::from(i) + 1.0, text)).collect();
            let speech = [seconds(0.0, 2.0)];
            let evidence = Evidence { speech: &speech, prompt: "" };
            let settled = settle(segments.clone(), &[segment(0.0, 1.0, &second)], &evidence);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
            let kept: usize = settled.segments.iter().map(|segment| letters(&segment.text)).sum();
            let dropped: usize = settled.dropped.iter().map(|dropped| letters(&dropped.text)).sum();
            prop_assert_eq!(kept + dropped, texts.iter().map(|text| letters(text)).sum::<usize>());
        }
    }
}
