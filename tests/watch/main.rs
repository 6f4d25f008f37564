//! The running program, as those see it who watch it: metrics, dashboard, alert rules, logs.

#[path = "../support/program.rs"]
mod program;

mod logs;
mod metrics;
