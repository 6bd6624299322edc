//! Buffers for a device: from its pool, else from the driver.

use super::context::Context;
use crate::error::{Error, Result};
use crate::storage::gpu::{Buffer, MemoryCounters, Pool, padded};
use crate::sync::lock;
use std::sync::{Arc, Mutex};

/// The memory of a device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pool: Arc<Mutex<Pool>>,
}

impl Memory {
    /// A buffer of at least `bytes`, with undefined contents.
    ///
    /// # Errors
    /// Past the limit of a binding, or the device is out of memory.
    pub fn take(&self, context: &Context, bytes: u64, what: &str) -> Result<Buffer> {
        let size = padded(bytes);
        if size > context.caps.max_binding || size > context.limits.max_buffer_size {
            return Err(Error::OutOfMemory {
                bytes,
                reason: format!(
                    "{what} is past {}'s limit of {} bytes per buffer",
                    context.info.name,
                    context.caps.max_binding.min(context.limits.max_buffer_size)
                ),
                help: "use smaller batches or tensors".into(),
            });
        }
        if let Some(buffer) = Pool::reuse(&self.pool, bytes) {
            return Ok(buffer);
        }
        let buffer = match create(context, size) {
            Ok(buffer) => buffer,
            Err(_) => {
                // Waiting memory may make room, once the GPU has let go of it.
                self.lock().trim();
                context.wait(None)?;
                create(context, size).map_err(|reason| Error::OutOfMemory {
                    bytes,
                    reason: format!("{what}: {reason}; {} bytes are in use", self.lock().counters.bytes_live),
                    help: "use smaller batches, or drop tensors that are no longer needed".into(),
                })?
            }
        };
        Ok(Pool::adopt(&self.pool, buffer, bytes))
    }

    /// What happened so far.
    pub fn counters(&self) -> MemoryCounters {
        self.lock().counters
    }

    /// How often the pool let buffers go; bind groups made before may hold memory that is no longer wanted.
    pub fn trims(&self) -> u64 {
        self.lock().trims
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        lock(&self.pool)
    }
}

/// A new buffer, or what the driver said.
fn create(context: &Context, size: u64) -> Result<wgpu::Buffer, String> {
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    context.guarded(|device| device.create_buffer(&descriptor))
}
