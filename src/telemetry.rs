//! Logs: where they go and in what form.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How log lines look and which are written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A level or a `tracing` filter such as `info,diarist=debug`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Sends logs to standard error. Later calls in the same process have no effect.
///
/// # Errors
/// When the filter cannot be parsed; the message says what is wrong with it.
pub fn start(options: &LogOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.filter).map_err(|error| error.to_string())?;
    // The engines are talkative at `info`; their lines are of use to developers only.
    let filter = ["whisper_rs=warn", "ort=warn", "symphonia=off", "actix_server=warn"]
        .iter()
        .filter(|directive| !options.filter.contains(directive.split('=').next().unwrap_or_default()))
        .fold(filter, |filter, directive| {
            filter.add_directive(directive.parse().expect("a fixed directive"))
        });
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Colours are for eyes, not for files.
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // A second subscriber is refused, which is what tests that start several servers want.
    let _ = if options.json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}
