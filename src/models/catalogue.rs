//! The catalogue: what is known of every model, and which of them are on this machine.
//!
//! `entries` holds what `catalogue.toml` says, `shelf` what lies in the folders; here the two meet. A name
//! from a request is only compared with known ids: it never becomes a path.

use std::fmt;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use super::ModelError;
use super::download::Order;
use super::entries::{EMBEDDED, Entries, Entry, HubFile, id_of_file, printable};
use super::shelf::{self, Found, Shelf};
use crate::asr::quantize::WeightType;
use crate::separation::parameters::Parameters;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Whisper in GGML form.
    Speech,
    /// Silero in ONNX form.
    VoiceActivity,
    /// Who of a few is active when: pyannote's segmentation in ONNX form.
    SpeakerSegmentation,
    /// What a voice sounds like: a speaker encoder in ONNX form.
    SpeakerEmbedding,
    /// How an encoder's voices are compared: tables in the safetensors format.
    SpeakerComparison,
    /// Voices out of music: MDX-Net or the first of Spleeter's networks, in ONNX form.
    VocalSeparation,
    /// A further network that one of those needs.
    VocalSeparationPart,
}

impl Role {
    /// Short lower-case name, as in `catalogue.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::VoiceActivity => "voice-activity",
            Self::SpeakerSegmentation => "speaker-segmentation",
            Self::SpeakerEmbedding => "speaker-embedding",
            Self::SpeakerComparison => "speaker-comparison",
            Self::VocalSeparation => "vocal-separation",
            Self::VocalSeparationPart => "vocal-separation-part",
        }
    }

    /// What such a model does, for messages.
    fn task(self) -> &'static str {
        match self {
            Self::Speech => "recognising speech",
            Self::VoiceActivity => "finding speech",
            Self::SpeakerSegmentation => "telling speakers apart",
            Self::SpeakerEmbedding => "describing voices",
            Self::SpeakerComparison => "comparing voices",
            Self::VocalSeparation | Self::VocalSeparationPart => "separating voices from music",
        }
    }
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
    /// Size in bytes, if known: of the file if it is here, else of the one to be had.
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
    /// Most that it is given at once, in ms; `None` for what is configured.
    pub chunk_max_ms: Option<u64>,
    /// Whether the encoder may hear just the chunk instead of 30 s; models not trained for it lose words.
    pub short_context: bool,
    /// How a model of role `VocalSeparation` works.
    pub separation: Option<Parameters>,
    /// Ids of the models without which it is no use.
    pub needs: Vec<String>,
    /// One sentence for `diarist models list`.
    pub description: String,
}

/// Where models are looked for.
#[derive(Clone)]
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

/// Shows whether there is a token, not the token.
impl fmt::Debug for ModelsOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ModelsOptions")
            .field("dir", &self.dir)
            .field("bundled_dir", &self.bundled_dir)
            .field("default_model", &self.default_model)
            .field("offline", &self.offline)
            .field("hub_endpoint", &self.hub_endpoint)
            .field("hub_token", &self.hub_token.as_ref().map(|_| "<secret>"))
            .field("memory_budget_bytes", &self.memory_budget_bytes)
            .field("idle_unload_s", &self.idle_unload_s)
            .finish()
    }
}

/// All models known to this machine.
pub struct Catalogue {
    entries: Entries,
    dir: PathBuf,
    bundled_dir: PathBuf,
    default_model: String,
    shelf: RwLock<Shelf>,
}

