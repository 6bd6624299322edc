//! GPU memory: buffers that return to a pool when their last handle drops.

use crate::sync::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

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
    fn new(pool: &Arc<Mutex<Pool>>, buffer: wgpu::Buffer, id: u64, size: u64, bytes: u64) -> Self {
        Self { raw: Arc::new(Raw { buffer, id, size, pool: Arc::downgrade(pool) }), offset: 0, bytes }
    }

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
            lock(&pool).give_back(self.buffer.clone(), self.id, self.size);
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
pub(crate) struct Pool {
    free: HashMap<u64, Vec<(wgpu::Buffer, u64)>>,
    /// What happened so far.
    pub counters: MemoryCounters,
    next_id: u64,
    /// Counts the times that buffers were let go.
    pub trims: u64,
}

impl Pool {
    /// A free buffer of the size that `bytes` take.
    pub fn reuse(shared: &Arc<Mutex<Self>>, bytes: u64) -> Option<Buffer> {
        let size = padded(bytes);
        let mut pool = lock(shared);
        let (buffer, id) = pool.free.get_mut(&size)?.pop()?;
        pool.counters.bytes_pooled -= size;
        pool.took(size);
        Some(Buffer::new(shared, buffer, id, size, bytes))
    }

    /// Takes in a buffer that the driver has just made, of the size that `bytes` take.
    pub fn adopt(shared: &Arc<Mutex<Self>>, buffer: wgpu::Buffer, bytes: u64) -> Buffer {
        let size = padded(bytes);
        let mut pool = lock(shared);
        pool.counters.buffers_created += 1;
        pool.next_id += 1;
        pool.took(size);
        Buffer::new(shared, buffer, pool.next_id, size, bytes)
    }

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

    /// Lets every free buffer go.
    pub fn trim(&mut self) {
        self.free.clear();
        self.counters.bytes_pooled = 0;
        self.trims += 1;
    }
}

/// What `bytes` take in memory.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(GRAIN)
}
