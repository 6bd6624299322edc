//! What a thread that ends leaves to another. wgpu keeps variables of a thread, which are gone before those of a program that the thread
//! used earlier: a tensor or a device that is dropped with those would have wgpu ask for its own, and abort the process.

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;

thread_local! {
    static HAS_ENDED: Cell<bool> = const { Cell::new(false) };
}

#[cfg(feature = "gpu")]
thread_local! {
    static HERE: Here = const { Here };
}

/// Dropped among the first variables of a thread, as it is one of the last that it uses first.
#[cfg(feature = "gpu")]
struct Here;

#[cfg(feature = "gpu")]
impl Drop for Here {
    fn drop(&mut self) {
        HAS_ENDED.set(true);
    }
}

/// Notes that this thread has called wgpu, after the call.
#[cfg(feature = "gpu")]
pub(crate) fn has_called() {
    let _ = HERE.try_with(|_| ());
}

/// Runs something, on another thread where variables of this one may be gone, and waits for it. On Windows nothing waits: threads start
/// when this one has ended.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) {
    if !HAS_ENDED.get() {
        return work();
    }
    if let Ok(other) = std::thread::Builder::new().name("wgrad-ending".into()).spawn(work)
        && !cfg!(windows)
    {
        let _ = other.join();
    }
}

/// A value that is dropped by [`run`]. What it is made of is nothing to its owner's type: types that hold tensors would reach the compiler's
/// limit of recursion by those of the driver's library.
pub(crate) struct Outliving<T>(Box<dyn Deref<Target = T> + Send + Sync>);

impl<T: Send + Sync + 'static> Outliving<T> {
    pub fn new(value: T) -> Self {
        Self(Box::new(Held(ManuallyDrop::new(value))))
    }
}

impl<T> Deref for Outliving<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Outliving<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

struct Held<T: Send + 'static>(ManuallyDrop<T>);

impl<T: Send + 'static> Deref for Held<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    #[allow(unsafe_code, reason = "a drop has no other way to move a value that was there all the time")]
    fn drop(&mut self) {
        // SAFETY: nobody uses the value after this, the only place that takes it.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        run(move || drop(value));
    }
}
