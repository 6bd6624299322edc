//! Averages over steps that do not wait for the device.

use crate::error::{Error, Result};
use crate::tensor::{PendingValue, Tensor};
use std::collections::VecDeque;

/// The most values that may be on their way; beyond that, the oldest is waited for.
const WINDOW: usize = 16;

/// A weighted mean of scalar tensors.
///
/// A value is fetched when the next one is pushed: by then a step has computed it, and its copy to the host joins the
/// submission that follows. It is counted when it has arrived.
#[derive(Debug, Default)]
pub struct Meter {
    /// Pushed last, and perhaps not computed yet.
    fresh: Option<(Tensor, f64)>,
    coming: VecDeque<(PendingValue, f64)>,
    sum: f64,
    weight: f64,
}

impl Meter {
    /// A mean of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// A mean that continues from another's [`Meter::parts`].
    ///
    /// # Errors
    /// A weight that is not finite or below 0. The sum may be any number, as it may for losses that diverge.
    #[track_caller]
    pub fn from_parts(sum: f64, weight: f64) -> Result<Self> {
        if !(weight.is_finite() && weight >= 0.0) {
            let help = "give what parts() gave: a finite weight, at least 0";
            return Err(Error::argument("Meter::from_parts", format!("weight is {weight}"), help));
        }
        Ok(Self { sum, weight, ..Self::default() })
    }

    /// Adds a scalar; its weight is the number of samples it is the mean of. Does not compute it: push before or after the
    /// optimizer's step.
    ///
    /// # Errors
    /// The value has not one element; a weight is not finite or below 0; errors of the values read, which are those of earlier steps.
    #[track_caller]
    pub fn push(&mut self, value: &Tensor, weight: f64) -> Result<()> {
        let shape = value.shape()?;
        if shape.numel() != 1 {
            let reason = format!("a tensor of shape {shape} is not one value");
            return Err(Error::argument("Meter::push", reason, "reduce it first, say with .mean()"));
        }
        if !(weight.is_finite() && weight >= 0.0) {
            let help = "give the number of samples that the value is the mean of";
            return Err(Error::argument("Meter::push", format!("weight is {weight}"), help));
        }
        self.fetch()?;
        self.fresh = Some((value.clone(), weight));
        while let Some((value, _)) = self.coming.front_mut()
            && value.is_ready()?
        {
            self.take()?;
        }
        if self.coming.len() > WINDOW { self.take() } else { Ok(()) }
    }

    /// Starts to fetch the value that was pushed last.
    fn fetch(&mut self) -> Result<()> {
        if let Some((value, weight)) = &self.fresh {
            self.coming.push_back((value.read_later()?, *weight));
            self.fresh = None;
        }
        Ok(())
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
        self.fetch()?;
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
    #[track_caller]
    pub fn mean(&mut self) -> Result<f64> {
        self.read()?;
        Ok(self.sum / self.weight)
    }

    /// The weighted sum and the sum of weights of all values. Waits for the device.
    ///
    /// # Errors
    /// Errors of the values read.
    #[track_caller]
    pub fn parts(&mut self) -> Result<(f64, f64)> {
        self.read()?;
        Ok((self.sum, self.weight))
    }
}
