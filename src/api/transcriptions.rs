//! `POST /v1/audio/transcriptions`: speech to text in the language that is spoken.

use actix_web::{HttpRequest, HttpResponse, web};

use super::ApiState;
use super::answer::{Endpoint, answer};
use super::error::ApiError;

/// Answers with the text, in the format asked for, or as a stream of events.
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    answer(Endpoint::Transcriptions, &request, payload, &state).await
}
