//! From any recording to the 16 kHz mono spool that every later stage reads.
//!
//! `decode` turns a file into blocks at its own rate, `resample` turns blocks into 16 kHz mono, `spool`
//! keeps the result on disk, where it can be read while it grows; `wav_writer` writes sound for others; `decoding` runs all that on a thread of its own. Behind `decode`: `sniff` names a file by its first bytes, `native` drives the
//! built-in decoders (`source`, `wav`, `mp4`, `ogg`, `matroska`, `aac` and `id3` give them what the readers miss), `ffmpeg` runs the program
//! for everything else, and both pour into `intake`, which keeps the limits. Nothing here holds the whole recording in memory, and nothing here knows
//! about models or requests.

mod aac;
pub mod decode;
pub mod decoding;
mod ffmpeg;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod id3;
mod intake;
mod matroska;
mod mp4;
mod native;
mod ogg;
pub mod resample;
mod sniff;
mod source;
pub mod spool;
mod wav;
pub mod wav_writer;

use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::scratch::{Scratch, ScratchError};

pub use decode::{Decoded, decode_to_spool};
pub use decoding::Decoding;
pub use spool::{PcmSpool, SpoolWriter};

/// A file to be decoded. The content decides what it is; the name is only used in messages.
#[derive(Clone, Debug)]
pub struct AudioSource {
    /// Where the bytes lie.
    pub path: PathBuf,
    /// What the client called it; never used as a path.
    pub name: Option<String>,
}

/// How recordings are taken in.
#[derive(Clone, Debug)]
pub struct AudioOptions {
    /// Where decoded sound lies.
    pub scratch: Scratch,
    /// Longest recording accepted, in seconds of audio; checked while decoding.
    pub max_duration_s: u64,
    /// The `ffmpeg` program for what the built-in decoders cannot open; `None` never calls one.
    pub ffmpeg: Option<PathBuf>,
}

/// A few seconds of sound as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioBlock {
    /// Samples per second, as declared by the source.
    pub sample_rate: u32,
    /// Planar samples in [-1, 1], shape (channels, frames); all channels equally long.
    pub channels: Vec<Vec<f32>>,
}

/// Takes a recording's sound beside the 16 kHz spool, on the thread that decodes it: at its own rate, with all its
/// channels. What goes through ffmpeg comes as [`FFMPEG_RATE`] stereo.
pub trait BlockSink: Send {
    /// Takes the next block; everything up to it has been given to the spool, which may lag behind by a filter's delay
    /// and a batch.
    ///
    /// # Errors
    /// Whatever ends the decoding. A sink that fails for reasons of its own keeps them and gives `Cancelled`.
    fn push(&mut self, block: &AudioBlock) -> Result<(), AudioError>;

    /// The recording has ended well, and its spool is complete.
    ///
    /// # Errors
    /// As `push`.
    fn finish(&mut self) -> Result<(), AudioError>;
}

/// Rate at which ffmpeg gives sound to a sink, in Hz.
pub const FFMPEG_RATE: u32 = 44_100;

/// Why a recording could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// Not audio, or damaged beyond use.
    #[error("the file could not be decoded: {0}")]
    Undecodable(String),
    /// A known kind of audio without a decoder on this machine; the message names the remedy.
    #[error("{0}")]
    Unsupported(String),
    /// Under 0.1 s of sound.
    #[error("the recording is {milliseconds} ms long, the shortest that can be transcribed is 100 ms")]
    TooShort {
        /// Length found.
        milliseconds: u64,
    },
    /// Longer than the limit.
    #[error("the recording is longer than the limit of {limit_s} seconds (DIARIST_MAX_DURATION_S)")]
    TooLong {
        /// The limit in force.
        limit_s: u64,
    },
    /// The request was taken back.
    #[error("the request was cancelled")]
    Cancelled,
    /// Temporary files cannot be made, written or read.
    #[error(transparent)]
    Storage(#[from] ScratchError),
}

impl AudioError {
    /// What kind of ending this is for the request.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Undecodable(_) => ErrorKind::UndecodableAudio,
            Self::Unsupported(_) => ErrorKind::UnsupportedAudio,
            Self::TooShort { .. } => ErrorKind::AudioTooShort,
            Self::TooLong { .. } => ErrorKind::AudioTooLong,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Storage(error) => error.kind(),
        }
    }
}

impl From<std::io::Error> for AudioError {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.into())
    }
}
