//! One pipeline for all tests, the fixtures, and recordings made of them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use diarist::audio::AudioSource;
use diarist::cancel::CancelToken;
use diarist::config::{Settings, Sources};
use diarist::pipeline::{Control, Outcome, PipelineError, Request, VadFactory};
use diarist::server::Parts;
use diarist::time::{SAMPLE_RATE, samples_to_seconds};
use diarist::transcript::Transcript;
use diarist::vad::SileroVad;

/// The pipeline with default settings, shared by the tests of this process.
pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| Parts::assemble(&settings()).expect("`make setup` installs what is missing"))
}

/// Default settings; the environment may name ONNX Runtime's library.
pub fn settings() -> Settings {
    let environment = std::env::vars().filter(|(name, _)| name == "DIARIST_ONNXRUNTIME").collect();
    Settings::load(&Sources { environment, ..Sources::default() }).unwrap()
}

/// Makes the detectors of a pipeline of a test's own.
pub fn silero() -> VadFactory {
    let path = parts().catalogue.voice_activity().unwrap().path.unwrap();
    Box::new(move || Ok(Box::new(SileroVad::load(&path)?)))
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub fn request(path: &Path) -> Request {
    let source = AudioSource { path: path.to_owned(), name: None };
    Request { word_times: true, ..Request::new(source, "whisper-1") }
}

pub fn run(request: &Request) -> Result<Outcome, PipelineError> {
    parts().pipeline.run(request, &Control::new(CancelToken::new()))
}

pub fn transcribe(path: &Path) -> Transcript {
    run(&request(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display())).transcript
}

/// A sentence of the fixtures.
pub struct Sentence {
    pub path: PathBuf,
    pub text: String,
    /// Edges of the speech, in seconds.
    pub start: f64,
    pub end: f64,
}

pub fn sentences() -> Vec<Sentence> {
    let table = std::fs::read_to_string(fixture("expected/sentences.tsv")).unwrap();
    let sentences: Vec<_> = table
        .lines()
        .skip(1)
        .map(|line| {
            let [file, text, _voice, start, end] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("five columns are expected: {line}")
            };
            Sentence {
                path: fixture("audio").join(file),
                text: text.to_owned(),
                start: start.parse().unwrap(),
                end: end.parse().unwrap(),
            }
        })
        .collect();
    assert!(sentences.len() > 20);
    sentences
}

/// What is spoken where in a recording, in seconds.
#[derive(Clone, Debug)]
pub struct Spoken {
    pub text: String,
    pub start: f64,
    pub end: f64,
}

/// Says what differs between a transcript and the truth: every sentence once, in order, as a segment of its
/// own, both edges within `tolerance` seconds.
pub fn assert_spoken(transcript: &Transcript, truth: &[Spoken], tolerance: f64) {
    let segments = transcript.segments.to_vec().unwrap();
    let heard: Vec<_> = segments.iter().map(|segment| segment.text.trim()).collect();
    let spoken: Vec<_> = truth.iter().map(|sentence| sentence.text.as_str()).collect();
    if let Some(at) = (0..heard.len().max(spoken.len())).find(|&i| heard.get(i) != spoken.get(i)) {
        panic!("sentence {at}: heard {:?}, spoken {:?}", heard.get(at), spoken.get(at));
    }
    for (segment, sentence) in segments.iter().zip(truth) {
        let (start, end) = (samples_to_seconds(segment.span.start), samples_to_seconds(segment.span.end));
        assert!(
            (start - sentence.start).abs() <= tolerance && (end - sentence.end).abs() <= tolerance,
            "heard at {start:.3} to {end:.3}, spoken at {:.3} to {:.3}: {}",
            sentence.start,
            sentence.end,
            sentence.text
        );
    }
}

/// Writes a recording of the fixtures' sentences in turn, with changing pauses, about `seconds` long.
pub fn long_recording(path: &Path, seconds: u64) -> Vec<Spoken> {
    let pieces: Vec<(Vec<i16>, String)> = sentences().iter().map(bare_speech).collect();
    let mut written = 0_u64;
    let spoken = (0..).map_while(|index| {
        (written < seconds * u64::from(SAMPLE_RATE)).then(|| {
            // 0.6 to 1.5 s of silence, never the same twice in a row.
            let pause = 9_600 + (index * 5_237) % 14_400;
            let piece = &pieces[(index as usize * 7) % pieces.len()];
            written += pause + piece.0.len() as u64;
            (pause, piece)
        })
    });
    write_spoken(path, spoken)
}

