//! The thread on which speakers are told apart beside recognition.
//!
//! Both read the same growing recording, each at its own pace. What fails, or panics, in one ends the other.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use crate::audio::{AudioError, PcmSpool};
use crate::cancel::CancelToken;
use crate::diarization::{
    Diarization, DiarizationError, DiarizationOptions, LearnedVoice, MayHoldSpeech, Sound,
};
use crate::time::TimeSpan;

use super::Stage;
use super::speakers::Diarizer;
use super::speech_map::SpeechMap;

/// One request's diarization, ready to run.
pub struct Listener {
    /// Who does it.
    pub diarizer: Box<dyn Diarizer>,
    /// The named voices.
    pub known: Vec<LearnedVoice>,
    /// How.
    pub options: DiarizationOptions,
}

/// Who spoke when, and the wall time it took.
pub type Diarized = Result<(Diarization, Duration), DiarizationError>;

impl Listener {
    /// Diarizes `spool` on this thread.
    pub fn listen(&self, spool: &PcmSpool, speech: Option<&SpeechMap>, cancel: &CancelToken) -> Diarized {
        let _stage = Stage::Diarization.span().entered();
        let start = Instant::now();
        let ask = speech.map(|map| |span: TimeSpan| map.may_hold_speech(span));
        let speech = ask.as_ref().map(|ask| ask as MayHoldSpeech<'_>);
        let sound = Sound { spool, speech, cancel };
        let diarization = self.diarizer.diarize(&sound, &self.known, &self.options)?;
        Ok((diarization, start.elapsed()))
    }
}

/// Runs `work` on this thread and `listener` on another, and gives both results. `cancel` is that of both: whichever
/// ends badly sets it.
///
/// # Panics
/// When either did, once both have ended.
pub fn beside<T, E>(
    listener: &Listener,
    spool: &PcmSpool,
    cancel: &CancelToken,
    work: impl FnOnce(&SpeechMap) -> Result<T, E>,
) -> (Result<T, E>, Diarized) {
    let map = SpeechMap::default();
    let request = tracing::Span::current();
    thread::scope(|scope| {
        let diarizing = thread::Builder::new().name("diarize".to_owned()).spawn_scoped(scope, || {
            let _request = request.entered();
            let mut alarm = Alarm { cancel, map: &map, armed: true };
            let diarized = listener.listen(spool, Some(&map), cancel);
            alarm.armed = diarized.is_err();
            diarized
        });
        let mut alarm = Alarm { cancel, map: &map, armed: true };
        if diarizing.is_err() {
            cancel.cancel();
        }
        let worked = work(&map);
        alarm.armed = worked.is_err();
        drop(alarm);
        let diarized = match diarizing {
            Ok(diarizing) => diarizing.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => Err(AudioError::from(error).into()),
        };
        (worked, diarized)
    })
}

/// Ends the request when one of its threads ends badly, by a panic too.
struct Alarm<'a> {
    cancel: &'a CancelToken,
    map: &'a SpeechMap,
    armed: bool,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.cancel.cancel();
            self.map.give_up();
        }
    }
}
