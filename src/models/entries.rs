//! What is known of models without looking at the disk: `catalogue.toml` and the names people use.
//!
//! Pure: text in, entries and names out. A name from outside is only ever compared with names known
//! here; no path is made of it.

use super::ModelError;
use super::catalogue::Role;
use crate::separation::parameters::Parameters;

/// The catalogue that comes with the program.
pub const EMBEDDED: &str = include_str!("../../models/catalogue.toml");

/// Longest name of a model that is looked at, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Prefixes under which other servers and tools know the same weights.
const FOREIGN_PREFIXES: [&str; 4] = ["ggml-", "whisper-", "openai/whisper-", "Systran/faster-whisper-"];

/// One `[[model]]` of `catalogue.toml`, where every field is explained.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name in the API and on the command line.
    pub id: String,
    /// Other names it is known by elsewhere.
    #[serde(default)]
    pub also: Vec<String>,
    /// What it is for.
    pub role: Role,
    /// File name in the folder of models.
    pub file: String,
    /// `owner/name` on the hub; `None` if it comes with the program.
    pub repo: Option<String>,
    /// Commit or branch on the hub.
    pub revision: Option<String>,
    /// Path in the repository where it is not `file`.
    pub remote: Option<String>,
    /// Ids of the models without which it is no use; they are pulled with it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// SHA-1 in lower-case hexadecimal, for comparison by hand.
    pub sha1: Option<String>,
    /// SPDX expression.
    pub licence: Option<String>,
    /// Unix time of publication.
    pub created: Option<u64>,
    /// Who made it.
    pub owned_by: String,
    /// How long chunks grow before they are closed at the next pause, in ms.
    pub chunk_target_ms: Option<u64>,
    /// Most that it is given at once, in ms; below the configured limit only.
    pub chunk_max_ms: Option<u64>,
    /// Whether the encoder may hear less than 30 s.
    #[serde(default)]
    pub short_context: bool,
    /// How a model of role `vocal-separation` works; it has one.
    pub separation: Option<Parameters>,
    /// One sentence.
    pub description: String,
}

impl Entry {
    /// Path in the repository on the hub.
    pub fn remote(&self) -> &str {
        self.remote.as_deref().unwrap_or(&self.file)
    }
}

/// All of `catalogue.toml`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// OpenAI's names, which stand for the configured default.
    pub aliases: Vec<String>,
    /// The models, in the order in which they are shown.
    #[serde(rename = "model")]
    pub models: Vec<Entry>,
}

impl Entries {
    /// Reads the text of a `catalogue.toml`.
    ///
    /// # Errors
    /// `Catalogue` with the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        toml::from_str(text)
            .map_err(|error| ModelError::Catalogue(format!("catalogue.toml cannot be read: {error}")))
    }

    /// The entry that `name` means: its id, one of `also`, its file name, or its id behind a prefix that
    /// other servers use (`whisper-tiny`, `openai/whisper-tiny`, `Systran/faster-whisper-tiny`).
    pub fn find(&self, name: &str) -> Option<&Entry> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let known_as = |name: &str| {
            self.models.iter().find(|entry| {
                entry.id == name || entry.file == name || entry.also.iter().any(|other| other == name)
            })
        };
        let plain = name.strip_suffix(".bin").unwrap_or(name);
        known_as(name).or_else(|| {
            FOREIGN_PREFIXES.iter().filter_map(|prefix| plain.strip_prefix(prefix)).find_map(known_as)
        })
    }

    /// Whether `name` is one of OpenAI's.
    pub fn is_alias(&self, name: &str) -> bool {
        self.aliases.iter().any(|alias| alias == name)
    }
}

/// A file on the hub, named in full: `owner/repo/file.bin` or `owner/repo:file.bin`, with `@revision`
/// behind the repository where it is not `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// Commit, tag or branch.
    pub revision: String,
    /// Path inside the repository; ends in `.bin`.
    pub file: String,
}

impl HubFile {
    /// Reads a full name; `None` if it is not one.
    pub fn parse(name: &str) -> Option<Self> {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let (owner, rest) = name.split_once('/')?;
        let (repo, file) = rest.split_once([':', '/'])?;
        let (repo, revision) = repo.split_once('@').unwrap_or((repo, "main"));
        let file = if file.ends_with(".bin") { file.to_owned() } else { format!("{file}.bin") };
        let sound = [owner, repo, revision].into_iter().chain(file.split('/')).all(is_plain_segment);
        sound.then(|| Self { repo: format!("{owner}/{repo}"), revision: revision.to_owned(), file })
    }

    /// Name of the file in the folder of models: one that no other file on the hub has.
    pub fn local_name(&self) -> String {
        format!("{}--{}", self.repo, self.file).replace('/', "--")
    }

    /// Id of the model in the API: the local name without its ending.
    pub fn local_id(&self) -> String {
        id_of_file(&self.local_name()).to_owned()
    }
}

/// Letters, digits, `-`, `_` and `.`, and not a step up or a hidden file.
fn is_plain_segment(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Id of a model file that is not in the catalogue: its stem, without the `ggml-` in front.
pub fn id_of_file(file: &str) -> &str {
    let stem = file.strip_suffix(".bin").unwrap_or(file);
    stem.strip_prefix("ggml-").unwrap_or(stem)
}

/// `name` as it may appear in a message: control characters escaped, at most 80 characters.
pub fn printable(name: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut text: String = name.chars().take(MAX_CHARS).flat_map(escaped).collect();
    if name.chars().nth(MAX_CHARS).is_some() {
        text.push('…');
    }
    text
}

/// The character itself, or its escape where it could garble a log or a terminal.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_plain = !character.is_control() && !is_direction_mark(character);
    let (itself, escape) =
        if is_plain { (Some(character), None) } else { (None, Some(character.escape_unicode())) };
    itself.into_iter().chain(escape.into_iter().flatten())
}

