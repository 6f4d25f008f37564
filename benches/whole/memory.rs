//! Memory of the server, and time per hour of sound, for recordings of growing length: all but flat.
//!
//! Each length has a server of its own, so that none profits from what another has left. Every answer is checked:
//! each sentence once, in its place.

mod report;
mod sparse;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::multipart::Form;
use serde::Deserialize;

use crate::fairness::Server;
use crate::recordings::Spoken;

/// How much more memory any recording may take than the first, in MiB.
const ALLOWED_MIB: f64 = 64.0;

/// Most by which the edges of a segment may be off, in seconds.
const TOLERANCE_S: f64 = 0.3;

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// What one length took.
pub struct Run {
    /// Length of the recording.
    pub hours: f64,
    pub sentences: usize,
    /// From the first byte of the upload to the last of the answer, in seconds.
    pub wall_s: f64,
    /// Processor time of the server, in seconds.
    pub cpu_s: f64,
    /// Memory of its own (`RssAnon`), in MiB, every `SAMPLE_EVERY` from the upload to the answer's end.
    pub samples_mib: Vec<f64>,
    /// Greatest difference between a segment's edge and the truth in the last ten minutes, in seconds.
    pub last_error_s: f64,
}

impl Run {
    /// The most memory at any moment, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.samples_mib.iter().copied().fold(0.0, f64::max)
    }
}

/// Transcribes one recording of each length in `BENCH_MEMORY_HOURS`.
pub fn run(folder: &Path) -> bool {
    let mut runs: Vec<Run> = Vec::new();
    for hours in lengths() {
        let run = measure(folder, hours);
        if run.peak_mib() == 0.0 {
            println!("memory: left out, since this system has no /proc");
            return true;
        }
        println!("memory: {}", report::line(&run, runs.first().unwrap_or(&run)));
        runs.push(run);
    }
    println!("\n{}", report::table(&runs));
    if std::env::var_os("BENCH_DOCS").is_some() {
        report::write(&runs);
    }
    runs.iter().all(|run| run.peak_mib() - runs[0].peak_mib() <= ALLOWED_MIB)
}

fn lengths() -> Vec<f64> {
    let text = std::env::var("BENCH_MEMORY_HOURS").unwrap_or_else(|_| "0.17 1".to_owned());
    let read = |word: &str| word.parse().ok().filter(|hours| (0.01..=48.0).contains(hours));
    text.split_whitespace()
        .map(|word| {
            read(word).unwrap_or_else(|| {
                panic!("BENCH_MEMORY_HOURS is `{text}`, expected are hours, 0.01 to 48, with blanks between")
            })
        })
        .collect()
}

fn measure(folder: &Path, hours: f64) -> Run {
    let path = folder.join("sparse.wav");
    let truth = sparse::recording(&path, (hours * 3600.0) as u64);
    let server = Server::start();
    let process = server.process.id();
    let cpu_before = cpu_s(process);
    let watch = Watch::start(process);
    let start = Instant::now();
    let answer = transcribe(&server, &path);
    let wall_s = start.elapsed().as_secs_f64();
    let samples_mib = watch.end();
    let cpu_s = cpu_s(process) - cpu_before;
    std::fs::remove_file(path).unwrap();
    let last_error_s = check(&answer, &truth);
    Run { hours, sentences: truth.len(), wall_s, cpu_s, samples_mib, last_error_s }
}

/// The parts of an answer that are checked.
#[derive(Deserialize)]
struct Answer {
    text: String,
    segments: Vec<Segment>,
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Segment {
    text: String,
    start: f64,
    end: f64,
}

#[derive(Deserialize)]
struct Word {
    start: f64,
    end: f64,
}

fn transcribe(server: &Server, path: &Path) -> Answer {
    let form = Form::new()
        .text("model", "whisper-1")
        .text("response_format", "verbose_json")
        .text("timestamp_granularities[]", "segment")
        .text("timestamp_granularities[]", "word")
        .file("file", path)
        .unwrap();
    let url = format!("{}/v1/audio/transcriptions", server.url);
    let answer = server.client.post(url).multipart(form).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
    serde_json::from_reader(std::io::BufReader::new(answer)).unwrap()
}

/// Compares with the truth; gives the greatest error of an edge in the last ten minutes.
fn check(answer: &Answer, truth: &[Spoken]) -> f64 {
    let mut last_error = 0.0_f64;
    let late = truth.last().map_or(0.0, |sentence| sentence.end - 600.0);
    for (segment, sentence) in answer.segments.iter().zip(truth) {
        assert_eq!(segment.text.trim(), sentence.text, "at {:.1} s", sentence.start);
        let error = (segment.start - sentence.start).abs().max((segment.end - sentence.end).abs());
        assert!(error <= TOLERANCE_S, "{error:.2} s off at {:.1} s: {}", sentence.start, sentence.text);
        if sentence.end >= late {
            last_error = last_error.max(error);
        }
    }
    assert_eq!(answer.segments.len(), truth.len(), "every sentence once");
    let spoken: Vec<&str> = truth.iter().map(|sentence| sentence.text.as_str()).collect();
    assert!(answer.text == spoken.join(" "), "the text is that of the segments");
    let words: usize = spoken.iter().map(|text| text.split_whitespace().count()).sum();
    assert_eq!(answer.words.len(), words, "every word once");
    assert!(answer.words.iter().all(|word| word.start <= word.end));
    last_error
}

/// Looks at a process's memory on a thread of its own, until its end is asked for.
pub struct Watch {
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<f64>>,
}

impl Watch {
    pub fn start(process: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stop.load(Ordering::Acquire) {
                samples.push(anonymous_mib(process));
                std::thread::sleep(SAMPLE_EVERY);
            }
            samples
        });
        Self { ended, thread }
    }

    /// The samples, in MiB.
    pub fn end(self) -> Vec<f64> {
        self.ended.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// A process's own memory at this moment, in MiB; 0 where the system does not tell.
pub fn anonymous_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Processor time of a process up to now, all threads, in seconds.
fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name in brackets, which may hold anything: fields 14 and 15, counted from 1 (proc(5)).
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // SAFETY: asks for a number.
    ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}
