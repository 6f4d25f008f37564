//! The HTTP server: OpenAI's routes in front of the pipeline. The only room, with `server`, that knows actix.
//!
//! A request passes `context` (id, headers, log line), `auth`, `lifecycle`, then its handler, one file per path. The three
//! that take a recording share `answer`: `admission` gives a slot, `line` a turn, `form` streams the file to disk
//! and parses the fields, the backend runs, `output` (through `pour`, when it is long) or `sse` tells the result.
//! What does the work is behind `Backend`, so
//! that tests can put something scripted there.

pub mod admission;
mod answer;
pub mod auth;
mod client;
mod connection;
mod context;
mod diarizations;
pub mod error;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
pub mod lifecycle;
pub mod line;
mod metrics;
mod models;
mod pour;
mod socket;
mod sse;
mod tally;
pub mod tls;
mod transcriptions;
mod translations;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use tokio::sync::Semaphore;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, web};

use crate::models::ModelError;
use crate::models::catalogue::ModelSpec;
use crate::models::manager::ModelStatus;
use crate::pipeline::{Control, DiarizationOutcome, DiarizationRequest, Outcome, PipelineError, Request};
use crate::scratch::Scratch;
use crate::telemetry::metrics::Metrics;

use admission::{Admission, Limits};
use auth::Keys;
use error::ApiError;
use lifecycle::{Ending, Lifecycle};
use tls::Tls;

/// Every route, in the order of `openapi.yaml`: method, path.
pub const ROUTES: [(&str, &str); 9] = [
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations"),
    ("POST", "/v1/audio/diarizations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
];

/// How long a connection whose upload was refused is read on, so that a client which sends everything
/// before it reads still finds its answer. Also how long a client may take to close.
const LINGER: Duration = Duration::from_secs(30);
/// Threads of a worker for blocking work beside the running requests: answers being written, files being closed.
const SPARE_THREADS: usize = 32;
/// How long connections may take to hand over what has been answered, in seconds, when the server ends.
const FLUSH_S: u64 = 5;
/// How long the head of a request, or a TLS handshake, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Does what the routes promise. Implemented by `server` over pipeline and models.
pub trait Backend: Send + Sync + 'static {
    /// Runs one request to its end. Blocking; called on a thread for blocking work.
    ///
    /// # Errors
    /// As `Pipeline::run`.
    fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError>;

    /// Finds out who spoke when, without the text. Blocking, as `run`.
    ///
    /// # Errors
    /// As `Pipeline::diarize`.
    fn diarize(
        &self,
        request: &DiarizationRequest,
        control: &Control,
    ) -> Result<DiarizationOutcome, PipelineError>;

    /// What `GET /v1/models` lists: usable models, then aliases as entries of their own.
    fn models(&self) -> Vec<ModelSpec>;

    /// The usable speech model that `name` (id or alias) stands for.
    ///
    /// # Errors
    /// As `Catalogue::resolve`.
    fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError>;

    /// Whether requests can be served. Called once per request: cheap, and never waits for a load.
    fn health(&self) -> Health;

    /// Where this backend counts, so that its numbers and those of the routes stand on one page. Asked once.
    fn metrics(&self) -> Metrics {
        Metrics::new()
    }
}

/// How the backend is.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether requests are taken; while it is false they are answered with 503.
    pub ready: bool,
    /// State of each model.
    pub models: Vec<ModelStatus>,
}

