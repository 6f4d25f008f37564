//! What surrounds every request: its id and span, the headers of its answer, its line in the log, its numbers.
//!
//! The line is written and the request counted once, when the last byte of the answer has been handed over (a stream's too) or the
//! client has gone away. Values that clients choose are escaped in it, so that no line can be forged.

use std::cell::{Cell, RefCell};
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
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::pipeline::Stage;
use crate::telemetry::metrics::requests::Phase;
use crate::telemetry::metrics::{Ongoing, RequestMetrics};
use crate::telemetry::traces;

use super::connection::{Busy, Connection};
use super::error::{ApiError, Refusal};
use super::tally::Held;
use super::{ApiState, ROUTES};

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
    /// Method and path by which it is counted.
    labels: (&'static str, &'static str),
    since: Instant,
    span: tracing::Span,
    metrics: RequestMetrics,
    _in_flight: Ongoing,
    phase: Cell<Phase>,
    /// Whether its answer has been handed over whole, or has been broken off by the server.
    answered: Cell<bool>,
    /// Where the client was found to have left, though there will be an answer.
    left: Cell<Option<Phase>>,
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
    fn new(request: &ServiceRequest, metrics: RequestMetrics) -> Rc<Self> {
        let offered = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = offered.filter(|id| is_request_id(id)).map_or_else(new_id, str::to_owned);
        let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        Rc::new(Self {
            span: traces::request_span(&id, header),
            id,
            method: request.method().to_string(),
            path: request.path().chars().take(200).collect(),
            labels: (method_label(request.method()), route_label(request.path())),
            since: Instant::now(),
            _in_flight: metrics.in_flight(),
            metrics,
            phase: Cell::default(),
            answered: Cell::new(false),
            left: Cell::default(),
            notes: RefCell::default(),
            _busy: request.request().conn_data::<Connection>().map(Connection::busy),
        })
    }

    /// The request has come so far.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
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

    /// The client has gone; whatever is answered, nobody reads it.
    pub fn note_client_left(&self) {
        self.left.set(Some(self.phase.get()));
    }

    /// Remembers what was uploaded.
    pub fn note_request(&self, model: &str, upload_bytes: u64) {
        let mut notes = self.notes.borrow_mut();
        notes.model = model.to_owned();
        notes.upload_bytes = upload_bytes;
    }

    /// Remembers what was done: seconds of audio, and the time that each stage took.
    pub fn note_outcome(&self, audio_s: f64, timings: &[(Stage, Duration)]) {
        self.enter(Phase::Answer);
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

    /// Counts an answer of 429 or 503.
    fn note_refusal(&self, response: &HttpResponse<impl Sized>) {
        if let Some(Refusal(reason)) = response.extensions().get::<Refusal>() {
            self.metrics.refused(reason);
        }
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
        let answer = notes.status.filter(|_| self.left.get().is_none());
        let status = answer.map_or(CLIENT_CLOSED, |status| status.as_u16());
        let took = self.since.elapsed();
        let left_at = self.left.get().or_else(|| (!self.answered.get()).then(|| self.phase.get()));
        let (method, route) = self.labels;
        self.metrics.finished(route, method, status, took);
        if let Some(phase) = left_at {
            self.metrics.disconnected(phase);
        }
        let model = notes.model.as_str();
        let stage_ms =
            |wanted| notes.timings.iter().find(|(stage, _)| *stage == wanted).map(|(_, took)| ms(*took));
        // Texts, not their debug form: both forms of log escape them, and JSON must not do so twice.
        macro_rules! write_line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    method = self.method.as_str(),
                    path = self.path.as_str(),
                    status,
                    total_ms = ms(took),
                    model,
                    upload_bytes = notes.upload_bytes,
                    audio_s = notes.audio_s,
                    decode_ms = stage_ms(Stage::Decode),
                    separation_ms = stage_ms(Stage::Separation),
                    vad_ms = stage_ms(Stage::Vad),
                    language_ms = stage_ms(Stage::Language),
                    asr_ms = stage_ms(Stage::Asr),
                    diarization_ms = stage_ms(Stage::Diarization),
                    client_left = left_at.map(Phase::name),
                    "request"
                )
            };
        }
        self.span.in_scope(|| {
            if is_probe(route) {
                write_line!(tracing::Level::DEBUG);
            } else {
                write_line!(tracing::Level::INFO);
            }
        });
        let end = traces::RequestEnd { method, route, status, model, audio_s: notes.audio_s };
        traces::end_request(&self.span, end);
    }
}

