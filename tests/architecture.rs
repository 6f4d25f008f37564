//! The arrows between the rooms, as `ARCHITECTURE.md` draws them, read from the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Shared vocabulary: anybody may use it. Within it, only what stands to the right.
const VOCABULARY: [&str; 7] = ["telemetry", "transcript", "language", "time", "scratch", "cancel", "error"];

/// What each room may use beside the vocabulary and itself.
const ARROWS: [(&str, &[&str]); 14] = [
    ("audio", &[]),
    ("runtime", &[]),
    ("separation", &["audio", "runtime"]),
    ("vad", &["audio", "runtime"]),
    ("asr", &["audio", "runtime"]),
    ("diarization", &["audio", "runtime"]),
    ("models", &["audio", "runtime", "separation", "vad", "asr", "diarization"]),
    ("pipeline", &["audio", "runtime", "separation", "vad", "asr", "diarization", "models"]),
    ("output", &[]),
    ("api", &["audio", "pipeline", "output", "models"]),
    (
        "config",
        &[
            "audio",
            "runtime",
            "separation",
            "vad",
            "asr",
            "diarization",
            "models",
            "pipeline",
            "output",
            "api",
        ],
    ),
    (
        "server",
        &[
            "audio",
            "runtime",
            "separation",
            "vad",
            "asr",
            "diarization",
            "models",
            "pipeline",
            "output",
            "api",
            "config",
        ],
    ),
    (
        "commands",
        &[
            "audio",
            "runtime",
            "separation",
            "vad",
            "asr",
            "diarization",
            "models",
            "pipeline",
            "output",
            "api",
            "config",
            "server",
        ],
    ),
    ("lib", &[]),
];

/// Files that decide without touching the world.
const PURE: &[&str] = &[
    "time.rs",
    "transcript.rs",
    "language.rs",
    "error.rs",
    "vad/regions.rs",
    "vad/chunks.rs",
    "vad/condensed.rs",
    "asr/queue.rs",
    "asr/guard.rs",
    "asr/speech_times.rs",
    "asr/stitch.rs",
    "asr/words.rs",
    "asr/language.rs",
    "diarization/activity.rs",
    "diarization/assignment.rs",
    "diarization/attribution.rs",
    "diarization/clustering.rs",
    "diarization/fbank.rs",
    "diarization/gathering.rs",
    "diarization/grid.rs",
    "diarization/known.rs",
    "diarization/masks.rs",
    "diarization/mel.rs",
    "diarization/method.rs",
    "diarization/powerset.rs",
    "diarization/reconstruction.rs",
    "diarization/score/lines.rs",
    "diarization/score/mapping.rs",
    "diarization/score/mod.rs",
    "diarization/score/regions.rs",
    "diarization/score/rttm.rs",
    "diarization/score/sweep.rs",
    "diarization/score/uem.rs",
    "diarization/speakers.rs",
    "diarization/turns.rs",
    "diarization/vbx.rs",
    "diarization/vectors.rs",
    "separation/halves.rs",
    "separation/music.rs",
    "separation/parameters.rs",
    "separation/reflect.rs",
    "separation/stft.rs",
    "separation/stream.rs",
    "pipeline/coverage.rs",
    "pipeline/floor.rs",
    "pipeline/merge.rs",
    "pipeline/review.rs",
    "pipeline/smoothing.rs",
    "output/pieces.rs",
    "output/json.rs",
    "output/labels.rs",
    "output/rttm.rs",
    "output/subtitles.rs",
    "output/text.rs",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    assert!(found.len() > 30, "the sources were not found");
    found
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The part of a file that is compiled outside tests, without comments.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn room(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Rooms named as `crate::room` or inside `use crate::{…}`.
fn rooms_used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find("};").unwrap_or(inner.len());
            split_top_level(&inner[..end])
        } else {
            vec![rest.to_owned()]
        };
        for item in list {
            let name: String =
                item.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !name.is_empty() {
                used.push(name);
            }
        }
    }
    used
}

fn split_top_level(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().unwrap().push(c);
    }
    items
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let from = room(&path);
        if from == "main" || from == "lib" {
            continue;
        }
        for to in rooms_used(&code(&text)) {
            let allowed = to == from
                || match VOCABULARY.iter().position(|word| *word == from) {
                    Some(place) => VOCABULARY[place + 1..].contains(&to.as_str()),
                    None => {
                        let below =
                            arrows.get(from.as_str()).unwrap_or_else(|| panic!("no arrows for {from}"));
                        VOCABULARY.contains(&to.as_str()) || below.contains(&to.as_str())
                    }
                };
            if !allowed {
                wrong.push(format!("{}: {from} uses {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not draw:\n{}", wrong.join("\n"));
}

/// Files whose code contains any of `words`, outside `allowed` (folders end with a slash).
fn offenders(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let permitted = |path: &Path| {
        let path = path.to_string_lossy();
        allowed
            .iter()
            .any(|place| if place.ends_with('/') { path.starts_with(place) } else { path == *place })
    };
    let names = |code: &str, word: &str| code.contains(word);
    sources()
        .into_iter()
        .filter(|(path, _)| !permitted(path))
        .flat_map(|(path, text)| {
            let code = code(&text);
            words
                .iter()
                .filter(|word| names(&code, word))
                .map(|word| format!("{} names {word}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn only_api_and_server_know_the_web_framework() {
    let found = offenders(
        &["actix_web", "actix_multipart", "actix_cors", "actix_tls"],
        &["api/", "server.rs", "server/signals.rs", "main.rs"],
    );
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn only_the_engine_files_name_an_engine() {
    let found = offenders(
        &["whisper_rs"],
        &["asr/whisper.rs", "asr/whisper/", "asr/ggml.rs", "asr/quantize.rs", "telemetry/logs.rs"],
    );
    assert!(found.is_empty(), "{found:?}");
    let found = offenders(
        &["ort::"],
        &["runtime/", "vad/silero.rs", "asr/whisper/encoder.rs", "asr/whisper/encoder/"],
    );
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn only_api_and_json_name_the_wire_fields() {
    let words = [
        "\"response_format",
        "\"timestamp_granularities",
        "\"verbose_json",
        "\"no_speech_prob",
        "\"chunking_",
    ];
    let found = offenders(&words, &["api/", "output/"]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn pure_files_touch_nothing_outside() {
    let banned = ["std::fs", "std::net", "std::env", "Instant", "SystemTime", "tracing::", "println!"];
    let mut found = Vec::new();
    for (path, text) in sources() {
        if PURE.contains(&path.to_string_lossy().as_ref()) {
            let code = code(&text);
            found.extend(
                banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{path:?}: {word}")),
            );
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn nothing_waits_by_a_clock_that_can_be_set() {
    // They read when a file was written, and write when something happened.
    let found = offenders(&["SystemTime", "UNIX_EPOCH"], &["models/shelf.rs", "telemetry/logs.rs"]);
    assert!(found.is_empty(), "waiting and measuring take `Instant`: {found:?}");
}

#[test]
fn only_config_and_the_wiring_see_the_settings() {
    let found = offenders(&["Settings"], &["config.rs", "server.rs", "server/", "main.rs", "commands/"]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no `//!` at the top of {silent:?}");
}
