//! Downloads without a wait: the copy rides along with the next submission, and the caller looks in later.

use super::executor::{GpuExecutor, Pending, Queue};
use crate::error::{Error, Result};
use crate::storage::gpu::Buffer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const QUEUED: u8 = 0;
const SUBMITTED: u8 = 1;
const MAPPED: u8 = 2;
const FAILED: u8 = 3;

/// A value on its way to the host.
#[derive(Debug)]
pub(crate) struct Download {
    target: wgpu::Buffer,
    bytes: u64,
    state: Arc<AtomicU8>,
}

/// A copy that was encoded and is mapped once its submission is under way.
#[derive(Debug)]
pub(super) struct Mapping {
    target: wgpu::Buffer,
    bytes: u64,
    state: Arc<AtomicU8>,
}

impl GpuExecutor {
    /// Queues a copy of a buffer's first `bytes` bytes.
    pub fn start_download(&self, from: &Buffer, bytes: u64) -> Result<Download> {
        self.context.unless_lost(|| {
            if bytes > from.bytes || bytes == 0 {
                return Err(Error::internal(format!("a read of {bytes} bytes from {}", from.bytes)));
            }
            let mut queue = self.queue();
            let target = queue.readback.take(&self.context, bytes)?;
            let state = Arc::new(AtomicU8::new(QUEUED));
            let mapping = Mapping { target: target.clone(), bytes, state: state.clone() };
            queue.pending.push(Pending::Read { from: from.clone(), mapping });
            Ok(Download { target, bytes, state })
        })
    }

    /// The bytes, if they have arrived. Does not wait.
    pub fn try_download<T>(&self, download: &Download, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        self.context.unless_lost(|| {
            if download.state.load(Ordering::Acquire) == SUBMITTED {
                self.context.poll(wgpu::PollType::Poll)?;
            }
            match download.state.load(Ordering::Acquire) {
                MAPPED => {}
                FAILED => {
                    return Err(Error::internal("a read buffer could not be mapped"));
                }
                _ => return Ok(None),
            }
            let value = {
                let view = download.target.slice(..download.bytes).get_mapped_range();
                read(&view.map_err(|e| Error::internal(format!("a read buffer is not mapped: {e}")))?)
            };
            download.target.unmap();
            self.queue().readback.give_back(download.target.clone());
            Ok(Some(value))
        })
    }

    /// The bytes; submits the copy if nothing has yet, and waits.
    pub fn finish_download<T>(&self, download: &Download, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        self.context.unless_lost(|| {
            if download.state.load(Ordering::Acquire) == QUEUED {
                self.submit()?;
            }
            if download.state.load(Ordering::Acquire) == SUBMITTED {
                self.context.wait(None)?;
            }
            self.try_download(download, read)?.ok_or_else(|| Error::internal("a download did not arrive"))
        })
    }
}

impl Mapping {
    /// Encodes the copy.
    pub fn encode(&self, from: &Buffer, encoder: &mut wgpu::CommandEncoder) {
        encoder.copy_buffer_to_buffer(from.raw(), from.offset, &self.target, 0, self.bytes);
    }

    /// Asks for the mapping; its submission is under way.
    fn request(self) {
        let state = self.state.clone();
        state.store(SUBMITTED, Ordering::Release);
        self.target.slice(..self.bytes).map_async(wgpu::MapMode::Read, move |result| {
            state.store(if result.is_ok() { MAPPED } else { FAILED }, Ordering::Release);
        });
    }
}

impl Queue {
    /// After a submission: maps what it copied.
    pub(super) fn request_mappings(&mut self) {
        self.mappings.drain(..).for_each(Mapping::request);
    }
}
