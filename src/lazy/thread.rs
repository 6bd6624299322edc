//! Threads by number, and what is told when they end.

use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Something that keeps data of particular threads.
pub(super) trait Owned: Send + Sync {
    /// The thread of this number ends.
    fn thread_ends(self: Arc<Self>, thread: u64);
}

/// A thread's number, and what keeps data of it.
struct Thread {
    number: u64,
    owned: RefCell<Things>,
}

/// Things by address, and how many there may be before those that are gone are removed.
#[derive(Default)]
struct Things {
    all: FxHashMap<usize, Weak<dyn Owned>>,
    many: usize,
}

thread_local! {
    static THREAD: Thread = Thread { number: NEXT.fetch_add(1, Ordering::Relaxed), owned: RefCell::default() };
}

impl Drop for Thread {
    fn drop(&mut self) {
        let all = std::mem::take(&mut self.owned.get_mut().all);
        all.into_values().filter_map(|o| o.upgrade()).for_each(|owned| owned.thread_ends(self.number));
    }
}

/// This thread's number, which no other thread of the process ever has.
pub(super) fn current() -> u64 {
    // A thread that is ending has no number any more; nothing of its own is left then.
    THREAD.try_with(|t| t.number).unwrap_or_default()
}

/// Notes that something keeps data of this thread.
pub(super) fn owns(what: Weak<dyn Owned>) {
    let _ = THREAD.try_with(|t| {
        let mut owned = t.owned.borrow_mut();
        if owned.all.len() > owned.many {
            owned.all.retain(|_, o| o.strong_count() > 0);
            owned.many = 2 * owned.all.len() + 16;
        }
        owned.all.insert(what.as_ptr().addr(), what);
    });
}
