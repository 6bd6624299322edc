//! Averages over steps that do not wait for the device at every step.

use crate::error::Result;
use crate::tensor::Tensor;

/// How many values gather before they are read together.
const WINDOW: usize = 16;

/// A weighted mean of scalar tensors.
///
/// Values stay on the device until [`WINDOW`] of them wait, and are then read at once: the device drains its queue every 16
/// steps instead of at each.
#[derive(Debug, Default)]
pub struct Meter {
    waiting: Vec<(Tensor, f64)>,
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
        Self { waiting: Vec::new(), sum, weight }
    }

    /// Adds a scalar; its weight is the number of samples it is the mean of.
    ///
    /// # Errors
    /// Errors of the values read, which may be those of earlier steps.
    pub fn push(&mut self, value: &Tensor, weight: f64) -> Result<()> {
        self.waiting.push((value.detach(), weight));
        if self.waiting.len() >= WINDOW { self.read() } else { Ok(()) }
    }

    fn read(&mut self) -> Result<()> {
        for (value, weight) in self.waiting.drain(..) {
            self.sum += value.item()? * weight;
            self.weight += weight;
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
