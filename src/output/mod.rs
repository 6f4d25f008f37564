//! A transcript as the bytes of an answer.
//!
//! Pure but for the file that a long transcript lies in: a `Transcript` and what the client asked for go in, a content
//! type and a body come out, written piece by piece. `json` knows OpenAI's field names, `subtitles` lays out SRT and
//! WebVTT, `text` is the plain transcript, `rttm` writes turns without text, `labels` names speakers, `reading` reads segments as often as a form asks, `pieces` trims text
//! that arrives segment by segment. Seconds and `HH:MM:SS,mmm` exist only here. Knows nothing of HTTP,
//! requests or models.

pub mod json;
pub mod labels;
pub mod pieces;
pub mod reading;
pub mod rttm;
pub mod subtitles;
pub mod text;

use std::io::{self, Write};

use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{Conversation, Transcript};
use reading::Reading;

/// Content type of the JSON answers; without a charset, as JSON is always UTF-8.
pub const JSON_TYPE: &str = "application/json";

/// Content type of plain text and of both subtitle formats.
pub const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Shape of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ResponseFormat {
    /// The text and the usage.
    #[default]
    Json,
    /// The bare text and a line feed.
    Text,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// Text, language, duration, segments and words.
    VerboseJson,
    /// Text and segments, each of one speaker.
    DiarizedJson,
}

impl ResponseFormat {
    /// Every format, in the order in which they are named to people.
    pub const ALL: [Self; 6] =
        [Self::Json, Self::Text, Self::Srt, Self::VerboseJson, Self::Vtt, Self::DiarizedJson];

    /// The format called `name` (`json`, `text`, `srt`, `verbose_json`, `vtt`, `diarized_json`).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Its name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::VerboseJson => "verbose_json",
            Self::DiarizedJson => "diarized_json",
        }
    }

    /// Whether an answer of this form can say who speaks.
    pub fn shows_speakers(self) -> bool {
        !matches!(self, Self::Json | Self::Text)
    }

    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson | Self::DiarizedJson => JSON_TYPE,
            Self::Text | Self::Srt | Self::Vtt => TEXT_TYPE,
        }
    }

    /// Extension of a file that holds such an answer.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson | Self::DiarizedJson => "json",
            Self::Text => "txt",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
        }
    }
}

/// How the work done is counted in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum UsageKind {
    /// Whole seconds of audio.
    #[default]
    Duration,
    /// Tokens of audio, prompt and text.
    Tokens,
}

/// What an answer holds besides the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// `verbose_json`: whether segments are listed.
    pub segments: bool,
    /// `verbose_json`: whether words are listed; never for translations.
    pub words: bool,
    /// `json`: whether each token's log probability is listed.
    pub logprobs: bool,
    /// `json`: whether the languages heard are listed.
    pub languages: bool,
    /// `json`, `diarized_json`: how usage is counted; translations have none.
    pub usage: UsageKind,
    /// `verbose_json`: whether segments and words say who speaks them.
    pub speakers: bool,
    /// `srt`, `vtt`: whether cues say who speaks them.
    pub speaker_labels: bool,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            segments: true,
            words: false,
            logprobs: false,
            languages: false,
            usage: UsageKind::Duration,
            speakers: false,
            speaker_labels: false,
        }
    }
}

/// An answer, ready to be sent or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Value of the `Content-Type` header.
    pub content_type: &'static str,
    /// The bytes, always UTF-8.
    pub body: String,
}

/// Writes `transcript` as `format` to `out`, in pieces of any size.
///
/// # Errors
/// What `out` gives, or the file of a long transcript; what was written then is not an answer.
pub fn write(
    transcript: &Transcript,
    format: ResponseFormat,
    options: &RenderOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let reading = Reading::new(transcript);
    match format {
        ResponseFormat::Json => json::json(&reading, options, out),
        ResponseFormat::VerboseJson => json::verbose_json(&reading, options, out),
        ResponseFormat::DiarizedJson => json::diarized_json(&reading, options, out),
        ResponseFormat::Text => text::text(&reading, out),
        ResponseFormat::Srt => subtitles::srt(&reading, options.speaker_labels, out),
        ResponseFormat::Vtt => subtitles::vtt(&reading, options.speaker_labels, out),
    }?;
    reading.end()
}

