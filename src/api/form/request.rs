//! Text fields to a request without doubts. Pure.
//!
//! Every value is checked here, and whatever is wrong is a 400 that names the field. What this build takes
//! but does not act on is answered with a warning.

use serde_json::Value;

use crate::api::answer::Endpoint;
use crate::api::error::{ApiError, shown};
use crate::error::ErrorKind;
use crate::language::Language;
use crate::output::{RenderOptions, ResponseFormat, TurnsFormat, UsageKind};
use crate::pipeline::{Chunking, Priority, Request, SeparationMode, VadOptions};
use crate::transcript::{Task, Warning};

use super::fields::{Fields, ObjectField};
use super::speakers::{self, Named, SpeakerFields};

/// Longest model name, in bytes.
const MAX_MODEL_NAME: usize = 200;
/// Longest prompt that is passed on, in characters. Whisper looks at its last 224 tokens.
const MAX_PROMPT: usize = 8_000;
/// Most beams that the engine takes.
const MAX_BEAMS: u8 = 8;
/// Longest pause or padding that can be asked for, in ms.
const MAX_VAD_MS: u64 = 60_000;
/// How far below its threshold a voice activity probability must fall to count as silence; Silero's own
/// `get_speech_timestamps` has it so.
const NEG_THRESHOLD_GAP: f32 = 0.15;
/// OpenAI's model that tells speakers apart: in every form that can say so, it does here.
const DIARIZING_MODEL: &str = "gpt-4o-transcribe-diarize";

/// What a client asked for.
#[derive(Debug)]
pub struct SpeechRequest {
    /// For the pipeline.
    pub request: Request,
    /// For the answer.
    pub format: ResponseFormat,
    /// For the JSON formats and the stream.
    pub render: RenderOptions,
    /// Whether the answer is a stream of events.
    pub stream: bool,
    /// Voices with names, for `request.speakers`, once their clips lie in files; empty where nobody asks who speaks.
    pub known: Vec<Named>,
    /// What was not acted on.
    pub warnings: Vec<Warning>,
}

/// What a client asked for who wants turns without text.
#[derive(Debug)]
pub struct TurnsRequest {
    /// What is said of the speakers.
    pub speakers: SpeakerFields,
    /// When the voice is separated from what plays under it, or `None` as configured.
    pub separation: Option<SeparationMode>,
    /// For the answer.
    pub format: TurnsFormat,
    /// Whether the answer holds what the voices are like.
    pub embeddings: bool,
    /// Its place in the line.
    pub priority: Priority,
    /// What was not acted on.
    pub warnings: Vec<Warning>,
}

/// Parses the `fields` of a request for turns; `ignored` names those that the route does not know.
///
/// # Errors
/// As `parse`.
pub fn parse_turns(fields: &Fields, ignored: &[String]) -> Result<TurnsRequest, ApiError> {
    let name = fields.text("response_format")?;
    let format = name.map_or(Ok(TurnsFormat::default()), |name| {
        let known = TurnsFormat::ALL.map(TurnsFormat::name).join("` or `");
        TurnsFormat::parse(name).ok_or_else(|| {
            let name = shown(name);
            invalid("response_format", format!("`{name}` is no response format here; use `{known}`"))
        })
    })?;
    let embeddings = boolean(fields, "embeddings")?.unwrap_or(false);
    if embeddings && format != TurnsFormat::Json {
        let message = "`embeddings` needs the response format `json`".to_owned();
        return Err(invalid("embeddings", message));
    }
    Ok(TurnsRequest {
        speakers: speakers::speakers(fields)?,
        separation: separation(fields)?,
        format,
        embeddings,
        priority: priority(fields)?,
        warnings: ignored.iter().map(|name| unknown_field(name)).collect(),
    })
}

