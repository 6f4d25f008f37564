//! What this build and this machine can compute on.

pub mod cores;
pub mod cpu;
pub mod device;
pub mod limits;
pub mod memory;
pub mod network;
pub mod onnx;
