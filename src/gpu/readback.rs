//! Downloads: copies into mappable buffers, which are kept for the next time.

use super::context::Context;
use super::failure::Point;
use crate::error::{Error, Result};
use std::sync::mpsc::channel;

/// Buffers that the host can read, by power of two.
#[derive(Debug, Default)]
pub(crate) struct Readback {
    free: Vec<wgpu::Buffer>,
    created: u64,
}

/// At most this many buffers wait; larger ones than [`KEEP`] never do.
const WAITING: usize = 8;
const KEEP: u64 = 64 << 20;

impl Readback {
    /// A mappable buffer of at least `size` bytes.
    pub fn take(&mut self, context: &Context, size: u64) -> Result<wgpu::Buffer> {
        let wanted = size.max(256).next_power_of_two().min(context.limits.max_buffer_size).max(size);
        if let Some(i) = self.free.iter().position(|b| b.size() == wanted) {
            return Ok(self.free.swap_remove(i));
        }
        self.created += 1;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("readback"),
            size: wanted,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        context.guarded(|device| device.create_buffer(&descriptor)).map_err(|reason| Error::OutOfMemory {
            bytes: size,
            reason: format!("memory to read into: {reason}"),
            help: "read smaller tensors".into(),
        })
    }

    /// Keeps a buffer for later, unmapped.
    pub fn give_back(&mut self, buffer: wgpu::Buffer) {
        if self.free.len() < WAITING && buffer.size() <= KEEP {
            self.free.push(buffer);
        }
    }

    /// How many buffers were made.
    pub fn created(&self) -> u64 {
        self.created
    }
}

/// Waits for a submission that copies into `buffer`, and reads its first `bytes` through `read`.
pub(crate) fn read_mapped<T>(
    context: &Context,
    buffer: &wgpu::Buffer,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    let (done, mapped) = channel();
    let slice = buffer.slice(..bytes);
    context.at(Point::Map);
    slice.map_async(wgpu::MapMode::Read, move |result| {
        // The receiver waits below.
        let _ = done.send(result);
    });
    context.wait(Some(submission))?;
    mapped
        .recv()
        .map_err(|e| Error::internal(format!("a mapping was dropped: {e}")))?
        .map_err(|e| Error::internal(format!("a read buffer could not be mapped: {e}")))?;
    let value = {
        let view = slice.get_mapped_range().map_err(|e| Error::internal(format!("a read buffer is not mapped: {e}")))?;
        read(&view)
    };
    buffer.unmap();
    Ok(value)
}
