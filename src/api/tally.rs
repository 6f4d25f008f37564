//! A number of things that are held, and a way to wait until none is.

use tokio::sync::watch;

/// Counts what `hold` has given out and has not been dropped.
pub struct Tally(watch::Sender<usize>);

/// One of those that are counted, until it is dropped.
pub struct Held(watch::Sender<usize>);

impl Tally {
    /// Nothing is held.
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// One more.
    pub fn hold(&self) -> Held {
        self.0.send_modify(|held| *held += 1);
        Held(self.0.clone())
    }

    /// One more, if fewer than `limit` are held.
    pub fn hold_below(&self, limit: usize) -> Option<Held> {
        let is_free = |held: &mut usize| {
            let is_free = *held < limit;
            *held += usize::from(is_free);
            is_free
        };
        self.0.send_if_modified(is_free).then(|| Held(self.0.clone()))
    }

    /// How many are held.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until none is held; at once when that is so.
    pub async fn empty(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|held| *held == 0).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|held| *held -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn what_is_dropped_no_longer_counts() {
        let tally = Tally::new();
        let (first, second) = (tally.hold(), tally.hold_below(2).unwrap());
        assert!(tally.hold_below(2).is_none());
        assert_eq!(tally.count(), 2);
        drop(first);
        assert_eq!(tally.count(), 1);
        assert!(tally.empty().now_or_never().is_none());
        drop(second);
        assert!(tally.empty().now_or_never().is_some());
    }
}
