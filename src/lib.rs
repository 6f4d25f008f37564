//! Recordings to text, behind OpenAI's speech-to-text API.
//!
//! A request is a form with a file. The file is decoded to 16 kHz mono on disk (`audio`), voice activity
//! cuts it into chunks (`vad`), a pool of Whisper workers turns chunks into segments (`asr`), and the
//! ordered segments become a `transcript`, which `output` renders as JSON, text, SRT or VTT. `pipeline`
//! tells that story in one function; `api` is the only room that knows HTTP; `server` wires everything.
//!
//! Rooms in reading order: `time`, `language`, `transcript`, `error`, `cancel`, `scratch`, `audio`, `runtime`, `vad`,
//! `asr`, `diarization`, `models`, `pipeline`, `output`, `api`, `config`, `server`. `ARCHITECTURE.md` draws the arrows.

pub mod api;
pub mod asr;
pub mod audio;
pub mod cancel;
pub mod commands;
pub mod config;
pub mod diarization;
pub mod error;
pub mod language;
pub mod models;
pub mod output;
pub mod pipeline;
pub mod runtime;
pub mod scratch;
pub mod separation;
pub mod server;
pub mod telemetry;
pub mod time;
pub mod transcript;
pub mod vad;
