//! Who of those with a finished upload runs next.
//!
//! High priority goes before normal before low, and first come, first served within one. Whoever is overtaken
//! eight times rises by one, so that nobody waits for ever. One place is kept for small uploads: what is large
//! runs for long, and a few of those must not keep everybody else waiting. How long a recording is cannot be
//! known here, before it is decoded; its size must do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::pipeline::Priority;

/// Uploads with more bytes than this are large: some ten minutes of MP3.
pub const LARGE_BYTES: u64 = 8 << 20;

/// Overtaken so often, a request counts as of the next higher priority.
const PATIENCE: u32 = 8;

/// What decides a request's place in the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    /// As the client wishes.
    pub priority: Priority,
    /// Size of the upload.
    pub bytes: u64,
}

/// The running places, and those who wait for one.
pub struct Line(Arc<Mutex<State>>);

/// A running place. Given back when dropped.
pub struct Place {
    line: Arc<Mutex<State>>,
    is_large: bool,
}

struct State {
    free: usize,
    /// Places that large uploads may still take.
    free_for_large: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

struct Waiting {
    priority: Priority,
    is_large: bool,
    overtaken: u32,
    wake: oneshot::Sender<Place>,
}

impl Line {
    /// A line before `places` running places (at least one).
    pub fn new(places: usize) -> Self {
        let places = places.max(1);
        let free_for_large = if places > 1 { places - 1 } else { 1 };
        Self(Arc::new(Mutex::new(State { free: places, free_for_large, waiting: Vec::new() })))
    }

    /// How many places are free.
    pub fn free(&self) -> usize {
        lock(&self.0).free
    }

    /// A place, as soon as it is the caller's turn. Dropping the future leaves the line.
    pub async fn wait(&self, ask: Ask) -> Place {
        let (wake, place) = oneshot::channel();
        let is_large = ask.bytes > LARGE_BYTES;
        lock(&self.0).waiting.push(Waiting { priority: ask.priority, is_large, overtaken: 0, wake });
        call_next(&self.0);
        place.await.expect("the line wakes whom it removes, and lives as long as this call")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.line);
            state.free += 1;
            state.free_for_large += usize::from(self.is_large);
        }
        call_next(&self.line);
    }
}

impl State {
    /// Removes the next of those for whom there is a place, and takes the place.
    fn next(&mut self) -> Option<Waiting> {
        // Those who have gone need no place.
        self.waiting.retain(|waiting| !waiting.wake.is_closed());
        if self.free == 0 {
            return None;
        }
        let may_run = |waiting: &Waiting| !waiting.is_large || self.free_for_large > 0;
        let ready = self.waiting.iter().enumerate().filter(|(_, waiting)| may_run(waiting));
        // Of equals the first: `max_by_key` would give the last.
        let (index, _) = ready.rev().max_by_key(|(_, waiting)| waiting.rank())?;
        for overtaken in &mut self.waiting[..index] {
            overtaken.overtaken += 1;
        }
        let next = self.waiting.remove(index);
        self.free -= 1;
        self.free_for_large -= usize::from(next.is_large);
        Some(next)
    }
}

impl Waiting {
    fn rank(&self) -> u32 {
        self.priority as u32 + self.overtaken / PATIENCE
    }
}

/// Gives free places to those who wait.
fn call_next(line: &Arc<Mutex<State>>) {
    loop {
        let Some(next) = lock(line).next() else { return };
        let place = Place { line: Arc::clone(line), is_large: next.is_large };
        // Somebody who leaves at this moment gives the place back by dropping it.
        let _ = next.wake.send(place);
    }
}

fn lock(line: &Mutex<State>) -> MutexGuard<'_, State> {
    // The state is consistent at every point where its holder could panic.
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::LocalBoxFuture;

    fn ask(priority: Priority, bytes: u64) -> Ask {
        Ask { priority, bytes }
    }

    /// Joins the line; the future is polled once, which is when one joins.
    fn join(line: &Line, ask: Ask) -> Result<Place, LocalBoxFuture<'_, Place>> {
        let mut waiting = line.wait(ask).boxed_local();
        match (&mut waiting).now_or_never() {
            Some(place) => Ok(place),
            None => Err(waiting),
        }
    }

    #[test]
    fn higher_priority_runs_first_and_equals_in_order() {
        let line = Line::new(1);
        let mut running = join(&line, Ask::default()).ok();
        assert!(running.is_some());
        let wishes = [Priority::Low, Priority::Normal, Priority::High, Priority::Normal];
        let mut waiting: Vec<_> =
            wishes.iter().map(|wish| Some(join(&line, ask(*wish, 1)).err().expect("no place"))).collect();
        let mut order = Vec::new();
        for _ in wishes {
            drop(running.take());
            for (index, slot) in waiting.iter_mut().enumerate() {
                if let Some(place) = slot.as_mut().and_then(FutureExt::now_or_never) {
                    (running, *slot) = (Some(place), None);
                    order.push(index);
                }
            }
        }
        assert_eq!(order, [2, 1, 3, 0]);
    }

    #[test]
    fn large_uploads_leave_a_place_for_small_ones() {
        let line = Line::new(3);
        let large = ask(Priority::High, LARGE_BYTES + 1);
        let running = [join(&line, large).ok().unwrap(), join(&line, large).ok().unwrap()];
        let third = join(&line, large).err().expect("two are all they get");
        let small = join(&line, ask(Priority::Low, LARGE_BYTES)).ok().expect("a place is kept");
        drop(small);
        drop(running);
        assert!(third.now_or_never().is_some());
        assert!(join(&Line::new(1), large).is_ok(), "the only place is for all");
    }

    #[test]
    fn low_priority_is_overtaken_a_bounded_number_of_times() {
        let line = Line::new(1);
        let mut running = join(&line, Ask::default()).ok();
        let mut low = join(&line, ask(Priority::Low, 1)).err().unwrap();
        let most = 2 * PATIENCE as usize;
        for round in 0..=most {
            let high = join(&line, ask(Priority::High, 1)).err().unwrap();
            drop(running.take());
            if (&mut low).now_or_never().is_some() {
                assert_eq!(round, most);
                return;
            }
            running = high.now_or_never();
        }
        panic!("it still waits");
    }

    #[test]
    fn whoever_leaves_the_line_holds_nobody_up() {
        let line = Line::new(1);
        let running = join(&line, Ask::default()).ok();
        let leaving = join(&line, ask(Priority::High, 1)).err();
        let staying = join(&line, Ask::default()).err().unwrap();
        drop(leaving);
        drop(running);
        assert!(staying.now_or_never().is_some());
        assert!(join(&line, Ask::default()).is_ok(), "all places are free again");
    }
}
