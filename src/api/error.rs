//! Every error that leaves the server, in OpenAI's envelope: one table from kind to status, type and code.
//!
//! Messages name the field, the value and the remedy. What only the operator should know is logged where it
//! happens and replaced here by a sentence that tells nothing about the machine.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;

use crate::audio::AudioError;
use crate::error::ErrorKind;
use crate::models::ModelError;
use crate::output::{JSON_TYPE, json::to_json};
use crate::pipeline::PipelineError;
use crate::scratch::ScratchError;

/// OpenAI's error types that this server uses.
const INVALID_REQUEST: &str = "invalid_request_error";
const SERVER_ERROR: &str = "server_error";

/// Longest piece of a client's own words that a message repeats, in characters.
const MAX_SHOWN: usize = 64;

/// Longest wait that is suggested to a client, in seconds; the Node client ignores more than this.
pub const MAX_RETRY_AFTER_S: u64 = 60;

/// When a request that found no room on the disk is to be tried again, in seconds: others will have ended by then.
const STORAGE_RETRY_S: u64 = 10;

/// A request's bad ending, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    class: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    /// Whole seconds after which the same request may do better; at least 1.
    retry_after_s: Option<u16>,
    /// Methods that the path does answer to.
    allow: Option<&'static str>,
    /// For those who watch the server: why it had to refuse.
    reason: &'static str,
}

/// Why a request was answered with 429 or 503, one of a few words; travels with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

/// One row of the table.
struct Row {
    status: StatusCode,
    class: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
}

/// The table. Every way a request can end, as the client sees it.
fn row(kind: ErrorKind) -> Row {
    let (status, class, code, param) = match kind {
        ErrorKind::InvalidRequest => (StatusCode::BAD_REQUEST, INVALID_REQUEST, None, None),
        ErrorKind::UndecodableAudio => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("audio_undecodable"), Some("file"))
        }
        ErrorKind::UnsupportedAudio => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("unsupported_format"), Some("file"))
        }
        ErrorKind::AudioTooShort => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("audio_too_short"), Some("file"))
        }
        ErrorKind::AudioTooLong => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("audio_too_long"), Some("file"))
        }
        ErrorKind::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, SERVER_ERROR, None, None),
        ErrorKind::ModelNotFound => {
            (StatusCode::NOT_FOUND, INVALID_REQUEST, Some("model_not_found"), Some("model"))
        }
        ErrorKind::ModelIncapable => {
            (StatusCode::BAD_REQUEST, INVALID_REQUEST, Some("unsupported_value"), Some("model"))
        }
        ErrorKind::ModelUnusable => {
            (StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, Some("model_unusable"), Some("model"))
        }
        ErrorKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "requests", Some("rate_limit_exceeded"), None),
        ErrorKind::Unavailable | ErrorKind::Cancelled => {
            (StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, Some("service_unavailable"), None)
        }
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, None, None),
    };
    Row { status, class, code, param }
}

impl ApiError {
    /// The ending `kind` with a message for the client.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let Row { status, class, code, param } = row(kind);
        Self {
            status,
            class,
            code,
            param: param.map(str::to_owned),
            message: message.into(),
            retry_after_s: (kind.is_retryable() || kind == ErrorKind::Cancelled).then_some(1),
            allow: None,
            reason: kind.name(),
        }
    }

    /// A 400 about the field `param`.
    pub fn field(param: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message).with_param(param)
    }

    /// A 400 about the form as a whole.
    pub fn form(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// A defect of this program; the cause is for the log alone.
    pub fn internal() -> Self {
        Self::new(
            ErrorKind::Internal,
            "the server failed while it worked on this request; its log says why under the id in `x-request-id`",
        )
    }

    /// A body larger than `limit` bytes.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            ErrorKind::PayloadTooLarge,
            format!(
                "the request is larger than the limit of {limit} bytes; send a smaller or compressed file, or \
                 raise DIARIST_MAX_UPLOAD_BYTES on the server"
            ),
        )
    }

    /// A client that stopped sending.
    pub fn too_slow() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            code: Some("request_timeout"),
            ..Self::form("the rest of the request did not arrive in time; send it again")
        }
    }

    /// A 401. `code` is null when no key was given, as OpenAI has it.
    pub fn unauthorized(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, code, ..Self::form(message) }
    }

    /// A 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: Some("forbidden"), ..Self::form(message) }
    }

    /// A path that is not served.
    pub fn unknown_url(method: &Method, path: &str) -> Self {
        let message =
            format!("unknown request URL: {} {}; the paths served start with /v1/", method, shown(path));
        Self { status: StatusCode::NOT_FOUND, ..Self::form(message) }
    }

    /// A path that is served, but not with `method`. `allow` names the methods that are.
    pub fn method_not_allowed(method: &Method, path: &str, allow: &'static str) -> Self {
        let message = format!("not allowed to {} on {}; use {allow}", method, shown(path));
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: Some("method_not_allowed"),
            allow: Some(allow),
            ..Self::form(message)
        }
    }

    /// The same about the field `param`.
    pub fn with_param(self, param: &str) -> Self {
        Self { param: Some(shown(param)), ..self }
    }

    /// The same with another code.
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same, counted under this reason. It is a word of the program, never of a client: there must be few.
    pub fn with_reason(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// The word under which it is counted.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The same, to be tried again in `seconds`, kept between 1 and `MAX_RETRY_AFTER_S`.
    pub fn with_retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds.clamp(1, MAX_RETRY_AFTER_S) as u16), ..self }
    }

    /// The envelope, all four keys always there.
    pub fn envelope(&self) -> String {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            #[serde(rename = "type")]
            class: &'a str,
            param: Option<&'a str>,
            code: Option<&'a str>,
        }
        to_json(&Envelope {
            error: Inner {
                message: &self.message,
                class: self.class,
                param: self.param.as_deref(),
                code: self.code,
            },
        })
    }

    /// An envelope for an answer of `status` that came without one.
    pub fn bare(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
        let class = if status.is_server_error() { SERVER_ERROR } else { INVALID_REQUEST };
        Self { status, class, ..Self::form(format!("the request could not be answered: {reason}")) }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status);
        response.content_type(JSON_TYPE);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, u64::from(seconds)));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"Diarist API\""));
        }
        if self.code == Some("model_unusable") {
            // The clients retry every 500; a damaged model does not mend itself.
            response.insert_header(("x-should-retry", "false"));
        }
        let mut response = response.body(self.envelope());
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.extensions_mut().insert(Refusal(self.reason));
        }
        response
    }
}

