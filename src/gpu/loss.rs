//! Lost devices: every sign of a loss becomes one typed error.
//!
//! wgpu reports a loss through a callback, and from then on ignores what is asked of the device: it hands out invalid buffers
//! and skips submissions without an error. So each call of the executor checks for a loss when it is done, not only before.

use super::context::Context;
use super::failure::{Failure, Point, record};
use crate::ending;
use crate::error::{Error, Result};
#[cfg(any(test, feature = "faults"))]
use crate::faults::FaultKind;
use crate::sync::lock;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

impl Context {
    /// Fails if the device is lost, or (once) if the driver reported an error that no call has returned.
    pub fn check(&self) -> Result<()> {
        self.check_lost()?;
        let mut failure = lock(&self.failure);
        match failure.take_if(|failure| matches!(failure, Failure::Uncaught(_))) {
            Some(Failure::Uncaught(reason)) => Err(Error::internal(format!("{} reported: {reason}", self.info.name))),
            _ => Ok(()),
        }
    }

    /// Fails if the device is lost, or has stalled, which is as good as lost: what it holds is behind work that does not end.
    pub fn check_lost(&self) -> Result<()> {
        let device = || self.info.name.clone();
        match lock(&self.failure).as_ref() {
            Some(Failure::Lost(reason)) => Err(Error::DeviceLost { device: device(), reason: reason.clone() }),
            Some(Failure::Stalled { waited_for, limit }) => {
                Err(Error::DeviceStalled { device: device(), waited_for: waited_for.clone(), limit: *limit })
            }
            _ => Ok(()),
        }
    }

    /// Makes a call of the executor. Whatever its outcome, the loss is reported if the device is lost by then.
    pub fn unless_lost<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        let outcome = call();
        ending::has_called();
        self.check_lost()?;
        outcome
    }

    /// Asks the driver how far it is, or waits for it: false once the time for that is over. The only place that polls. `again` if
    /// a wait does, whose first poll tests may have failed.
    pub fn poll(&self, poll: wgpu::PollType, again: bool) -> Result<bool> {
        self.check_lost()?;
        let polled = caught(|| {
            if !again {
                self.at(Point::Poll);
            }
            if self.faults.is_stalled() {
                std::thread::sleep(Duration::from_millis(1));
                return Ok(false);
            }
            let polled = match poll {
                // Whoever is at it runs the callbacks of all.
                wgpu::PollType::Poll => self.gate.pass_if_free(|| self.device.poll(poll)),
                wgpu::PollType::Wait { .. } => Some(self.gate.pass(|| self.device.poll(poll))),
            };
            match polled {
                None | Some(Ok(_)) => Ok(true),
                Some(Err(wgpu::PollError::Timeout)) => Ok(false),
                Some(Err(error)) => Err(error.to_string()),
            }
        });
        if let Err(reason) = &polled {
            record(&self.failure, Failure::Lost(reason.clone()));
        }
        // What else the driver has reported is for the next call: this one may have done its work.
        self.check_lost()?;
        polled.unwrap_or_else(Err).map_err(|reason| Error::internal(format!("waiting: {reason}")))
    }

    /// Marks a place where tests may have the device lost.
    #[cfg(not(any(test, feature = "faults")))]
    pub(super) fn at(&self, _: Point) {}

    /// Loses the device if that was asked for here, as closely as possible to what wgpu does when a driver reports it: the callback
    /// gives the reason, the device is invalid from then on, and a poll panics. Or has it stall.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn at(&self, point: Point) {
        let _ = self.faults.strikes(FaultKind::Stall);
        if !self.faults.strikes(FaultKind::Loss) {
            return;
        }
        record(&self.failure, Failure::Lost("Parent device is lost".into()));
        self.device.destroy();
        assert!(point != Point::Poll, "Error in Device::poll: Validation Error\n\nCaused by:\n  Parent device is lost");
    }
}

impl Context {
    /// What is submitted in place of an encoder: itself.
    #[cfg(not(any(test, feature = "faults")))]
    pub(super) fn unless_killed(&self, encoder: wgpu::CommandEncoder) -> wgpu::CommandEncoder {
        encoder
    }

    /// What is submitted in place of an encoder: nothing, if this submission is to be killed, which Metal does not report.
    #[cfg(any(test, feature = "faults"))]
    pub(super) fn unless_killed(&self, encoder: wgpu::CommandEncoder) -> wgpu::CommandEncoder {
        if self.faults.strikes(FaultKind::Kill) { self.encoder() } else { encoder }
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
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
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
