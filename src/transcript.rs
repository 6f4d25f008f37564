//! What a recording turned into: words, segments, speaker turns, and what went wrong on the way.
//!
//! Times are on the 16 kHz clock of the source (`time`). Letters, names, seconds and wire formats belong
//! to `output`. Segments are many in a long recording, so `segments` keeps them in a file. Read next: `output`.

mod segments;

use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::time::{SampleIndex, TimeSpan};

pub use segments::Segments;

/// What the recogniser is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Task {
    /// Text in the language that is spoken.
    #[default]
    Transcribe,
    /// English text, whatever is spoken.
    Translate,
}

/// One token of the recogniser's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Id in the model's vocabulary.
    pub id: i32,
    /// The token's bytes; empty for special and timestamp tokens. May end inside a UTF-8 character.
    pub bytes: Vec<u8>,
    /// Natural logarithm of the model's probability, at most 0.
    pub logprob: f32,
}

/// One word as the model wrote it: leading space and punctuation included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// For example `" Hello,"`.
    pub text: String,
    /// When it is spoken.
    pub span: TimeSpan,
    /// Mean probability of its tokens, in [0, 1].
    pub probability: f32,
    /// Who speaks it, once diarization has run; `None` also where nobody seems to.
    pub speaker: Option<SpeakerId>,
    /// Whether somebody else speaks at the same time, as far as diarization tells.
    pub overlapped: bool,
}

/// A stretch of recognised text with the model's own quality numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// When it is spoken.
    pub span: TimeSpan,
    /// Text with its leading space, as the model wrote it.
    pub text: String,
    /// Every token, the timestamp tokens at both ends included; empty when tokens were not asked for.
    pub tokens: Vec<Token>,
    /// Words in order, each within `span`; empty when word times were not asked for.
    pub words: Vec<Word>,
    /// Start of the window the segment was decoded from.
    pub seek: SampleIndex,
    /// Sampling temperature that gave this text, in [0, 1].
    pub temperature: f32,
    /// Mean log probability of the window's tokens.
    pub avg_logprob: f32,
    /// Length of the window's text over its zlib-compressed length; above 2.4 it repeats itself.
    pub compression_ratio: f32,
    /// Probability, in [0, 1], that the window holds no speech.
    pub no_speech_prob: f32,
    /// Who speaks it, once diarization has run; `None` also where nobody seems to.
    pub speaker: Option<SpeakerId>,
    /// Whether somebody else speaks during at least one of its words.
    pub overlapped: bool,
}

/// A speaker of this recording, numbered from 0 by first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpeakerId(pub u32);

/// A span in which one speaker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeakerTurn {
    /// When.
    pub span: TimeSpan,
    /// Who.
    pub speaker: SpeakerId,
}

/// One of the voices in a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speaker {
    /// The name that the client gave to this voice, if it is a known one.
    pub name: Option<String>,
    /// What the voice is like to the encoder, of unit length; voices of one encoder can be compared.
    pub embedding: Vec<f32>,
}

/// Who spoke when, without what was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// Length of the recording.
    pub duration: SampleIndex,
    /// Ordered by start; turns of different speakers may overlap.
    pub turns: Vec<SpeakerTurn>,
    /// By number.
    pub speakers: Vec<Speaker>,
    /// The names of all known voices, also of those that are not heard: nobody else is called so.
    pub known_names: Vec<String>,
    /// Where the voice was separated from what plays under it; `None` where it was nowhere.
    pub separation: Option<VocalSeparation>,
    /// What the client should know.
    pub warnings: Vec<Warning>,
}

/// Something a stage could not do, or did differently than asked, said to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// Stable identifier in snake case, for programs.
    pub code: &'static str,
    /// One sentence for people, without a trailing dot.
    pub message: String,
    /// Where in the recording, if it is about a place.
    pub span: Option<TimeSpan>,
}

