//! Where somebody may be speaking, as far as voice activity has listened. Written by `scan`, read by diarization, which
//! runs beside it and need not look at windows in which nobody speaks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::audio::AudioError;
use crate::time::{SampleIndex, TimeSpan};

/// Speech is possible from this probability on. Far below what counts as speech for the recogniser, whatever the
/// request says: a window is only spared where nothing sounds like a voice.
const POSSIBLE: f32 = 0.15;

/// Length of the stretches that are told apart: half a second, so that a day takes 170 KB.
const CELL: SampleIndex = 8_192;

/// Grows with what has been listened to; readers wait for it.
#[derive(Debug, Default)]
pub struct SpeechMap {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    /// Whether each cell may hold speech.
    cells: Vec<bool>,
    until: SampleIndex,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of the recording has been listened to.
    Complete,
    /// Nobody listens any more.
    GivenUp,
}

impl SpeechMap {
    /// Takes the probabilities of the next windows of `window` samples; they end at `until`, the last one maybe early.
    pub fn extend(&self, probabilities: &[f32], window: usize, until: SampleIndex) {
        let mut heard = self.heard();
        let mut start = heard.until;
        for probability in probabilities {
            let end = (start + window as SampleIndex).min(until);
            // Whatever is no number might be speech.
            let may_be = *probability >= POSSIBLE || probability.is_nan();
            let last = (end.saturating_sub(1).max(start) / CELL) as usize;
            if heard.cells.len() <= last {
                heard.cells.resize(last + 1, false);
            }
            heard.cells[(start / CELL) as usize..=last].iter_mut().for_each(|cell| *cell |= may_be);
            start = end;
        }
        heard.until = until;
        drop(heard);
        self.changed.notify_all();
    }

    /// The recording has been listened to; what lies behind its end is silent.
    pub fn finish(&self) {
        self.end(End::Complete);
    }

    /// No more will come: whoever waits, or asks for what is not there, gets an error. Nothing once it is finished.
    pub fn give_up(&self) {
        self.end(End::GivenUp);
    }

    /// Whether anybody may be speaking in `span`. Blocks until that is known.
    ///
    /// # Errors
    /// `Cancelled` when nobody listens any more.
    pub fn may_hold_speech(&self, span: TimeSpan) -> Result<bool, AudioError> {
        let waits = |heard: &mut Heard| heard.end.is_none() && heard.until < span.end;
        let heard = self.changed.wait_while(self.heard(), waits).unwrap_or_else(PoisonError::into_inner);
        if heard.end == Some(End::GivenUp) {
            return Err(AudioError::Cancelled);
        }
        let cells = (span.start / CELL) as usize..span.end.div_ceil(CELL) as usize;
        Ok(heard.cells.iter().take(cells.end).skip(cells.start).any(|cell| *cell))
    }

    fn end(&self, end: End) {
        let mut heard = self.heard();
        heard.end = heard.end.or(Some(end));
        drop(heard);
        self.changed.notify_all();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end of a map: however it goes, readers are told.
pub struct Telling<'a>(pub &'a SpeechMap);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ms_to_samples;

    fn span(start_ms: u64, end_ms: u64) -> TimeSpan {
        TimeSpan::new(ms_to_samples(start_ms), ms_to_samples(end_ms))
    }

    #[test]
    fn speech_is_where_a_window_may_hold_some() {
        let map = SpeechMap::default();
        let mut probabilities = vec![0.01; 300];
        probabilities[100] = 0.2;
        map.extend(&probabilities[..150], 512, 150 * 512);
        map.extend(&probabilities[150..], 512, 300 * 512 - 100);
        map.finish();
        assert!(map.may_hold_speech(span(3_000, 3_400)).unwrap());
        assert!(!map.may_hold_speech(span(0, 2_500)).unwrap());
        assert!(!map.may_hold_speech(span(5_000, 60_000)).unwrap(), "behind the end it is silent");
        assert!(map.may_hold_speech(span(0, 60_000)).unwrap());
        assert!(!map.may_hold_speech(span(90_000, 100_000)).unwrap());
    }

    #[test]
    fn what_has_not_been_listened_to_is_waited_for() {
        let map = SpeechMap::default();
        map.extend(&[0.0; 10], 512, 5_120);
        assert!(!map.may_hold_speech(TimeSpan::new(0, 5_000)).unwrap());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| map.may_hold_speech(TimeSpan::new(0, 10_000)));
            map.extend(&[0.9; 20], 512, 15_360);
            assert!(asked.join().unwrap().unwrap());
        });
    }

    #[test]
    fn readers_are_told_when_nobody_listens_any_more() {
        let map = SpeechMap::default();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| map.may_hold_speech(TimeSpan::new(0, 10_000)));
            drop(Telling(&map));
            assert!(matches!(asked.join().unwrap(), Err(AudioError::Cancelled)));
        });
        let complete = SpeechMap::default();
        complete.finish();
        drop(Telling(&complete));
        assert!(!complete.may_hold_speech(TimeSpan::new(0, 10_000)).unwrap());
    }
}
