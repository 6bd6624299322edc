//! Normalisation by the statistics of a data set.

use super::transform::Transform;
use crate::device::Device;
use crate::error::{Error, Result, counted};
use crate::rng::Generator;
use crate::tensor::Tensor;

/// `(x - mean) / std`, a mean and a standard deviation per channel of `[n, c, h, w]` or `[c, h, w]`, or one for all channels; nothing
/// about it is random.
#[derive(Debug, Clone)]
pub struct Normalize {
    mean: Tensor,
    inverse_std: Tensor,
}

impl Normalize {
    /// Statistics of each channel.
    ///
    /// # Errors
    /// The slices are empty or differ in length; a standard deviation is not above 0.
    #[track_caller]
    pub fn new(mean: &[f64], std: &[f64], device: &Device) -> Result<Self> {
        if mean.len() != std.len() || mean.is_empty() || std.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(Error::argument(
                "Normalize::new",
                format!("means {mean:?} and standard deviations {std:?} do not fit"),
                "give one mean and one positive standard deviation per channel",
            ));
        }
        let shape = [mean.len(), 1, 1];
        #[allow(clippy::cast_possible_truncation, reason = "images are in single precision")]
        let upload = |values: &mut dyn Iterator<Item = f64>| {
            Tensor::from_slice(&values.map(|v| v as f32).collect::<Vec<_>>(), shape, device)
        };
        Ok(Self { mean: upload(&mut mean.iter().copied())?, inverse_std: upload(&mut std.iter().map(|s| 1.0 / s))? })
    }
}

impl Transform for Normalize {
    fn apply(&self, x: &Tensor, _: &Generator) -> Result<Tensor> {
        let (shape, known) = (x.shape()?, self.mean.shape()?.numel());
        // One statistic serves any number of channels.
        if !matches!(shape.dims(), [.., channels, _, _] if known == 1 || *channels == known) {
            let reason = format!("the input {shape} does not have {} in its third axis from the end", counted(known, "channel"));
            return Err(Error::argument(
                "Normalize",
                reason,
                "give [n, c, h, w] or [c, h, w], or statistics of that many channels",
            ));
        }
        let normalized = (x - &self.mean) * &self.inverse_std;
        normalized.check()?;
        Ok(normalized)
    }
}
