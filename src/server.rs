//! The only wiring: settings to models, engines, pipeline and routes.
//!
//! `shape` decides how many workers there are, `sample` is what they are tried with, `speakers` loads what
//! tells speakers apart, `separation` what separates voices from music, `signals` ends it all.

mod model_file;
pub mod sample;
pub mod separation;
pub mod shape;
mod signals;
pub mod speakers;

pub use signals::exit_code;

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::api::lifecycle::Ending;
use crate::api::tls::{Tls, TlsError};
use crate::api::{Api, ApiOptions, Backend, Health};
use crate::asr::engine::{EnginePool, Factory, Priority, ReadSamples};
use crate::asr::whisper::{EncoderEngine, WhisperModel, WhisperOptions, WhisperTranscriber};
use crate::asr::{AsrError, DecodingOptions, Transcriber};
use crate::cancel::CancelToken;
use crate::config::Settings;
use crate::diarization::DiarizationEngine;
use crate::models::ModelError;
use crate::models::catalogue::{Catalogue, ModelSpec};
use crate::models::manager::{Loaded, Loader, ModelManager};
use crate::models::verify::check_before_loading;
use crate::pipeline::{
    Control, DiarizationOutcome, DiarizationRequest, Outcome, Pipeline, PipelineError, Request, VadFactory,
    lent, lent_separator,
};
use crate::runtime::cores::Shape;
use crate::runtime::device::{self, Device};
use crate::runtime::onnx;
use crate::scratch::Scratch;
use crate::separation::LoadedSeparator;
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
    /// The certificate or its key.
    #[error("tls_cert and tls_key (DIARIST_TLS_CERT, DIARIST_TLS_KEY): {0}")]
    Tls(#[from] TlsError),
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
    /// What tells speakers apart, by the id of the encoder; loaded by the first lease.
    pub diarization: Arc<ModelManager<DiarizationEngine>>,
    /// What separates voices from music; loaded by the first lease.
    pub separation: Arc<ModelManager<LoadedSeparator>>,
    /// The stages.
    pub pipeline: Arc<Pipeline>,
    /// Temporary files.
    pub scratch: Scratch,
    /// What all of them count.
    pub metrics: Metrics,
}

impl Parts {
    /// Builds everything from the settings, with workers by the rule; loads no speech model yet.
    ///
    /// # Errors
    /// When this machine lacks something that every request needs.
    pub fn assemble(settings: &Settings) -> Result<Self, StartError> {
        Self::assemble_with(settings, |device, _, _| shape::by_rule(settings, device))
    }

    /// As `assemble`, with as many workers as a short measurement finds best. For whoever runs long enough to
    /// gain by it.
    ///
    /// # Errors
    /// As `assemble`.
    pub fn assemble_measured(settings: &Settings) -> Result<Self, StartError> {
        Self::assemble_with(settings, |device, catalogue, scratch| {
            shape::at_start(settings, device, catalogue, scratch)
        })
    }

