//! What a request costs beside recognition, and the whole pipeline beside the bare engine on the same chunks.
//!
//! One worker with one thread, so that the engine's waiting for itself is not counted.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diarist::asr::whisper::{WhisperModel, WhisperOptions, WhisperTranscriber};
use diarist::asr::{DecodingOptions, Transcriber};
use diarist::audio::{AudioSource, PcmSpool, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::config::Settings;
use diarist::language::Language;
use diarist::output::{RenderOptions, ResponseFormat, render};
use diarist::pipeline::{Control, Request, Stage};
use diarist::runtime::device::Device;
use diarist::server::Parts;
use diarist::time::{Chunk, TimeSpan};
use diarist::vad::{ChunkOptions, Chunker, RegionBuilder, SileroVad, VoiceActivityDetector};

use crate::measure::{minutes, process_cpu, settings, thread_cpu};
use crate::recordings::fixture;
use crate::speech;

const MODEL: &str = "whisper-1";

/// Both run so often in turn; the fastest counts.
const ROUNDS: usize = 2;

/// Samples that voice activity is looked for in at once.
const STEP: u64 = 512 * 128;

/// Runs the pipeline, then the engine, on the same recording.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_SPEECH_MIN", 2.0);
    let path = speech(folder, minutes);
    let settings = settings(&[("workers", "1"), ("threads", "1")]);
    let parts = Parts::assemble(&settings).unwrap_or_else(|error| panic!("{error}"));
    // The model is loaded by a first request that does not count.
    run_pipeline(&parts, &fixture("audio/hello.flac"), None);

    let engine = Engine::new(&parts, &settings, &path);
    let (mut runs, mut engine_cpu) = (Vec::new(), Duration::MAX);
    for _ in 0..ROUNDS {
        let run = run_pipeline(&parts, &path, None);
        let (cpu, text) = engine.run();
        // Where chunks overlap, the engine hears some words twice.
        assert!(engine.overlaps() || text.trim() == run.text, "pipeline and engine did the same work");
        engine_cpu = engine_cpu.min(cpu);
        runs.push(run);
    }
    let best = runs.iter().min_by_key(|run| run.cpu).expect("at least one round");
    print_stages(best, decoding_cpu(&settings, &path));
    println!(
        "recognition: the pipeline takes {:.2} s of processor time for {minutes} min, the engine alone {:.2} s: \
         ratio {:.3}; {:.1} times real time on one core",
        best.cpu.as_secs_f64(),
        engine_cpu.as_secs_f64(),
        best.cpu.as_secs_f64() / engine_cpu.as_secs_f64(),
        minutes * 60.0 / best.cpu.as_secs_f64(),
    );
    true
}

pub struct PipelineRun {
    pub text: String,
    timings: Vec<(Stage, Duration)>,
    render: Duration,
    wall: Duration,
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Processor time of the request's own thread: everything but decoding and recognition.
    own_cpu: Duration,
}

/// One request, with the check of coverage as the settings have it or as told.
pub fn run_pipeline(parts: &Parts, path: &Path, coverage: Option<bool>) -> PipelineRun {
    let source = AudioSource { path: path.to_owned(), name: None };
    // Given, so that detecting it does not count: the bare engine is told too.
    let request = Request { language: Some(Language::ENGLISH), coverage, ..Request::new(source, MODEL) };
    let (start, cpu, own_cpu) = (Instant::now(), process_cpu(), thread_cpu());
    let outcome = parts.pipeline.run(&request, &Control::new(CancelToken::new())).unwrap();
    let rendering = Instant::now();
    render(&outcome.transcript, ResponseFormat::VerboseJson, &RenderOptions::default());
    PipelineRun {
        render: rendering.elapsed(),
        wall: start.elapsed(),
        cpu: process_cpu() - cpu,
        own_cpu: thread_cpu() - own_cpu,
        text: outcome.transcript.text(),
        timings: outcome.timings,
    }
}

/// Processor time of decoding, which a request does on a thread of its own.
fn decoding_cpu(settings: &Settings, path: &Path) -> Duration {
    let source = AudioSource { path: path.to_owned(), name: None };
    let before = thread_cpu();
    decode_to_spool(&source, &settings.pipeline().audio, &CancelToken::new()).unwrap();
    thread_cpu() - before
}

