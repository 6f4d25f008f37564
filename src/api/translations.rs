//! `POST /v1/audio/translations`: speech in any language to English text.

use actix_web::{HttpRequest, HttpResponse, web};

use super::ApiState;
use super::answer::{Endpoint, answer};
use super::error::ApiError;

/// Answers with English text, in the format asked for.
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    answer(Endpoint::Translations, &request, payload, &state).await
}
