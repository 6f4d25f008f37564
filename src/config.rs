//! Settings: built-in default < file < environment < flags, validated once.
//!
//! `config/default.toml` is the one list of settings with default, unit and meaning; it is embedded. Rooms
//! receive their own options, never `Settings`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::api::tls::TlsFiles;
use crate::asr::DecodingOptions;
use crate::asr::whisper::EncoderEngine;
use crate::asr::whisper::MAX_DECODERS;
use crate::audio::AudioOptions;
use crate::diarization::{DiarizationOptions, STEPS_MS};
use crate::models::catalogue::ModelsOptions;
use crate::pipeline::{PipelineOptions, ReviewChecks, SeparationMode};
use crate::runtime::device::Device;
use crate::scratch::{Scratch, ScratchOptions};
use crate::time::ms_to_samples;
use crate::vad::{ChunkOptions, VadOptions};

/// Every setting with its default, as a commented TOML file.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Prefix of the environment variables.
const PREFIX: &str = "DIARIST_";

/// Beginnings of environment variables with the prefix that are not settings: where the settings file lies, and
/// what Kubernetes sets for a service called `diarist`.
const NOT_SETTINGS: [&str; 3] = ["DIARIST_CONFIG", "DIARIST_SERVICE_", "DIARIST_PORT"];

/// Settings whose values are repeated in no message.
const SECRETS: [&str; 2] = ["api_keys", "metrics_key"];

/// Allowed ranges of the settings that are whole numbers.
const WHOLE_NUMBERS: [(&str, i64, i64); 23] = [
    ("max_upload_bytes", 1, 1 << 53),
    ("max_running", 1, 1024),
    ("max_waiting", 0, 100_000),
    ("max_per_client", 0, 100_000),
    ("max_connections", 1, 100_000),
    ("body_timeout_s", 1, 3600),
    ("upload_timeout_s", 1, 604_800),
    ("send_timeout_s", 1, 3600),
    ("shutdown_timeout_s", 0, 86_400),
    ("temp_min_free_bytes", 0, 1 << 53),
    ("temp_max_bytes", 0, 1 << 53),
    ("max_duration_s", 1, 31_536_000),
    ("memory_budget_bytes", 0, 1 << 53),
    ("idle_unload_s", 0, 31_536_000),
    ("workers", 0, 64),
    ("threads", 0, 64),
    ("beam_size", 1, MAX_DECODERS as i64),
    ("best_of", 1, MAX_DECODERS as i64),
    ("vad_silence_ms", 0, 10_000),
    ("vad_padding_ms", 0, 10_000),
    ("vad_max_pause_ms", 0, 10_000),
    ("chunk_max_ms", 1_000, 30_000),
    ("diarization_step_ms", *STEPS_MS.start() as i64, *STEPS_MS.end() as i64),
];

/// Every setting, as `config/default.toml` names and explains them.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml documents each")]
pub struct Settings {
    pub listen: String,
    pub api_keys: Vec<String>,
    pub max_upload_bytes: u64,
    pub max_running: usize,
    pub max_waiting: usize,
    pub max_per_client: usize,
    pub max_connections: usize,
    pub body_timeout_s: u64,
    pub upload_timeout_s: u64,
    pub send_timeout_s: u64,
    pub shutdown_timeout_s: u64,
    pub cors_origins: Vec<String>,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub temp_dir: PathBuf,
    pub temp_min_free_bytes: u64,
    pub temp_max_bytes: u64,
    pub max_duration_s: u64,
    pub ffmpeg: String,
    pub models_dir: PathBuf,
    pub bundled_models_dir: PathBuf,
    pub default_model: String,
    pub preload: Vec<String>,
    pub offline: bool,
    pub memory_budget_bytes: u64,
    pub idle_unload_s: u64,
    pub device: String,
    pub workers: usize,
    pub threads: usize,
    pub encoder: String,
    pub onnxruntime: PathBuf,
    pub beam_size: u8,
    pub best_of: u8,
    pub temperature_increment: f32,
    pub vad_threshold: f32,
    pub vad_silence_ms: u64,
    pub vad_padding_ms: u64,
    pub vad_max_pause_ms: u64,
    pub chunk_max_ms: u64,
    pub guard: bool,
    pub coverage: bool,
    pub diarization_model: String,
    pub diarization_step_ms: u64,
    pub separation: String,
    pub separation_model: String,
    pub log_level: String,
    pub log_format: LogFormat,
    pub metrics: bool,
    pub metrics_key: String,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// What is wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl ConfigError {
    fn one(message: String) -> Self {
        Self(vec![message])
    }
}

