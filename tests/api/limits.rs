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

#[test]
fn one_key_cannot_take_all_places() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| {
        options.api_keys = vec!["one".into(), "two".into()];
        options.max_per_client = 1;
    });
    let transcribe = |key: &str| {
        let form = speech_form(&[]);
        let request = app.client.post(app.url("/v1/audio/transcriptions")).bearer_auth(key);
        let response =
            request.header("content-type", form.content_type()).body(form.finish()).send().unwrap();
        (response.status().as_u16(), response.headers().contains_key("retry-after"), response.text().unwrap())
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| transcribe("one").0);
        eventually("one runs", || app.runs() == 1);
        let (status, says_when, said) = transcribe("one");
        assert_eq!((status, says_when), (429, true), "{said}");
        assert!(said.contains("this key") && said.contains("DIARIST_MAX_PER_CLIENT"), "{said}");
        let other = scope.spawn(|| transcribe("two").0);
        eventually("both run", || app.runs() == 2);
        app.backend.released.store(true, Ordering::SeqCst);
        assert_eq!((first.join().unwrap(), other.join().unwrap()), (200, 200));
    });
    assert_eq!(transcribe("one").0, 200);
}

#[test]
fn without_keys_one_address_is_one_client_whatever_key_it_makes_up() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| options.max_per_client = 1);
    thread::scope(|scope| {
        let first = scope.spawn(|| app.transcribe(&[]).status);
        eventually("one runs", || app.runs() == 1);
        let form = speech_form(&[]);
        let request = app.client.post(app.url("/v1/audio/transcriptions")).bearer_auth("made-up");
        let response =
            request.header("content-type", form.content_type()).body(form.finish()).send().unwrap();
        assert_eq!(response.status(), 429);
        assert!(response.text().unwrap().contains("this address"));
        app.backend.released.store(true, Ordering::SeqCst);
        assert_eq!(first.join().unwrap(), 200);
    });
}

/// Sends `piece` every `pause` until there is an answer.
fn drip(stream: &mut std::net::TcpStream, piece: &[u8], pause: std::time::Duration) -> RawAnswer {
    stream.set_nonblocking(true).unwrap();
    let mut first = [0];
    loop {
        match stream.peek(&mut first) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
        let _ = stream.write(piece);
        thread::sleep(pause);
    }
    stream.set_nonblocking(false).unwrap();
    read_answer(stream)
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_is_given_up() {
    let app = spawn_with(Script::default(), |options| options.body_timeout_s = 1);
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 100000").as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    let answer = drip(&mut stream, b"x", std::time::Duration::from_millis(100));
    assert_eq!(answer.status, 408, "{answer:?}");
    eventually("the upload is gone", || app.uploads() == 0);
}

#[test]
fn an_upload_that_takes_too_long_is_given_up_however_steady_it_is() {
    let app = spawn_with(Script::default(), |options| {
        (options.upload_timeout_s, options.max_upload_bytes) = (1, 1 << 40);
    });
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", 1_u64 << 39)).as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    let answer = drip(&mut stream, &[b'x'; 4096], std::time::Duration::from_millis(20));
    assert_eq!(answer.status, 408, "{answer:?}");
    eventually("the upload is gone", || app.uploads() == 0);
}

#[test]
fn half_a_head_does_not_hold_a_connection() {
    let app = spawn_with(Script::default(), |options| options.keep_alive_s = 1);
    let half = b"GET /health HTTP/1.1\r\nHost:";
    let mut first = app.connect();
    first.write_all(half).unwrap();
    let mut second = app.connect();
    second.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut second).status, 200);
    second.write_all(half).unwrap();
    for stream in [&mut first, &mut second] {
        let mut said = Vec::new();
        std::io::Read::read_to_end(stream, &mut said).expect("the server closes the connection");
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
}

#[test]
fn a_head_without_end_is_refused() {
    let app = spawn(Script::default());
    let mut stream = app.connect();
    stream.write_all(b"GET /health HTTP/1.1\r\nX-Long: ").unwrap();
    // The server may close before all of it has been written.
    let _ = stream.write_all(&vec![b'x'; 200 << 10]);
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 431");
    assert_eq!(app.get("/health").status, 200);
}

#[test]
fn beyond_the_last_connection_others_wait_until_one_ends() {
    let app = spawn_with(Script::default(), |options| options.max_connections = 2);
    let ask = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    };
    let mut open: Vec<_> = (0..2).map(|_| app.connect()).collect();
    for stream in &mut open {
        ask(stream);
        assert_eq!(read_answer(stream).status, 200);
    }
    let mut third = app.connect();
    ask(&mut third);
    third.set_nonblocking(true).unwrap();
    thread::sleep(std::time::Duration::from_millis(200));
    let error = third.peek(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    third.set_nonblocking(false).unwrap();
    drop(open.pop());
    assert_eq!(read_answer(&mut third).status, 200);
}

#[test]
fn a_client_that_never_reads_its_answer_is_given_up() {
    let app =
        spawn_with(Script { repeat: 200_000, ..Script::default() }, |options| options.send_timeout_s = 1);
    let body = speech_form(&[("response_format", "verbose_json")]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let held = || open_files(std::process::id(), app.temp_dir.path());
    assert!(held() > 0, "the transcript lies in a file while it is being sent");
    eventually("the transcript is let go", || held() == 0);
    drop(stream);
}

#[test]
fn the_text_of_all_forms_together_is_bounded() {
    let app = spawn_with(Script::default(), |options| {
        (options.max_upload_bytes, options.max_text_bytes) = (16 << 20, 3 << 20);
    });
    let form = || {
        let clip = format!("data:audio/wav;base64,{}", "A".repeat(2 << 20));
        speech_form(&[("known_speaker_names[]", "a"), ("known_speaker_references[]", &clip)])
    };
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 9000000").as_bytes()).unwrap();
    stream.write_all(&form().unfinished()).unwrap();
    eventually("its text has been read", || app.uploads() == 1);
    let refused = app.post("/v1/audio/transcriptions", &form());
    let error = refused.error(429);
    assert!(error["message"].as_str().unwrap().contains("other forms"), "{error}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(app.transcribe(&[]).status, 200, "little text finds room");
    drop(stream);
    eventually("there is room again", || app.post("/v1/audio/transcriptions", &form()).status != 429);
}