impl Catalogue {
    /// Reads the embedded `catalogue.toml` and looks at the folders. A folder that does not exist is empty.
    ///
    /// # Errors
    /// `Catalogue` when a folder cannot be read, or the default model is itself one of OpenAI's names.
    pub fn open(options: &ModelsOptions) -> Result<Self, ModelError> {
        let entries = Entries::parse(EMBEDDED)?;
        if entries.is_alias(&options.default_model) {
            return Err(ModelError::Catalogue(format!(
                "DIARIST_DEFAULT_MODEL is `{}`, a name that stands for the default model itself; \
                 give it the name of a model, `diarist models list` has them",
                options.default_model
            )));
        }
        let catalogue = Self {
            entries,
            dir: options.dir.clone(),
            bundled_dir: options.bundled_dir.clone(),
            default_model: options.default_model.clone(),
            shelf: RwLock::default(),
        };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    /// Looks at the folders again, so that models pulled or removed meanwhile are seen. Costs a directory
    /// listing and a few bytes of each file.
    ///
    /// # Errors
    /// `Catalogue` when a folder cannot be read; what was known before stays.
    pub fn refresh(&self) -> Result<(), ModelError> {
        let shelf = shelf::look(&self.entries, &[&self.dir, &self.bundled_dir])?;
        *self.shelf.write().unwrap_or_else(PoisonError::into_inner) = shelf;
        Ok(())
    }

    /// Id of what OpenAI's names stand for, as configured.
    pub fn default_model(&self) -> &str {
        &self.default_model
    }

    /// OpenAI's names.
    pub fn aliases(&self) -> &[String] {
        &self.entries.aliases
    }

    /// Installed speech models by id, then the aliases as entries of their own (what `GET /v1/models` lists):
    /// everything listed can be used. The folders are looked at anew.
    pub fn usable(&self) -> Vec<ModelSpec> {
        let mut usable = self.installed();
        if let Ok(default) = self.look_up(&self.default_model, Role::Speech) {
            let aliases =
                self.entries.aliases.iter().filter(|alias| !usable.iter().any(|spec| spec.id == **alias));
            let aliases = aliases.map(|alias| alias_of(&default, alias));
            usable.extend(aliases.collect::<Vec<_>>());
        }
        usable
    }

    /// Installed speech models by id, without those whose file is damaged. The folders are looked at anew.
    pub fn installed(&self) -> Vec<ModelSpec> {
        self.installed_as(Role::Speech)
    }

    /// As `installed`, for models of another role.
    pub fn installed_as(&self, role: Role) -> Vec<ModelSpec> {
        self.refresh_if_possible();
        let shelf = self.shelf();
        let sound = shelf.iter().filter(|(_, found)| found.fault.is_none());
        let specs = sound.map(|(id, found)| match self.entry(id) {
            Some(entry) => spec_of_entry(entry, Some(found)),
            None => self.spec_of_file(id, found),
        });
        specs.filter(|spec| spec.role == role).collect()
    }

    /// Every known model, installed or not: first those of `catalogue.toml` in its order, then the files that
    /// somebody put into the folders, by id. The folders are looked at anew.
    pub fn all(&self) -> Vec<ModelSpec> {
        self.refresh_if_possible();
        let shelf = self.shelf();
        let known = self.entries.models.iter().map(|entry| spec_of_entry(entry, shelf.get(&entry.id)));
        let others = shelf
            .iter()
            .filter(|(id, _)| self.entry(id).is_none())
            .map(|(id, found)| self.spec_of_file(id, found));
        known.chain(others).collect()
    }

    /// The installed speech model that `name` (id or alias) stands for. The folders are looked at anew when it
    /// is not there, or not in order.
    ///
    /// # Errors
    /// `Unknown`, `NotInstalled`, `NotBundled`, or `Unusable` for a damaged file and for a model of another role.
    pub fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError> {
        self.resolve_as(name, Role::Speech)
    }

    /// As `resolve`, for a model of another role.
    ///
    /// # Errors
    /// As `resolve`.
    pub fn resolve_as(&self, name: &str, role: Role) -> Result<ModelSpec, ModelError> {
        let is_there = |spec: &ModelSpec| spec.path.as_ref().is_some_and(|path| path.is_file());
        if let Some(spec) = self.look_up(name, role).ok().filter(is_there) {
            return Ok(spec);
        }
        self.refresh()?;
        self.look_up(name, role)
    }

    /// The installed model that finds speech.
    ///
    /// # Errors
    /// `NotBundled`, or `Unusable` when its file is damaged.
    pub fn voice_activity(&self) -> Result<ModelSpec, ModelError> {
        let entry = self.entries.models.iter().find(|entry| entry.role == Role::VoiceActivity);
        let entry = entry.ok_or_else(|| ModelError::unknown("silero-vad"))?;
        self.refresh()?;
        let spec = spec_of_entry(entry, self.shelf().get(&entry.id));
        self.if_installed(spec)
    }

    /// The model that `name` stands for, whatever its role, installed or not.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn find(&self, name: &str) -> Result<ModelSpec, ModelError> {
        self.refresh_if_possible();
        self.spec_named(name).ok_or_else(|| ModelError::unknown(name))
    }