/// Parses the `fields` of a request to `endpoint` into `request`, whose source and model are set. `ignored`
/// names the fields that the endpoint does not know.
///
/// # Errors
/// 400 with `param` set for the first value that is wrong.
pub fn parse(
    endpoint: Endpoint,
    fields: &Fields,
    ignored: &[String],
    request: Request,
) -> Result<SpeechRequest, ApiError> {
    let model = request.model.clone();
    let format = response_format(endpoint, fields)?;
    let stream = boolean(fields, "stream")?.unwrap_or(false);
    let include = include(fields)?;
    let granularities = granularities(fields)?;
    let can_stream =
        matches!(format, ResponseFormat::Json | ResponseFormat::Text | ResponseFormat::DiarizedJson);
    if stream && !can_stream {
        return Err(unsupported(
            "response_format",
            format!(
                "`{}` cannot be streamed; stream `json`, `text` or `diarized_json`, or leave `stream` out",
                format.name()
            ),
        ));
    }
    let has_logprobs = format == ResponseFormat::Json || stream && format == ResponseFormat::Text;
    if include.logprobs && !has_logprobs {
        return Err(unsupported(
            "include",
            format!("`logprobs` needs the response format `json`, not `{}`", format.name()),
        ));
    }
    let words = granularities.words && format == ResponseFormat::VerboseJson;
    let mut warnings: Vec<Warning> = ignored.iter().map(|name| unknown_field(name)).collect();
    let chunking = chunking(fields, &mut warnings)?;
    let shown_speakers = shown_speakers(fields, &model, format)?;
    let speakers = asked_speakers(fields, shown_speakers, &mut warnings)?;
    let prompt = prompt(fields, &mut warnings)?;
    let request = Request {
        task: endpoint.task(),
        language: language(fields)?,
        candidate_languages: candidate_languages(fields)?,
        prompt,
        temperature: temperature(fields)?,
        beam_size: beam_size(fields)?,
        chunking,
        word_times: words,
        // Nothing else prints them.
        tokens: include.logprobs || granularities.segments && format == ResponseFormat::VerboseJson,
        condition_on_previous_text: boolean(fields, "condition_on_previous_text")?.unwrap_or(false),
        priority: priority(fields)?,
        guard: boolean(fields, "guard")?,
        coverage: boolean(fields, "coverage")?,
        speakers: speakers.as_ref().map(|speakers| speakers.options.clone()),
        separation: separation(fields)?,
        ..request
    };
    // Streams count tokens whatever the model: their schema knows nothing else.
    let counts_tokens = stream || model.starts_with("gpt-");
    let render = RenderOptions {
        segments: granularities.segments,
        words,
        logprobs: include.logprobs,
        languages: model == "gpt-transcribe" && request.task == Task::Transcribe,
        usage: if counts_tokens { UsageKind::Tokens } else { UsageKind::Duration },
        speakers: speakers.is_some(),
        speaker_labels: shown_speakers == ShownSpeakers::Labelled,
    };
    let known = speakers.map(|speakers| speakers.known).unwrap_or_default();
    Ok(SpeechRequest { request, format, render, stream, known, warnings })
}

/// The model's name, within bounds.
///
/// # Errors
/// 400 when it is too long to be one.
pub fn model_name(name: &str) -> Result<&str, ApiError> {
    if name.len() > MAX_MODEL_NAME {
        return Err(ApiError::field("model", format!("a model's name has at most {MAX_MODEL_NAME} bytes")));
    }
    Ok(name)
}

fn response_format(endpoint: Endpoint, fields: &Fields) -> Result<ResponseFormat, ApiError> {
    let Some(name) = fields.text("response_format")? else { return Ok(ResponseFormat::default()) };
    if endpoint == Endpoint::Translations && name == ResponseFormat::DiarizedJson.name() {
        return Err(unsupported(
            "response_format",
            format!("`{name}` is for transcriptions alone; use `json` or `verbose_json` for a translation"),
        ));
    }
    ResponseFormat::parse(name).ok_or_else(|| {
        let known = ResponseFormat::ALL.map(ResponseFormat::name).join("`, `");
        invalid("response_format", format!("`{}` is no response format; use one of `{known}`", shown(name)))
    })
}

