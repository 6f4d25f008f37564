//! A server on a free port over a scripted backend, and the means to talk to it byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diarist::api::{Api, ApiOptions, Backend, Health};
use diarist::audio::AudioError;
use diarist::language::Language;
use diarist::models::ModelError;
use diarist::models::catalogue::{ModelSpec, Role};
use diarist::models::manager::{ModelState, ModelStatus};
use diarist::pipeline::{
    Control, DiarizationOutcome, DiarizationRequest, Event, Outcome, PipelineError, Request, SeparationMode,
    SpeakerOptions, Stage,
};
use diarist::scratch::Scratch;
use diarist::time::{TimeSpan, seconds_to_samples};
use diarist::transcript::{
    Conversation, Coverage, DropReason, DroppedText, Segment, Segments, SourceCounts, Speaker, SpeakerId,
    SpeakerTurn, Task, Token, Transcript, VocalSeparation, Word,
};
use serde_json::Value;

/// What the fake takes for a recording: it looks at the first four bytes only.
pub const WAV: &[u8] = b"RIFF\x24\x00\x00\x00WAVEfmt ";
/// The text that the fake hears in every recording.
pub const TEXT: &str = "Hello, world. Grüße aus 東京 🎉. Don't stop.";
/// How long the fake says that every recording is, in seconds.
pub const DURATION: f64 = 3.7;

/// How the fake behaves.
#[derive(Clone, Default)]
pub struct Script {
    /// Fails before the file is accepted.
    pub refuse: Option<fn() -> PipelineError>,
    /// Fails after the first segment.
    pub fail: Option<fn() -> PipelineError>,
    /// Panics.
    pub panic: bool,
    /// Panics in the thread that talks HTTP, as code that writes an answer would.
    pub panic_in_handler: bool,
    /// Stops after the first segment until released or cancelled.
    pub hold: bool,
    /// Hears nothing.
    pub silent: bool,
    /// Says that it is not ready.
    pub loading: bool,
    /// Tells nothing on the way, only the end.
    pub mute: bool,
    /// Hears everything so often (0 counts as 1); a thousand times are too much for memory.
    pub repeat: u64,
}

/// One call of `run`.
#[derive(Clone)]
pub struct Seen {
    pub request: Request,
    pub bytes: Vec<u8>,
    /// Those of the known speakers.
    pub clips: Vec<Vec<u8>>,
}

/// One call of `diarize`.
#[derive(Clone)]
pub struct SeenTurns {
    pub request: DiarizationRequest,
    pub bytes: Vec<u8>,
    pub clips: Vec<Vec<u8>>,
}

pub struct FakeBackend {
    script: Script,
    pub seen: Mutex<Vec<Seen>>,
    pub seen_turns: Mutex<Vec<SeenTurns>>,
    pub cancelled: AtomicBool,
    pub released: AtomicBool,
}

/// Text that the guard left out, for requests with `guard=true`.
fn dropped() -> DroppedText {
    let span = TimeSpan::new(seconds_to_samples(0.5), seconds_to_samples(1.0));
    DroppedText { span, text: "Thank you.".into(), reason: DropReason::Silence }
}

/// What requests with `coverage=true` are told.
fn coverage() -> Coverage {
    let gap = TimeSpan::new(seconds_to_samples(1.0), seconds_to_samples(1.5));
    Coverage { speech: 32_000, covered: 24_000, redecoded_chunks: 1, uncovered: vec![gap] }
}

/// What requests are told whose voice is separated.
fn separation(mode: Option<SeparationMode>, chunks: Option<SourceCounts>) -> Option<VocalSeparation> {
    mode.filter(|mode| *mode != SeparationMode::Off)?;
    let region = TimeSpan::new(seconds_to_samples(1.0), seconds_to_samples(2.5));
    let model = "kim-vocal-2".to_owned();
    Some(VocalSeparation { model, samples: region.len(), regions: vec![region], chunks })
}