    /// What is wrong with the file of model `id`, if it is here and cannot be used.
    pub fn fault(&self, id: &str) -> Option<String> {
        self.shelf().get(id).and_then(|found| found.fault.clone())
    }

    /// What must be fetched from where for `name`: an id, an alias, another spelling, or a file of the hub in
    /// full (`owner/repo/file.bin`, `owner/repo:file.bin`, `owner/repo@revision:file.bin`).
    ///
    /// # Errors
    /// `Unknown`, or `Download` for a model that comes with the program.
    pub fn order(&self, name: &str) -> Result<Order, ModelError> {
        let name = if self.entries.is_alias(name) { &self.default_model } else { name };
        let hub_file = HubFile::parse(name);
        let entry = self.entries.find(name).or_else(|| self.entry_at(hub_file.as_ref()?));
        match (entry, hub_file) {
            (Some(entry), _) => order_of_entry(entry),
            (None, Some(file)) => Ok(Order {
                id: file.local_id(),
                local_name: file.local_name(),
                repo: file.repo,
                revision: file.revision,
                file: file.file,
                size: None,
                sha256: None,
            }),
            (None, None) => Err(ModelError::unknown(name)),
        }
    }

    fn shelf(&self) -> std::sync::RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh_if_possible(&self) {
        if let Err(error) = self.refresh() {
            tracing::warn!(%error, "the models are listed as they were before");
        }
    }

    fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.models.iter().find(|entry| entry.id == id)
    }

    /// The entry that lies at this place of the hub.
    fn entry_at(&self, file: &HubFile) -> Option<&Entry> {
        self.entries.models.iter().find(|entry| {
            let is_pinned_elsewhere =
                file.revision != "main" && Some(&file.revision) != entry.revision.as_ref();
            entry.repo.as_ref() == Some(&file.repo) && entry.remote() == file.file && !is_pinned_elsewhere
        })
    }

    fn look_up(&self, name: &str, role: Role) -> Result<ModelSpec, ModelError> {
        let spec = self.spec_named(name).ok_or_else(|| ModelError::unknown(name))?;
        if spec.role != role {
            let reason = format!("it is for {}, not for {}", spec.role.name(), role.task());
            return Err(ModelError::Unusable { id: spec.id, reason });
        }
        self.if_installed(spec)
    }

    /// The model if it is here and sound.
    fn if_installed(&self, spec: ModelSpec) -> Result<ModelSpec, ModelError> {
        match (&spec.path, self.fault(&spec.id)) {
            (_, Some(reason)) => Err(ModelError::Unusable { id: spec.id, reason }),
            (None, None) => Err(self.missing(spec.id)),
            (Some(_), None) => Ok(spec),
        }
    }

    /// How to say that the file of model `id` is not here.
    pub fn missing(&self, id: String) -> ModelError {
        match self.entry(&id) {
            Some(entry) if entry.repo.is_none() => ModelError::NotBundled { id },
            _ => ModelError::NotInstalled { id },
        }
    }

    /// What `name` stands for: a model here or in the catalogue, then the default behind one of OpenAI's
    /// names, then other spellings.
    fn spec_named(&self, name: &str) -> Option<ModelSpec> {
        let exact = self.spec_with_id(name);
        let by_alias =
            || self.entries.is_alias(name).then(|| self.spec_spelled(&self.default_model)).flatten();
        exact.or_else(by_alias).or_else(|| self.spec_spelled(name))
    }

    fn spec_spelled(&self, name: &str) -> Option<ModelSpec> {
        let by_entry = self.entries.find(name).and_then(|entry| self.spec_with_id(&entry.id));
        let by_file = || self.spec_with_id(id_of_file(name));
        let by_hub = || {
            let file = HubFile::parse(name)?;
            let id = self.entry_at(&file).map_or_else(|| file.local_id(), |entry| entry.id.clone());
            self.spec_with_id(&id)
        };
        by_entry.or_else(by_file).or_else(by_hub)
    }

    fn spec_with_id(&self, id: &str) -> Option<ModelSpec> {
        let shelf = self.shelf();
        match (self.entry(id), shelf.get(id)) {
            (Some(entry), found) => Some(spec_of_entry(entry, found)),
            (None, Some(found)) => Some(self.spec_of_file(id, found)),
            (None, None) => None,
        }
    }

    /// A file that is in no catalogue. One that was quantised from a model of the catalogue hears as that does.
    fn spec_of_file(&self, id: &str, found: &Found) -> ModelSpec {
        let origin = origin_of(id).and_then(|(origin, weights)| Some((self.entry(origin)?, weights)));
        match origin {
            Some((entry, weights)) => ModelSpec {
                id: id.to_owned(),
                sha256: None,
                created: found.modified,
                description: format!("`{}` with {weights} weights, made on this machine", entry.id),
                ..spec_of_entry(entry, Some(found))
            },
            None => spec_of_file(id, found),
        }
    }
}