/// How an answer says who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShownSpeakers {
    /// Not at all.
    No,
    /// In fields of their own, or by where cues end.
    Told,
    /// In the text of cues.
    Labelled,
}

fn shown_speakers(fields: &Fields, model: &str, format: ResponseFormat) -> Result<ShownSpeakers, ApiError> {
    let (diarize, labels) = (boolean(fields, "diarize")?, boolean(fields, "speaker_labels")?);
    let name = format.name();
    let has_cues = matches!(format, ResponseFormat::Srt | ResponseFormat::Vtt);
    if labels == Some(true) && !has_cues {
        return Err(invalid(
            "speaker_labels",
            format!("`speaker_labels` is for `srt` and `vtt`, not `{name}`"),
        ));
    }
    if labels == Some(true) && diarize == Some(false) {
        let message = "`speaker_labels` needs to know who speaks; leave `diarize` out, or set it";
        return Err(invalid("speaker_labels", message.to_owned()));
    }
    if diarize == Some(true) && !format.shows_speakers() {
        let message =
            format!("`{name}` has no room for speakers; use `diarized_json`, `verbose_json`, `srt` or `vtt`");
        return Err(invalid("diarize", message));
    }
    if diarize == Some(false) && format == ResponseFormat::DiarizedJson {
        return Err(invalid("diarize", format!("`{name}` is who speaks; use `verbose_json` without that")));
    }
    let is_diarizing = model == DIARIZING_MODEL;
    let by_itself = format == ResponseFormat::DiarizedJson
        || labels == Some(true)
        || is_diarizing && format.shows_speakers();
    Ok(match diarize.unwrap_or(by_itself) {
        false => ShownSpeakers::No,
        true if has_cues && labels.unwrap_or(is_diarizing) => ShownSpeakers::Labelled,
        true => ShownSpeakers::Told,
    })
}

/// What the form says of the speakers, if anybody is to tell them apart. It is checked in any case, so that a client's
/// mistake shows at once.
fn asked_speakers(
    fields: &Fields,
    shown: ShownSpeakers,
    warnings: &mut Vec<Warning>,
) -> Result<Option<SpeakerFields>, ApiError> {
    let speakers = speakers::speakers(fields)?;
    if shown != ShownSpeakers::No {
        return Ok(Some(speakers));
    }
    let given = speakers::given(fields);
    if !given.is_empty() {
        let names = given.join("`, `");
        let message =
            format!("`{names}` had no effect: nobody asked who speaks; `diarize` or `diarized_json` do");
        warnings.push(Warning::new("ignored_field", message));
    }
    Ok(None)
}

/// A boolean in any of the spellings that clients use; `null` is unset.
///
/// # Errors
/// 400 for anything else.
pub(super) fn boolean(fields: &Fields, field: &'static str) -> Result<Option<bool>, ApiError> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Some(true)),
        "false" | "0" | "no" | "off" => Ok(Some(false)),
        "null" | "none" => Ok(None),
        _ => Err(invalid(field, format!("`{field}` must be `true` or `false`, not `{}`", shown(text)))),
    }
}

struct Include {
    logprobs: bool,
}

fn include(fields: &Fields) -> Result<Include, ApiError> {
    let values = choices(fields, "include", &["logprobs"])?;
    Ok(Include { logprobs: !values.is_empty() })
}

struct Granularities {
    segments: bool,
    words: bool,
}

/// Segments unless only words are asked for.
fn granularities(fields: &Fields) -> Result<Granularities, ApiError> {
    let values = choices(fields, "timestamp_granularities", &["word", "segment"])?;
    let has = |wanted: &str| values.iter().any(|value| value == wanted);
    Ok(Granularities { segments: values.is_empty() || has("segment"), words: has("word") })
}

