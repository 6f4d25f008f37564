//! What this build and this machine can compute on.

pub mod device;
pub mod memory;
pub mod onnx;