/// Middleware, outermost: gives the request its context, its answer the common headers, turns a panic into a
/// 500 and every error into OpenAI's envelope.
pub async fn finish<B>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let state = request.app_data::<web::Data<ApiState>>().expect("the app is built with its state").clone();
    let context = RequestContext::new(&request, state.metrics.requests.clone());
    request.extensions_mut().insert(Rc::clone(&context));
    let span = context.span.clone();
    let answer = AssertUnwindSafe(next.call(request)).catch_unwind().instrument(span).await;
    match answer {
        Ok(Ok(response)) => {
            context.note_refusal(response.response());
            Ok(with_envelope(response.map_into_boxed_body()).map_body(|head, body| {
                context.decorate(head.status, &mut head.headers);
                if state.lifecycle.is_stopping() {
                    head.set_connection_type(ConnectionType::Close);
                }
                BoxBody::new(TracedBody::new(body, context))
            }))
        }
        Ok(Err(error)) => Err(decorated(&context, HttpResponse::from_error(error))),
        Err(_panic) => {
            // The panic hook has already logged where it happened.
            context.metrics.panicked();
            Err(decorated(&context, ApiError::internal().error_response()))
        }
    }
}

/// An error that a middleware gave instead of an answer, with the common headers.
fn decorated(context: &RequestContext, response: HttpResponse) -> Error {
    context.note_refusal(&response);
    // Its body is a few words, in one piece with the head.
    context.answered.set(true);
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
    context: Rc<RequestContext>,
}

impl TracedBody {
    fn new(body: BoxBody, context: Rc<RequestContext>) -> Self {
        match body.size() {
            // Nobody asks for the pieces of nothing.
            BodySize::None | BodySize::Sized(0) => context.answered.set(true),
            // A stream begins while the work goes on.
            BodySize::Stream if context.phase.get() == Phase::Work => {}
            _ => context.enter(Phase::Answer),
        }
        Self { body, rest: Bytes::new(), context }
    }
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
                end => {
                    // The end, or an end that the server made itself.
                    this.context.answered.set(true);
                    return Poll::Ready(end);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(piece)))
    }
}

/// The path as it is counted: one of the routes, or `other` for what clients may invent.
fn route_label(path: &str) -> &'static str {
    let fits = |route: &str| match route.split_once('{') {
        Some((start, _)) => path.len() > start.len() && path.starts_with(start),
        None => path == route,
    };
    ROUTES.iter().map(|(_, route)| *route).find(|route| fits(route)).unwrap_or("other")
}

/// Whether machines ask for it every few seconds, so that it would be most of the log.
fn is_probe(route: &str) -> bool {
    route.starts_with("/health") || route == "/metrics"
}

fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| method.as_str() == *known).unwrap_or("other")
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
    fn clients_cannot_make_up_labels() {
        for (path, label) in [
            ("/v1/audio/transcriptions", "/v1/audio/transcriptions"),
            ("/v1/models", "/v1/models"),
            ("/v1/models/org/any", "/v1/models/{model}"),
            ("/v1/models/", "other"),
            ("/health/live", "/health/live"),
            ("/health/x", "other"),
            ("/wp-admin", "other"),
        ] {
            assert_eq!(route_label(path), label, "{path}");
        }
        assert_eq!(method_label(&Method::POST), "POST");
        assert_eq!(method_label(&Method::from_bytes(b"MADE-UP").unwrap()), "other");
    }

    #[test]
    fn only_short_plain_ids_are_taken_over() {
        assert!(is_request_id("req_0192-abc.d:e"));
        for id in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert!(!is_request_id(id), "{id:?}");
        }
        assert!(is_request_id(&new_id()));
    }
}
