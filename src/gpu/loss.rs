//! Lost devices: every sign of a loss becomes one typed error.
//!
//! wgpu reports a loss through a callback, and from then on ignores what is asked of the device: it hands out invalid buffers
//! and skips submissions without an error. So each call of the executor checks for a loss when it is done, not only before.

use super::context::Context;
use super::failure::{Failure, Point, record};
use crate::error::{Error, Result};
use crate::sync::lock;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

impl Context {
    /// Fails if the device is lost, or (once) if the driver reported an error that no call has returned.
    pub fn check(&self) -> Result<()> {
        let mut failure = lock(&self.failure);
        let reported = match failure.as_ref() {
            None => return Ok(()),
            Some(Failure::Lost(reason)) => return Err(self.lost(reason)),
            Some(Failure::Uncaught(reason)) => Error::internal(format!("{} reported: {reason}", self.info.name)),
        };
        *failure = None;
        Err(reported)
    }

    /// Fails if the device is lost.
    pub fn check_lost(&self) -> Result<()> {
        match lock(&self.failure).as_ref() {
            Some(Failure::Lost(reason)) => Err(self.lost(reason)),
            _ => Ok(()),
        }
    }

    fn lost(&self, reason: &str) -> Error {
        Error::DeviceLost { device: self.info.name.clone(), reason: reason.to_owned() }
    }

    /// Makes a call of the executor. Whatever its outcome, the loss is reported if the device is lost by then.
    pub fn unless_lost<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        let outcome = call();
        self.check_lost()?;
        outcome
    }

    /// Asks the driver how far it is, or waits for it. The only place that polls.
    pub fn poll(&self, poll: wgpu::PollType) -> Result<()> {
        self.check_lost()?;
        let polled = caught(|| {
            self.at(Point::Poll);
            self.device.poll(poll).map_err(|e| e.to_string())
        });
        match polled {
            Ok(Ok(_)) => self.check(),
            Ok(Err(reason)) => self.check().and(Err(Error::internal(format!("waiting: {reason}")))),
            Err(reason) => {
                record(&self.failure, Failure::Lost(reason));
                self.check()
            }
        }
    }

    /// Marks a place where tests may have the device lost.
    #[cfg(not(test))]
    pub(super) fn at(&self, _: Point) {}

    /// Loses the device if a test has asked for that here, as closely as possible to what wgpu does when a driver reports it: the
    /// callback gives the reason, the device is invalid from then on, and a poll panics.
    #[cfg(test)]
    pub(super) fn at(&self, point: Point) {
        use std::sync::atomic::Ordering;
        if self.until_loss.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) != Ok(1) {
            return;
        }
        record(&self.failure, Failure::Lost("Parent device is lost".into()));
        self.device.destroy();
        assert!(point != Point::Poll, "Error in Device::poll: Validation Error\n\nCaused by:\n  Parent device is lost");
    }
}

impl Context {
    /// What is submitted in place of an encoder: itself.
    #[cfg(not(test))]
    pub(super) fn unless_killed(&self, encoder: wgpu::CommandEncoder) -> wgpu::CommandEncoder {
        encoder
    }

    /// What is submitted in place of an encoder: nothing, if a test has this submission killed, which Metal does not report.
    #[cfg(test)]
    pub(super) fn unless_killed(&self, encoder: wgpu::CommandEncoder) -> wgpu::CommandEncoder {
        use std::sync::atomic::Ordering;
        match self.until_kill.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(1) => self.encoder(),
            _ => encoder,
        }
    }
}

thread_local! {
    /// Whether this thread is inside [`caught`].
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What `work` returns, or the message that it panicked with, which is not printed.
///
/// A last resort. `wgpu::Device::poll` returns time-outs and panics on every other failure, a lost device above all
/// (`handle_error_fatal`), so do its siblings, and no other call runs the callbacks of mappings. wgpu has released its locks by
/// then. In a program that is built with `panic = "abort"` a loss that a wait sees ends the process.
fn caught<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static HOOK: Once = Once::new();
    // Once for the process: whoever had a hook before keeps it, for all other panics.
    HOOK.call_once(|| {
        if std::thread::panicking() {
            return;
        }
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CATCHING.try_with(Cell::get).unwrap_or(false) {
                others(info);
            }
        }));
    });
    CATCHING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        // The cause is in the last line.
        text.and_then(|t| t.trim().lines().next_back()).unwrap_or("the driver gave no reason").trim().to_owned()
    })
}