/// Writes pieces one straight after another, about `seconds` long; `draw` gives numbers below a limit.
pub fn write_end_to_end(
    path: &Path,
    seconds: u64,
    pieces: &[(Vec<i16>, String)],
    mut draw: impl FnMut(usize) -> usize,
) -> Vec<Spoken> {
    let mut written = 0;
    let spoken = std::iter::from_fn(|| {
        (written < seconds * u64::from(SAMPLE_RATE)).then(|| {
            let piece = &pieces[draw(pieces.len())];
            written += piece.0.len() as u64;
            (0, piece)
        })
    });
    write_spoken(path, spoken)
}

/// A new recording as the pipeline likes it best: 16 kHz mono, 16 bit.
pub fn wav_writer(path: &Path) -> hound::WavWriter<BufWriter<File>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    hound::WavWriter::create(path, spec).unwrap()
}

/// Writes a recording of sentences, each after so many samples of silence; 0.6 s of it end the recording.
pub fn write_spoken<'a>(
    path: &Path,
    spoken: impl Iterator<Item = (u64, &'a (Vec<i16>, String))>,
) -> Vec<Spoken> {
    let mut writer = wav_writer(path);
    let mut written = 0_u64;
    let mut truth = Vec::new();
    for (pause, (samples, text)) in spoken {
        (0..pause).for_each(|_| writer.write_sample(0_i16).unwrap());
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        let start = written + pause;
        written = start + samples.len() as u64;
        truth.push(Spoken {
            text: text.clone(),
            start: samples_to_seconds(start),
            end: samples_to_seconds(written),
        });
    }
    (0..9_600).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    truth
}

/// The sentence without the silence around it.
pub fn bare_speech(sentence: &Sentence) -> (Vec<i16>, String) {
    let (samples, text) = whole_file(sentence);
    let at = |seconds: f64| (seconds * f64::from(SAMPLE_RATE)) as usize;
    (samples[at(sentence.start)..at(sentence.end)].to_vec(), text)
}

/// The sentence as its file holds it.
pub fn whole_file(sentence: &Sentence) -> (Vec<i16>, String) {
    let options = settings().pipeline().audio;
    let source = AudioSource { path: sentence.path.clone(), name: None };
    let spool = diarist::audio::decode_to_spool(&source, &options, &CancelToken::new()).unwrap().spool;
    let mut samples = Vec::new();
    spool.read(diarist::time::TimeSpan::new(0, spool.len()), &mut samples);
    (samples.iter().map(|sample| (sample * 32_767.0) as i16).collect(), sentence.text.clone())
}

/// The most memory that a process took, in KiB; 0 where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Its own memory, sampled every 20 ms.
    pub anonymous: u64,
    /// All of its memory, mapped files included, as the system recorded it.
    pub resident: u64,
}

/// Transcribes `recording` with the built program into `folder`, as `verbose_json` with these flags besides.
pub fn transcribe_watched(recording: &Path, folder: &Path, flags: &[&str]) -> Peak {
    let process = program()
        .args(["transcribe", "--quiet", "--format", "verbose-json"])
        .args(flags)
        .arg("--output-dir")
        .arg(folder)
        .arg(recording)
        .spawn()
        .unwrap();
    watch(process)
}

/// The built program.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarist"));
    command.stdin(Stdio::null());
    command
}

/// A process's own memory at this moment, in KiB; 0 where the system does not tell.
pub fn anonymous_kib(process: u32) -> u64 {
    kib(&std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default(), "RssAnon:")
}

/// Waits for `process` to end well and watches its memory.
fn watch(mut process: Child) -> Peak {
    let mut peak = Peak::default();
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
        peak.anonymous = peak.anonymous.max(kib(&status, "RssAnon:"));
        peak.resident = peak.resident.max(kib(&status, "VmHWM:"));
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success(), "the program ended with {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kib(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