/// The values of a list field that knows only `known`; commas separate as well.
fn choices(fields: &Fields, field: &'static str, known: &[&str]) -> Result<Vec<String>, ApiError> {
    let values: Vec<String> = fields
        .list(field)?
        .iter()
        .flat_map(|value| value.split(','))
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    match values.iter().find(|value| !known.contains(&value.as_str())) {
        None => Ok(values),
        Some(wrong) => Err(invalid(
            field,
            format!("`{}` is no value of `{field}`; use `{}`", shown(wrong), known.join("` or `")),
        )),
    }
}

/// A language by code or name; `auto` is unset.
fn language(fields: &Fields) -> Result<Option<Language>, ApiError> {
    match fields.text("language")? {
        None | Some("auto") => Ok(None),
        Some(text) => parse_language("language", text).map(Some),
    }
}

fn candidate_languages(fields: &Fields) -> Result<Vec<Language>, ApiError> {
    let mut languages = Vec::new();
    for text in fields.list("languages")? {
        for text in text.split(',').filter(|text| !text.trim().is_empty()) {
            let language = parse_language("languages", text)?;
            if !languages.contains(&language) {
                languages.push(language);
            }
        }
    }
    Ok(languages)
}

fn parse_language(field: &'static str, text: &str) -> Result<Language, ApiError> {
    Language::parse(text).ok_or_else(|| {
        ApiError::field(
            field,
            format!(
                "`{}` is no language that can be recognised; use an ISO 639-1 code such as `en`",
                shown(text)
            ),
        )
        .with_code("invalid_language_format")
    })
}

/// The prompt and the keywords. Only the end of a long one is kept, as only that would be looked at.
fn prompt(fields: &Fields, warnings: &mut Vec<Warning>) -> Result<String, ApiError> {
    let mut parts: Vec<String> = fields.text("prompt")?.map(str::to_owned).into_iter().collect();
    let keywords = fields.list("keywords")?;
    if !keywords.is_empty() {
        parts.push(keywords.join(", "));
    }
    let prompt = parts.join(" ");
    if prompt.contains('\0') {
        return Err(invalid("prompt", "the prompt must not hold NUL characters".to_owned()));
    }
    let length = prompt.chars().count();
    if length <= MAX_PROMPT {
        return Ok(prompt);
    }
    warnings.push(Warning::new(
        "prompt_truncated",
        format!("only the last {MAX_PROMPT} of the prompt's {length} characters were used"),
    ));
    Ok(prompt.chars().skip(length - MAX_PROMPT).collect())
}

fn temperature(fields: &Fields) -> Result<f32, ApiError> {
    let Some(text) = fields.text("temperature")? else { return Ok(0.0) };
    let value = text.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| {
        invalid("temperature", format!("`temperature` must be a number from 0 to 1, not `{}`", shown(text)))
    })
}

fn beam_size(fields: &Fields) -> Result<Option<u8>, ApiError> {
    let Some(text) = fields.text("beam_size")? else { return Ok(None) };
    let value = text.parse::<u8>().ok().filter(|value| (1..=MAX_BEAMS).contains(value));
    value.map(Some).ok_or_else(|| {
        invalid(
            "beam_size",
            format!("`beam_size` must be a whole number from 1 to {MAX_BEAMS}, not `{}`", shown(text)),
        )
    })
}

fn priority(fields: &Fields) -> Result<Priority, ApiError> {
    let Some(name) = fields.text("priority")? else { return Ok(Priority::default()) };
    Priority::parse(name).ok_or_else(|| {
        let known = Priority::ALL.map(Priority::name).join("`, `");
        invalid("priority", format!("`{}` is no priority; use one of `{known}`", shown(name)))
    })
}

/// A mode by name; `true` and `false`, in any spelling, are `on` and `off`.
fn separation(fields: &Fields) -> Result<Option<SeparationMode>, ApiError> {
    const FIELD: &str = "vocal_separation";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    if let Some(mode) = SeparationMode::parse(&text.to_ascii_lowercase()) {
        return Ok(Some(mode));
    }
    let flag = boolean(fields, FIELD).map_err(|_| {
        let known = SeparationMode::ALL.map(SeparationMode::name).join("`, `");
        invalid(FIELD, format!("`{FIELD}` must be one of `{known}`, not `{}`", shown(text)))
    })?;
    Ok(flag.map(|flag| if flag { SeparationMode::On } else { SeparationMode::Off }))
}

