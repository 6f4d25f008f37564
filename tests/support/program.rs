//! A running `diarist serve` with the bundled model, and a recording to send to it.

#[path = "command.rs"]
mod command;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any machine needs; only a stuck test takes so long.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the program says when it listens, before its address.
const LISTENING: &str = "listening on http://";

/// The program. Killed when dropped.
pub struct Program {
    process: Child,
    pub url: String,
    lines: Option<JoinHandle<String>>,
    _temp_dir: tempfile::TempDir,
}

impl Program {
    /// Starts it with these settings of the environment, and waits until it is ready.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let temp_dir = tempfile::tempdir().unwrap();
        let mut process = command::diarist()
            .arg("serve")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("DIARIST_LISTEN", "127.0.0.1:0")
            .env("DIARIST_OFFLINE", "true")
            .env("DIARIST_WORKERS", "1")
            .env("DIARIST_THREADS", "1")
            .env("DIARIST_TEMP_DIR", temp_dir.path())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut said = String::new();
        let url = loop {
            let before = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "the program ended:\n{said}");
            if let Some((_, rest)) = said[before..].split_once(LISTENING) {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c)).unwrap_or(rest.len());
                break format!("http://{}", &rest[..end]);
            }
        };
        let lines = thread::spawn(move || {
            log.read_to_string(&mut said).unwrap();
            said
        });
        let program = Self { process, url, lines: Some(lines), _temp_dir: temp_dir };
        let since = Instant::now();
        while program.get("/health/ready").0 != 200 {
            assert!(since.elapsed() < PATIENCE, "the program never became ready");
            thread::sleep(Duration::from_millis(50));
        }
        program
    }

    /// Status and body of a page.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = client().get(format!("{}{path}", self.url)).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    /// Sends a recording of the fixtures, with these headers; gives the text.
    pub fn transcribe(&self, recording: &str, headers: &[(&str, &str)]) -> String {
        let form = reqwest::blocking::multipart::Form::new()
            .text("model", "whisper-1")
            .text("response_format", "text")
            .file("file", fixture(recording))
            .unwrap();
        let mut request = client().post(format!("{}/v1/audio/transcriptions", self.url)).multipart(form);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().unwrap()
    }

    /// Ends it as a supervisor would, and gives what it has logged.
    pub fn stop(mut self) -> String {
        // SAFETY: sends a signal to a child that has not been waited for.
        unsafe { libc::kill(self.process.id() as i32, libc::SIGTERM) };
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        self.lines.take().expect("only taken here").join().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(name)
}
