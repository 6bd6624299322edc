//! Faults on purpose: what a device does when its driver fails it, tried out at every call where it may.
//!
//! Without the feature `faults`, and outside this crate's unit tests, nothing of it is compiled in.

#[cfg(any(test, feature = "faults"))]
use crate::sync::lock;
#[cfg(any(test, feature = "faults"))]
use std::sync::Mutex;
#[cfg(any(test, feature = "faults"))]
use std::time::Instant;

/// What goes wrong.
#[cfg_attr(not(all(feature = "gpu", any(test, feature = "faults"))), allow(dead_code, reason = "only a GPU meets all of them"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no memory for a buffer.
    Allocation,
    /// The driver refuses to compile a kernel. GPUs only, as are all that follow.
    Pipeline,
    /// The driver refuses a submission, none of which runs.
    Submission,
    /// The driver refuses to map a buffer: for an upload, or for a value that is read.
    Map,
    /// The device is lost. Each call of the driver counts: for memory, commands, submissions, mappings, and how far it is.
    Loss,
    /// The device answers, but from here on nothing comes to an end. The same calls count.
    Stall,
    /// A submission does not run and counts as done, as on Metal after the system has killed it.
    Kill,
}

/// How many kinds there are.
#[cfg(any(test, feature = "faults"))]
const KINDS: usize = 7;

/// A kind of fault, and when it is met: by a device, see [`Device::inject`](crate::Device::inject), or by a file that is
/// saved or read, see [`io::inject`](crate::io::inject).
#[cfg_attr(not(any(test, feature = "faults")), allow(dead_code, reason = "for the feature"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault<K = FaultKind> {
    /// What goes wrong.
    pub kind: K,
    /// At which call of the kind, counted from 1 from now on.
    pub at: u64,
    /// How many calls fail, one after the other. A device asks a second time for memory once it has released what it only caches.
    pub times: u64,
}

#[cfg_attr(not(any(test, feature = "faults")), allow(dead_code, reason = "for the feature"))]
impl<K> Fault<K> {
    /// Of the kind, at its call number `at`, once.
    pub fn new(kind: K, at: u64) -> Self {
        Self { kind, at, times: 1 }
    }

    /// The same, at `times` calls one after the other.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}

/// When a kind of fault is met next.
#[cfg(any(test, feature = "faults"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Calls of the kind since the fault was set.
    calls: u64,
    /// The first that fails; 0 for none.
    at: u64,
    times: u64,
}

#[cfg(any(test, feature = "faults"))]
impl Plan {
    /// Never.
    pub const NONE: Self = Self { calls: 0, at: 0, times: 0 };

    /// From now on.
    pub fn of<K>(fault: Fault<K>) -> Self {
        Self { calls: 0, at: fault.at, times: fault.times }
    }

    /// The calls so far.
    pub fn calls(self) -> u64 {
        self.calls
    }

    /// Counts a call; whether it goes wrong.
    pub fn strikes(&mut self) -> bool {
        self.calls += 1;
        self.at > 0 && self.calls >= self.at && self.calls - self.at < self.times
    }
}

/// The faults of a device.
#[derive(Debug)]
#[cfg_attr(not(any(test, feature = "faults")), derive(Default))]
pub(crate) struct Faults {
    #[cfg(any(test, feature = "faults"))]
    plans: Mutex<[Plan; KINDS]>,
    #[cfg(any(test, feature = "faults"))]
    stalled: std::sync::atomic::AtomicBool,
    /// When a call went wrong last.
    #[cfg(any(test, feature = "faults"))]
    struck: Mutex<Option<Instant>>,
}

#[cfg(any(test, feature = "faults"))]
impl Default for Faults {
    fn default() -> Self {
        Self { plans: Mutex::new([Plan::NONE; KINDS]), stalled: false.into(), struck: Mutex::default() }
    }
}

#[cfg(not(any(test, feature = "faults")))]
impl Faults {
    /// Nothing is.
    pub fn strikes(&self, _: FaultKind) -> bool {
        false
    }

    /// Never.
    pub fn is_stalled(&self) -> bool {
        false
    }
}

#[cfg(any(test, feature = "faults"))]
impl Faults {
    /// Sets a fault, in place of an earlier one of its kind, and counts the kind's calls anew.
    pub fn set(&self, fault: Fault) {
        lock(&self.plans)[fault.kind as usize] = Plan::of(fault);
    }

    /// The calls of a kind since its fault was set, or since the device was opened.
    pub fn calls(&self, kind: FaultKind) -> u64 {
        lock(&self.plans)[kind as usize].calls
    }

    /// Counts a call; whether it goes wrong.
    pub fn strikes(&self, kind: FaultKind) -> bool {
        let strikes = lock(&self.plans)[kind as usize].strikes();
        if strikes {
            *lock(&self.struck) = Some(Instant::now());
        }
        if strikes && kind == FaultKind::Stall {
            self.stalled.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        strikes
    }

    /// When a call went wrong last.
    #[cfg(test)]
    pub fn struck(&self) -> Option<Instant> {
        *lock(&self.struck)
    }

    /// Whether nothing comes to an end any more.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// What a driver would say.
pub(crate) const REASON: &str = "a fault on purpose";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_fail_from_the_first_as_often_as_asked_for() {
        let faults = Faults::default();
        let met = |n| (0..n).map(|_| faults.strikes(FaultKind::Map)).collect::<Vec<_>>();
        assert_eq!(met(3), [false; 3]);
        faults.set(Fault::new(FaultKind::Map, 2).times(2));
        assert!(!faults.strikes(FaultKind::Submission));
        assert_eq!((met(5), faults.calls(FaultKind::Map)), (vec![false, true, true, false, false], 5));
        faults.set(Fault::new(FaultKind::Map, 1).times(u64::MAX));
        assert_eq!(met(2), [true; 2]);
        faults.set(Fault::new(FaultKind::Map, 0));
        assert_eq!(met(2), [false; 2]);
        assert!(!faults.is_stalled() && faults.strikes(FaultKind::Stall) == faults.is_stalled());
        faults.set(Fault::new(FaultKind::Stall, 1));
        assert!(faults.strikes(FaultKind::Stall) && faults.is_stalled() && !faults.strikes(FaultKind::Stall));
    }
}
