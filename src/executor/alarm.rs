//! The flag of indices out of range, which values that come to the host bring with them.
//!
//! Each evaluation that checks indices makes a new flag of the one before it, so that the first index out of range stays until a
//! read has reported it. Reads under way may have the same report: a series of flags reports once.

use crate::error::Result;
use crate::site::{FLAG, raise};
use crate::storage::Storage;
use crate::sync::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A flag in a device's memory.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    storage: Storage,
    /// Whether a flag of its series has been reported.
    reported: Arc<AtomicBool>,
}

impl Flag {
    /// Its words.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// What checks of indices have found.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A flag of zeros, once one is needed.
    clean: Option<Storage>,
    /// The flag of the latest checks, unless it is known to be one of zeros.
    latest: Option<Flag>,
}

impl Alarm {
    /// The flag to read.
    pub fn latest(&self) -> Option<Flag> {
        lock(&self.state).latest.clone()
    }

    /// The flag to go on from; `zeros` makes the first one.
    pub fn begin(&self, zeros: impl FnOnce() -> Result<Storage>) -> Result<Flag> {
        let known = {
            let state = lock(&self.state);
            state.latest.clone().or_else(|| Some(Flag { storage: state.clean.clone()?, reported: Arc::default() }))
        };
        if let Some(flag) = known {
            return Ok(flag);
        }
        let storage = zeros()?;
        lock(&self.state).clean = Some(storage.clone());
        Ok(Flag { storage, reported: Arc::default() })
    }

    /// The flag after an evaluation that went on from `before`.
    pub fn set(&self, before: &Flag, after: &Storage) {
        let mut state = lock(&self.state);
        // What was reported in the meantime is in this flag, too.
        let is_new = !before.reported.load(Ordering::Relaxed);
        let flag = Flag { storage: after.clone(), reported: before.reported.clone() };
        let old = std::mem::replace(&mut state.latest, is_new.then_some(flag));
        drop(state);
        drop(old);
    }

    /// A flag has come to the host.
    ///
    /// # Errors
    /// What it reports, unless that has been reported.
    pub fn arrived(&self, flag: &Flag, words: &[u8]) -> Result<()> {
        let mut found = [0; FLAG];
        for (word, bytes) in found.iter_mut().zip(words.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        let mut state = lock(&self.state);
        let is_wrong = found[0] != 0;
        let is_over = |latest: &mut Flag| match is_wrong {
            true => Arc::ptr_eq(&latest.reported, &flag.reported),
            false => latest.storage.is_same(&flag.storage),
        };
        let old = state.latest.take_if(is_over);
        let is_known = is_wrong && flag.reported.swap(true, Ordering::Relaxed);
        drop(state);
        drop(old);
        if is_known { Ok(()) } else { raise(found) }
    }
}
