//! `POST /v1/audio/translations`.

use crate::support::*;

#[test]
fn json_is_the_text_alone() {
    let app = spawn(Script::default());
    let answer = app.translate(&[]);
    assert_eq!((answer.status, answer.body), (200, format!(r#"{{"text":"{TEXT}"}}"#)));
    assert!(is_translation(&app.last_seen()));
}

#[test]
fn verbose_json_is_always_english() {
    let app = spawn(Script::default());
    let body = app.translate(&[("response_format", "verbose_json")]).json();
    assert_eq!(body["task"], "translate");
    assert_eq!(body["language"], "english");
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["task", "language", "duration", "text", "segments"]
    );
}

#[test]
fn text_formats_are_those_of_transcriptions() {
    let app = spawn(Script::default());
    for format in ["text", "srt", "vtt"] {
        let answer = app.translate(&[("response_format", format)]);
        assert_eq!(answer.body, app.transcribe(&[("response_format", format)]).body);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn fields_of_transcriptions_are_ignored_and_named() {
    let app = spawn(Script::default());
    let answer = app.translate(&[("language", "de"), ("stream", "true")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["warnings"].as_array().unwrap().len(), 2);
    assert_eq!(app.last_seen().request.language, None);
}

#[test]
fn diarized_json_is_for_transcriptions_alone() {
    let app = spawn(Script::default());
    let error = app.translate(&[("response_format", "diarized_json")]).error(400);
    assert_eq!(error["param"], "response_format");
    assert_eq!(error["code"], "unsupported_value");
}
