//! The HTTP server: OpenAI's routes in front of the pipeline. The only room, with `server`, that knows actix.
//!
//! A request passes `context` (id, headers, log line), `auth`, then its handler, one file per path. The two
//! that take a recording share `answer`: `admission` gives a slot, `line` a turn, `form` streams the file to disk
//! and parses the fields, the backend runs, `output` (through `pour`, when it is long) or `sse` tells the result.
//! What does the work is behind `Backend`, so
//! that tests can put something scripted there.

pub mod admission;
mod answer;
pub mod auth;
mod context;
pub mod error;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
pub mod line;
mod models;
mod pour;
mod sse;
mod transcriptions;
mod translations;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, web};

use crate::models::ModelError;
use crate::models::catalogue::ModelSpec;
use crate::models::manager::ModelStatus;
use crate::pipeline::{Control, Outcome, PipelineError, Request};

use admission::Admission;
use auth::Keys;
use error::ApiError;

/// Every route, in the order of `openapi.yaml`: method, path.
pub const ROUTES: [(&str, &str); 7] = [
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
];

/// How long a connection whose upload was refused is read on, so that a client which sends everything
/// before it reads still finds its answer. Also how long a client may take to close.
const LINGER: Duration = Duration::from_secs(30);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Threads of a worker for blocking work beside the running requests: answers being written, files being closed.
const SPARE_THREADS: usize = 32;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Does what the routes promise. Implemented by `server` over pipeline and models.
pub trait Backend: Send + Sync + 'static {
    /// Runs one request to its end. Blocking; called on a thread for blocking work.
    ///
    /// # Errors
    /// As `Pipeline::run`.
    fn run(&self, request: &Request, control: &Control) -> Result<Outcome, PipelineError>;

    /// What `GET /v1/models` lists: usable models, then aliases as entries of their own.
    fn models(&self) -> Vec<ModelSpec>;

    /// The usable speech model that `name` (id or alias) stands for.
    ///
    /// # Errors
    /// As `Catalogue::resolve`.
    fn resolve(&self, name: &str) -> Result<ModelSpec, ModelError>;

    /// Whether requests can be served. Called once per request: cheap, and never waits for a load.
    fn health(&self) -> Health;
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
    /// Existing folder for uploads (`DIARIST_TEMP_DIR`). Each is deleted when its request ends.
    pub temp_dir: PathBuf,
    /// Requests that run at once; at least 1.
    pub max_running: usize,
    /// Further requests that may upload and wait; the next one is answered with 429.
    pub max_waiting: usize,
    /// Origins whose pages may call the server from a browser; `*` allows all, none sends no CORS headers.
    pub cors_origins: Vec<String>,
    /// Longest silence of a client in the middle of its upload, in seconds.
    pub body_timeout_s: u64,
    /// How long a graceful stop waits for requests that run, in seconds.
    pub shutdown_timeout_s: u64,
    /// Threads that talk HTTP; the work itself is done elsewhere.
    pub workers: usize,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            max_upload_bytes: 25 * 1024 * 1024,
            api_keys: Vec::new(),
            temp_dir: std::env::temp_dir(),
            max_running: 2,
            max_waiting: 32,
            cors_origins: Vec::new(),
            body_timeout_s: 30,
            shutdown_timeout_s: 30,
            workers: 2,
        }
    }
}

impl std::fmt::Debug for ApiOptions {
    /// Everything but the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            max_upload_bytes,
            api_keys,
            temp_dir,
            max_running,
            max_waiting,
            cors_origins,
            body_timeout_s,
            shutdown_timeout_s,
            workers,
        } = self;
        f.debug_struct("ApiOptions")
            .field("max_upload_bytes", max_upload_bytes)
            .field("api_keys", &format_args!("{} keys", api_keys.len()))
            .field("temp_dir", temp_dir)
            .field("max_running", max_running)
            .field("max_waiting", max_waiting)
            .field("cors_origins", cors_origins)
            .field("body_timeout_s", body_timeout_s)
            .field("shutdown_timeout_s", shutdown_timeout_s)
            .field("workers", workers)
            .finish()
    }
}

/// What all handlers share.
pub struct ApiState {
    backend: Arc<dyn Backend>,
    options: ApiOptions,
    keys: Keys,
    admission: Admission,
}

/// A server on `listener`, which runs once it is awaited in an actix system. It handles no signals: use
/// `Server::handle().stop(graceful)`.
///
/// # Errors
/// When the listener cannot be used.
pub fn listen(options: ApiOptions, backend: Arc<dyn Backend>, listener: TcpListener) -> io::Result<Server> {
    let workers = options.workers.max(1);
    let (shutdown_timeout_s, max_running) = (options.shutdown_timeout_s, options.max_running);
    let state = web::Data::new(ApiState {
        backend,
        keys: Keys::new(&options.api_keys),
        admission: Admission::new(options.max_running, options.max_waiting),
        options,
    });
    let app = move || {
        let origins = &state.options.cors_origins;
        App::new()
            .app_data(state.clone())
            .wrap(Condition::new(!origins.is_empty(), cors(origins)))
            .wrap(from_fn(context::finish))
            .configure(routes)
            .default_service(web::to(unknown_url))
    };
    Ok(HttpServer::new(app)
        .workers(workers)
        // Any worker may be the one that all running requests came to.
        .worker_max_blocking_threads(max_running + SPARE_THREADS)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(LINGER)
        // A client that has gone away ends its handler at once, and with it the work.
        .h1_allow_half_closed(false)
        .shutdown_timeout(shutdown_timeout_s)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// The route table, in the order of `openapi.yaml`.
fn routes(app: &mut web::ServiceConfig) {
    app.service(
        web::scope("/v1")
            .wrap(from_fn(auth::guard))
            .service(resource("/audio/transcriptions", "POST").route(web::post().to(transcriptions::create)))
            .service(resource("/audio/translations", "POST").route(web::post().to(translations::create)))
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
    .service(get_or_head("/health/ready", health::ready));
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
        let options = ApiOptions { api_keys: vec!["hunter2".into()], ..ApiOptions::default() };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2") && shown.contains("1 keys"), "{shown}");
    }
}
