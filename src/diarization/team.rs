//! The threads that run the networks for a request.
//!
//! Each task runs on one thread from beginning to end; a `Team` spreads the tasks of one request over as many threads
//! as there are places. Places are the process's, not the request's: several diarized requests take them in turn, a
//! task at a time, so that none holds up another for longer than a task takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::DiarizationError;
use crate::audio::AudioError;
use crate::cancel::CancelToken;

/// How many tasks run at once in the whole process; whoever waits longest is next.
#[derive(Debug)]
pub struct Places {
    count: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Tickets given out, and of these the ones that have got a place: they are served in order.
    tickets: u64,
    served: u64,
}

impl Places {
    /// So many places, at least one.
    pub fn new(count: usize) -> Self {
        Self { count: count.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A place, until the guard is dropped. Waits for those who came before, a task's time each at most.
    fn take(&self) -> Place<'_> {
        let mut state = self.state();
        let ticket = state.tickets;
        state.tickets += 1;
        let must_wait = |state: &mut State| state.served != ticket || state.taken == self.count;
        state = self.changed.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
        state.served += 1;
        state.taken += 1;
        drop(state);
        // The next ticket may find another place free.
        self.changed.notify_all();
        Place { places: self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Place<'a> {
    places: &'a Places,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.state().taken -= 1;
        self.places.changed.notify_all();
    }
}

/// The threads of one request.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    places: &'a Places,
    cancel: &'a CancelToken,
}

impl<'a> Team<'a> {
    /// A team that works for a request until it is cancelled.
    pub fn new(places: &'a Places, cancel: &'a CancelToken) -> Self {
        Self { places, cancel }
    }

    /// `work` of each item, in the order of the items. It is called by several threads at once, this one among them,
    /// and once for each item at most. After the first error no more items are begun.
    ///
    /// # Errors
    /// The error of the first item that failed, in their order; `Engine` for one that panicked; `Cancelled`.
    pub fn map<T: Sync, R: Send + Sync>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<R, DiarizationError> + Sync,
    ) -> Result<Vec<R>, DiarizationError> {
        let results: Vec<OnceLock<Result<R, DiarizationError>>> =
            items.iter().map(|_| OnceLock::new()).collect();
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let run = || {
            while !failed.load(Ordering::Relaxed) && !self.cancel.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let (Some(item), Some(slot)) = (items.get(index), results.get(index)) else { break };
                let result = self.one(|| work(item));
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                let _ = slot.set(result);
            }
        };
        let span = tracing::Span::current();
        thread::scope(|scope| {
            for index in 1..self.places.count().min(items.len()) {
                let (run, span) = (&run, &span);
                let helper = thread::Builder::new().name(format!("diarize-{index}"));
                // Without a thread to be had, the others do its share.
                let _ = helper.spawn_scoped(scope, move || span.in_scope(run));
            }
            run();
        });
        self.gather(results)
    }

    /// One task, in a place; a panic in it is an error.
    fn one<R>(&self, task: impl FnOnce() -> Result<R, DiarizationError>) -> Result<R, DiarizationError> {
        let _place = self.places.take();
        // A task shares nothing with others that it could leave half done: networks are only read.
        catch_unwind(AssertUnwindSafe(task))
            .unwrap_or_else(|_| Err(DiarizationError::Engine("a stage broke down".to_owned())))
    }

    fn gather<R>(
        &self,
        results: Vec<OnceLock<Result<R, DiarizationError>>>,
    ) -> Result<Vec<R>, DiarizationError> {
        let mut gathered = Vec::with_capacity(results.len());
        let mut is_complete = true;
        for result in results {
            match result.into_inner() {
                Some(result) => gathered.push(result?),
                None => is_complete = false,
            }
        }
        // What was not begun was left because of an error, which has been found by now, or because nobody wants it.
        if is_complete { Ok(gathered) } else { Err(AudioError::Cancelled.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    fn doubled(places: &Places, numbers: &[u32]) -> Result<Vec<u32>, DiarizationError> {
        Team::new(places, &CancelToken::new()).map(numbers, |number| Ok(2 * number))
    }

    #[test]
    fn results_keep_the_order_of_the_items() {
        let numbers: Vec<u32> = (0..1_000).collect();
        for count in [1, 2, 7] {
            let expected: Vec<u32> = numbers.iter().map(|number| 2 * number).collect();
            assert_eq!(doubled(&Places::new(count), &numbers).unwrap(), expected);
        }
        assert!(doubled(&Places::new(3), &[]).unwrap().is_empty());
    }

    #[test]
    fn a_panic_is_an_error_and_its_place_is_free_again() {
        let (places, cancel) = (Places::new(2), CancelToken::new());
        let team = Team::new(&places, &cancel);
        for _ in 0..3 {
            let result = team.map(&[1, 2, 3], |number| match number {
                2 => panic!("on purpose"),
                _ => Ok(()),
            });
            assert!(matches!(result, Err(DiarizationError::Engine(_))));
        }
        assert_eq!(places.state().taken, 0);
    }

    #[test]
    fn after_an_error_nothing_more_is_begun() {
        let (places, cancel, begun) = (Places::new(1), CancelToken::new(), AtomicUsize::new(0));
        let result = Team::new(&places, &cancel).map(&[0; 100], |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(DiarizationError::Engine("broken".into()))
        });
        assert!(result.is_err());
        assert_eq!(begun.into_inner(), 1);
    }

    #[test]
    fn a_cancelled_request_begins_no_more_tasks() {
        let (places, cancel, begun) = (Places::new(2), CancelToken::new(), AtomicUsize::new(0));
        let result = Team::new(&places, &cancel).map(&[0; 1_000], |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            cancel.cancel();
            Ok(())
        });
        assert!(matches!(result, Err(DiarizationError::Audio(AudioError::Cancelled))));
        assert!(begun.into_inner() <= 2);
    }

    #[test]
    fn no_more_tasks_run_at_once_than_there_are_places_however_many_requests_there_are() {
        let (places, running, most) = (Places::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let request = || {
            let cancel = CancelToken::new();
            Team::new(&places, &cancel).map(&[0; 30], |_| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
        };
        thread::scope(|scope| {
            for handle in [scope.spawn(request), scope.spawn(request), scope.spawn(request)] {
                assert_eq!(handle.join().unwrap().unwrap().len(), 30);
            }
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn places_are_given_in_the_order_in_which_they_were_asked_for() {
        let (places, order) = (Places::new(1), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            let first = places.take();
            for name in 0..4_u64 {
                let (places, order) = (&places, &order);
                scope.spawn(move || {
                    let _place = places.take();
                    order.lock().unwrap().push(name);
                });
                while places.state().tickets < name + 2 {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3]);
    }
}
