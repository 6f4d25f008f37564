//! `diarist doctor`: one line a part, and how to mend what is missing.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::asr::whisper;
use crate::audio::AudioSource;
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::models::catalogue::Catalogue;
use crate::models::cli;
use crate::pipeline::{Control, Request};
use crate::runtime::{device, onnx};
use crate::server::Parts;

/// A recording whose words are known, for the end-to-end run.
const SAMPLE: &[u8] = include_bytes!("../../fixtures/audio/hello.flac");

/// What is spoken in it.
const SAMPLE_TEXT: &str = include_str!("../../fixtures/expected/hello.txt");

/// Name of the bundled model, which knows the words of the sample.
const SAMPLE_MODEL: &str = "diarist-micro-en";

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
    let checks: [(&str, Finding); 7] = [
        ("processor", processor()),
        ("device", devices(&settings)),
        ("onnx runtime", onnx_runtime(&settings)),
        ("decoders", decoders(&settings)),
        ("temporary files", temporary_files(&settings)),
        ("models", models(&settings)),
        ("transcription", end_to_end(&settings)),
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
    match device::check_cpu() {
        Ok(()) => Finding::Good(format!("{} cores; {}", device::available_cores(), whisper::engine_info())),
        Err(message) => Finding::Bad(message),
    }
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
    let folder = settings.temp_dir();
    match tempfile::tempfile_in(&folder) {
        Ok(_) => Finding::Good(format!("{} is writable", folder.display())),
        Err(error) => Finding::Bad(format!(
            "{} does not take files ({error}); set DIARIST_TEMP_DIR to a folder that does",
            folder.display()
        )),
    }
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
        Ok(text) if text == SAMPLE_TEXT.trim() => {
            Finding::Good(format!("right, in {:.1} s: \"{text}\"", started.elapsed().as_secs_f64()))
        }
        Ok(text) => Finding::Bad(format!("wrong words: \"{text}\"; expected \"{}\"", SAMPLE_TEXT.trim())),
        Err(message) => Finding::Bad(message),
    }
}

fn transcribe_sample(settings: &Settings) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new_in(settings.temp_dir()).map_err(|error| error.to_string())?;
    std::fs::write(file.path(), SAMPLE).map_err(|error| error.to_string())?;
    let parts = Parts::assemble(settings).map_err(|error| error.to_string())?;
    let source = AudioSource { path: file.path().to_owned(), name: None };
    let request = Request::new(source, SAMPLE_MODEL);
    let outcome = parts.pipeline.run(&request, &Control::new(CancelToken::new()));
    Ok(outcome.map_err(|error| error.to_string())?.transcript.text())
}