/// Where settings come from, beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Settings file; must exist when given.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Flags as (setting, value).
    pub flags: Vec<(String, String)>,
}

impl Settings {
    /// Reads all sources, later ones over earlier ones, and checks every value.
    ///
    /// # Errors
    /// Names each wrong setting, where it was set, and its allowed range.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut merged: Table = DEFAULTS.parse().expect("the built-in defaults are TOML");
        if let Some(path) = &sources.file {
            merge_file(&mut merged, path)?;
        }
        let mut wrong = Vec::new();
        for (name, text) in &sources.environment {
            let Some(key) = name
                .strip_prefix(PREFIX)
                .filter(|_| !NOT_SETTINGS.iter().any(|other| name.starts_with(other)))
            else {
                continue;
            };
            set(&mut merged, &key.to_lowercase(), text)
                .unwrap_or_else(|why| wrong.push(format!("{name} {why}")));
        }
        for (key, text) in &sources.flags {
            set(&mut merged, key, text)
                .unwrap_or_else(|why| wrong.push(format!("--{} {why}", key.replace('_', "-"))));
        }
        if !wrong.is_empty() {
            return Err(ConfigError(wrong));
        }
        // Before the conversion, which would speak of the fields' types and not of what is allowed.
        let mut checks = Checks::default();
        for (key, low, high) in WHOLE_NUMBERS {
            if let Some(value) = merged.get(key).and_then(Value::as_integer) {
                checks.range(key, value, low, high);
            }
        }
        match merged.try_into::<Self>() {
            Ok(settings) => {
                settings.check(&mut checks);
                checks.done().map(|()| settings)
            }
            Err(error) => {
                checks.done()?;
                Err(ConfigError::one(format!("settings: {}", one_line(&error))))
            }
        }
    }

    fn check(&self, checks: &mut Checks) {
        checks.range("temperature_increment", self.temperature_increment, 0.0, 1.0);
        checks.range("vad_threshold", self.vad_threshold, 0.0, 1.0);
        checks.that("listen", self.address().is_ok(), "is no ADDRESS:PORT");
        checks.that("device", self.device().is_ok(), "is none of auto, cpu, cuda, vulkan, metal");
        checks.that(
            "encoder",
            self.encoder.parse::<EncoderEngine>().is_ok(),
            "is none of auto, f32, int8, whisper.cpp",
        );
        checks.that(
            "separation",
            SeparationMode::parse(&self.separation).is_some(),
            "is none of off, auto, on",
        );
        checks.that(
            "cors_origins",
            self.cors_origins.iter().all(|origin| is_origin(origin)),
            "holds something other than \"*\" and origins such as https://example.org",
        );
        let (cert, key) = (&self.tls_cert, &self.tls_key);
        let both_or_none = cert.as_os_str().is_empty() == key.as_os_str().is_empty();
        checks.that("tls_cert", both_or_none, "and tls_key (DIARIST_TLS_KEY) must be set both, or none");
        checks.that("api_keys", self.api_keys.iter().all(|key| !key.trim().is_empty()), "holds an empty key");
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When the setting names no address.
    pub fn address(&self) -> Result<SocketAddr, ConfigError> {
        let found = self.listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        found.ok_or_else(|| ConfigError::one(format!("listen is `{}`, no ADDRESS:PORT", self.listen)))
    }

    /// Certificate and private key, if TLS is wanted.
    pub fn tls(&self) -> Option<TlsFiles> {
        let files = TlsFiles { cert: self.tls_cert.clone(), key: self.tls_key.clone() };
        (!files.cert.as_os_str().is_empty()).then_some(files)
    }

    /// What to compute on.
    ///
    /// # Errors
    /// When the setting names no device.
    pub fn device(&self) -> Result<Device, ConfigError> {
        self.device.parse().map_err(|_| ConfigError::one(format!("device is `{}`", self.device)))
    }

    /// What runs speech models' encoders; checked when the settings are read.
    pub fn encoder(&self) -> EncoderEngine {
        self.encoder.parse().unwrap_or_default()
    }

    /// When voices are separated from what plays under them; checked when the settings are read.
    pub fn separation_mode(&self) -> SeparationMode {
        SeparationMode::parse(&self.separation).unwrap_or_default()
    }

    /// Folder of temporary files.
    pub fn temp_dir(&self) -> PathBuf {
        if self.temp_dir.as_os_str().is_empty() { std::env::temp_dir() } else { self.temp_dir.clone() }
    }

    /// Options of the temporary files.
    pub fn scratch(&self) -> ScratchOptions {
        ScratchOptions {
            parent: self.temp_dir(),
            min_free_bytes: self.temp_min_free_bytes,
            max_bytes: self.temp_max_bytes,
        }
    }

    /// ONNX Runtime's library, if it is named.
    pub fn onnxruntime(&self) -> Option<&Path> {
        Some(self.onnxruntime.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Options of the pipeline's rooms. Temporary files lie in `temp_dir` itself, unless the wiring puts a folder of
    /// the process there.
    pub fn pipeline(&self) -> PipelineOptions {
        let threshold = self.vad_threshold;
        PipelineOptions {
            audio: AudioOptions {
                scratch: Scratch::within(&self.temp_dir()),
                max_duration_s: self.max_duration_s,
                ffmpeg: self.ffmpeg_program(),
            },
            vad: VadOptions {
                threshold,
                neg_threshold: (threshold - 0.15).max(0.01),
                min_silence_ms: self.vad_silence_ms,
                speech_pad_ms: self.vad_padding_ms,
                ..VadOptions::default()
            },
            chunks: ChunkOptions {
                max_ms: self.chunk_max_ms,
                target_ms: self.chunk_max_ms,
                max_pause_ms: self.vad_max_pause_ms,
                ..ChunkOptions::default()
            },
            decoding: DecodingOptions {
                beam_size: self.beam_size,
                best_of: self.best_of,
                temperature_increment: self.temperature_increment,
                ..DecodingOptions::default()
            },
            checks: ReviewChecks { guard: self.guard, coverage: self.coverage },
            diarization: DiarizationOptions {
                step: ms_to_samples(self.diarization_step_ms),
                ..DiarizationOptions::default()
            },
            separation: self.separation_mode(),
        }
    }

    /// Options of the models' room; the hub's address and token come from its own variables.
    pub fn models(&self) -> ModelsOptions {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        ModelsOptions {
            dir: or_else(&self.models_dir, default_models_dir),
            bundled_dir: or_else(&self.bundled_models_dir, find_bundled_models),
            default_model: self.default_model.clone(),
            offline: self.offline,
            hub_endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            hub_token: variable("HF_TOKEN"),
            memory_budget_bytes: self.memory_budget_bytes,
            idle_unload_s: self.idle_unload_s,
        }
    }

    /// The ffmpeg program to call, if any.
    pub fn ffmpeg_program(&self) -> Option<PathBuf> {
        match self.ffmpeg.as_str() {
            "off" => None,
            "" => std::env::split_paths(&std::env::var_os("PATH")?)
                .map(|folder| folder.join("ffmpeg"))
                .find(|program| program.is_file()),
            program => Some(program.into()),
        }
    }
}

/// Whether browsers send `origin` just so: scheme, host, and port unless it is the usual one.
fn is_origin(origin: &str) -> bool {
    origin == "*"
        || url::Url::parse(origin)
            .is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == origin)
}

fn or_else(path: &Path, default: impl FnOnce() -> PathBuf) -> PathBuf {
    if path.as_os_str().is_empty() { default() } else { path.to_owned() }
}

fn default_models_dir() -> PathBuf {
    let folder = |name, below: &str| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| PathBuf::from(value).join(below))
    };
    folder("XDG_DATA_HOME", "diarist/models")
        .or_else(|| folder("HOME", ".local/share/diarist/models"))
        .unwrap_or_else(|| "models".into())
}

