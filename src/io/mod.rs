//! Files: weights and checkpoints in the safetensors format, written whole or not at all.

pub mod atomic;
mod pattern;
mod safetensors;
mod state_dict;

pub use pattern::{captures, matches};
pub use state_dict::{HostTensor, StateDict};
