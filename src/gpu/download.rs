//! Downloads without a wait: the copy rides along with the next submission, and the caller checks later.

use super::executor::GpuExecutor;
use super::proof::{PROOF, checked};
use super::queue::{FAILED, MAPPED, Mapping, Pending, Progress, QUEUED, SUBMITTED};
use super::readback::MAPPING;
use super::staging::Mappable;
use crate::error::{Error, Result};
use crate::storage::gpu::Buffer;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A value on its way to the host.
#[derive(Debug)]
pub(crate) struct Download {
    target: Arc<Mappable>,
    bytes: u64,
    progress: Arc<Progress>,
}

impl GpuExecutor {
    /// Queues a copy of a buffer's first `bytes` bytes.
    pub fn start_download(&self, from: &Buffer, bytes: u64) -> Result<Download> {
        self.context.unless_lost(|| {
            if bytes > from.bytes || bytes == 0 {
                return Err(Error::internal(format!("a read of {bytes} bytes from {}", from.bytes)));
            }
            let mut queue = self.queue();
            let target = queue.readback.take(&self.context, bytes + PROOF)?;
            let progress = Arc::new(Progress::default());
            let mapping = Mapping { target: target.clone(), bytes, progress: progress.clone() };
            queue.pending.push(Pending::Read { from: from.clone(), mapping });
            Ok(Download { target, bytes, progress })
        })
    }

    /// The bytes, if they have arrived. Does not wait.
    pub fn try_download<T>(&self, download: &Download, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        self.context.unless_lost(|| {
            if download.progress.state.load(Ordering::Acquire) == SUBMITTED {
                self.context.poll(wgpu::PollType::Poll)?;
            }
            match download.progress.state.load(Ordering::Acquire) {
                MAPPED => {}
                FAILED => return Err(self.context.refused(MAPPING, "wgpu gives no reason")),
                _ => return Ok(None),
            }
            let value = {
                let view = download.target.buffer.slice(..download.bytes + PROOF).get_mapped_range();
                let view = view.map_err(|e| Error::internal(format!("a read buffer is not mapped: {e}")))?;
                read(checked(&self.context, &view, download.progress.proof.load(Ordering::Acquire))?)
            };
            download.target.buffer.unmap();
            self.queue().readback.give_back(download.target.clone());
            Ok(Some(value))
        })
    }

    /// The bytes; submits the copy if nothing has yet, and waits.
    pub fn finish_download<T>(&self, download: &Download, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        self.context.unless_lost(|| {
            if download.progress.state.load(Ordering::Acquire) == QUEUED {
                self.submit()?;
            }
            let has_arrived = || download.progress.state.load(Ordering::Acquire) != SUBMITTED;
            self.context.wait_until(has_arrived, format_args!("a read of {} bytes", download.bytes))?;
            self.try_download(download, read)?.ok_or_else(|| Error::internal("a download did not arrive"))
        })
    }
}
