//! Reading a value without waiting for it.

use super::Tensor;
use crate::device::{Backend, Device};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::gpu::download::Download;
use crate::storage::Storage;

/// A value on its way to the host, from [`Tensor::read_later`].
#[derive(Debug)]
pub struct PendingValue {
    device: Device,
    dtype: DType,
    len: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Arrived(HostData),
    Coming(Download),
}

impl Tensor {
    /// Computes the value, if that has not been done, and starts to copy it to the host. Waits for nothing: on a GPU the copy
    /// joins the next submission.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::ones([3], &Device::cpu()?)? * 2.0;
    /// let later = x.sum((), false).read_later()?;
    /// // ... more work ...
    /// assert_eq!(later.wait()?.to_f64(), [6.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::eval`].
    pub fn read_later(&self) -> Result<PendingValue> {
        let node = self.node()?;
        self.eval()?;
        let storage = crate::eval::memory_of(node)?;
        let bytes = node.dtype.bytes(node.shape.numel()) as u64;
        let state = match (&node.device.inner().backend, &storage) {
            (Backend::Gpu(gpu), Storage::Gpu(buffer)) if bytes > 0 => State::Coming(gpu.start_download(buffer, bytes)?),
            _ => State::Arrived(node.device.read(&storage, node.dtype, node.shape.numel())?),
        };
        Ok(PendingValue { device: node.device.clone(), dtype: node.dtype, len: node.shape.numel(), state })
    }
}

impl PendingValue {
    /// Whether the value has arrived; if so, [`PendingValue::wait`] does not wait.
    ///
    /// # Errors
    /// A lost device.
    pub fn is_ready(&mut self) -> Result<bool> {
        if let (State::Coming(download), Backend::Gpu(gpu)) = (&self.state, &self.device.inner().backend)
            && let Some(data) = gpu.try_download(download, |b| HostData::from_padded(self.dtype, b, self.len))?
        {
            self.state = State::Arrived(data);
        }
        Ok(matches!(self.state, State::Arrived(_)))
    }

    /// The elements in row-major order; waits for them if need be.
    ///
    /// # Errors
    /// A lost device.
    pub fn wait(self) -> Result<HostData> {
        match (self.state, &self.device.inner().backend) {
            (State::Arrived(data), _) => Ok(data),
            (State::Coming(download), Backend::Gpu(gpu)) => {
                gpu.finish_download(&download, |b| HostData::from_padded(self.dtype, b, self.len))
            }
            (State::Coming(_), Backend::Cpu(_)) => Err(Error::internal("a download belongs to another kind of device")),
        }
    }
}