/// `base` and `q5_0` of `base-q5_0`; `None` if no type of weights is named at the end.
pub(super) fn origin_of(id: &str) -> Option<(&str, &'static str)> {
    let (origin, weights) = id.rsplit_once('-')?;
    Some((origin, WeightType::ALL.map(WeightType::name).into_iter().find(|name| *name == weights)?))
}

fn spec_of_entry(entry: &Entry, found: Option<&Found>) -> ModelSpec {
    ModelSpec {
        id: entry.id.clone(),
        role: entry.role,
        path: found.map(|found| found.path.clone()),
        size: found.map(|found| found.size).or(entry.size),
        sha256: entry.sha256.clone(),
        created: entry.created.or(found.map(|found| found.modified)).unwrap_or(0),
        owned_by: entry.owned_by.clone(),
        licence: entry.licence.clone(),
        chunk_target_ms: entry.chunk_target_ms,
        chunk_max_ms: entry.chunk_max_ms,
        short_context: entry.short_context,
        separation: entry.separation.clone(),
        needs: entry.needs.clone(),
        description: entry.description.clone(),
    }
}

/// A file of which nothing is known.
fn spec_of_file(id: &str, found: &Found) -> ModelSpec {
    ModelSpec {
        id: id.to_owned(),
        role: Role::Speech,
        path: Some(found.path.clone()),
        size: Some(found.size),
        sha256: None,
        created: found.modified,
        owned_by: "user".to_owned(),
        licence: None,
        chunk_target_ms: None,
        chunk_max_ms: None,
        short_context: false,
        separation: None,
        needs: Vec::new(),
        description: "A Whisper model found in the folder of models".to_owned(),
    }
}

/// The default model under another name.
fn alias_of(default: &ModelSpec, alias: &str) -> ModelSpec {
    ModelSpec {
        id: alias.to_owned(),
        description: format!("Another name of `{}`, the default model", printable(&default.id)),
        ..default.clone()
    }
}

