//! Uploads: bytes go into mapped staging buffers and from there, in order, at the head of the next submission.

use super::context::Context;
use crate::error::{Error, Result};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The size of an ordinary staging buffer; larger uploads get one of their own.
const CHUNK: u64 = 1 << 20;

/// Staging buffers beyond this size are not kept.
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
    created: u64,
}

impl Default for Staging {
    fn default() -> Self {
        let (back, returned) = channel();
        Self { free: Vec::new(), open: Vec::new(), sealed: Vec::new(), returned, back, created: 0 }
    }
}

impl Staging {
    /// Puts bytes (a multiple of 4) into staging memory; gives the buffer and offset to copy from.
    pub fn write(&mut self, context: &Context, bytes: &[u8]) -> Result<(wgpu::Buffer, u64)> {
        let size = bytes.len() as u64;
        let at = match self.open.iter().position(|(b, used)| used + size <= b.size()) {
            Some(at) => at,
            None => {
                let buffer = self.mapped(context, size)?;
                self.open.push((buffer, 0));
                self.open.len() - 1
            }
        };
        let (buffer, used) = &mut self.open[at];
        let offset = *used;
        if size > 0 {
            let mut view = buffer
                .slice(offset..offset + size)
                .get_mapped_range_mut()
                .map_err(|e| Error::internal(format!("staging memory is not mapped: {e}")))?;
            view.copy_from_slice(bytes);
        }
        // Mapped ranges start at multiples of 8.
        *used = (offset + size).next_multiple_of(8);
        Ok((buffer.clone(), offset))
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

    /// The smallest free buffer that is large enough, or a new one.
    fn mapped(&mut self, context: &Context, size: u64) -> Result<wgpu::Buffer> {
        if !self.free.iter().any(|b| b.size() >= size) {
            let _ = context.device.poll(wgpu::PollType::Poll);
        }
        self.free.extend(self.returned.try_iter());
        let fit = (0..self.free.len()).filter(|&i| self.free[i].size() >= size).min_by_key(|&i| self.free[i].size());
        if let Some(i) = fit {
            return Ok(self.free.swap_remove(i));
        }
        let wanted = if size <= CHUNK { CHUNK } else { size.next_power_of_two() };
        self.created += 1;
        create_mapped(context, wanted.min(context.limits.max_buffer_size).max(size))
    }
}

fn create_mapped(context: &Context, size: u64) -> Result<wgpu::Buffer> {
    let memory = context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = context.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let buffer = context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size,
        usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let errors = [pollster::block_on(validation.pop()), pollster::block_on(memory.pop())];
    match errors.into_iter().flatten().next() {
        None => Ok(buffer),
        Some(error) => Err(Error::OutOfMemory {
            bytes: size,
            reason: format!("staging memory: {error}"),
            help: "upload in smaller pieces".into(),
        }),
    }
}
