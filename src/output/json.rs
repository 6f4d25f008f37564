//! The JSON answers: OpenAI's field names and their order. Pure.
//!
//! Seconds are rounded to the millisecond; the recogniser's 32-bit numbers are written with the fewest
//! digits that give them back. Lists and the text are written as they are read, so that an answer may be larger
//! than memory.

use std::io::{self, Write};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::language::Language;
use crate::time::TimeSpan;
use crate::transcript::{Coverage, DroppedText, Segment, Task, Transcript, Warning, Word};

use super::pieces::{Piece, Trimmer, segment_pieces};
use super::reading::{Reading, Text};
use super::{RenderOptions, UsageKind, seconds};

/// Audio tokens per second that OpenAI's token models count.
const AUDIO_TOKENS_PER_S: u64 = 10;

/// What clients call punctuation around a word: Whisper's `prepend_punctuations` and `append_punctuations`,
/// and the marks of the other scripts that it writes.
const PUNCTUATION: &str = "\"'“”‘’„‚‹›«»¿¡([{)]}.,!?:;…-–—~。，、！？：；「」『』（）《》〈〉【】・।॥؟،؛۔♪♫";

/// `{"text": …}` with whatever else was asked for.
///
/// # Errors
/// What `out` gives.
pub fn json(reading: &Reading<'_>, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        text: Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Logprobs<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        languages: Option<[LanguageCode; 1]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<WarningBody<'a>>,
    }
    let transcript = reading.transcript;
    write_json(
        &Body {
            text: reading.text(),
            logprobs: options.logprobs.then_some(Logprobs(reading)),
            languages: options.languages.then(|| [LanguageCode::of(transcript.language)]),
            usage: (transcript.task == Task::Transcribe).then(|| Usage::of(transcript, options.usage)),
            warnings: warnings(transcript),
        },
        out,
    )
}

/// Text with language, duration, segments and words. Translations are always in English, and have neither
/// words nor usage.
///
/// # Errors
/// What `out` gives.
pub fn verbose_json(reading: &Reading<'_>, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        task: &'static str,
        language: &'static str,
        duration: f64,
        text: Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        segments: Option<SegmentList<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        words: Option<WordList<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// An extension: how sure the model is of a language that it was not told.
        #[serde(skip_serializing_if = "Option::is_none")]
        language_probability: Option<f32>,
        /// An extension: how much of the speech has text, where that was checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        coverage: Option<CoverageBody>,
        /// An extension: text that was left out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<DroppedBody<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<WarningBody<'a>>,
    }
    let transcript = reading.transcript;
    let (task, language) = match transcript.task {
        Task::Transcribe => ("transcribe", transcript.language.name()),
        Task::Translate => ("translate", Language::ENGLISH.name()),
    };
    let is_transcription = transcript.task == Task::Transcribe;
    write_json(
        &Body {
            task,
            language,
            duration: seconds(transcript.duration),
            text: reading.text(),
            segments: options.segments.then_some(SegmentList(reading)),
            words: (options.words && is_transcription).then_some(WordList(reading)),
            // The schema fixes the usage of this format to seconds, for any model.
            usage: is_transcription.then(|| Usage::of(transcript, UsageKind::Duration)),
            language_probability: transcript.language_probability.filter(|_| is_transcription),
            coverage: transcript.coverage.as_ref().map(CoverageBody::of),
            dropped: transcript.dropped.iter().map(DroppedBody::of).collect(),
            warnings: warnings(transcript),
        },
        out,
    )
}

/// Writes a value as JSON text.
///
/// # Errors
/// What `out` gives.
pub fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}

/// A value as JSON text.
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs of strings and numbers serialise")
}

/// The work done for an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Usage {
    /// By length.
    Duration {
        /// Whole seconds, rounded up.
        seconds: u64,
    },
    /// By tokens.
    Tokens {
        /// Sum of the two below.
        total_tokens: u64,
        /// Audio and prompt.
        input_tokens: u64,
        /// The parts of `input_tokens`.
        input_token_details: InputTokens,
        /// Tokens of text in the answer.
        output_tokens: u64,
    },
}

/// The parts of the input, in tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputTokens {
    text_tokens: u64,
    audio_tokens: u64,
}

