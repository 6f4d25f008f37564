//! `POST /v1/audio/transcriptions`: formats, headers, errors of the pipeline.

use diarist::asr::AsrError;
use diarist::audio::AudioError;
use diarist::pipeline::{PipelineError, Priority};
use serde_json::json;

use crate::support::*;

#[test]
fn plain_json_is_the_default() {
    let app = spawn(Script::default());
    let answer = app.transcribe(&[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, format!(r#"{{"text":"{TEXT}","usage":{{"type":"duration","seconds":4}}}}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body, app.transcribe(&[("response_format", "json")]).body);
}

#[test]
fn a_long_answer_is_whole_in_every_format() {
    let app = spawn(Script { repeat: 2_000, ..Script::default() });
    let ask = |format: &str, more: &[(&str, &str)]| {
        let answer = app.transcribe(&[&[("response_format", format)], more].concat());
        assert_eq!(answer.status, 200);
        // Sent while it is written, so nobody knows its length beforehand.
        assert_eq!(answer.header("content-length"), None);
        answer
    };
    let text = vec![TEXT; 2_000].join("  ");
    // Not `assert_eq`, which would print all of it.
    assert!(ask("text", &[]).body == format!("{text}\n"));
    assert!(ask("json", &[]).json()["text"] == text);
    let both = [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")];
    let verbose = ask("verbose_json", &both).json();
    assert!(verbose["text"] == text);
    assert_eq!(verbose["segments"].as_array().unwrap().len(), 6_000);
    assert_eq!(verbose["segments"][5_999]["id"], 5_999);
    assert_eq!(verbose["words"].as_array().unwrap().len(), 16_000);
    let cues = ask("srt", &[]).body.matches(" --> ").count();
    assert_eq!(cues, 6_000);
    assert!(ask("vtt", &[]).body.ends_with("\nDon't stop.\n\n"));
}

#[test]
fn every_answer_carries_the_common_headers() {
    let app = spawn(Script::default());
    for answer in [app.transcribe(&[]), app.transcribe(&[("language", "xx")]), app.get("/v1/nope")] {
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
        assert!(answer.header("openai-processing-ms").unwrap().parse::<u64>().is_ok());
        assert_eq!(answer.header("openai-version"), Some("2020-10-01"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("X-Request-ID"));
    }
    let timing = app.transcribe(&[]).header("server-timing").unwrap().to_owned();
    assert!(timing.starts_with("decode;dur=2.0, asr;dur=5.0, total;dur="), "{timing}");
}

#[test]
fn a_sound_request_id_is_taken_over_and_another_is_not() {
    let app = spawn(Script::default());
    let ask = |id: &str| {
        let response = app.client.get(app.url("/health")).header("x-request-id", id).send().unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("abc-123"), "abc-123");
    assert!(ask("a b").starts_with("req_"));
}

#[test]
fn text_formats_are_plain_text_to_the_byte() {
    let app = spawn(Script::default());
    for (format, body) in [
        ("text", format!("{TEXT}\n")),
        (
            "srt",
            "1\n00:00:00,000 --> 00:00:01,000\nHello, world.\n\n\
             2\n00:00:01,000 --> 00:00:02,500\nGrüße aus 東京 🎉.\n\n\
             3\n00:00:02,500 --> 00:00:03,700\nDon't stop.\n\n\n"
                .to_owned(),
        ),
        (
            "vtt",
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello, world.\n\n\
             00:00:01.000 --> 00:00:02.500\nGrüße aus 東京 🎉.\n\n\
             00:00:02.500 --> 00:00:03.700\nDon't stop.\n\n"
                .to_owned(),
        ),
    ] {
        let answer = app.transcribe(&[("response_format", format)]);
        assert_eq!((answer.status, &answer.body), (200, &body), "{format}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{format}");
    }
}

#[test]
fn verbose_json_holds_what_was_asked_for() {
    let app = spawn(Script::default());
    let keys = |fields: &[(&str, &str)]| {
        let mut all = vec![("response_format", "verbose_json")];
        all.extend_from_slice(fields);
        let body = app.transcribe(&all).json();
        body.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(&[]), "task language duration text segments usage");
    assert_eq!(keys(&[("timestamp_granularities[]", "word")]), "task language duration text words usage");
    let both = "task language duration text segments words usage";
    for fields in [
        &[("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")][..],
        &[("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")],
        &[("timestamp_granularities", r#"["word", "segment"]"#)],
    ] {
        assert_eq!(keys(fields), both, "{fields:?}");
    }
    assert!(app.last_seen().request.word_times);
    let body = app.transcribe(&[("response_format", "verbose_json"), ("language", "de")]).json();
    assert_eq!(body["task"], "transcribe");
    assert_eq!(body["language"], "german");
    assert_eq!(body["duration"], json!(3.7));
    assert_eq!(body["segments"].as_array().unwrap().len(), 3);
    assert_eq!(body["segments"][1]["id"], 1);
    assert_eq!(body["segments"][1]["text"], " Grüße aus 東京 🎉.");
}

#[test]
fn granularities_add_nothing_to_json() {
    let app = spawn(Script::default());
    let with = app.transcribe(&[("timestamp_granularities[]", "word")]);
    assert_eq!(with.body, app.transcribe(&[]).body);
    assert!(!app.last_seen().request.word_times);
}

#[test]
fn log_probabilities_spell_the_text() {
    let app = spawn(Script::default());
    let body = app.transcribe(&[("include[]", "logprobs")]).json();
    let tokens = body["logprobs"].as_array().unwrap();
    let spelled: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(spelled, TEXT);
    for token in tokens {
        let bytes: Vec<u8> = serde_json::from_value(token["bytes"].clone()).unwrap();
        assert_eq!(bytes, token["token"].as_str().unwrap().as_bytes());
    }
    assert!(app.transcribe(&[]).json().get("logprobs").is_none());
}

#[test]
fn token_models_count_tokens() {
    let app = spawn(Script::default());
    let usage = app.transcribe(&[("model", "gpt-4o-transcribe")]).json()["usage"].clone();
    assert_eq!(
        usage,
        json!({
            "type": "tokens", "total_tokens": 49, "input_tokens": 37,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 37}, "output_tokens": 12,
        })
    );
    let body = app.transcribe(&[("model", "gpt-transcribe"), ("languages[]", "en")]).json();
    assert_eq!(body["languages"], json!([{"code": "en"}]));
}

#[test]
fn silence_is_an_answer() {
    let app = spawn(Script { silent: true, ..Script::default() });
    let body = |format| app.transcribe(&[("response_format", format)]).body;
    assert_eq!(body("json"), r#"{"text":"","usage":{"type":"duration","seconds":4}}"#);
    assert_eq!(body("text"), "\n");
    assert_eq!(body("srt"), "\n");
    assert_eq!(body("vtt"), "WEBVTT\n\n");
    assert!(body("verbose_json").contains(r#""text":"","segments":[]"#));
}

#[test]
fn unknown_fields_are_ignored_and_named() {
    let app = spawn(Script::default());
    let answer = app.transcribe(&[("vad_filter", "true"), ("foo[bar][]", "1"), ("vad_filter", "true")]);
    assert_eq!(answer.status, 200);
    let warnings = answer.json()["warnings"].clone();
    assert_eq!(warnings.as_array().unwrap().len(), 2, "{warnings}");
    assert_eq!(warnings[0]["code"], "ignored_field");
    assert!(warnings[0]["message"].as_str().unwrap().contains("vad_filter"));
    assert!(app.transcribe(&[]).json().get("warnings").is_none());
}

#[test]
fn the_options_reach_the_pipeline() {
    let app = spawn(Script::default());
    app.transcribe(&[
        ("language", "fr"),
        ("prompt", "Names: Ann"),
        ("temperature", "0.2"),
        ("beam_size", "3"),
        ("condition_on_previous_text", "true"),
        ("priority", "high"),
        ("guard", "false"),
        ("coverage", "off"),
    ]);
    let request = app.last_seen().request;
    assert_eq!(request.language.unwrap().code(), "fr");
    assert_eq!(request.prompt, "Names: Ann");
    assert_eq!((request.temperature, request.beam_size), (0.2, Some(3)));
    assert_eq!(request.priority, Priority::High);
    assert!(request.condition_on_previous_text && !is_translation(&app.last_seen()));
    assert_eq!(request.source.name.as_deref(), Some("speech.wav"));
    assert_eq!((request.guard, request.coverage), (Some(false), Some(false)));
    app.transcribe(&[]);
    let request = app.last_seen().request;
    assert_eq!((request.guard, request.coverage), (None, None), "the settings decide");
}

#[test]
fn what_the_checks_found_is_told_in_verbose_json() {
    let app = spawn(Script::default());
    let answer = app
        .transcribe(&[("response_format", "verbose_json"), ("guard", "true"), ("coverage", "true")])
        .json();
    assert_eq!(answer["dropped"][0]["reason"], "silence");
    assert_eq!(answer["coverage"]["speech_seconds"], 2.0);
    assert_eq!(answer["coverage"]["uncovered"][0]["end"], 1.5);
}

#[test]
fn uploads_are_deleted_with_their_request() {
    let app = spawn(Script::default());
    app.transcribe(&[]);
    app.transcribe(&[("language", "xx")]);
    eventually("the uploads are gone", || app.uploads() == 0);
}

#[test]
fn errors_of_the_pipeline_have_their_place_in_the_table() {
    type Case = (fn() -> PipelineError, u16, Option<&'static str>, Option<&'static str>);
    let cases: [Case; 7] = [
        (|| AudioError::TooShort { milliseconds: 40 }.into(), 400, Some("file"), Some("audio_too_short")),
        (|| AudioError::TooLong { limit_s: 9 }.into(), 400, Some("file"), Some("audio_too_long")),
        (|| AudioError::Undecodable("x".into()).into(), 400, Some("file"), Some("audio_undecodable")),
        (
            || AudioError::Unsupported("AC-3 needs ffmpeg".into()).into(),
            400,
            Some("file"),
            Some("unsupported_format"),
        ),
        (
            || PipelineError::Incapable { field: "language", message: "English only".into() },
            400,
            Some("language"),
            Some("unsupported_value"),
        ),
        (|| AsrError::Engine("secret 0xdead".into()).into(), 500, None, None),
        (
            || AudioError::from(std::io::Error::other("disk full")).into(),
            503,
            None,
            Some("service_unavailable"),
        ),
    ];
    for (refuse, status, param, code) in cases {
        for stream in ["false", "true"] {
            let app = spawn(Script { refuse: Some(refuse), ..Script::default() });
            let answer = app.transcribe(&[("stream", stream)]);
            let error = answer.error(status);
            assert_eq!((error["param"].as_str(), error["code"].as_str()), (param, code), "{answer:?}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
            assert!(!answer.body.contains("0xdead"));
        }
    }
}

#[test]
fn a_panic_is_a_500_and_the_next_request_is_answered() {
    let app = spawn(Script { panic: true, ..Script::default() });
    let error = app.transcribe(&[]).error(500);
    assert_eq!(error["type"], "server_error");
    assert!(!error["message"].as_str().unwrap().contains("scripted"));
    assert_eq!(app.get("/health").status, 200);
    app.transcribe(&[]).error(500);
    assert_eq!(app.runs(), 2);
}

#[test]
fn a_panic_while_an_answer_is_written_is_a_500_too() {
    let app = spawn(Script { panic_in_handler: true, ..Script::default() });
    for _ in 0..5 {
        let error = app.get("/v1/models").error(500);
        assert_eq!(error["type"], "server_error");
        app.transcribe(&[]).error(500);
    }
    eventually("the uploads are gone", || app.uploads() == 0);
    assert_eq!(app.get("/health").status, 200);
}

#[test]
fn models_that_are_not_there_are_named() {
    let app = spawn(Script::default());
    for model in ["nonsense", "not-pulled"] {
        let error = app.transcribe(&[("model", model)]).error(404);
        assert_eq!(
            (error["param"].as_str(), error["code"].as_str()),
            (Some("model"), Some("model_not_found"))
        );
        assert!(error["message"].as_str().unwrap().contains(model));
    }
    let error = app.transcribe(&[("model", "silero-vad")]).error(400);
    assert_eq!(error["param"], "model");
    assert_eq!(app.runs(), 0);
}

#[test]
fn while_models_load_the_answer_is_to_come_back() {
    let app = spawn(Script { loading: true, ..Script::default() });
    let answer = app.transcribe(&[]);
    answer.error(503);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}