impl Backend for FakeBackend {
    fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError> {
        let bytes = std::fs::read(&request.source.path).expect("the upload lies where the request says");
        let is_audio = bytes.starts_with(b"RIFF");
        let clips = request.speakers.as_ref().map(clips).unwrap_or_default();
        self.seen.lock().unwrap().push(Seen { request: request.clone(), bytes, clips });
        if self.script.panic {
            panic!("scripted");
        }
        if let Some(refuse) = self.script.refuse {
            return Err(refuse());
        }
        if !is_audio {
            return Err(AudioError::Undecodable("no known container".into()).into());
        }
        let mut segments = if self.script.silent { Vec::new() } else { self.script.segments() };
        if request.speakers.is_some() {
            cast(&mut segments);
        }
        let speakers = request.speakers.as_ref().map(speakers).unwrap_or_default();
        let tell = |event| {
            if !self.script.mute {
                control.emit(event)
            }
        };
        tell(Event::Accepted);
        tell(Event::Language(Language::ENGLISH));
        for (segment, index) in segments.iter().zip(0..) {
            tell(Event::Segment(segment.clone()));
            if index == 0 {
                if let Some(fail) = self.script.fail {
                    return Err(fail());
                }
                self.wait(control)?;
            }
        }
        Ok(Outcome {
            transcript: Transcript {
                task: request.task,
                language: request.language.unwrap_or(Language::ENGLISH),
                language_probability: None,
                duration: seconds_to_samples(DURATION),
                text_tokens: segments.iter().map(Segment::text_tokens).sum(),
                segments: stored(segments, request.source.path.parent().expect("uploads lie in a folder")),
                turns: Vec::new(),
                speakers,
                known_names: Vec::new(),
                dropped: if request.guard == Some(true) { vec![dropped()] } else { Vec::new() },
                coverage: (request.coverage == Some(true)).then(coverage),
                separation: separation(request.separation, Some(SourceCounts { voice: 2, mix: 1 })),
                prompt_tokens: 0,
                warnings: Vec::new(),
            },
            timings: vec![(Stage::Decode, Duration::from_millis(2)), (Stage::Asr, Duration::from_millis(5))],
        })
    }

    fn diarize(
        &self,
        request: &DiarizationRequest,
        control: &Control,
    ) -> Result<DiarizationOutcome, PipelineError> {
        let bytes = std::fs::read(&request.source.path).expect("the upload lies where the request says");
        let is_audio = bytes.starts_with(b"RIFF");
        let clips = clips(&request.speakers);
        self.seen_turns.lock().unwrap().push(SeenTurns { request: request.clone(), bytes, clips });
        assert!(!self.script.panic, "scripted");
        if let Some(refuse) = self.script.refuse {
            return Err(refuse());
        }
        if !is_audio {
            return Err(AudioError::Undecodable("no known container".into()).into());
        }
        self.wait(control)?;
        let mut conversation =
            Conversation { duration: seconds_to_samples(DURATION), ..Conversation::default() };
        if !self.script.silent {
            conversation.turns = vec![turn(0.0, 1.25, 0), turn(1.0, 2.5, 1), turn(2.5, 3.7, 0)];
            conversation.speakers = speakers(&request.speakers);
        }
        conversation.separation = separation(request.separation, None);
        let timings =
            vec![(Stage::Decode, Duration::from_millis(2)), (Stage::Diarization, Duration::from_millis(3))];
        Ok(DiarizationOutcome { conversation, timings })
    }

    fn models(&self) -> Vec<ModelSpec> {
        assert!(!self.script.panic_in_handler, "scripted");
        let ids = [
            "tiny",
            "org/name tiny:q8",
            "whisper-1",
            "gpt-4o-transcribe",
            "gpt-4o-transcribe-diarize",
            "gpt-transcribe",
        ];
        ids.map(spec).to_vec()
    }

    fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError> {
        match name {
            "not-pulled" => Err(ModelError::NotInstalled { id: name.to_owned() }),
            "silero-vad" => Err(ModelError::Unusable {
                id: name.to_owned(),
                reason: "it finds speech and does not transcribe it".to_owned(),
            }),
            _ => self
                .models()
                .into_iter()
                .find(|spec| spec.id == name)
                .ok_or_else(|| ModelError::Unknown { name: name.to_owned() }),
        }
    }

    fn health(&self) -> Health {
        let state = if self.script.loading { ModelState::Loading } else { ModelState::Loaded };
        let models = vec![
            ModelStatus { id: "tiny".into(), state, memory_bytes: 1000 },
            ModelStatus { id: "bad".into(), state: ModelState::Failed("damaged".into()), memory_bytes: 0 },
        ];
        Health { ready: !self.script.loading, models }
    }
}

