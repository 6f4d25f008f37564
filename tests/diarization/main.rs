//! Diarization: its scores beside pyannote.metrics', and what it makes of recordings whose truth is known.

mod dialogues;
mod edges;
#[allow(dead_code, reason = "made for the tests of serving; these ask something else")]
#[path = "../support/program.rs"]
mod program;
#[allow(dead_code, reason = "made for the pipeline's tests; these use its recordings")]
#[path = "../pipeline/support.rs"]
mod recordings;
mod support;
mod vectors;
mod words;
