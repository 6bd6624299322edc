//! A Vulkan layer that lets wgpu programs run on Mesa's RADV for a GPU that is not there, and writes down what they ask for.
//!
//! With `RADV_FORCE_FAMILY`, RADV compiles shaders for a card of that family and cannot do anything else: its null device has no
//! memory that can be mapped, no command buffers, no semaphores. The layer stands in for those: memory is the host's, commands
//! are dropped except for small copies (which carry the kernels' parameters) and for the kernel that counts wgrad's submissions,
//! submissions are done at once. So a program runs to
//! its end, reads zeros, and costs what it costs the host. Without `RADV_FORCE_FAMILY` the layer refuses to make a device.
//!
//! If `WGRAD_OFFLINE_LOG` names a file, the layer appends [`event::Event`]s to it; pipelines' machine code (`NUMBER.s`) and
//! SPIR-V
//! (`NUMBER.spv`) go to the folder that `WGRAD_OFFLINE_ASM` names.

#![allow(unsafe_code, reason = "a Vulkan layer is made of C functions and pointers")]
#![allow(clippy::too_many_arguments, reason = "Vulkan's functions have them")]

mod chain;
mod commands;
mod driver;
#[path = "../event.rs"]
#[allow(dead_code, reason = "shared with the tool, which only reads")]
mod event;
mod log;
mod memory;
mod pipelines;
mod state;
