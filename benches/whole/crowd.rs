//! Two hundred uploads of 5 MB at the same moment: each is answered, and memory stays within what was meant for them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::fairness::Server;
use crate::memory::{Watch, anonymous_mib};
use crate::recordings::{bare_speech, sentences};

/// Clients that send at once.
const CLIENTS: usize = 200;

/// Size of each recording, in bytes.
const UPLOAD_BYTES: usize = 5_000_000;

/// Most memory that the server may take for each upload, in MiB; they are 4.8 MiB long.
const ALLOWED_MIB: f64 = 1.0;

/// Longest that a client waits for the next byte of its answer.
const PATIENCE: Duration = Duration::from_secs(1_800);

const BOUNDARY: &str = "----crowd";

/// Starts the built server and sends all at once.
pub fn run(folder: &Path) -> bool {
    let request = Arc::new(request(folder));
    let server = Server::start();
    let address = server.url.trim_start_matches("http://").to_owned();
    // One by itself says what is right, and warms up.
    let (status, right) = send(&address, &request);
    assert_eq!(status, 200, "{right}");
    let before = anonymous_mib(server.process.id());
    let watch = Watch::start(server.process.id());
    let start = Instant::now();
    let answers = all_at_once(&address, &request);
    let wall_s = start.elapsed().as_secs_f64();
    let samples = watch.end();

    let mut counts = BTreeMap::new();
    for (status, body) in &answers {
        *counts.entry(*status).or_insert(0) += 1;
        assert!([200, 429, 503].contains(status), "{status}: {body}");
        assert!(*status != 200 || *body == right, "heard {body} instead of {right}");
    }
    let peak = samples.iter().copied().fold(0.0, f64::max);
    let limit = before + ALLOWED_MIB * CLIENTS as f64;
    println!(
        "crowd: {CLIENTS} uploads of {} MB at once: {} answered in {wall_s:.0} s, by status {counts:?}; memory {before:.0} \
         MiB before, peak {peak:.0} MiB of {limit:.0} MiB allowed: ratio {:.2}",
        UPLOAD_BYTES / 1_000_000,
        answers.len(),
        peak / limit
    );
    answers.len() == CLIENTS && peak <= limit
}

/// The answers of all clients, which begin together.
fn all_at_once(address: &str, request: &Arc<Vec<u8>>) -> Vec<(u16, String)> {
    let barrier = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, request, barrier) = (address.to_owned(), Arc::clone(request), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                send(&address, &request)
            })
        })
        .collect();
    clients.into_iter().map(|client| client.join().expect("every client is answered")).collect()
}

/// Sends everything before it reads, as OpenAI's Node client does; gives status and body.
fn send(address: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = BufReader::new(stream);
    let (mut status, mut length) = (0, 0);
    for line in answer.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()) {
        let line = line.to_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// A whole request with a recording of that size: sentences as 32 bit stereo, so that its length is half a minute.
fn request(folder: &Path) -> Vec<u8> {
    let path = folder.join("crowd.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    let speech = sentences().into_iter().flat_map(|sentence| {
        let (samples, _) = bare_speech(&sentence);
        samples.into_iter().chain(std::iter::repeat_n(0, 12_000))
    });
    for sample in speech.take(UPLOAD_BYTES / 8) {
        let value = f32::from(sample) / 32_768.0;
        [value, value].into_iter().for_each(|value| writer.write_sample(value).unwrap());
    }
    writer.finalize().unwrap();
    let recording = std::fs::read(path).unwrap();

    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"crowd.wav\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&recording);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let mut request = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.append(&mut body);
    request
}
