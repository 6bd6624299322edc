//! What goes wrong outside of any call, and the places where tests make it go wrong.

use crate::sync::lock;
use std::sync::Mutex;

/// What the driver reported outside of any call.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The device is gone.
    Lost(String),
    /// An error that no scope caught.
    Uncaught(String),
}

/// The first report wins, except that a lost device outlives other errors.
pub(super) fn record(slot: &Mutex<Option<Failure>>, failure: Failure) {
    let mut slot = lock(slot);
    let lost = matches!(*slot, Some(Failure::Lost(_)));
    match &failure {
        Failure::Lost(reason) if !lost => log::error!(target: "wgrad::device", "the device is lost: {reason}"),
        Failure::Lost(_) => {}
        Failure::Uncaught(reason) => log::warn!(target: "wgrad::device", "outside of any call: {reason}"),
    }
    if slot.is_none() || (!lost && matches!(failure, Failure::Lost(_))) {
        *slot = Some(failure);
    }
}

/// Where a test may have the device lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    /// A buffer is about to be made.
    Create,
    /// Commands are about to be encoded.
    Encode,
    /// Commands are about to be submitted.
    Submit,
    /// A buffer is about to be mapped.
    Map,
    /// The driver is asked how far it is, which is where most losses are seen.
    Poll,
}
