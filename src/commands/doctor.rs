//! `diarist doctor`: one line a part, and how to mend what is missing.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::asr::tuning::{self, Trial};
use crate::asr::whisper;
use crate::audio::AudioSource;
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::diarization::{DiarizationOptions, Sound};
use crate::models::catalogue::Catalogue;
use crate::models::cli;
use crate::pipeline::{Control, Request, SeparationMode};
use crate::runtime::cores::{self, Shape};
use crate::runtime::cpu::{self, Extension};
use crate::runtime::{device, onnx};
use crate::scratch::Scratch;
use crate::server::{self, Parts, sample, separation, shape, speakers};

/// Time for measuring how the cores are used best.
const MEASURING: Duration = Duration::from_secs(10);

/// Disk space for temporary files below which the doctor warns, in bytes: an upload of some hours and its sound.
const AMPLE_BYTES: u64 = 1_000_000_000;

/// How to build for this machine's processor alone.
const NATIVE_BUILD: &str = "GGML_NATIVE=ON cargo build --release --locked --target-dir target/native";

/// What a check found.
enum Finding {
    Good(String),
    /// Works without it; the line says what is lost.
    Lacking(String),
    Bad(String),
}

/// Checks everything and prints a line for each part; fails if something needed is missing.
pub fn run(settings: Settings) -> Result<ExitCode, String> {
    let mut healthy = true;
    let checks: [(&str, Finding); 10] = [
        ("processor", processor()),
        ("workers", workers(&settings)),
        ("device", devices(&settings)),
        ("onnx runtime", onnx_runtime(&settings)),
        ("decoders", decoders(&settings)),
        ("temporary files", temporary_files(&settings)),
        ("models", models(&settings)),
        ("transcription", end_to_end(&settings)),
        ("diarization", diarization(&settings)),
        ("separation", vocal_separation(&settings)),
    ];
    for (part, finding) in checks {
        let (mark, text) = match finding {
            Finding::Good(text) => ("ok  ", text),
            Finding::Lacking(text) => ("note", text),
            Finding::Bad(text) => {
                healthy = false;
                ("BAD ", text)
            }
        };
        for (index, line) in text.lines().enumerate() {
            let (mark, part) = if index == 0 { (mark, part) } else { ("    ", "") };
            println!("{mark}  {part:<16}{line}");
        }
    }
    println!(
        "{}",
        if healthy { "All that is needed is there." } else { "Not ready: mend the lines marked BAD." }
    );
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn processor() -> Finding {
    let account = whisper::engine_info();
    if let Err(message) = device::check_cpu() {
        return Finding::Bad(message);
    }
    let (cores, physical) = (device::available_cores(), cores::physical_cores());
    let mut lines = vec![format!("{cores} cores ({physical} physical); {account}")];
    let extensions = cpu::extensions();
    let names = |wanted: &dyn Fn(&Extension) -> bool| {
        let chosen: Vec<_> = extensions.iter().filter(|e| wanted(e)).map(|e| e.name).collect();
        (!chosen.is_empty()).then(|| chosen.join(", "))
    };
    if let Some(present) = names(&|extension| extension.present) {
        lines.push(format!("has {present} beyond what the portable build needs"));
    }
    if let Some(unused) = names(&|extension| extension.present && !extension.is_used(&account)) {
        lines.push(format!(
            "this build does not use {unused}; one for this processor alone may be faster:\n{NATIVE_BUILD}"
        ));
    }
    if let Some(missing) = names(&|extension| !extension.present && extension.is_used(&account)) {
        lines
            .push(format!("this build uses {missing}, which this processor lacks; build it on this machine"));
        return Finding::Bad(lines.join("\n"));
    }
    Finding::Good(lines.join("\n"))
}

/// Which number of workers and threads is best, and which is used.
fn workers(settings: &Settings) -> Finding {
    let Ok(used) = server::usable_device(settings) else {
        return Finding::Lacking("not measured: no device can be used".to_owned());
    };
    let rule = shape::by_rule(settings, used);
    if used.is_gpu() {
        return Finding::Good(format!("{rule} threads, which share the graphics processor"));
    }
    let scratch = match Scratch::open(&settings.scratch()) {
        Ok(scratch) => scratch,
        Err(error) => return Finding::Lacking(format!("{rule} threads; not measured: {error}")),
    };
    let trials = Catalogue::open(&settings.models())
        .map_err(|error| error.to_string())
        .and_then(|catalogue| shape::trials(settings, &catalogue, &scratch, MEASURING));
    match trials {
        Ok(trials) => Finding::Good(worker_table(&trials, shape::is_set(settings).then_some(rule))),
        Err(message) => Finding::Lacking(format!("{rule} threads; not measured: {message}")),
    }
}

/// A line for each shape tried, and why one was chosen.
fn worker_table(trials: &[Trial], set: Option<Shape>) -> String {
    let best = tuning::best(trials);
    let mut lines = vec![match set {
        Some(shape) => format!("{shape} threads, as `workers` and `threads` are set; measured:"),
        None => "workers x threads, measured with the included model:".to_owned(),
    }];
    for trial in trials {
        let note = match (best == Some(trial.shape), set) {
            (true, None) => "  <- used: the most text per second",
            (true, Some(_)) => "  <- the most text per second",
            _ => "",
        };
        let speed = match trial.speed {
            speed if speed > 0.0 => format!("{speed:>6.0} times real time"),
            _ => "  given up: its threads wait for each other".to_owned(),
        };
        lines.push(format!("{:>8}  {speed}{note}", trial.shape.to_string()));
    }
    lines.push(
        "each worker keeps buffers of its own beside the shared weights, with Whisper's large models more than 1 GB: \
         set `workers` where memory is short"
            .to_owned(),
    );
    lines.join("\n")
}

fn devices(settings: &Settings) -> Finding {
    let order = settings
        .device()
        .map_err(|error| error.to_string())
        .and_then(|device| device.fallback_order().map_err(|error| error.to_string()));
    match order {
        Ok(order) => {
            let names: Vec<_> = order.iter().map(|device| device.name()).collect();
            Finding::Good(format!("{} (setting `device` is {})", names.join(", then "), settings.device))
        }
        Err(message) => Finding::Bad(message),
    }
}

fn onnx_runtime(settings: &Settings) -> Finding {
    match onnx::runtime(settings.onnxruntime()) {
        Ok(runtime) => Finding::Good(runtime.describe()),
        Err(error) => Finding::Bad(error.to_string()),
    }
}

fn decoders(settings: &Settings) -> Finding {
    let built_in = "built in: flac, mp3, mp4/m4a (AAC, ALAC), ogg, opus, wav, webm, mkv, mov, aiff, caf";
    let Some(program) = settings.ffmpeg_program() else {
        return Finding::Lacking(format!(
            "{built_in}\nno ffmpeg: AC-3, WMA, AMR, transport streams, and AAC or Opus with more than two channels \
             are refused; install ffmpeg or set DIARIST_FFMPEG to have them"
        ));
    };
    match Command::new(&program).arg("-version").output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            let version = version.lines().next().unwrap_or_default().to_owned();
            Finding::Good(format!("{built_in}\nfor the rest: {version} ({})", program.display()))
        }
        _ => Finding::Lacking(format!("{built_in}\n{} does not run; set DIARIST_FFMPEG", program.display())),
    }
}

