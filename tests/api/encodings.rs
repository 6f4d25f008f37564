//! The same request as different clients write it.

use std::io::Write;

use diarist::pipeline::Chunking;

use crate::support::*;

const PATH: &str = "/v1/audio/transcriptions";

#[test]
fn the_order_of_the_parts_does_not_matter() {
    let app = spawn(Script::default());
    let first = app.post(PATH, &Form::new().file("a.wav", WAV).text("model", "whisper-1"));
    let last = app.post(PATH, &Form::new().text("model", "whisper-1").file("a.wav", WAV));
    assert_eq!((first.status, &first.body), (200, &last.body));
}

#[test]
fn a_chunked_upload_with_the_file_first_arrives_whole() {
    let app = spawn(Script::default());
    let mut audio = WAV.to_vec();
    audio.extend((0..3_000_000u32).map(|n| (n % 251) as u8));
    let body = Form::new().file("a.wav", &audio).text("model", "whisper-1").finish();
    let mut stream = app.connect();
    stream.write_all(post_head("Transfer-Encoding: chunked").as_bytes()).unwrap();
    for piece in body.chunks(7_919) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
        stream.write_all(piece).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    assert!(app.last_seen().bytes == audio, "the upload differs from what was sent");
}

#[test]
fn a_form_as_dot_net_writes_it() {
    let app = spawn(Script::default());
    let boundary = "=_b0undary_7f=";
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part(
        "Content-Disposition: form-data; name=file; filename=\"Assets\\a.wav\"; filename*=utf-8''Assets%5Ca.wav",
        WAV,
    );
    part("Content-Disposition: form-data; name=model", b"whisper-1");
    part(
        "Content-Disposition: form-data; name=chunking_strategy",
        br#"{"type":"server_vad","threshold":0.3,"silence_duration_ms":400}"#,
    );
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let answer = app.post_raw(PATH, &format!("multipart/form-data; boundary=\"{boundary}\""), body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = app.last_seen().request;
    assert_eq!(request.source.name.as_deref(), Some("a.wav"));
    let Chunking::Vad(options) = request.chunking else { panic!("{:?}", request.chunking) };
    assert_eq!((options.threshold, options.min_silence_ms), (0.3, 400));
}

#[test]
fn brackets_reach_the_pipeline_like_json() {
    let app = spawn(Script::default());
    app.transcribe(&[
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.3"),
        ("chunking_strategy[silence_duration_ms]", "400"),
    ]);
    let brackets = app.last_seen().request.chunking;
    app.transcribe(&[(
        "chunking_strategy",
        r#"{"type":"server_vad","threshold":0.3,"silence_duration_ms":400}"#,
    )]);
    assert_eq!(app.last_seen().request.chunking, brackets);
    assert_eq!(app.transcribe(&[("chunking_strategy", "auto")]).status, 200);
    assert_eq!(app.last_seen().request.chunking, Chunking::Auto);
}

#[test]
fn names_of_files_are_labels_and_nothing_else() {
    let app = spawn(Script::default());
    for (sent, label) in [
        ("../../../etc/passwd", Some("passwd")),
        ("C:\\dir\\né %22q%22.mp3", Some("né %22q%22.mp3")),
        ("/abs/olute.wav", Some("olute.wav")),
        ("blob", Some("blob")),
        ("..", Some("..")),
        ("", None),
    ] {
        let form = Form::new().text("model", "whisper-1").file(sent, WAV);
        assert_eq!(app.post(PATH, &form).status, 200, "{sent}");
        let source = app.last_seen().request.source;
        assert_eq!(source.name.as_deref(), label, "{sent}");
        assert_eq!(source.path.parent(), Some(app.temp_dir.path()));
    }
}

#[test]
fn a_file_part_without_a_name_or_type_is_still_the_file() {
    let app = spawn(Script::default());
    let form = Form::new().part("Content-Disposition: form-data; name=\"file\"", WAV).part(
        "content-disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-8",
        b"whisper-1",
    );
    assert_eq!(app.post(PATH, &form).status, 200);
    assert_eq!(app.last_seen().bytes, WAV);
}

#[test]
fn empty_values_count_as_absent() {
    let app = spawn(Script::default());
    let answer = app.transcribe(&[
        ("language", ""),
        ("prompt", ""),
        ("response_format", ""),
        ("temperature", ""),
        ("timestamp_granularities[]", ""),
        ("include[]", ""),
        ("chunking_strategy", ""),
        ("stream", ""),
    ]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
}

#[test]
fn stream_is_understood_in_every_spelling() {
    let app = spawn(Script::default());
    for (text, streams) in [
        ("true", true),
        ("True", true),
        ("TRUE", true),
        ("1", true),
        ("false", false),
        ("False", false),
        ("0", false),
    ] {
        let answer = app.transcribe(&[("stream", text)]);
        let is_stream = answer.header("content-type").unwrap().starts_with("text/event-stream");
        assert_eq!((answer.status, is_stream), (200, streams), "{text}");
    }
}

#[test]
fn new_list_fields_and_javascripts_extra_body_are_taken() {
    let app = spawn(Script::default());
    let clip = "data:audio/wav;base64,UklGRg==";
    let answer = app.transcribe(&[
        ("languages[]", "de"),
        ("languages[]", "en"),
        ("keywords[]", "kea"),
        ("keywords[]", "kiwi"),
        ("extra_body[known_speaker_names][]", "Ann"),
        ("extra_body[known_speaker_references][]", clip),
    ]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = app.last_seen().request;
    assert_eq!(request.prompt, "kea, kiwi");
    assert_eq!(request.candidate_languages.len(), 2);
    let warnings = answer.json()["warnings"].clone();
    assert!(warnings[0]["message"].as_str().unwrap().contains("known_speaker_names"), "{warnings}");
}

#[test]
fn text_around_the_form_is_passed_over_and_the_connection_lives_on() {
    let app = spawn(Script::default());
    let mut body = b"preamble\r\n".to_vec();
    body.extend(speech_form(&[]).finish());
    body.extend_from_slice(b"epilogue");
    let answer = app.post_raw(PATH, &speech_form(&[]).content_type(), body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(app.transcribe(&[]).status, 200);
}

#[test]
fn content_that_looks_like_a_boundary_is_content() {
    let app = spawn(Script::default());
    let mut audio = WAV.to_vec();
    for decoy in ["\r\n--", "\r\n------test-boundar", "\r\n----test-boundary", "\r\n\r\n--\r\n", "\r"] {
        audio.extend_from_slice(decoy.as_bytes());
    }
    let form = Form::new().text("model", "whisper-1").file("a.wav", &audio);
    assert_eq!(app.post(PATH, &form).status, 200);
    assert_eq!(app.last_seen().bytes, audio);
}
