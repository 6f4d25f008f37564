//! Loads what tells speakers apart: a segmentation network, a speaker encoder, and how its voices are compared.
//!
//! A diarization model goes by the name of its encoder; the other parts follow from it.

use std::sync::Arc;

use super::model_file::read;
use crate::diarization::embedding::SpeakerEmbedder;
use crate::diarization::embedding::ge2e::Ge2eEmbedder;
use crate::diarization::embedding::wespeaker::WespeakerEmbedder;
use crate::diarization::split::SplitSegmenter;
use crate::diarization::team::Places;
use crate::diarization::{DiarizationEngine, DiarizationError, tables};
use crate::models::ModelError;
use crate::models::catalogue::{Catalogue, ModelSpec, ModelsOptions, Role};
use crate::models::manager::{Loaded, ModelManager};
use crate::runtime::device::available_cores;

/// The segmentation network of every diarization model: its first layer, and the rest.
const FILTERS: &str = "segmentation-3.0-filters";
const SEGMENTATION: &str = "segmentation-3.0";

/// The diarization model that comes with the program.
pub const DEFAULT_MODEL: &str = "ge2e";

/// Which encoder a diarization model has.
#[derive(Clone, Copy)]
enum Encoder {
    Ge2e,
    Wespeaker,
}

/// The encoders by id, and what their voices are compared with.
const ENCODERS: [(&str, Encoder, &str); 2] = [
    (DEFAULT_MODEL, Encoder::Ge2e, "ge2e-lda"),
    ("wespeaker-resnet34", Encoder::Wespeaker, "community-1-plda"),
];

/// The diarization models, none of them loaded yet. They are small and not counted in the budget of speech models; all
/// of them together run as many tasks at once as there are cores.
pub fn manager(catalogue: &Arc<Catalogue>, options: &ModelsOptions) -> ModelManager<DiarizationEngine> {
    let places = Arc::new(Places::new(available_cores()));
    let parts = Arc::clone(catalogue);
    let loader = move |spec: &ModelSpec| load(&parts, spec, &places);
    let options = ModelsOptions { memory_budget_bytes: 0, ..options.clone() };
    ModelManager::of_role(Role::SpeakerEmbedding, Arc::clone(catalogue), Box::new(loader), &options)
}

/// Looks whether the diarization model called `id` can be had. Files that are not there are warned of: all else goes
/// without them.
///
/// # Errors
/// `Unusable` when no diarization model is called so.
pub fn look(catalogue: &Catalogue, id: &str) -> Result<(), ModelError> {
    let Some((_, _, comparison)) = ENCODERS.iter().find(|(known, ..)| *known == id) else {
        let known = ENCODERS.map(|(known, ..)| known).join("` or `");
        let reason = format!("it tells no speakers apart; `diarization_model` is `{known}`");
        return Err(ModelError::Unusable { id: id.to_owned(), reason });
    };
    let parts = [
        (id, Role::SpeakerEmbedding),
        (FILTERS, Role::SpeakerSegmentation),
        (SEGMENTATION, Role::SpeakerSegmentation),
        (*comparison, Role::SpeakerComparison),
    ];
    for (part, role) in parts {
        if let Err(error) = catalogue.resolve_as(part, role) {
            tracing::warn!(%error, "speakers cannot be told apart");
        }
    }
    Ok(())
}

fn load(
    catalogue: &Catalogue,
    spec: &ModelSpec,
    places: &Arc<Places>,
) -> Result<Loaded<DiarizationEngine>, ModelError> {
    let unusable =
        |error: DiarizationError| ModelError::Unusable { id: spec.id.clone(), reason: error.to_string() };
    let known = ENCODERS.iter().find(|(id, ..)| *id == spec.id);
    let (_, encoder, comparison) = known.ok_or_else(|| ModelError::unknown(&spec.id))?;
    let filters = read(&catalogue.resolve_as(FILTERS, Role::SpeakerSegmentation)?)?;
    let segmentation = read(&catalogue.resolve_as(SEGMENTATION, Role::SpeakerSegmentation)?)?;
    let comparison = read(&catalogue.resolve_as(comparison, Role::SpeakerComparison)?)?;
    let network = read(spec)?;

    let pieces = ((&filters.bytes[..], &*filters.path), (&segmentation.bytes[..], &*segmentation.path));
    let segmenter = SplitSegmenter::new(pieces.0, pieces.1).map_err(unusable)?;
    let embedder: Box<dyn SpeakerEmbedder> = match encoder {
        Encoder::Ge2e => {
            let method = tables::ge2e(&comparison.bytes).map_err(unusable)?;
            Box::new(Ge2eEmbedder::new(&network.bytes, &network.path, method).map_err(unusable)?)
        }
        Encoder::Wespeaker => {
            let method = tables::community1(&comparison.bytes).map_err(unusable)?;
            Box::new(WespeakerEmbedder::new(&network.bytes, &network.path, method).map_err(unusable)?)
        }
    };
    let memory_bytes =
        [&filters, &segmentation, &comparison, &network].map(|file| file.bytes.len() as u64).iter().sum();
    let engine = DiarizationEngine::new(Box::new(segmenter), embedder, Arc::clone(places));
    Ok(Loaded { value: Arc::new(engine), memory_bytes })
}