const CHUNKING: &str = "chunking_strategy";

fn chunking(fields: &Fields, warnings: &mut Vec<Warning>) -> Result<Chunking, ApiError> {
    match fields.object(CHUNKING)? {
        None => Ok(Chunking::Auto),
        Some(ObjectField::Text(text)) => match text.as_str() {
            "" | "auto" | "null" | "none" => Ok(Chunking::Auto),
            _ => Err(bad_chunking(format!(
                "`{}` is no strategy; use `auto` or a `server_vad` object",
                shown(&text)
            ))),
        },
        Some(ObjectField::Keys(keys)) => vad_options(&keys, warnings),
    }
}

fn vad_options(keys: &[(String, Value)], warnings: &mut Vec<Warning>) -> Result<Chunking, ApiError> {
    let mut options = VadOptions::default();
    let mut kind = None;
    for (key, value) in keys.iter().filter(|(_, value)| !is_unset(value)) {
        match key.as_str() {
            "type" => kind = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            "threshold" => options.threshold = number(key, value, 0.0, 1.0)? as f32,
            "silence_duration_ms" => options.min_silence_ms = milliseconds(key, value)?,
            "prefix_padding_ms" => options.speech_pad_ms = milliseconds(key, value)?,
            other if warnings.len() < super::MAX_IGNORED => {
                warnings.push(unknown_field(&format!("{CHUNKING}[{}]", shown(other))));
            }
            _ => {}
        }
    }
    options.neg_threshold = (options.threshold - NEG_THRESHOLD_GAP).max(0.01);
    match kind.as_deref() {
        Some("server_vad") => Ok(Chunking::Vad(options)),
        Some("auto") => Ok(Chunking::Auto),
        Some(other) => Err(bad_chunking(format!("`{}` is no type; use `server_vad`", shown(other)))),
        None => Err(bad_chunking("the object needs a `type`, which is `server_vad`".to_owned())),
    }
}

fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// A number in `[min, max]`, given as such or as text.
fn number(key: &str, value: &Value, min: f64, max: f64) -> Result<f64, ApiError> {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        let given = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        bad_chunking(format!("`{key}` must be a number from {min} to {max}, not `{}`", shown(&given)))
    })
}

fn milliseconds(key: &str, value: &Value) -> Result<u64, ApiError> {
    let number = number(key, value, 0.0, MAX_VAD_MS as f64)?;
    if number.fract() != 0.0 {
        return Err(bad_chunking(format!("`{key}` must be a whole number of milliseconds, not `{number}`")));
    }
    Ok(number as u64)
}

fn bad_chunking(message: String) -> ApiError {
    invalid(CHUNKING, format!("`{CHUNKING}` is wrong: {message}"))
}

fn unknown_field(name: &str) -> Warning {
    Warning::new("ignored_field", format!("the field `{name}` is unknown here and was ignored"))
}

/// A 400 about the value of `field`.
pub(super) fn invalid(field: &str, message: String) -> ApiError {
    ApiError::field(field, message).with_code("invalid_value")
}

