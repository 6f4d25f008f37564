//! What a short clip and a long file cost each other: ten clips one after another on an idle server, then the
//! file alone, then both at once.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::blocking::multipart::Form;
use reqwest::blocking::{Client, Response};

use crate::measure::{median, minutes, process_cpu_of};
use crate::speech;

/// Clips sent one after another.
const CLIPS: usize = 10;

/// Length of a clip, in minutes.
const CLIP_MIN: f64 = 10.0 / 60.0;

/// Most that a clip may take beside the file, in its time on an idle server.
const WANTED_WAIT: f64 = 2.5;

/// Most that the file may take beside the clips, in its time alone.
const WANTED_DELAY: f64 = 1.15;

/// Starts the built server and sends clips, a long file, and both.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_FAIR_MIN", 120.0);
    let (long, clip) = (speech(folder, minutes), speech(folder, CLIP_MIN));
    let server = Server::start();
    let latency = || timed(|| drop(server.transcribe(&clip, false).bytes().unwrap()));
    latency();
    let idle = median((0..CLIPS).map(|_| latency()).collect());
    let before = server.cpu();
    let alone = timed(|| drop(server.transcribe(&long, true).bytes().unwrap()));
    let cpu_alone = server.cpu() - before;

    let (start, before) = (Instant::now(), server.cpu());
    let running = server.send_in_background(long);
    let beside = median((0..CLIPS).map(|_| latency()).collect());
    if running.is_finished() {
        println!("fairness: left out, since {minutes} min were done before the clips; set BENCH_FAIR_MIN");
        return true;
    }
    running.join().unwrap();
    let (together, cpu_together) = (start.elapsed().as_secs_f64(), server.cpu() - before);
    println!(
        "fairness: a clip of 10 s takes {beside:.2} s beside a file of {minutes} min and {idle:.2} s alone \
         (medians of {CLIPS}): ratio {:.2} (wanted: at most {WANTED_WAIT})",
        beside / idle
    );
    println!(
        "fairness: the file takes {together:.1} s beside {CLIPS} clips and {alone:.1} s alone: ratio {:.2} (wanted: at \
         most {WANTED_DELAY}); processor time, clips included: ratio {:.2}",
        together / alone,
        cpu_together / cpu_alone
    );
    true
}

/// Seconds that `work` takes.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
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
        Self::start_with(&[])
    }

    /// With these variables in its environment.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_diarist"))
            .arg("serve")
            .envs(variables.iter().copied())
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

    /// Processor time up to now, in seconds; other programs do not change it much.
    fn cpu(&self) -> f64 {
        process_cpu_of(self.process.id())
    }

    fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/health", self.url)).send();
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn transcribe(&self, path: &Path, stream: bool) -> Response {
        transcribe(&self.client, &self.url, path, stream)
    }

    /// Returns when the first words of `path` have been heard; the thread ends with the answer.
    fn send_in_background(&self, path: PathBuf) -> JoinHandle<()> {
        let (sender, first_words) = mpsc::channel();
        let (client, url) = (self.client.clone(), self.url.clone());
        let running = std::thread::spawn(move || {
            let mut answer = transcribe(&client, &url, &path, true);
            let mut buffer = [0; 4096];
            while answer.read(&mut buffer).unwrap() > 0 {
                let _ = sender.send(());
            }
        });
        first_words.recv().expect("the file is transcribed");
        running
    }
}

fn transcribe(client: &Client, url: &str, path: &Path, stream: bool) -> Response {
    let form = Form::new().text("model", "gpt-4o-transcribe").text("stream", stream.to_string());
    let form = form.file("file", path).unwrap();
    let answer = client.post(format!("{url}/v1/audio/transcriptions")).multipart(form).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
    answer
}
