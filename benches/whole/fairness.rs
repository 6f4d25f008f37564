//! How long a short clip takes while a long file is being transcribed, beside how long it takes alone.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::blocking::multipart::Form;
use reqwest::blocking::{Client, Response};

use crate::measure::{median, minutes};
use crate::recordings::fixture;
use crate::speech;

/// The clip is transcribed so often, alone and beside the file.
const ROUNDS: usize = 5;

/// Starts the built server and sends the clip alone, then while it works on the long file.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_SHORT_MIN", 10.0);
    let long = speech(folder, minutes);
    let clip = fixture("audio/hello.flac");
    let server = Server::start();
    let latency = || {
        let start = Instant::now();
        server.transcribe(&clip, false).bytes().unwrap();
        start.elapsed().as_secs_f64()
    };
    latency();
    let alone: Vec<f64> = (0..ROUNDS).map(|_| latency()).collect();

    let ended = server.send_in_background(long);
    let mut beside = Vec::new();
    while beside.len() < ROUNDS {
        let took = latency();
        if ended.load(Ordering::Acquire) {
            break;
        }
        beside.push(took);
    }
    if beside.is_empty() {
        println!(
            "fairness: left out, since {minutes} min were done sooner than one clip; set BENCH_SHORT_MIN"
        );
        return true;
    }
    let rounds = beside.len();
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "fairness: a clip takes {beside:.2} s beside a file of {minutes} min and {alone:.2} s alone \
         (medians of {rounds} and {ROUNDS}): ratio {:.2}",
        beside / alone
    );
    true
}

/// The built program, serving; ended when dropped.
pub struct Server {
    pub process: Child,
    pub url: String,
    pub client: Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, not killed: it takes its uploads with it.
        // SAFETY: sends a signal to a process that has not been waited for.
        unsafe { libc::kill(self.process.id() as libc::pid_t, libc::SIGTERM) };
        let _ = self.process.wait();
    }
}

impl Server {
    pub fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_diarist"))
            .arg("serve")
            .envs([("DIARIST_LISTEN", "127.0.0.1:0"), ("DIARIST_OFFLINE", "true")])
            .envs([("DIARIST_LOG_LEVEL", "info"), ("DIARIST_LOG_FORMAT", "json"), ("DIARIST_API_KEYS", "")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = log.find_map(|line| {
            let rest = line.split_once("listening on http://")?.1;
            Some(rest[..rest.find('"')?].to_owned())
        });
        // Somebody must read on, or the server would wait for it.
        std::thread::spawn(move || log.for_each(drop));
        let client = Client::builder().no_proxy().timeout(None).build().unwrap();
        let url = format!("http://{}", address.expect("the server tells where it listens"));
        let server = Self { process, url, client };
        while !server.is_ready() {
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/health", self.url)).send();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn transcribe(&self, path: &Path, stream: bool) -> Response {
        transcribe(&self.client, &self.url, path, stream)
    }

    /// Returns when the first words of `path` have been heard; the flag is set at the end of the answer.
    fn send_in_background(&self, path: PathBuf) -> Arc<AtomicBool> {
        let ended = Arc::new(AtomicBool::new(false));
        let (sender, first_words) = mpsc::channel();
        let (client, url, at_end) = (self.client.clone(), self.url.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut answer = transcribe(&client, &url, &path, true);
            let mut buffer = [0; 4096];
            while answer.read(&mut buffer).is_ok_and(|count| count > 0) {
                let _ = sender.send(());
            }
            at_end.store(true, Ordering::Release);
        });
        first_words.recv().expect("the file is transcribed");
        ended
    }
}

fn transcribe(client: &Client, url: &str, path: &Path, stream: bool) -> Response {
    let form = Form::new().text("model", "gpt-4o-transcribe").text("stream", stream.to_string());
    let form = form.file("file", path).unwrap();
    let answer = client.post(format!("{url}/v1/audio/transcriptions")).multipart(form).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
    answer
}
