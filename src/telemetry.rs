//! What the program tells about itself: `logs`, `metrics`, `traces`, and what `host` says of the process.
//!
//! The floor of the house: any room may count and log, nothing here knows a room, a request or HTTP. Counters are
//! values, not statics: `server` makes one set, gives each room its part, and tests may have as many as they like.
//! A part that nobody registered counts too, and nobody looks.

pub mod host;
pub mod logs;
pub mod metrics;
mod one_line;
pub mod traces;

pub use logs::{LogOptions, QUIET, start, stop};
