//! Signals, and the exit codes that the README tells.

use std::io::Write;

use crate::support::*;

#[test]
fn with_nothing_to_do_it_ends_at_once_whoever_keeps_a_connection_open() {
    let mut server = Server::start(&["shutdown_timeout_s=3600"]);
    let mut kept = server.connect();
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_until(&mut kept, "\"status\":\"ok\"");
    let _silent = server.connect();
    server.signal(libc::SIGTERM);
    assert_eq!(server.ends(), Some(0), "{}", server.log());
}

#[test]
fn an_upload_that_was_let_in_is_still_transcribed() {
    let mut server = Server::start(&["shutdown_timeout_s=3600"]);
    let body = form(&hello(), &[]);
    let mut stream = server.connect();
    stream.write_all(post_head(body.len(), "").as_bytes()).unwrap();
    stream.write_all(&body[..body.len() / 2]).unwrap();
    eventually("the upload has begun", || server.files("") == 1);
    server.signal(libc::SIGTERM);
    eventually("it is stopping", || server.get("/health").status == 503);
    let refused = server.transcribe(&hello(), &[]);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.text.contains("retry-after: ") && refused.text.contains("service_unavailable"),
        "{refused:?}"
    );
    assert_eq!(server.get("/health/live").status, 200);

    stream.write_all(&body[body.len() / 2..]).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text.contains(SAID), "{answer:?}");
    assert_eq!(server.ends(), Some(0), "{}", server.log());
    assert_eq!(server.files(""), 0);
}

#[test]
fn what_is_not_done_in_time_is_told_and_gives_its_own_exit_code() {
    let mut server = Server::start(&["shutdown_timeout_s=1", "max_running=2"]);
    let speech = speech();
    let mut stream = server.send(&speech, &[("stream", "true")]);
    read_until(&mut stream, "transcript.text.delta");
    let mut whole = server.send(&speech, &[]);
    eventually("both have been taken in", || server.open_files() >= 2);
    server.signal(libc::SIGTERM);
    let told = Answer::read(&mut whole);
    assert_eq!(told.status, 503, "{told:?}");
    assert!(told.text.contains("the server stopped before this request was done"), "{told:?}");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stream, &mut rest).unwrap();
    let last = rest.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    assert!(last.starts_with("data: {\"error\":{") && last.contains("service_unavailable"), "{last}");
    assert_eq!(server.ends(), Some(3), "{}", server.log());
    assert_eq!(server.files(""), 0, "the work took its files with it");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&["shutdown_timeout_s=3600"]);
    let mut stream = server.send(&speech(), &[("stream", "true")]);
    read_until(&mut stream, "transcript.text.delta");
    server.signal(libc::SIGINT);
    eventually("it is stopping", || server.get("/health").status == 503);
    server.signal(libc::SIGTERM);
    assert_eq!(server.ends(), Some(4), "{}", server.log());
}