/// The folder `models` with the catalogue's files, upwards from the program, else in the current folder.
fn find_bundled_models() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let candidates = program
        .ancestors()
        .skip(1)
        .flat_map(|folder| [folder.join("share/diarist/models"), folder.join("models")]);
    candidates
        .take(12)
        .find(|folder| folder.join("catalogue.toml").is_file())
        .unwrap_or_else(|| "models".into())
}

fn merge_file(merged: &mut Table, path: &Path) -> Result<(), ConfigError> {
    let named = |why: String| ConfigError::one(format!("the settings file {} {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    let file: Table = text.parse().map_err(|error| named(not_toml(&text, &error)))?;
    for (key, value) in file {
        match merged.get(&key) {
            None => return Err(named(format!("has an unknown setting `{key}`{}", suggestion(merged, &key)))),
            Some(default) if !same_kind(default, &value) => {
                let shown =
                    if SECRETS.contains(&key.as_str()) { String::new() } else { format!(" = {value}") };
                return Err(named(format!("has `{key}`{shown}, expected is {}", kind(default))));
            }
            Some(_) => drop(merged.insert(key, value)),
        }
    }
    Ok(())
}

/// What is wrong with a settings file and where, without the line itself: it may hold a key.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("is not TOML: line {}: {}", before.matches('\n').count() + 1, one_line(&error.message()))
}

/// Sets one value from text, read as the kind that the default has.
fn set(merged: &mut Table, key: &str, text: &str) -> Result<(), String> {
    let Some(default) = merged.get(key) else {
        return Err(format!("is no setting{}", suggestion(merged, key)));
    };
    let expected = || format!("is `{text}`, expected is {}", kind(default));
    let value = match default {
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| expected())?),
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| expected())?),
        Value::Boolean(_) => Value::Boolean(parse_bool(text).ok_or_else(expected)?),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    };
    merged.insert(key.to_owned(), value);
    Ok(())
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" | "" => Some(false),
        _ => None,
    }
}

