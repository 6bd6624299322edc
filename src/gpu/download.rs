//! Downloads without a wait: the copy rides along with the next submission, and the caller checks later.

use super::executor::GpuExecutor;
use super::proof::{PROOF, checked};
use super::queue::{FAILED, MAPPED, Mapping, Pending, Progress, QUEUED, SUBMITTED};
use super::readback::MAPPING;
use super::staging::Mappable;
use crate::ending::Outliving;
use crate::error::{Error, Result};
use crate::storage::gpu::Buffer;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A value on its way to the host.
#[derive(Debug)]
pub(crate) struct Download {
    target: Outliving<Arc<Mappable>>,
    bytes: u64,
    progress: Arc<Progress>,
    /// Bytes of the flag after the proof.
    flag: u64,
}

impl GpuExecutor {
    /// Queues a copy of a buffer's first `bytes` bytes, and of a flag.
    pub fn start_download(&self, from: &Buffer, bytes: u64, flag: Option<&Buffer>) -> Result<Download> {
        self.context.unless_lost(|| {
            if bytes > from.bytes || bytes == 0 {
                return Err(Error::internal(format!("a read of {bytes} bytes from {}", from.bytes)));
            }
            let mut queue = self.queue();
            let room = flag.map_or(0, |flag| flag.bytes);
            let target = queue.readback.take(&self.context, bytes + PROOF + room)?;
            let progress = Arc::new(Progress::default());
            let mapping = Mapping { target: target.clone(), bytes, flag: flag.cloned(), progress: progress.clone() };
            queue.pending.push(Pending::Read { from: from.clone(), mapping });
            Ok(Download { target: Outliving::new(target), bytes, progress, flag: room })
        })
    }

    /// The bytes and those of the flag, if they have arrived. Does not wait.
    pub fn try_download<T>(&self, download: &Download, read: impl FnOnce(&[u8], &[u8]) -> T) -> Result<Option<T>> {
        self.context.unless_lost(|| {
            if download.progress.state.load(Ordering::Acquire) == SUBMITTED {
                self.context.poll(wgpu::PollType::Poll, false)?;
            }
            match download.progress.state.load(Ordering::Acquire) {
                MAPPED => {}
                FAILED => return Err(self.context.refused(MAPPING, "wgpu gives no reason")),
                _ => return Ok(None),
            }
            let value = {
                let proven = download.bytes + PROOF;
                let view = download.target.buffer.slice(..proven + download.flag).get_mapped_range();
                let view = view.map_err(|e| Error::internal(format!("a read buffer is not mapped: {e}")))?;
                let (value, flag) = view.split_at(usize::try_from(proven).unwrap_or(usize::MAX).min(view.len()));
                read(checked(&self.context, value, download.progress.proof.load(Ordering::Acquire))?, flag)
            };
            download.target.buffer.unmap();
            self.queue().readback.give_back(download.target.clone());
            Ok(Some(value))
        })
    }

    /// The bytes and those of the flag; submits the copies if nothing has yet, and waits.
    pub fn finish_download<T>(&self, download: &Download, read: impl FnOnce(&[u8], &[u8]) -> T) -> Result<T> {
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
