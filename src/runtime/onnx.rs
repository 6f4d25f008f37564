//! The ONNX Runtime environment: found, loaded and shared once.
