//! Every failure a caller, a file or a driver can cause, as one typed enum.

mod anomaly;

pub use anomaly::{Anomaly, AnomalyKind};

use crate::dims::Shape;
use crate::dtype::DType;
use crate::memory::MemoryUse;
use std::fmt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of mistake an [`Error::Op`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpErrorKind {
    /// Shapes do not fit each other or the op.
    Shape,
    /// A dtype does not fit the op or the other operand.
    DType,
    /// An axis or a range is outside the tensor.
    Axis,
    /// Operands are on different devices.
    Device,
    /// An attribute (stride, groups, probability ...) has an impossible value.
    Attribute,
    /// The result would be too large for the device or for 64-bit sizes.
    TooLarge,
}

/// A call of an op that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpError {
    /// The family of the mistake.
    pub kind: OpErrorKind,
    /// The op's name, as in the method that was called.
    pub op: &'static str,
    /// The operands' shapes and dtypes, in order.
    pub operands: Vec<(Shape, DType)>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub help: String,
    /// The caller's file and line.
    pub at: &'static Location<'static>,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.op)?;
        for (i, (shape, dtype)) in self.operands.iter().enumerate() {
            let separator = if i + 1 == self.operands.len() { ": " } else { ", " };
            write!(f, "{dtype} {shape}{separator}")?;
        }
        write!(f, "{}; help: {} (at {}:{})", self.reason, self.help, self.at.file(), self.at.line())
    }
}

