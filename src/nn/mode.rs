//! What layers keep on the host: whether they train, and what they count.

use crate::lazy::Tally;
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a layer trains or evaluates; clones share it. Starts in training.
#[derive(Debug, Clone)]
pub struct Mode(Arc<AtomicBool>);

impl Default for Mode {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

thread_local! {
    /// Modes that a thread has for itself, by address, innermost last.
    static OWN: RefCell<Vec<HashMap<usize, bool>>> = const { RefCell::new(Vec::new()) };
}

impl Mode {
    /// Whether the layer trains.
    pub fn is_training(&self) -> bool {
        let own = OWN.with_borrow(|all| all.iter().rev().find_map(|own| own.get(&self.address()).copied()));
        own.unwrap_or_else(|| self.0.load(Ordering::Relaxed))
    }

    /// Switches between training and evaluation. Within [`evaluating`](super::evaluating) it does so only for this thread, until
    /// that ends.
    pub fn set_training(&self, training: bool) {
        let own = OWN.with_borrow_mut(|all| {
            let own = all.iter_mut().rev().find_map(|own| own.get_mut(&self.address()));
            own.map(|mode| *mode = training)
        });
        if own.is_none() {
            self.0.store(training, Ordering::Relaxed);
        }
    }

    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// A whole number that a layer keeps on the host and saves with its state, such as the batches that it has seen; clones
/// share it. In files it is a 0-d i32, where PyTorch has an i64.
///
/// A counter of what training passes track counts only steps that were taken: this thread sees its own passes counted at once,
/// other threads once their step is taken.
#[derive(Debug, Clone, Default)]
pub struct Counter(Tally);

impl Counter {
    /// The number. Waits for the device if it has yet to decide whether steps are taken.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    /// Adds one, and returns the new number.
    pub fn increment(&self) -> u64 {
        self.0.increment();
        self.0.get()
    }

    /// The tally that an assignment increments.
    pub(super) fn tally(&self) -> &Tally {
        &self.0
    }
}

/// Modes that this thread switches for itself as long as this value lives.
pub(super) struct KeptModes {
    /// They are kept alive at least as long as their addresses are in use.
    modes: Vec<Mode>,
    of_this_thread: PhantomData<*const ()>,
}

impl KeptModes {
    pub fn of(modes: &[Mode]) -> Self {
        let own = modes.iter().map(|mode| (mode.address(), mode.is_training())).collect();
        OWN.with_borrow_mut(|all| all.push(own));
        Self { modes: modes.to_vec(), of_this_thread: PhantomData }
    }
}

impl Drop for KeptModes {
    fn drop(&mut self) {
        OWN.with_borrow_mut(Vec::pop);
        self.modes.clear();
    }
}
