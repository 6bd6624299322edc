//! Files: weights and checkpoints in the safetensors format, written whole or not at all.

pub mod atomic {
    //! Whole-file writes: a reader sees the old file or the new one, never half of one.

    pub use crate::atomic::write;
}
pub(crate) mod number;
mod pattern;
mod safetensors;
mod state_dict;

pub use number::{SettingChange, StateReport};
pub use pattern::{captures, matches};
pub use state_dict::{HostTensor, StateDict};
