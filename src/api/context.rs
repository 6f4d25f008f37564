//! What surrounds every request: its id, the headers of its answer, its line in the log.
//!
//! The line is written once, when the last byte of the answer has been handed over (a stream's too) or the
//! client has gone away. Values that clients choose are escaped in it, so that no line can be forged.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{
    ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::pipeline::Stage;

use super::ApiState;
use super::connection::{Busy, Connection};
use super::error::ApiError;
use super::tally::Held;

/// Header that carries the request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What keeps browsers from taking an answer for a page, should one ever be opened as such.
const SAFETY: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
];
/// Bytes of an answer that are handed over at once. Whole answers would count as sent while most of their bytes
/// still wait for the client.
const PIECE_BYTES: usize = 64 << 10;
/// Version that OpenAI's API has been announcing since it began.
const API_VERSION: &str = "2020-10-01";
/// Client gone before its answer: the status in the log.
const CLIENT_CLOSED: u16 = 499;

/// One request, from its head to the last byte of its answer. Writes the log line when dropped.
pub struct RequestContext {
    id: String,
    method: String,
    path: String,
    since: Instant,
    notes: RefCell<Notes>,
    _busy: Option<Busy>,
}

/// What is learned on the way.
#[derive(Default)]
struct Notes {
    status: Option<StatusCode>,
    model: String,
    upload_bytes: u64,
    audio_s: f64,
    timings: Vec<(Stage, Duration)>,
    /// Given back with the context.
    visit: Option<Held>,
}

impl RequestContext {
    fn new(request: &ServiceRequest) -> Rc<Self> {
        let offered = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = offered.filter(|id| is_request_id(id)).map_or_else(new_id, str::to_owned);
        Rc::new(Self {
            id,
            method: request.method().to_string(),
            path: request.path().chars().take(200).collect(),
            since: Instant::now(),
            notes: RefCell::default(),
            _busy: request.request().conn_data::<Connection>().map(Connection::busy),
        })
    }

    /// The context of a request that came through `finish`.
    pub fn of(request: &HttpRequest) -> Rc<Self> {
        let extensions = request.extensions();
        Rc::clone(extensions.get::<Rc<Self>>().expect("every request passes through `finish`"))
    }

    /// Keeps `visit` for as long as the request lasts.
    pub fn hold(&self, visit: Held) {
        self.notes.borrow_mut().visit = Some(visit);
    }

    /// Remembers what was uploaded.
    pub fn note_request(&self, model: &str, upload_bytes: u64) {
        let mut notes = self.notes.borrow_mut();
        notes.model = model.to_owned();
        notes.upload_bytes = upload_bytes;
    }

    /// Remembers what was done: seconds of audio, and the time that each stage took.
    pub fn note_outcome(&self, audio_s: f64, timings: &[(Stage, Duration)]) {
        let mut notes = self.notes.borrow_mut();
        notes.audio_s = audio_s;
        notes.timings = timings.to_vec();
    }

    /// Value of a `Server-Timing` header: each stage and the total, in ms.
    pub fn server_timing(&self) -> String {
        let notes = self.notes.borrow();
        let stages = notes.timings.iter().map(|(stage, took)| (stage.name(), *took));
        let all = stages.chain([("total", self.since.elapsed())]);
        all.map(|(name, took)| format!("{name};dur={:.1}", ms(took))).collect::<Vec<_>>().join(", ")
    }

    fn decorate(&self, status: StatusCode, headers: &mut HeaderMap) {
        self.notes.borrow_mut().status = Some(status);
        let id = HeaderValue::from_str(&self.id).expect("ids are visible ASCII");
        headers.insert(REQUEST_ID, id);
        headers.insert(
            HeaderName::from_static("openai-processing-ms"),
            HeaderValue::from(self.since.elapsed().as_millis() as u64),
        );
        headers.insert(HeaderName::from_static("openai-version"), HeaderValue::from_static(API_VERSION));
        for (name, value) in SAFETY {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if !headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("X-Request-ID"));
        }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        let notes = self.notes.borrow();
        let stages: Vec<String> =
            notes.timings.iter().map(|(stage, took)| format!("{}={:.1}", stage.name(), ms(*took))).collect();
        tracing::info!(
            request_id = %self.id,
            method = ?self.method,
            path = ?self.path,
            status = notes.status.map_or(CLIENT_CLOSED, |status| status.as_u16()),
            total_ms = ms(self.since.elapsed()),
            model = ?notes.model,
            upload_bytes = notes.upload_bytes,
            audio_s = notes.audio_s,
            stages_ms = %stages.join(" "),
            "request"
        );
    }
}

/// Middleware, outermost: gives the request its context, its answer the common headers, turns a panic into a
/// 500 and every error into OpenAI's envelope.
pub async fn finish<B>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let context = RequestContext::new(&request);
    request.extensions_mut().insert(Rc::clone(&context));
    let lifecycle = request.app_data::<web::Data<ApiState>>().map(|state| state.lifecycle.clone());
    let span = tracing::info_span!("request", id = %context.id);
    let answer = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span).await;
    match answer {
        Ok(Ok(response)) => Ok(with_envelope(response.map_into_boxed_body()).map_body(|head, body| {
            context.decorate(head.status, &mut head.headers);
            if lifecycle.is_some_and(|lifecycle| lifecycle.is_stopping()) {
                head.set_connection_type(ConnectionType::Close);
            }
            BoxBody::new(TracedBody { body, rest: Bytes::new(), _context: context })
        })),
        Ok(Err(error)) => Err(decorated(&context, HttpResponse::from_error(error))),
        Err(_panic) => {
            // The panic hook has already logged where it happened.
            Err(decorated(&context, ApiError::internal().error_response()))
        }
    }
}

/// An error that a middleware gave instead of an answer, with the common headers.
fn decorated(context: &RequestContext, response: HttpResponse) -> Error {
    let mut response = response;
    if !is_json(response.headers()) {
        response = ApiError::bare(response.status()).error_response();
    }
    context.decorate(response.status(), response.headers_mut());
    InternalError::from_response("request failed", response).into()
}

/// Gives an error that some layer answered in its own words OpenAI's envelope.
fn with_envelope(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || is_json(response.headers()) {
        return response;
    }
    let mut response = response;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(crate::output::JSON_TYPE));
    response.map_body(|_, _| BoxBody::new(ApiError::bare(status).envelope()))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == crate::output::JSON_TYPE.as_bytes())
}

/// A body that keeps the context until it has been sent, piece by piece.
struct TracedBody {
    body: BoxBody,
    /// What is left of the last chunk.
    rest: Bytes,
    _context: Rc<RequestContext>,
}

impl MessageBody for TracedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(chunk)) => this.rest = chunk,
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Ids that clients chose are taken over when they are short and plain.
fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn new_id() -> String {
    format!("req_{}", Uuid::now_v7().simple())
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_ids_are_taken_over() {
        assert!(is_request_id("req_0192-abc.d:e"));
        for id in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert!(!is_request_id(id), "{id:?}");
        }
        assert!(is_request_id(&new_id()));
    }
}
