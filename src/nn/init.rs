//! Initial values of parameters.
//!
//! A weight's fan-in is the number of inputs that one output sees: `in` of a linear weight `[out, in]`,
//! `ci/groups · kh · kw` of a convolution's `[co, ci/groups, kh, kw]`; the fan-out is the number of outputs that one input
//! reaches.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::param::Param;
use crate::rng::Generator;
use crate::shape::{IntoShape, MAX_PIECES, Shape};
use crate::tensor::Tensor;

/// Where layers are made, and from which random numbers.
///
/// Layers that need random numbers later, such as dropout, share the generator: its seed and offset are all that a
/// checkpoint has to keep.
#[derive(Debug, Clone)]
pub struct Init {
    /// The device that parameters are on.
    pub device: Device,
    /// The source of initial values and dropout masks.
    pub generator: Generator,
    /// The parameters' dtype; defaults to F32.
    pub dtype: DType,
}

impl Init {
    /// F32 parameters on `device`, from `seed`.
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), generator: Generator::new(seed), dtype: DType::F32 }
    }

    /// The same in another floating-point dtype.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Values uniform in `-bound..bound`.
    ///
    /// # Errors
    /// An invalid shape; the device is out of memory.
    #[track_caller]
    pub fn uniform(&self, shape: impl IntoShape, bound: f64) -> Result<Tensor> {
        Ok((Tensor::rand(shape, &self.generator, &self.device)? * (2.0 * bound) - bound).cast(self.dtype))
    }

    /// Values from the normal distribution with mean 0 and standard deviation `std`.
    ///
    /// # Errors
    /// An invalid shape; the device is out of memory.
    #[track_caller]
    pub fn normal(&self, shape: impl IntoShape, std: f64) -> Result<Tensor> {
        Ok((Tensor::randn(shape, &self.generator, &self.device)? * std).cast(self.dtype))
    }

    /// The same value everywhere.
    ///
    /// # Errors
    /// An invalid shape; the device is out of memory.
    #[track_caller]
    pub fn constant(&self, shape: impl IntoShape, value: f64) -> Result<Tensor> {
        Ok(Tensor::full(shape, value, &self.device)?.cast(self.dtype))
    }
}

/// Fan-in and fan-out of a weight `[out, in, window...]`.
///
/// # Errors
/// Fewer than two dimensions.
#[track_caller]
pub fn fans(shape: &Shape) -> Result<(usize, usize)> {
    let &[outputs, inputs, ref window @ ..] = shape.dims() else {
        return Err(Error::argument("fans", format!("a weight of shape {shape} has no fan-in"), "give at least 2 dimensions"));
    };
    let taps: usize = window.iter().product();
    Ok((inputs * taps, outputs * taps))
}

/// Faults on layers or steps that would be made one by one without end.
#[track_caller]
pub(super) fn need_few(what: &str, of: &str, count: usize) -> Result<()> {
    if count <= MAX_PIECES {
        return Ok(());
    }
    Err(Error::argument(what, format!("{count} {of} are too many"), format!("use at most {MAX_PIECES}")))
}

/// `√(2 / (1 + a²))`: keeps the variance through a leaky ReLU of negative slope `a`.
fn leaky_gain(a: f64) -> f64 {
    (2.0 / (1.0 + a * a)).sqrt()
}

/// Uniform in ±`gain · √(3 / fan_in)` with the gain of a leaky ReLU of slope `a`. PyTorch's layers use `a = √5`, which
/// gives ±`1/√fan_in`.
///
/// Source: K. He et al., "Delving deep into rectifiers", 2015.
///
/// # Errors
/// A shape of fewer than two dimensions.
#[track_caller]
pub fn kaiming_uniform(shape: impl IntoShape, a: f64, init: &Init) -> Result<Tensor> {
    let shape = shape.into_shape()?;
    let (fan_in, _) = fans(&shape)?;
    init.uniform(shape, leaky_gain(a) * (3.0 / fan_in.max(1) as f64).sqrt())
}

