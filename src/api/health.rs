//! `GET /health`, open to everybody: whether requests can be served, and the state of each model.
//!
//! `/health/live` answers while the process does, `/health/ready` like `/health` without the list.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use serde::Serialize;

use crate::models::manager::{ModelState, ModelStatus};
use crate::output::{JSON_TYPE, json::to_json};

use super::{ApiState, Health};

/// Requests can be served.
const OK: &str = "ok";

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<ModelBody<'a>>>,
}

#[derive(Serialize)]
struct ModelBody<'a> {
    id: &'a str,
    state: &'static str,
    memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> ModelBody<'a> {
    fn of(status: &'a ModelStatus) -> Self {
        let (state, error) = match &status.state {
            ModelState::Unloaded => ("unloaded", None),
            ModelState::Loading => ("loading", None),
            ModelState::Loaded => ("loaded", None),
            ModelState::Failed(reason) => ("failed", Some(reason.as_str())),
        };
        Self { id: &status.id, state, memory_bytes: status.memory_bytes, error }
    }
}

/// `GET /health`: 200 `ok`, or 503 `loading` or `stopping`, with the models.
pub async fn health(state: web::Data<ApiState>) -> HttpResponse {
    let health = state.backend.health();
    answer(status(&state, &health), Some(health.models.iter().map(ModelBody::of).collect()))
}

/// `GET /health/ready`: the same without the models.
pub async fn ready(state: web::Data<ApiState>) -> HttpResponse {
    answer(status(&state, &state.backend.health()), None)
}

/// `GET /health/live`: 200 whatever the models do.
pub async fn live() -> HttpResponse {
    answer(OK, None)
}

/// In one word, whether requests can be served.
fn status(state: &ApiState, health: &Health) -> &'static str {
    match (state.lifecycle.is_stopping(), health.ready) {
        (true, _) => "stopping",
        (false, true) => OK,
        (false, false) => "loading",
    }
}

fn answer(status: &'static str, models: Option<Vec<ModelBody<'_>>>) -> HttpResponse {
    let code = if status == OK { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = HttpResponseBuilder::new(code);
    if status != OK {
        response.insert_header(("retry-after", 1));
    }
    response.content_type(JSON_TYPE).body(to_json(&Body { status, models }))
}
