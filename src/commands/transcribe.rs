//! `diarist transcribe`

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::print_with;
use super::speakers::SpeakerArgs;
use crate::audio::AudioSource;
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::language::Language;
use crate::output::{self, RenderOptions, ResponseFormat};
use crate::pipeline::{Control, Event, Pipeline, Request, SeparationMode};
use crate::server::Parts;
use crate::time::samples_to_seconds;
use crate::transcript::{DroppedText, SourceCounts, Task, Transcript};

/// Flags of `transcribe`.
#[derive(Args)]
pub struct TranscribeArgs {
    /// Recordings: any audio or video file
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Form of the result
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    format: Format,
    /// Folder for the results, one file per recording [default: standard output]
    #[arg(long, short = 'o', value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Model by name [default: the default model]
    #[arg(long, short = 'm', value_name = "NAME")]
    model: Option<String>,
    /// Language spoken, as a code or an English name [default: detected]
    #[arg(long, short = 'l', value_name = "LANGUAGE")]
    language: Option<String>,
    /// Write English, whatever is spoken
    #[arg(long)]
    translate: bool,
    /// Text that precedes the recording: names, spelling, style
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    /// First sampling temperature, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER")]
    temperature: f32,
    /// List words with their times (`verbose-json` only)
    #[arg(long)]
    words: bool,
    /// Separate the voice from music under it [default: the setting]
    #[arg(long, value_enum, value_name = "WHEN")]
    vocal_separation: Option<Separation>,
    #[command(flatten)]
    speakers: SpeakerArgs,
    /// Files worked on at once
    #[arg(long, short = 'j', default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// No progress bar
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// Form of the result.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The bare text
    Text,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
    /// OpenAI's `json`
    Json,
    /// OpenAI's `verbose_json`: segments, times, quality numbers
    #[value(alias = ResponseFormat::VerboseJson.name())]
    VerboseJson,
    /// OpenAI's `diarized_json`: segments, each of one speaker
    #[value(alias = ResponseFormat::DiarizedJson.name())]
    DiarizedJson,
}

/// When the voice is separated from what plays under it.
#[derive(Clone, Copy, ValueEnum)]
enum Separation {
    /// Never
    Off,
    /// Where music plays
    Auto,
    /// Everywhere
    On,
}

impl From<Separation> for SeparationMode {
    fn from(wish: Separation) -> Self {
        match wish {
            Separation::Off => Self::Off,
            Separation::Auto => Self::Auto,
            Separation::On => Self::On,
        }
    }
}

impl Format {
    fn response(self) -> ResponseFormat {
        match self {
            Self::Text => ResponseFormat::Text,
            Self::Srt => ResponseFormat::Srt,
            Self::Vtt => ResponseFormat::Vtt,
            Self::Json => ResponseFormat::Json,
            Self::VerboseJson => ResponseFormat::VerboseJson,
            Self::DiarizedJson => ResponseFormat::DiarizedJson,
        }
    }
}

