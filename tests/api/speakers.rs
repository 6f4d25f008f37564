//! Who speaks: `diarized_json`, speakers in the other formats, known speakers, their stream.

use std::io::{Read, Write};

use diarist::audio::AudioError;
use diarist::diarization::DiarizationError;
use diarist::pipeline::{PipelineError, SpeakerLimits};
use serde_json::{Value, json};

use crate::support::*;

const DIARIZED: (&str, &str) = ("response_format", "diarized_json");
const VERBOSE: (&str, &str) = ("response_format", "verbose_json");
const CLIP: &str = "data:audio/wav;base64,UklGRg==";

#[test]
fn diarized_json_is_as_openai_has_it_from_any_model() {
    let app = spawn(Script::default());
    let body = app.transcribe(&[DIARIZED]).json();
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["text", "task", "duration", "segments", "usage"]);
    assert_eq!(body["text"], TEXT);
    assert_eq!(
        body["segments"][1],
        json!({"type": "transcript.text.segment", "id": "seg_1", "start": 1.0, "end": 2.5,
               "text": " Grüße aus 東京 🎉.", "speaker": "B"})
    );
    let speakers: Vec<_> = body["segments"].as_array().unwrap().iter().map(|it| &it["speaker"]).collect();
    assert_eq!(speakers, ["A", "B", "A"]);
    assert_eq!(body["usage"], json!({"type": "duration", "seconds": 4}));
    let alias = app.transcribe(&[DIARIZED, ("model", "gpt-4o-transcribe-diarize")]).json();
    assert_eq!(alias["segments"], body["segments"]);
    assert_eq!(alias["usage"]["type"], "tokens");
}

#[test]
fn the_diarizing_model_tells_no_speakers_where_there_is_no_room_for_them() {
    let app = spawn(Script::default());
    for format in ["json", "text"] {
        let answer = app.transcribe(&[("model", "gpt-4o-transcribe-diarize"), ("response_format", format)]);
        assert_eq!(answer.status, 200);
        assert!(app.last_seen().request.speakers.is_none(), "{format}");
    }
    let verbose = app.transcribe(&[("model", "gpt-4o-transcribe-diarize"), VERBOSE]).json();
    assert_eq!(verbose["segments"][0]["speaker"], "A");
}

#[test]
fn speakers_are_an_extension_of_verbose_json() {
    let app = spawn(Script::default());
    let words = ("timestamp_granularities[]", "word");
    let segments = ("timestamp_granularities[]", "segment");
    let body = app.transcribe(&[VERBOSE, words, segments, ("diarize", "true")]).json();
    let said = |item: &Value| (item["speaker"].clone(), item["overlap"].clone());
    assert_eq!(said(&body["segments"][0]), (json!("A"), json!(false)));
    assert_eq!(said(&body["segments"][1]), (json!("B"), json!(true)));
    assert_eq!(said(&body["words"][2]), (json!("B"), json!(true)));
    assert!(!app.transcribe(&[VERBOSE, words]).body.contains("speaker"));
}

#[test]
fn subtitles_say_who_speaks_when_asked() {
    let app = spawn(Script::default());
    let labels = ("speaker_labels", "true");
    assert_eq!(
        app.transcribe(&[("response_format", "srt"), labels]).body,
        "1\n00:00:00,000 --> 00:00:01,000\nA: Hello, world.\n\n\
         2\n00:00:01,000 --> 00:00:02,500\nB: Grüße aus 東京 🎉.\n\n\
         3\n00:00:02,500 --> 00:00:03,700\nA: Don't stop.\n\n\n"
    );
    let vtt = app.transcribe(&[("response_format", "vtt"), ("diarize", "true"), labels]).body;
    assert!(vtt.contains("\n<v B>Grüße aus 東京 🎉.\n"), "{vtt}");
    let alias = app.transcribe(&[("response_format", "vtt"), ("model", "gpt-4o-transcribe-diarize")]);
    assert_eq!(alias.body, vtt);
    let unlabelled = app.transcribe(&[("response_format", "vtt"), ("diarize", "true")]).body;
    assert!(!unlabelled.contains("<v ") && app.last_seen().request.speakers.is_some());
}

#[test]
fn what_is_said_of_the_speakers_reaches_the_pipeline() {
    let app = spawn(Script::default());
    let answer = app.transcribe(&[
        DIARIZED,
        ("min_speakers", "2"),
        ("max_speakers", "5"),
        ("diarization_step_ms", "1000"),
        ("diarization_threshold", "0.5"),
        ("speaker_smoothing", "false"),
    ]);
    assert_eq!(answer.status, 200);
    let speakers = app.last_seen().request.speakers.unwrap();
    assert_eq!(speakers.limits, SpeakerLimits { min: Some(2), max: Some(5) });
    assert_eq!((speakers.step, speakers.threshold, speakers.smoothing), (Some(16_000), Some(0.5), false));
}

