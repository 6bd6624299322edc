//! Whether ops record what gradients need: a switch of each thread.

use std::cell::Cell;

thread_local! {
    static GRAD_ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether ops on this thread record what gradients need.
pub(crate) fn grad_enabled() -> bool {
    GRAD_ENABLED.get()
}

/// Runs `f` with gradient recording switched off on this thread: results are detached, and memory is freed early.
///
/// ```
/// # use wgrad::{Device, Param, Tensor, no_grad};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let w = Param::new(&Tensor::ones([2], &device)?)?;
/// let y = no_grad(|| w.tensor() * 2.0);
/// assert!(!y.requires_grad());
/// # Ok(()) }
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_grad_mode(false, f)
}

/// Runs `f` with gradient recording on or off.
pub(crate) fn with_grad_mode<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            GRAD_ENABLED.set(self.0);
        }
    }
    let _restore = Restore(GRAD_ENABLED.replace(enabled));
    f()
}
