//! Counts that go with assignments: the outcome of a step that the device may skip reaches the host later.

use super::thread;
use crate::sync::lock;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How many steps' verdicts are kept before the oldest is waited for.
const WINDOW: usize = 8;

/// A number that counts the assignments that have run. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    known: u64,
    /// Counts of gated steps.
    coming: VecDeque<(u64, Arc<Verdict>)>,
    /// Counts of pending assignments, by the threads that made them.
    ahead: Vec<(u64, u64)>,
}

/// What an assignment adds to a tally when it has run. Until then its thread, and no other, sees it added.
#[derive(Debug)]
pub(crate) struct Ticket {
    tally: Tally,
    thread: u64,
    count: AtomicU64,
}

impl Ticket {
    /// A ticket of this thread.
    pub fn new(tally: &Tally, count: u64) -> Self {
        let thread = thread::current();
        lock(&tally.0).wait(thread, count);
        Self { tally: tally.clone(), thread, count: AtomicU64::new(count) }
    }

    /// What it was to add; it will not add it any more.
    pub fn take(&self) -> u64 {
        let count = self.count.swap(0, Ordering::Relaxed);
        lock(&self.tally.0).leave(self.thread, count);
        count
    }

    /// Adds it: for certain, or if the verdict says so.
    pub fn count(&self, verdict: Option<&Arc<Verdict>>) {
        let count = self.take();
        let mut counted = lock(&self.tally.0);
        match verdict {
            None => counted.known = counted.known.wrapping_add(count),
            Some(verdict) => {
                counted.coming.push_back((count, verdict.clone()));
                counted.settle(WINDOW);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.take();
    }
}

/// Whether a gated step was taken, as the device decided.
pub(crate) struct Verdict(Mutex<State>);

enum State {
    /// Waits for the decision and returns it.
    Coming(Box<dyn FnOnce() -> bool + Send>),
    Heard(bool),
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *lock(&self.0) {
            State::Coming(_) => "coming",
            State::Heard(true) => "taken",
            State::Heard(false) => "skipped",
        })
    }
}

impl Verdict {
    /// A verdict that `wait` waits for.
    pub fn new(wait: impl FnOnce() -> bool + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Coming(Box::new(wait)))))
    }

    fn taken(&self) -> bool {
        let mut state = lock(&self.0);
        let taken = match std::mem::replace(&mut *state, State::Heard(false)) {
            State::Heard(taken) => taken,
            State::Coming(wait) => wait(),
        };
        *state = State::Heard(taken);
        taken
    }
}

impl Tally {
    /// The number as this thread sees it; waits for the device if it has yet to decide about steps.
    pub fn get(&self) -> u64 {
        let mut counted = lock(&self.0);
        counted.settle(0);
        let own = thread::current();
        let ahead = counted.ahead.iter().find(|(thread, _)| *thread == own).map_or(0, |(_, count)| *count);
        counted.known.wrapping_add(ahead)
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        let mut counted = lock(&self.0);
        counted.known = value;
        counted.coming.clear();
    }

    /// Adds one now.
    pub fn increment(&self) {
        let mut counted = lock(&self.0);
        counted.known = counted.known.wrapping_add(1);
    }

    /// What tells tallies apart.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl Counted {
    fn wait(&mut self, thread: u64, count: u64) {
        match self.ahead.iter_mut().find(|(t, _)| *t == thread) {
            Some((_, ahead)) => *ahead += count,
            None => self.ahead.push((thread, count)),
        }
    }

    fn leave(&mut self, thread: u64, count: u64) {
        if let Some(at) = self.ahead.iter().position(|(t, _)| *t == thread) {
            self.ahead[at].1 = self.ahead[at].1.saturating_sub(count);
            if self.ahead[at].1 == 0 {
                self.ahead.swap_remove(at);
            }
        }
    }

    /// Collects verdicts until at most `left` are outstanding.
    fn settle(&mut self, left: usize) {
        while self.coming.len() > left {
            let Some((n, verdict)) = self.coming.pop_front() else { break };
            self.known = self.known.wrapping_add(if verdict.taken() { n } else { 0 });
        }
    }
}
