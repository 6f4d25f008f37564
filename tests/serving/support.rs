//! The program, started on a free port, and requests to it byte by byte.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As long as a stuck test should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with a folder of its own for temporary files. Killed when dropped.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    pub temp_dir: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails where the process has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts with these settings and waits until it is ready.
    pub fn start(settings: &[&str]) -> Self {
        let temp_dir = tempfile::tempdir().unwrap();
        let folder = format!("temp_dir={}", temp_dir.path().display());
        let mut command = crate::command::diarist();
        command.env("DIARIST_BUNDLED_MODELS_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "workers=1",
            "--set",
            "threads=1",
            "--set",
            &folder,
        ]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        collect(process.stderr.take().unwrap(), Arc::clone(&log));
        let said = |mark: &str| log.lock().unwrap().contains(mark);
        eventually("the server is ready", || said(" ready") || said("diarist: "));
        let text = log.lock().unwrap().clone();
        let address = text.split("://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
        Self { process, address, temp_dir, log }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: signals a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    /// Waits for the end and gives the exit code.
    pub fn ends(&mut self) -> Option<i32> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Files among the temporary ones whose name begins so.
    pub fn files(&self, prefix: &str) -> usize {
        // In a folder of the server's own.
        let folders = std::fs::read_dir(self.temp_dir.path()).unwrap().flatten();
        let files =
            folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix)).count()
    }

    /// Temporary files that the program holds open, deleted ones included.
    pub fn open_files(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().flatten();
        // Not the handle by which the server's folder is locked.
        let is_file = |path: &std::path::Path| std::fs::metadata(path).is_ok_and(|found| found.is_file());
        let target =
            |open: std::fs::DirEntry| std::fs::read_link(open.path()).ok().filter(|_| is_file(&open.path()));
        open.filter_map(target).filter(|target| target.starts_with(self.temp_dir.path())).count()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends all of a transcription; the answer is left to be read.
    pub fn send(&self, recording: &[u8], fields: &[(&str, &str)]) -> TcpStream {
        let mut stream = self.connect();
        let body = form(recording, fields);
        stream.write_all(post_head(body.len(), "").as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream
    }

    /// A transcription from beginning to end.
    pub fn transcribe(&self, recording: &[u8], fields: &[(&str, &str)]) -> Answer {
        Answer::read(&mut self.send(recording, fields))
    }

    /// Sends all of a request for turns; the answer is left to be read.
    pub fn send_for_turns(&self, recording: &[u8], fields: &[(&str, &str)]) -> TcpStream {
        let mut stream = self.connect();
        let body = form(recording, fields);
        let head = post_head(body.len(), "").replace("/audio/transcriptions", "/audio/diarizations");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream
    }

    /// A request for turns from beginning to end.
    pub fn diarize(&self, recording: &[u8], fields: &[(&str, &str)]) -> Answer {
        Answer::read(&mut self.send_for_turns(recording, fields))
    }

    pub fn get(&self, path: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(get_head(path, "").as_bytes()).unwrap();
        Answer::read(&mut stream)
    }
}

fn collect(stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// An answer, read to its declared end, or to that of its connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn read(stream: &mut impl Read) -> Self {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let end = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break None,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                // Among them an end without a farewell, where TLS expects one.
                Err(error) => break Some(error),
            }
            if is_whole(&bytes) {
                break None;
            }
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("{end:?} after {text:?}")), text }
    }
}

/// Whether `bytes` hold a head and as long a body as it says.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(head_end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= head_end + 4 + length)
}

const BOUNDARY: &str = "----test-boundary";

/// The head of a transcription with a body of so many bytes; `more` are further header lines.
pub fn post_head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {length}\r\n\r\n"
    )
}

pub fn get_head(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
}

/// The body of a transcription.
pub fn form(recording: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in [("model", "whisper-1")].iter().chain(fields) {
        let part =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(recording);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Six sentences.
pub fn hello() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/hello.flac")).unwrap()
}

/// A sentence of what `hello` says.
pub const SAID: &str = "The meeting starts at nine thirty on Monday";

/// Half an hour of speech, which takes the one worker a good while.
pub fn speech() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    crate::recordings::long_recording(&path, 1_800);
    std::fs::read(path).unwrap()
}

/// Three hours without a word, 8 bit at 8 kHz.
pub fn silence() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("silence.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 8,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer =
        hound::WavWriter::new(std::io::BufWriter::new(File::create(&path).unwrap()), spec).unwrap();
    (0..3 * 3_600 * 8_000).for_each(|_| writer.write_sample(0_i8).unwrap());
    writer.finalize().unwrap();
    std::fs::read(path).unwrap()
}

/// Reads until `mark` has come.
#[track_caller]
pub fn read_until(stream: &mut TcpStream, mark: &str) {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&text).contains(mark) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "no {mark} in {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..count]);
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