/// Invisible characters that turn the direction of text around.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn embedded() -> Entries {
        Entries::parse(EMBEDDED).expect("the embedded catalogue is sound")
    }

    fn id_for(name: &str) -> Option<String> {
        embedded().find(name).map(|entry| entry.id.clone())
    }

    #[test]
    fn every_entry_of_the_embedded_catalogue_is_complete() {
        for entry in embedded().models {
            assert_eq!(entry.repo.is_some(), entry.revision.is_some(), "{}", entry.id);
            let is_hex =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            assert!(entry.sha256.iter().all(|hash| hash.len() == 64 && is_hex(hash)), "{}", entry.id);
            assert!(entry.sha1.iter().all(|hash| hash.len() == 40 && is_hex(hash)), "{}", entry.id);
            assert!(entry.licence.is_some() && !entry.description.is_empty(), "{}", entry.id);
            assert!(is_plain_segment(&entry.file), "{}", entry.id);
            assert_eq!(entry.separation.is_some(), entry.role == Role::VocalSeparation, "{}", entry.id);
            assert!(entry.remote().split('/').all(is_plain_segment), "{}", entry.id);
            assert!(
                entry.needs.iter().all(|id| id_for(id).is_some_and(|found| found == *id)),
                "{}",
                entry.id
            );
            if entry.repo.is_none() {
                assert!(entry.size.is_some() && entry.sha256.is_some(), "{} ships unverified", entry.id);
            }
        }
    }

    #[test]
    fn no_two_entries_answer_to_the_same_name() {
        let entries = embedded();
        let mut names: Vec<&str> = entries
            .models
            .iter()
            .flat_map(|entry| {
                [entry.id.as_str(), entry.file.as_str()]
                    .into_iter()
                    .chain(entry.also.iter().map(String::as_str))
            })
            .chain(entries.aliases.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        for entry in &entries.models {
            assert_eq!(entries.find(&entry.id).map(|found| &found.id), Some(&entry.id));
        }
    }

    #[test]
    fn names_of_other_servers_find_the_same_weights() {
        for name in [
            "tiny.en",
            "ggml-tiny.en",
            "ggml-tiny.en.bin",
            "whisper-tiny.en",
            "openai/whisper-tiny.en",
            "Systran/faster-whisper-tiny.en",
        ] {
            assert_eq!(id_for(name).as_deref(), Some("tiny.en"), "{name}");
        }
        assert_eq!(id_for("turbo").as_deref(), Some("large-v3-turbo"));
        assert_eq!(id_for("large").as_deref(), Some("large-v3"));
        assert_eq!(id_for("openai/whisper-large-v3-turbo").as_deref(), Some("large-v3-turbo"));
    }

    #[test]
    fn names_that_mean_nothing_find_nothing() {
        for name in [
            "",
            "whisper-",
            "whisper-1",
            "ggml-",
            "../tiny",
            "tiny\0",
            "TINY",
            "tiny ",
            "whisper-whisper-tiny",
        ] {
            assert_eq!(id_for(name), None, "{name:?}");
        }
        assert_eq!(id_for(&"a".repeat(1 << 20)), None);
    }

    #[test]
    fn a_file_of_the_hub_is_named_in_full() {
        let expected = HubFile {
            repo: "someone/whisper-x".into(),
            revision: "main".into(),
            file: "sub/ggml-model.bin".into(),
        };
        assert_eq!(HubFile::parse("someone/whisper-x/sub/ggml-model.bin"), Some(expected.clone()));
        assert_eq!(HubFile::parse("someone/whisper-x:sub/ggml-model"), Some(expected.clone()));
        assert_eq!(expected.local_name(), "someone--whisper-x--sub--ggml-model.bin");
        assert_eq!(expected.local_id(), "someone--whisper-x--sub--ggml-model");
        let pinned = HubFile::parse("someone/whisper-x@v1.0:a").expect("a name in full");
        assert_eq!((pinned.revision.as_str(), pinned.file.as_str()), ("v1.0", "a.bin"));
    }

    #[test]
    fn a_file_of_the_hub_cannot_step_out_of_its_repository() {
        for name in [
            "tiny",
            "a/b",
            "a/b/",
            "/b/c",
            "a//c",
            "../b/c",
            "a/../c",
            "a/b/../c",
            "a/b/.hidden",
            "a/b/c d",
            "a/b/c?x=y",
            "a/b/c%2e",
            "a/b@/c",
            "a/b@../c",
            "a/b/c\0",
        ] {
            assert_eq!(HubFile::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_name_in_a_message_is_short_and_plain() {
        assert_eq!(printable("größe-模型"), "größe-模型");
        assert_eq!(printable("a\n\u{1b}[31m\0"), "a\\u{a}\\u{1b}[31m\\u{0}");
        assert_eq!(printable("\u{202e}x"), "\\u{202e}x");
        assert_eq!(printable(&"x".repeat(100)), format!("{}…", "x".repeat(80)));
    }

    proptest! {
        #[test]
        fn a_local_name_is_one_plain_file_name(name in "[a-z./:@-]{0,40}") {
            if let Some(file) = HubFile::parse(&name) {
                let local = file.local_name();
                prop_assert!(is_plain_segment(&local), "{local}");
                prop_assert!(local.ends_with(".bin"));
            }
        }

        #[test]
        fn any_name_can_be_printed(name in any::<String>()) {
            prop_assert!(printable(&name).chars().all(|character| !character.is_control()));
        }
    }
}
