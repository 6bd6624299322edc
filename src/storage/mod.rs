//! Memory that holds values, on whichever device, and what a graph's sources are bound to in it.

pub(crate) mod bindings;
pub(crate) mod cpu;
pub(crate) mod gpu;

/// A value in a device's memory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// On the CPU device.
    Cpu(cpu::Buffer),
    /// On a GPU.
    Gpu(gpu::Buffer),
}