impl Warning {
    /// A warning about the recording or request as a whole.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span: None }
    }

    /// A warning about one place in the recording.
    pub fn at(code: &'static str, message: impl Into<String>, span: TimeSpan) -> Self {
        Self { code, message: message.into(), span: Some(span) }
    }
}

/// Why recognised text was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The recogniser went round in circles.
    Loop,
    /// More text than anybody could say in the time.
    Rate,
    /// Text where nobody speaks.
    Silence,
    /// The prompt came back as if it had been spoken.
    Prompt,
}

impl DropReason {
    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Rate => "rate",
            Self::Silence => "silence",
            Self::Prompt => "prompt",
        }
    }
}

/// Text that the recogniser gave and the guard left out.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedText {
    /// Where it claimed to be spoken.
    pub span: TimeSpan,
    /// What it said.
    pub text: String,
    /// Why it is not in the transcript.
    pub reason: DropReason,
}

/// How much of the speech that was found has text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Speech found by voice activity, in samples.
    pub speech: SampleIndex,
    /// How much of it lies under text, in samples; at most `speech`.
    pub covered: SampleIndex,
    /// Chunks decoded more than once, for whatever reason.
    pub redecoded_chunks: usize,
    /// Speech without text, in order, however often it was decoded.
    pub uncovered: Vec<TimeSpan>,
}

/// Where the voice was separated from what plays under it.
#[derive(Clone, Debug, PartialEq)]
pub struct VocalSeparation {
    /// What did it.
    pub model: String,
    /// How much of the recording, in samples.
    pub samples: SampleIndex,
    /// Where, in order, disjoint; in a finished answer at most so many as its lists hold.
    pub regions: Vec<TimeSpan>,
    /// Where the text of the chunks in there comes from; `None` without text.
    pub chunks: Option<SourceCounts>,
}

/// Chunks by what their text was heard in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// In the separated voice.
    pub voice: usize,
    /// In the recording as it is.
    pub mix: usize,
}

/// The whole answer. Segments are ordered by start; the full text is derived, never stored.
#[derive(Debug)]
pub struct Transcript {
    /// What was asked for.
    pub task: Task,
    /// Language spoken, given or detected.
    pub language: Language,
    /// Probability of the detected language in [0, 1]; `None` when the language was given.
    pub language_probability: Option<f32>,
    /// Length of the recording.
    pub duration: SampleIndex,
    /// Recognised text in order.
    pub segments: Segments,
    /// Who spoke when; empty without diarization.
    pub turns: Vec<SpeakerTurn>,
    /// The speakers by number, in the order in which the text has them; empty without diarization.
    pub speakers: Vec<Speaker>,
    /// The names of all known voices, also of those that are not heard: nobody else is called so.
    pub known_names: Vec<String>,
    /// Tokens of prompt given to the model, for usage figures.
    pub prompt_tokens: usize,
    /// What the guard left out; empty when it was off.
    pub dropped: Vec<DroppedText>,
    /// How much of the speech has text; `None` when that was not checked.
    pub coverage: Option<Coverage>,
    /// Where the voice was separated from what plays under it; `None` where it was nowhere.
    pub separation: Option<VocalSeparation>,
    /// Tokens of text recognised, for usage figures; counted also where they are not kept.
    pub text_tokens: u64,
    /// What the client should know.
    pub warnings: Vec<Warning>,
}

impl Segment {
    /// How many of its tokens are text.
    pub fn text_tokens(&self) -> u64 {
        self.tokens.iter().filter(|token| !token.bytes.is_empty()).count() as u64
    }
}

impl Transcript {
    /// The text of all segments, trimmed at both ends. For transcripts whose text may be held in memory;
    /// `output` writes the others piece by piece.
    ///
    /// # Panics
    /// When the temporary file of a long transcript does not give back what it took.
    pub fn text(&self) -> String {
        let mut joined = String::new();
        for segment in self.segments.iter() {
            joined.push_str(&segment.expect("the temporary file gives back what was written to it").text);
        }
        joined.trim().to_owned()
    }
}
