//! `diarist models quantize`: a copy of a model with smaller weights, beside the others or where it is wanted.
//!
//! The copy is written under another name, loaded once by the engine, and only then put in its place, so that
//! whatever is found there works.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ModelError;
use super::catalogue::{Catalogue, ModelsOptions, Role, origin_of};
use super::cli;
use crate::asr::ggml::GgmlError;
use crate::asr::quantize::{self as weights, WeightType};
use crate::asr::whisper::{EncoderEngine, WhisperModel, WhisperOptions};

/// A model that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantized {
    /// Where it lies.
    pub path: PathBuf,
    /// Name under which it can be used, if it lies in the folder of models.
    pub id: Option<String>,
    /// Size of the source, in bytes.
    pub bytes_before: u64,
    /// Its own size, in bytes.
    pub bytes_after: u64,
}

/// Makes a copy of model `name` with weights of type `to`, with a progress bar: `output`, or `NAME-TYPE` in the
/// folder of models.
///
/// # Errors
/// As [`cli::path`] for the source; `Quantize` when it is damaged or has no such weights, when the output is there
/// already or is a model of the catalogue, and when it cannot be written. Nothing is left behind then.
pub fn quantize_with_bar(
    name: &str,
    to: WeightType,
    output: Option<&Path>,
    catalogue: &Catalogue,
    options: &ModelsOptions,
) -> Result<Quantized, ModelError> {
    let source = cli::path(catalogue, name)?;
    let spec = catalogue.find(name)?;
    let trouble = |reason: String| ModelError::Quantize { id: spec.id.clone(), reason };
    if spec.role != Role::Speech {
        return Err(trouble(format!("it is for {}, not for recognising speech", spec.role.name())));
    }
    // `base-q4_0`, whether it is made of `base` or of `base-f16`.
    let origin = origin_of(&spec.id).map_or(spec.id.as_str(), |(origin, _)| origin);
    let id = output.is_none().then(|| format!("{origin}-{}", to.name()));
    let path = match (output, &id) {
        (Some(path), _) => path.to_owned(),
        (None, id) => {
            let id = id.as_deref().unwrap_or_default();
            refuse_known(id, catalogue).map_err(&trouble)?;
            fs::create_dir_all(&options.dir).map_err(|error| {
                trouble(format!("the folder {} cannot be made: {error}", options.dir.display()))
            })?;
            options.dir.join(format!("ggml-{id}.bin"))
        }
    };
    if path.exists() {
        return Err(trouble(already_there(&path)));
    }
    let bytes_before = fs::metadata(&source).map_or(0, |metadata| metadata.len());
    let bar = cli::bar(&spec.id);
    bar.set_length(bytes_before);
    let written = write(&source, &path, to, &mut |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let bytes_after = written.map_err(trouble)?;
    Ok(Quantized { path, id, bytes_before, bytes_after })
}

/// A name of the catalogue is for the file that its makers publish, which is checked by its size.
fn refuse_known(id: &str, catalogue: &Catalogue) -> Result<(), String> {
    match catalogue.order(id) {
        Ok(_) => Err(format!(
            "`{id}` is a model of the catalogue: `diarist models pull {id}` fetches it, or `-o` names another file"
        )),
        Err(_) => Ok(()),
    }
}

/// Writes the copy to a temporary file beside `path`, tries it, and gives it its name. Returns its size.
fn write(source: &Path, path: &Path, to: WeightType, progress: &mut dyn FnMut(u64)) -> Result<u64, String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritable = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let file = new_file(folder).map_err(unwritable)?;
    let mut reader =
        BufReader::new(File::open(source).map_err(|error| format!("its file cannot be read: {error}"))?);
    let mut writer = BufWriter::new(file.as_file());
    weights::quantize(&mut reader, &mut writer, to, progress).map_err(|error| match error {
        GgmlError::Write(error) => unwritable(error),
        other => other.to_string(),
    })?;
    writer.flush().map_err(unwritable)?;
    drop(writer);
    let bytes = file.as_file().sync_all().and_then(|()| file.as_file().metadata()).map_err(unwritable)?.len();
    try_to_load(file.path())?;
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => already_there(path),
        _ => unwritable(error.error),
    })?;
    Ok(bytes)
}

/// A hidden file with the rights of any other; removed unless it gets a name.
fn new_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".quantize-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the user's mask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// The last check: the engine knows which tensors a model must have.
fn try_to_load(path: &Path) -> Result<(), String> {
    let options =
        WhisperOptions { threads: 1, encoder: EncoderEngine::WhisperCpp, ..WhisperOptions::default() };
    WhisperModel::load(path, options).map(drop).map_err(|error| {
        format!("the engine does not take the result ({error}); `diarist models verify` checks the source")
    })
}

fn already_there(path: &Path) -> String {
    format!("{} is there already; remove it first, or let `-o` name another file", path.display())
}
