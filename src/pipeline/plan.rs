//! Everything that is decided before any work.

use crate::asr::engine::{EnginePool, Priority};
use crate::asr::{DecodingOptions, TranscriberSpec};
use crate::audio::{AudioOptions, AudioSource};
use crate::diarization::DiarizationOptions;
use crate::language::Language;
use crate::models::manager::Lease;
use crate::scratch::Scratch;
use crate::transcript::{Task, Warning};
use crate::vad::{ChunkOptions, VadOptions};

use super::PipelineError;
use super::review::ReviewChecks;
use super::speakers::{Attribution, SpeakerOptions};
use super::vocals::SeparationMode;

/// What holds for every request unless it says otherwise.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// How recordings are taken in.
    pub audio: AudioOptions,
    /// When a stretch counts as speech.
    pub vad: VadOptions,
    /// How speech is cut.
    pub chunks: ChunkOptions,
    /// How chunks are decoded.
    pub decoding: DecodingOptions,
    /// What is checked of their text.
    pub checks: ReviewChecks,
    /// How speakers are told apart.
    pub diarization: DiarizationOptions,
    /// When voices are separated from what plays under them.
    pub separation: SeparationMode,
}

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
    /// Whether the tokens of the text are wanted.
    pub tokens: bool,
    /// Whether each chunk is given the text of the one before; off by default.
    pub condition_on_previous_text: bool,
    /// How soon its chunks are served beside those of other requests.
    pub priority: Priority,
    /// Whether text that nobody said is looked for and left out, or `None` as configured.
    pub guard: Option<bool>,
    /// Whether speech without text is looked for and heard again, or `None` as configured.
    pub coverage: Option<bool>,
    /// What is said of the speakers, or `None` not to tell them apart.
    pub speakers: Option<SpeakerOptions>,
    /// When the voice is separated from what plays under it, or `None` as configured.
    pub separation: Option<SeparationMode>,
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
            tokens: true,
            condition_on_previous_text: false,
            priority: Priority::default(),
            guard: None,
            coverage: None,
            speakers: None,
            separation: None,
        }
    }
}

/// A request with its model: nothing is optional or unknown any more but the language.
pub(crate) struct Plan {
    /// Language spoken; `None` to detect it.
    pub language: Option<Language>,
    /// Where detection may choose from; empty for all.
    pub candidate_languages: Vec<Language>,
    /// When a stretch counts as speech.
    pub vad: VadOptions,
    /// How speech is cut.
    pub chunks: ChunkOptions,
    /// How chunks are decoded; its language is set once it is known.
    pub decoding: DecodingOptions,
    /// How words get their speakers, where those are told apart.
    pub attribution: Attribution,
    /// Whether the tokens of the text are kept.
    pub tokens: bool,
    /// Where a long transcript is kept.
    pub scratch: Scratch,
    /// Whether each chunk is given the text of the one before.
    pub condition_on_previous_text: bool,
    /// How soon its chunks are served beside those of other requests.
    pub priority: Priority,
    /// What is checked of the text.
    pub checks: ReviewChecks,
    /// What will be done differently than asked.
    pub warnings: Vec<Warning>,
}

impl Plan {
    pub fn new(
        request: &Request,
        options: &PipelineOptions,
        engine: &Lease<EnginePool>,
    ) -> Result<Self, PipelineError> {
        let model = engine.spec();
        let (spec, id) = (EnginePool::spec(engine), &model.id);
        let decoding = DecodingOptions {
            task: request.task,
            prompt: request.prompt.clone(),
            temperature: request.temperature,
            beam_size: request.beam_size.unwrap_or(options.decoding.beam_size),
            // Speakers are given to words.
            word_times: request.word_times || request.speakers.is_some(),
            ..options.decoding.clone()
        };
        Ok(Self {
            language: known_language(request, spec, id)?,
            candidate_languages: request.candidate_languages.clone(),
            vad: match request.chunking {
                Chunking::Auto => options.vad,
                Chunking::Vad(vad) => vad,
            },
            chunks: ChunkOptions {
                max_ms: model
                    .chunk_max_ms
                    .map_or(options.chunks.max_ms, |max| max.min(options.chunks.max_ms)),
                target_ms: model.chunk_target_ms.unwrap_or(options.chunks.target_ms),
                ..options.chunks
            },
            decoding,
            attribution: Attribution {
                smoothing: request.speakers.as_ref().is_none_or(|speakers| speakers.smoothing),
                words: request.word_times,
            },
            tokens: request.tokens,
            scratch: options.audio.scratch.clone(),
            condition_on_previous_text: request.condition_on_previous_text,
            priority: request.priority,
            checks: ReviewChecks {
                guard: request.guard.unwrap_or(options.checks.guard),
                coverage: request.coverage.unwrap_or(options.checks.coverage),
            },
            warnings: limits_of(request, spec, id),
        })
    }
}

/// The language if it need not be detected.
fn known_language(
    request: &Request,
    spec: TranscriberSpec,
    model: &str,
) -> Result<Option<Language>, PipelineError> {
    if spec.multilingual {
        return Ok(request.language);
    }
    match request.language {
        Some(language) if language != Language::ENGLISH => Err(PipelineError::Incapable {
            field: "language",
            message: format!(
                "the model `{model}` knows English only, not {}; choose a multilingual one \
                 (`diarist models list`)",
                language.name()
            ),
        }),
        _ => Ok(Some(Language::ENGLISH)),
    }
}

/// What an English-only model does differently than asked.
fn limits_of(request: &Request, spec: TranscriberSpec, model: &str) -> Vec<Warning> {
    if request.task == Task::Translate && !spec.multilingual {
        let message =
            format!("the model `{model}` knows English only: the recording was taken to be English");
        return vec![Warning::new("english_only_model", message)];
    }
    Vec::new()
}