/// Renders `transcript` as `format` in memory: for one that is there itself.
///
/// # Panics
/// When the file of a long transcript does not give back what it took.
pub fn render(transcript: &Transcript, format: ResponseFormat, options: &RenderOptions) -> Rendered {
    let mut bytes = Vec::new();
    write(transcript, format, options, &mut bytes).expect("memory takes what memory gives");
    let body = String::from_utf8(bytes).expect("all formats write UTF-8");
    Rendered { content_type: format.content_type(), body }
}

/// Shape of an answer without text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TurnsFormat {
    /// Turns and speakers.
    #[default]
    Json,
    /// A line of ten fields for each turn.
    Rttm,
}

impl TurnsFormat {
    /// Every format, in the order in which they are named to people.
    pub const ALL: [Self; 2] = [Self::Json, Self::Rttm];

    /// The format called `name` (`json`, `rttm`).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Rttm => "rttm",
        }
    }
}

/// Renders who spoke when; `file` is what the client calls the recording, `embeddings` whether JSON holds those of the
/// speakers. A day of turns takes some megabytes.
pub fn render_turns(
    conversation: &Conversation,
    format: TurnsFormat,
    file: Option<&str>,
    embeddings: bool,
) -> Rendered {
    let mut bytes = Vec::new();
    let (content_type, written) = match format {
        TurnsFormat::Json => (JSON_TYPE, json::turns(conversation, embeddings, &mut bytes)),
        TurnsFormat::Rttm => (TEXT_TYPE, rttm::rttm(conversation, file, &mut bytes)),
    };
    written.expect("memory takes what it is given");
    Rendered { content_type, body: String::from_utf8(bytes).expect("all formats write UTF-8") }
}

/// Samples as whole milliseconds, rounded to the nearest.
fn milliseconds(at: SampleIndex) -> u64 {
    const SAMPLES_PER_MS: u64 = crate::time::SAMPLE_RATE as u64 / 1000;
    (at + SAMPLES_PER_MS / 2) / SAMPLES_PER_MS
}

/// Samples as seconds, rounded to the millisecond.
fn seconds(at: SampleIndex) -> f64 {
    milliseconds(at) as f64 / 1000.0
}

/// Start and end in seconds, a millisecond apart at least: some readers take an empty span for an error.
fn edges(span: TimeSpan) -> (f64, f64) {
    let start_ms = milliseconds(span.start);
    let end_ms = milliseconds(span.end).max(start_ms + 1);
    (start_ms as f64 / 1000.0, end_ms as f64 / 1000.0)
}

#[cfg(test)]
pub(crate) mod samples {
    //! Transcripts for the tests of this room.

    use crate::language::Language;
    use crate::time::{TimeSpan, seconds_to_samples};
    use crate::transcript::{Segment, Task, Token, Transcript, Word};

    /// A segment whose tokens are its space-led words, between two timestamp tokens.
    pub fn segment(start: f64, end: f64, text: &str) -> Segment {
        let span = TimeSpan::new(seconds_to_samples(start), seconds_to_samples(end));
        let timestamp = |id| Token { id, bytes: Vec::new(), logprob: -0.5 };
        let mut tokens = vec![timestamp(50_364)];
        let pieces = split_words(text);
        tokens.extend(pieces.iter().zip(100..).map(|(piece, id)| Token {
            id,
            bytes: piece.clone().into_bytes(),
            logprob: -0.25,
        }));
        tokens.push(timestamp(50_464));
        let step = span.len() / pieces.len().max(1) as u64;
        let words = pieces
            .into_iter()
            .zip(0..)
            .map(|(text, index)| Word {
                text,
                span: TimeSpan::new(span.start + index * step, span.start + (index + 1) * step),
                probability: 0.75,
                ..Word::default()
            })
            .collect();
        Segment {
            span,
            text: text.to_owned(),
            tokens,
            words,
            seek: span.start,
            temperature: 0.0,
            avg_logprob: -0.25,
            compression_ratio: 1.25,
            no_speech_prob: 0.125,
            speaker: None,
            overlapped: false,
        }
    }

