//! The ways a request can end other than well.
//!
//! Each room has its own small error enum whose variants say what a caller can do; each answers `kind()`.
//! `api::error` holds the one table from kind to status, type and code.

/// Whose fault an ended request is, and what the client may do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A field or the form itself is wrong; the client must change the request.
    InvalidRequest,
    /// The file holds no audio that can be decoded.
    UndecodableAudio,
    /// The file is audio, of a kind this machine cannot decode.
    UnsupportedAudio,
    /// The recording is shorter than 0.1 s.
    AudioTooShort,
    /// The recording exceeds the duration limit.
    AudioTooLong,
    /// The upload exceeds the size limit.
    PayloadTooLarge,
    /// No such model, or one that has not been pulled.
    ModelNotFound,
    /// The model cannot do what is asked (a language, a format, a feature).
    ModelIncapable,
    /// The model is there but not usable: damaged, wrong kind, does not fit in memory.
    ModelUnusable,
    /// Too much work at once; later is fine.
    Busy,
    /// Starting, stopping, out of disk: not the client's fault, later may be fine.
    Unavailable,
    /// The client went away or took the request back; nobody reads the answer.
    Cancelled,
    /// A defect of this program.
    Internal,
}

impl ErrorKind {
    /// Stable name in snake case, for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UndecodableAudio => "undecodable_audio",
            Self::UnsupportedAudio => "unsupported_audio",
            Self::AudioTooShort => "audio_too_short",
            Self::AudioTooLong => "audio_too_long",
            Self::PayloadTooLarge => "payload_too_large",
            Self::ModelNotFound => "model_not_found",
            Self::ModelIncapable => "model_incapable",
            Self::ModelUnusable => "model_unusable",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later unchanged.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}
