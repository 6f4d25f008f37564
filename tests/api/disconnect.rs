//! Clients that go away.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use crate::support::*;

fn send(app: &App, fields: &[(&str, &str)]) -> std::net::TcpStream {
    let body = speech_form(fields).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    stream
}

#[test]
fn a_client_that_hangs_up_cancels_its_work() {
    let app = spawn(Script { hold: true, ..Script::default() });
    let stream = send(&app, &[]);
    eventually("the work has begun", || app.runs() == 1);
    drop(stream);
    eventually("the work is cancelled", || app.backend.cancelled.load(Ordering::SeqCst));
    eventually("the upload is gone", || app.uploads() == 0);
}

#[test]
fn a_reader_that_leaves_its_stream_cancels_its_work() {
    let app = spawn(Script { hold: true, ..Script::default() });
    let mut stream = send(&app, &[("stream", "true")]);
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    while !String::from_utf8_lossy(&text).contains("Hello") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0);
        text.extend_from_slice(&buffer[..read]);
    }
    drop(stream);
    eventually("the work is cancelled", || app.backend.cancelled.load(Ordering::SeqCst));
}

#[test]
fn an_upload_that_breaks_off_frees_its_place_and_its_file() {
    let app = spawn_with(Script::default(), |options| (options.max_running, options.max_waiting) = (1, 0));
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 100000").as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    eventually("the upload has begun", || app.uploads() == 1);
    app.transcribe(&[]).error(429);
    drop(stream);
    eventually("the upload is gone", || app.uploads() == 0);
    eventually("the place is free", || app.transcribe(&[]).status == 200);
}

#[test]
fn whoever_leaves_the_line_frees_its_place_and_its_file() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| {
        (options.max_running, options.max_waiting) = (1, 1);
    });
    let running = send(&app, &[]);
    eventually("one runs", || app.runs() == 1);
    let waiting = send(&app, &[]);
    eventually("one waits", || app.uploads() == 2);
    app.transcribe(&[]).error(429);
    drop(waiting);
    eventually("its upload is gone", || app.uploads() == 1);
    let other = send(&app, &[]);
    eventually("its place is free", || app.uploads() == 2);
    drop(other);
    eventually("its upload is gone too", || app.uploads() == 1);
    drop(running);
    eventually("all is free", || app.uploads() == 0);
    assert_eq!(app.runs(), 1, "who left the line was never worked for");
}

#[test]
fn a_reader_that_leaves_a_long_answer_frees_its_transcript() {
    for fields in [&[("response_format", "verbose_json")][..], &[("stream", "true")]] {
        // Told at the end alone, so that a stream has much to write there.
        let app = spawn(Script { repeat: 200_000, mute: true, ..Script::default() });
        let mut stream = send(&app, fields);
        stream.read_exact(&mut [0; 1_000]).unwrap();
        let held = || open_files(std::process::id(), app.temp_dir.path());
        assert!(held() > 0, "the transcript lies in a file while it is being sent");
        drop(stream);
        eventually("the transcript is let go", || held() == 0);
    }
}
