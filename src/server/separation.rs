//! Loads what separates voices from music: a network, or two, and how they are heard.

use std::sync::Arc;

use super::model_file::{ModelFile, read};
use crate::models::ModelError;
use crate::models::catalogue::{Catalogue, ModelSpec, ModelsOptions, Role};
use crate::models::manager::{Loaded, ModelManager};
use crate::pipeline::SeparationMode;
use crate::runtime::device::available_cores;
use crate::separation::mdx::MdxNet;
use crate::separation::parameters::Parameters;
use crate::separation::spleeter::{NetworkFile, Spleeter};
use crate::separation::{LoadedSeparator, SeparationError, VocalSeparator};

/// The separation model that is taken where none is named; it has to be pulled.
pub const DEFAULT_MODEL: &str = "kim-vocal-2";

/// The separation models, none of them loaded yet. They are not counted in the budget of speech models; each hears a
/// window with all cores, and one window at a time.
pub fn manager(catalogue: &Arc<Catalogue>, options: &ModelsOptions) -> ModelManager<LoadedSeparator> {
    let parts = Arc::clone(catalogue);
    let loader = move |spec: &ModelSpec| load(&parts, spec);
    let options = ModelsOptions { memory_budget_bytes: 0, ..options.clone() };
    ModelManager::of_role(Role::VocalSeparation, Arc::clone(catalogue), Box::new(loader), &options)
}

/// Looks whether the separation model called `name` is on this machine with all its parts, without reading them.
///
/// # Errors
/// As `Catalogue::resolve_as`, of the model or a part of it; what has to be pulled is always the model.
pub fn look(catalogue: &Catalogue, name: &str) -> Result<(), ModelError> {
    let spec = catalogue.resolve_as(name, Role::VocalSeparation)?;
    parts(catalogue, &spec).map(drop)
}

/// As `look`, for a server that starts. A model that is missing or damaged is only warned of, and only where `mode` will ask
/// for it: all else goes without it.
///
/// # Errors
/// When there is no such model, or it is none of separation.
pub fn look_ahead(catalogue: &Catalogue, name: &str, mode: SeparationMode) -> Result<(), ModelError> {
    let looked = look(catalogue, name);
    if catalogue.find(name)?.role != Role::VocalSeparation {
        return looked;
    }
    if let (Err(error), true) = (looked, mode != SeparationMode::Off) {
        tracing::warn!(%error, "requests will be refused: `separation` is `{}`", mode.name());
    }
    Ok(())
}

fn load(catalogue: &Catalogue, spec: &ModelSpec) -> Result<Loaded<LoadedSeparator>, ModelError> {
    let unusable = |reason: String| ModelError::Unusable { id: spec.id.clone(), reason };
    let parameters = spec.separation.as_ref();
    let parameters = parameters.ok_or_else(|| unusable("nothing says how it works".to_owned()))?;
    let parts = parts(catalogue, spec)?;
    let files = std::iter::once(spec).chain(&parts).map(read).collect::<Result<Vec<_>, _>>()?;
    let separator = build(&files, parameters).map_err(|error| match error {
        SeparationError::Model(reason) => unusable(reason),
        other => unusable(other.to_string()),
    })?;
    let memory_bytes = files.iter().map(|file| file.bytes.len() as u64).sum();
    Ok(Loaded { value: Arc::new(LoadedSeparator::new(separator)), memory_bytes })
}

fn build(files: &[ModelFile], parameters: &Parameters) -> Result<Arc<dyn VocalSeparator>, SeparationError> {
    let threads = available_cores();
    Ok(match (parameters, files) {
        (Parameters::MdxNet(parameters), [file]) => {
            Arc::new(MdxNet::new(&file.bytes, &file.path, parameters, threads)?)
        }
        (Parameters::Spleeter(parameters), [voice, background]) => {
            Arc::new(Spleeter::new(&network(voice), &network(background), parameters, threads)?)
        }
        _ => {
            let reason = format!("its family does not have {} files", files.len());
            return Err(SeparationError::Model(reason));
        }
    })
}

/// The further networks of a model, where all of them are here.
fn parts(catalogue: &Catalogue, spec: &ModelSpec) -> Result<Vec<ModelSpec>, ModelError> {
    let part = |id: &String| match catalogue.resolve_as(id, Role::VocalSeparationPart) {
        Err(ModelError::NotInstalled { .. }) => Err(ModelError::NotInstalled { id: spec.id.clone() }),
        other => other,
    };
    spec.needs.iter().map(part).collect()
}

fn network(file: &ModelFile) -> NetworkFile<'_> {
    NetworkFile { bytes: &file.bytes, path: &file.path }
}
