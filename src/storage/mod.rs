//! Memory that holds values, on whichever device, the pool that it comes from, and what a graph's sources are bound to in it.

pub(crate) mod bindings;
pub(crate) mod cpu;
#[cfg_attr(not(feature = "gpu"), path = "absent.rs")]
pub(crate) mod gpu;
pub(crate) mod pool;

use crate::error::{Error, Result};

/// A value in a device's memory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// On the CPU device.
    Cpu(cpu::Buffer),
    /// On a GPU.
    Gpu(gpu::Buffer),
}

impl Storage {
    /// The CPU device's buffer.
    ///
    /// # Errors
    /// [`Error::Internal`]: it is a GPU's.
    pub fn on_cpu(&self) -> Result<&cpu::Buffer> {
        match self {
            Self::Cpu(buffer) => Ok(buffer),
            Self::Gpu(_) => Err(Error::internal("a GPU buffer is bound on the CPU device")),
        }
    }

    /// The GPU's buffer.
    ///
    /// # Errors
    /// [`Error::Internal`]: it is the CPU device's.
    pub fn on_gpu(&self) -> Result<&gpu::Buffer> {
        match self {
            Self::Gpu(buffer) => Ok(buffer),
            Self::Cpu(_) => Err(Error::internal("a CPU value is bound to a GPU plan")),
        }
    }

    /// `len` f32 elements of a GPU's arena, from element `offset`; the CPU device has no arenas, and gives the whole.
    pub fn range(&self, offset: usize, len: usize) -> Self {
        match self {
            Self::Gpu(buffer) => Self::Gpu(buffer.range(offset as u64 * 4, len as u64 * 4)),
            Self::Cpu(buffer) => Self::Cpu(buffer.clone()),
        }
    }

    /// How many hold it: values, bindings, transfers.
    pub fn owners(&self) -> usize {
        match self {
            Self::Cpu(buffer) => buffer.owners(),
            Self::Gpu(buffer) => buffer.owners(),
        }
    }

    /// Whether both are the same place in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gpu(a), Self::Gpu(b)) => a.id() == b.id() && a.offset == b.offset,
            (Self::Cpu(a), Self::Cpu(b)) => a.is_same(b),
            (Self::Cpu(_), Self::Gpu(_)) | (Self::Gpu(_), Self::Cpu(_)) => false,
        }
    }
}
