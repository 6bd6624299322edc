//! GPU memory: buffers that return to a pool when their last handle drops.

use super::pool::{Holder, Loan, Memory, Pool};
use crate::ending::Outliving;
use crate::sync::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// Sizes are rounded up to this many bytes, so that a buffer can also be bound as `array<vec4<f32>>`.
const GRAIN: u64 = 16;

/// A buffer from the driver, and its number, never used twice on a device.
#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    buffer: wgpu::Buffer,
    id: u64,
}

impl Memory for Allocation {
    /// Bind groups of plans that may never run again refer to the buffer, so that dropping it would not free it. Destroyed, it
    /// stays only until the GPU is done with it. A bind group is found by the numbers of its buffers: one with a destroyed buffer
    /// never is.
    fn release(self) {
        self.buffer.destroy();
    }
}

/// A range of GPU memory. Clones share it; the last one gives it back to the device's pool.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    raw: Arc<Outliving<Raw>>,
    /// First byte within the allocation.
    pub offset: u64,
    /// Bytes that hold a value.
    pub bytes: u64,
}

/// An allocation, and the way back to its pool.
#[derive(Debug)]
struct Raw {
    allocation: Allocation,
    loan: Loan,
    pool: Weak<Mutex<Pool<Allocation>>>,
    /// Whether the pool keeps it.
    kept: AtomicBool,
}

impl Drop for Raw {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let allocation = self.allocation.clone();
        if self.kept.load(Ordering::Relaxed) {
            lock(&pool).give_back(allocation, self.loan);
        } else {
            lock(&pool).end(self.loan);
            allocation.release();
        }
    }
}

impl Buffer {
    /// A free buffer of the size that `bytes` take.
    pub fn reuse(pool: &Arc<Mutex<Pool<Allocation>>>, bytes: u64, holder: Holder) -> Option<Self> {
        let (allocation, loan) = lock(pool).reuse(padded(bytes), holder)?;
        Some(Self::of(pool, allocation, loan, bytes))
    }

    /// A buffer that the driver has just made, of the size that `bytes` take.
    pub fn adopt(pool: &Arc<Mutex<Pool<Allocation>>>, buffer: wgpu::Buffer, bytes: u64, holder: Holder) -> Self {
        let mut locked = lock(pool);
        let loan = locked.adopt(padded(bytes), holder);
        let id = locked.account().created;
        drop(locked);
        Self::of(pool, Allocation { buffer, id }, loan, bytes)
    }

    fn of(pool: &Arc<Mutex<Pool<Allocation>>>, allocation: Allocation, loan: Loan, bytes: u64) -> Self {
        let raw = Raw { allocation, loan, pool: Arc::downgrade(pool), kept: AtomicBool::new(true) };
        Self { raw: Arc::new(Outliving::new(raw)), offset: 0, bytes }
    }

    /// A part of this buffer; `offset` and `bytes` are within it.
    pub fn range(&self, offset: u64, bytes: u64) -> Self {
        Self { raw: self.raw.clone(), offset: self.offset + offset, bytes }
    }

    /// Gives the memory back to the driver rather than to the pool, if nobody else refers to it.
    pub fn discard(mut self) {
        if let Some(raw) = Arc::get_mut(&mut self.raw) {
            raw.kept.store(false, Ordering::Relaxed);
        }
    }

    /// How many clones and ranges there are.
    pub fn owners(&self) -> usize {
        Arc::strong_count(&self.raw)
    }

    /// The allocation's number, never used twice on a device.
    pub fn id(&self) -> u64 {
        self.raw.allocation.id
    }

    /// The allocation.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw.allocation.buffer
    }

    /// Bytes of the allocation.
    pub fn size(&self) -> u64 {
        self.raw.loan.size
    }

    /// Bytes to bind: rounded up to whole vectors where the allocation reaches that far.
    pub fn binding_size(&self) -> u64 {
        padded(self.bytes).min(self.size() - self.offset)
    }
}

/// What `bytes` take in memory.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(GRAIN)
}
