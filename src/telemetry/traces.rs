//! Traces: a span per request, its stages and chunks below it, for OpenTelemetry.
//!
//! Only builds with the feature `otel` can send them; in others everything here does nothing. Spans are `tracing`'s
//! own, so the rooms need not know whether anybody looks. `docs/tracing.md` says how to use it.

/// Standard variables that say where spans go. Without one of them none are recorded.
pub const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What is known of a request at its end.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd<'a> {
    /// Method, one of a few.
    pub method: &'static str,
    /// Path as the server knows it, without what clients choose.
    pub route: &'static str,
    /// Status of the answer, or 499 without one.
    pub status: u16,
    /// Model asked for, or nothing.
    pub model: &'a str,
    /// Length of the recording, in seconds.
    pub audio_s: f64,
}

fn is_wanted() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_off = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    ENDPOINTS.iter().any(is_set) && !is_off
}

#[cfg(not(feature = "otel"))]
mod switched {
    use tracing::Span;

    use super::{ENDPOINTS, RequestEnd, is_wanted};

    /// Never there: this build sends no spans.
    pub type SpanLayer = tracing_subscriber::layer::Identity;

    /// Nothing; a warning when somebody expects spans.
    ///
    /// # Errors
    /// None.
    pub fn layer() -> Result<Option<SpanLayer>, String> {
        if is_wanted() {
            eprintln!(
                "diarist: {} is set, but this build sends no traces; build with `--features otel`",
                ENDPOINTS[1]
            );
        }
        Ok(None)
    }

    /// The span around a request.
    pub fn request_span(request_id: &str, _header: impl Fn(&str) -> Option<String>) -> Span {
        tracing::info_span!("request", request_id)
    }

    /// Nothing.
    pub fn end_request(_span: &Span, _end: RequestEnd<'_>) {}

    /// Nothing.
    pub fn stop() {}
}

#[cfg(feature = "otel")]
mod switched;

pub use switched::{SpanLayer, end_request, layer, request_span, stop};
