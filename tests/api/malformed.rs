//! Requests that are wrong, each in its own way. Every one gets OpenAI's error shape with the right status and
//! `param`, and the server answers the next request.

use std::io::Write;
use std::net::Shutdown;

use crate::support::*;

const PATH: &str = "/v1/audio/transcriptions";

/// What is wrong, the form, the status, the `param`.
type Case = (&'static str, Form, u16, Option<&'static str>);

fn with(fields: &[(&str, &str)]) -> Form {
    speech_form(fields)
}

fn file(content: &[u8]) -> Form {
    Form::new().text("model", "whisper-1").file("a.wav", content)
}

fn part(head: &str) -> Form {
    speech_form(&[]).part(head, b"x")
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(step).collect()
}

fn cases() -> Vec<Case> {
    let giant = "x".repeat((1 << 20) + 1);
    let long_header =
        format!("Content-Disposition: form-data; name=\"prompt\"\r\nX-Long: {}", "y".repeat(80 << 10));
    let clip = "data:audio/wav;base64,UklGRg==";
    let model = |name: &str| with(&[("model", name)]);
    vec![
        // The file.
        ("no file", Form::new().text("model", "whisper-1"), 400, Some("file")),
        ("an empty file", file(b""), 400, Some("file")),
        ("a file of noise", file(&noise(4096)), 400, Some("file")),
        ("a file of one byte", file(b"R"), 400, Some("file")),
        ("a file of text", file(b"hello"), 400, Some("file")),
        ("a file of HTML", file(b"<!DOCTYPE html><html></html>"), 400, Some("file")),
        ("a file of zeros", file(&[0; 1000]), 400, Some("file")),
        ("two files", file(WAV).file("b.wav", WAV), 400, Some("file")),
        (
            "a file under another name",
            Form::new()
                .text("model", "whisper-1")
                .part("Content-Disposition: form-data; name=\"audio\"; filename=\"a.wav\"", WAV),
            400,
            Some("file"),
        ),
        (
            "a file that leaves its folder",
            Form::new().text("model", "whisper-1").file("../../etc/passwd", b"x"),
            400,
            Some("file"),
        ),
        (
            "a file with a device's name",
            Form::new().text("model", "whisper-1").file("/dev/zero", b"x"),
            400,
            Some("file"),
        ),
        (
            "a file whose name is huge",
            Form::new().text("model", "whisper-1").file(&"n".repeat(20_000), b"x"),
            400,
            Some("file"),
        ),
        // The model.
        ("no model", Form::new().file("a.wav", WAV), 400, Some("model")),
        ("an empty model", model(""), 400, Some("model")),
        ("a blank model", model("   "), 400, Some("model")),
        ("an unknown model", model("whisper-9000"), 404, Some("model")),
        ("a model that is not pulled", model("not-pulled"), 404, Some("model")),
        ("a model of another kind", model("silero-vad"), 400, Some("model")),
        ("a model that leaves its folder", model("../../etc/passwd"), 404, Some("model")),
        ("a model with a line break", model("a\r\nX-Evil: 1"), 404, Some("model")),
        ("a model of giant length", model(&"m".repeat(5_000)), 400, Some("model")),
        ("two models", with(&[("model", "whisper-1"), ("model", "tiny")]), 400, Some("model")),
        (
            "a model that is an object",
            with(&[("model", "whisper-1"), ("model[id]", "x")]),
            400,
            Some("model"),
        ),
        // The fields.
        ("an unknown format", with(&[("response_format", "foo")]), 400, Some("response_format")),
        ("a format in capitals", with(&[("response_format", "JSON")]), 400, Some("response_format")),
        ("speakers in plain json", with(&[("diarize", "true")]), 400, Some("diarize")),
        ("half a speaker", with(&[("num_speakers", "1.5")]), 400, Some("num_speakers")),
        (
            "two formats",
            with(&[("response_format", "srt"), ("response_format", "vtt")]),
            400,
            Some("response_format"),
        ),
        ("a temperature in words", with(&[("temperature", "abc")]), 400, Some("temperature")),
        ("a temperature above 1", with(&[("temperature", "2")]), 400, Some("temperature")),
        ("a temperature below 0", with(&[("temperature", "-0.5")]), 400, Some("temperature")),
        ("a temperature that is no number", with(&[("temperature", "NaN")]), 400, Some("temperature")),
        ("an infinite temperature", with(&[("temperature", "1e999")]), 400, Some("temperature")),
        ("a sentence as language", with(&[("language", "this is bad")]), 400, Some("language")),
        ("an unknown language", with(&[("language", "xx")]), 400, Some("language")),
        ("a language of giant length", with(&[("language", &"e".repeat(10_000))]), 400, Some("language")),
        (
            "an unknown language among several",
            with(&[("languages[]", "en"), ("languages[]", "??")]),
            400,
            Some("languages"),
        ),
        ("a stream of maybe", with(&[("stream", "maybe")]), 400, Some("stream")),
        (
            "a stream of subtitles",
            with(&[("stream", "true"), ("response_format", "srt")]),
            400,
            Some("response_format"),
        ),
        (
            "a stream of verbose_json",
            with(&[("stream", "true"), ("response_format", "verbose_json")]),
            400,
            Some("response_format"),
        ),
        (
            "an unknown granularity",
            with(&[("timestamp_granularities[]", "letter")]),
            400,
            Some("timestamp_granularities"),
        ),
        (
            "granularities as an object",
            with(&[("timestamp_granularities[a]", "word")]),
            400,
            Some("timestamp_granularities"),
        ),
        (
            "granularities as numbers",
            with(&[("timestamp_granularities", "[1,2]")]),
            400,
            Some("timestamp_granularities"),
        ),
        ("an unknown include", with(&[("include[]", "everything")]), 400, Some("include")),
        (
            "log probabilities of subtitles",
            with(&[("include[]", "logprobs"), ("response_format", "vtt")]),
            400,
            Some("include"),
        ),
        ("a prompt with NUL", with(&[("prompt", "a\0b")]), 400, Some("prompt")),
        ("a giant prompt", with(&[("prompt", &giant)]), 400, Some("prompt")),
        ("a giant language", with(&[("language", &giant)]), 400, Some("language")),
        (
            "a prompt that is not UTF-8",
            speech_form(&[]).part("Content-Disposition: form-data; name=\"prompt\"", b"\xff\xfe"),
            400,
            Some("prompt"),
        ),
        ("two prompts", with(&[("prompt", "a"), ("prompt", "b")]), 400, Some("prompt")),
        ("no beams", with(&[("beam_size", "0")]), 400, Some("beam_size")),
        ("too many beams", with(&[("beam_size", "9")]), 400, Some("beam_size")),
        ("a priority of one's own", with(&[("priority", "urgent")]), 400, Some("priority")),
        ("two priorities", with(&[("priority", "low"), ("priority", "high")]), 400, Some("priority")),
        (
            "separation now and then",
            with(&[("vocal_separation", "sometimes")]),
            400,
            Some("vocal_separation"),
        ),
        ("half a beam", with(&[("beam_size", "1.5")]), 400, Some("beam_size")),
        (
            "conditioning on perhaps",
            with(&[("condition_on_previous_text", "perhaps")]),
            400,
            Some("condition_on_previous_text"),
        ),
        // The chunking.
        (
            "semantic_vad",
            with(&[("chunking_strategy[type]", "semantic_vad")]),
            400,
            Some("chunking_strategy"),
        ),
        ("an unknown strategy", with(&[("chunking_strategy", "sometimes")]), 400, Some("chunking_strategy")),
        (
            "a strategy without type",
            with(&[("chunking_strategy[threshold]", "0.5")]),
            400,
            Some("chunking_strategy"),
        ),
        (
            "a strategy of broken JSON",
            with(&[("chunking_strategy", "{\"type\":")]),
            400,
            Some("chunking_strategy"),
        ),
        (
            "a threshold above 1",
            with(&[("chunking_strategy", r#"{"type":"server_vad","threshold":1.5}"#)]),
            400,
            Some("chunking_strategy"),
        ),
        (
            "a negative pause",
            with(&[("chunking_strategy", r#"{"type":"server_vad","silence_duration_ms":-1}"#)]),
            400,
            Some("chunking_strategy"),
        ),
        (
            "an endless padding",
            with(&[("chunking_strategy", r#"{"type":"server_vad","prefix_padding_ms":1e18}"#)]),
            400,
            Some("chunking_strategy"),
        ),
        (
            "two strategies",
            with(&[("chunking_strategy", "auto"), ("chunking_strategy[type]", "server_vad")]),
            400,
            Some("chunking_strategy"),
        ),
        ("a deep strategy", with(&[("chunking_strategy[a][b]", "x")]), 400, Some("chunking_strategy")),
        (
            "JSON too deep to parse",
            with(&[("chunking_strategy", &"{\"a\":".repeat(100_000))]),
            400,
            Some("chunking_strategy"),
        ),
        // The known speakers.
        (
            "a speaker without a clip",
            with(&[("known_speaker_names[]", "Ann")]),
            400,
            Some("known_speaker_references"),
        ),
        (
            "a clip without a speaker",
            with(&[("known_speaker_references[]", clip)]),
            400,
            Some("known_speaker_references"),
        ),
        ("five speakers", with(&[("known_speaker_names[]", "A"); 5]), 400, Some("known_speaker_names")),
        (
            "a clip that is a web address",
            with(&[("known_speaker_names[]", "A"), ("known_speaker_references[]", "http://x/a.wav")]),
            400,
            Some("known_speaker_references"),
        ),
        (
            "a clip that is not base64",
            with(&[
                ("known_speaker_names[]", "A"),
                ("known_speaker_references[]", "data:audio/wav;base64,#"),
            ]),
            400,
            Some("known_speaker_references"),
        ),
        // The form.
        ("no parts", Form::new(), 400, Some("model")),
        ("a part without a name", part("Content-Disposition: form-data"), 400, None),
        ("a part with an empty name", part("Content-Disposition: form-data; name=\"\""), 400, None),
        ("a part without a disposition", part("Content-Type: text/plain"), 400, None),
        (
            "a part of another disposition",
            part("Content-Disposition: attachment; name=\"prompt\""),
            400,
            None,
        ),
        (
            "a part that is a form",
            part("Content-Disposition: form-data; name=\"x\"\r\nContent-Type: multipart/mixed; boundary=y"),
            400,
            None,
        ),
        ("a part with a giant header", part(&long_header), 400, None),
        ("a part with a broken header", part("Content-Disposition form-data"), 400, None),
        (
            "a part that lies about its length",
            part("Content-Disposition: form-data; name=\"prompt\"\r\nContent-Length: 100000"),
            400,
            None,
        ),
        (
            "a thousand and one fields",
            (0..1_001).fold(Form::new(), |form, n| form.text(&format!("f{n}"), "")),
            400,
            None,
        ),
    ]
}

#[test]
fn malformed_forms_get_the_right_error_and_do_no_harm() {
    let app = spawn(Script::default());
    let cases = cases();
    assert!(cases.len() >= 60);
    for (what, form, status, param) in cases {
        let answer = app.post(PATH, &form);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.error(status)["param"].as_str(), param, "{what}: {answer:?}");
        assert!(answer.body.len() < 1_000, "{what}: the answer repeats too much");
        assert_eq!(app.transcribe(&[]).status, 200, "after {what}");
    }
    eventually("the uploads are gone", || app.uploads() == 0);
}

#[test]
fn bodies_that_are_no_forms_get_the_same() {
    let app = spawn(Script::default());
    let form = || speech_form(&[]).finish();
    let multipart = |boundary: &str| format!("multipart/form-data; boundary={boundary}");
    let cases: Vec<(&str, String, Vec<u8>)> = vec![
        ("JSON", "application/json".into(), br#"{"model":"whisper-1","file":"x"}"#.to_vec()),
        ("a bare recording", "audio/wav".into(), WAV.to_vec()),
        ("a URL-encoded form", "application/x-www-form-urlencoded".into(), b"model=whisper-1".to_vec()),
        ("nothing at all", "multipart/form-data".into(), Vec::new()),
        ("a form without a boundary", "multipart/form-data".into(), form()),
        ("a form with an empty boundary", multipart(""), form()),
        ("a form with another boundary", multipart("other"), form()),
        ("a form with a giant boundary", multipart(&"b".repeat(5_000)), form()),
        ("an empty body", multipart(BOUNDARY), Vec::new()),
        ("noise", multipart(BOUNDARY), noise(100_000)),
        ("one long line", multipart(BOUNDARY), vec![b'-'; 200_000]),
        ("a boundary and nothing else", multipart(BOUNDARY), format!("--{BOUNDARY}\r\n").into_bytes()),
        (
            "bare line feeds",
            multipart(BOUNDARY),
            String::from_utf8(Form::new().text("model", "x").finish())
                .unwrap()
                .replace("\r\n", "\n")
                .into_bytes(),
        ),
        ("a form cut in its file", multipart(BOUNDARY), {
            let mut body = form();
            body.truncate(body.len() - 40);
            body
        }),
        ("a form cut in its first header", multipart(BOUNDARY), form()[..40].to_vec()),
        ("mixed content", format!("multipart/mixed; boundary={BOUNDARY}"), form()),
        ("a content type of nonsense", ";;;".into(), form()),
    ];
    for (what, content_type, body) in cases {
        let answer = app.post_raw(PATH, &content_type, body);
        answer.error(400);
        assert_eq!(app.transcribe(&[]).status, 200, "after {what}");
    }
    let untyped = app.client.post(app.url(PATH)).body(form()).send().unwrap();
    assert_eq!(untyped.status(), 400);
    eventually("the uploads are gone", || app.uploads() == 0);
}

#[test]
fn a_body_that_breaks_off_is_noticed_at_once() {
    let app = spawn(Script::default());
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 100000").as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    eventually("the upload has begun", || app.uploads() == 1);
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("invalid_request_error"), "{answer:?}");
    eventually("the upload is gone", || app.uploads() == 0);
    assert_eq!(app.runs(), 0);
    assert_eq!(app.transcribe(&[]).status, 200);
}

#[test]
fn broken_chunks_and_heads_do_no_harm() {
    let app = spawn(Script::default());
    let broken_chunk = post_head("Transfer-Encoding: chunked") + "zz\r\nhello\r\n";
    assert_eq!(app.raw(broken_chunk.as_bytes()).status, 400);
    for head in ["GET / HTTP/9.9\r\n\r\n", "nonsense\r\n\r\n", "GET /\u{7f}\u{1} HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        assert_eq!(app.raw(head.as_bytes()).status, 400, "{head:?}");
    }
    assert_eq!(app.transcribe(&[]).status, 200);
}
