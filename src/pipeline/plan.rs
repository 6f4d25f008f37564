//! Everything that is decided before any work.

use crate::audio::AudioSource;
use crate::language::Language;
use crate::transcript::Task;
use crate::vad::VadOptions;

/// How the recording is cut (`chunking_strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Chunking {
    /// Voice activity with the configured parameters.
    #[default]
    Auto,
    /// Voice activity with the request's own parameters.
    Vad(VadOptions),
}

/// A request without doubts: what `api` and the command line hand to the pipeline.
#[derive(Clone, Debug)]
pub struct Request {
    /// The recording.
    pub source: AudioSource,
    /// Model by id or alias, as the client named it.
    pub model: String,
    /// Same language or English.
    pub task: Task,
    /// Language spoken, or `None` to detect it.
    pub language: Option<Language>,
    /// Where detection may choose from; empty for all.
    pub candidate_languages: Vec<Language>,
    /// Text that precedes the recording; empty for none.
    pub prompt: String,
    /// First sampling temperature, in [0, 1].
    pub temperature: f32,
    /// Beams at temperature 0 (1 is greedy), or `None` for the configured number.
    pub beam_size: Option<u8>,
    /// How the recording is cut.
    pub chunking: Chunking,
    /// Whether word times are wanted.
    pub word_times: bool,
    /// Whether each chunk is given the text of the one before; off by default.
    pub condition_on_previous_text: bool,
}

impl Request {
    /// A plain transcription of `source` with `model`.
    pub fn new(source: AudioSource, model: impl Into<String>) -> Self {
        Self {
            source,
            model: model.into(),
            task: Task::Transcribe,
            language: None,
            candidate_languages: Vec::new(),
            prompt: String::new(),
            temperature: 0.0,
            beam_size: None,
            chunking: Chunking::Auto,
            word_times: false,
            condition_on_previous_text: false,
        }
    }
}