/// Everything that can go wrong.
///
/// `Debug` prints what `Display` does, so that `unwrap` and a `main` that returns an error are as clear; programs match on
/// variants and fields.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- the caller's tensors ----
    /// An op was called with operands that do not fit.
    #[error("{0}")]
    Op(Box<OpError>),
    /// Data and shape disagree when a tensor is made.
    #[error("[{what}] {reason}; help: {help} (at {}:{})", .at.file(), .at.line())]
    Argument {
        /// The function or argument.
        what: String,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        help: String,
        /// The caller's file and line.
        at: &'static Location<'static>,
    },
    /// A label or index is outside its range. What the host knows is found by the call; what a device computed, by the next value
    /// that is read.
    #[error("[{op}] index {index} at position {position} is outside 0..{len}; help: {help} (at {}:{})", .at.file(), .at.line())]
    Index {
        /// The op that uses the index.
        op: &'static str,
        /// The offending value.
        index: i64,
        /// Its position in the flattened index tensor.
        position: usize,
        /// How many rows or classes there are.
        len: usize,
        /// What to do about it.
        help: String,
        /// The caller's file and line.
        at: &'static Location<'static>,
    },
    /// A gradient was asked for where none flows.
    #[error("[{op}] {reason}; help: {help} (at {}:{})", .at.file(), .at.line())]
    Gradient {
        /// `backward`, `grad` or `get`.
        op: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        help: String,
        /// The caller's file and line.
        at: &'static Location<'static>,
    },
    /// A graph needs a parameter's old value, which a later step has overwritten.
    #[error(
        "[eval] parameter {name} has been overwritten (version {wanted} is needed, {current} is stored); help: \
         call backward() before step(), or build the tensor again from the parameters as they are now"
    )]
    Stale {
        /// The parameter.
        name: String,
        /// The version that the graph was built on.
        wanted: u64,
        /// The version that is in memory.
        current: u64,
    },
    /// A value, a gradient or a parameter is not finite: what [`AnomalyMode`](crate::train::AnomalyMode) reports if it is to stop.
    ///
    /// Nothing has changed: weights, an optimizer's state and counts are as before the call.
    #[error("{0}")]
    NotFinite(Box<Anomaly>),
    // ---- files ----
    /// A file or directory could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        source: Arc<std::io::Error>,
    },
    /// A file's contents are not what its format promises.
    #[error("{path}: {reason}; help: {help}", path = .path.display())]
    Format {
        /// The path.
        path: PathBuf,
        /// What is wrong, with the offset or field.
        reason: String,
        /// What to do about it.
        help: String,
    },
    // ---- devices ----
    /// No device matches the request.
    #[error("no device matches \"{wanted}\": {reason}; help: {help}")]
    NoDevice {
        /// What was asked for.
        wanted: String,
        /// What was looked for and found.
        reason: String,
        /// How to get one.
        help: String,
    },
    /// The device exists but does not open.
    #[error("{device} does not open: {reason}; help: {help}")]
    DeviceUnavailable {
        /// Its name and its API.
        device: String,
        /// What the driver said.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// The device does not have enough memory, or a single buffer exceeds its limit.
    ///
    /// Nothing has changed: weights, an optimizer's state and counts are as before the call. What the device only kept for later
    /// has been released. One exception: if other programs or threads take the memory that a run on the CPU device has just been
    /// found to have, and the system refuses it to a kernel, the kernels before that one have run.
    #[error("[memory] {reason} ({wanted} bytes asked for{}); help: {help}", held(*.in_use, *.limit, .by_use.as_deref()))]
    OutOfMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes that the device holds; 0 if no device holds any, as for a size that none can have.
        in_use: u64,
        /// The most that it may hold, if that is known: see [`DeviceOptions::memory`](crate::DeviceOptions::memory).
        limit: Option<u64>,
        /// What the device holds, by use, where the call knows the device.
        by_use: Option<Box<MemoryUse>>,
        /// What there is no room for, or what the driver said.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// The device went away; every later call on it fails with this.
    #[error("device {device} is lost: {reason}; help: make a new Device and reload the last checkpoint")]
    DeviceLost {
        /// The device's name.
        device: String,
        /// What the driver said.
        reason: String,
    },
    /// What the device was given to do did not come to an end ([`DeviceOptions::stall`](crate::DeviceOptions::stall)), so that it
    /// counts as lost: every later call on it fails with this, even if the driver recovers.
    #[error(
        "device {device} has stalled: no progress in {limit:?}, waiting for {waited_for}; help: make a new Device and reload the \
         last checkpoint, or raise DeviceOptions::stall if the work takes that long"
    )]
    DeviceStalled {
        /// The device's name.
        device: String,
        /// What was waited for, and the submission that it is behind.
        waited_for: String,
        /// How long a wait may see no progress.
        limit: Duration,
    },
    /// The driver refused a kernel, a submission or a mapping. What was computed before is intact, and so is the device.
    #[error("device {device} refused {what}: {reason}; help: {help}")]
    DeviceRefused {
        /// The device's name.
        device: String,
        /// What was refused: a kernel with its name and its operands, a submission, a mapping.
        what: String,
        /// What the driver said.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// The op or dtype does not exist on this device.
    #[error("[{op}] {reason}; help: {help}")]
    Unsupported {
        /// The op.
        op: &'static str,
        /// What is missing.
        reason: String,
        /// What to do instead.
        help: String,
    },
    /// What another library or the caller's own code reports: see [`Error::other`].
    #[error(transparent)]
    Other(Arc<dyn std::error::Error + Send + Sync>),
    /// A broken invariant inside this crate: please report it.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// An [`Error::Argument`]: the error for modules, data sets and transforms of your own. It names the caller's file and line;
    /// `#[track_caller]` on a function of yours makes that the line where the function is called.
    ///
    /// ```
    /// #[track_caller]
    /// fn row(n: usize) -> wgrad::Result<usize> {
    ///     (n < 9).then_some(n).ok_or(wgrad::Error::argument("Table::row", format!("there is no row {n}"), "use rows from 0 to 8"))
    /// }
    /// let line = line!() + 1;
    /// let error = row(9).unwrap_err();
    /// let place = format!("(at {}:{line})", file!());
    /// assert_eq!(error.to_string(), format!("[Table::row] there is no row 9; help: use rows from 0 to 8 {place}"));
    /// assert_eq!(format!("{error:?}"), error.to_string());
    /// ```
    #[track_caller]
    pub fn argument(what: impl Into<String>, reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Argument { what: what.into(), reason: reason.into(), help: help.into(), at: Location::caller() }
    }

    /// Whether the device is gone, lost or stalled: a new one has to be opened, as [`supervise`](crate::train::supervise) does.
    pub fn is_device_loss(&self) -> bool {
        matches!(self, Self::DeviceLost { .. } | Self::DeviceStalled { .. })
    }

    /// The same, with the name of the layer where a wrong call was found. Names of layers within layers become dotted.
    pub(crate) fn in_layer(mut self, name: &str) -> Self {
        const IN: &str = "in layer ";
        let reason = match &mut self {
            Self::Op(error) => Some(&mut error.reason),
            Self::Argument { reason, .. } => Some(reason),
            _ => None,
        };
        if let Some(reason) = reason {
            *reason = match reason.strip_prefix(IN) {
                Some(inner) => format!("{IN}{name}.{inner}"),
                None => format!("{IN}{name}: {reason}"),
            };
        }
        self
    }

    /// The same, with the caller's line in place of a line of this crate, which a layer behind a pointer reported.
    pub(crate) fn seen_from(mut self, caller: &'static Location<'static>) -> Self {
        if let Some(at) = self.place()
            && Self::is_own(at)
        {
            *at = caller;
        }
        self
    }

    /// Whether a place is in this crate.
    pub(crate) fn is_own(at: &Location<'_>) -> bool {
        file!().strip_suffix("error.rs").is_some_and(|here| at.file().starts_with(here))
    }

    /// The same, as seen by the caller of an op, a part of which found it.
    pub(crate) fn met_at(mut self, caller: &'static Location<'static>) -> Self {
        if let Some(at) = self.place() {
            *at = caller;
        }
        self
    }

    /// The place of the wrong call.
    fn place(&mut self) -> Option<&mut &'static Location<'static>> {
        match self {
            Self::Op(error) => Some(&mut error.at),
            Self::Argument { at, .. } | Self::Index { at, .. } | Self::Gradient { at, .. } => Some(at),
            _ => None,
        }
    }

    /// An [`Error::Format`], for readers of files.
    pub fn format(path: impl Into<PathBuf>, reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Format { path: path.into(), reason: reason.into(), help: help.into() }
    }

    /// An [`Error::Io`], for readers and writers of files.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source: Arc::new(source) }
    }

    /// An [`Error::Other`]: passes on an error of another library, or a message, through a data set, a module or a transform of
    /// your own, or out of `main`. `?` alone does not convert foreign errors: if it did, closures that end in `Ok(..)`, such as
    /// those of [`no_grad`](crate::no_grad), would have to name their result's type.
    ///
    /// ```
    /// use wgrad::{Error, Result};
    ///
    /// fn total(text: &str) -> Result<i32> {
    ///     text.split(' ').map(|word| word.parse::<i32>().map_err(Error::other)).sum()
    /// }
    /// assert_eq!(total("1 2")?, 3);
    /// assert_eq!(total("1 b").unwrap_err().to_string(), "invalid digit found in string");
    /// assert_eq!(Error::other("row 7 has no label").to_string(), "row 7 has no label");
    /// assert!(matches!(total("b"), Err(Error::Other(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into().into())
    }

    /// An [`Error::OutOfMemory`] that has nothing to do with what a device holds.
    pub(crate) fn out_of_memory(wanted: u64, reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self::OutOfMemory { wanted, in_use: 0, limit: None, by_use: None, reason: reason.into(), help: help.into() }
    }

    /// An [`Error::Internal`].
    pub(crate) fn internal(reason: impl Into<String>) -> Self {
        Self::Internal(reason.into())
    }
}

/// What an error says about the memory that a device holds.
fn held(in_use: u64, limit: Option<u64>, by_use: Option<&MemoryUse>) -> String {
    let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    match by_use {
        Some(by_use) => format!("; {in_use}{of} are in use: {by_use}"),
        None if in_use > 0 || limit.is_some() => format!("; {in_use}{of} are in use"),
        None => String::new(),
    }
}

/// A number of things: `1 channel`, `3 channels`, `2 axes`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    match noun.strip_suffix("is") {
        _ if n == 1 => format!("1 {noun}"),
        Some(stem) => format!("{n} {stem}es"),
        None => format!("{n} {noun}s"),
    }
}
