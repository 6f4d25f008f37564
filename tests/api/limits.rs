//! Too large, too many, too slow.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::thread;

use crate::support::*;

/// Sends all of `body` before reading anything, as Node does, in pieces of a chunked body or at once.
fn send_all(app: &App, body: &[u8], chunked: bool) -> RawAnswer {
    let mut stream = app.connect();
    if chunked {
        stream.write_all(post_head("Transfer-Encoding: chunked").as_bytes()).unwrap();
        for piece in body.chunks(64 << 10) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
            stream.write_all(piece).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    } else {
        stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }
    read_answer(&mut stream)
}

#[test]
fn a_body_over_the_limit_is_413_even_for_clients_that_send_everything_first() {
    let app = spawn_with(Script::default(), |options| options.max_upload_bytes = 1 << 20);
    let body = Form::new().file("big.wav", &vec![b'x'; 26 << 20]).text("model", "whisper-1").finish();
    for chunked in [false, true] {
        let answer = send_all(&app, &body, chunked);
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
        let error = &serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["error"];
        assert_eq!(error["type"], "server_error");
        assert!(error["param"].is_null() && error["code"].is_null());
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("1048576") && message.contains("DIARIST_MAX_UPLOAD_BYTES"), "{message}");
    }
    assert_eq!((app.runs(), app.uploads()), (0, 0));
    assert_eq!(app.transcribe(&[]).status, 200);
}

#[test]
fn a_body_of_exactly_the_limit_is_taken() {
    let overhead = speech_form(&[]).finish().len() - WAV.len();
    let app = spawn_with(Script::default(), |options| options.max_upload_bytes = (overhead + 1000) as u64);
    let upload = |size: usize| {
        let mut audio = WAV.to_vec();
        audio.resize(size, 0);
        app.post(
            "/v1/audio/transcriptions",
            &Form::new().text("model", "whisper-1").file("speech.wav", &audio),
        )
    };
    assert_eq!(upload(1000).status, 200);
    assert_eq!(app.last_seen().bytes.len(), 1000);
    upload(1001).error(413);
}

#[test]
fn other_refusals_too_are_heard_by_clients_that_send_everything_first() {
    let app = spawn(Script::default());
    let body = Form::new().text("model", "nope").file("a.wav", &vec![b'x'; 3 << 20]).finish();
    for chunked in [false, true] {
        assert_eq!(send_all(&app, &body, chunked).status, 404);
    }
    let twice = Form::new().file("a.wav", WAV).file("b.wav", &vec![b'x'; 3 << 20]).finish();
    for chunked in [false, true] {
        assert_eq!(send_all(&app, &twice, chunked).status, 400);
    }
}

#[test]
fn beyond_the_last_waiting_place_the_answer_is_429() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| {
        (options.max_running, options.max_waiting) = (1, 1);
    });
    thread::scope(|scope| {
        let running = scope.spawn(|| app.transcribe(&[]).status);
        eventually("one runs", || app.runs() == 1);
        let waiting = scope.spawn(|| app.transcribe(&[]).status);
        eventually("one waits", || app.uploads() == 2);
        let answer = app.transcribe(&[]);
        let error = answer.error(429);
        assert_eq!(error["code"], "rate_limit_exceeded");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
        assert_eq!(app.runs(), 1);
        app.backend.released.store(true, Ordering::SeqCst);
        assert_eq!((running.join().unwrap(), waiting.join().unwrap()), (200, 200));
    });
    assert_eq!(app.transcribe(&[]).status, 200);
}

#[test]
fn a_client_that_stops_sending_is_given_up() {
    let app = spawn_with(Script::default(), |options| options.body_timeout_s = 1);
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 100000").as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    eventually("the upload is gone", || app.uploads() == 0);
}

#[test]
fn waiting_for_100_continue_is_answered() {
    let app = spawn(Script::default());
    let body = speech_form(&[]).finish();
    let mut stream = app.connect();
    let framing = format!("Expect: 100-continue\r\nContent-Length: {}", body.len());
    stream.write_all(post_head(&framing).as_bytes()).unwrap();
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
}