impl From<&ModelError> for ApiError {
    fn from(error: &ModelError) -> Self {
        match error.kind() {
            ErrorKind::Internal => Self::internal(),
            kind => Self::new(kind, error.to_string()),
        }
    }
}

impl From<&PipelineError> for ApiError {
    fn from(error: &PipelineError) -> Self {
        match (error, error.kind()) {
            (_, ErrorKind::Internal) => Self::internal(),
            (PipelineError::Storage(error) | PipelineError::Audio(AudioError::Storage(error)), _) => {
                error.into()
            }
            // The field's name is the client's word for it; the pipeline knows only clips.
            (PipelineError::Reference { .. }, kind) => {
                let error = Self::new(kind, error.to_string());
                error.with_param("known_speaker_references").with_code("invalid_value")
            }
            // No field names the models that tell speakers apart and voices from music.
            (PipelineError::Diarization(_) | PipelineError::Separation(_), kind) => {
                Self { param: None, ..Self::new(kind, error.to_string()) }
            }
            (PipelineError::Incapable { field, message }, kind) => Self::new(kind, message).with_param(field),
            (_, kind) => Self::new(kind, error.to_string()),
        }
    }
}

impl From<&ScratchError> for ApiError {
    fn from(error: &ScratchError) -> Self {
        Self::new(error.kind(), error.to_string()).with_reason("storage").with_retry_after(STORAGE_RETRY_S)
    }
}

/// A client's own words, fit to be repeated: short and without control characters.
pub fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_SHOWN).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ErrorKind; 13] = [
        ErrorKind::InvalidRequest,
        ErrorKind::UndecodableAudio,
        ErrorKind::UnsupportedAudio,
        ErrorKind::AudioTooShort,
        ErrorKind::AudioTooLong,
        ErrorKind::PayloadTooLarge,
        ErrorKind::ModelNotFound,
        ErrorKind::ModelIncapable,
        ErrorKind::ModelUnusable,
        ErrorKind::Busy,
        ErrorKind::Unavailable,
        ErrorKind::Cancelled,
        ErrorKind::Internal,
    ];

    #[test]
    fn retryable_kinds_are_the_statuses_that_clients_retry_after_a_while() {
        for kind in KINDS {
            let error = ApiError::new(kind, "x");
            let waits = matches!(error.status.as_u16(), 429 | 503);
            assert_eq!(error.retry_after_s.is_some(), waits, "{kind:?}");
        }
    }

    #[test]
    fn the_envelope_always_has_four_keys() {
        assert_eq!(
            ApiError::form("no").envelope(),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}"#
        );
        assert_eq!(
            ApiError::new(ErrorKind::AudioTooShort, "short").envelope(),
            "{\"error\":{\"message\":\"short\",\"type\":\"invalid_request_error\",\"param\":\"file\",\
             \"code\":\"audio_too_short\"}}"
        );
    }

    #[test]
    fn an_internal_cause_is_not_told() {
        let cause = PipelineError::Asr(crate::asr::AsrError::Engine("at 0x7f secret".into()));
        assert!(!ApiError::from(&cause).message.contains("secret"));
        let cause = PipelineError::Audio(AudioError::TooShort { milliseconds: 40 });
        assert!(ApiError::from(&cause).message.contains("40 ms"));
    }

    #[test]
    fn a_disk_without_room_is_counted_as_that_wherever_it_shows() {
        let full = || ScratchError::LowSpace { free: 1, wanted: 2 };
        assert_eq!(ApiError::from(&full()).reason(), "storage");
        assert_eq!(ApiError::from(&PipelineError::Storage(full())).reason(), "storage");
    }

    #[test]
    fn a_wait_is_never_zero_nor_longer_than_clients_accept() {
        let wait = |seconds| ApiError::new(ErrorKind::Busy, "").with_retry_after(seconds).retry_after_s;
        assert_eq!((wait(0), wait(7), wait(9_999)), (Some(1), Some(7), Some(60)));
    }

    #[test]
    fn repeated_words_are_short_and_tame() {
        assert_eq!(shown("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 65);
    }
}
