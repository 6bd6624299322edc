//! Averages over steps that do not wait for the device.

use crate::error::Result;
use crate::tensor::{PendingValue, Tensor};
use std::collections::VecDeque;

/// The most values that may be on their way; beyond, the oldest is waited for.
const WINDOW: usize = 16;

/// A weighted mean of scalar tensors.
///
/// Each value comes to the host with the submission that follows it, and is counted when it has arrived.
#[derive(Debug, Default)]
pub struct Meter {
    coming: VecDeque<(PendingValue, f64)>,
    sum: f64,
    weight: f64,
}

impl Meter {
    /// A mean of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mean that continues from another's [`Meter::parts`].
    pub fn from_parts(sum: f64, weight: f64) -> Self {
        Self { coming: VecDeque::new(), sum, weight }
    }

    /// Adds a scalar; its weight is the number of samples it is the mean of.
    ///
    /// # Errors
    /// Errors of the values read, which may be those of earlier steps.
    pub fn push(&mut self, value: &Tensor, weight: f64) -> Result<()> {
        self.coming.push_back((value.read_later()?, weight));
        while let Some((value, _)) = self.coming.front_mut()
            && value.is_ready()?
        {
            self.take()?;
        }
        if self.coming.len() > WINDOW { self.take() } else { Ok(()) }
    }

    /// Counts the oldest value that is on its way.
    fn take(&mut self) -> Result<()> {
        if let Some((value, weight)) = self.coming.pop_front() {
            self.sum += value.wait()?.to_f64().iter().sum::<f64>() * weight;
            self.weight += weight;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        while !self.coming.is_empty() {
            self.take()?;
        }
        Ok(())
    }

    /// The mean of the values read so far; `None` if there are none.
    pub fn recent(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// The mean of all values; NaN if there are none. Waits for the device.
    ///
    /// # Errors
    /// Errors of the values read.
    pub fn mean(&mut self) -> Result<f64> {
        self.read()?;
        Ok(self.sum / self.weight)
    }

    /// The weighted sum and the sum of weights of all values. Waits for the device.
    ///
    /// # Errors
    /// Errors of the values read.
    pub fn parts(&mut self) -> Result<(f64, f64)> {
        self.read()?;
        Ok((self.sum, self.weight))
    }
}
