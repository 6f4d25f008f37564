//! The real pipeline with the real bundled models on recordings whose words and times are known.

mod encodings;
mod endings;
mod isolation;
mod long;
mod sentences;
mod support;
