//! Doors for the fuzz targets to what reads a client's bytes. Built with the feature `fuzzing` only.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::test::TestRequest;
use actix_web::{FromRequest, web};
use bytes::Bytes;
use futures_util::stream;

use crate::audio::AudioSource;
use crate::pipeline::Request;
use crate::scratch::Scratch;
use crate::telemetry::metrics::Count;

use super::answer::{Endpoint, keep_clips};
use super::error::ApiError;
use super::form::request::{model_name, parse, parse_turns};
use super::form::{self, FormLimits};

pub use super::form::data_url;

/// Most bytes of a body here, so that the limit is met.
const MAX_BODY: u64 = 1 << 20;

/// Takes in a form whose body comes in `chunks`, from its bytes to the request that the pipeline would get, with the
/// clips of known speakers in files. `route` chooses among the routes that take a form.
///
/// # Panics
/// When the refusal of a form is not the client's fault, or its envelope is not JSON.
pub async fn form(route: u8, content_type: &[u8], chunks: Vec<Bytes>, scratch: &Scratch) {
    let Ok(content_type) = HeaderValue::from_bytes(content_type) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type);
    let routes = [Endpoint::Transcriptions, Endpoint::Translations, Endpoint::Diarizations];
    let endpoint = routes[usize::from(route) % routes.len()];
    if let Err(error) = request(endpoint, &headers, chunks, scratch).await {
        let response = actix_web::ResponseError::status_code(&error);
        assert!(response.is_client_error(), "{response}: {error}");
        let envelope = error.envelope();
        assert!(serde_json::from_str::<serde_json::Value>(&envelope).is_ok(), "{envelope}");
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    }
}

async fn request(
    endpoint: Endpoint,
    headers: &HeaderMap,
    chunks: Vec<Bytes>,
    scratch: &Scratch,
) -> Result<(), ApiError> {
    let body = stream::iter(chunks.into_iter().map(Ok::<_, PayloadError>));
    let mut payload = Payload::from(Box::pin(body) as std::pin::Pin<Box<dyn futures_util::Stream<Item = _>>>);
    let http = TestRequest::default().to_http_request();
    let payload = web::Payload::from_request(&http, &mut payload).await.expect("a body can always be had");
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(32 << 20));
    let limits = FormLimits {
        max_upload_bytes: MAX_BODY,
        idle: Duration::from_secs(1),
        longest: Duration::from_secs(5),
        scratch,
        received: Count::default(),
        text_room: &room,
    };
    let check_model = |name: &str| model_name(name).map(drop);
    let form = form::receive(endpoint, headers, payload, &limits, check_model).await?;
    assert!(form.upload.bytes > 0 && form.ignored.len() <= 16);
    let source = AudioSource { path: form.upload.file.path().to_path_buf(), name: form.upload.name.clone() };
    if let Some(name) = &source.name {
        assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control), "{name:?}");
    }
    let model = form.fields.text("model")?.unwrap_or_default().to_owned();
    let known = if endpoint == Endpoint::Diarizations {
        parse_turns(&form.fields, &form.ignored)?.speakers.known
    } else {
        parse(endpoint, &form.fields, &form.ignored, Request::new(source, model))?.known
    };
    let clips: Vec<_> = known.iter().map(|named| (named.name.clone(), named.clip.len() as u64)).collect();
    assert!(clips.len() <= 4 && clips.iter().all(|(name, bytes)| !name.trim().is_empty() && *bytes > 0));
    let (speakers, files) = keep_clips(known, scratch).await?;
    assert_eq!(speakers.len(), files.len());
    for (speaker, (name, bytes)) in speakers.iter().zip(&clips) {
        assert_eq!(speaker.name, *name);
        assert_eq!(std::fs::metadata(&speaker.clip.path).map(|found| found.len()).ok(), Some(*bytes));
    }
    Ok(())
}
