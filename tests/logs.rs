//! The log of the built program under hostile requests: no line that the program did not begin itself, no key at any
//! level, and no name of a client's that becomes a path.

#[path = "support/command.rs"]
mod command;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

const KEY: &str = "sk-operators-own-key-93d1";
const WRONG_KEY: &str = "sk-somebody-elses-key-4c7e";
const TOKEN: &str = "hf_token-of-the-hub-5a02";
/// What no log may hold: keys whole, and in each way that a careless printer spells them.
const SECRETS: [&str; 3] = ["operators-own-key", "somebody-elses-key", "token-of-the-hub"];

/// Begins a line of its own in a log that lets it, and colours it.
const FORGERY: &str = "x\r\nFORGED INFO all is well\n\u{1b}[2J\u{85}\u{2028}FORGED\u{202e}";
/// The same without what a header cannot hold.
const FORGED_HEADER: &str = "x\tFORGED\u{85}\u{2028}\u{202e}%0aFORGED%1b[2J";

struct Server {
    process: Child,
    address: String,
    /// Reads the log to its end: a program whose log nobody reads waits for whoever will.
    log: Option<JoinHandle<String>>,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(format: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = command::diarist()
            .arg("serve")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("DIARIST_LISTEN", "127.0.0.1:0")
            .env("DIARIST_API_KEYS", KEY)
            .env("DIARIST_OFFLINE", "true")
            .env("DIARIST_TEMP_DIR", folder.path())
            .env("DIARIST_LOG_FORMAT", format)
            // All that is there, the HTTP parser's own lines too, which are off otherwise.
            .env("DIARIST_LOG_LEVEL", "trace,actix_http=trace,actix_server=trace,symphonia=trace,ort=warn")
            .env("HF_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let (mut said, mut address) = (String::new(), String::new());
        while !said.contains("\"ready\"") && !said.contains(" ready models=") {
            let from = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            if let Some((_, after)) = said[from..].split_once("listening on http://") {
                address = after.trim_end().trim_end_matches(['"', '}']).split('"').next().unwrap().to_owned();
            }
        }
        let log = std::thread::spawn(move || {
            log.read_to_string(&mut said).unwrap();
            said
        });
        Self { process, address, log: Some(log), folder }
    }

    /// Sends these bytes and gives the answer.
    fn send(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Ends the program; everything it logged.
    fn stop(mut self) -> String {
        // SAFETY: signals a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, libc::SIGTERM) }, 0);
        let said = self.log.take().unwrap().join().unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "{said}");
        let left: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

/// A form of these fields and a recording called `filename`.
fn form(fields: &[(&str, &str)], filename: &str, sound: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend(format!("{head}{value}\r\n").bytes());
    }
    let head =
        format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\r\n");
    body.extend(head.bytes());
    body.extend(sound);
    body.extend(b"\r\n--b--\r\n");
    body
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Requests with the forgery in everything that a client can choose.
fn attack(server: &Server) {
    const PATH: &str = "/v1/audio/transcriptions";
    let sound =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/tone.flac")).unwrap();
    let bearer = format!("Authorization: Bearer {KEY}\r\n");
    let send = |headers: &str, body: &[u8]| server.send(&post(PATH, &format!("{bearer}{headers}"), body));
    let long = "n".repeat(10_000);
    let names = [
        "../../../../etc/passwd",
        "/etc/shadow",
        "C:\\Windows\\x",
        "a\0b",
        FORGERY.split("\r\n").next().unwrap(),
        "x\u{1b}[2J\u{202e}FORGED",
        &long,
        "",
        "..",
    ];
    for name in names {
        let answer = send("", &form(&[("model", "whisper-1")], name, &sound));
        // A header holds no control characters; all others are just names.
        let is_none = name.chars().any(|character| character.is_ascii_control());
        let expected = if is_none { " 400 " } else { " 200 " };
        assert!(answer[..20].contains(expected), "{name:?}: {answer}");
    }
    let ok = ("model", "whisper-1");
    let fields = [
        "model",
        "language",
        "languages[]",
        "prompt",
        "keywords[]",
        "response_format",
        "temperature",
        "stream",
        "include[]",
        "timestamp_granularities[]",
        "chunking_strategy",
        "chunking_strategy[type]",
        "beam_size",
        "priority",
        "guard",
        "known_speaker_names[]",
        "known_speaker_references[]",
        "unknown",
    ];
    for field in fields {
        let pairs = if field == "model" { vec![(field, FORGERY)] } else { vec![ok, (field, FORGERY)] };
        let answer = send("", &form(&pairs, "a", &sound));
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 40"), "{field}: {answer}");
        assert!(!answer.contains('\u{1b}'), "{field}: {answer:?}");
    }
    send("", &form(&[ok, ("x\u{1b}[2JFORGED\u{85}", "y")], "a", &sound));
    send("", &form(&[ok], "a", format!("FORGED\u{1b}[2J{FORGERY}").as_bytes()));
    for header in
        ["X-Request-Id", "User-Agent", "Referer", "Origin", "Accept", "X-Forwarded-For", "Range", "Cookie"]
    {
        send(&format!("{header}: {FORGED_HEADER}\r\n"), &form(&[ok], "a", &sound));
    }
    for path in ["/v1/FORGED%0aFORGED%1b[2J", "/v1/models/x%0d%0aFORGED%1b%5b2J", "/\u{85}FORGED\u{2028}"] {
        server
            .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n").as_bytes());
    }
    server.send(format!("FORGED /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n").as_bytes());
    server.send(format!("GET /x\r\nFORGED HTTP/9.9\r\n{bearer}\r\n").as_bytes());
    server.send(b"\x1b[2J\nFORGED\n\n");
    for refused in [
        format!("Authorization: Bearer {WRONG_KEY}\r\n"),
        format!("Authorization: {KEY}\r\n"),
        format!("Authorization: Basic {KEY}\r\n"),
        format!("api-key: {WRONG_KEY}\r\n"),
        format!("Authorization: Bearer {KEY}\u{85}FORGED\r\n"),
    ] {
        let answer = server.send(&post(PATH, &refused, &form(&[ok], "a", &sound)));
        assert!(answer.starts_with("HTTP/1.1 401"), "{refused}: {answer}");
        assert!(SECRETS.iter().all(|secret| !answer.contains(secret)), "{answer}");
    }
    let azure = server.send(&post(PATH, &format!("api-key: {KEY}\r\n"), &form(&[ok], "a", &sound)));
    assert!(azure.starts_with("HTTP/1.1 200"), "{azure}");
}

fn check_secrets(said: &str) {
    for secret in SECRETS {
        let line = said.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "a key in the log: {line:?}");
    }
    assert!(said.contains("TRACE"), "nothing was logged at the lowest level");
}

#[test]
fn no_request_forges_a_line_or_a_command_in_the_text_log() {
    let server = Server::start("text");
    attack(&server);
    let said = server.stop();
    check_secrets(&said);
    for line in said.split('\n').filter(|line| !line.is_empty()) {
        let is_ours = line.starts_with("20") && line.as_bytes().get(10) == Some(&b'T');
        assert!(is_ours, "a line that the program did not begin: {line:?}");
        let garbled = line.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}'));
        assert!(garbled.is_none(), "{garbled:?} in {line:?}");
    }
}

#[test]
fn every_line_of_the_json_log_is_one_object() {
    let server = Server::start("json");
    attack(&server);
    let said = server.stop();
    check_secrets(&said);
    for line in said.split('\n').filter(|line| !line.is_empty()) {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line}");
    }
}