impl Usage {
    /// The usage of `transcript`, counted as `kind`.
    pub fn of(transcript: &Transcript, kind: UsageKind) -> Self {
        let rate = u64::from(crate::time::SAMPLE_RATE);
        match kind {
            UsageKind::Duration => Self::Duration { seconds: transcript.duration.div_ceil(rate) },
            UsageKind::Tokens => {
                let text_tokens = transcript.prompt_tokens as u64;
                let audio_tokens = (transcript.duration * AUDIO_TOKENS_PER_S).div_ceil(rate);
                let output_tokens = transcript.text_tokens;
                Self::Tokens {
                    total_tokens: text_tokens + audio_tokens + output_tokens,
                    input_tokens: text_tokens + audio_tokens,
                    input_token_details: InputTokens { text_tokens, audio_tokens },
                    output_tokens,
                }
            }
        }
    }
}

/// One token with its log probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl From<Piece> for Logprob {
    fn from(piece: Piece) -> Self {
        Self { bytes: piece.text.as_bytes().to_vec(), logprob: finite(piece.logprob), token: piece.text }
    }
}

/// The tokens of the whole text; joined they equal it.
pub struct Logprobs<'a>(pub &'a Reading<'a>);

impl Serialize for Logprobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut trimmer = Trimmer::default();
        for segment in self.0.segments() {
            for piece in trimmer.push(segment_pieces(&segment)) {
                list.serialize_element(&Logprob::from(piece))?;
            }
        }
        list.end()
    }
}

/// A language heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LanguageCode {
    code: &'static str,
}

impl LanguageCode {
    /// `language` by its code.
    pub fn of(language: Language) -> Self {
        Self { code: language.code() }
    }
}

/// All segments, numbered.
struct SegmentList<'a>(&'a Reading<'a>);

