//! Traces of the running program, sent to a small collector: `cargo test --features otel --test traces`.

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use program::Program;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// One field of a protobuf message: its number, and its bytes or its number.
enum Value<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("a whole number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// The fields of a message, in order (protobuf.dev, "Encoding").
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            wire @ (1 | 5) => {
                let (number, rest) = bytes.split_at(if wire == 1 { 8 } else { 4 });
                bytes = rest;
                let mut wide = [0; 8];
                wide[..number.len()].copy_from_slice(number);
                Value::Number(u64::from_le_bytes(wide))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(content)
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let wanted = fields(bytes).into_iter().filter(|(field, _)| *field == number);
    wanted.filter_map(|(_, value)| if let Value::Bytes(bytes) = value { Some(bytes) } else { None }).collect()
}

fn number(bytes: &[u8], number: u64) -> u64 {
    let found = fields(bytes).into_iter().find(|(field, _)| *field == number);
    if let Some((_, Value::Number(value))) = found { value } else { 0 }
}

fn text(bytes: &[u8], number: u64) -> String {
    messages(bytes, number).first().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

fn hex(bytes: &[u8], number: u64) -> String {
    let id = messages(bytes, number).first().copied().unwrap_or_default();
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `opentelemetry.proto.trace.v1.Span`, what the test looks at.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    start: u64,
    end: u64,
    attributes: BTreeMap<String, String>,
}

impl Span {
    fn of(bytes: &[u8]) -> Self {
        let attributes = messages(bytes, 9).into_iter().map(|pair| {
            let value = messages(pair, 2).first().copied().unwrap_or_default();
            let shown = match fields(value).into_iter().next() {
                Some((1, Value::Bytes(text))) => String::from_utf8_lossy(text).into_owned(),
                Some((_, Value::Number(number))) => number.to_string(),
                _ => String::new(),
            };
            (text(pair, 1), shown)
        });
        Self {
            trace: hex(bytes, 1),
            id: hex(bytes, 2),
            parent: hex(bytes, 4),
            name: text(bytes, 5),
            kind: number(bytes, 6),
            start: number(bytes, 7),
            end: number(bytes, 8),
            attributes: attributes.collect(),
        }
    }
}

/// Takes OTLP over HTTP; gives the path and body of each request.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            loop {
                let (mut line, mut path, mut length) = (String::new(), String::new(), 0);
                while stream.read_line(&mut line).unwrap_or(0) > 0 && !line.trim().is_empty() {
                    if path.is_empty() {
                        path = line.split(' ').nth(1).unwrap().to_owned();
                    }
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                if path.is_empty() {
                    break;
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.get_mut().write_all(answer).unwrap();
                if sender.send((path, body)).is_err() {
                    return;
                }
            }
        }
    });
    (address, requests)
}

#[test]
fn a_request_is_a_span_with_its_stages_below_it_in_the_callers_trace() {
    let (endpoint, requests) = collector();
    let program = Program::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_SERVICE_NAME", "tested"),
        ("DIARIST_LOG_FORMAT", "json"),
    ]);
    let caller = format!("00-{TRACE}-{CALLER}-01");
    program.transcribe("hello.flac", &[("traceparent", &caller), ("x-request-id", "req-traced")]);
    program.transcribe("hello.flac", &[("traceparent", "00-nonsense"), ("x-request-id", "req-own")]);
    // The end of the program sends what is left.
    let log = program.stop();
    let mut spans = Vec::new();
    for (path, body) in requests.try_iter() {
        assert_eq!(path, "/v1/traces");
        for resource_spans in messages(&body, 1) {
            let resource = String::from_utf8_lossy(messages(resource_spans, 1)[0]).into_owned();
            assert!(resource.contains("tested") && resource.contains("service.version"), "{resource}");
            let scopes = messages(resource_spans, 2);
            spans.extend(scopes.iter().flat_map(|scope| messages(scope, 2)).map(Span::of));
        }
    }
    let find = |id: &str| {
        let is_it = |span: &&Span| span.attributes.get("request_id").is_some_and(|found| found == id);
        spans.iter().find(is_it).unwrap_or_else(|| panic!("{id} in {spans:#?}"))
    };
    let request = find("req-traced");
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLER));
    assert_eq!((request.name.as_str(), request.kind), ("POST /v1/audio/transcriptions", 2), "{request:?}");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert_eq!(request.attributes["http.route"], "/v1/audio/transcriptions");
    let below: Vec<&Span> =
        spans.iter().filter(|span| span.trace == TRACE && span.id != request.id).collect();
    for stage in ["decode", "vad", "asr", "chunk"] {
        let found: Vec<_> = below.iter().filter(|span| span.name == stage).collect();
        // There are several chunks, and one span for each stage, however often it is entered.
        assert!(found.len() == 1 || stage == "chunk" && found.len() > 1, "{stage} in {below:#?}");
        for span in found {
            assert!(span.attributes.contains_key("busy_ns"), "{span:?}");
            assert_eq!(span.parent, request.id, "{stage}");
            assert!(
                request.start <= span.start && span.start <= span.end && span.end <= request.end,
                "{stage}"
            );
        }
    }
    let own = find("req-own");
    assert!(own.parent.is_empty() && own.trace != TRACE, "{own:?}");
    // What was said stays here.
    assert!(spans.iter().all(|span| span.attributes.values().all(|value| value.len() < 200)), "{spans:#?}");
    let line =
        log.lines().find(|line| line.contains("\"message\":\"request\"") && line.contains("req-traced"));
    assert!(line.unwrap().contains(TRACE), "{line:?}");
}

#[test]
fn a_collector_that_is_not_there_costs_no_request() {
    let program = Program::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]);
    assert!(!program.transcribe("hello.flac", &[]).is_empty());
    // But it is said.
    let log = program.stop();
    assert!(log.contains("ExportError") || log.contains("traces could not be sent"), "{log}");
}