fn unsupported(field: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::ModelIncapable, message).with_param(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::AudioSource;

    fn parsed_at(endpoint: Endpoint, pairs: &[(&str, &str)]) -> Result<SpeechRequest, ApiError> {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned());
        }
        let source = AudioSource { path: "x".into(), name: None };
        let model = fields.text("model")?.unwrap_or("whisper-1").to_owned();
        parse(endpoint, &fields, &[], Request::new(source, model))
    }

    fn parsed(pairs: &[(&str, &str)]) -> SpeechRequest {
        parsed_at(Endpoint::Transcriptions, pairs).unwrap()
    }

    fn param(pairs: &[(&str, &str)]) -> String {
        let envelope = parsed_at(Endpoint::Transcriptions, pairs).unwrap_err().envelope();
        let envelope: Value = serde_json::from_str(&envelope).unwrap();
        envelope["error"]["param"].as_str().unwrap().to_owned()
    }

    #[test]
    fn nothing_given_is_plain_json_of_segments() {
        let plain = parsed(&[]);
        assert_eq!(plain.format, ResponseFormat::Json);
        assert_eq!(plain.render, RenderOptions::default());
        assert!(!plain.stream && plain.warnings.is_empty());
        assert_eq!(plain.request.chunking, Chunking::Auto);
    }

    #[test]
    fn word_granularity_alone_leaves_segments_out() {
        let verbose = ("response_format", "verbose_json");
        let words = parsed(&[verbose, ("timestamp_granularities[]", "word")]);
        assert!(words.request.word_times && words.render.words && !words.render.segments);
        let both = parsed(&[verbose, ("timestamp_granularities", "segment,word")]);
        assert!(both.render.words && both.render.segments);
        let json = parsed(&[("timestamp_granularities[]", "word")]);
        assert!(!json.request.word_times && !json.render.words);
        assert_eq!(param(&[("timestamp_granularities[]", "syllable")]), "timestamp_granularities");
    }

    #[test]
    fn booleans_come_in_many_spellings() {
        for text in ["true", "True", "TRUE", "1", "on"] {
            assert!(parsed(&[("stream", text)]).stream, "{text}");
        }
        for text in ["false", "False", "0", "", "null"] {
            assert!(!parsed(&[("stream", text)]).stream, "{text}");
        }
        assert_eq!(param(&[("stream", "maybe")]), "stream");
    }

    #[test]
    fn temperatures_lie_between_zero_and_one() {
        assert_eq!(parsed(&[("temperature", "0.2")]).request.temperature, 0.2);
        for text in ["abc", "2", "-0.1", "NaN", "inf", "1e9"] {
            assert_eq!(param(&[("temperature", text)]), "temperature", "{text}");
        }
    }

    #[test]
    fn both_encodings_of_server_vad_have_the_same_effect() {
        let brackets = parsed(&[
            ("chunking_strategy[type]", "server_vad"),
            ("chunking_strategy[threshold]", "0.3"),
            ("chunking_strategy[prefix_padding_ms]", "100"),
            ("chunking_strategy[silence_duration_ms]", "500"),
        ]);
        let json =
            r#"{"type":"server_vad","threshold":0.3,"prefix_padding_ms":100,"silence_duration_ms":500}"#;
        let json = parsed(&[("chunking_strategy", json)]);
        assert_eq!(brackets.request.chunking, json.request.chunking);
        let Chunking::Vad(options) = json.request.chunking else { panic!() };
        assert_eq!((options.threshold, options.speech_pad_ms, options.min_silence_ms), (0.3, 100, 500));
        assert!((options.neg_threshold - 0.15).abs() < 1e-6);
    }

    #[test]
    fn bad_chunking_names_its_field() {
        for pairs in [
            &[("chunking_strategy[type]", "semantic_vad")][..],
            &[("chunking_strategy[threshold]", "0.5")],
            &[("chunking_strategy", "sometimes")],
            &[("chunking_strategy", "[1]")],
            &[("chunking_strategy", r#"{"type":"server_vad","threshold":2}"#)],
            &[("chunking_strategy", r#"{"type":"server_vad","threshold":"x"}"#)],
            &[("chunking_strategy", r#"{"type":"server_vad","silence_duration_ms":-1}"#)],
            &[("chunking_strategy", r#"{"type":"server_vad","prefix_padding_ms":1.5}"#)],
            &[("chunking_strategy", r#"{"type":7}"#)],
        ] {
            assert_eq!(param(pairs), "chunking_strategy", "{pairs:?}");
        }
    }

    #[test]
    fn languages_are_codes_or_names() {
        assert_eq!(parsed(&[("language", "de")]).request.language.unwrap().code(), "de");
        assert_eq!(parsed(&[("language", "")]).request.language, None);
        assert_eq!(
            parsed(&[("languages[]", "de"), ("languages[]", "en")]).request.candidate_languages.len(),
            2
        );
        assert_eq!(param(&[("language", "this is bad")]), "language");
        assert_eq!(param(&[("languages[]", "xx")]), "languages");
    }

    #[test]
    fn token_usage_goes_with_token_models_and_streams() {
        assert_eq!(parsed(&[("model", "gpt-4o-transcribe")]).render.usage, UsageKind::Tokens);
        assert_eq!(parsed(&[("stream", "true")]).render.usage, UsageKind::Tokens);
        assert_eq!(parsed(&[("model", "whisper-1")]).render.usage, UsageKind::Duration);
        assert!(parsed(&[("model", "gpt-transcribe")]).render.languages);
    }

    #[test]
    fn a_stream_is_json_or_text_and_so_are_log_probabilities() {
        for format in ["srt", "vtt", "verbose_json"] {
            assert_eq!(param(&[("stream", "true"), ("response_format", format)]), "response_format");
            assert_eq!(param(&[("include[]", "logprobs"), ("response_format", format)]), "include");
        }
        let text = parsed(&[("stream", "true"), ("response_format", "text"), ("include[]", "logprobs")]);
        assert!(text.stream && text.render.logprobs);
        assert_eq!(param(&[("include[]", "everything")]), "include");
    }

    #[test]
    fn keywords_join_the_prompt_and_a_long_one_keeps_its_end() {
        let both = parsed(&[("prompt", "Talk on birds."), ("keywords[]", "kea"), ("keywords[]", "kiwi")]);
        assert_eq!(both.request.prompt, "Talk on birds. kea, kiwi");
        let long = parsed(&[("prompt", &("x".repeat(9_000) + "end"))]);
        assert_eq!(long.request.prompt.chars().count(), MAX_PROMPT);
        assert!(long.request.prompt.ends_with("end"));
        assert_eq!(long.warnings[0].code, "prompt_truncated");
        assert_eq!(param(&[("prompt", "a\0b")]), "prompt");
    }

    #[test]
    fn diarization_is_asked_for_in_many_ways() {
        let verbose = ("response_format", "verbose_json");
        let alias = ("model", DIARIZING_MODEL);
        let speakers = |pairs: &[(&str, &str)]| {
            let parsed = parsed(pairs);
            assert_eq!(parsed.request.speakers.is_some(), parsed.render.speakers);
            (parsed.render.speakers, parsed.render.speaker_labels)
        };
        assert_eq!(speakers(&[verbose]), (false, false));
        assert_eq!(speakers(&[verbose, ("diarize", "true")]), (true, false));
        assert_eq!(speakers(&[("response_format", "diarized_json")]), (true, false));
        assert_eq!(speakers(&[("response_format", "diarized_json"), ("stream", "true")]), (true, false));
        for format in ["srt", "vtt"] {
            let format = ("response_format", format);
            assert_eq!(speakers(&[format, ("diarize", "true")]), (true, false));
            assert_eq!(speakers(&[format, ("speaker_labels", "true")]), (true, true));
            assert_eq!(speakers(&[format, alias]), (true, true));
            assert_eq!(speakers(&[format, alias, ("speaker_labels", "false")]), (true, false));
        }
        assert_eq!(speakers(&[verbose, alias]), (true, false));
        assert_eq!(speakers(&[verbose, alias, ("diarize", "false")]), (false, false));
        // Its text has no speakers, so nobody need tell them apart.
        assert_eq!(speakers(&[alias]), (false, false));
        assert_eq!(speakers(&[alias, ("response_format", "text")]), (false, false));
    }

    #[test]
    fn contradictions_about_speakers_name_their_field() {
        for format in ["json", "text"] {
            assert_eq!(param(&[("response_format", format), ("diarize", "true")]), "diarize");
        }
        assert_eq!(param(&[("response_format", "diarized_json"), ("diarize", "false")]), "diarize");
        for format in ["json", "verbose_json", "diarized_json"] {
            let pairs = [("response_format", format), ("speaker_labels", "true")];
            assert_eq!(param(&pairs), "speaker_labels");
        }
        let unlabelled = [("response_format", "srt"), ("diarize", "false"), ("speaker_labels", "true")];
        assert_eq!(param(&unlabelled), "speaker_labels");
        let scored = [("response_format", "diarized_json"), ("include[]", "logprobs"), ("stream", "true")];
        assert_eq!(param(&scored), "include");
        let translated = parsed_at(Endpoint::Translations, &[("response_format", "diarized_json")]);
        assert!(translated.unwrap_err().envelope().contains("\"param\":\"response_format\""));
    }

    #[test]
    fn fields_about_speakers_that_nobody_tells_apart_are_checked_and_named_as_ignored() {
        let clip = "data:audio/wav;base64,UklGRg==";
        let known = [("known_speaker_names[]", "Ann"), ("known_speaker_references[]", clip)];
        let one = parsed(&known);
        assert_eq!(one.warnings.len(), 1);
        assert!(one.known.is_empty());
        assert_eq!(param(&[("known_speaker_names[]", "Ann")]), "known_speaker_references");
        assert_eq!(param(&[("num_speakers", "none")]), "num_speakers");
        let diarized = parsed(&[known[0], known[1], ("response_format", "diarized_json")]);
        assert!(diarized.warnings.is_empty());
        assert_eq!(diarized.known[0].name, "Ann");
    }

    #[test]
    fn a_request_for_turns_is_json_or_rttm() {
        let turns = |pairs: &[(&str, &str)]| {
            let mut fields = Fields::default();
            pairs.iter().for_each(|(name, value)| fields.add(name, (*value).to_owned()));
            parse_turns(&fields, &["foo".to_owned()])
        };
        let plain = turns(&[]).unwrap();
        assert_eq!((plain.format, plain.embeddings), (TurnsFormat::Json, false));
        assert_eq!(plain.warnings[0].code, "ignored_field");
        let full = turns(&[("embeddings", "true"), ("num_speakers", "2"), ("priority", "low")]).unwrap();
        assert_eq!((full.embeddings, full.priority), (true, Priority::Low));
        assert_eq!(full.speakers.options.limits, crate::pipeline::SpeakerLimits::exactly(2));
        assert_eq!(turns(&[("response_format", "rttm")]).unwrap().format, TurnsFormat::Rttm);
        assert!(turns(&[("response_format", "srt")]).is_err());
        assert!(turns(&[("response_format", "rttm"), ("embeddings", "true")]).is_err());
    }

    #[test]
    fn separation_is_a_mode_or_a_flag() {
        use SeparationMode::{Auto, Off, On};
        for (text, mode) in [
            ("off", Some(Off)),
            ("auto", Some(Auto)),
            ("on", Some(On)),
            ("AUTO", Some(Auto)),
            ("true", Some(On)),
            ("1", Some(On)),
            ("False", Some(Off)),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(parsed(&[("vocal_separation", text)]).request.separation, mode, "{text}");
        }
        assert_eq!(parsed(&[]).request.separation, None);
        for text in ["sometimes", "2", "voice", "[\"on\"]"] {
            assert_eq!(param(&[("vocal_separation", text)]), "vocal_separation", "{text}");
        }
        let mut fields = Fields::default();
        fields.add("vocal_separation", "auto".to_owned());
        assert_eq!(parse_turns(&fields, &[]).unwrap().separation, Some(Auto));
    }

    #[test]
    fn translations_are_translations() {
        let request = parsed_at(Endpoint::Translations, &[]).unwrap().request;
        assert_eq!(request.task, Task::Translate);
    }
}
