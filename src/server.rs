//! The only wiring: settings to models, engines, pipeline and routes.

use std::sync::Arc;

use crate::asr::engine::{EnginePool, Factory};
use crate::asr::whisper::{WhisperModel, WhisperOptions, WhisperTranscriber};
use crate::asr::{AsrError, Transcriber};
use crate::config::Settings;
use crate::models::ModelError;
use crate::models::catalogue::{Catalogue, ModelSpec, Role};
use crate::models::manager::{Loaded, ModelManager};
use crate::pipeline::{Pipeline, PipelineError, VadFactory};
use crate::runtime::device::{self, Device};
use crate::runtime::onnx;
use crate::vad::{SileroVad, VadError};

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This processor or device cannot run the engines.
    #[error("{0}")]
    Device(String),
    /// ONNX Runtime is missing or unusable.
    #[error(transparent)]
    Onnx(#[from] onnx::OnnxError),
    /// The models cannot be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The stages cannot be started.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The network or the file system.
    #[error("{0}")]
    Io(String),
}

/// Everything that is built once.
pub struct Parts {
    /// The models known to this machine.
    pub catalogue: Arc<Catalogue>,
    /// The loaded ones.
    pub models: Arc<ModelManager<EnginePool>>,
    /// The stages.
    pub pipeline: Arc<Pipeline>,
}

impl Parts {
    /// Builds everything from the settings; loads no speech model yet.
    ///
    /// # Errors
    /// When this machine lacks something that every request needs.
    pub fn assemble(settings: &Settings) -> Result<Self, StartError> {
        device::check_cpu().map_err(StartError::Device)?;
        let device = usable_device(settings)?;
        let explicit = (!settings.onnxruntime.as_os_str().is_empty()).then_some(settings.onnxruntime.as_path());
        onnx::runtime(explicit)?;
        let options = settings.models();
        let catalogue = Arc::new(Catalogue::open(&options)?);
        let vad = vad_factory(&catalogue)?;
        let loader = speech_loader(device, settings);
        let models = Arc::new(ModelManager::new(Arc::clone(&catalogue), loader, &options));
        let pipeline = Arc::new(Pipeline::new(settings.pipeline(), Arc::clone(&models), vad));
        pipeline.warm_up()?;
        Ok(Self { catalogue, models, pipeline })
    }
}

/// The first device of the fallback order.
fn usable_device(settings: &Settings) -> Result<Device, StartError> {
    let wanted = settings.device().map_err(|error| StartError::Device(error.to_string()))?;
    let order = wanted.fallback_order().map_err(|error| StartError::Device(error.to_string()))?;
    Ok(order.first().copied().unwrap_or(Device::Cpu))
}

fn vad_factory(catalogue: &Catalogue) -> Result<VadFactory, StartError> {
    let model = catalogue
        .all()
        .into_iter()
        .find(|model| model.role == Role::VoiceActivity && model.path.is_some())
        .ok_or(ModelError::NotInstalled { id: "silero-vad".into() })?;
    let path = model.path.unwrap_or_default();
    Ok(Box::new(move || Ok::<_, VadError>(Box::new(SileroVad::load(&path)?))))
}

/// Loads a speech model and starts its workers.
fn speech_loader(device: Device, settings: &Settings) -> crate::models::manager::Loader<EnginePool> {
    let chosen = |number: usize| (number > 0).then_some(number);
    let (workers, threads) = device::workers_and_threads(
        device::available_cores(),
        device,
        chosen(settings.workers),
        chosen(settings.threads),
    );
    tracing::info!(device = device.name(), workers, threads, "recognition");
    let options = WhisperOptions { use_gpu: device.is_gpu(), threads };
    Box::new(move |spec: &ModelSpec| {
        let unusable = |error: AsrError| ModelError::Unusable { id: spec.id.clone(), reason: error.to_string() };
        let path = spec.path.as_deref().ok_or_else(|| ModelError::NotInstalled { id: spec.id.clone() })?;
        let model = WhisperModel::load(path, options).map_err(unusable)?;
        let weights = model.weight_bytes();
        let factory: Factory = Arc::new(move || {
            Ok(Box::new(WhisperTranscriber::new(Arc::clone(&model))?) as Box<dyn Transcriber>)
        });
        let pool = EnginePool::start(factory, workers).map_err(unusable)?;
        Ok(Loaded { value: Arc::new(pool), memory_bytes: weights })
    })
}