    /// A transcript of `segments`, `duration` seconds long.
    pub fn transcript(duration: f64, segments: Vec<Segment>) -> Transcript {
        Transcript {
            task: Task::Transcribe,
            language: Language::ENGLISH,
            language_probability: None,
            duration: seconds_to_samples(duration),
            text_tokens: segments.iter().map(Segment::text_tokens).sum(),
            segments: segments.into(),
            turns: Vec::new(),
            speakers: Vec::new(),
            known_names: Vec::new(),
            dropped: Vec::new(),
            coverage: None,
            separation: None,
            prompt_tokens: 0,
            warnings: Vec::new(),
        }
    }

    fn split_words(text: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for character in text.chars() {
            match words.last_mut() {
                Some(word) if character != ' ' => word.push(character),
                _ => words.push(character.to_string()),
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{segment, transcript};
    use super::*;
    use crate::transcript::Segments;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in ResponseFormat::ALL {
            assert_eq!(ResponseFormat::parse(format.name()), Some(format));
        }
        assert_eq!(ResponseFormat::parse("JSON"), None);
    }

    #[test]
    fn json_formats_are_json_and_the_others_are_plain_text() {
        let transcript = transcript(2.0, vec![segment(0.0, 2.0, " Hello.")]);
        for format in ResponseFormat::ALL {
            let rendered = render(&transcript, format, &RenderOptions::default());
            let is_json = serde_json::from_str::<serde_json::Value>(&rendered.body).is_ok();
            assert_eq!(rendered.content_type == JSON_TYPE, is_json, "{}", format.name());
            assert_eq!(rendered.content_type == TEXT_TYPE, !is_json, "{}", format.name());
        }
    }

    #[test]
    fn a_transcript_in_a_file_gives_the_same_bytes() {
        let texts = [" Hello, \"world\".", " ", " Grüße\n --> 東京 🎉.", " Don't stop.  "];
        let segments: Vec<_> =
            (0..4_000).map(|n| segment(f64::from(n), f64::from(n) + 0.75, texts[n as usize % 4])).collect();
        let (in_memory, mut in_file) =
            (transcript(4_000.0, segments.clone()), transcript(4_000.0, Vec::new()));
        in_file.segments = Segments::spilling_into(&crate::scratch::Scratch::default());
        segments.into_iter().for_each(|segment| in_file.segments.push(segment).unwrap());
        in_file.text_tokens = in_memory.text_tokens;
        assert!(in_memory.segments.is_in_memory() && !in_file.segments.is_in_memory());
        let options = RenderOptions {
            words: true,
            logprobs: true,
            languages: true,
            usage: UsageKind::Tokens,
            ..RenderOptions::default()
        };
        for format in ResponseFormat::ALL {
            let [one, other] = [&in_memory, &in_file].map(|it| render(it, format, &options));
            assert!(one == other, "{}", format.name());
        }
    }

    #[test]
    fn an_output_that_takes_nothing_more_is_an_error() {
        let transcript = transcript(2.0, vec![segment(0.0, 2.0, " Hello.")]);
        for format in ResponseFormat::ALL {
            let mut small = [0_u8; 4];
            let result = write(&transcript, format, &RenderOptions::default(), &mut &mut small[..]);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WriteZero, "{}", format.name());
        }
    }

    #[test]
    fn times_round_to_the_nearest_millisecond() {
        assert_eq!(milliseconds(7), 0);
        assert_eq!(milliseconds(8), 1);
        assert_eq!(seconds(27_200), 1.7);
    }
}
