//! Locks whose data stays valid even if a thread panicked while holding them: plain values, changed in whole steps.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks a mutex.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared access.
pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Exclusive access.
pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The data of a mutex that nobody else can hold.
pub(crate) fn get_mut<T: ?Sized>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// What the process remembers under a name; made if there is nothing yet.
#[cfg(feature = "gpu")]
pub(crate) fn remembered<T: Clone>(all: &Mutex<Vec<(String, T)>>, name: String, make: impl FnOnce() -> T) -> T {
    let mut all = lock(all);
    if let Some((_, known)) = all.iter().find(|(n, _)| *n == name) {
        return known.clone();
    }
    let made = make();
    all.push((name, made.clone()));
    made
}
