//! Files: weights and checkpoints in the safetensors format, written whole or not at all.

pub mod atomic;
pub(crate) mod number;
mod pattern;
mod safetensors;
mod state_dict;

pub use number::{SettingChange, StateReport};
pub use pattern::{captures, matches};
pub use state_dict::{HostTensor, StateDict};
