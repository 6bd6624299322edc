//! One thread at a time has wgpu clear up after submissions that have ended.
//!
//! A poll with a limit first asks the driver how far it is and then clears up. Where another thread has cleared up in between, wgpu
//! 30 finds nothing under way, compares with what it was told before, and panics: "If the queue is empty, the current submission
//! index (14843) should be at least the wait submission index (14847)". Submitting clears up, too.

use crate::sync::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// What every poll and every submission of a device passes.
#[derive(Debug, Default)]
pub(super) struct Gate {
    inside: Mutex<()>,
    arrivals: AtomicU64,
}

impl Gate {
    /// Calls once nobody else is inside.
    pub fn pass<T>(&self, call: impl FnOnce() -> T) -> T {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        let _inside = lock(&self.inside);
        call()
    }

    /// Calls, unless somebody else is inside.
    pub fn pass_if_free<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let _inside = match self.inside.try_lock() {
            Ok(inside) => inside,
            Err(TryLockError::Poisoned(inside)) => PoisonError::into_inner(inside),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(call())
    }

    /// How many have come to [`Gate::pass`], with those who still wait for their turn.
    pub fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }
}
