//! Loss scaling.

use crate::autodiff::Gradients;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::number::Range;
use crate::io::{HostTensor, StateDict};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;

/// Settings of [`LossScaler`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScalerConfig {
    /// The first scale. Defaults to 65536.
    pub init_scale: f64,
    /// What the scale is multiplied by after `growth_interval` good steps in a row. Defaults to 2.
    pub growth_factor: f64,
    /// What the scale is multiplied by after a step that was skipped. Defaults to 0.5.
    pub backoff_factor: f64,
    /// See `growth_factor`. Defaults to 2000.
    pub growth_interval: usize,
}

impl Default for LossScalerConfig {
    fn default() -> Self {
        Self { init_scale: 65536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

/// Keeps small gradients from vanishing in half precision: the loss is multiplied by a scale, the gradients are divided by it,
/// a step with gradients that are not finite is skipped, and the scale adapts. Scale and counts are kept on the device, and
/// nothing waits for them. With f32 throughout it changes nothing but rounding, if scales are powers of two.
///
/// ```
/// # use wgrad::optim::{LossScaler, LossScalerConfig, Optimizer, Sgd, SgdConfig};
/// # use wgrad::{Device, Param, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let w = Param::new(&Tensor::ones([2], &device)?)?;
/// let mut sgd = Sgd::new(&[w.clone()], SgdConfig { lr: 0.5, ..SgdConfig::default() })?;
/// let mut scaler = LossScaler::new(&device, LossScalerConfig::default())?;
/// let loss = w.tensor().sum();
/// let mut gradients = scaler.scale(&loss).backward()?;
/// scaler.unscale(&mut gradients)?;
/// sgd.step(gradients)?;
/// scaler.update()?;
/// assert_eq!(w.tensor().to_vec::<f32>()?, [0.5, 0.5]);
/// # Ok(()) }
/// ```
/// Source: P. Micikevicius et al., "Mixed precision training", 2018;
/// [PyTorch](https://pytorch.org/docs/stable/amp.html#gradient-scaling), `GradScaler`.
#[derive(Debug)]
#[must_use = "a scaler changes nothing until a loss is scaled"]
pub struct LossScaler {
    config: LossScalerConfig,
    scale: Param,
    /// Good steps since the scale last changed.
    good: Param,
    /// Whether all gradients since the last update were finite.
    finite: Option<Tensor>,
}

impl LossScaler {
    /// A scaler on the model's device.
    ///
    /// # Errors
    /// A scale that is not finite and above 0, a growth below 1, a backoff outside 0..=1, an interval of 0.
    #[track_caller]
    pub fn new(device: &Device, config: LossScalerConfig) -> Result<Self> {
        let LossScalerConfig { init_scale, growth_factor, backoff_factor, growth_interval } = config;
        let rows = [
            ("init_scale", init_scale, init_scale > 0.0 && init_scale <= f64::from(f32::MAX), "finite and above 0"),
            ("growth_factor", growth_factor, growth_factor.is_finite() && growth_factor >= 1.0, "finite and at least 1"),
            ("backoff_factor", backoff_factor, backoff_factor > 0.0 && backoff_factor <= 1.0, "above 0 and at most 1"),
            ("growth_interval", growth_interval as f64, growth_interval > 0, "at least 1"),
        ];
        if let Some((name, value, _, range)) = rows.into_iter().find(|row| !row.2) {
            return Err(Error::argument("LossScaler", format!("{name} is {value}"), format!("use a value {range}")));
        }
        let cell = |value| Param::buffer(&Tensor::full((), value, device)?);
        Ok(Self { config, scale: cell(init_scale)?, good: cell(0.0)?, finite: None })
    }

    /// The loss times the scale.
    #[track_caller]
    pub fn scale(&self, loss: &Tensor) -> Tensor {
        loss * &self.scale.tensor().detach().cast(loss.dtype().unwrap_or(DType::F32))
    }

    /// Divides gradients of a scaled loss by the scale, and has the optimizer skip the step if one is not finite. To clip or to
    /// accumulate gradients, unscale first.
    ///
    /// # Errors
    /// There are no gradients.
    #[track_caller]
    pub fn unscale(&mut self, gradients: &mut Gradients) -> Result<()> {
        no_grad(|| {
            gradients.scale(&(1.0 / self.scale.tensor().detach()));
            let finite: Tensor = gradients.skip_non_finite()?.into();
            self.finite = Some(match self.finite.take() {
                Some(before) => before * &finite,
                None => finite,
            });
            Ok(())
        })
    }

    /// Adapts the scale to the gradients seen since the last update: call it once per step, after the optimizer's. Lazy.
    ///
    /// The scale stays within f32's range of normal numbers.
    ///
    /// # Errors
    /// Nothing has been unscaled since.
    #[track_caller]
    pub fn update(&mut self) -> Result<()> {
        let Some(finite) = self.finite.take() else {
            return Err(Error::argument("LossScaler::update", "no gradients were unscaled", "call unscale in every step"));
        };
        no_grad(|| {
            let (scale, good) = (self.scale.tensor().detach(), self.good.tensor().detach());
            let counted = (good + 1.0) * &finite;
            let full = counted.ge(&counted.full_like(self.config.growth_interval as f64));
            let grown = full.where_(&(&scale * self.config.growth_factor), &scale);
            let next = finite.gt(&finite.full_like(0.5)).where_(&grown, &(&scale * self.config.backoff_factor));
            let next = next.clamp(f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
            let count = full.where_(&counted.zeros_like(), &counted);
            let _ = self.scale.assign_with(&next, &next)?;
            let _ = self.good.assign_with(&count, &count)?;
            Ok(())
        })
    }

    /// The scale now. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    pub fn current(&self) -> Result<f64> {
        self.scale.tensor().item()
    }

    /// Scale and count in host memory. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    pub fn state_dict(&self) -> Result<StateDict> {
        let mut dict = StateDict::new();
        dict.insert("scaler.scale", HostTensor::scalar(self.scale.tensor().item()?))?;
        dict.insert("scaler.good", HostTensor::scalar(self.good.tensor().item()?))?;
        Ok(dict)
    }

    /// Restores what [`LossScaler::state_dict`] gave.
    ///
    /// # Errors
    /// An entry is missing or out of range; nothing changes in that case.
    #[track_caller]
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<()> {
        const LOAD: &str = "LossScaler::load_state_dict";
        let scale = dict.number(LOAD, "scaler.scale", Range::AboveZero)?;
        let good = dict.number(LOAD, "scaler.good", Range::Count)?;
        let own = |name: &str| !name.starts_with("scaler.") || ["scaler.scale", "scaler.good"].contains(&name);
        if let Some(name) = dict.unknown(own) {
            return Err(Error::argument(LOAD, format!("{name} is unknown"), "load the state of a LossScaler"));
        }
        let device = self.scale.device();
        let cell = |value| Tensor::full_of((), value, DType::F32, device);
        Param::set_all(&[(&self.scale, &cell(scale)?), (&self.good, &cell(good)?)])?;
        self.finite = None;
        Ok(())
    }
}
