//! Vocal separation with real networks: the small ones of `scripts/separation_models.py`, through ONNX Runtime.
//!
//! Needs ONNX Runtime (`make test` installs it; else DIARIST_ONNXRUNTIME names the library).

#[path = "separation/models.rs"]
mod models;
#[path = "separation/recordings.rs"]
mod recordings;
#[path = "separation/support.rs"]
mod support;
