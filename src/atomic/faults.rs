//! Files that fail on purpose: what a disk or a system does to a file that is written or read, tried out at every call where it may.
//!
//! Without the feature `faults`, and outside this crate's unit tests, nothing of it is compiled in.

use crate::faults::REASON;
#[cfg(any(test, feature = "faults"))]
use crate::faults::{Fault, Plan};
#[cfg(any(test, feature = "faults"))]
use std::cell::Cell;
use std::io::{self, ErrorKind};

/// What goes wrong while a file is saved, or read: see [`inject`](crate::io::inject).
#[cfg_attr(not(any(test, feature = "faults")), allow(dead_code, reason = "for the feature"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFault {
    /// A missing folder is not made.
    Folder,
    /// The temporary file is not made.
    Create,
    /// The temporary file is not locked, as on file systems without locks. That is no error.
    Lock,
    /// The temporary file does not get the permissions of the file that is there.
    Permissions,
    /// A piece is not written.
    Write,
    /// The first half of a piece is written and no more, as systems may do. That is no error: the rest follows.
    Short,
    /// The disk is full once the first half of a piece is written.
    Full,
    /// The position in the file is not changed.
    Seek,
    /// The contents do not reach the disk.
    Sync,
    /// The temporary file does not get the file's name.
    Rename,
    /// The name does not reach the disk: an error, and the new file is there.
    SyncFolder,
    /// A temporary file is not deleted: it stays until the next save to the same path.
    Remove,
    /// A file that is there is not opened for reading.
    Open,
    /// A piece is not read.
    Read,
    /// The first half of a piece is read and no more, as systems may do. That is no error: the rest follows.
    ShortRead,
    /// A signal interrupts a read. That is no error: the piece is asked for again.
    Interrupt,
    /// The file ends here, as one that another program cuts short meanwhile.
    End,
}

/// How many there are.
#[cfg(any(test, feature = "faults"))]
const KINDS: usize = FileFault::End as usize + 1;

#[cfg(any(test, feature = "faults"))]
thread_local! {
    /// When the saves and reads of this thread meet each of them.
    static PLANS: Cell<[Plan; KINDS]> = const { Cell::new([Plan::NONE; KINDS]) };
}

/// Has the saves or reads of this thread fail at a call from here on, as a disk or a system would: to test what a program makes of
/// it. A later fault of the same kind takes the place of an earlier one; [`Fault::new`](crate::Fault::new) with `at: 0` takes it back.
/// Only with the feature `faults`.
///
/// ```
/// use wgrad::io::{self, FileFault, StateDict};
/// use wgrad::{Error, Fault};
///
/// let path = std::env::temp_dir().join(format!("faults-{}.safetensors", std::process::id()));
/// io::inject(Fault::new(FileFault::Full, 2));
/// assert!(matches!(StateDict::new().save(&path), Err(Error::Io { .. })));
/// assert!(!path.exists());
/// StateDict::new().save(&path)?;
/// # std::fs::remove_file(path).map_err(Error::other)?;
/// # Ok::<(), wgrad::Error>(())
/// ```
#[cfg(any(test, feature = "faults"))]
pub fn inject(fault: Fault<FileFault>) {
    change(|plans| plans[fault.kind as usize] = Plan::of(fault));
}

/// How many calls of a kind this thread has made since its fault was injected, or ever.
#[cfg(any(test, feature = "faults"))]
pub fn fault_calls(kind: FileFault) -> u64 {
    change(|plans| plans[kind as usize].calls())
}

#[cfg(any(test, feature = "faults"))]
fn change<T>(change: impl FnOnce(&mut [Plan; KINDS]) -> T) -> T {
    let mut plans = PLANS.get();
    let value = change(&mut plans);
    PLANS.set(plans);
    value
}

/// Counts a call; whether it goes wrong.
#[cfg(any(test, feature = "faults"))]
pub(crate) fn strikes(kind: FileFault) -> bool {
    change(|plans| plans[kind as usize].strikes())
}

/// Nothing does.
#[cfg(not(any(test, feature = "faults")))]
pub(crate) fn strikes(_: FileFault) -> bool {
    false
}

/// What the system would say.
pub(super) fn error(kind: FileFault) -> io::Error {
    let kind = match kind {
        FileFault::Full => ErrorKind::StorageFull,
        FileFault::Lock => ErrorKind::Unsupported,
        FileFault::Folder | FileFault::Create | FileFault::Permissions | FileFault::Open => ErrorKind::PermissionDenied,
        FileFault::Interrupt => ErrorKind::Interrupted,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, REASON)
}

/// Fails if a call of this kind is to fail on purpose.
pub(crate) fn unless(kind: FileFault) -> io::Result<()> {
    if strikes(kind) { Err(error(kind)) } else { Ok(()) }
}
