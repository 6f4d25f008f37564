//! A server that is about to end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;

use diarist::api::lifecycle::Ending;
use serde_json::{Value, json};

use crate::support::*;

/// Closes the doors and waits as the program does.
fn close(app: &App) -> Ending {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(app.api.close())
}

/// Sends a whole request, or all of it but the end, and leaves the answer to be read.
fn send(app: &App, fields: &[(&str, &str)], is_whole: bool) -> TcpStream {
    let body = speech_form(fields).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    let end = if is_whole { body.len() } else { body.len() - 10 };
    stream.write_all(&body[..end]).unwrap();
    stream
}

fn error_of(text: &str) -> Value {
    let body: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    body["error"].clone()
}

#[test]
fn those_who_are_there_finish_and_those_who_come_are_sent_away() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| options.max_running = 1);
    // Its connection stays open for the next request.
    assert_eq!(app.get("/v1/models").status, 200);
    let (mut running, mut uploading) = (send(&app, &[], true), send(&app, &[], false));
    eventually("one runs and one uploads", || app.runs() == 1 && app.uploads() == 2);
    thread::scope(|scope| {
        let closing = scope.spawn(|| close(&app));
        eventually("the server says so", || app.get("/health").json()["status"] == "stopping");
        let refused = app.transcribe(&[]);
        let error = refused.error(503);
        assert_eq!((&error["code"], &error["type"]), (&json!("service_unavailable"), &json!("server_error")));
        assert!(error["message"].as_str().unwrap().contains("stopping"), "{error}");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(refused.header("connection"), Some("close"));
        app.get("/v1/models").error(503);
        assert_eq!((app.get("/health").status, app.get("/health/ready").status), (503, 503));
        assert_eq!(app.get("/health/live").status, 200);
        let metrics = app.get("/metrics").body;
        assert!(metrics.contains("diarist_ready 0"), "{metrics}");
        assert!(!metrics.contains("diarist_http_refusals_total{reason=\"stopping\"} 0"), "{metrics}");

        let body = speech_form(&[]).finish();
        uploading.write_all(&body[body.len() - 10..]).unwrap();
        app.backend.released.store(true, Ordering::SeqCst);
        for stream in [&mut running, &mut uploading] {
            assert_eq!(read_answer(stream).status, 200);
        }
        assert_eq!(closing.join().unwrap(), Ending::Finished);
    });
}

#[test]
fn whoever_is_not_done_in_time_is_told_so() {
    let app = spawn_with(Script { hold: true, ..Script::default() }, |options| {
        (options.max_running, options.shutdown_timeout_s) = (2, 0);
    });
    let (mut running, mut stream) = (send(&app, &[], true), send(&app, &[("stream", "true")], true));
    eventually("two run", || app.runs() == 2);
    let (mut waiting, mut uploading) = (send(&app, &[], true), send(&app, &[], false));
    eventually("one waits and one uploads", || app.uploads() == 4);
    assert_eq!(close(&app), Ending::CutOff(4));
    for stream in [&mut running, &mut waiting, &mut uploading] {
        let answer = read_answer(stream);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.head.contains("retry-after: "), "{answer:?}");
        let error = error_of(&answer.body);
        assert_eq!(error["code"], "service_unavailable");
        assert!(error["message"].as_str().unwrap().contains("stopped"), "{error}");
    }
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("transcript.text.delta"), "{said}");
    let last = said.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    assert_eq!(error_of(&last["data: ".len()..])["code"], "service_unavailable");
    eventually("all work has ended", || app.uploads() == 0);
}

#[test]
fn an_answer_that_is_still_being_sent_is_waited_for() {
    let app = spawn(Script { repeat: 20_000, ..Script::default() });
    let mut slow = send(&app, &[("response_format", "verbose_json")], true);
    let mut said = vec![0; 1_000];
    slow.read_exact(&mut said).unwrap();
    thread::scope(|scope| {
        let closing = scope.spawn(|| close(&app));
        eventually("the server says so", || app.get("/health").json()["status"] == "stopping");
        assert!(!closing.is_finished());
        slow.read_to_end(&mut said).unwrap();
        assert!(said.ends_with(b"\r\n0\r\n\r\n"), "the answer has its end");
        assert_eq!(closing.join().unwrap(), Ending::Finished);
    });
}
