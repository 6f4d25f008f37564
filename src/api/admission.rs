//! How many requests are let in, and how many of them run.
//!
//! A slot is taken before the body is read; without one the answer is 429 at once. Uploading needs a slot
//! only, so a slow client does not keep the machine idle. Once the file is there, a request waits in `line` for one
//! of the running places.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ErrorKind;

use super::error::ApiError;
use super::line::{self, Ask, Line};

/// The places there are.
pub struct Admission {
    slots: Arc<Semaphore>,
    places: Line,
    running: u64,
    admitted: u64,
    /// How long requests have run lately, in ms.
    recent_ms: Arc<AtomicU64>,
}

/// The right to upload and to wait. Given back when dropped.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// The right to run. Given back when dropped.
pub struct Place {
    // Dropped first, so that a free place is never without a slot.
    _place: line::Place,
    _slot: Slot,
    since: Instant,
    recent_ms: Arc<AtomicU64>,
}

impl Admission {
    /// `max_running` requests run (at least one does), `max_waiting` more upload or wait.
    pub fn new(max_running: usize, max_waiting: usize) -> Self {
        let running = max_running.clamp(1, Semaphore::MAX_PERMITS / 2);
        let admitted = running + max_waiting.min(Semaphore::MAX_PERMITS / 2);
        Self {
            slots: Arc::new(Semaphore::new(admitted)),
            places: Line::new(running),
            running: running as u64,
            admitted: admitted as u64,
            recent_ms: Arc::new(AtomicU64::new(1_000)),
        }
    }

    /// A slot, if one is free.
    ///
    /// # Errors
    /// 429 with the time after which one is likely to be.
    pub fn enter(&self) -> Result<Slot, ApiError> {
        Arc::clone(&self.slots).try_acquire_owned().map(|_permit| Slot { _permit }).map_err(|_| {
            let message = format!(
                "the server is busy with {} requests, its limit; try again in a moment or raise \
                 DIARIST_MAX_WAITING on the server",
                self.admitted
            );
            ApiError::new(ErrorKind::Busy, message).with_retry_after(self.next_free_s())
        })
    }

    /// How many slots are free, and how many there are.
    pub fn slots(&self) -> (usize, usize) {
        (self.slots.available_permits(), self.admitted as usize)
    }

    /// How many running places are free, and how many there are.
    pub fn places(&self) -> (usize, usize) {
        (self.places.free(), self.running as usize)
    }

    /// A running place, when it is the request's turn.
    pub async fn start(&self, slot: Slot, ask: Ask) -> Place {
        Place {
            _place: self.places.wait(ask).await,
            _slot: slot,
            since: Instant::now(),
            recent_ms: Arc::clone(&self.recent_ms),
        }
    }

    /// Seconds until one of the running requests is likely to end.
    fn next_free_s(&self) -> u64 {
        self.recent_ms.load(Ordering::Relaxed).div_ceil(1000 * self.running)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let took_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Two requests that end at once may lose one update of the average, which is no harm.
        let before = self.recent_ms.load(Ordering::Relaxed);
        self.recent_ms.store(average(before, took_ms), Ordering::Relaxed);
    }
}

/// Moves the running average a quarter of the way.
fn average(before: u64, now: u64) -> u64 {
    before - before / 4 + now / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[actix_web::test]
    async fn the_next_request_after_the_last_slot_is_refused_until_one_is_free() {
        let admission = Admission::new(1, 1);
        let running = admission.start(admission.enter().ok().unwrap(), Ask::default()).await;
        let waiting = admission.enter().ok().unwrap();
        let refusal = admission.enter().err().unwrap();
        assert_eq!(refusal.status_code(), 429);
        drop(running);
        let _second = admission.start(waiting, Ask::default()).await;
        assert!(admission.enter().is_ok());
    }

    #[test]
    fn the_wait_follows_the_length_of_recent_requests() {
        let admission = Admission::new(2, 0);
        assert_eq!(admission.next_free_s(), 1);
        admission.recent_ms.store(9_000, Ordering::Relaxed);
        assert_eq!(admission.next_free_s(), 5);
        assert_eq!(average(1_000, 9_000), 3_000);
    }

    #[test]
    fn no_running_places_configured_still_means_one() {
        assert_eq!(Admission::new(0, 0).running, 1);
    }
}
