//! `GET /metrics`: how the server does, for Prometheus.
//!
//! The page tells who uses the server how much, so it is not open to everybody as `/health` is: it takes the key
//! `metrics_key`; where none is set, any of the API keys; and where there are no keys at all, it is for this machine
//! alone.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::models::manager::ModelState;
use crate::telemetry::metrics::{self, ModelMemory, Permits, Snapshot};

use super::ApiState;
use super::error::ApiError;

/// Headers by which a proxy says that it asks for somebody else. One that adds none of them cannot be told from a
/// program on this machine.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// `GET /metrics`, in OpenMetrics' text format.
///
/// # Errors
/// 401 without the key, 403 for others than this machine when there are no keys, 404 when the page is off.
pub async fn metrics(http: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    if !state.options.metrics {
        return Err(ApiError::unknown_url(http.method(), http.path()));
    }
    if state.metrics_keys.is_empty() {
        only_this_machine(&http)?;
    } else {
        state.metrics_keys.check(http.headers())?;
    }
    // Files are looked at, which may take its time.
    let text = web::block(move || render(&state)).await.map_err(|error| {
        tracing::error!(%error, "the metrics could not be gathered");
        ApiError::internal()
    })?;
    Ok(HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text))
}

fn only_this_machine(http: &HttpRequest) -> Result<(), ApiError> {
    let is_local = http.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if is_local && !is_forwarded(http.headers()) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "without a key, metrics are for the server's own machine alone; set DIARIST_METRICS_KEY on the server and send \
         it in an `Authorization: Bearer KEY` header",
    ))
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn render(state: &ApiState) -> String {
    let health = state.backend.health();
    let models = health.models.iter().map(|model| ModelMemory {
        id: &model.id,
        is_loaded: model.state == ModelState::Loaded,
        bytes: model.memory_bytes,
    });
    state.metrics.render(&Snapshot {
        ready: health.ready && !state.lifecycle.is_stopping(),
        permits: permits(state),
        models: models.collect(),
        temporary_bytes: state.options.scratch.bytes(),
        disk: state.options.scratch.disk().ok(),
    })
}

fn permits(state: &ApiState) -> Vec<Permits> {
    let admission = &state.admission;
    let (free, limit) = admission.slots();
    let (running_free, running_limit) = admission.places();
    vec![
        Permits { kind: "admission", free, limit },
        Permits { kind: "running", free: running_free, limit: running_limit },
    ]
}