fn same_kind(default: &Value, value: &Value) -> bool {
    default.same_type(value) || (default.is_float() && value.is_integer())
}

fn kind(default: &Value) -> &'static str {
    match default {
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        _ => "a text",
    }
}

/// `; did you mean …` for a near miss.
fn suggestion(merged: &Table, key: &str) -> String {
    let likeness = |known: &&String| (strsim::jaro_winkler(known, key) * 1e6) as u32;
    match merged.keys().max_by_key(likeness).filter(|known| likeness(known) > 800_000) {
        Some(known) => format!("; did you mean `{known}`?"),
        None => "; `diarist serve --help` says where they are listed".to_owned(),
    }
}

fn one_line(error: &impl fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Checks(Vec<String>);

impl Checks {
    fn range<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: T, low: T, high: T) {
        if !(low <= value && value <= high) {
            self.0.push(format!("{}: {value} is out of range, allowed are {low} to {high}", name(key)));
        }
    }

    fn that(&mut self, key: &str, right: bool, why: &str) {
        if !right {
            self.0.push(format!("{} {why}", name(key)));
        }
    }

    fn done(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError(self.0)) }
    }
}

fn name(key: &str) -> String {
    format!("{key} ({PREFIX}{})", key.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
        let owned =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let sources = Sources { file: None, environment: owned(environment), flags: owned(flags) };
        Settings::load(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = load(&[], &[]).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:8000");
        assert_eq!(settings.max_upload_bytes, 4 << 30);
        assert!(settings.api_keys.is_empty());
    }

    #[test]
    fn flags_override_the_environment_and_that_the_defaults() {
        let environment = [
            ("DIARIST_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
            ("DIARIST_LISTEN", "0.0.0.0:1"),
            ("DIARIST_API_KEYS", "123, abc"),
            ("PATH", "/bin"),
        ];
        let settings = load(&environment, &[("listen", "127.0.0.1:2")]).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:2");
        assert_eq!(settings.api_keys, ["123", "abc"]);
    }

    #[test]
    fn wrong_values_are_named_with_their_range() {
        let message = load(&[("DIARIST_MAX_RUNNING", "0")], &[]).err().unwrap();
        assert!(message.contains("DIARIST_MAX_RUNNING") && message.contains("1 to 1024"), "{message}");
        for (name, value, range) in
            [("MAX_UPLOAD_BYTES", "-1", "1 to 9007199254740992"), ("BEAM_SIZE", "300", "1 to 8")]
        {
            let message = load(&[(&format!("DIARIST_{name}"), value)], &[]).err().unwrap();
            assert!(message.contains(name) && message.contains(range), "{message}");
        }
        let message = load(&[("DIARIST_OFFLINE", "maybe")], &[]).err().unwrap();
        assert!(message.contains("DIARIST_OFFLINE") && message.contains("true or false"), "{message}");
        let message = load(&[("DIARIST_LISTN", "x")], &[]).err().unwrap();
        assert!(message.contains("DIARIST_LISTN") && message.contains("listen"), "{message}");
        let message = load(&[("DIARIST_VAD_THRESHOLD", "nan")], &[]).err().unwrap();
        assert!(message.contains("0 to 1"), "{message}");
    }

    #[test]
    fn origins_and_tls_files_that_cannot_work_are_named() {
        for origin in ["example.org", "https://example.org/", "https://", "null", "https://example.org:443"] {
            let message = load(&[("DIARIST_CORS_ORIGINS", origin)], &[]).err().unwrap();
            assert!(message.contains("DIARIST_CORS_ORIGINS"), "{origin}: {message}");
        }
        let good = "*, https://example.org, http://localhost:3000, http://[::1]:1";
        assert_eq!(load(&[("DIARIST_CORS_ORIGINS", good)], &[]).unwrap().cors_origins.len(), 4);

        let message = load(&[("DIARIST_TLS_CERT", "cert.pem")], &[]).err().unwrap();
        assert!(message.contains("DIARIST_TLS_KEY"), "{message}");
        let message = load(&[("DIARIST_TLS_KEY", "key.pem")], &[]).err().unwrap();
        assert!(message.contains("DIARIST_TLS_CERT"), "{message}");
        assert!(load(&[], &[]).unwrap().tls().is_none());
    }

    #[test]
    fn no_message_about_a_settings_file_repeats_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diarist.toml");
        for text in
            ["beam_size = 2\napi_keys = [\"sk-secret\"\n", "api_keys = \"sk-secret\"", "api_keys = [7]"]
        {
            std::fs::write(&path, text).unwrap();
            let sources = Sources { file: Some(path.clone()), ..Sources::default() };
            let message = Settings::load(&sources).err().unwrap().to_string();
            assert!(!message.contains("secret") && !message.contains('\n'), "{message}");
        }
        std::fs::write(&path, "a = 1\nb = = 2\n").unwrap();
        let sources = Sources { file: Some(path), ..Sources::default() };
        let message = Settings::load(&sources).err().unwrap().to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn a_file_sits_between_defaults_and_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("diarist.toml");
        std::fs::write(&path, "beam_size = 2\nbest_of = 3\nvad_threshold = 1\n").unwrap();
        let sources = Sources {
            file: Some(path.clone()),
            environment: vec![("DIARIST_BEST_OF".into(), "4".into())],
            flags: Vec::new(),
        };
        let settings = Settings::load(&sources).unwrap();
        assert_eq!((settings.beam_size, settings.best_of, settings.vad_threshold), (2, 4, 1.0));

        std::fs::write(&path, "beam_sizes = 2\n").unwrap();
        let message = Settings::load(&sources).err().unwrap().to_string();
        assert!(message.contains("beam_sizes") && message.contains("did you mean `beam_size`"), "{message}");
        std::fs::write(&path, "beam_size = \"two\"\n").unwrap();
        let message = Settings::load(&sources).err().unwrap().to_string();
        assert!(message.contains("a whole number"), "{message}");
    }
}
