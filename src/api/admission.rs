//! How many requests are let in, and how many of them run.
//!
//! A slot is taken before the body is read; without one the answer is 429 at once. Uploading needs a slot
//! only, so a slow client does not keep the machine idle. Once the file is there, a request waits in `line` for one
//! of the running places. One client may be allowed fewer slots than there are, so that some are left for others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::error::ErrorKind;

use super::client::Client;
use super::error::ApiError;
use super::line::{self, Ask, Line};
use super::tally::{Held, Tally};

/// How many requests there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that run at once; 0 counts as 1.
    pub running: usize,
    /// Further requests that upload or wait.
    pub waiting: usize,
    /// Requests of one client, of whatever kind; 0: as many as there are slots.
    pub per_client: usize,
}

impl Limits {
    /// Requests that are let in.
    fn slots(&self) -> usize {
        self.running.saturating_add(self.waiting)
    }
}

/// How many requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Those that run.
    pub running: usize,
    /// Those that upload or wait.
    pub waiting: usize,
}

/// The places there are.
pub struct Admission {
    limits: Limits,
    slots: Tally,
    clients: Arc<Clients>,
    places: Line,
    /// How long requests have run lately, in ms.
    recent_ms: Arc<AtomicU64>,
}

/// The right to upload and to wait. Given back when dropped.
pub struct Slot {
    _slot: Held,
    _share: Share,
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
    /// Nobody is there yet.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { running: limits.running.max(1), ..limits };
        Self {
            limits,
            slots: Tally::new(),
            clients: Arc::default(),
            places: Line::new(limits.running),
            recent_ms: Arc::new(AtomicU64::new(1_000)),
        }
    }

    /// A slot for a request of `client`, if one is free.
    ///
    /// # Errors
    /// 429 with the time after which one is likely to be.
    pub fn enter(&self, client: Client) -> Result<Slot, ApiError> {
        let per_client = self.limits.per_client;
        let share = Clients::share(&self.clients, client, per_client).ok_or_else(|| {
            self.busy(format!(
                "{per_client} requests of this {} are being worked on, as many as one may have at once; wait for \
                 one of them or raise DIARIST_MAX_PER_CLIENT on the server",
                client.noun()
            ))
            .with_reason("client_limit")
        })?;
        let slots = self.limits.slots();
        let slot = self.slots.hold_below(slots).ok_or_else(|| {
            self.busy(format!(
                "the server is busy with {slots} requests, its limit; try again in a moment or raise \
                 DIARIST_MAX_WAITING on the server"
            ))
        })?;
        Ok(Slot { _slot: slot, _share: share })
    }

    /// How many slots are free, and how many there are.
    pub fn slots(&self) -> (usize, usize) {
        let all = self.limits.slots();
        (all.saturating_sub(self.slots.count()), all)
    }

    /// How many running places are free, and how many there are.
    pub fn places(&self) -> (usize, usize) {
        (self.places.free(), self.limits.running)
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

    /// How many requests there are at the moment.
    pub fn load(&self) -> Load {
        let running = self.limits.running.saturating_sub(self.places.free());
        Load { running, waiting: self.slots.count().saturating_sub(running) }
    }

    /// Waits until all slots are free, which is when all work has ended and its files are gone.
    pub async fn empty(&self) {
        self.slots.empty().await;
    }

    fn busy(&self, message: String) -> ApiError {
        ApiError::new(ErrorKind::Busy, message).with_retry_after(self.wait_s(self.load().waiting))
    }

    /// Seconds until `waiting` requests are likely to have had their turn, or until a running one ends where
    /// nobody waits.
    fn wait_s(&self, waiting: usize) -> u64 {
        let work_ms = self.recent_ms.load(Ordering::Relaxed).saturating_mul(waiting.max(1) as u64);
        work_ms.div_ceil(1_000 * self.limits.running as u64)
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

/// How many requests each client has here; those without any are not listed.
#[derive(Default)]
struct Clients(Mutex<HashMap<Client, usize>>);

/// One request of a client, until it is dropped.
struct Share {
    client: Client,
    clients: Arc<Clients>,
}

impl Clients {
    /// One more request of `client`, unless it has `limit` (0: no limit).
    fn share(clients: &Arc<Self>, client: Client, limit: usize) -> Option<Share> {
        let mut counts = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_insert(0);
        if limit > 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Share { client, clients: Arc::clone(clients) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::http::header::RETRY_AFTER;

    const ONE: Client = Client::Key([1; 32]);
    const OTHER: Client = Client::Key([2; 32]);

    fn admission(running: usize, waiting: usize, per_client: usize) -> Admission {
        Admission::new(Limits { running, waiting, per_client })
    }

    #[actix_web::test]
    async fn the_next_request_after_the_last_slot_is_refused_until_one_is_free() {
        let admission = admission(1, 1, 0);
        let running = admission.start(admission.enter(ONE).ok().unwrap(), Ask::default()).await;
        let waiting = admission.enter(ONE).ok().unwrap();
        assert_eq!(admission.load(), Load { running: 1, waiting: 1 });
        let refusal = admission.enter(ONE).err().unwrap();
        assert_eq!(refusal.status_code(), 429);
        drop(running);
        let _second = admission.start(waiting, Ask::default()).await;
        assert!(admission.enter(ONE).is_ok());
    }

    #[test]
    fn one_client_leaves_slots_for_others() {
        let admission = admission(1, 3, 2);
        let slots = [admission.enter(ONE).ok().unwrap(), admission.enter(ONE).ok().unwrap()];
        let refusal = admission.enter(ONE).err().unwrap();
        assert_eq!(refusal.status_code(), 429);
        assert!(refusal.to_string().contains("DIARIST_MAX_PER_CLIENT"), "{refusal}");
        let _others = admission.enter(OTHER).ok().unwrap();
        drop(slots);
        assert!(admission.enter(ONE).is_ok());
        assert_eq!(admission.load().waiting, 1, "refused requests hold nothing");
    }

    #[test]
    fn clients_that_have_left_are_forgotten() {
        let admission = admission(1, 1, 1);
        drop([admission.enter(ONE), admission.enter(OTHER)]);
        drop(admission.enter(ONE));
        assert!(admission.clients.0.lock().unwrap().is_empty());
    }

    #[test]
    fn the_wait_follows_the_queue_and_the_length_of_recent_requests() {
        let admission = admission(2, 3, 0);
        assert_eq!(admission.wait_s(0), 1);
        admission.recent_ms.store(9_000, Ordering::Relaxed);
        assert_eq!((admission.wait_s(0), admission.wait_s(1), admission.wait_s(3)), (5, 5, 14));
        let _slots: Vec<_> = (0..5).map(|_| admission.enter(ONE).ok().unwrap()).collect();
        let wait = |admission: &Admission| {
            let answer = admission.enter(ONE).err().unwrap().error_response();
            answer.headers().get(RETRY_AFTER).unwrap().to_str().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(wait(&admission), 23);
        admission.recent_ms.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(wait(&admission), 60, "clients ignore longer ones");
        assert_eq!(average(1_000, 9_000), 3_000);
    }

    #[test]
    fn no_running_places_configured_still_means_one() {
        let admission = admission(0, 0, 0);
        let _only = admission.enter(ONE).ok().unwrap();
        assert!(admission.enter(ONE).is_err());
    }
}