/// How the server behaves.
#[derive(Clone)]
pub struct ApiOptions {
    /// Largest request body, in bytes (`DIARIST_MAX_UPLOAD_BYTES`).
    pub max_upload_bytes: u64,
    /// Keys that open `/v1` (`DIARIST_API_KEYS`); none leaves it open.
    pub api_keys: Vec<String>,
    /// Where uploads lie. Each is deleted when its request ends.
    pub scratch: Scratch,
    /// Requests that run at once; at least 1.
    pub max_running: usize,
    /// Bytes of memory that the text fields of all forms may take while they are read, reference clips above all;
    /// at least what one form may hold (20 MiB).
    pub max_text_bytes: usize,
    /// Further requests that may upload and wait; the next one is answered with 429.
    pub max_waiting: usize,
    /// Requests of one key, or of one address where there are no keys, that may run or wait; 0: no limit.
    pub max_per_client: usize,
    /// Connections at once, those without a request included; further ones wait to be accepted.
    pub max_connections: usize,
    /// Time for which a connection is kept between two requests, in seconds; longer than the clients keep theirs, or
    /// they would meet closed ones.
    pub keep_alive_s: u64,
    /// Origins whose pages may call the server from a browser; `*` allows all, none sends no CORS headers.
    pub cors_origins: Vec<String>,
    /// Longest silence of a client in the middle of its upload, in seconds.
    pub body_timeout_s: u64,
    /// Longest time that a whole upload may take, in seconds.
    pub upload_timeout_s: u64,
    /// Longest time that a client may leave its answer untouched, in seconds.
    pub send_timeout_s: u64,
    /// How long a graceful stop waits for requests that run, in seconds.
    pub shutdown_timeout_s: u64,
    /// Threads that talk HTTP; the work itself is done elsewhere.
    pub workers: usize,
    /// Certificate and key; none: no TLS.
    pub tls: Option<Tls>,
    /// Whether `/metrics` is served.
    pub metrics: bool,
    /// Key that opens `/metrics`; empty: one of `api_keys` does, and without any it is for this machine alone.
    pub metrics_key: String,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            max_upload_bytes: 25 * 1024 * 1024,
            api_keys: Vec::new(),
            scratch: Scratch::default(),
            max_running: 2,
            max_text_bytes: 256 << 20,
            max_waiting: 32,
            max_per_client: 0,
            max_connections: 1_024,
            keep_alive_s: 75,
            cors_origins: Vec::new(),
            body_timeout_s: 30,
            upload_timeout_s: 21_600,
            send_timeout_s: 60,
            shutdown_timeout_s: 30,
            workers: 2,
            tls: None,
            metrics: true,
            metrics_key: String::new(),
        }
    }
}

impl std::fmt::Debug for ApiOptions {
    /// Everything but the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            max_upload_bytes,
            api_keys,
            scratch,
            max_running,
            max_text_bytes,
            max_waiting,
            max_per_client,
            max_connections,
            keep_alive_s,
            cors_origins,
            body_timeout_s,
            upload_timeout_s,
            send_timeout_s,
            shutdown_timeout_s,
            workers,
            tls,
            metrics,
            metrics_key,
        } = self;
        f.debug_struct("ApiOptions")
            .field("max_upload_bytes", max_upload_bytes)
            .field("api_keys", &format_args!("{} keys", api_keys.len()))
            .field("scratch", scratch)
            .field("max_running", max_running)
            .field("max_text_bytes", max_text_bytes)
            .field("max_waiting", max_waiting)
            .field("max_per_client", max_per_client)
            .field("max_connections", max_connections)
            .field("keep_alive_s", keep_alive_s)
            .field("cors_origins", cors_origins)
            .field("body_timeout_s", body_timeout_s)
            .field("upload_timeout_s", upload_timeout_s)
            .field("send_timeout_s", send_timeout_s)
            .field("shutdown_timeout_s", shutdown_timeout_s)
            .field("workers", workers)
            .field("tls", &tls.is_some())
            .field("metrics", metrics)
            .field("metrics_key", &format_args!("{} bytes", metrics_key.len()))
            .finish()
    }
}

/// What all handlers share.
pub struct ApiState {
    backend: Arc<dyn Backend>,
    options: ApiOptions,
    keys: Keys,
    admission: Admission,
    lifecycle: Lifecycle,
    /// Bytes that the text fields of forms which are being read may still take.
    text_room: Arc<Semaphore>,
    metrics: Metrics,
    metrics_keys: Keys,
}

/// A server on `listener`, which runs once it is awaited in an actix system, until `Server::handle().stop(graceful)`.
///
/// # Errors
/// When the listener cannot be used.
pub fn listen(options: ApiOptions, backend: Arc<dyn Backend>, listener: TcpListener) -> io::Result<Server> {
    Api::new(options, backend).listen(listener)
}

/// The routes over one backend, and their state. Cloning shares it.
#[derive(Clone)]
pub struct Api(web::Data<ApiState>);

impl Api {
    /// Nothing listens yet.
    pub fn new(options: ApiOptions, backend: Arc<dyn Backend>) -> Self {
        Self(web::Data::new(ApiState {
            keys: Keys::new(&options.api_keys),
            admission: Admission::new(Limits {
                running: options.max_running,
                waiting: options.max_waiting,
                per_client: options.max_per_client,
            }),
            lifecycle: Lifecycle::default(),
            text_room: Arc::new(Semaphore::new(options.max_text_bytes)),
            metrics: backend.metrics(),
            metrics_keys: metrics_keys(&options),
            backend,
            options,
        }))
    }

