//! Cancel, progress and finished segments: the only thing threaded through the pipeline.

use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::language::Language;
use crate::time::SampleIndex;
use crate::transcript::Segment;

/// The stages of the pipeline, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// File to 16 kHz spool.
    Decode,
    /// Separating the voice from what plays under it; runs beside the stages around it.
    Separation,
    /// Voice activity and chunks.
    Vad,
    /// Language detection over several windows.
    Language,
    /// Recognition.
    Asr,
    /// Telling speakers apart; runs beside the stages before.
    Diarization,
    /// Giving text to speakers.
    Merge,
}

impl Stage {
    /// Short lower-case name, for logs and headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Separation => "separation",
            Self::Vad => "vad",
            Self::Language => "language",
            Self::Asr => "asr",
            Self::Diarization => "diarization",
            Self::Merge => "merge",
        }
    }

    /// A span for traces.
    pub(super) fn span(self) -> tracing::Span {
        match self {
            Self::Decode => tracing::debug_span!("decode"),
            Self::Separation => tracing::debug_span!("separation"),
            Self::Vad => tracing::debug_span!("vad"),
            Self::Language => tracing::debug_span!("language"),
            Self::Asr => tracing::debug_span!("asr"),
            Self::Diarization => tracing::debug_span!("diarization"),
            Self::Merge => tracing::debug_span!("merge"),
        }
    }
}

/// What happens on the way, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// The recording's first seconds are sound and the plan stands: an answer may begin. Decoding goes on; what
    /// it still meets, such as a limit, ends the request with its error.
    Accepted,
    /// The language is known.
    Language(Language),
    /// So much of the recording has been recognised.
    Progress {
        /// Samples done.
        done: SampleIndex,
        /// Samples in all; `None` while the recording is still being decoded.
        total: Option<SampleIndex>,
    },
    /// The next segment in order; what was sent is never changed afterwards.
    Segment(Segment),
}

type Listener = Arc<dyn Fn(Event) + Send + Sync>;

/// Handed to `Pipeline::run` by whoever waits for the result.
#[derive(Default)]
pub struct Control {
    /// Set by the waiting side; every stage looks at it.
    pub cancel: CancelToken,
    listener: Option<Listener>,
}

impl Control {
    /// A control that nobody listens to.
    pub fn new(cancel: CancelToken) -> Self {
        Self { cancel, listener: None }
    }

    /// Calls `listener` with each event, from the pipeline's thread; it must not block for long.
    pub fn with_listener(cancel: CancelToken, listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { cancel, listener: Some(Arc::new(listener)) }
    }

    /// The same for a part of the work, which ends with the whole or by itself.
    pub(super) fn part(&self) -> Self {
        Self { cancel: self.cancel.part(), listener: self.listener.clone() }
    }

    /// Tells the listener.
    pub fn emit(&self, event: Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }
}
