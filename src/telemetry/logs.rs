//! Logs: where they go and in what form. `docs/logs.md` is the schema of the JSON form.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use super::one_line::OneLine;
use super::traces;

/// How log lines look and which are written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A level or a `tracing` filter such as `info,diarist=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Filter of commands that speak for themselves. What the engine calls an error comes back to them as one.
pub const QUIET: &str = "error,whisper_rs=off";

/// Sends logs to standard error, and spans to where OpenTelemetry's variables say, in a build that can. Later calls
/// in the same process have no effect.
///
/// # Errors
/// When the filter cannot be parsed, or the variables name a place that cannot be sent to; the message says what is
/// wrong.
pub fn start(options: &LogOptions) -> Result<(), String> {
    let filter = filter(&options.filter)?;
    // One filter for each: spans of stages and chunks are for traces, and no concern of the log's level.
    let lines = if options.json { json() } else { text() }.with_filter(filter);
    let spans = traces::layer()?;
    // A second subscriber is refused, which is what tests that start several servers want.
    if tracing_subscriber::registry().with(spans).with(lines).try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// A panic as a line like any other, with the id of its request; the standard one is plain text of several lines.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let reason = payload.downcast_ref::<&str>().copied();
    let reason =
        reason.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no text");
    let place = panic.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = matches!(backtrace.status(), std::backtrace::BacktraceStatus::Captured)
        .then(|| backtrace.to_string());
    let thread = std::thread::current();
    tracing::error!(reason, place, thread = thread.name(), backtrace, "panic");
}

/// Sends what has not been sent yet. For the end of the process.
pub fn stop() {
    traces::stop();
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

/// The registry with whatever exports spans; log lines are written on top of it.
type Traced = tracing_subscriber::layer::Layered<Option<traces::SpanLayer>, Registry>;

fn filter(wanted: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(wanted).map_err(|error| error.to_string())?;
    // The engines are talkative at `info`; their lines are of use to developers only. What the decoders and
    // the HTTP parser call an error is a client's broken file or request, and what whisper.cpp calls one is most
    // often a request taken back; the others come back to us as errors.
    let quiet = ["whisper_rs=off", "ort=warn", "symphonia=off", "actix_http=off", "actix_server=warn"];
    Ok(quiet
        .iter()
        .filter(|directive| !wanted.contains(directive.split('=').next().unwrap_or_default()))
        .fold(filter, |filter, directive| {
            filter.add_directive(directive.parse().expect("a fixed directive"))
        }))
}

fn text() -> Boxed<Traced> {
    // Colours are for people; a file or the journal gets plain text.
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines =
        fmt::layer().with_writer(move || OneLine { is_coloured }).with_ansi(is_coloured).with_target(false);
    lines.boxed()
}

/// JSON escapes what would end a line by itself.
fn json() -> Boxed<Traced> {
    json_to(std::io::stderr).boxed()
}

/// Lines of JSON: the time, the level, the fields of the event, and those of the spans around it, so that
/// `request_id` stands at the same place in every line of a request. Library lines say whose they are in `target`.
fn json_to<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let mut lines = json_subscriber::JsonLayer::new(writer);
    lines.with_timer("timestamp", fmt::time::SystemTime);
    lines.with_level("level");
    lines.with_target("target");
    lines.with_flattened_event();
    lines.with_top_level_flattened_span_list();
    #[cfg(feature = "otel")]
    lines.with_opentelemetry_ids(true);
    lines
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: impl FnOnce()) -> Vec<Value> {
        let paper = Paper::default();
        let writer = paper.clone();
        let layer = json_to(move || writer.clone()).with_filter(filter("info").unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = paper.0.lock().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_id_of_the_request_stands_at_the_top_also_from_inner_spans_and_other_threads() {
        let lines = written(|| {
            let span = tracing::info_span!("request", request_id = "r1");
            let _entered = span.enter();
            tracing::info!(bytes = 7, "outer");
            tracing::debug_span!("chunk", index = 3).in_scope(|| tracing::warn!("inner"));
        });
        let [outer, inner] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&outer["request_id"], &inner["request_id"]), (&"r1".into(), &"r1".into()));
        assert_eq!((&outer["message"], &outer["bytes"]), (&"outer".into(), &7.into()));
        assert_eq!((&outer["level"], &inner["level"]), (&"INFO".into(), &"WARN".into()));
        assert!(outer["timestamp"].as_str().unwrap().ends_with('Z'));
        // Spans below the log's level are no part of it.
        assert!(inner.get("index").is_none());
    }

    #[test]
    fn no_value_can_forge_a_line() {
        let forged = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{2028}\u{1b}[2J\0";
        let lines = written(|| tracing::info!(path = forged, "{forged}"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["path"], &line["message"]), (&forged.into(), &forged.into()));
    }

    #[test]
    fn what_libraries_call_errors_is_left_out_unless_asked_for() {
        let noisy = || tracing::error!(target: "symphonia_core", "a client's broken file");
        assert!(written(noisy).is_empty());
        assert!(filter("nonsense=loud").is_err());
    }
}
