//! The whole story of one request: file in, transcript out.
//!
//! `plan` decides everything before any work, `control` carries cancel, progress and finished segments.
//! Blocking; called from a pipeline thread, never from an async one.

pub mod control;
pub mod error;
pub mod plan;

pub use control::{Control, Event, Stage};
pub use error::PipelineError;
pub use plan::{Chunking, Request};

use std::time::Duration;

use crate::transcript::Transcript;

/// A finished request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was said.
    pub transcript: Transcript,
    /// Wall time of each stage that ran, in order, for logs and the `Server-Timing` header.
    pub timings: Vec<(Stage, Duration)>,
}

/// Everything a request needs, built once by `server` and shared.
pub struct Pipeline {}

impl Pipeline {
    /// Runs one request to its end. Blocking.
    ///
    /// # Errors
    /// Before `Event::Accepted` for what is wrong with the request or the file, afterwards only for what
    /// goes wrong with the machine.
    pub fn run(&self, _request: &Request, _control: &Control) -> Result<Outcome, PipelineError> {
        unimplemented!()
    }
}
