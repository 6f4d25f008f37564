//! The catalogue: what is known of every model, and which of them are on this machine.

use std::path::PathBuf;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Whisper in GGML form.
    Speech,
    /// Silero in ONNX form.
    VoiceActivity,
}

/// One model, known or found.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Name in the API and on the command line.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// Where it lies on this machine; `None` if it does not.
    pub path: Option<PathBuf>,
    /// Size in bytes, if known.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, if known.
    pub sha256: Option<String>,
    /// Unix time the model was published or its file was written.
    pub created: u64,
    /// Who made it.
    pub owned_by: String,
    /// SPDX expression of its licence, if known.
    pub licence: Option<String>,
    /// How long chunks grow before they are closed at the next pause, in ms; `None` for the default.
    pub chunk_target_ms: Option<u64>,
    /// One sentence for `diarist models list`.
    pub description: String,
}

/// Where models are looked for.
#[derive(Clone, Debug)]
pub struct ModelsOptions {
    /// Folder of pulled models (`DIARIST_MODELS_DIR`).
    pub dir: PathBuf,
    /// Folder of the models that come with the program.
    pub bundled_dir: PathBuf,
    /// What OpenAI's model names stand for (`DIARIST_DEFAULT_MODEL`).
    pub default_model: String,
    /// Never reach for the network (`DIARIST_OFFLINE`).
    pub offline: bool,
    /// Base address of the hub (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// Token for the hub (`HF_TOKEN`), if any.
    pub hub_token: Option<String>,
    /// Most memory that loaded speech models may take, in bytes; 0 is no limit.
    pub memory_budget_bytes: u64,
    /// A model unused for this long is unloaded, in seconds; 0 never.
    pub idle_unload_s: u64,
}

/// All models known to this machine.
pub struct Catalogue {}

impl Catalogue {
    /// Reads the embedded `catalogue.toml` and looks at the folders.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn open(_options: &ModelsOptions) -> Result<Self, super::ModelError> {
        unimplemented!()
    }

    /// Installed speech models by id, then the aliases as entries of their own (what `GET /v1/models` lists):
    /// everything listed can be used.
    pub fn usable(&self) -> Vec<ModelSpec> {
        unimplemented!()
    }

    /// Every known model, installed or not.
    pub fn all(&self) -> Vec<ModelSpec> {
        unimplemented!()
    }

    /// The installed speech model that `name` (id or alias) stands for.
    ///
    /// # Errors
    /// `Unknown`, `NotInstalled`, or `Unusable` for a model of another role.
    pub fn resolve(&self, _name: &str) -> Result<ModelSpec, super::ModelError> {
        unimplemented!()
    }
}
