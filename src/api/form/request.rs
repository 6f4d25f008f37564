//! Text fields to a request without doubts. Pure.
//!
//! Every value is checked here, and whatever is wrong is a 400 that names the field. What this build takes
//! but does not act on is answered with a warning.

use serde_json::Value;

use crate::api::answer::Endpoint;
use crate::api::error::{ApiError, shown};
use crate::error::ErrorKind;
use crate::language::Language;
use crate::output::{RenderOptions, ResponseFormat, UsageKind};
use crate::pipeline::{Chunking, Priority, Request, VadOptions};
use crate::transcript::{Task, Warning};

use super::data_url;
use super::fields::{Fields, ObjectField};

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
/// Speakers that can be named.
const MAX_SPEAKERS: usize = 4;

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
    /// What was not acted on.
    pub warnings: Vec<Warning>,
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
    let format = response_format(fields)?;
    let stream = boolean(fields, "stream")?.unwrap_or(false);
    let include = include(fields)?;
    let granularities = granularities(fields)?;
    if stream && !matches!(format, ResponseFormat::Json | ResponseFormat::Text) {
        return Err(unsupported(
            "response_format",
            format!("`{}` cannot be streamed; stream `json` or `text`, or leave `stream` out", format.name()),
        ));
    }
    if include.logprobs && format != ResponseFormat::Json && !stream {
        return Err(unsupported(
            "include",
            format!("`logprobs` needs the response format `json`, not `{}`", format.name()),
        ));
    }
    let words = granularities.words && format == ResponseFormat::VerboseJson;
    let mut warnings: Vec<Warning> = ignored.iter().map(|name| unknown_field(name)).collect();
    let chunking = chunking(fields, &mut warnings)?;
    known_speakers(fields, &mut warnings)?;
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
    };
    Ok(SpeechRequest { request, format, render, stream, warnings })
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

fn response_format(fields: &Fields) -> Result<ResponseFormat, ApiError> {
    let Some(name) = fields.text("response_format")? else { return Ok(ResponseFormat::default()) };
    if name == "diarized_json" {
        return Err(unsupported(
            "response_format",
            "`diarized_json` is not available: this build does not tell speakers apart yet; use `json` or \
             `verbose_json`",
        ));
    }
    ResponseFormat::parse(name).ok_or_else(|| {
        let known = ResponseFormat::ALL.map(ResponseFormat::name).join("`, `");
        invalid("response_format", format!("`{}` is no response format; use one of `{known}`", shown(name)))
    })
}

/// A boolean in any of the spellings that clients use; `null` is unset.
fn boolean(fields: &Fields, field: &'static str) -> Result<Option<bool>, ApiError> {
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

/// Known speakers are checked, so that a client's mistake shows at once, and then named as ignored.
fn known_speakers(fields: &Fields, warnings: &mut Vec<Warning>) -> Result<(), ApiError> {
    const NAMES: &str = "known_speaker_names";
    const REFERENCES: &str = "known_speaker_references";
    let (names, references) = (fields.list(NAMES)?, fields.list(REFERENCES)?);
    for (field, values) in [(NAMES, &names), (REFERENCES, &references)] {
        if values.len() > MAX_SPEAKERS {
            return Err(invalid(
                field,
                format!("`{field}` has {} entries, the most are {MAX_SPEAKERS}", values.len()),
            ));
        }
    }
    if names.len() != references.len() {
        return Err(invalid(
            REFERENCES,
            format!(
                "there are {} known speaker names but {} references; send one for each",
                names.len(),
                references.len()
            ),
        ));
    }
    for (number, reference) in (1..).zip(&references) {
        if let Err(error) = data_url::recording(reference) {
            return Err(invalid(
                REFERENCES,
                format!("reference {number} must be a `data:audio/…;base64,…` URL, but {error}"),
            ));
        }
    }
    if !names.is_empty() {
        warnings.push(Warning::new(
            "ignored_field",
            "`known_speaker_names` and `known_speaker_references` were ignored: this build does not tell speakers \
             apart yet",
        ));
    }
    Ok(())
}

fn unknown_field(name: &str) -> Warning {
    Warning::new("ignored_field", format!("the field `{name}` is unknown here and was ignored"))
}

fn invalid(field: &str, message: String) -> ApiError {
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
    fn known_speakers_are_checked_and_named_as_ignored() {
        let clip = "data:audio/wav;base64,UklGRg==";
        let one = parsed(&[("known_speaker_names[]", "Ann"), ("known_speaker_references[]", clip)]);
        assert_eq!(one.warnings.len(), 1);
        let node = parsed(&[
            ("extra_body[known_speaker_names][]", "Ann"),
            ("extra_body[known_speaker_references][]", clip),
        ]);
        assert_eq!(node.warnings, one.warnings);
        assert_eq!(param(&[("known_speaker_names[]", "Ann")]), "known_speaker_references");
        let five = [("known_speaker_names[]", "x"); 5];
        assert_eq!(param(&five), "known_speaker_names");
        for clip in ["http://x/y.wav", "data:audio/wav;base64,???", "data:audio/wav,abc"] {
            let pairs = [("known_speaker_names[]", "Ann"), ("known_speaker_references[]", clip)];
            assert_eq!(param(&pairs), "known_speaker_references", "{clip}");
        }
    }

    #[test]
    fn translations_are_translations() {
        let request = parsed_at(Endpoint::Translations, &[]).unwrap().request;
        assert_eq!(request.task, Task::Translate);
    }
}
