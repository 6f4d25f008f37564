//! The networks, loaded once and shared by all requests.

use super::{Diarization, DiarizationError, DiarizationOptions, KnownVoice, MayHoldSpeech};
use crate::audio::PcmSpool;
use crate::cancel::CancelToken;

/// What is listened to.
pub struct Sound<'a> {
    /// The recording; may still be growing.
    pub spool: &'a PcmSpool,
    /// What voice activity found, where it looks too.
    pub speech: Option<MayHoldSpeech<'a>>,
    /// Ends the work early.
    pub cancel: &'a CancelToken,
}

/// A segmentation network and a speaker encoder, ready for any number of requests at once.
pub struct DiarizationEngine {}

impl DiarizationEngine {
    /// Who spoke when in a recording, which may still be growing: what has not been decoded is waited for. Blocking;
    /// works on threads of its own. `known` voices give their names to the speakers who sound like them.
    ///
    /// # Errors
    /// `Reference` for a clip without enough speech; `Engine` when a network fails; `Audio` when decoding fails or the
    /// request is cancelled.
    pub fn diarize(
        &self,
        _sound: &Sound<'_>,
        _known: &[KnownVoice],
        _options: &DiarizationOptions,
    ) -> Result<Diarization, DiarizationError> {
        Err(DiarizationError::Engine("there is no engine yet".into()))
    }
}