impl FakeBackend {
    fn wait(&self, control: &Control) -> Result<(), PipelineError> {
        while self.script.hold && !self.released.load(Ordering::SeqCst) {
            if control.cancel.is_cancelled() {
                self.cancelled.store(true, Ordering::SeqCst);
                return Err(AudioError::Cancelled.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The bytes of the known speakers' clips, which must be there while the work goes on.
fn clips(speakers: &SpeakerOptions) -> Vec<Vec<u8>> {
    let read = |path: &std::path::Path| std::fs::read(path).expect("clips lie where the request says");
    speakers.known.iter().map(|known| read(&known.clip.path)).collect()
}

/// The second of two speakers is the first known one, if there is any.
fn speakers(options: &SpeakerOptions) -> Vec<Speaker> {
    let name = options.known.first().map(|known| known.name.clone());
    vec![Speaker { name: None, embedding: vec![1.0, 0.0] }, Speaker { name, embedding: vec![0.6, 0.8] }]
}

/// The speakers take turns, and the first goes on speaking for a while.
fn cast(segments: &mut [Segment]) {
    for (segment, index) in segments.iter_mut().zip(0..) {
        segment.speaker = Some(SpeakerId(index % 3 % 2));
        segment.overlapped = index == 1;
        for word in &mut segment.words {
            (word.speaker, word.overlapped) = (segment.speaker, segment.overlapped);
        }
    }
}

fn turn(start: f64, end: f64, speaker: u32) -> SpeakerTurn {
    let span = TimeSpan::new(seconds_to_samples(start), seconds_to_samples(end));
    SpeakerTurn { span, speaker: SpeakerId(speaker) }
}

fn spec(id: &str) -> ModelSpec {
    ModelSpec {
        id: id.to_owned(),
        role: Role::Speech,
        path: Some("/models/tiny.bin".into()),
        size: None,
        sha256: None,
        created: 1_700_000_000,
        owned_by: "diarist".to_owned(),
        licence: None,
        chunk_target_ms: None,
        chunk_max_ms: None,
        short_context: false,
        separation: None,
        needs: Vec::new(),
        description: String::new(),
    }
}

impl Script {
    /// What is heard, so often as asked, one after the other.
    fn segments(&self) -> Vec<Segment> {
        let later = |mut segment: Segment, round: u64| {
            segment.span = segment.span.shifted(round * seconds_to_samples(DURATION));
            segment
        };
        let rounds = 0..self.repeat.max(1);
        rounds.flat_map(|round| segments().into_iter().map(move |segment| later(segment, round))).collect()
    }
}

/// As the pipeline stores them.
fn stored(segments: Vec<Segment>, folder: &std::path::Path) -> Segments {
    let mut stored = Segments::spilling_into(&Scratch::within(folder));
    segments.into_iter().for_each(|segment| stored.push(segment).unwrap());
    stored
}

fn segments() -> Vec<Segment> {
    vec![
        segment(0.0, 1.0, &[" Hello", ", world", "."]),
        segment(1.0, 2.5, &[" Grüße", " aus", " 東", "京", " 🎉", "."]),
        segment(2.5, 3.7, &[" Don't", " stop", ". "]),
    ]
}

fn segment(start: f64, end: f64, pieces: &[&str]) -> Segment {
    let span = TimeSpan::new(seconds_to_samples(start), seconds_to_samples(end));
    let text = pieces.concat();
    let tokens = pieces
        .iter()
        .zip(100..)
        .map(|(piece, id)| Token { id, bytes: piece.as_bytes().to_vec(), logprob: -0.125 })
        .collect();
    let words = text
        .split_whitespace()
        .map(|word| Word { text: format!(" {word}"), span, probability: 0.5, ..Word::default() })
        .collect();
    Segment {
        span,
        text,
        tokens,
        words,
        seek: 0,
        temperature: 0.0,
        avg_logprob: -0.125,
        compression_ratio: 1.0,
        no_speech_prob: 0.0,
        speaker: None,
        overlapped: false,
    }
}

/// A running server. Stopped when dropped.
pub struct App {
    pub address: SocketAddr,
    pub backend: Arc<FakeBackend>,
    pub temp_dir: tempfile::TempDir,
    pub client: reqwest::blocking::Client,
    pub api: Api,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for App {
    fn drop(&mut self) {
        self.backend.released.store(true, Ordering::SeqCst);
        drop(self.handle.stop(false));
    }
}

/// A server with this script and the default options.
pub fn spawn(script: Script) -> App {
    spawn_with(script, |_| {})
}

/// A server with this script and these changes to the options.
pub fn spawn_with(script: Script, change: impl FnOnce(&mut ApiOptions)) -> App {
    let temp_dir = tempfile::tempdir().unwrap();
    let mut options = ApiOptions {
        scratch: Scratch::within(temp_dir.path()),
        max_upload_bytes: 4 << 20,
        workers: 1,
        ..ApiOptions::default()
    };
    change(&mut options);
    let backend = Arc::new(FakeBackend {
        script,
        seen: Mutex::default(),
        seen_turns: Mutex::default(),
        cancelled: AtomicBool::new(false),
        released: AtomicBool::new(false),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let api = Api::new(options, backend.clone());
    let served = api.clone();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let server = served.listen(listener).unwrap();
            sender.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    App { address, backend, temp_dir, client, api, handle: receiver.recv().unwrap() }
}

impl App {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(self.url(path)).send().unwrap())
    }

    /// A transcription with these fields, the model and a recording.
    pub fn transcribe(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("/v1/audio/transcriptions", &speech_form(fields))
    }

    pub fn translate(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("/v1/audio/translations", &speech_form(fields))
    }

    /// A request for turns with these fields and a recording.
    pub fn diarize(&self, fields: &[(&str, &str)]) -> Answer {
        let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(name, value));
        self.post("/v1/audio/diarizations", &form.file("talk one.wav", WAV))
    }

    pub fn post(&self, path: &str, form: &Form) -> Answer {
        self.post_raw(path, &form.content_type(), form.finish())
    }

    pub fn post_raw(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", content_type).body(body);
        Answer::of(request.send().unwrap())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends these bytes as they are and reads to the end of the connection.
    pub fn raw(&self, bytes: &[u8]) -> RawAnswer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        read_answer(&mut stream)
    }

    pub fn last_seen(&self) -> Seen {
        self.backend.seen.lock().unwrap().last().expect("the backend was called").clone()
    }

    pub fn runs(&self) -> usize {
        self.backend.seen.lock().unwrap().len()
    }

    pub fn uploads(&self) -> usize {
        std::fs::read_dir(self.temp_dir.path()).unwrap().count()
    }
}

/// How many files of `folder` the process `id` holds open, deleted ones included.
pub fn open_files(id: u32, folder: &std::path::Path) -> usize {
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("the process runs, on Linux");
    open.flatten()
        .filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.starts_with(folder)))
        .count()
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    fn of(response: reqwest::blocking::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: String::from_utf8(response.bytes().unwrap().to_vec()).unwrap() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Asserts OpenAI's error shape and gives the inner object.
    #[track_caller]
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("{self:?}"));
        assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"], "{self:?}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
        assert!(!error["message"].as_str().unwrap().ends_with('.'), "{self:?}");
        assert!(error["type"].is_string(), "{self:?}");
        assert!(error["param"].is_string() || error["param"].is_null(), "{self:?}");
        assert!(error["code"].is_string() || error["code"].is_null(), "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        body["error"].clone()
    }
}

/// An answer as it came over the wire, its body still in its transfer encoding.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Reads one answer: to the end of its declared length, or until the other side closes.
pub fn read_answer(stream: &mut TcpStream) -> RawAnswer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&bytes) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    RawAnswer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Whether `bytes` hold an answer with as long a body as its head says.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}

/// A multipart body, written by hand so that it can be wrong.
#[derive(Clone, Default)]
pub struct Form {
    bytes: Vec<u8>,
}

pub const BOUNDARY: &str = "----test-boundary";

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    }

    pub fn file(self, filename: &str, content: &[u8]) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
             Content-Type: application/octet-stream"
        );
        self.part(&head, content)
    }

    /// A part with these header lines.
    pub fn part(mut self, head: &str, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        bytes
    }

    /// Without the closing boundary.
    pub fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// A sound form with these fields; `model` is `whisper-1` unless among them.
pub fn speech_form(fields: &[(&str, &str)]) -> Form {
    let mut form = Form::new();
    if !fields.iter().any(|(name, _)| *name == "model") {
        form = form.text("model", "whisper-1");
    }
    for (name, value) in fields {
        form = form.text(name, value);
    }
    form.file("speech.wav", WAV)
}

/// The head of a POST to the transcriptions route.
pub fn post_head(framing: &str) -> String {
    format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{framing}\r\n\r\n"
    )
}

/// Waits until `condition` holds, for at most as long as a stuck test should take.
#[track_caller]
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < Duration::from_secs(20), "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the fake was asked to translate.
pub fn is_translation(seen: &Seen) -> bool {
    seen.request.task == Task::Translate
}
