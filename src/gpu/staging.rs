//! Uploads: bytes go into mapped staging buffers and from there, in order, at the head of the next submission.

use super::context::Context;
use crate::error::{Error, Result};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of an ordinary staging buffer; larger uploads get powers of two.
const CHUNK: u64 = 1 << 20;

/// How many buffers of an ordinary size there are, and how many of each larger one. They are made together, so that a loop
/// makes none later, and a loop that is further ahead of the GPU than that waits.
const RING: usize = 4;
const LARGE_RING: usize = 2;

/// Staging buffers beyond this size serve one upload only.
const KEEP: u64 = 64 << 20;

/// Mapped staging buffers that take turns.
#[derive(Debug)]
pub(crate) struct Staging {
    /// Mapped and empty.
    free: Vec<wgpu::Buffer>,
    /// Mapped, with the bytes used so far.
    open: Vec<(wgpu::Buffer, u64)>,
    /// Unmapped, with copies out of them encoded.
    sealed: Vec<wgpu::Buffer>,
    /// Come back here, mapped, once the GPU has read them.
    returned: Receiver<wgpu::Buffer>,
    back: Sender<wgpu::Buffer>,
    /// Sizes whose ring was made.
    rings: Vec<u64>,
    created: u64,
}

impl Default for Staging {
    fn default() -> Self {
        let (back, returned) = channel();
        Self { free: Vec::new(), open: Vec::new(), sealed: Vec::new(), returned, back, rings: Vec::new(), created: 0 }
    }
}

impl Staging {
    /// Puts bytes (a multiple of 4, at least 4) into staging memory; gives the buffer and offset to copy from, or `None` if
    /// all staging memory is under way: the caller then submits what is queued, waits, and asks again.
    pub fn write(&mut self, context: &Context, bytes: &[u8]) -> Result<Option<(wgpu::Buffer, u64)>> {
        let size = bytes.len() as u64;
        let at = match self.open.iter().position(|(b, used)| used + size <= b.size()) {
            Some(at) => at,
            None => {
                let Some(buffer) = self.mapped(context, size)? else { return Ok(None) };
                self.open.push((buffer, 0));
                self.open.len() - 1
            }
        };
        let (buffer, used) = &mut self.open[at];
        let offset = *used;
        let mut view = buffer
            .slice(offset..offset + size)
            .get_mapped_range_mut()
            .map_err(|e| Error::internal(format!("staging memory is not mapped: {e}")))?;
        view.copy_from_slice(bytes);
        drop(view);
        // Mapped ranges start at multiples of 8.
        *used = (offset + size).next_multiple_of(8);
        Ok(Some((buffer.clone(), offset)))
    }

    /// Before a submission: what was written may now be copied from.
    pub fn seal(&mut self) {
        for (buffer, _) in self.open.drain(..) {
            buffer.unmap();
            self.sealed.push(buffer);
        }
    }

    /// After the submission: asks for the buffers back.
    pub fn recall(&mut self) {
        for buffer in self.sealed.drain(..) {
            if buffer.size() > KEEP {
                continue;
            }
            let (back, again) = (self.back.clone(), buffer.clone());
            buffer.slice(..).map_async(wgpu::MapMode::Write, move |result| {
                if result.is_ok() {
                    // The receiver is gone only when the device is.
                    let _ = back.send(again);
                }
            });
        }
    }

    /// How many buffers were made.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// A free buffer of the size that serves `size` bytes; the first request of a size makes its ring.
    fn mapped(&mut self, context: &Context, size: u64) -> Result<Option<wgpu::Buffer>> {
        if size > KEEP {
            self.created += 1;
            return create_mapped(context, size.next_multiple_of(8)).map(Some);
        }
        let class = if size <= CHUNK { CHUNK } else { size.next_power_of_two() };
        if !self.rings.contains(&class) {
            for _ in 0..if class == CHUNK { RING } else { LARGE_RING } {
                self.free.push(create_mapped(context, class)?);
                self.created += 1;
            }
            self.rings.push(class);
        }
        if !self.free.iter().any(|b| b.size() == class) {
            // Runs the callbacks of mappings that are done.
            context.poll(wgpu::PollType::Poll)?;
            self.free.extend(self.returned.try_iter());
        }
        let fit = self.free.iter().position(|b| b.size() == class);
        Ok(fit.map(|i| self.free.swap_remove(i)))
    }
}

fn create_mapped(context: &Context, size: u64) -> Result<wgpu::Buffer> {
    let descriptor = wgpu::BufferDescriptor {
        label: Some("staging"),
        size,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    };
    context.guarded(|device| device.create_buffer(&descriptor)).map_err(|reason| Error::OutOfMemory {
        bytes: size,
        reason: format!("staging memory: {reason}"),
        help: "upload in smaller pieces".into(),
    })
}
