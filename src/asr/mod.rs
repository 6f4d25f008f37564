//! Speech to text: chunks in, segments with words, times and the model's own quality numbers out.
//!
//! `whisper` is the engine, `engine` the pool of its workers, `queue` the fair order of their work, `tuning`
//! finds how many of them are best; `ggml` knows the model files, `quantize` makes weights smaller; `words` forms
//! words from tokens, `language` decides the language from several windows, `guard` finds invented text,
//! `speech_times` holds times to speech, `stitch` joins overlapping chunks at places that `seam` finds. Knows spans and samples, nothing of
//! files, requests or wire formats.

pub mod engine;
pub mod ggml;
pub mod guard;
pub mod language;
pub mod quantize;
pub mod queue;
mod seam;
pub mod speech_times;
pub mod stitch;
pub mod tuning;
pub mod whisper;
pub mod words;

use crate::cancel::CancelToken;
use crate::error::ErrorKind;
use crate::language::Language;
use crate::transcript::{Segment, Task};

/// How one chunk is decoded. Defaults are Whisper's own (openai/whisper `transcribe.py`).
#[derive(Clone, Debug, PartialEq)]
pub struct DecodingOptions {
    /// Same language, or English.
    pub task: Task,
    /// Language spoken; decided before decoding. Ignored by English-only models.
    pub language: Language,
    /// Text that precedes the recording, for names and style; empty for none.
    pub prompt: String,
    /// First sampling temperature, in [0, 1].
    pub temperature: f32,
    /// Step of the temperature fallback, up to 1; 0 turns the fallback off.
    pub temperature_increment: f32,
    /// Beams at temperature 0; 1 is greedy. At most 8.
    pub beam_size: u8,
    /// Samples drawn at temperatures above 0. At most 8.
    pub best_of: u8,
    /// Windows with a mean log probability below this are decoded again at a higher temperature.
    pub logprob_threshold: f32,
    /// Windows whose token entropy is below this repeat themselves and are decoded again.
    pub entropy_threshold: f32,
    /// Windows with at least this probability of no speech and a low log probability give no text.
    pub no_speech_threshold: f32,
    /// Whether word times are computed.
    pub word_times: bool,
}

impl Default for DecodingOptions {
    fn default() -> Self {
        Self {
            task: Task::Transcribe,
            language: Language::ENGLISH,
            prompt: String::new(),
            temperature: 0.0,
            temperature_increment: 0.2,
            beam_size: 5,
            best_of: 5,
            logprob_threshold: -1.0,
            entropy_threshold: 2.4,
            no_speech_threshold: 0.6,
            word_times: false,
        }
    }
}

/// What a loaded recogniser can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscriberSpec {
    /// Samples per window at 16 kHz.
    pub window: usize,
    /// Whether it knows languages other than English and can translate.
    pub multilingual: bool,
}

/// One chunk's result. Times count from the chunk's first sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkTranscript {
    /// Ordered by start.
    pub segments: Vec<Segment>,
    /// Tokens of prompt the model was given.
    pub prompt_tokens: usize,
}

/// Recognises one chunk at a time.
///
/// Called by a pool worker, from one thread. Nothing persists between calls: the same samples and
/// options give the same result, whatever was decoded before. After any error the transcriber may be
/// used again.
pub trait Transcriber: Send {
    /// What it can do.
    fn spec(&self) -> TranscriberSpec;

    /// Decodes `samples` (16 kHz mono, in [-1, 1], at most one window).
    ///
    /// # Errors
    /// `Cancelled` soon after `cancel` is set; `Engine` when the engine fails.
    fn transcribe(
        &mut self,
        samples: &[f32],
        options: &DecodingOptions,
        cancel: &CancelToken,
    ) -> Result<ChunkTranscript, AsrError>;

    /// Probability of every language for `samples`, by Whisper's language id; English-only models give
    /// `[1.0]`.
    ///
    /// # Errors
    /// As `transcribe`.
    fn language_probabilities(&mut self, samples: &[f32], cancel: &CancelToken)
    -> Result<Vec<f32>, AsrError>;
}

/// Why a chunk could not be recognised.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AsrError {
    /// The model file is missing, damaged or of another kind.
    #[error("the speech model cannot be used: {0}")]
    Model(String),
    /// The request was taken back.
    #[error("the request was cancelled")]
    Cancelled,
    /// The engine failed.
    #[error("speech recognition failed: {0}")]
    Engine(String),
}

impl AsrError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model(_) => ErrorKind::ModelUnusable,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Engine(_) => ErrorKind::Internal,
        }
    }
}