fn print_stages(run: &PipelineRun, decoding: Duration) {
    let wall = run.wall.as_secs_f64();
    let mut stages: Vec<_> = run.timings.iter().map(|(stage, took)| (stage.name(), *took)).collect();
    stages.push(("render", run.render));
    let list: Vec<_> =
        stages.iter().map(|(name, took)| format!("{name} {:.3} s", took.as_secs_f64())).collect();
    let asr = run.timings.iter().find(|(stage, _)| *stage == Stage::Asr);
    let outside = wall - asr.map_or(0.0, |(_, took)| took.as_secs_f64());
    println!(
        "overhead: {} of {wall:.3} s: share of the time not spent waiting for the recogniser {:.3}",
        list.join(", "),
        outside / wall
    );
    println!(
        "overhead: share of the processor time spent outside recognition {:.3}",
        (run.own_cpu + decoding).as_secs_f64() / run.cpu.as_secs_f64()
    );
}

/// The bare engine and the pipeline's chunks of one recording.
struct Engine {
    model: Arc<WhisperModel>,
    decoding: DecodingOptions,
    spool: Arc<PcmSpool>,
    chunks: Vec<Chunk>,
}

impl Engine {
    fn new(parts: &Parts, settings: &Settings, path: &Path) -> Self {
        let options = settings.pipeline();
        let source = AudioSource { path: path.to_owned(), name: None };
        let spool = decode_to_spool(&source, &options.audio, &CancelToken::new()).unwrap().spool;
        let spec = parts.catalogue.resolve(MODEL).unwrap();
        let target_ms = spec.chunk_target_ms.unwrap_or(options.chunks.target_ms);
        let mut vad = SileroVad::load(&parts.catalogue.voice_activity().unwrap().path.unwrap()).unwrap();
        let regions = RegionBuilder::new(vad.spec().window, options.vad);
        let chunks = chunks_of(&spool, &mut vad, regions, ChunkOptions { target_ms, ..options.chunks });
        let use_gpu = settings.device().is_ok_and(|device| device != Device::Cpu);
        let on = WhisperOptions { use_gpu, threads: 1, short_context: true, ..WhisperOptions::default() };
        let model = WhisperModel::load(&spec.path.unwrap(), on).unwrap();
        Self { model, decoding: options.decoding, spool, chunks }
    }

    fn overlaps(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.span != chunk.owned)
    }

    /// Processor time of recognising every chunk, one after the other, and what was heard.
    fn run(&self) -> (Duration, String) {
        let mut transcriber = WhisperTranscriber::new(Arc::clone(&self.model)).unwrap();
        let (mut samples, mut text) = (Vec::new(), String::new());
        let start = process_cpu();
        for chunk in &self.chunks {
            self.spool.read(chunk.span, &mut samples);
            // As in the pipeline, where the seam of overlapping chunks is found by words.
            let word_times = chunk.span != chunk.owned;
            let decoding = DecodingOptions { word_times, ..self.decoding.clone() };
            let heard = transcriber.transcribe(&samples, &decoding, &CancelToken::new()).unwrap();
            text.extend(heard.segments.into_iter().map(|segment| segment.text));
        }
        (process_cpu() - start, text)
    }
}

fn chunks_of(
    spool: &PcmSpool,
    vad: &mut SileroVad,
    mut regions: RegionBuilder,
    options: ChunkOptions,
) -> Vec<Chunk> {
    let mut chunker = Chunker::new(options);
    let (mut chunks, mut samples, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..spool.len()).step_by(STEP as usize) {
        spool.read(TimeSpan::new(start, start + STEP), &mut samples);
        vad.probabilities(&samples, &mut probabilities).unwrap();
    }
    for probability in probabilities {
        chunks.extend(regions.push(probability).into_iter().flat_map(|region| chunker.push(region)));
    }
    chunks.extend(regions.finish(spool.len()).into_iter().flat_map(|region| chunker.push(region)));
    chunks.extend(chunker.finish());
    chunks
}
