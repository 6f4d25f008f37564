//! Reads a model's file into memory, held against its checksum first.

use std::path::PathBuf;

use crate::models::ModelError;
use crate::models::catalogue::ModelSpec;
use crate::models::verify::check_before_loading;

/// A file that has been read.
pub struct ModelFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where it lies, for messages.
    pub path: PathBuf,
}

/// Reads a model's file once, so that what was checked is what is loaded.
///
/// # Errors
/// `NotInstalled`, or `Unusable` when it is damaged or cannot be read.
pub fn read(spec: &ModelSpec) -> Result<ModelFile, ModelError> {
    check_before_loading(spec)?;
    let path = spec.path.clone().ok_or_else(|| ModelError::NotInstalled { id: spec.id.clone() })?;
    let bytes = std::fs::read(&path).map_err(|error| ModelError::Unusable {
        id: spec.id.clone(),
        reason: format!("its file cannot be read ({error})"),
    })?;
    Ok(ModelFile { bytes, path })
}
