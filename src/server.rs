//! The only wiring: settings to models, engines, pipeline and routes.
//!
//! `shape` decides how many workers there are, `sample` is what they are tried with.

pub mod sample;
pub mod shape;

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::api::{self, ApiOptions, Backend, Health};
use crate::asr::engine::{EnginePool, Factory, Priority, ReadSamples};
use crate::asr::whisper::{EncoderEngine, WhisperModel, WhisperOptions, WhisperTranscriber};
use crate::asr::{AsrError, DecodingOptions, Transcriber};
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::models::ModelError;
use crate::models::catalogue::{Catalogue, ModelSpec};
use crate::models::manager::{Loaded, Loader, ModelManager};
use crate::pipeline::{Control, Outcome, Pipeline, PipelineError, Request, VadFactory};
use crate::runtime::cores::Shape;
use crate::runtime::device::{self, Device};
use crate::runtime::onnx;
use crate::telemetry::metrics::{Engines, Metrics};
use crate::time::SAMPLE_RATE;
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
    /// What all of them count.
    pub metrics: Metrics,
}

impl Parts {
    /// Builds everything from the settings, with workers by the rule; loads no speech model yet.
    ///
    /// # Errors
    /// When this machine lacks something that every request needs.
    pub fn assemble(settings: &Settings) -> Result<Self, StartError> {
        Self::assemble_with(settings, |device, _| shape::by_rule(settings, device))
    }

    /// As `assemble`, with as many workers as a short measurement finds best. For whoever runs long enough to
    /// gain by it.
    ///
    /// # Errors
    /// As `assemble`.
    pub fn assemble_measured(settings: &Settings) -> Result<Self, StartError> {
        Self::assemble_with(settings, |device, catalogue| shape::at_start(settings, device, catalogue))
    }

    fn assemble_with(
        settings: &Settings,
        shape: impl FnOnce(Device, &Catalogue) -> Shape,
    ) -> Result<Self, StartError> {
        device::check_cpu().map_err(StartError::Device)?;
        let device = usable_device(settings)?;
        onnx::runtime(settings.onnxruntime())?;
        let options = settings.models();
        let catalogue = Arc::new(Catalogue::open(&options)?);
        let vad = vad_factory(&catalogue)?;
        let metrics = Metrics::new();
        let shape = shape(device, &catalogue);
        let loader = speech_loader(device, shape, settings.encoder(), metrics.engines.clone());
        let loader = counted(loader, metrics.engines.clone());
        let models = Arc::new(ModelManager::new(Arc::clone(&catalogue), loader, &options));
        let pipeline = Pipeline::new(settings.pipeline(), Arc::clone(&models), vad);
        let pipeline = Arc::new(pipeline.counted(metrics.work.clone()));
        pipeline.warm_up()?;
        Ok(Self { catalogue, models, pipeline, metrics })
    }
}

/// The first device of the fallback order.
///
/// # Errors
/// When the setting names none, or one that this build does not have.
pub fn usable_device(settings: &Settings) -> Result<Device, StartError> {
    let wanted = settings.device().map_err(|error| StartError::Device(error.to_string()))?;
    let order = wanted.fallback_order().map_err(|error| StartError::Device(error.to_string()))?;
    Ok(order.first().copied().unwrap_or(Device::Cpu))
}

fn vad_factory(catalogue: &Catalogue) -> Result<VadFactory, StartError> {
    let path = catalogue.voice_activity()?.path.unwrap_or_default();
    Ok(Box::new(move || Ok::<_, VadError>(Box::new(SileroVad::load(&path)?))))
}

/// Loads a speech model and starts its workers.
fn speech_loader(
    device: Device,
    shape: Shape,
    encoder: EncoderEngine,
    engines: Engines,
) -> Loader<EnginePool> {
    let Shape { workers, threads } = shape;
    tracing::info!(device = device.name(), workers, threads, ?encoder, "recognition");
    Box::new(move |spec: &ModelSpec| {
        let unusable =
            |error: AsrError| ModelError::Unusable { id: spec.id.clone(), reason: error.to_string() };
        let short_context = spec.short_context;
        let options = WhisperOptions { use_gpu: device.is_gpu(), threads, short_context, encoder };
        let path = spec.path.as_deref().ok_or_else(|| ModelError::NotInstalled { id: spec.id.clone() })?;
        let model = WhisperModel::load(path, options).map_err(unusable)?;
        let weights = model.weight_bytes();
        let count = engines.of(&spec.id);
        let pool = EnginePool::start_counted(transcribers(model), workers, count).map_err(unusable)?;
        Ok(Loaded { value: Arc::new(pool), memory_bytes: weights })
    })
}

/// The same loader, counting its loads.
fn counted<T: 'static>(loader: Loader<T>, engines: Engines) -> Loader<T> {
    Box::new(move |spec| {
        let start = Instant::now();
        // The manager takes the panic as an error of this model.
        let result = catch_unwind(AssertUnwindSafe(|| loader(spec))).unwrap_or_else(|panic| {
            engines.load_panicked();
            engines.loaded(&spec.id, false, start.elapsed());
            resume_unwind(panic)
        });
        engines.loaded(&spec.id, result.is_ok(), start.elapsed());
        result
    })
}

/// Makes the workers' transcribers on one copy of the weights.
fn transcribers(model: Arc<WhisperModel>) -> Factory {
    Arc::new(move || Ok(Box::new(WhisperTranscriber::new(Arc::clone(&model))?) as Box<dyn Transcriber>))
}