impl Serialize for SegmentList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (segment, id) in self.0.segments().zip(0..) {
            list.serialize_element(&SegmentBody::of(&segment, id))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct SegmentBody<'a> {
    id: usize,
    seek: u64,
    start: f64,
    end: f64,
    text: &'a str,
    tokens: Vec<i32>,
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl<'a> SegmentBody<'a> {
    fn of(segment: &'a Segment, id: usize) -> Self {
        /// Whisper counts `seek` in frames of 10 ms.
        const SAMPLES_PER_FRAME: u64 = crate::time::SAMPLE_RATE as u64 / 100;
        Self {
            id,
            seek: segment.seek / SAMPLES_PER_FRAME,
            start: seconds(segment.span.start),
            end: seconds(segment.span.end),
            text: &segment.text,
            tokens: segment.tokens.iter().map(|token| token.id).collect(),
            temperature: finite(segment.temperature),
            avg_logprob: finite(segment.avg_logprob),
            compression_ratio: finite(segment.compression_ratio),
            no_speech_prob: finite(segment.no_speech_prob),
        }
    }
}

/// The words of all segments.
struct WordList<'a>(&'a Reading<'a>);

impl Serialize for WordList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for segment in self.0.segments() {
            for word in segment.words.iter().filter_map(WordBody::of) {
                list.serialize_element(&word)?;
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
struct CoverageBody {
    speech_seconds: f64,
    covered_seconds: f64,
    redecoded_chunks: usize,
    uncovered: Vec<SpanBody>,
}

impl CoverageBody {
    fn of(coverage: &Coverage) -> Self {
        Self {
            speech_seconds: seconds(coverage.speech),
            covered_seconds: seconds(coverage.covered),
            redecoded_chunks: coverage.redecoded_chunks,
            uncovered: coverage.uncovered.iter().map(SpanBody::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct SpanBody {
    start: f64,
    end: f64,
}

impl SpanBody {
    fn of(span: &TimeSpan) -> Self {
        Self { start: seconds(span.start), end: seconds(span.end) }
    }
}

#[derive(Serialize)]
struct DroppedBody<'a> {
    start: f64,
    end: f64,
    text: &'a str,
    reason: &'static str,
}

impl<'a> DroppedBody<'a> {
    fn of(dropped: &'a DroppedText) -> Self {
        let SpanBody { start, end } = SpanBody::of(&dropped.span);
        Self { start, end, text: &dropped.text, reason: dropped.reason.name() }
    }
}

#[derive(Serialize)]
struct WordBody<'a> {
    word: &'a str,
    start: f64,
    end: f64,
}

impl<'a> WordBody<'a> {
    /// `None` for a word that is nothing but punctuation.
    fn of(word: &'a Word) -> Option<Self> {
        let bare = bare_word(&word.text);
        (!bare.is_empty()).then(|| Self {
            word: bare,
            start: seconds(word.span.start),
            end: seconds(word.span.end),
        })
    }
}

/// `text` without the white space and punctuation around it. Inner marks stay (`don't`, `well-known`), and
/// so does the minus of a number.
fn bare_word(text: &str) -> &str {
    let is_edge = |character: char| character.is_whitespace() || PUNCTUATION.contains(character);
    let bare = text.trim_matches(is_edge);
    let before = &text[..text.len() - text.trim_start_matches(is_edge).len()];
    if before.ends_with('-') && bare.starts_with(|first: char| first.is_ascii_digit()) {
        return &text[before.len() - 1..before.len() + bare.len()];
    }
    bare
}

/// Something that was done differently than asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WarningBody<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<f64>,
}

impl<'a> WarningBody<'a> {
    fn of(warning: &'a Warning) -> Self {
        Self {
            code: warning.code,
            message: &warning.message,
            start: warning.span.map(|span| seconds(span.start)),
            end: warning.span.map(|span| seconds(span.end)),
        }
    }
}

/// The warnings of `transcript`, to be left out where there are none.
pub fn warnings(transcript: &Transcript) -> Vec<WarningBody<'_>> {
    transcript.warnings.iter().map(WarningBody::of).collect()
}

/// JSON has no infinities; clients expect a number.
fn finite(number: f32) -> f32 {
    if number.is_finite() { number } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{segment, transcript};
    use super::*;
    use crate::output::{ResponseFormat, render};
    use crate::time::TimeSpan;

    fn json(transcript: &Transcript, options: &RenderOptions) -> String {
        render(transcript, ResponseFormat::Json, options).body
    }

    fn verbose_json(transcript: &Transcript, options: &RenderOptions) -> String {
        render(transcript, ResponseFormat::VerboseJson, options).body
    }

    fn hello() -> Transcript {
        let mut second = segment(28.0, 30.5, " Grüße, 東京!");
        second.seek = 27 * 16_000;
        second.temperature = 0.4;
        transcript(30.501, vec![segment(0.0, 2.0, " Hello, world."), second])
    }

    #[test]
    fn json_is_text_and_whole_seconds_rounded_up() {
        assert_eq!(
            json(&hello(), &RenderOptions::default()),
            r#"{"text":"Hello, world. Grüße, 東京!","usage":{"type":"duration","seconds":31}}"#
        );
    }

    #[test]
    fn token_usage_adds_up() {
        let mut transcript = hello();
        transcript.prompt_tokens = 3;
        let options = RenderOptions { usage: UsageKind::Tokens, languages: true, ..RenderOptions::default() };
        assert_eq!(
            json(&transcript, &options),
            "{\"text\":\"Hello, world. Grüße, 東京!\",\"languages\":[{\"code\":\"en\"}],\
             \"usage\":{\"type\":\"tokens\",\"total_tokens\":313,\"input_tokens\":309,\
             \"input_token_details\":{\"text_tokens\":3,\"audio_tokens\":306},\"output_tokens\":4}}"
        );
    }

    #[test]
    fn logprobs_spell_the_text() {
        let options = RenderOptions { logprobs: true, ..RenderOptions::default() };
        let body: serde_json::Value = serde_json::from_str(&json(&hello(), &options)).unwrap();
        let tokens = body["logprobs"].as_array().unwrap();
        let spelled: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert_eq!(spelled, body["text"].as_str().unwrap());
        assert_eq!(tokens[0], serde_json::json!({"token": "Hello,", "logprob": -0.25, "bytes": b"Hello,"}));
    }

    #[test]
    fn verbose_json_has_every_field_in_order() {
        let options = RenderOptions { words: true, ..RenderOptions::default() };
        let mut transcript = hello();
        transcript.segments = transcript.segments.to_vec().unwrap().split_off(1).into();
        transcript.language = Language::parse("de").unwrap();
        assert_eq!(
            verbose_json(&transcript, &options),
            "{\"task\":\"transcribe\",\"language\":\"german\",\"duration\":30.501,\
             \"text\":\"Grüße, 東京!\",\"segments\":[{\"id\":0,\"seek\":2700,\"start\":28.0,\"end\":30.5,\
             \"text\":\" Grüße, 東京!\",\"tokens\":[50364,100,101,50464],\"temperature\":0.4,\
             \"avg_logprob\":-0.25,\"compression_ratio\":1.25,\"no_speech_prob\":0.125}],\
             \"words\":[{\"word\":\"Grüße\",\"start\":28.0,\"end\":29.25},\
             {\"word\":\"東京\",\"start\":29.25,\"end\":30.5}],\
             \"usage\":{\"type\":\"duration\",\"seconds\":31}}"
        );
    }

    #[test]
    fn a_detected_language_comes_with_its_probability() {
        let options = RenderOptions { segments: false, ..RenderOptions::default() };
        let mut transcript = hello();
        assert!(!verbose_json(&transcript, &options).contains("language_probability"));
        transcript.language_probability = Some(0.75);
        assert!(verbose_json(&transcript, &options).contains("\"language_probability\":0.75"));
    }

    #[test]
    fn segments_and_words_are_absent_unless_asked_for() {
        let keys = |segments, words| {
            let options = RenderOptions { segments, words, ..RenderOptions::default() };
            let body: serde_json::Value = serde_json::from_str(&verbose_json(&hello(), &options)).unwrap();
            (body.get("segments").is_some(), body.get("words").is_some())
        };
        for (segments, words) in [(true, false), (false, true), (true, true)] {
            assert_eq!(keys(segments, words), (segments, words));
        }
    }

    #[test]
    fn silence_has_empty_text_and_empty_segments() {
        let silence = transcript(1.5, Vec::new());
        assert_eq!(
            verbose_json(&silence, &RenderOptions::default()),
            "{\"task\":\"transcribe\",\"language\":\"english\",\"duration\":1.5,\"text\":\"\",\
             \"segments\":[],\"usage\":{\"type\":\"duration\",\"seconds\":2}}"
        );
    }

    #[test]
    fn translations_are_english_without_usage_or_words() {
        let mut translation = hello();
        translation.task = Task::Translate;
        translation.language = Language::parse("de").unwrap();
        let options = RenderOptions { words: true, ..RenderOptions::default() };
        assert_eq!(json(&translation, &options), r#"{"text":"Hello, world. Grüße, 東京!"}"#);
        let verbose: serde_json::Value = serde_json::from_str(&verbose_json(&translation, &options)).unwrap();
        assert_eq!(verbose["task"], "translate");
        assert_eq!(verbose["language"], "english");
        assert!(verbose.get("words").is_none() && verbose.get("usage").is_none());
    }

    #[test]
    fn coverage_and_dropped_text_come_before_the_warnings() {
        let mut checked = transcript(4.0, vec![]);
        let span = |start: u64, end: u64| TimeSpan::new(start * 8_000, end * 8_000);
        checked.coverage = Some(Coverage {
            speech: 48_000,
            covered: 40_000,
            redecoded_chunks: 2,
            uncovered: vec![span(1, 2)],
        });
        checked.dropped = vec![DroppedText {
            span: span(5, 7),
            text: "Thank you.".into(),
            reason: crate::transcript::DropReason::Silence,
        }];
        let body = verbose_json(&checked, &RenderOptions::default());
        let (_, checks) = body.split_once("\"coverage\":").unwrap();
        assert_eq!(
            checks,
            "{\"speech_seconds\":3.0,\"covered_seconds\":2.5,\"redecoded_chunks\":2,\
             \"uncovered\":[{\"start\":0.5,\"end\":1.0}]},\
             \"dropped\":[{\"start\":2.5,\"end\":3.5,\"text\":\"Thank you.\",\"reason\":\"silence\"}]}"
        );
        assert!(!json(&checked, &RenderOptions::default()).contains("coverage"));
    }

    #[test]
    fn warnings_come_last_and_name_their_place() {
        let mut transcript = transcript(1.0, Vec::new());
        transcript.warnings.push(Warning::new("ignored_field", "the field `x` is unknown"));
        transcript.warnings.push(Warning::at("damaged_audio", "lost", TimeSpan::new(8_000, 16_000)));
        assert_eq!(
            json(&transcript, &RenderOptions::default()),
            "{\"text\":\"\",\"usage\":{\"type\":\"duration\",\"seconds\":1},\"warnings\":[\
             {\"code\":\"ignored_field\",\"message\":\"the field `x` is unknown\"},\
             {\"code\":\"damaged_audio\",\"message\":\"lost\",\"start\":0.5,\"end\":1.0}]}"
        );
    }

    #[test]
    fn words_lose_the_marks_around_them_only() {
        for (written, bare) in [
            (" Hello,", "Hello"),
            (" don't", "don't"),
            (" \"well-known\".", "well-known"),
            (" ¿Qué?", "Qué"),
            ("東京。", "東京"),
            (" -5.", "-5"),
            (" - so", "so"),
            (" $3.50,", "$3.50"),
            (" 50%", "50%"),
            (" —", ""),
        ] {
            assert_eq!(bare_word(written), bare, "{written}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_write_become_zero() {
        let mut odd = hello();
        let mut segments = odd.segments.to_vec().unwrap();
        segments[0].avg_logprob = f32::NEG_INFINITY;
        odd.segments = segments.into();
        let body: serde_json::Value =
            serde_json::from_str(&verbose_json(&odd, &RenderOptions::default())).unwrap();
        assert_eq!(body["segments"][0]["avg_logprob"], 0.0);
    }
}
