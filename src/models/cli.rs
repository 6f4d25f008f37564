//! What `diarist models list | pull | verify | path` say. Arguments are parsed elsewhere.
//!
//! Progress goes to standard error, and only if that is a terminal; results are returned.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::ModelError;
use super::catalogue::{Catalogue, ModelSpec, ModelsOptions};
use super::download::{self, Progress};
use super::entries::printable;
use super::verify::{self as hashing, Verdict};

/// The table of all known models, and what OpenAI's names stand for.
pub fn list(catalogue: &Catalogue) -> String {
    let rows: Vec<[String; 4]> = catalogue
        .all()
        .into_iter()
        .map(|spec| {
            let state = state_of(catalogue, &spec);
            let size = spec.size.map_or_else(|| "?".to_owned(), |bytes| HumanBytes(bytes).to_string());
            [spec.id, size, state.to_owned(), spec.description]
        })
        .collect();
    let mut text = table(["MODEL", "SIZE", "STATE", "WHAT IT IS"], &rows);
    let default = catalogue.default_model();
    let state = match catalogue.resolve(default) {
        Ok(_) => "can be used".to_owned(),
        Err(error) => error.to_string(),
    };
    let names = catalogue.aliases().join(", ");
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{names}\nstand for the default model, {}: {state}\n", printable(default));
    text
}

fn state_of(catalogue: &Catalogue, spec: &ModelSpec) -> &'static str {
    match (&spec.path, catalogue.fault(&spec.id)) {
        (_, Some(_)) => "damaged",
        (Some(_), None) => "installed",
        (None, None) => "to be pulled",
    }
}

