//! `GET /metrics`: who may read it, and what a server counts at its door.

use std::io::{Read, Write};

use diarist::pipeline::PipelineError;

use crate::support::*;

/// The value of a series, written as in the page.
#[track_caller]
fn value(app: &App, series: &str) -> f64 {
    let answer = app.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or("0").parse().unwrap()
}

#[test]
fn the_page_is_openmetrics_and_ends_as_such() {
    let app = spawn(Script::default());
    let answer = app.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    assert!(answer.body.contains("# TYPE diarist_http_refusals counter"), "{}", answer.body);
    assert_eq!(value(&app, "diarist_model_memory_bytes{model=\"tiny\"}"), 1000.0);
    assert_eq!(value(&app, "diarist_model_loaded{model=\"bad\"}"), 0.0);
}

#[test]
fn without_keys_the_page_is_for_this_machine_alone() {
    let app = spawn(Script::default());
    assert_eq!(app.get("/metrics").status, 200);
    for header in
        ["X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1", "Via: 1.1 x"]
    {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
        let answer = app.raw(head.as_bytes());
        assert_eq!(answer.status, 403, "{header}");
        assert!(answer.body.contains("DIARIST_METRICS_KEY"), "{}", answer.body);
        assert!(!answer.body.contains("diarist_"), "{}", answer.body);
    }
}

#[test]
fn keys_open_the_page_and_its_own_key_goes_before_them() {
    let with = |app: &App, key: &str| {
        let request = app.client.get(app.url("/metrics")).bearer_auth(key);
        request.send().unwrap().status().as_u16()
    };
    let keyed = spawn_with(Script::default(), |options| options.api_keys = vec!["api".into()]);
    keyed.get("/metrics").error(401);
    assert_eq!((with(&keyed, "api"), with(&keyed, "other")), (200, 401));
    let own = spawn_with(Script::default(), |options| {
        options.api_keys = vec!["api".into()];
        options.metrics_key = "own".into();
    });
    own.get("/metrics").error(401);
    assert_eq!((with(&own, "own"), with(&own, "api")), (200, 401));
    // Nor does its key open the rest.
    let models = own.client.get(own.url("/v1/models")).bearer_auth("own").send().unwrap();
    assert_eq!(models.status(), 401);
}

#[test]
fn a_page_that_is_off_is_no_page() {
    let app = spawn_with(Script::default(), |options| options.metrics = false);
    app.get("/metrics").error(404);
}

#[test]
fn requests_are_counted_by_route_and_status_and_nobody_makes_up_labels() {
    let app = spawn(Script::default());
    assert_eq!(app.transcribe(&[]).status, 200);
    assert_eq!(app.transcribe(&[("stream", "true")]).status, 200);
    app.transcribe(&[("temperature", "hot")]).error(400);
    for path in ["/.env", "/v1/secret/path", "/metrics/x"] {
        app.get(path).error(404);
    }
    let labels = |route: &str, method: &str, status: u16| {
        format!("diarist_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}")
    };
    let transcriptions = "/v1/audio/transcriptions";
    assert_eq!(value(&app, &labels(transcriptions, "POST", 200)), 2.0);
    assert_eq!(value(&app, &labels(transcriptions, "POST", 400)), 1.0);
    assert_eq!(value(&app, &labels("other", "GET", 404)), 3.0);
    let page = app.get("/metrics").body;
    assert!(!page.contains("secret") && !page.contains(".env"), "{page}");
    let count = format!("diarist_http_request_duration_seconds_count{{route=\"{transcriptions}\"}}");
    assert_eq!(value(&app, &count), 3.0);
    assert_eq!(value(&app, "diarist_queue_wait_seconds_count"), 2.0);
    assert!(value(&app, "diarist_upload_bytes_total") > 3.0 * WAV.len() as f64);
    // The one that asks.
    assert_eq!(value(&app, "diarist_http_requests_in_flight"), 1.0);
    for phase in ["head", "upload", "queue", "work", "answer"] {
        assert_eq!(
            value(&app, &format!("diarist_http_disconnects_total{{phase=\"{phase}\"}}")),
            0.0,
            "{phase}"
        );
    }
}

#[test]
fn refusals_are_counted_with_their_reason() {
    let refusals =
        |app: &App, reason: &str| value(app, &format!("diarist_http_refusals_total{{reason=\"{reason}\"}}"));
    let loading = spawn(Script { loading: true, ..Script::default() });
    loading.transcribe(&[]).error(503);
    assert_eq!(refusals(&loading, "loading"), 1.0);
    assert_eq!(value(&loading, "diarist_ready"), 0.0);

    let script = Script { hold: true, ..Script::default() };
    let full = spawn_with(script, |options| (options.max_running, options.max_waiting) = (1, 0));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| full.transcribe(&[]));
        eventually("the work has begun", || full.runs() == 1);
        assert_eq!(value(&full, "diarist_permits_free{kind=\"admission\"}"), 0.0);
        assert_eq!(value(&full, "diarist_permits_free{kind=\"running\"}"), 0.0);
        assert_eq!(value(&full, "diarist_permits_limit{kind=\"running\"}"), 1.0);
        full.transcribe(&[]).error(429);
        full.backend.released.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(refusals(&full, "busy"), 1.0);
    eventually("the place is free", || value(&full, "diarist_permits_free{kind=\"running\"}") == 1.0);

    let refusing: fn() -> PipelineError = || diarist::asr::AsrError::Cancelled.into();
    let cancelled = spawn(Script { refuse: Some(refusing), ..Script::default() });
    cancelled.transcribe(&[]).error(503);
    assert_eq!(refusals(&cancelled, "cancelled"), 1.0);
}

#[test]
fn a_panic_is_counted() {
    let app = spawn(Script { panic: true, ..Script::default() });
    app.transcribe(&[]).error(500);
    assert_eq!(value(&app, "diarist_panics_total{place=\"request\"}"), 1.0);
}

#[test]
fn clients_that_leave_are_counted_by_how_far_they_had_come() {
    let left =
        |app: &App, phase: &str| value(app, &format!("diarist_http_disconnects_total{{phase=\"{phase}\"}}"));
    let app = spawn(Script { hold: true, ..Script::default() });
    let mut stream = app.connect();
    stream.write_all(post_head("Content-Length: 100000").as_bytes()).unwrap();
    stream.write_all(&speech_form(&[]).unfinished()).unwrap();
    eventually("the upload has begun", || value(&app, "diarist_uploads_in_progress") == 1.0);
    eventually("its bytes are on disk", || {
        value(&app, "diarist_temporary_bytes") > 0.0 || app.uploads() == 1
    });
    drop(stream);
    eventually("it is counted", || left(&app, "upload") == 1.0);
    assert_eq!(value(&app, "diarist_uploads_in_progress"), 0.0);

    let body = speech_form(&[]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    eventually("the work has begun", || app.runs() == 1);
    drop(stream);
    eventually("it is counted", || left(&app, "work") == 1.0);

    let body = speech_form(&[("stream", "true")]).finish();
    let mut stream = app.connect();
    stream.write_all(post_head(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    drop(stream);
    eventually("it is counted", || left(&app, "work") == 2.0);
    assert_eq!((left(&app, "head"), left(&app, "queue"), left(&app, "answer")), (0.0, 0.0, 0.0));
}
