//! The JSON answers: OpenAI's field names and their order. Pure.
//!
//! Seconds are rounded to the millisecond; the recogniser's 32-bit numbers are written with the fewest
//! digits that give them back. Lists and the text are written as they are read, so that an answer may be larger
//! than memory.

use std::io::{self, Write};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::language::Language;
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{
    Conversation, Coverage, DroppedText, Segment, SourceCounts, SpeakerId, Task, Transcript, VocalSeparation,
    Warning, Word,
};

use super::labels::Labels;
use super::pieces::{Piece, Trimmer, segment_pieces};
use super::reading::{Reading, Text};
use super::{RenderOptions, UsageKind, edges, seconds};

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
        /// An extension: where the voice was separated, if it was anywhere.
        #[serde(skip_serializing_if = "Option::is_none")]
        separation: Option<SeparationBody<'a>>,
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
            segments: options.segments.then_some(SegmentList(reading, options.speakers)),
            words: (options.words && is_transcription).then_some(WordList(reading, options.speakers)),
            // The schema fixes the usage of this format to seconds, for any model.
            usage: is_transcription.then(|| Usage::of(transcript, UsageKind::Duration)),
            language_probability: transcript.language_probability.filter(|_| is_transcription),
            coverage: transcript.coverage.as_ref().map(CoverageBody::of),
            dropped: transcript.dropped.iter().map(DroppedBody::of).collect(),
            separation: transcript.separation.as_ref().map(SeparationBody::of),
            warnings: warnings(transcript),
        },
        out,
    )
}

/// Text and segments, each of one speaker, as OpenAI's `gpt-4o-transcribe-diarize` gives them.
///
/// # Errors
/// What `out` gives.
pub fn diarized_json(reading: &Reading<'_>, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        text: Text<'a>,
        task: &'static str,
        duration: f64,
        segments: DiarizedList<'a>,
        usage: Usage,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<WarningBody<'a>>,
    }
    let transcript = reading.transcript;
    write_json(
        &Body {
            text: reading.text(),
            task: "transcribe",
            duration: seconds(transcript.duration),
            segments: DiarizedList(reading),
            usage: Usage::of(transcript, options.usage),
            warnings: warnings(transcript),
        },
        out,
    )
}

/// Who spoke when, without text: an extension.
///
/// # Errors
/// What `out` gives.
pub fn turns(conversation: &Conversation, embeddings: bool, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Body<'a> {
        task: &'static str,
        duration: f64,
        speakers: Vec<SpeakerBody<'a>>,
        turns: Vec<TurnBody<'a>>,
        usage: Usage,
        #[serde(skip_serializing_if = "Option::is_none")]
        separation: Option<SeparationBody<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<WarningBody<'a>>,
    }
    #[derive(Serialize)]
    struct SpeakerBody<'a> {
        speaker: &'a str,
        known: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        embedding: Option<Vec<f32>>,
    }
    #[derive(Serialize)]
    struct TurnBody<'a> {
        start: f64,
        end: f64,
        speaker: &'a str,
    }
    let labels = Labels::new(&conversation.speakers, &conversation.known_names);
    let speakers = (0..).map(|number| Some(SpeakerId(number))).zip(&conversation.speakers);
    let speakers = speakers.map(|(number, speaker)| SpeakerBody {
        speaker: labels.get_or_nobody(number),
        known: speaker.name.is_some(),
        embedding: (embeddings && !speaker.embedding.is_empty())
            .then(|| speaker.embedding.iter().map(|number| finite(*number)).collect()),
    });
    let turns = conversation.turns.iter().map(|turn| {
        let (start, end) = edges(turn.span);
        TurnBody { start, end, speaker: labels.get_or_nobody(Some(turn.speaker)) }
    });
    let body = Body {
        task: "diarize",
        duration: seconds(conversation.duration),
        speakers: speakers.collect(),
        turns: turns.collect(),
        usage: Usage::of_duration(conversation.duration),
        separation: conversation.separation.as_ref().map(SeparationBody::of),
        warnings: conversation.warnings.iter().map(WarningBody::of).collect(),
    };
    write_json(&body, out)
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
    /// By the length of a recording alone.
    pub fn of_duration(duration: SampleIndex) -> Self {
        Self::Duration { seconds: duration.div_ceil(u64::from(crate::time::SAMPLE_RATE)) }
    }

    /// The usage of `transcript`, counted as `kind`.
    pub fn of(transcript: &Transcript, kind: UsageKind) -> Self {
        let rate = u64::from(crate::time::SAMPLE_RATE);
        match kind {
            UsageKind::Duration => Self::of_duration(transcript.duration),
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

/// One segment as `diarized_json` and its stream have it.
#[derive(Serialize)]
#[serde(tag = "type", rename = "transcript.text.segment")]
pub struct DiarizedSegment<'a> {
    id: String,
    start: f64,
    end: f64,
    text: &'a str,
    speaker: &'a str,
}

impl<'a> DiarizedSegment<'a> {
    /// Segment number `number` of its recording.
    pub fn of(segment: &'a Segment, number: usize, labels: &'a Labels) -> Self {
        let (start, end) = edges(segment.span);
        let speaker = labels.get_or_nobody(segment.speaker);
        Self { id: format!("seg_{number}"), start, end, text: &segment.text, speaker }
    }
}

/// All segments, each of one speaker.
struct DiarizedList<'a>(&'a Reading<'a>);

impl Serialize for DiarizedList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (segment, number) in self.0.segments().zip(0..) {
            list.serialize_element(&DiarizedSegment::of(&segment, number, &self.0.labels))?;
        }
        list.end()
    }
}

