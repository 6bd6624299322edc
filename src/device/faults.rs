//! Devices that fail on purpose.

use super::Device;
use crate::faults::{Fault, FaultKind};

/// # Faults on purpose
impl Device {
    /// Has the device fail at a call from here on, as a driver would: to test what a program makes of it. A later fault of the same
    /// kind takes the place of an earlier one; [`Fault::new`] with `at: 0` takes it back. Only with the feature `faults`.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Error, Fault, FaultKind, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions::default())?;
    /// let x = Tensor::ones([4], &device)?;
    /// device.inject(Fault::new(FaultKind::Allocation, 1).times(u64::MAX));
    /// assert!(matches!((&x * 2.0).to_vec::<f32>(), Err(Error::OutOfMemory { .. })));
    /// device.inject(Fault::new(FaultKind::Allocation, 0));
    /// assert_eq!((&x * 2.0).to_vec::<f32>()?, [2.0; 4]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn inject(&self, fault: Fault) {
        self.executor().faults().set(fault);
    }

    /// How many calls of a kind there were since its fault was injected, or since the device was opened.
    pub fn fault_calls(&self, kind: FaultKind) -> u64 {
        self.executor().faults().calls(kind)
    }
}