fn temporary_files(settings: &Settings) -> Finding {
    let parent = settings.temp_dir();
    let place = parent.display();
    let opened = Scratch::open(&settings.scratch());
    let (scratch, free) = match opened.and_then(|scratch| Ok((scratch.disk()?.free_bytes, scratch))) {
        Ok((free, scratch)) => (scratch, free),
        Err(error) => {
            return Finding::Bad(format!(
                "{place} does not take files ({error}); set DIARIST_TEMP_DIR to a folder that does"
            ));
        }
    };
    let kept = settings.temp_min_free_bytes;
    let mut text = format!(
        "{place} is writable; {} free, of which {} stay free (temp_min_free_bytes)",
        megabytes(free),
        megabytes(kept)
    );
    if settings.temp_max_bytes > 0 {
        text.push_str(&format!("; at most {} are used (temp_max_bytes)", megabytes(settings.temp_max_bytes)));
    }
    match scratch.unnamed() {
        Ok(_) if free < kept.saturating_add(AMPLE_BYTES) => Finding::Lacking(format!(
            "{text}\nthat is little: an hour of sound takes 115 MB beside its upload"
        )),
        Ok(_) => Finding::Good(text),
        Err(error) => Finding::Bad(format!("{text}\n{error}")),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn models(settings: &Settings) -> Finding {
    let options = settings.models();
    let catalogue = match Catalogue::open(&options) {
        Ok(catalogue) => catalogue,
        Err(error) => return Finding::Bad(error.to_string()),
    };
    let mut lines = vec![format!("in {} and {}", options.dir.display(), options.bundled_dir.display())];
    let sound = cli::verify(&catalogue, &[], &mut |line| lines.push(line.to_owned()));
    if let Err(error) = catalogue.resolve(&options.default_model) {
        return Finding::Bad(format!("{}\nthe default model: {error}", lines.join("\n")));
    }
    lines.push(format!("OpenAI's names stand for `{}`", options.default_model));
    match sound {
        Ok(true) => Finding::Good(lines.join("\n")),
        Ok(false) => Finding::Bad(lines.join("\n")),
        Err(error) => Finding::Bad(error.to_string()),
    }
}

fn end_to_end(settings: &Settings) -> Finding {
    let started = Instant::now();
    match transcribe_sample(settings) {
        Ok(text) if text == sample::TEXT.trim() => {
            Finding::Good(format!("right, in {:.1} s: \"{text}\"", started.elapsed().as_secs_f64()))
        }
        Ok(text) => Finding::Bad(format!("wrong words: \"{text}\"; expected \"{}\"", sample::TEXT.trim())),
        Err(message) => Finding::Bad(message),
    }
}

/// Whether speakers can be told apart: the sample has one.
fn diarization(settings: &Settings) -> Finding {
    let started = Instant::now();
    match speakers_of_sample(settings) {
        Ok(1) => Finding::Good(format!(
            "`{}` hears one speaker in the sample, in {:.1} s",
            speakers::DEFAULT_MODEL,
            started.elapsed().as_secs_f64()
        )),
        Ok(count) => Finding::Bad(format!("{count} speakers were heard in the sample, which has one")),
        Err(message) => Finding::Bad(message),
    }
}

/// Whether voices can be separated from music, and whether that is asked for.
fn vocal_separation(settings: &Settings) -> Finding {
    let (mode, model) = (settings.separation_mode(), &settings.separation_model);
    let looked =
        Catalogue::open(&settings.models()).and_then(|catalogue| separation::look(&catalogue, model));
    let setting = format!("setting `separation` is {}", mode.name());
    match looked {
        Ok(()) => Finding::Good(format!("`{model}` is there; {setting}")),
        Err(error) if mode == SeparationMode::Off => {
            Finding::Good(format!("not set up ({error}); {setting}"))
        }
        Err(error) => Finding::Lacking(format!("{setting}, and requests will be refused: {error}")),
    }
}

fn speakers_of_sample(settings: &Settings) -> Result<usize, String> {
    let parts = Parts::assemble(settings).map_err(|error| error.to_string())?;
    let engine = parts.diarization.lease(speakers::DEFAULT_MODEL).map_err(|error| error.to_string())?;
    let (spool, cancel) = (sample::spool(&parts.scratch)?, CancelToken::new());
    let sound = Sound { spool: &spool, speech: None, cancel: &cancel };
    let found = engine.diarize(&sound, &[], &DiarizationOptions::default());
    Ok(found.map_err(|error| error.to_string())?.voices.len())
}

fn transcribe_sample(settings: &Settings) -> Result<String, String> {
    let parts = Parts::assemble(settings).map_err(|error| error.to_string())?;
    sample::with_file(&parts.scratch, |path| {
        let source = AudioSource { path: path.to_owned(), name: None };
        // Looked at by itself.
        let separation = Some(SeparationMode::Off);
        let request = Request { separation, ..Request::new(source, sample::MODEL) };
        let outcome = parts.pipeline.run(&request, &Control::new(CancelToken::new()));
        Ok(outcome.map_err(|error| error.to_string())?.transcript.text())
    })
}