/// Transcribes every file; goes on after a file that fails, and says so in the exit code.
pub fn run(settings: Settings, args: &TranscribeArgs) -> Result<ExitCode, String> {
    let template = template(&settings, args)?;
    if let Some(folder) = &args.output_dir {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    }
    let targets = Targets::plan(args)?;
    let parts = Parts::assemble(&settings).map_err(|error| error.to_string())?;
    let bars = MultiProgress::new();
    if args.quiet {
        bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let next = AtomicUsize::new(0);
    let failures = AtomicUsize::new(0);
    let screen = Screen { bars: &bars, printing: Mutex::new(()) };
    std::thread::scope(|scope| {
        for _ in 0..usize::from(args.jobs).min(args.files.len()) {
            scope.spawn(|| {
                while let Some(file) = args.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one_file(&parts.pipeline, &template, file, &bars)
                        .and_then(|transcript| targets.write(file, &transcript, args, &screen));
                    if let Err(message) = result {
                        failures.fetch_add(1, Ordering::Relaxed);
                        bars.suspend(|| eprintln!("diarist: {}: {message}", file.display()));
                    }
                }
            });
        }
    });
    Ok(if failures.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The request that all files share, but for the file.
fn template(settings: &Settings, args: &TranscribeArgs) -> Result<Request, String> {
    let language = args
        .language
        .as_deref()
        .map(|text| Language::parse(text).ok_or_else(|| format!("--language {text}: no such language")))
        .transpose()?;
    if !(0.0..=1.0).contains(&args.temperature) {
        return Err(format!("--temperature {}: allowed are 0 to 1", args.temperature));
    }
    let speakers = args.speakers.options(args.format.response(), args.translate)?;
    for known in speakers.iter().flat_map(|speakers| &speakers.known) {
        let clip = &known.clip.path;
        check_file(clip).map_err(|error| format!("--known-speaker: {}: {error}", clip.display()))?;
    }
    let model = args.model.as_ref().unwrap_or(&settings.default_model);
    let nothing = AudioSource { path: PathBuf::new(), name: None };
    Ok(Request {
        language,
        task: if args.translate { Task::Translate } else { Task::Transcribe },
        prompt: args.prompt.clone(),
        temperature: args.temperature,
        word_times: args.words,
        tokens: matches!(args.format, Format::VerboseJson),
        speakers,
        separation: args.vocal_separation.map(SeparationMode::from),
        ..Request::new(nothing, model)
    })
}

fn one_file(
    pipeline: &Pipeline,
    template: &Request,
    file: &Path,
    bars: &MultiProgress,
) -> Result<Transcript, String> {
    check_file(file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let bar = bars.add(progress_bar(name.as_deref().unwrap_or_default()));
    let request = Request { source: AudioSource { path: file.to_owned(), name }, ..template.clone() };
    let started = Instant::now();
    let shown = bar.clone();
    let control = Control::with_listener(CancelToken::new(), move |event| show(&shown, &event));
    let result = pipeline.run(&request, &control);
    bar.finish_and_clear();
    let transcript = result.map_err(|error| error.to_string())?.transcript;
    let seconds = samples_to_seconds(transcript.duration);
    let spent = started.elapsed().as_secs_f64();
    let line =
        format!("{}: {seconds:.1} s in {spent:.1} s ({:.1}x real time)", file.display(), seconds / spent);
    if !bars.is_hidden() {
        bars.suspend(|| eprintln!("{line}"));
    }
    for line in findings(&transcript) {
        bars.suspend(|| eprintln!("diarist: {}: {line}", file.display()));
    }
    for warning in &transcript.warnings {
        let place = warning.span.map_or(String::new(), |span| {
            format!(" ({:.2} to {:.2} s)", samples_to_seconds(span.start), samples_to_seconds(span.end))
        });
        bars.suspend(|| eprintln!("diarist: {}: warning: {}{place}", file.display(), warning.message));
    }
    Ok(transcript)
}

/// What was left out, and how much speech has text if not all has; the places without are among the warnings.
fn findings(transcript: &Transcript) -> Vec<String> {
    let seconds = samples_to_seconds;
    let mut lines: Vec<String> = transcript
        .dropped
        .iter()
        .map(|dropped| {
            let DroppedText { span, text, reason } = dropped;
            let (start, end, reason) = (seconds(span.start), seconds(span.end), reason.name());
            format!("left out at {start:.2} to {end:.2} s ({reason}): {text}")
        })
        .collect();
    if let Some(coverage) = transcript.coverage.as_ref().filter(|coverage| coverage.covered < coverage.speech)
    {
        let (covered, speech) = (seconds(coverage.covered), seconds(coverage.speech));
        lines.push(format!("{covered:.1} s of {speech:.1} s of speech have text"));
    }
    if let Some(separation) = &transcript.separation {
        let (length, model) = (seconds(separation.samples), &separation.model);
        let SourceCounts { voice, mix } = separation.chunks.unwrap_or_default();
        lines.push(format!(
            "the voice was separated in {length:.1} s (`{model}`); the text of {voice} chunks there is from the voice, of {mix} \
             from the whole sound"
        ));
    }
    lines
}

/// Says what is wrong with a path before the pipeline takes it for a failing disk, or waits at a pipe.
pub(super) fn check_file(file: &Path) -> Result<(), String> {
    let cannot_be_read = |error: std::io::Error| format!("cannot be read: {error}");
    if !std::fs::metadata(file).map_err(cannot_be_read)?.is_file() {
        return Err("is not a file; give the recordings themselves".to_owned());
    }
    std::fs::File::open(file).map(drop).map_err(cannot_be_read)
}

fn progress_bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {percent}% {eta} left")
        .expect("a fixed template");
    ProgressBar::no_length().with_style(style).with_prefix(name.to_owned()).with_message("reading")
}

fn show(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Accepted => bar.reset_eta(),
        Event::Progress { done, total } => {
            // Until all is decoded, its length is not known.
            if let Some(total) = total {
                bar.set_length(*total);
            }
            bar.set_position(*done);
            let speed = samples_to_seconds(*done) / bar.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(format!("{speed:.1}x"));
        }
        Event::Language(_) | Event::Segment(_) => {}
    }
}

/// Standard output, shared by progress bars and results.
struct Screen<'a> {
    bars: &'a MultiProgress,
    printing: Mutex<()>,
}

/// Where each result goes.
struct Targets {
    /// One per recording, in order; empty for standard output.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Targets {
    /// Names the result files; two recordings may not share one.
    fn plan(args: &TranscribeArgs) -> Result<Self, String> {
        let Some(folder) = &args.output_dir else { return Ok(Self { files: Vec::new() }) };
        let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
        for file in &args.files {
            let stem = file.file_stem().ok_or_else(|| format!("{} names no file", file.display()))?;
            let mut name = stem.to_os_string();
            name.push(".");
            name.push(args.format.response().extension());
            let target = folder.join(name);
            if let Some((other, _)) = files.iter().find(|(_, known)| *known == target) {
                let (first, second) = (other.display(), file.display());
                return Err(format!("{first} and {second} would both be written to {}", target.display()));
            }
            files.push((file.clone(), target));
        }
        Ok(Self { files })
    }

    fn write(
        &self,
        file: &Path,
        transcript: &Transcript,
        args: &TranscribeArgs,
        screen: &Screen<'_>,
    ) -> Result<(), String> {
        let options = RenderOptions {
            words: args.words,
            speakers: args.speakers.diarize,
            speaker_labels: args.speakers.labels,
            ..RenderOptions::default()
        };
        let format = args.format.response();
        let write = |out: &mut dyn Write| output::write(transcript, format, &options, out);
        match self.files.iter().find(|(source, _)| source == file) {
            Some((_, target)) => write_file(target, write)
                .map_err(|error| format!("{} cannot be written: {error}", target.display())),
            None => {
                let _one_at_a_time = screen.printing.lock();
                screen.bars.suspend(|| print_with(write))
            }
        }
    }
}

fn write_file(target: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(target)?);
    write(&mut out)?;
    out.flush()
}