#[test]
fn known_speakers_come_with_their_clips_and_leave_no_file() {
    let app = spawn(Script::default());
    for (names, references) in [
        ("known_speaker_names[]", "known_speaker_references[]"),
        ("extra_body[known_speaker_names][]", "extra_body[known_speaker_references][]"),
    ] {
        let body = app.transcribe(&[DIARIZED, (names, "Ann Lee"), (references, CLIP)]).json();
        let speakers: Vec<_> = body["segments"].as_array().unwrap().iter().map(|it| &it["speaker"]).collect();
        assert_eq!(speakers, ["A", "Ann Lee", "A"]);
        assert_eq!(app.last_seen().clips, [b"RIFF"]);
        eventually("the files are gone", || app.uploads() == 0);
    }
    // A name that looks like a letter stays the only one of its kind.
    let named =
        app.transcribe(&[DIARIZED, ("known_speaker_names[]", "A"), ("known_speaker_references[]", CLIP)]);
    assert_eq!(named.json()["segments"][0]["speaker"], "B");
}

#[test]
fn wrong_fields_about_speakers_are_named() {
    let app = spawn(Script::default());
    let param = |fields: &[(&str, &str)]| {
        let error = app.transcribe(fields).error(400);
        assert_eq!(error["type"], "invalid_request_error");
        error["param"].as_str().unwrap().to_owned()
    };
    let name = ("known_speaker_names[]", "x");
    let clip = ("known_speaker_references[]", CLIP);
    assert_eq!(
        param(&[DIARIZED, name, name, name, name, name, clip, clip, clip, clip, clip]),
        name.0.trim_end_matches("[]")
    );
    assert_eq!(param(&[DIARIZED, name]), "known_speaker_references");
    assert_eq!(param(&[DIARIZED, name, (clip.0, "http://x/y.wav")]), "known_speaker_references");
    assert_eq!(param(&[DIARIZED, name, (clip.0, "data:audio/wav;base64,???")]), "known_speaker_references");
    assert_eq!(param(&[DIARIZED, ("num_speakers", "0")]), "num_speakers");
    assert_eq!(param(&[DIARIZED, ("diarize", "false")]), "diarize");
    assert_eq!(param(&[("diarize", "true")]), "diarize");
    assert_eq!(param(&[("speaker_labels", "true")]), "speaker_labels");
    assert_eq!(app.runs(), 0);
    let translated = app.translate(&[DIARIZED]).error(400);
    assert_eq!(translated["param"], "response_format");
}

#[test]
fn a_clip_that_the_pipeline_refuses_is_named() {
    let refuse =
        || PipelineError::Reference { index: 1, reason: "lasts 1.00 s; 2 to 10 s are needed".into() };
    for stream in ["false", "true"] {
        let app = spawn(Script { refuse: Some(refuse), ..Script::default() });
        let error = app.transcribe(&[DIARIZED, ("stream", stream)]).error(400);
        assert_eq!(error["param"], "known_speaker_references");
        assert_eq!(error["code"], "invalid_value");
        assert!(
            error["message"].as_str().unwrap().starts_with("the reference of known speaker 2 lasts 1.00 s")
        );
    }
}

#[test]
fn errors_of_the_diarization_have_their_status() {
    let cases: [(fn() -> PipelineError, u16); 3] = [
        (|| DiarizationError::Engine("at 0x7f secret".into()).into(), 500),
        (|| DiarizationError::Model("it is damaged".into()).into(), 500),
        (|| DiarizationError::Audio(AudioError::TooLong { limit_s: 1 }).into(), 400),
    ];
    for (refuse, status) in cases {
        let app = spawn(Script { refuse: Some(refuse), ..Script::default() });
        let answer = app.transcribe(&[DIARIZED]);
        answer.error(status);
        assert!(!answer.body.contains("secret"));
        app.diarize(&[]).error(status);
    }
}

/// The events of a stream, comments left out.
fn events(body: &str) -> Vec<Value> {
    let frames = body.split("\r\n\r\n").filter_map(|frame| frame.strip_prefix("data: "));
    frames.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn a_diarized_stream_is_segments_and_then_done() {
    for mute in [false, true] {
        let app = spawn(Script { mute, ..Script::default() });
        let answer = app.transcribe(&[DIARIZED, ("stream", "true")]);
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert!(answer.body.ends_with("\r\n\r\ndata: [DONE]\r\n\r\n"));
        let events = events(&answer.body);
        let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let segment = "transcript.text.segment";
        assert_eq!(types, [segment, segment, segment, "transcript.text.done"]);
        assert_eq!(
            events[0],
            json!({"type": segment, "id": "seg_0", "start": 0.0, "end": 1.0, "text": " Hello, world.", "speaker": "A"})
        );
        assert_eq!(events[3]["text"], TEXT);
        assert_eq!(events[3]["usage"]["type"], "tokens");
    }
    let silent = spawn(Script { silent: true, ..Script::default() });
    assert_eq!(events(&silent.transcribe(&[DIARIZED, ("stream", "true")]).body).len(), 1);
}

#[test]
fn a_diarized_stream_begins_before_its_speakers_are_known() {
    let app = spawn(Script { hold: true, ..Script::default() });
    let body = speech_form(&[DIARIZED, ("stream", "true")]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    app.backend.released.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("transcript.text.segment") && rest.contains("[DONE]"));
}

#[test]
fn a_long_diarized_answer_is_whole() {
    let app = spawn(Script { repeat: 2_000, ..Script::default() });
    let body = app.transcribe(&[DIARIZED]).json();
    assert_eq!(body["segments"].as_array().unwrap().len(), 6_000);
    assert_eq!(body["segments"][5_999]["id"], "seg_5999");
    let streamed = events(&app.transcribe(&[DIARIZED, ("stream", "true")]).body);
    assert_eq!(streamed.len(), 6_001);
}
