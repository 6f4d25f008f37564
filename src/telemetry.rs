//! Logs: where they go and in what form. `one_line` sees to it that no value forges a line.

mod one_line;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use one_line::OneLine;

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

/// Sends logs to standard error. Later calls in the same process have no effect.
///
/// # Errors
/// When the filter cannot be parsed; the message says what is wrong with it.
pub fn start(options: &LogOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| error.to_string())?;
    // The engines are talkative at `info`; their lines are of use to developers only. What the decoders and
    // the HTTP parser call an error is a client's broken file or request, and what whisper.cpp calls one is most
    // often a request taken back; the others come back to us as errors.
    let filter = ["whisper_rs=off", "ort=warn", "symphonia=off", "actix_http=off", "actix_server=warn"]
        .iter()
        .filter(|directive| !options.filter.contains(directive.split('=').next().unwrap_or_default()))
        .fold(filter, |filter, directive| {
            filter.add_directive(directive.parse().expect("a fixed directive"))
        });
    // Colours are for people; a file or the journal gets plain text.
    let is_coloured =
        !options.json && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(move || OneLine { is_coloured })
        .with_ansi(is_coloured)
        .with_target(false);
    // A second subscriber is refused, which is what tests that start several servers want.
    let _ = if options.json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}
