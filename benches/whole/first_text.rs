//! How soon a long recording's first words come, beside a short one's: seconds from the end of the upload to the
//! first event with text.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::blocking::multipart::{Form, Part};

use crate::fairness::Server;
use crate::measure::{median, minutes};
use crate::speech;

/// Length of the short recording, in minutes.
const CLIP_MIN: f64 = 0.5;

/// Most that the long one's first text may take, in times of the short one's.
const ALLOWED: f64 = 5.0;

/// Both are sent so often.
const ROUNDS: usize = 5;

/// Streams both in turn.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_FIRST_TEXT_MIN", 120.0);
    let (clip, long) = (speech(folder, CLIP_MIN), speech(folder, minutes));
    let server = Server::start();
    first_text(&server, &clip);
    let (mut short, mut first) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        short.push(first_text(&server, &clip).as_secs_f64());
        first.push(first_text(&server, &long).as_secs_f64());
    }
    let (short, first) = (median(short), median(first));
    println!(
        "first-text: {first:.2} s after the upload of {minutes} min, {short:.2} s after that of 30 s (allowed: \
         {ALLOWED:.0} times as much): ratio {:.2}",
        first / short
    );
    first <= ALLOWED * short
}

/// Time from the last byte of the upload to the first event with text; the rest is not waited for.
fn first_text(server: &Server, path: &Path) -> Duration {
    let file = File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let sent_at = Arc::new(Mutex::new(Instant::now()));
    let part = Part::reader_with_length(Noting { file, at: Arc::clone(&sent_at) }, length);
    let form = Form::new().text("model", "whisper-1").text("stream", "true").part("file", part);
    let url = format!("{}/v1/audio/transcriptions", server.url);
    let answer = server.client.post(url).multipart(form).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
    let mut lines = BufReader::new(answer).lines().map_while(Result::ok);
    lines.find(|line| line.contains("transcript.text.delta")).expect("the recording has text");
    let sent_at = *sent_at.lock().unwrap();
    sent_at.elapsed()
}

/// Notes when the file was last read from.
struct Noting {
    file: File,
    at: Arc<Mutex<Instant>>,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        *self.at.lock().unwrap() = Instant::now();
        Ok(count)
    }
}
