//! Files: weights and checkpoints in the safetensors format, written whole or not at all, with checksums.
//!
//! Files are not trusted: whatever is in one, reading it ends in a value or an error, in time and memory that fit its size.
//! `SECURITY.md` in the repository says what that covers.

pub mod atomic {
    //! Whole-file writes: a reader sees the old file or the new one, never half of one.

    pub use crate::atomic::write;
}
mod foreign;
mod header;
pub(crate) mod number;
mod pattern;
mod safetensors;
mod seal;
mod state_dict;
mod stored;

#[cfg(feature = "faults")]
pub use crate::atomic::faults::{FileFault, fault_calls, inject};
pub use number::{SettingChange, StateReport};
pub use pattern::{captures, matches};
pub use state_dict::{HostTensor, Origin, StateDict};
