//! Reading a value without waiting for it.

use super::Tensor;
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::executor::Transfer;

/// A value on its way to the host, from [`Tensor::read_later`].
#[derive(Debug)]
#[must_use = "the value is on its way: wait for it"]
pub struct PendingValue {
    device: Device,
    dtype: DType,
    len: usize,
    transfer: Transfer,
}

/// # Reading without waiting
impl Tensor {
    /// Computes the value, if that has not been done, and starts to copy it to the host. Waits for nothing: on a GPU the copy
    /// joins the next submission.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::ones([3], &Device::cpu()?)? * 2.0;
    /// let later = x.sum().read_later()?;
    /// // ... more work ...
    /// assert_eq!(later.wait()?.to_f64(), [6.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::eval`].
    #[track_caller]
    pub fn read_later(&self) -> Result<PendingValue> {
        let node = self.node()?;
        let transfer = crate::eval::start_read(node)?;
        Ok(PendingValue { device: node.device.clone(), dtype: node.dtype, len: node.shape.numel(), transfer })
    }
}

impl PendingValue {
    /// Whether the value has arrived; if so, [`PendingValue::wait`] does not wait.
    ///
    /// # Errors
    /// A lost device; an index out of range that a device computed, after which the value has arrived.
    #[track_caller]
    pub fn is_ready(&mut self) -> Result<bool> {
        let Some((data, outcome)) = self.device.executor().try_read(&self.transfer, self.dtype, self.len)? else {
            return Ok(matches!(self.transfer, Transfer::Arrived(_)));
        };
        self.transfer = Transfer::Arrived(data);
        outcome.map(|()| true)
    }

    /// The elements in row-major order; waits for them if need be.
    ///
    /// # Errors
    /// A lost device; an index out of range that a device computed, after which the tensor can be read again.
    #[track_caller]
    pub fn wait(self) -> Result<HostData> {
        self.device.executor().finish_read(self.transfer, self.dtype, self.len)
    }
}