    fn assemble_with(
        settings: &Settings,
        shape: impl FnOnce(Device, &Catalogue, &Scratch) -> Shape,
    ) -> Result<Self, StartError> {
        device::check_cpu().map_err(StartError::Device)?;
        let device = usable_device(settings)?;
        let scratch = open_scratch(settings)?;
        onnx::runtime(settings.onnxruntime())?;
        let options = settings.models();
        let catalogue = Arc::new(Catalogue::open(&options)?);
        let vad = vad_factory(&catalogue)?;
        let metrics = Metrics::new();
        let shape = shape(device, &catalogue, &scratch);
        let loader = speech_loader(device, shape, settings.encoder(), metrics.engines.clone());
        let loader = counted(checked(loader), metrics.engines.clone());
        let models = Arc::new(ModelManager::new(Arc::clone(&catalogue), loader, &options));
        let diarization = Arc::new(speakers::manager(&catalogue, &options));
        let separation = Arc::new(separation::manager(&catalogue, &options));
        let mut options = settings.pipeline();
        options.audio.scratch = scratch.clone();
        let diarizers = lent(Arc::clone(&diarization), settings.diarization_model.clone());
        let separators = lent_separator(Arc::clone(&separation), settings.separation_model.clone());
        let pipeline = Pipeline::new(options, Arc::clone(&models), vad);
        let pipeline = pipeline.with_diarizers(diarizers).with_separators(separators);
        let pipeline = Arc::new(pipeline.counted(metrics.work.clone()));
        pipeline.warm_up()?;
        Ok(Self { catalogue, models, diarization, separation, pipeline, scratch, metrics })
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
    let spec = catalogue.voice_activity()?;
    check_before_loading(&spec)?;
    let path = spec.path.unwrap_or_default();
    // Read once, so that a file that is replaced while the server runs makes no difference.
    let model = std::fs::read(&path)
        .map_err(|error| VadError::Model(format!("{} cannot be read: {error}", path.display())))
        .map_err(PipelineError::from)?;
    Ok(Box::new(move || Ok::<_, VadError>(Box::new(SileroVad::of(&model, &path)?))))
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

/// The same loader, which does not touch files that are not what they should be.
fn checked<T: 'static>(loader: Loader<T>) -> Loader<T> {
    Box::new(move |spec| check_before_loading(spec).and_then(|()| loader(spec)))
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

    fn diarize(
        &self,
        request: &DiarizationRequest,
        control: &Control,
    ) -> Result<DiarizationOutcome, PipelineError> {
        self.parts.pipeline.diarize(request, control)
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

/// Serves until SIGTERM or SIGINT. Running requests then have `shutdown_timeout_s` to finish, and the rest is
/// told; a second signal ends the process at once (`signals`).
///
/// # Errors
/// When the port is taken, a needed part is missing, or the default model cannot be loaded.
pub fn run(settings: &Settings) -> Result<Ending, StartError> {
    let tls = settings.tls().map(Tls::load).transpose()?;
    let address = settings.address().map_err(|error| StartError::Io(error.to_string()))?;
    let parts = Parts::assemble_measured(settings)?;
    let scratch = parts.scratch.clone();
    let _cleaning = Cleaning(scratch.clone());
    // Said now, not at the first request.
    parts.catalogue.resolve(&settings.default_model)?;
    speakers::look(&parts.catalogue, &settings.diarization_model)?;
    separation::look_ahead(&parts.catalogue, &settings.separation_model, settings.separation_mode())?;
    let listener = TcpListener::bind(address).map_err(|error| {
        StartError::Io(format!(
            "cannot listen on {address}: {error}; `--listen` (DIARIST_LISTEN) takes another"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| StartError::Io(error.to_string()))?;
    let options = api_options(settings, scratch.clone(), tls);
    let backend = Arc::new(LocalBackend { parts, ready: AtomicBool::new(false) });
    let wanted: Vec<String> =
        std::iter::once(&settings.default_model).chain(&settings.preload).cloned().collect();
    actix_web::rt::System::new().block_on(async move {
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        signals::reload_on_hangup(options.tls.clone());
        let api = Api::new(options, backend.clone());
        let server = api.listen(listener).map_err(|error| StartError::Io(error.to_string()))?;
        tracing::info!("listening on {scheme}://{address}");
        let ending = signals::end_on_signal(api.clone(), server.handle(), scratch.clone());
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
        watcher.await.unwrap_or(Ok(()))?;
        let ending = ending.get();
        if !api.is_idle_soon().await {
            // Ending the runtime would wait for it without end.
            tracing::warn!("work that nobody waits for does not end");
            signals::exit_now(ending, &scratch);
        }
        Ok(ending)
    })
}

/// Makes the folder of temporary files, without those of processes that have died.
fn open_scratch(settings: &Settings) -> Result<Scratch, StartError> {
    let scratch = Scratch::open(&settings.scratch()).map_err(|error| {
        StartError::Io(format!(
            "temp_dir (DIARIST_TEMP_DIR): {} does not take files: {error}; name a folder that does",
            settings.temp_dir().display()
        ))
    })?;
    if let Err(error) = scratch.check(0) {
        tracing::warn!(%error, free_bytes = scratch.disk().ok().map(|disk| disk.free_bytes), "recordings will be refused");
    }
    Ok(scratch)
}

/// Removes the temporary files at the end, however it comes; threads that still run may never drop theirs.
struct Cleaning(Scratch);

impl Drop for Cleaning {
    fn drop(&mut self) {
        self.0.close();
    }
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

fn api_options(settings: &Settings, scratch: Scratch, tls: Option<Tls>) -> ApiOptions {
    ApiOptions {
        max_upload_bytes: settings.max_upload_bytes,
        api_keys: settings.api_keys.clone(),
        scratch,
        max_running: settings.max_running,
        max_waiting: settings.max_waiting,
        max_per_client: settings.max_per_client,
        max_connections: settings.max_connections,
        cors_origins: settings.cors_origins.clone(),
        body_timeout_s: settings.body_timeout_s,
        upload_timeout_s: settings.upload_timeout_s,
        send_timeout_s: settings.send_timeout_s,
        shutdown_timeout_s: settings.shutdown_timeout_s,
        tls,
        metrics: settings.metrics,
        metrics_key: settings.metrics_key.clone(),
        ..ApiOptions::default()
    }
}
