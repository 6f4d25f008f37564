//! The built program as a server: how it ends, what it does for clients that leave, who spoke when, music, TLS, and what its log never shows.

#[path = "../support/command.rs"]
mod command;
mod leaving;
mod secrets;
mod separation;
mod speakers;
mod stopping;
mod support;
mod tls;

#[allow(dead_code, reason = "made for the pipeline's tests; these use its recordings")]
#[path = "../pipeline/support.rs"]
mod recordings;
