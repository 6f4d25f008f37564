//! Vocal separation with real networks: the small ones of `scripts/separation_models.py`, through ONNX Runtime.
//!
//! Needs ONNX Runtime (`make test` installs it; else DIARIST_ONNXRUNTIME names the library).

#[path = "support/command.rs"]
mod command;
#[path = "separation/models.rs"]
mod models;
#[path = "separation/recordings.rs"]
mod recordings;
#[path = "separation/reference.rs"]
mod reference;
#[path = "separation/command.rs"]
mod separate;
#[path = "separation/support.rs"]
mod support;
