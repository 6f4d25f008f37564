//! Large buffers that are used again.
//!
//! Freed, they would go back to the system (`runtime::memory`), which clears every page before it lends them anew: for
//! windows that overlap that is a twelfth of the time.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that nobody uses at the moment; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// One of `length` values: what its last user left in it, zeros beyond.
    pub fn take(&self, length: usize) -> Lent {
        let mut values = self.idle().pop().unwrap_or_default();
        values.resize(length, 0.0);
        Lent { values, home: self.clone() }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back to its home when it is dropped.
#[derive(Debug)]
pub struct Lent {
    values: Vec<f32>,
    home: Buffers,
}

impl Deref for Lent {
    type Target = Vec<f32>;

    fn deref(&self) -> &Vec<f32> {
        &self.values
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Vec<f32> {
        &mut self.values
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.idle().push(std::mem::take(&mut self.values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again_once_it_is_back() {
        let buffers = Buffers::default();
        let mut first = buffers.take(2);
        first[1] = 5.0;
        let (place, second) = (first.as_ptr(), buffers.take(2));
        assert_ne!(place, second.as_ptr());
        drop(first);
        let again = buffers.take(2);
        assert_eq!((again.as_ptr(), again[1]), (place, 5.0));
    }

    #[test]
    fn it_has_the_length_that_is_asked_for() {
        let buffers = Buffers::default();
        assert_eq!(**buffers.take(3), [0.0; 3]);
        assert_eq!(buffers.take(1).len(), 1);
        assert_eq!(buffers.take(4).len(), 4);
    }
}
