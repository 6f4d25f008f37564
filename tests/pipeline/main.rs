//! The real pipeline with the real bundled models on recordings whose words and times are known.

mod dense;
mod encodings;
mod endings;
mod invented;
mod isolation;
mod languages;
mod long;
mod packing;
mod panics;
mod plain;
mod scenes;
mod sentences;
mod separation;
mod songs;
mod speakers;
mod support;
