//! How much memory a program would take, before it runs.

use super::options::{DeviceOptions, context_options};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::gpu::model::GpuModel;
use crate::lazy::{Device, DeviceKind};
use crate::memory::MemoryUse;
use std::fmt;

/// What [`Device::memory_estimate`] has found out, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// The most that would be in use at once: [`Counters::bytes_peak`](super::Counters::bytes_peak) of a device on which it ran.
    pub peak: u64,
    /// What that would be used for; caches are not in it.
    pub by_use: MemoryUse,
    /// The most that would be held, caches included, without a limit on memory: what they keep for later includes plans, whose size is
    /// itself an estimate.
    pub held: u64,
}

/// `1234 bytes: parameters 1000, work 234`.
impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} bytes: {}", self.peak, self.by_use))
    }
}

/// # Memory before a run
impl Device {
    /// Runs `work` on a stand-in for this device and returns the memory that it would take here. Nothing is computed, and no
    /// memory is allocated on a device: a network that would not fit is estimated like any other, in milliseconds per step.
    ///
    /// `work` builds all that it needs on the device that it is given: model, optimizer, batches, and two steps if a second one
    /// differs from the first. On a stand-in every value that is read is 0. The estimate of the peak is exact: a new device on
    /// which `work` runs has the same [`Counters::bytes_peak`](super::Counters::bytes_peak), to the byte. Memory that `work` itself
    /// takes on the host, such as for initial weights, is its own.
    ///
    /// ```
    /// use wgrad::nn::{Init, Linear, Module};
    /// use wgrad::optim::{Optimizer, Sgd, SgdConfig};
    /// use wgrad::{Device, Tensor};
    ///
    /// let device = Device::cpu()?;
    /// let estimate = device.memory_estimate(|device| {
    ///     let model = Linear::new(1000, 10, &Init::new(device, 0))?;
    ///     let mut sgd = Sgd::new(&model.parameters()?, SgdConfig { momentum: 0.9, ..SgdConfig::default() })?;
    ///     let (x, labels) = (Tensor::zeros([4096, 1000], device)?, Tensor::from_slice(&[0; 4096], [4096], device)?);
    ///     sgd.step(model.forward(&x)?.cross_entropy(&labels).backward()?)
    /// })?;
    /// assert_eq!(estimate.by_use.parameters, 4 * (1000 * 10 + 10));
    /// assert_eq!(estimate.by_use.state, estimate.by_use.parameters);
    /// println!("{estimate}");
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// That of `work`, such as [`Error::OutOfMemory`] for a tensor that exceeds what one buffer may have.
    pub fn memory_estimate<T>(&self, work: impl FnOnce(&Device) -> Result<T>) -> Result<MemoryEstimate> {
        let device = self.stand_in()?;
        device.set_memory_limit(u64::MAX);
        let made = work(&device)?;
        let (executor, by_use) = (device.executor(), device.use_at_peak());
        let estimate = MemoryEstimate { peak: executor.counters().bytes_peak, by_use, held: executor.most_held() };
        drop(made);
        Ok(estimate)
    }

    /// The largest of the batch sizes 1 to `most` with which `work` fits into the memory that this device has left: its limit
    /// ([`DeviceOptions::memory`]) without what tensors, parameters and optimizers hold now. `work` runs on stand-ins, as for [`Device::memory_estimate`], with up
    /// to 2 log2(`most`) sizes; it must take more memory for a larger batch. What kernels of the CPU device may work in counts for each
    /// thread, as it is charged.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions { memory: Some(10 << 20), ..DeviceOptions::default() })?;
    /// let largest = device.largest_batch(4096, |device, n| Tensor::zeros([n, 1024], device)?.exp().eval())?;
    /// assert!((2000..=2560).contains(&largest), "{largest} rows of 4 KiB");
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: a batch of one does not fit. [`Error::Argument`]: `most` is 0, or the device has no limit. Any other
    /// error of `work`.
    #[track_caller]
    pub fn largest_batch<T>(&self, most: usize, mut work: impl FnMut(&Device, usize) -> Result<T>) -> Result<usize> {
        const NAME: &str = "Device::largest_batch";
        if most == 0 {
            return Err(Error::argument(NAME, "there is no batch of 0", "use the largest batch that makes sense"));
        }
        let Some(limit) = self.memory_limit() else {
            let reason = "only the driver knows how much memory this device has";
            return Err(Error::argument(NAME, reason, "call set_memory_limit, or open it with DeviceOptions::memory"));
        };
        let now = self.measured_use();
        // What plans work in is shared by all of them, and caches make room.
        let left = limit.saturating_sub(now.total() - now.cached - now.working);
        let mut fits = |n: usize| {
            let device = self.stand_in()?;
            device.set_memory_limit(left);
            work(&device, n).map(drop)
        };
        fits(1)?;
        let (mut fit, mut too_large) = (1, most.saturating_add(1));
        let mut next = 2;
        while too_large - fit > 1 {
            match fits(next.clamp(fit + 1, too_large - 1)) {
                Ok(()) => fit = next.clamp(fit + 1, too_large - 1),
                Err(Error::OutOfMemory { .. }) => too_large = next.clamp(fit + 1, too_large - 1),
                Err(other) => return Err(other),
            }
            // Twice as many as long as nothing is too large, then halfway.
            next = if too_large > most { fit.saturating_mul(2) } else { fit + (too_large - fit) / 2 };
        }
        Ok(fit)
    }

    /// A device that stands for this one: it takes the same calls, and counts memory as a new device of the kind does with the same
    /// options and limits, but allocates none and computes nothing. Every value that is read is 0.
    ///
    /// # Errors
    /// Its threads cannot be made.
    pub fn stand_in(&self) -> Result<Self> {
        let device = Self::hollow(self.kind(), self.name().to_owned(), self.executor().stand_in()?);
        device.set_cache_limits(self.cache_limits());
        device.set_memory_limit(self.memory_limit().unwrap_or(u64::MAX));
        Ok(device)
    }

    /// A device that stands for a GPU that need not be there: see [`Device::stand_in`].
    ///
    /// ```
    /// # #[cfg(feature = "gpu")]
    /// # fn main() -> wgrad::Result<()> {
    /// use wgrad::{Device, DeviceOptions, GpuModel, Tensor};
    ///
    /// let model = GpuModel { memory: Some(8 << 30), bytes_per_binding: 2 << 30, bytes_per_buffer: 4 << 30, ..GpuModel::default() };
    /// let gpu = Device::stand_in_for(&model, DeviceOptions::default())?;
    /// let attention = |device: &Device, n| {
    ///     let scores = Tensor::zeros([n, 12, 1024, 1024], device)?;
    ///     scores.softmax(-1).eval()
    /// };
    /// assert_eq!(gpu.largest_batch(64, attention)?, 42, "of 48 MiB each, in one buffer");
    /// # Ok(()) }
    /// # #[cfg(not(feature = "gpu"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`]: a build without the feature `gpu`.
    pub fn stand_in_for(model: &GpuModel, options: DeviceOptions) -> Result<Self> {
        let kind = if model.software { DeviceKind::Software } else { DeviceKind::Gpu };
        let executor = Executor::of_model(model, context_options(options), !options.unfused)?;
        let device = Self::hollow(kind, model.name.clone(), executor);
        device.set_memory_limit(options.memory.or(model.memory).unwrap_or(u64::MAX));
        Ok(device)
    }

    /// Whether it stands for another device.
    pub fn is_stand_in(&self) -> bool {
        self.executor().is_hollow()
    }
}