/// Extension: who speaks a segment or a word, `null` for nobody, and whether somebody else does too.
#[derive(Serialize)]
struct SpeakerPart<'a> {
    speaker: Option<&'a str>,
    overlap: bool,
}

impl<'a> SpeakerPart<'a> {
    fn of(labels: &'a Labels, speaker: Option<SpeakerId>, overlap: bool) -> Self {
        Self { speaker: labels.get(speaker), overlap }
    }
}

/// All segments, numbered; the flag says whether they name speakers.
struct SegmentList<'a>(&'a Reading<'a>, bool);

impl Serialize for SegmentList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (segment, id) in self.0.segments().zip(0..) {
            let speaker = SpeakerPart::of(&self.0.labels, segment.speaker, segment.overlapped);
            list.serialize_element(&SegmentBody::of(&segment, id, self.1.then_some(speaker)))?;
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    speaker: Option<SpeakerPart<'a>>,
}

impl<'a> SegmentBody<'a> {
    fn of(segment: &'a Segment, id: usize, speaker: Option<SpeakerPart<'a>>) -> Self {
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
            speaker,
        }
    }
}

/// The words of all segments; the flag says whether they name speakers.
struct WordList<'a>(&'a Reading<'a>, bool);

impl Serialize for WordList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for segment in self.0.segments() {
            for word in &segment.words {
                let speaker = SpeakerPart::of(&self.0.labels, word.speaker, word.overlapped);
                if let Some(body) = WordBody::of(word, self.1.then_some(speaker)) {
                    list.serialize_element(&body)?;
                }
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

/// Where the voice was separated from what plays under it, and in which sound the text was heard.
#[derive(Serialize)]
struct SeparationBody<'a> {
    model: &'a str,
    seconds: f64,
    regions: Vec<SpanBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<ChunksBody>,
}

#[derive(Serialize)]
struct ChunksBody {
    voice: usize,
    mix: usize,
}

impl<'a> SeparationBody<'a> {
    fn of(separation: &'a VocalSeparation) -> Self {
        Self {
            model: &separation.model,
            seconds: seconds(separation.samples),
            regions: separation.regions.iter().map(SpanBody::of).collect(),
            chunks: separation.chunks.map(|SourceCounts { voice, mix }| ChunksBody { voice, mix }),
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    speaker: Option<SpeakerPart<'a>>,
}

impl<'a> WordBody<'a> {
    /// `None` for a word that is nothing but punctuation.
    fn of(word: &'a Word, speaker: Option<SpeakerPart<'a>>) -> Option<Self> {
        let bare = bare_word(&word.text);
        (!bare.is_empty()).then(|| Self {
            word: bare,
            start: seconds(word.span.start),
            end: seconds(word.span.end),
            speaker,
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
    use crate::transcript::{Speaker, SpeakerTurn};

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

    /// Two speakers, the second known by name, and a word of nobody.
    fn talk() -> Transcript {
        let mut segments =
            vec![segment(0.0, 1.0, " Are you there?"), segment(1.0, 2.5, " Yes."), segment(4.0, 4.0, " Hm.")];
        for (segment, speaker) in segments.iter_mut().zip([Some(SpeakerId(0)), Some(SpeakerId(1)), None]) {
            segment.speaker = speaker;
            segment.words.iter_mut().for_each(|word| word.speaker = speaker);
        }
        segments[1].overlapped = true;
        segments[1].words[0].overlapped = true;
        let mut talk = transcript(4.5, segments);
        talk.speakers =
            vec![Speaker::default(), Speaker { name: Some("Ann".into()), embedding: vec![0.6, 0.8] }];
        talk
    }

    #[test]
    fn diarized_json_is_as_openai_has_it() {
        let options = RenderOptions { usage: UsageKind::Tokens, ..RenderOptions::default() };
        assert_eq!(
            render(&talk(), ResponseFormat::DiarizedJson, &options).body,
            "{\"text\":\"Are you there? Yes. Hm.\",\"task\":\"transcribe\",\"duration\":4.5,\"segments\":[\
             {\"type\":\"transcript.text.segment\",\"id\":\"seg_0\",\"start\":0.0,\"end\":1.0,\
             \"text\":\" Are you there?\",\"speaker\":\"A\"},\
             {\"type\":\"transcript.text.segment\",\"id\":\"seg_1\",\"start\":1.0,\"end\":2.5,\
             \"text\":\" Yes.\",\"speaker\":\"Ann\"},\
             {\"type\":\"transcript.text.segment\",\"id\":\"seg_2\",\"start\":4.0,\"end\":4.001,\
             \"text\":\" Hm.\",\"speaker\":\"unknown\"}],\
             \"usage\":{\"type\":\"tokens\",\"total_tokens\":50,\"input_tokens\":45,\
             \"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":45},\"output_tokens\":5}}"
        );
        let silence =
            render(&transcript(1.5, Vec::new()), ResponseFormat::DiarizedJson, &RenderOptions::default());
        assert_eq!(
            silence.body,
            "{\"text\":\"\",\"task\":\"transcribe\",\"duration\":1.5,\"segments\":[],\
             \"usage\":{\"type\":\"duration\",\"seconds\":2}}"
        );
    }

    #[test]
    fn segments_and_words_say_who_speaks_them_when_asked() {
        let options = RenderOptions { words: true, speakers: true, ..RenderOptions::default() };
        let body: serde_json::Value = serde_json::from_str(&verbose_json(&talk(), &options)).unwrap();
        let said = |list: &str| -> Vec<_> {
            let items = body[list].as_array().unwrap().iter();
            items.map(|item| (item["speaker"].clone(), item["overlap"].clone())).collect()
        };
        let pair = |speaker, overlap: bool| (serde_json::Value::from(speaker), overlap.into());
        let (a, ann, nobody) = (pair(Some("A"), false), pair(Some("Ann"), true), pair(None, false));
        assert_eq!(said("segments"), [a.clone(), ann.clone(), nobody.clone()]);
        assert_eq!(said("words"), [a.clone(), a.clone(), a, ann, nobody]);
        let plain = RenderOptions { words: true, ..RenderOptions::default() };
        assert!(!verbose_json(&talk(), &plain).contains("speaker"));
    }

    #[test]
    fn turns_name_their_speakers_and_embeddings_come_when_asked_for() {
        let turn = |start, end, who| SpeakerTurn { span: TimeSpan::new(start, end), speaker: SpeakerId(who) };
        let conversation = Conversation {
            duration: 40_000,
            turns: vec![turn(0, 16_000, 0), turn(8_000, 24_000, 1)],
            speakers: talk().speakers,
            ..Conversation::default()
        };
        let written = |embeddings| {
            crate::output::render_turns(&conversation, crate::output::TurnsFormat::Json, None, embeddings)
                .body
        };
        assert_eq!(
            written(false),
            "{\"task\":\"diarize\",\"duration\":2.5,\"speakers\":[{\"speaker\":\"A\",\"known\":false},\
             {\"speaker\":\"Ann\",\"known\":true}],\"turns\":[{\"start\":0.0,\"end\":1.0,\"speaker\":\"A\"},\
             {\"start\":0.5,\"end\":1.5,\"speaker\":\"Ann\"}],\"usage\":{\"type\":\"duration\",\"seconds\":3}}"
        );
        assert!(written(true).contains("\"known\":true,\"embedding\":[0.6,0.8]"));
        assert!(written(true).contains("\"known\":false}"), "a voice that was heard too little has none");
    }

    #[test]
    fn separation_is_told_of_where_it_was_done() {
        let separation = |chunks| VocalSeparation {
            model: "kim-vocal-2".to_owned(),
            samples: 24_000,
            regions: vec![TimeSpan::new(0, 16_000), TimeSpan::new(32_000, 40_000)],
            chunks,
        };
        let mut talk = hello();
        assert!(!verbose_json(&talk, &RenderOptions::default()).contains("separation"));
        talk.separation = Some(separation(Some(SourceCounts { voice: 3, mix: 1 })));
        let body = verbose_json(&talk, &RenderOptions::default());
        let regions = "\"regions\":[{\"start\":0.0,\"end\":1.0},{\"start\":2.0,\"end\":2.5}]";
        let told = format!("\"separation\":{{\"model\":\"kim-vocal-2\",\"seconds\":1.5,{regions}");
        assert!(body.contains(&format!("{told},\"chunks\":{{\"voice\":3,\"mix\":1}}}}")), "{body}");
        let conversation = Conversation { separation: Some(separation(None)), ..Conversation::default() };
        let turns = crate::output::render_turns(&conversation, crate::output::TurnsFormat::Json, None, false);
        assert!(turns.body.contains(&format!("{told}}}")), "{}", turns.body);
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
