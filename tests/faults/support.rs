//! The built program as a server of its own, and the means to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, multipart};
use serde_json::Value;

/// How long a server may take for anything on a busy machine; only to end a test that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What comes before the file in a form.
const FORM_HEAD: &str = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
    --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A short recording.
pub fn hello() -> Vec<u8> {
    std::fs::read(root().join("fixtures/audio/hello.flac")).unwrap()
}

/// What is said in it.
pub fn hello_text() -> String {
    std::fs::read_to_string(root().join("fixtures/expected/hello.txt")).unwrap().trim().to_owned()
}

/// 16 kHz mono silence as a WAV file.
pub fn silence(seconds: u32) -> Vec<u8> {
    let mut wav = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
    (0..seconds * 16_000).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    wav.into_inner()
}

/// The program, whatever this machine's settings are.
pub fn diarist(arguments: &[&str]) -> Command {
    let mut command = crate::command::diarist();
    command.env("DIARIST_BUNDLED_MODELS_DIR", root().join("models")).env("DIARIST_OFFLINE", "true");
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).args(arguments).stdin(Stdio::null());
    command
}

/// `serve` on a free port, with its temporary files in `temp`.
pub fn serve(temp: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = diarist(&["serve"]);
    command.env("DIARIST_LISTEN", "127.0.0.1:0").env("DIARIST_TEMP_DIR", temp);
    command.envs(settings.iter().copied());
    command
}

/// Exit code and all that was said, of a program that ends by itself.
pub fn ending(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// Names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Waits until `done`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    process: Child,
    pub address: String,
    log: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
    client: Client,
}

/// What a server says to one request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: String,
}

impl Server {
    /// Starts a server with its temporary files in `temp`, and waits until it is ready.
    pub fn start(temp: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(serve(temp, settings))
    }

    /// Starts `command`, a server, and waits until it is ready.
    pub fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let log: Arc<Mutex<String>> = Arc::default();
        let (ready, is_ready) = mpsc::channel();
        let listener = thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let (mut line, mut address) = (String::new(), None);
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    log.lock().unwrap().push_str(&line);
                    if let Some((_, found)) = line.trim_end().split_once("listening on http://") {
                        address = Some(found.to_owned());
                    }
                    if line.contains(" ready ") {
                        let _ = ready.send(address.take());
                    }
                    line.clear();
                }
            }
        });
        let address = is_ready.recv_timeout(PATIENCE).ok().flatten();
        let address = address.unwrap_or_else(|| panic!("not ready:\n{}", log.lock().unwrap()));
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { process, address, log, listener: Some(listener), client }
    }

    /// Sends a recording to be transcribed.
    pub fn transcribe(&self, recording: Vec<u8>) -> Answer {
        self.transcribe_with("whisper-1", recording)
    }

    /// The same with a model of this name.
    pub fn transcribe_with(&self, model: &str, recording: Vec<u8>) -> Answer {
        let file = multipart::Part::bytes(recording).file_name("a.wav");
        let form = multipart::Form::new().text("model", model.to_owned()).part("file", file);
        let url = format!("http://{}/v1/audio/transcriptions", self.address);
        let answer = self.client.post(url).multipart(form).send();
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        Answer {
            status: answer.status().as_u16(),
            retry_after: answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned()),
            body: answer.text().unwrap(),
        }
    }

    /// Fails unless the server still transcribes word for word.
    pub fn assert_works(&self) {
        let answer = self.transcribe(hello());
        assert_eq!((answer.status, answer.text()), (200, hello_text()), "{answer:?}\n{}", self.log());
    }

    /// Begins an upload of a hundred megabytes, and sends `bytes` of them.
    pub fn begin_upload(&self, bytes: usize) -> TcpStream {
        self.begin(100_000_000, &vec![0; bytes])
    }

    /// Sends a form up to the end of its file; `\r\n--x--\r\n` completes it.
    pub fn begin_form(&self, recording: &[u8]) -> TcpStream {
        self.begin(FORM_HEAD.len() + recording.len() + "\r\n--x--\r\n".len(), recording)
    }

    fn begin(&self, length: usize, recording: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {length}\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n{FORM_HEAD}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(recording).unwrap();
        stream
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: signals a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    /// Stops the server as a supervisor does; gives exit code and log.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal(libc::SIGTERM);
        let status = self.process.wait().unwrap();
        self.listener.take().unwrap().join().unwrap();
        (status.code(), self.log())
    }

    /// Ends the server as a crash does.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Files that the server has open.
    pub fn open_files(&self) -> usize {
        names(&PathBuf::from(format!("/proc/{}/fd", self.process.id()))).len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    /// The text that was heard.
    pub fn text(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["text"].as_str().unwrap_or_default().to_owned()
    }

    /// The message of an error.
    pub fn message(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless this says to come back later, with `reason` in its message and nothing of the machine's paths.
    pub fn assert_unavailable(&self, reason: &str) {
        assert_eq!(self.status, 503, "{self:?}");
        assert!(self.retry_after.is_some() && self.body.contains("service_unavailable"), "{self:?}");
        assert!(self.message().contains(reason) && !self.body.contains("/tmp"), "{self:?}");
    }
}

/// Reads what comes until the other side closes.
pub fn read_all(mut stream: &TcpStream) -> String {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

impl Server {
    /// Sets how many files the running server may have open.
    pub fn limit_open_files(&self, limit: &libc::rlimit) {
        // SAFETY: reads a struct that outlives the call, about a child that has not been waited for.
        let set = unsafe {
            libc::prlimit(self.process.id() as i32, libc::RLIMIT_NOFILE, limit, std::ptr::null_mut())
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}
