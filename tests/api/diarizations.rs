//! `POST /v1/audio/diarizations`.

use std::io::Write;
use std::sync::atomic::Ordering;

use diarist::pipeline::SpeakerLimits;
use serde_json::json;

use crate::support::*;

const PATH: &str = "/v1/audio/diarizations";
const CLIP: &str = "data:audio/wav;base64,UklGRg==";

#[test]
fn turns_and_speakers_are_the_default() {
    let app = spawn(Script::default());
    let answer = app.diarize(&[]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "task": "diarize",
            "duration": DURATION,
            "speakers": [{"speaker": "A", "known": false}, {"speaker": "B", "known": false}],
            "turns": [
                {"start": 0.0, "end": 1.25, "speaker": "A"},
                {"start": 1.0, "end": 2.5, "speaker": "B"},
                {"start": 2.5, "end": 3.7, "speaker": "A"}
            ],
            "usage": {"type": "duration", "seconds": 4}
        })
    );
    let timing = answer.header("server-timing").unwrap();
    assert!(timing.starts_with("decode;dur=2.0, diarization;dur=3.0, total;dur="), "{timing}");
}

#[test]
fn rttm_has_harmless_fields() {
    let app = spawn(Script::default());
    let known = [("known_speaker_names[]", "Ann Lee"), ("known_speaker_references[]", CLIP)];
    let answer = app.diarize(&[&[("response_format", "rttm")], &known[..]].concat());
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        answer.body,
        "SPEAKER talk_one 1 0.000 1.250 <NA> <NA> A <NA> <NA>\n\
         SPEAKER talk_one 1 1.000 1.500 <NA> <NA> Ann%20Lee <NA> <NA>\n\
         SPEAKER talk_one 1 2.500 1.200 <NA> <NA> A <NA> <NA>\n"
    );
}

#[test]
fn embeddings_come_when_asked_for() {
    let app = spawn(Script::default());
    let body = app.diarize(&[("embeddings", "true")]).json();
    assert_eq!(body["speakers"][1]["embedding"][0], json!(0.6));
    let error = app.diarize(&[("embeddings", "true"), ("response_format", "rttm")]).error(400);
    assert_eq!(error["param"], "embeddings");
}

#[test]
fn fields_reach_the_pipeline_and_wrong_ones_are_named() {
    let app = spawn(Script::default());
    let known = [("known_speaker_names[]", "Ann"), ("known_speaker_references[]", CLIP)];
    let fields = [&known[..], &[("num_speakers", "2"), ("diarization_step_ms", "500")]].concat();
    assert_eq!(app.diarize(&fields).json()["speakers"][1], json!({"speaker": "Ann", "known": true}));
    let seen = app.backend.seen_turns.lock().unwrap().last().unwrap().clone();
    assert_eq!(seen.request.speakers.limits, SpeakerLimits::exactly(2));
    assert_eq!(seen.request.speakers.step, Some(8_000));
    assert_eq!((seen.bytes.as_slice(), seen.clips), (WAV, vec![b"RIFF".to_vec()]));
    assert_eq!(app.diarize(&[("num_speakers", "x")]).error(400)["param"], "num_speakers");
    assert_eq!(app.diarize(&[("response_format", "srt")]).error(400)["param"], "response_format");
    assert_eq!(app.post(PATH, &Form::new()).error(400)["param"], "file");
    eventually("the files are gone", || app.uploads() == 0);
}

#[test]
fn no_model_is_needed_and_one_that_is_named_is_ignored() {
    let app = spawn(Script::default());
    let body = app.diarize(&[("model", "no-such-model")]).json();
    assert_eq!(body["warnings"][0]["code"], "ignored_field");
}

#[test]
fn silence_has_neither_turns_nor_speakers() {
    let app = spawn(Script { silent: true, ..Script::default() });
    let body = app.diarize(&[]).json();
    assert_eq!((&body["turns"], &body["speakers"]), (&json!([]), &json!([])));
    let rttm = app.diarize(&[("response_format", "rttm")]);
    assert_eq!((rttm.status, rttm.body.as_str()), (200, ""));
}

#[test]
fn the_doors_are_those_of_transcriptions() {
    let keyed = spawn_with(Script::default(), |options| options.api_keys = vec!["k".into()]);
    keyed.diarize(&[]).error(401);
    spawn_with(Script::default(), |options| options.max_upload_bytes = 10).diarize(&[]).error(413);
    spawn(Script { loading: true, ..Script::default() }).diarize(&[]).error(503);
    spawn(Script { panic: true, ..Script::default() }).diarize(&[]).error(500);
    let app = spawn(Script::default());
    app.get(PATH).error(405);
    let page = app.post(PATH, &Form::new().file("a.wav", b"<html>"));
    assert_eq!(page.error(400)["code"], "audio_undecodable");
}

#[test]
fn a_client_that_hangs_up_cancels_its_diarization() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| {
        (options.max_running, options.max_waiting) = (1, 0);
    });
    let known = Form::new().text("known_speaker_names[]", "Ann").text("known_speaker_references[]", CLIP);
    let body = known.file("a.wav", WAV).finish();
    let head = post_head(&format!("Content-Length: {}", body.len()));
    let mut stream = app.connect();
    stream.write_all(head.replace("/v1/audio/transcriptions", PATH).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    eventually("the work has begun", || app.backend.seen_turns.lock().unwrap().len() == 1);
    app.diarize(&[]).error(429);
    drop(stream);
    eventually("the work is cancelled", || app.backend.cancelled.load(Ordering::SeqCst));
    eventually("its files are gone", || app.uploads() == 0);
}
