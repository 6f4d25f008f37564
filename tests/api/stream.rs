//! `stream=true`.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use diarist::asr::AsrError;
use serde_json::{Value, json};

use crate::support::*;

/// The `data:` payloads of a stream, after checking its framing to the byte.
#[track_caller]
fn events(body: &str) -> Vec<String> {
    assert!(body.ends_with("\r\n\r\n"), "{body:?}");
    let frames = body.strip_suffix("\r\n\r\n").unwrap().split("\r\n\r\n");
    let payloads: Vec<String> = frames
        .map(|frame| frame.strip_prefix("data: ").unwrap_or_else(|| panic!("{frame:?}")).to_owned())
        .collect();
    assert!(payloads.iter().all(|payload| !payload.contains(['\r', '\n'])), "{body:?}");
    payloads
}

fn deltas(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["delta"].as_str()).collect()
}

#[track_caller]
fn finished(answer: &Answer) -> Vec<Value> {
    let mut payloads = events(&answer.body);
    assert_eq!(payloads.pop().as_deref(), Some("[DONE]"));
    payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
}

#[test]
fn a_stream_is_framed_to_the_byte() {
    let app = spawn(Script::default());
    let answer = app.transcribe(&[("stream", "true")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(
        answer.body,
        format!(
            "data: {{\"type\":\"transcript.text.delta\",\"delta\":\"Hello, world.\"}}\r\n\r\n\
             data: {{\"type\":\"transcript.text.delta\",\"delta\":\" Grüße aus 東京 🎉.\"}}\r\n\r\n\
             data: {{\"type\":\"transcript.text.delta\",\"delta\":\" Don't stop.\"}}\r\n\r\n\
             data: {{\"type\":\"transcript.text.done\",\"text\":\"{TEXT}\",\"usage\":{{\"type\":\"tokens\",\
             \"total_tokens\":49,\"input_tokens\":37,\"input_token_details\":{{\"text_tokens\":0,\
             \"audio_tokens\":37}},\"output_tokens\":12}}}}\r\n\r\ndata: [DONE]\r\n\r\n"
        )
    );
}

#[test]
fn deltas_join_to_the_text_and_so_do_log_probabilities() {
    let app = spawn(Script::default());
    let answer =
        app.transcribe(&[("stream", "true"), ("include[]", "logprobs"), ("response_format", "text")]);
    let events = finished(&answer);
    let done = events.last().unwrap();
    assert_eq!(deltas(&events), done["text"].as_str().unwrap());
    let mut together = Vec::new();
    for event in &events[..events.len() - 1] {
        let tokens = event["logprobs"].as_array().unwrap().clone();
        let spelled: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert_eq!(spelled, event["delta"].as_str().unwrap());
        together.extend(tokens);
    }
    assert_eq!(done["logprobs"], Value::Array(together));
}

#[test]
fn a_backend_that_tells_nothing_on_the_way_is_streamed_too() {
    let app = spawn(Script { mute: true, ..Script::default() });
    let events = finished(&app.transcribe(&[("stream", "true")]));
    assert_eq!(deltas(&events), TEXT);
    assert_eq!(events.last().unwrap()["text"], TEXT);
}

#[test]
fn silence_is_a_done_event_with_empty_text() {
    let app = spawn(Script { silent: true, ..Script::default() });
    let events = finished(&app.transcribe(&[("stream", "true")]));
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["type"], &events[0]["text"]), (&json!("transcript.text.done"), &json!("")));
}

#[test]
fn ignored_fields_are_named_at_the_end() {
    let app = spawn(Script::default());
    let events = finished(&app.transcribe(&[("stream", "1"), ("vad_filter", "true")]));
    assert_eq!(events.last().unwrap()["warnings"][0]["code"], "ignored_field");
}

#[test]
fn the_first_delta_arrives_long_before_the_end() {
    let app = spawn(Script { hold: true, ..Script::default() });
    let body = speech_form(&[("stream", "true")]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    while !String::from_utf8_lossy(&text).contains("\"delta\":\"Hello, world.\"}\r\n\r\n") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..read]);
    }
    assert!(!String::from_utf8_lossy(&text).contains("done"));
    app.backend.released.store(true, Ordering::SeqCst);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]\r\n\r\n"), "{rest}");
}

#[test]
fn a_failure_on_the_way_is_an_error_event_and_the_end() {
    let app = spawn(Script { fail: Some(|| AsrError::Engine("0xdead".into()).into()), ..Script::default() });
    let answer = app.transcribe(&[("stream", "true")]);
    assert_eq!(answer.status, 200);
    let payloads = events(&answer.body);
    let error: Value = serde_json::from_str(payloads.last().unwrap()).unwrap();
    assert_eq!(
        error["error"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["message", "type", "param", "code"]
    );
    assert_eq!(error["error"]["type"], "server_error");
    assert!(!answer.body.contains("[DONE]") && !answer.body.contains("0xdead"));
}

#[test]
fn a_long_stream_ends_with_all_of_its_text() {
    for mute in [false, true] {
        let app = spawn(Script { repeat: 2_000, mute, ..Script::default() });
        let events = finished(&app.transcribe(&[("stream", "true"), ("include[]", "logprobs")]));
        let done = events.last().unwrap();
        let text = done["text"].as_str().unwrap();
        assert_eq!(text.matches("Grüße aus 東京 🎉.").count(), 2_000);
        assert!(deltas(&events) == text);
        let logprobs = done["logprobs"].as_array().unwrap();
        let spelled: String = logprobs.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert!(spelled == text);
        assert_eq!(done["usage"]["output_tokens"], 12 * 2_000);
    }
}

#[test]
fn a_client_that_reads_slowly_misses_nothing() {
    let app = spawn(Script { repeat: 20_000, ..Script::default() });
    let body = speech_form(&[("stream", "true")]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    // The work is long done before anything is read.
    eventually("the work has begun", || app.runs() == 1);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let deltas = text.lines().filter(|line| line.contains("transcript.text.delta")).count();
    assert_eq!(deltas, 60_000);
    assert_eq!(text.matches("[DONE]").count(), 1);
}

#[test]
fn a_limit_that_decoding_meets_late_is_an_error_event_or_an_ordinary_error() {
    let too_long = || diarist::audio::AudioError::TooLong { limit_s: 60 }.into();
    let app = spawn(Script { fail: Some(too_long), ..Script::default() });
    let answer = app.transcribe(&[("stream", "true")]);
    assert_eq!(answer.status, 200);
    let payloads = events(&answer.body);
    assert!(payloads[0].contains("Hello, world."), "what was heard before has been told");
    let told: Value = serde_json::from_str(payloads.last().unwrap()).unwrap();
    assert_eq!(told["error"]["code"], "audio_too_long");
    assert!(!answer.body.contains("[DONE]"));
    assert_eq!(app.transcribe(&[]).error(400), told["error"]);
}

#[test]
fn bad_audio_is_an_ordinary_error() {
    let app = spawn(Script::default());
    let form = Form::new().text("model", "whisper-1").text("stream", "true").file("a.wav", b"not audio");
    let error = app.post("/v1/audio/transcriptions", &form).error(400);
    assert_eq!(error["param"], "file");
}

#[test]
fn subtitles_cannot_be_streamed() {
    let app = spawn(Script::default());
    for format in ["srt", "vtt", "verbose_json"] {
        let error = app.transcribe(&[("stream", "true"), ("response_format", format)]).error(400);
        assert_eq!(
            (error["param"].as_str(), error["code"].as_str()),
            (Some("response_format"), Some("unsupported_value"))
        );
    }
}