fn order_of_entry(entry: &Entry) -> Result<Order, ModelError> {
    let (Some(repo), Some(revision)) = (&entry.repo, &entry.revision) else {
        let reason = "it comes with Diarist and is not fetched; install Diarist again if its file is missing";
        return Err(ModelError::Download { id: entry.id.clone(), reason: reason.to_owned() });
    };
    Ok(Order {
        id: entry.id.clone(),
        local_name: entry.file.clone(),
        repo: repo.clone(),
        revision: revision.clone(),
        file: entry.remote().to_owned(),
        size: entry.size,
        sha256: entry.sha256.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::shelf::write_fake_model;
    use std::fs;

    struct Room {
        folder: tempfile::TempDir,
        options: ModelsOptions,
    }

    /// A bundled model, and an empty folder for others.
    fn room() -> Room {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bundled_dir = folder.path().join("bundled");
        let dir = folder.path().join("models");
        fs::create_dir(&bundled_dir).expect("a folder");
        fs::create_dir(&dir).expect("a folder");
        write_fake_model(&bundled_dir.join("diarist-micro-en-q8_0.bin"), 10_529_376);
        let options = ModelsOptions {
            dir,
            bundled_dir,
            default_model: "diarist-micro-en".into(),
            offline: true,
            hub_endpoint: "http://127.0.0.1:9".into(),
            hub_token: Some("hf_secret".into()),
            memory_budget_bytes: 0,
            idle_unload_s: 0,
        };
        Room { folder, options }
    }

    fn ids(specs: &[ModelSpec]) -> Vec<&str> {
        specs.iter().map(|spec| spec.id.as_str()).collect()
    }

    #[test]
    fn the_bundled_model_and_all_of_openais_names_can_be_used() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let usable = catalogue.usable();
        assert_eq!(
            ids(&usable),
            [
                "diarist-micro-en",
                "whisper-1",
                "gpt-transcribe",
                "gpt-4o-transcribe",
                "gpt-4o-mini-transcribe",
                "gpt-4o-mini-transcribe-2025-12-15",
                "gpt-4o-transcribe-diarize",
            ]
        );
        for spec in usable {
            let resolved = catalogue.resolve(&spec.id).expect("what is listed can be used");
            assert_eq!(resolved.id, "diarist-micro-en");
            assert_eq!(resolved.chunk_target_ms, Some(0));
            assert!(spec.created > 0 && !spec.owned_by.is_empty());
        }
    }

    #[test]
    fn a_model_quantised_from_one_of_the_catalogue_hears_as_that_does() {
        let room = room();
        write_fake_model(&room.options.dir.join("ggml-diarist-micro-en-q5_0.bin"), 7_000_000);
        write_fake_model(&room.options.dir.join("ggml-mine-q5_0.bin"), 7_000_000);
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let made = catalogue.resolve("diarist-micro-en-q5_0").expect("installed");
        assert_eq!((made.chunk_target_ms, made.short_context, made.size), (Some(0), true, Some(7_000_000)));
        assert_eq!(made.chunk_max_ms, Some(10_000));
        assert!(made.sha256.is_none() && made.description.contains("q5_0 weights"), "{made:?}");
        let mine = catalogue.resolve("mine-q5_0").expect("installed");
        assert_eq!((mine.chunk_target_ms, mine.owned_by.as_str()), (None, "user"));
    }

    #[test]
    fn names_of_openai_stand_for_the_configured_default() {
        let mut room = room();
        room.options.default_model = "whisper-tiny".into();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        assert!(
            matches!(catalogue.resolve("whisper-1"), Err(ModelError::NotInstalled { id }) if id == "tiny")
        );
        assert_eq!(
            ids(&catalogue.usable()),
            ["diarist-micro-en"],
            "aliases of a missing model are not listed"
        );
        write_fake_model(&room.options.dir.join("ggml-tiny.bin"), 77_691_713);
        assert_eq!(catalogue.resolve("whisper-1").expect("pulled meanwhile").id, "tiny");
        assert_eq!(catalogue.usable().len(), 2 + 6);
    }

    #[test]
    fn a_default_that_names_itself_is_refused() {
        let mut room = room();
        room.options.default_model = "whisper-1".into();
        let error = Catalogue::open(&room.options).err().expect("an error").to_string();
        assert!(error.contains("DIARIST_DEFAULT_MODEL is `whisper-1`"), "{error}");
    }

    #[test]
    fn a_model_that_is_not_here_says_how_to_get_it() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        for name in ["large-v3-turbo", "turbo", "openai/whisper-large-v3-turbo", "ggml-large-v3-turbo.bin"] {
            let error = catalogue.resolve(name).expect_err("not here");
            assert!(error.to_string().contains("`diarist models pull large-v3-turbo`"), "{error}");
        }
        assert!(matches!(catalogue.resolve("silero-vad"), Err(ModelError::Unusable { .. })));
        assert!(matches!(catalogue.resolve("no-such"), Err(ModelError::Unknown { .. })));
    }

    #[test]
    fn a_file_dropped_into_the_folder_is_found_and_forgotten_when_it_goes() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let file = room.options.dir.join("ggml-my.tuned.bin");
        write_fake_model(&file, 1000);
        fs::write(room.options.dir.join("notes.bin"), vec![7; 100]).expect("a file");
        for name in ["my.tuned", "ggml-my.tuned", "ggml-my.tuned.bin", "my.tuned.bin"] {
            let spec = catalogue.resolve(name).expect("found");
            assert_eq!(
                (spec.id.as_str(), spec.size, spec.path.as_deref()),
                ("my.tuned", Some(1000), Some(&*file))
            );
        }
        assert!(ids(&catalogue.usable()).contains(&"my.tuned"));
        assert!(matches!(catalogue.resolve("notes"), Err(ModelError::Unknown { .. })));
        fs::remove_file(&file).expect("removed");
        assert!(matches!(catalogue.resolve("my.tuned"), Err(ModelError::Unknown { .. })));
    }

    #[test]
    fn a_file_of_the_hub_is_resolved_by_the_name_it_was_pulled_by() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let order = catalogue.order("some-one/whisper-x:ggml-model").expect("an order");
        write_fake_model(&room.options.dir.join(&order.local_name), 1000);
        for name in ["some-one/whisper-x:ggml-model", "some-one/whisper-x/ggml-model.bin", &order.id] {
            assert_eq!(catalogue.resolve(name).expect("found").id, order.id);
        }
    }

    #[test]
    fn a_catalogued_file_named_in_full_is_verified_as_the_catalogue_says() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let order = catalogue.order("ggerganov/whisper.cpp/ggml-tiny.bin").expect("an order");
        assert_eq!(order, catalogue.order("tiny").expect("an order"));
        assert!(order.sha256.is_some());
        let other = catalogue.order("ggerganov/whisper.cpp@abc/ggml-tiny.bin").expect("an order");
        assert_eq!((other.sha256, other.revision.as_str()), (None, "abc"));
    }

    #[test]
    fn a_file_may_have_another_name_on_the_hub() {
        let room = room();
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let order = catalogue.order("spleeter-2stems").expect("an order");
        assert_eq!((&*order.local_name, &*order.file), ("spleeter-2stems-vocals.onnx", "vocals.onnx"));
        let spec = catalogue.find("spleeter-2stems").expect("known");
        assert_eq!(spec.needs, ["spleeter-2stems-accompaniment"]);
        let part = catalogue.order(&spec.needs[0]).expect("an order");
        assert_eq!((&part.repo, &*part.file), (&order.repo, "accompaniment.onnx"));
        assert!(matches!(spec.separation, Some(Parameters::Spleeter(_))));
    }

    #[test]
    fn a_cut_off_file_is_not_listed_and_says_how_to_mend_it() {
        let room = room();
        write_fake_model(&room.options.dir.join("ggml-base.bin"), 5000);
        fs::write(room.options.dir.join("ggml-base-q5_1.bin"), vec![b'<'; 100]).expect("a file");
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        assert!(!ids(&catalogue.usable()).contains(&"base"));
        let error = catalogue.resolve("base").expect_err("damaged").to_string();
        assert!(error.contains("5000 bytes instead of 147951465; `diarist models pull base`"), "{error}");
        let error = catalogue.resolve("base-q5_1").expect_err("no model").to_string();
        assert!(error.contains("not a Whisper model"), "{error}");
    }

    #[test]
    fn a_damaged_file_does_not_hide_the_sound_one_that_comes_with_the_program() {
        let room = room();
        write_fake_model(&room.options.dir.join("diarist-micro-en-q8_0.bin"), 5000);
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let path = catalogue.resolve("diarist-micro-en").expect("sound").path;
        assert_eq!(path, Some(room.options.bundled_dir.join("diarist-micro-en-q8_0.bin")));
    }

    #[test]
    fn names_that_are_paths_find_nothing() {
        let room = room();
        write_fake_model(&room.folder.path().join("secret.bin"), 1000);
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let absolute = room.folder.path().join("secret.bin").display().to_string();
        let long = "x/".repeat(100_000);
        for name in [
            "../secret",
            "../secret.bin",
            "..",
            ".",
            "",
            "/",
            "a\0b",
            "../bundled/diarist-micro-en-q8_0",
            &absolute,
            &long,
        ] {
            let error = catalogue.resolve(name).expect_err("no such model");
            assert!(matches!(error, ModelError::Unknown { .. }));
            let message = error.to_string();
            assert!(message.len() < 500 && !message.contains('\0'), "{message:?}");
        }
    }

    #[test]
    fn everything_is_listed_once_with_what_is_known_of_it() {
        let room = room();
        write_fake_model(&room.options.dir.join("own.bin"), 1000);
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        let all = catalogue.all();
        let mut names = ids(&all);
        assert_eq!(names.first(), Some(&"diarist-micro-en"));
        assert_eq!(names.last(), Some(&"own"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(
            all.iter()
                .filter(|spec| spec.path.is_some())
                .map(|spec| &spec.id)
                .eq(["diarist-micro-en", "own"])
        );
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?}", room().options).contains("hf_secret"));
    }

    #[test]
    fn folders_that_do_not_exist_are_empty() {
        let mut room = room();
        room.options.dir = room.folder.path().join("nowhere");
        let catalogue = Catalogue::open(&room.options).expect("a catalogue");
        assert!(catalogue.resolve("diarist-micro-en").is_ok());
    }
}
