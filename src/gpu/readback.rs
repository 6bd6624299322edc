//! Downloads: copies into mappable buffers, which are kept for the next time.

use super::context::Context;
use super::failure::Point;
use super::staging::Mappable;
use crate::error::{Error, Result};
use crate::faults::FaultKind;
use crate::storage::pool::Counted;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

/// Buffers that the host can read, by power of two.
#[derive(Debug, Default)]
pub(crate) struct Readback {
    free: Vec<Arc<Mappable>>,
    /// On a device without memory: the bytes of those that wait, by size.
    pretended: Vec<(u64, Counted)>,
    created: u64,
    tally: Arc<AtomicU64>,
}

/// At most this many buffers wait; larger ones than [`KEEP`] never do.
const WAITING: usize = 8;
const KEEP: u64 = 64 << 20;

impl Readback {
    /// None yet; their bytes will be in the tally.
    pub fn new(tally: Arc<AtomicU64>) -> Self {
        Self { tally, ..Self::default() }
    }

    /// Counts what a read of `size` bytes keeps, on a device that makes none.
    pub fn pretend(&mut self, size: u64) {
        let size = size.max(256).next_power_of_two();
        if size > KEEP || self.pretended.iter().any(|(waiting, _)| *waiting == size) {
            return;
        }
        if self.pretended.len() == WAITING {
            self.pretended.remove(0);
        }
        self.pretended.push((size, Counted::new(size, &self.tally)));
    }

    /// A mappable buffer of at least `size` bytes.
    pub fn take(&mut self, context: &Context, size: u64) -> Result<Arc<Mappable>> {
        // Large ones are not kept, and need no common size.
        let wanted =
            if size > KEEP { size } else { size.max(256).next_power_of_two() }.min(context.limits.max_buffer_size).max(size);
        if let Some(i) = self.free.iter().position(|b| b.buffer.size() == wanted) {
            return Ok(self.free.remove(i));
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("readback"),
            size: wanted,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let refused = |reason| Error::out_of_memory(size, format!("memory to read into: {reason}"), "read smaller tensors");
        let buffer = context.guarded(|device| device.create_buffer(&descriptor)).map_err(refused)?;
        self.created += 1;
        Ok(Arc::new(Mappable::new(buffer, &self.tally)))
    }

    /// Keeps a buffer for later, unmapped; if there are too many, the one that has waited longest goes.
    pub fn give_back(&mut self, target: Arc<Mappable>) {
        if target.buffer.size() > KEEP {
            return;
        }
        if self.free.len() == WAITING {
            self.free.remove(0);
        }
        self.free.push(target);
    }

    /// Releases all that wait.
    pub fn trim(&mut self) {
        self.free.clear();
        self.pretended.clear();
    }

    /// Adds up the buffers, all of which must have come back.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.free.iter().map(|target| target.buffer.size()).sum()
    }

    /// How many buffers were made.
    pub fn created(&self) -> u64 {
        self.created
    }
}

/// What an error says that a driver refused if it does not map a buffer.
pub(super) const MAPPING: &str = "to map a buffer that the host reads";

/// Waits for a submission that copies into `buffer`, and reads its first `bytes` through `read`.
pub(crate) fn read_mapped<T>(
    context: &Context,
    buffer: &wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    let mapped = Arc::new(OnceLock::new());
    let (slice, done) = (buffer.slice(..bytes), mapped.clone());
    context.at(Point::Map);
    context.unless_fault(FaultKind::Map, MAPPING)?;
    slice.map_async(wgpu::MapMode::Read, move |result| {
        let _ = done.set(result);
    });
    let what = format_args!("a read of {bytes} bytes");
    context.wait(Some(submission), what)?;
    context.wait_until(|| mapped.get().is_some(), what)?;
    if let Some(Err(reason)) = mapped.get() {
        return Err(context.refused(MAPPING, &reason.to_string()));
    }
    let value = {
        let view = slice.get_mapped_range().map_err(|e| Error::internal(format!("a read buffer is not mapped: {e}")))?;
        read(&view)
    };
    buffer.unmap();
    Ok(value)
}
