//! Logs as JSON, as `docs/logs.md` describes them.

use diarist::telemetry::{self, LogOptions};
use serde_json::Value;

use crate::program::Program;

#[test]
fn every_line_of_a_request_carries_its_id_whatever_thread_writes_it() {
    let settings = [("DIARIST_LOG_FORMAT", "json"), ("DIARIST_LOG_LEVEL", "info,diarist=debug")];
    let program = Program::start(&settings);
    let text = program.transcribe("hello.flac", &[("x-request-id", "req-one")]);
    assert!(!text.trim().is_empty());
    program.transcribe("hello.flac", &[("x-request-id", "req-two")]);
    let log = program.stop();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    for line in &lines {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    let of_request = |id: &str| lines.iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    for id in ["req-one", "req-two"] {
        let lines = of_request(id);
        let wrote = |message: &str| {
            let count = lines.iter().filter(|line| line["message"] == message).count();
            assert!(count >= 1, "no `{message}` of {id}:\n{log}");
        };
        // The thread that decodes, a worker of the engine, the pipeline's thread, the one that talks HTTP.
        ["decoded", "a worker is done", "checked", "request"].into_iter().for_each(wrote);
    }
    // Probes come every few seconds, and would be most of the log.
    let is_probe = |line: &&Value| line["path"].as_str().is_some_and(|path| path.starts_with("/health"));
    assert!(lines.iter().filter(is_probe).all(|line| line["level"] == "DEBUG"), "{log}");
    assert!(lines.iter().any(|line| is_probe(&line)), "{log}");
    let last = of_request("req-one").into_iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!((&last["method"], &last["status"]), (&"POST".into(), &200.into()), "{last}");
    assert_eq!(last["path"], "/v1/audio/transcriptions", "{last}");
    for number in ["total_ms", "audio_s", "decode_ms", "vad_ms", "asr_ms", "upload_bytes"] {
        assert!(last[number].as_f64().is_some_and(|value| value > 0.0), "{number}: {last}");
    }
    assert_eq!(last["level"], "INFO", "{last}");
    assert!(last.get("client_left").is_none(), "{last}");
    // Nothing that only requests do is said without saying whose it is.
    let nameless = lines.iter().filter(|line| line.get("request_id").is_none());
    let messages: Vec<_> = nameless.map(|line| line["message"].as_str().unwrap()).collect();
    for message in ["decoded", "checked", "request"] {
        assert!(!messages.contains(&message), "{messages:?}");
    }
}

/// Set for the process in which `a_thread_that_panics` does.
const PANIC: &str = "DIARIST_TEST_PANIC";

#[test]
fn a_panic_is_one_line_with_the_id_of_its_request() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs::a_thread_that_panics", "--nocapture"])
        .env(PANIC, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [line] = &lines[..] else { panic!("{log}") };
    assert_eq!((&line["message"], &line["level"]), (&"panic".into(), &"ERROR".into()));
    assert_eq!((&line["request_id"], &line["thread"]), (&"req-one".into(), &"worker".into()));
    assert_eq!(line["reason"], "line one\nline two");
    assert!(line["place"].as_str().unwrap().contains("logs.rs"), "{line}");
}

/// Nothing, but in a process of its own.
#[test]
fn a_thread_that_panics() {
    if std::env::var_os(PANIC).is_none() {
        return;
    }
    let options = LogOptions { filter: "info".into(), json: true };
    telemetry::start(&options).unwrap();
    let work = || {
        let _request = tracing::info_span!("request", request_id = "req-one").entered();
        panic!("line one\nline two");
    };
    let ended = std::thread::Builder::new().name("worker".into()).spawn(work).unwrap().join();
    assert!(ended.is_err());
}
