//! Buffers for a device: from its pool, else from the driver.

use super::context::Context;
use crate::error::{Error, Result};
use crate::storage::gpu::{Allocation, Buffer, padded};
use crate::storage::pool::{Account, Holder, Pool};
use crate::sync::lock;
use std::sync::{Arc, Mutex, MutexGuard};

/// The memory of a device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pool: Arc<Mutex<Pool<Allocation>>>,
    /// The most bytes that a test lets the driver give, if it is not 0.
    #[cfg(test)]
    pub capacity: Arc<std::sync::atomic::AtomicU64>,
}

impl Memory {
    /// A buffer of at least `bytes`, with undefined contents.
    ///
    /// # Errors
    /// Past the limit of a binding, or the device is out of memory.
    pub fn take(&self, context: &Context, bytes: u64, holder: Holder, what: &str) -> Result<Buffer> {
        let size = padded(bytes);
        if size > context.caps.max_binding || size > context.limits.max_buffer_size {
            let most = context.caps.max_binding.min(context.limits.max_buffer_size);
            let reason = format!("{what} is past {}'s limit of {most} bytes per buffer", context.info.name);
            return Err(Error::out_of_memory(bytes, reason, "use smaller batches or tensors"));
        }
        if let Some(buffer) = Buffer::reuse(&self.pool, bytes, holder) {
            return Ok(buffer);
        }
        self.pool().make_room(size).map_err(|full| full.error(what))?;
        let buffer = match self.create(context, size) {
            Ok(buffer) => buffer,
            Err(_) => {
                // Waiting memory may make room, once the GPU has let go of it.
                self.pool().clear();
                context.wait(None, format_args!("memory that is given back"))?;
                let in_use = self.account().live;
                self.create(context, size).map_err(|reason| Error::OutOfMemory {
                    wanted: bytes,
                    in_use,
                    limit: None,
                    by_use: None,
                    reason: format!("{what}: {reason}"),
                    help: "use smaller batches, or drop tensors that are no longer needed".into(),
                })?
            }
        };
        Ok(Buffer::adopt(&self.pool, buffer, bytes, holder))
    }

    /// What has happened so far, and what is held.
    pub fn account(&self) -> Account {
        self.pool().account()
    }

    /// The buffers that wait, and the account.
    pub fn pool(&self) -> MutexGuard<'_, Pool<Allocation>> {
        lock(&self.pool)
    }

    /// A new buffer, or what the driver said.
    fn create(&self, context: &Context, size: u64) -> Result<wgpu::Buffer, String> {
        #[cfg(test)]
        self.refuse(size)?;
        if let Some(hollow) = &context.hollow {
            return Ok(hollow.buffer.clone());
        }
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        context.guarded(|device| device.create_buffer(&descriptor))
    }

    #[cfg(test)]
    fn refuse(&self, size: u64) -> Result<(), String> {
        let capacity = self.capacity.load(std::sync::atomic::Ordering::SeqCst);
        let account = self.account();
        let full = capacity > 0 && account.live + account.working + account.pooled + size > capacity;
        if full { Err("the test's device is full".into()) } else { Ok(()) }
    }
}
