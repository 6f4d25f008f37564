//! The command line. Parses flags, loads the settings, calls the rooms; decides nothing else.

mod bench;
mod doctor;
mod interrupt;
mod models;
mod separate;
mod serve;
mod speakers;
mod transcribe;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, LogFormat, Settings, Sources};
use crate::telemetry::{self, LogOptions};

/// Speech to text on your own machine, behind OpenAI's API.
#[derive(Parser)]
#[command(name = "diarist", version, propagate_version = true)]
#[command(after_help = "Settings: built-in default < file < environment (DIARIST_…) < flags.\n\
                        `diarist settings` prints every setting with its default, unit and meaning.")]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API over HTTP
    Serve(serve::ServeArgs),
    /// Transcribe files with the same pipeline, without a server
    Transcribe(transcribe::TranscribeArgs),
    /// Split a recording into voices and what plays under them
    Separate(separate::SeparateArgs),
    /// List, pull and verify models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Measure how good results are, on recordings whose truth is known
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check devices, models, decoders, and run a tiny transcription
    Doctor,
    /// Print every setting with its default, unit and meaning, as a settings file
    Settings,
}

/// Settings that every command understands.
#[derive(Args)]
struct SettingsArgs {
    /// Settings file (TOML) [default: ./diarist.toml if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "DIARIST_CONFIG")]
    config: Option<PathBuf>,
    /// Any setting, as in `--set beam_size=1`; may be repeated
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Folder of pulled models [default: ~/.local/share/diarist/models]
    #[arg(long, global = true, value_name = "DIR")]
    models_dir: Option<String>,
    /// Model that OpenAI's names stand for [default: diarist-micro-en]
    #[arg(long, global = true, value_name = "NAME")]
    default_model: Option<String>,
    /// auto, cpu, cuda, vulkan or metal [default: auto]
    #[arg(long, global = true, value_name = "DEVICE")]
    device: Option<String>,
    /// Chunks decoded at once per model [default: as measured, or by the cores]
    #[arg(long, global = true, value_name = "N")]
    workers: Option<String>,
    /// Engine threads per worker [default: as measured, or by the cores]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<String>,
    /// Folder of temporary files [default: the system's]
    #[arg(long, global = true, value_name = "DIR")]
    temp_dir: Option<String>,
    /// Never reach for the network
    #[arg(long, global = true)]
    offline: bool,
    /// error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl SettingsArgs {
    /// The flags that were given, as (setting, value).
    fn flags(&self) -> Result<Vec<(String, String)>, String> {
        let named = [
            ("models_dir", &self.models_dir),
            ("default_model", &self.default_model),
            ("device", &self.device),
            ("workers", &self.workers),
            ("threads", &self.threads),
            ("temp_dir", &self.temp_dir),
            ("log_level", &self.log_level),
        ];
        let mut flags: Vec<(String, String)> =
            named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        if self.offline {
            flags.push(("offline".into(), "true".into()));
        }
        for pair in &self.set {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| format!("--set {pair}: expected is NAME=VALUE"))?;
            flags.push((key.trim().to_owned(), value.to_owned()));
        }
        Ok(flags)
    }

    fn load(&self, more: Vec<(String, String)>) -> Result<Settings, String> {
        let mut flags = self.flags()?;
        flags.extend(more);
        let local = PathBuf::from("diarist.toml");
        let file = self.config.clone().or_else(|| local.is_file().then_some(local));
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Settings::load(&Sources { file, environment, flags }).map_err(|error: ConfigError| error.to_string())
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    crate::runtime::memory::return_large_buffers();
    crate::runtime::limits::soften();
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Settings => print(crate::config::DEFAULTS).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => load(&cli, args.flags()).and_then(serve::run),
        Command::Transcribe(args) => {
            load(&cli, Vec::new()).and_then(|settings| transcribe::run(settings, args))
        }
        Command::Separate(args) => load(&cli, Vec::new()).and_then(|settings| separate::run(settings, args)),
        Command::Models(command) => {
            load(&cli, Vec::new()).and_then(|settings| models::run(&settings, command))
        }
        Command::Bench(command) => load(&cli, Vec::new()).and_then(|settings| bench::run(&settings, command)),
        Command::Doctor => load(&cli, Vec::new()).and_then(doctor::run),
    };
    let code = result.unwrap_or_else(|message| {
        eprintln!("diarist: {message}");
        ExitCode::from(2)
    });
    telemetry::stop();
    code
}

/// Writes to standard output; unlike `print!`, a full disk or a closed pipe is an error.
fn print(text: &str) -> Result<(), String> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// Lets `write` write a result to standard output.
fn print_with(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), String> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output does not take the result: {error}"))
}

/// Settings with logs started; commands other than `serve` are quiet unless asked.
fn load(cli: &Cli, more: Vec<(String, String)>) -> Result<Settings, String> {
    let settings = cli.settings.load(more)?;
    let quiet = !matches!(cli.command, Command::Serve(_)) && settings.log_level == "info";
    telemetry::start(&LogOptions {
        filter: if quiet { telemetry::QUIET.to_owned() } else { settings.log_level.clone() },
        json: settings.log_format == LogFormat::Json,
    })
    .map_err(|error| format!("log_level (DIARIST_LOG_LEVEL) is `{}`: {error}", settings.log_level))?;
    Ok(settings)
}