/// Columns as wide as their widest cell; sizes to the right, the last column free.
fn table(head: [&str; 4], rows: &[[String; 4]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let (id, size, state) = (width(0), width(1), width(2));
    let line = |cells: [&str; 4]| {
        let [a, b, c, d] = cells;
        format!("{a:<id$}  {b:>size$}  {c:<state$}  {d}\n")
    };
    let body = rows.iter().map(|[a, b, c, d]| line([a, b, c, d]));
    std::iter::once(line(head)).chain(body).collect()
}

/// Fetches a model, and first those that it needs, with progress bars, and gives the path of its file. `name` may also be a file of the
/// hub in full: `owner/repo/file.bin`, `owner/repo:file.bin`.
///
/// # Errors
/// As [`Catalogue::order`] and [`download::pull`].
pub fn pull_with_bar(
    name: &str,
    catalogue: &Catalogue,
    options: &ModelsOptions,
) -> Result<PathBuf, ModelError> {
    for part in catalogue.find(name).map(|spec| spec.needs).unwrap_or_default() {
        pull_with_bar(&part, catalogue, options)?;
    }
    // A sound model that comes with the program need not, and cannot, be fetched.
    let order = match (catalogue.order(name), path(catalogue, name)) {
        (Err(_), Ok(path)) => return Ok(path),
        (order, _) => order?,
    };
    let bar = bar(&order.id);
    let pulled = download::pull(&order, options, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    pulled
}

pub(super) fn bar(id: &str) -> ProgressBar {
    const TEMPLATE: &str =
        "{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left {msg}";
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_prefix(id.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    match progress {
        Progress::Waiting => bar.set_message("(another process fetches it)"),
        Progress::Checking { done, total } => {
            bar.set_message("(checking what is here)");
            bar.set_length(total);
            bar.set_position(done);
        }
        Progress::Receiving { done, total } => {
            bar.set_message("");
            bar.set_length(total.unwrap_or(done));
            // What an earlier pull brought does not count as speed.
            if bar.position() == 0 || bar.position() > done {
                bar.reset_eta();
            }
            bar.set_position(done);
        }
        Progress::Retrying { reason, pause } => {
            tell(bar, &format!("{reason}; trying again in {} s", pause.as_secs_f32()));
        }
        Progress::StartingOver => {
            tell(bar, "what an earlier pull left does not fit; fetching it from the start")
        }
    }
}

/// Lines for people, also where there is no terminal for a bar.
fn tell(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        // Not a log line: those of commands are quiet by default.
        eprintln!("diarist: {line}");
    } else {
        bar.println(line);
    }
}

/// Hashes the files of the models named, or of all that are installed, and hands a line on each to `print`.
/// Gives whether none is damaged or missing.
///
/// # Errors
/// `Unknown` before anything is hashed; `Unusable` when a file cannot be read.
pub fn verify(
    catalogue: &Catalogue,
    names: &[String],
    print: &mut dyn FnMut(&str),
) -> Result<bool, ModelError> {
    let specs: Vec<ModelSpec> = match names {
        [] => catalogue.all().into_iter().filter(|spec| spec.path.is_some()).collect(),
        names => names.iter().map(|name| catalogue.find(name)).collect::<Result<_, _>>()?,
    };
    let mut all_sound = true;
    for spec in &specs {
        let bar = bar(&spec.id);
        bar.set_length(spec.size.unwrap_or(0));
        let verdict = hashing::verify(spec, &mut |bytes| bar.inc(bytes));
        bar.finish_and_clear();
        let (is_sound, line) = judgement(&spec.id, &verdict?);
        all_sound &= is_sound;
        print(&line);
    }
    Ok(all_sound)
}

/// Whether the verdict is good, and a line that says it.
fn judgement(id: &str, verdict: &Verdict) -> (bool, String) {
    match verdict {
        Verdict::Sound { sha256 } => (true, format!("{id}: sound, SHA-256 {sha256}")),
        Verdict::Unverifiable { sha256 } => {
            (true, format!("{id}: SHA-256 {sha256}; nothing says what it should be"))
        }
        Verdict::Damaged { expected, actual } => (
            false,
            format!(
                "{id}: DAMAGED, SHA-256 is {actual} and should be {expected}; `diarist models pull {id}` fetches it \
                 again if it did not come with Diarist"
            ),
        ),
        Verdict::NotInstalled => {
            (false, format!("{id}: not on this machine; `diarist models pull {id}` fetches it"))
        }
    }
}

/// Where the file of an installed model lies, whatever its role.
///
/// # Errors
/// `Unknown`, `NotInstalled`, `NotBundled`, or `Unusable` for a damaged file.
pub fn path(catalogue: &Catalogue, name: &str) -> Result<PathBuf, ModelError> {
    let spec = catalogue.find(name)?;
    match (spec.path, catalogue.fault(&spec.id)) {
        (_, Some(reason)) => Err(ModelError::Unusable { id: spec.id, reason }),
        (None, None) => Err(catalogue.missing(spec.id)),
        (Some(path), None) => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The models that really come with the program.
    fn options(dir: &Path) -> ModelsOptions {
        ModelsOptions {
            dir: dir.to_owned(),
            bundled_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("models"),
            default_model: "diarist-micro-en".into(),
            offline: true,
            hub_endpoint: "http://127.0.0.1:9".into(),
            hub_token: None,
            memory_budget_bytes: 0,
            idle_unload_s: 0,
        }
    }

    fn catalogue() -> (tempfile::TempDir, ModelsOptions, Catalogue) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options(folder.path());
        let catalogue = Catalogue::open(&options).expect("a catalogue");
        (folder, options, catalogue)
    }

    #[test]
    fn the_list_names_every_model_its_size_and_whether_it_is_here() {
        let (_folder, _options, catalogue) = catalogue();
        let text = list(&catalogue);
        let line = |id: &str| text.lines().find(|line| line.starts_with(id)).expect("listed").to_owned();
        assert!(line("diarist-micro-en ").contains("10.04 MiB  installed"), "{text}");
        assert!(line("large-v3-turbo ").contains("1.51 GiB  to be pulled"), "{text}");
        assert!(line("base-q5_1 ").contains(" ?  to be pulled"), "{text}");
        assert!(text.ends_with("stand for the default model, diarist-micro-en: can be used\n"), "{text}");
    }

    #[test]
    fn the_models_that_ship_are_what_the_catalogue_says() {
        let (_folder, options, catalogue) = catalogue();
        let mut lines = Vec::new();
        assert!(verify(&catalogue, &[], &mut |line| lines.push(line.to_owned())).expect("readable"));
        assert_eq!(lines.len(), 9, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(": sound, SHA-256 ")), "{lines:?}");
        for name in [
            "diarist-micro-en",
            "diarist-micro-multi",
            "silero-vad",
            "segmentation-3.0-filters",
            "segmentation-3.0",
            "ge2e",
            "ge2e-lda",
            "voice-band",
            "whisper-1",
        ] {
            let path = path(&catalogue, name).expect("installed");
            assert!(path.starts_with(&options.bundled_dir));
            assert_eq!(pull_with_bar(name, &catalogue, &options).expect("here already"), path);
        }
        assert!(catalogue.voice_activity().is_ok());
    }

    #[test]
    fn a_damaged_or_missing_model_is_told_with_the_remedy() {
        let (folder, _options, catalogue) = catalogue();
        let names = vec!["tiny".to_owned()];
        let mut lines = Vec::new();
        assert!(!verify(&catalogue, &names, &mut |line| lines.push(line.to_owned())).expect("known"));
        crate::models::shelf::write_fake_model(&folder.path().join("ggml-tiny.bin"), 77_691_713);
        assert!(!verify(&catalogue, &names, &mut |line| lines.push(line.to_owned())).expect("known"));
        let [missing, damaged] = &lines[..] else { panic!("{lines:?}") };
        assert!(missing.contains("`diarist models pull tiny`"), "{missing}");
        assert!(damaged.contains("DAMAGED") && damaged.contains("be07e048e1e599ad"), "{damaged}");
        assert!(verify(&catalogue, &["nothing".to_owned()], &mut |_| {}).is_err());
    }

    #[test]
    fn a_missing_model_of_the_program_is_not_to_be_pulled() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = ModelsOptions { bundled_dir: folder.path().to_owned(), ..options(folder.path()) };
        let catalogue = Catalogue::open(&options).expect("a catalogue");
        for error in [catalogue.resolve("whisper-1"), catalogue.voice_activity()] {
            let message = error.expect_err("missing").to_string();
            assert!(message.contains("DIARIST_BUNDLED_MODELS_DIR") && !message.contains("pull"), "{message}");
        }
    }

    #[test]
    fn pulling_offline_says_which_setting_forbids_it() {
        let (_folder, options, catalogue) = catalogue();
        let error = pull_with_bar("tiny", &catalogue, &options).expect_err("offline").to_string();
        assert!(error.contains("DIARIST_OFFLINE"), "{error}");
    }

    #[test]
    fn what_a_model_needs_is_pulled_first() {
        let (_folder, options, catalogue) = catalogue();
        let error = pull_with_bar("spleeter-2stems", &catalogue, &options).expect_err("offline").to_string();
        assert!(error.contains("`spleeter-2stems-accompaniment`"), "{error}");
    }
}