/// The real work behind the routes.
struct LocalBackend {
    parts: Parts,
    ready: AtomicBool,
}

impl Backend for LocalBackend {
    fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError> {
        self.parts.pipeline.run(request, control)
    }

    fn models(&self) -> Vec<ModelSpec> {
        self.parts.catalogue.usable()
    }

    fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError> {
        self.parts.catalogue.resolve(name)
    }

    fn health(&self) -> Health {
        Health { ready: self.ready.load(Ordering::Acquire), models: self.parts.models.status() }
    }

    fn metrics(&self) -> Metrics {
        self.parts.metrics.clone()
    }
}

/// Serves until SIGTERM or SIGINT. Running requests then have `shutdown_timeout_s` to finish; a second
/// signal ends at once.
///
/// # Errors
/// When the port is taken, a needed part is missing, or the default model cannot be loaded.
pub fn run(settings: &Settings) -> Result<(), StartError> {
    let address = settings.address().map_err(|error| StartError::Io(error.to_string()))?;
    check_temp_dir(&settings.temp_dir())?;
    let parts = Parts::assemble_measured(settings)?;
    // Said now, not at the first request.
    parts.catalogue.resolve(&settings.default_model)?;
    let listener = TcpListener::bind(address).map_err(|error| {
        StartError::Io(format!(
            "cannot listen on {address}: {error}; `--listen` (DIARIST_LISTEN) takes another"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| StartError::Io(error.to_string()))?;
    let backend = Arc::new(LocalBackend { parts, ready: AtomicBool::new(false) });
    let wanted: Vec<String> =
        std::iter::once(&settings.default_model).chain(&settings.preload).cloned().collect();
    let options = api_options(settings);
    actix_web::rt::System::new().block_on(async move {
        let server = api::listen(options, backend.clone(), listener)
            .map_err(|error| StartError::Io(error.to_string()))?;
        tracing::info!("listening on http://{address}");
        actix_web::rt::spawn(stop_on_signal(server.handle()));
        let handle = server.handle();
        let loading = actix_web::rt::task::spawn_blocking(move || get_ready(&backend, &wanted));
        let watcher = actix_web::rt::spawn(async move {
            let result = loading.await.unwrap_or_else(|panic| Err(StartError::Io(panic.to_string())));
            if result.is_err() {
                handle.stop(false).await;
            }
            result
        });
        server.await.map_err(|error| StartError::Io(error.to_string()))?;
        // The server ends at a signal, or because the models could not be loaded; then this says why. The
        // process cannot end before a load that has begun, so waiting for it costs nothing.
        watcher.await.unwrap_or(Ok(()))
    })
}

/// Makes sure that uploads can be stored.
fn check_temp_dir(folder: &Path) -> Result<(), StartError> {
    tempfile::tempfile_in(folder).map(drop).map_err(|error| {
        StartError::Io(format!(
            "temp_dir (DIARIST_TEMP_DIR): {} does not take files: {error}; name a folder that does",
            folder.display()
        ))
    })
}

/// Loads what every request may need.
fn get_ready(backend: &LocalBackend, wanted: &[String]) -> Result<(), StartError> {
    backend.parts.models.preload(wanted)?;
    for name in wanted {
        warm_up(&backend.parts.models, name)?;
    }
    backend.ready.store(true, Ordering::Release);
    tracing::info!(models = wanted.join(", "), "ready");
    Ok(())
}

/// Runs a loaded model once, so that a machine too small for it says so now, and the first request finds
/// memory and kernels in place.
fn warm_up(models: &ModelManager<EnginePool>, name: &str) -> Result<(), StartError> {
    let lease = models.lease(name)?;
    let session = lease.session(CancelToken::new(), Priority::High);
    let second = SAMPLE_RATE as usize;
    let silence = ReadSamples::new(second as u64, move |samples| samples.resize(second, 0.0));
    session.submit(0, silence, Arc::new(DecodingOptions { beam_size: 1, ..DecodingOptions::default() }));
    let unusable = |error: AsrError| ModelError::Unusable { id: name.to_owned(), reason: error.to_string() };
    let (_, result) = session.next().map_err(unusable)?;
    result.map_err(unusable)?;
    Ok(())
}

async fn stop_on_signal(server: actix_web::dev::ServerHandle) {
    wait_for_signal().await;
    tracing::info!("stopping: running requests may finish");
    actix_web::rt::spawn(async move { server.stop(true).await });
    wait_for_signal().await;
    tracing::warn!("stopping at once");
    // Not `exit`: its cleaning up would take the engines' memory from under their running threads.
    // SAFETY: ends the process; nothing is touched any more.
    unsafe { libc::_exit(1) }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; stop the process by SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn api_options(settings: &Settings) -> ApiOptions {
    ApiOptions {
        max_upload_bytes: settings.max_upload_bytes,
        api_keys: settings.api_keys.clone(),
        temp_dir: settings.temp_dir(),
        max_running: settings.max_running,
        max_waiting: settings.max_waiting,
        cors_origins: settings.cors_origins.clone(),
        body_timeout_s: settings.body_timeout_s,
        shutdown_timeout_s: settings.shutdown_timeout_s,
        metrics: settings.metrics,
        metrics_key: settings.metrics_key.clone(),
        ..ApiOptions::default()
    }
}
