//! `diarist separate`

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::{NamedTempFile, TempPath};

use super::interrupt::cancel_on_interrupt;
use super::transcribe::check_file;
use crate::audio::wav_writer::WavWriter;
use crate::audio::{AudioBlock, AudioError, AudioSource, BlockSink, Decoding};
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::separation::halves::Halves;
use crate::separation::{SeparationError, VocalSeparator};
use crate::server::Parts;
use crate::time::samples_to_seconds;

/// Exit code after Ctrl-C, as shells give it.
const INTERRUPTED: u8 = 130;

/// Flags of `separate`.
#[derive(Args)]
pub struct SeparateArgs {
    /// Recording: any audio or video file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder for NAME.vocals.wav and NAME.background.wav
    #[arg(long, short = 'o', value_name = "DIR")]
    output_dir: PathBuf,
    /// Model for vocal separation [default: the setting]
    #[arg(long, short = 'm', value_name = "NAME")]
    model: Option<String>,
    /// No progress bar
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// Writes the voice and the background of a recording. Neither file has its name before both are whole.
pub fn run(settings: Settings, args: &SeparateArgs) -> Result<ExitCode, String> {
    check_file(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let parts = Parts::assemble(&settings).map_err(|error| error.to_string())?;
    let model = args.model.as_deref().unwrap_or(&settings.separation_model);
    let lease = parts.separation.lease(model).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(&args.output_dir)
        .map_err(|error| format!("the folder {} cannot be made: {error}", args.output_dir.display()))?;
    let cancel = CancelToken::new();
    cancel_on_interrupt(&cancel);
    let mut options = settings.pipeline().audio;
    options.scratch = parts.scratch.clone();
    let name = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = AudioSource { path: args.file.clone(), name: Some(name.clone()) };
    let progress = Progress::new(&name, args.quiet);
    // A second reader, far ahead of the first, that only learns how long the recording is.
    let ahead =
        (!progress.bar.is_hidden()).then(|| Decoding::start(source.clone(), options.clone(), &cancel));
    let ahead = ahead.and_then(Result::ok);
    let outcome: Outcome = Arc::default();
    let splitter = Splitter {
        separator: lease.shared(),
        cancel: cancel.clone(),
        output: Output::of(&args.file, &args.output_dir)?,
        progress: progress.clone(),
        length: ahead.as_ref().map(|ahead| Arc::clone(ahead.spool())),
        halves: None,
        files: None,
        outcome: Arc::clone(&outcome),
    };
    let decoded = Decoding::start_with(source, options, &cancel, |_| Some(Box::new(splitter)))
        .and_then(Decoding::finish);
    progress.bar.finish_and_clear();
    let result = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    if cancel.is_cancelled() {
        eprintln!("diarist: interrupted; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", args.file.display());
    // What the splitter met goes before the cancellation that decoding made of it.
    let files = match (result, decoded) {
        (Some(Err(reason)), _) => return Err(failed(&reason)),
        (_, Err(error)) => return Err(failed(&error)),
        (None, Ok(_)) => return Err(failed(&"nothing was decoded")),
        (Some(Ok(files)), Ok(done)) => {
            for warning in &done.decoded.warnings {
                eprintln!("diarist: {}: warning: {}", args.file.display(), warning.message);
            }
            progress.report(samples_to_seconds(done.decoded.spool.total().unwrap_or(0)), args);
            files
        }
    };
    let written = files.publish()?;
    super::print(&written)?;
    Ok(ExitCode::SUCCESS)
}

/// What became of the splitter: both files, or why there are none.
type Outcome = Arc<Mutex<Option<Result<Files, String>>>>;

/// Takes the decoded blocks, on the thread that decodes, and writes both halves.
struct Splitter {
    separator: Arc<dyn VocalSeparator>,
    cancel: CancelToken,
    output: Output,
    progress: Progress,
    /// The recording as far as it is known.
    length: Option<Arc<crate::audio::PcmSpool>>,
    halves: Option<Halves>,
    files: Option<Files>,
    outcome: Outcome,
}

impl Splitter {
    /// The first block says how many channels there are.
    fn take(&mut self, block: &AudioBlock) -> Result<(), String> {
        let rate = self.separator.spec().sample_rate;
        let channels = block.channels.len().clamp(1, 2);
        let separator = &self.separator;
        let halves = self.halves.get_or_insert_with(|| Halves::new(Arc::clone(separator), channels));
        let files = match &mut self.files {
            Some(files) => files,
            none => none.insert(self.output.open(channels as u16, rate)?),
        };
        let cancel = &self.cancel;
        halves
            .push(block, &|| !cancel.is_cancelled(), &mut |voice, rest| files.write(voice, rest))
            .map_err(|error| error.to_string())?;
        let total = self.length.as_ref().and_then(|spool| spool.total());
        self.progress.show(files.frames as f64 / f64::from(rate), total.map(samples_to_seconds));
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let (Some(halves), Some(mut files)) = (self.halves.take(), self.files.take()) else { return Ok(()) };
        let cancel = &self.cancel;
        halves
            .finish(&|| !cancel.is_cancelled(), &mut |voice, rest| files.write(voice, rest))
            .map_err(|error| error.to_string())?;
        self.keep(files.finish());
        Ok(())
    }

    fn keep(&self, outcome: Result<Files, String>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn or_stop(&self, result: Result<(), String>) -> Result<(), AudioError> {
        if self.cancel.is_cancelled() {
            return Err(AudioError::Cancelled);
        }
        result.map_err(|reason| {
            self.keep(Err(reason));
            AudioError::Cancelled
        })
    }
}

impl BlockSink for Splitter {
    fn push(&mut self, block: &AudioBlock) -> Result<(), AudioError> {
        let result = self.take(block);
        self.or_stop(result)
    }

    fn finish(&mut self) -> Result<(), AudioError> {
        let result = self.end();
        self.or_stop(result)
    }
}

/// Where the halves go.
struct Output {
    folder: PathBuf,
    vocals: PathBuf,
    background: PathBuf,
}

impl Output {
    fn of(file: &Path, folder: &Path) -> Result<Self, String> {
        let stem = file.file_stem().ok_or_else(|| format!("{} names no file", file.display()))?;
        let named = |half: &str| {
            let mut name = stem.to_os_string();
            name.push(half);
            folder.join(name)
        };
        Ok(Self {
            folder: folder.to_owned(),
            vocals: named(".vocals.wav"),
            background: named(".background.wav"),
        })
    }

    fn open(&self, channels: u16, rate: u32) -> Result<Files, String> {
        let open = |target: &Path| {
            Half::open(&self.folder, target, channels, rate)
                .map_err(|error| format!("{} cannot be written: {error}", target.display()))
        };
        Ok(Files { vocals: open(&self.vocals)?, background: open(&self.background)?, frames: 0 })
    }
}

/// Both halves on disk, under names of their own until they are whole.
struct Files {
    vocals: Half,
    background: Half,
    frames: u64,
}

impl Files {
    fn write(&mut self, voice: &[Vec<f32>], background: &[Vec<f32>]) -> Result<(), SeparationError> {
        self.vocals.write(voice)?;
        self.background.write(background)?;
        self.frames += voice.first().map_or(0, Vec::len) as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Self, String> {
        for half in [&mut self.vocals, &mut self.background] {
            half.finish().map_err(|error| format!("{} cannot be written: {error}", half.target.display()))?;
        }
        Ok(self)
    }

    /// Gives both files their names, and a line for each.
    fn publish(self) -> Result<String, String> {
        let mut lines = String::new();
        for half in [self.vocals, self.background] {
            let target = half.target;
            half.path
                .persist(&target)
                .map_err(|error| format!("{} cannot be written: {}", target.display(), error.error))?;
            lines.push_str(&format!("{}\n", target.display()));
        }
        Ok(lines)
    }
}

/// One of both files; gone when it is dropped unpublished.
struct Half {
    target: PathBuf,
    writer: Option<WavWriter<BufWriter<File>>>,
    path: TempPath,
}

impl Half {
    fn open(folder: &Path, target: &Path, channels: u16, rate: u32) -> std::io::Result<Self> {
        let (file, path) = hidden_file(folder)?.into_parts();
        let writer = Some(WavWriter::new(BufWriter::new(file), channels, rate)?);
        Ok(Self { target: target.to_owned(), writer, path })
    }

    fn write(&mut self, samples: &[Vec<f32>]) -> Result<(), SeparationError> {
        match &mut self.writer {
            Some(writer) => writer.write(samples).map_err(|error| {
                SeparationError::Output(format!("{} cannot be written: {error}", self.target.display()))
            }),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> std::io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.finish()?.into_inner().map(drop).map_err(|error| error.into_error())
    }
}

/// A file that its owner may read and others too, as the umask has it, unlike other temporary files.
fn hidden_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".diarist-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// How far it is, for people.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    fn new(name: &str, quiet: bool) -> Self {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {percent}% {eta} left")
            .expect("a fixed template");
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let bar = bar.with_style(style).with_prefix(name.to_owned()).with_message("reading");
        Self { bar, started: Instant::now() }
    }

    fn show(&self, seconds: f64, total: Option<f64>) {
        if let Some(total) = total {
            self.bar.set_length(total as u64);
        }
        self.bar.set_position(seconds as u64);
        self.bar.set_message(format!("{seconds:.0} s, {:.1}x", self.speed(seconds)));
    }

    fn speed(&self, seconds: f64) -> f64 {
        seconds / self.started.elapsed().as_secs_f64().max(1e-3)
    }

    fn report(&self, seconds: f64, args: &SeparateArgs) {
        if self.bar.is_hidden() {
            return;
        }
        let (spent, speed) = (self.started.elapsed().as_secs_f64(), self.speed(seconds));
        eprintln!("{}: {seconds:.1} s in {spent:.1} s ({speed:.1}x real time)", args.file.display());
    }
}
