//! GPU memory: buffers that return to a pool when their last handle drops.

use super::context::Context;
use super::loss::Point;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Sizes are rounded up to this many bytes, so that a buffer can also be bound as `array<vec4<f32>>`.
const GRAIN: u64 = 16;

/// The pool keeps at most this share of the live bytes, and at least [`KEEP_BYTES`].
const KEEP_BYTES: u64 = 256 << 20;

/// A range of GPU memory. Clones share it; the last one gives it back to the device's pool.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    raw: Arc<Raw>,
    /// First byte within the allocation.
    pub offset: u64,
    /// Bytes that hold a value.
    pub bytes: u64,
}

impl Buffer {
    /// A part of this buffer; `offset` and `bytes` lie within it.
    pub fn range(&self, offset: u64, bytes: u64) -> Self {
        Self { raw: self.raw.clone(), offset: self.offset + offset, bytes }
    }

    /// The allocation's number, never used twice on a device.
    pub fn id(&self) -> u64 {
        self.raw.id
    }

    /// The allocation.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw.buffer
    }

    /// Whether no other handle shares the allocation.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.raw) == 1
    }

    /// Bytes to bind: rounded up to whole vectors where the allocation reaches that far.
    pub fn binding_size(&self) -> u64 {
        padded(self.bytes).min(self.raw.size - self.offset)
    }
}

/// An allocation, and the way back to its pool.
#[derive(Debug)]
struct Raw {
    buffer: wgpu::Buffer,
    id: u64,
    size: u64,
    pool: Weak<Mutex<Pool>>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.buffer.clone(), self.id, self.size);
        }
    }
}

/// What a device's memory has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryCounters {
    /// Buffers made by the driver since the device was opened.
    pub buffers_created: u64,
    /// Buffers that handles refer to.
    pub buffers_live: u64,
    /// Their bytes.
    pub bytes_live: u64,
    /// The most that ever lived at once.
    pub bytes_peak: u64,
    /// Bytes that wait in the pool.
    pub bytes_pooled: u64,
}

/// Free buffers by size, last in, first out, so that a loop meets the same buffers in the same places.
#[derive(Debug, Default)]
struct Pool {
    free: HashMap<u64, Vec<(wgpu::Buffer, u64)>>,
    counters: MemoryCounters,
    next_id: u64,
    /// Counts the times that buffers were let go.
    trims: u64,
}

impl Pool {
    fn give_back(&mut self, buffer: wgpu::Buffer, id: u64, size: u64) {
        self.counters.buffers_live -= 1;
        self.counters.bytes_live -= size;
        self.counters.bytes_pooled += size;
        self.free.entry(size).or_default().push((buffer, id));
        if self.counters.bytes_pooled > KEEP_BYTES.max(self.counters.bytes_live) {
            self.trim();
        }
    }

    fn took(&mut self, size: u64) {
        self.counters.buffers_live += 1;
        self.counters.bytes_live += size;
        self.counters.bytes_peak = self.counters.bytes_peak.max(self.counters.bytes_live);
    }

    fn trim(&mut self) {
        self.free.clear();
        self.counters.bytes_pooled = 0;
        self.trims += 1;
    }
}

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
                    "{what} is past {}'s limit of {} bytes a buffer",
                    context.info.name,
                    context.caps.max_binding.min(context.limits.max_buffer_size)
                ),
                help: "use smaller batches or tensors".into(),
            });
        }
        if let Some(buffer) = self.reuse(bytes, size) {
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
        let mut pool = self.lock();
        pool.counters.buffers_created += 1;
        pool.next_id += 1;
        pool.took(size);
        Ok(self.handle(buffer, pool.next_id, size, bytes))
    }

    /// What happened so far.
    pub fn counters(&self) -> MemoryCounters {
        self.lock().counters
    }

    /// How often the pool let buffers go; bind groups made before may hold memory that is no longer wanted.
    pub fn trims(&self) -> u64 {
        self.lock().trims
    }

    fn reuse(&self, bytes: u64, size: u64) -> Option<Buffer> {
        let mut pool = self.lock();
        let (buffer, id) = pool.free.get_mut(&size)?.pop()?;
        pool.counters.bytes_pooled -= size;
        pool.took(size);
        Some(self.handle(buffer, id, size, bytes))
    }

    fn handle(&self, buffer: wgpu::Buffer, id: u64, size: u64, bytes: u64) -> Buffer {
        Buffer { raw: Arc::new(Raw { buffer, id, size, pool: Arc::downgrade(&self.pool) }), offset: 0, bytes }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn padded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(GRAIN)
}

/// A new buffer, or what the driver said.
fn create(context: &Context, size: u64) -> Result<wgpu::Buffer, String> {
    context.at(Point::Create);
    let memory = context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = context.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let usage =
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffer = context.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let errors = [pollster::block_on(validation.pop()), pollster::block_on(memory.pop())];
    match errors.into_iter().flatten().next() {
        None => Ok(buffer),
        Some(error) => Err(error.to_string()),
    }
}
