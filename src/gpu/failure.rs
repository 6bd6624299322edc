//! What goes wrong outside of any call, and the places where tests make it go wrong.

use crate::sync::lock;
use std::sync::Mutex;
use std::time::Duration;

/// What the driver reported outside of any call.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The device is gone.
    Lost(String),
    /// What it was given to do does not come to an end: it counts as gone.
    Stalled {
        /// What was waited for.
        waited_for: String,
        /// For how long there has been no progress.
        limit: Duration,
    },
    /// An error that no scope caught.
    Uncaught(String),
}

impl Failure {
    /// Whether nothing works after it.
    fn is_final(&self) -> bool {
        !matches!(self, Self::Uncaught(_))
    }
}

/// The first report wins, except that the end of a device outlives other errors. Returns whether this is the device's end.
pub(super) fn record(slot: &Mutex<Option<Failure>>, failure: Failure) -> bool {
    let mut slot = lock(slot);
    let ended = slot.as_ref().is_some_and(Failure::is_final);
    match &failure {
        _ if ended => {}
        Failure::Lost(reason) => log::error!(target: "wgrad::device", "the device is lost: {reason}"),
        Failure::Stalled { waited_for, limit } => {
            log::error!(target: "wgrad::device", "the device has stalled: no progress in {limit:?}, waiting for {waited_for}");
        }
        Failure::Uncaught(reason) => log::warn!(target: "wgrad::device", "outside of any call: {reason}"),
    }
    let ends = !ended && failure.is_final();
    if slot.is_none() || ends {
        *slot = Some(failure);
    }
    ends
}

/// Where a test may have the device lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// A buffer is about to be made.
    Create,
    /// A kernel is about to be compiled.
    Compile,
    /// Commands are about to be encoded.
    Encode,
    /// Commands are about to be submitted.
    Submit,
    /// A buffer is about to be mapped.
    Map,
    /// The driver is asked how far it is, which is where most losses are seen.
    Poll,
}
