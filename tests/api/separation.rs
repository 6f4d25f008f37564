//! Vocal separation, as a request asks for it and its answer tells of it.

use diarist::pipeline::{PipelineError, SeparationMode};
use diarist::separation::SeparationError;
use serde_json::{Value, json};

use crate::support::*;

const VERBOSE: (&str, &str) = ("response_format", "verbose_json");

#[test]
fn what_is_asked_reaches_the_pipeline_from_every_route() {
    let app = spawn(Script::default());
    for (value, mode) in [
        ("off", SeparationMode::Off),
        ("false", SeparationMode::Off),
        ("auto", SeparationMode::Auto),
        ("on", SeparationMode::On),
        ("True", SeparationMode::On),
    ] {
        let field = [("vocal_separation", value)];
        app.transcribe(&field).json();
        assert_eq!(app.last_seen().request.separation, Some(mode), "{value}");
        app.translate(&field).json();
        assert_eq!(app.last_seen().request.separation, Some(mode), "{value}");
        assert!(app.diarize(&field).json().get("warnings").is_none(), "the field is known");
        let turns = app.backend.seen_turns.lock().unwrap().last().unwrap().clone();
        assert_eq!(turns.request.separation, Some(mode), "{value}");
    }
    for plain in [&[][..], &[("vocal_separation", "")]] {
        app.transcribe(plain).json();
        assert_eq!(app.last_seen().request.separation, None, "the setting decides");
    }
}

#[test]
fn wrong_values_are_named_with_the_right_ones() {
    let app = spawn(Script::default());
    for value in ["sometimes", "2", "vocals", "{}"] {
        let field = [("vocal_separation", value)];
        for answer in [app.transcribe(&field), app.translate(&field), app.diarize(&field)] {
            let error = answer.error(400);
            assert_eq!(
                (&error["param"], &error["code"]),
                (&json!("vocal_separation"), &json!("invalid_value"))
            );
            assert!(error["message"].as_str().unwrap().contains("`off`, `auto`, `on`"), "{error}");
        }
    }
    let twice = [("vocal_separation", "on"), ("vocal_separation", "off")];
    assert_eq!(app.transcribe(&twice).error(400)["param"], "vocal_separation");
}

#[test]
fn a_model_that_is_missing_is_a_400_that_names_the_command_and_one_of_no_use_a_500() {
    let missing = || PipelineError::Incapable {
        field: "vocal_separation",
        message: "`diarist models pull kim-vocal-2` does that".to_owned(),
    };
    let app = spawn(Script { refuse: Some(missing), ..Script::default() });
    let field = [("vocal_separation", "auto")];
    for answer in [app.transcribe(&field), app.diarize(&field)] {
        let error = answer.error(400);
        assert_eq!(
            (&error["param"], &error["type"]),
            (&json!("vocal_separation"), &json!("invalid_request_error"))
        );
        assert!(error["message"].as_str().unwrap().contains("diarist models pull kim-vocal-2"), "{error}");
    }
    let damaged = || SeparationError::Model("its file is damaged".to_owned()).into();
    let app = spawn(Script { refuse: Some(damaged), ..Script::default() });
    let error = app.transcribe(&field).error(500);
    assert_eq!((&error["param"], &error["code"]), (&Value::Null, &json!("model_unusable")));
    assert!(error["message"].as_str().unwrap().contains("its file is damaged"), "{error}");
}

#[test]
fn what_was_separated_is_told_where_there_is_room_for_it() {
    let app = spawn(Script::default());
    let field = ("vocal_separation", "auto");
    let told = json!({
        "model": "kim-vocal-2",
        "seconds": 1.5,
        "regions": [{"start": 1.0, "end": 2.5}],
        "chunks": {"voice": 2, "mix": 1}
    });
    assert_eq!(app.transcribe(&[VERBOSE, field]).json()["separation"], told);
    assert_eq!(app.translate(&[VERBOSE, field]).json()["separation"], told);
    assert!(app.transcribe(&[VERBOSE]).json().get("separation").is_none());
    assert!(app.transcribe(&[VERBOSE, ("vocal_separation", "off")]).json().get("separation").is_none());
    assert!(app.transcribe(&[field]).json().get("separation").is_none(), "`json` is OpenAI's alone");
    let turns = app.diarize(&[field]).json();
    assert_eq!(turns["separation"]["regions"], told["regions"]);
    assert!(turns["separation"].get("chunks").is_none(), "no text, no chunks");
    assert_eq!(app.diarize(&[field, ("response_format", "rttm")]).status, 200);
}
