//! `GET /v1/models` and `GET /v1/models/{model}`: what can be named in a request.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use crate::error::ErrorKind;
use crate::models::catalogue::ModelSpec;
use crate::output::{JSON_TYPE, json::to_json};

use super::ApiState;
use super::error::{ApiError, shown};

/// Methods of one model's path.
pub const ALLOW: &str = "GET, HEAD";

#[derive(Serialize)]
struct ModelBody<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> ModelBody<'a> {
    fn of(id: &'a str, spec: &'a ModelSpec) -> Self {
        Self { id, object: "model", created: spec.created, owned_by: &spec.owned_by }
    }
}

/// `GET /v1/models`: the models that are there and the names that stand for them.
pub async fn list(state: web::Data<ApiState>) -> HttpResponse {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<ModelBody<'a>>,
    }
    let models = state.backend.models();
    let data = models.iter().map(|spec| ModelBody::of(&spec.id, spec)).collect();
    HttpResponse::Ok().content_type(JSON_TYPE).body(to_json(&List { object: "list", data }))
}

/// `GET /v1/models/{model}`; the id may hold slashes, encoded or not.
pub async fn retrieve(
    state: web::Data<ApiState>,
    model: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let spec = find(&state, &model)?;
    Ok(HttpResponse::Ok().content_type(JSON_TYPE).body(to_json(&ModelBody::of(&model, &spec))))
}

/// `DELETE /v1/models/{model}`: models are not deleted over the network.
pub async fn delete(
    request: HttpRequest,
    state: web::Data<ApiState>,
    model: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    find(&state, &model)?;
    Err(ApiError::method_not_allowed(request.method(), request.path(), ALLOW))
}

fn find(state: &ApiState, id: &str) -> Result<ModelSpec, ApiError> {
    if let Some(spec) = state.backend.models().into_iter().find(|spec| spec.id == id) {
        return Ok(spec);
    }
    let known = if shown(id) == id { id } else { &shown(id) };
    state.backend.resolve(known).map_err(|error| match error.kind() {
        // Damaged, or of another use: no model that is served here has this name.
        ErrorKind::ModelUnusable => ApiError::new(ErrorKind::ModelNotFound, error.to_string()),
        _ => ApiError::from(&error),
    })
}