/// Normal with standard deviation `gain / √fan_in`, with the gain of a leaky ReLU of slope `a` (0: ReLU).
///
/// # Errors
/// A shape of fewer than two dimensions.
#[track_caller]
pub fn kaiming_normal(shape: impl IntoShape, a: f64, init: &Init) -> Result<Tensor> {
    let shape = shape.into_shape()?;
    let (fan_in, _) = fans(&shape)?;
    init.normal(shape, leaky_gain(a) / (fan_in.max(1) as f64).sqrt())
}

/// Uniform in ±`gain · √(6 / (fan_in + fan_out))`.
///
/// Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
///
/// # Errors
/// A shape of fewer than two dimensions.
#[track_caller]
pub fn xavier_uniform(shape: impl IntoShape, gain: f64, init: &Init) -> Result<Tensor> {
    let shape = shape.into_shape()?;
    let (fan_in, fan_out) = fans(&shape)?;
    init.uniform(shape, gain * (6.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}

/// Normal with standard deviation `gain · √(2 / (fan_in + fan_out))`.
///
/// # Errors
/// A shape of fewer than two dimensions.
#[track_caller]
pub fn xavier_normal(shape: impl IntoShape, gain: f64, init: &Init) -> Result<Tensor> {
    let shape = shape.into_shape()?;
    let (fan_in, fan_out) = fans(&shape)?;
    init.normal(shape, gain * (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}

/// PyTorch's default for a layer: a Kaiming-uniform weight with `a = √5`, and a bias of that many elements, if any, uniform in
/// ±`1/√fan_in`.
pub(super) fn weight_and_bias(shape: Shape, bias: Option<usize>, init: &Init) -> Result<(Param, Option<Param>)> {
    let (fan_in, _) = fans(&shape)?;
    let weight = Param::new(&kaiming_uniform(shape, 5f64.sqrt(), init)?)?;
    weight.set_name("weight");
    let Some(outputs) = bias else { return Ok((weight, None)) };
    let bound = if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() };
    let bias = Param::new(&init.uniform(outputs, bound)?)?;
    bias.set_name("bias");
    Ok((weight, Some(bias)))
}

/// Ones and zeros to learn, if wanted.
#[track_caller]
pub(super) fn affine(shape: impl IntoShape, wanted: bool, init: &Init) -> Result<(Option<Param>, Option<Param>)> {
    if !wanted {
        return Ok((None, None));
    }
    let shape = shape.into_shape()?;
    Ok((Some(filled("weight", shape, 1.0, init)?), Some(filled("bias", shape, 0.0, init)?)))
}

/// A parameter that starts at one value.
#[track_caller]
pub(super) fn filled(name: &str, shape: impl IntoShape, value: f64, init: &Init) -> Result<Param> {
    let param = Param::new(&init.constant(shape, value)?)?;
    param.set_name(name);
    Ok(param)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_follow_the_fans() {
        let init = Init::new(&Device::cpu().unwrap(), 3);
        type Make = fn(&Init) -> Result<Tensor>;
        // Weight [64, 32, 3, 3]: fan-in 288, fan-out 576.
        let rows: [(&str, Make, f64); 4] = [
            ("kaiming_uniform", |i| kaiming_uniform([64, 32, 3, 3], 5f64.sqrt(), i), (1.0 / 288f64).sqrt() / 3f64.sqrt()),
            ("kaiming_normal", |i| kaiming_normal([64, 32, 3, 3], 0.0, i), (2.0 / 288f64).sqrt()),
            ("xavier_uniform", |i| xavier_uniform([64, 32, 3, 3], 1.0, i), (2.0 / 864f64).sqrt()),
            ("xavier_normal", |i| xavier_normal([64, 32, 3, 3], 2.0, i), 2.0 * (2.0 / 864f64).sqrt()),
        ];
        for (name, make, std) in rows {
            let values = make(&init).unwrap().to_vec::<f32>().unwrap();
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let found = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
            assert!(
                mean.abs() < 0.05 * std && (found / std - 1.0).abs() < 0.03,
                "{name}: mean {mean}, std {found}, expected {std}"
            );
        }
        assert!(kaiming_uniform([3], 0.0, &init).is_err());
    }
}