    /// As the function `listen`.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn listen(&self, listener: TcpListener) -> io::Result<Server> {
        serve(self.0.clone(), listener)
    }

    /// Lets no more requests in, waits for those that are there (`ApiOptions::shutdown_timeout_s`), tells the rest, and
    /// returns. The server goes on saying that it stops until it is stopped.
    pub async fn close(&self) -> Ending {
        self.0.lifecycle.stop(Duration::from_secs(self.0.options.shutdown_timeout_s)).await
    }

    /// Gives work that nobody waits for any more a moment to end, and to take its files with it; whether it did.
    pub async fn is_idle_soon(&self) -> bool {
        lifecycle::ends_soon(self.0.admission.empty()).await
    }
}

/// What opens `/metrics`: its own key, or else any of the others.
fn metrics_keys(options: &ApiOptions) -> Keys {
    match options.metrics_key.trim() {
        "" => Keys::new(&options.api_keys),
        _ => Keys::new(std::slice::from_ref(&options.metrics_key)),
    }
}

fn serve(state: web::Data<ApiState>, listener: TcpListener) -> io::Result<Server> {
    let options = state.options.clone();
    let workers = options.workers.max(1);
    let keep_alive = Duration::from_secs(options.keep_alive_s.max(1));
    socket::keep_watch(&listener, Duration::from_secs(options.send_timeout_s.max(1)))?;
    let app = move || {
        let origins = &state.options.cors_origins;
        App::new()
            .app_data(state.clone())
            .wrap(Condition::new(!origins.is_empty(), cors(origins)))
            .wrap(from_fn(context::finish))
            .configure(routes)
            .default_service(web::to(unknown_url))
    };
    let server = HttpServer::new(app)
        .workers(workers)
        // Any worker may be the one that all running requests came to.
        .worker_max_blocking_threads(options.max_running + SPARE_THREADS)
        .max_connections(options.max_connections.div_ceil(workers).max(1))
        .tls_handshake_timeout(HEAD_TIMEOUT)
        .on_connect(connection::watch(keep_alive + HEAD_TIMEOUT))
        .keep_alive(keep_alive)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(LINGER)
        // A client that has gone away ends its handler at once, and with it the work.
        .h1_allow_half_closed(false)
        // Requests have had their time when the server is stopped; this is for what is still on its way out.
        .shutdown_timeout(FLUSH_S)
        .disable_signals();
    let server = match options.tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.server_config())?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// The route table, in the order of `openapi.yaml`.
fn routes(app: &mut web::ServiceConfig) {
    app.service(
        web::scope("/v1")
            .wrap(from_fn(lifecycle::gate))
            .wrap(from_fn(auth::guard))
            .service(resource("/audio/transcriptions", "POST").route(web::post().to(transcriptions::create)))
            .service(resource("/audio/translations", "POST").route(web::post().to(translations::create)))
            .service(resource("/audio/diarizations", "POST").route(web::post().to(diarizations::create)))
            .service(
                resource("/models", "GET, HEAD")
                    .route(web::get().to(models::list))
                    .route(web::head().to(models::list)),
            )
            .service(
                resource("/models/{model:.+}", models::ALLOW)
                    .route(web::get().to(models::retrieve))
                    .route(web::head().to(models::retrieve))
                    .route(web::delete().to(models::delete)),
            )
            .default_service(web::to(unknown_url)),
    )
    .service(get_or_head("/health", health::health))
    .service(get_or_head("/health/live", health::live))
    .service(get_or_head("/health/ready", health::ready))
    .service(get_or_head("/metrics", metrics::metrics));
}

/// A path that answers other methods than its own with 405.
fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| async move {
        Err::<HttpResponse, _>(ApiError::method_not_allowed(request.method(), request.path(), allow))
    }))
}

fn get_or_head<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args, Output: actix_web::Responder + 'static> + Clone,
    Args: actix_web::FromRequest + 'static,
{
    resource(path, "GET, HEAD").route(web::get().to(handler.clone())).route(web::head().to(handler))
}

async fn unknown_url(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::unknown_url(request.method(), request.path()))
}

fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "OPTIONS"])
        .allow_any_header()
        .expose_headers(["X-Request-ID", "OpenAI-Processing-MS", "Retry-After", "Server-Timing"])
        .max_age(3600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let options = ApiOptions {
            api_keys: vec!["hunter2".into()],
            metrics_key: "hunter3".into(),
            ..ApiOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter") && shown.contains("1 keys"), "{shown}");
    }
}
