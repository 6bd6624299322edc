//! Activation functions and blends: elementwise compositions that the planner fuses into one kernel.
//!
//! Where a formula has pieces, the piece that is not taken is fed a harmless input, so that its gradient stays finite.

use super::{Fault, Tensor, need_float};
use crate::dtype::DType;
use std::panic::Location;

/// `√(2/π)`, of GELU's tanh form.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// SELU's constants: fixed points of the propagated mean and variance (Klambauer et al., 2017).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// # Activations
impl Tensor {
    /// `min(max(x, 0), 6)`. The gradient is 0 at 0 and at 6.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[-1.0f32, 0.5, 9.0], [3], &Device::cpu()?)?;
    /// assert_eq!(x.relu6().to_vec::<f32>()?, [0.0, 0.5, 6.0]);
    /// assert_eq!(x.leaky_relu(0.5).to_vec::<f32>()?, [-0.5, 0.5, 9.0]);
    /// assert_eq!(x.hardtanh(-0.25, 2.0).to_vec::<f32>()?, [-0.25, 0.5, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn relu6(&self) -> Self {
        self.activation("relu6", Location::caller(), || Ok(self.between(0.0, 6.0)))
    }

    /// `min(max(x, low), high)`; unlike [`Tensor::clamp`], the gradient is 0 at the bounds as well. PyTorch's default bounds
    /// are -1 and 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-3.0f32, 0.5, 3.0], [3], &device)?;
    /// assert_eq!(x.hardtanh(-1.0, 2.0).to_vec::<f32>()?, [-1.0, 0.5, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn hardtanh(&self, low: f64, high: f64) -> Self {
        self.activation("hardtanh", Location::caller(), || {
            // NaN bounds fail too.
            if low.partial_cmp(&high).is_none_or(std::cmp::Ordering::is_gt) {
                let reason = format!("the bounds {low} and {high} are not in order");
                return Err(Fault::attribute(reason, "give the lower bound first"));
            }
            Ok(self.between(low, high))
        })
    }

    /// `x` above 0, else `slope · x`. PyTorch's default slope is 0.01; the gradient at 0 is the slope.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-2.0f32, 3.0], [2], &device)?;
    /// assert_eq!(x.leaky_relu(0.25).to_vec::<f32>()?, [-0.5, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Self {
        self.activation("leaky_relu", Location::caller(), || {
            let slope = known("slope", slope)?;
            Ok(self.gt(&self.scalar_like(0.0)).where_(self, &(self * slope)))
        })
    }

    /// `x` above 0, else `alpha · (eˣ - 1)`. PyTorch's default alpha is 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 2.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.elu(1.0).to_vec::<f32>()?), "[-0.6321, 2.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Self {
        self.activation("elu", Location::caller(), || {
            let alpha = known("alpha", alpha)?;
            let positive = self.gt(&self.scalar_like(0.0));
            let below = positive.where_(&self.scalar_like(0.0), self);
            Ok(positive.where_(self, &(below.expm1() * alpha)))
        })
    }

    /// `scale · elu(x, alpha)` with the constants that keep mean and variance: alpha = 1.6733, scale = 1.0507.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.selu().to_vec::<f32>()?), "[-1.1113, 1.0507]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn selu(&self) -> Self {
        self.activation("selu", Location::caller(), || Ok(self.elu(SELU_ALPHA) * SELU_SCALE))
    }

    /// `x · Φ(x) = x/2 · (1 + erf(x/√2))`, with the normal distribution's Φ: PyTorch's default GELU. At 3.4e38 and ∞, where
    /// PyTorch's CPU kernel gives ∞ and NaN, the result is x.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0, 100.0], [3], &device)?;
    /// assert_eq!(format!("{:.4?}", x.gelu().to_vec::<f32>()?), "[-0.1587, 0.8413, 100.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn gelu(&self) -> Self {
        self.activation("gelu", Location::caller(), || Ok((self * 0.5) * ((self * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)))
    }

    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`: GELU with `approximate="tanh"` in PyTorch.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0, 100.0], [3], &device)?;
    /// assert_eq!(format!("{:.4?}", x.gelu_tanh().to_vec::<f32>()?), "[-0.1588, 0.8412, 100.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn gelu_tanh(&self) -> Self {
        self.activation("gelu_tanh", Location::caller(), || {
            // Beyond ±10 the tanh is ±1 exactly; the bound keeps x³ and the gradient finite.
            let x = self.between(-10.0, 10.0);
            let inner = (&x + x.square() * &x * 0.044_715) * SQRT_2_OVER_PI;
            Ok((self * 0.5) * (inner.tanh() + 1.0))
        })
    }

    /// `x · sigmoid(x)`, also known as swish.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.silu().to_vec::<f32>()?), "[-0.2689, 0.7311]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn silu(&self) -> Self {
        self.activation("silu", Location::caller(), || Ok(self * self.sigmoid()))
    }

    /// `x · tanh(softplus(x))`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.mish().to_vec::<f32>()?), "[-0.3034, 0.8651]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn mish(&self) -> Self {
        self.activation("mish", Location::caller(), || Ok(self * self.softplus().tanh()))
    }

    /// `relu6(x + 3) / 6`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-4.0f32, 0.0, 1.0, 3.0], [4], &device)?;
    /// assert_eq!(format!("{:.4?}", x.hardsigmoid().to_vec::<f32>()?), "[0.0000, 0.5000, 0.6667, 1.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn hardsigmoid(&self) -> Self {
        self.activation("hardsigmoid", Location::caller(), || Ok(((self + 3.0) / 6.0).between(0.0, 1.0)))
    }

    /// `x · relu6(x + 3) / 6`, divided first: large x, which overflow in PyTorch, stay finite. The gradient at 3 is 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-1.0f32, 1.0, 4.0], [3], &device)?;
    /// assert_eq!(format!("{:.4?}", x.hardswish().to_vec::<f32>()?), "[-0.3333, 0.6667, 4.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn hardswish(&self) -> Self {
        self.activation("hardswish", Location::caller(), || Ok(self * ((self + 3.0) / 6.0).between(0.0, 1.0)))
    }

    /// `ln(1 + e^(beta·x)) / beta`, and `x` itself where `beta·x` exceeds `threshold`. PyTorch's defaults are 1 and 20.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, 11.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.softplus_with(2.0, 20.0).to_vec::<f32>()?), "[0.3466, 11.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn softplus_with(&self, beta: f64, threshold: f64) -> Self {
        self.activation("softplus_with", Location::caller(), || {
            if beta == 0.0 {
                return Err(Fault::attribute("beta is 0", "use another beta"));
            }
            let (beta, threshold) = (known("beta", beta)?, known("threshold", threshold)?);
            let scaled = self * beta;
            let linear = scaled.gt(&self.scalar_like(threshold));
            let curved = linear.where_(&self.scalar_like(0.0), &scaled).softplus() / beta;
            Ok(linear.where_(self, &curved))
        })
    }

    /// `x / (1 + |x|)`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[-3.0f32, 1.0], [2], &device)?;
    /// assert_eq!(x.softsign().to_vec::<f32>()?, [-0.75, 0.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn softsign(&self) -> Self {
        self.activation("softsign", Location::caller(), || Ok(self / (self.abs() + 1.0)))
    }

    /// `ln sigmoid(x) = -softplus(-x)`, stable.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, -200.0], [2], &device)?;
    /// assert_eq!(format!("{:.4?}", x.log_sigmoid().to_vec::<f32>()?), "[-0.6931, -200.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn log_sigmoid(&self) -> Self {
        self.activation("log_sigmoid", Location::caller(), || Ok(-(-self).softplus()))
    }

    /// `self + weight · (other - self)`, broadcast; exactly `self` at weight 0 and `other` at weight 1.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[0.0f32, 10.0], [2], &device)?;
    /// let b = Tensor::from_slice(&[8.0f32, 20.0], [2], &device)?;
    /// assert_eq!(a.lerp(&b, 0.25).to_vec::<f32>()?, [2.0, 12.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn lerp(&self, other: &Self, weight: f64) -> Self {
        Self::guard("lerp", &[self, other], Location::caller(), |n| {
            need_float(n[0])?;
            let weight = known("weight", weight)?;
            if n[0].dtype != n[1].dtype {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, n[1].dtype), "cast one"));
            }
            if n[0].shape.broadcast(&n[1].shape).is_none() {
                let reason = format!("shapes {} and {} do not broadcast", n[0].shape, n[1].shape);
                return Err(Fault::shape(reason, "sizes must agree or be 1, aligned at the last axis"));
            }
            let span = other - self;
            // From the nearer end, so that both ends are exact.
            Ok(if weight < 0.5 { self + span * weight } else { other - span * (1.0 - weight) })
        })
    }

    /// `value` where the mask is true, else x. The mask is Bool and broadcasts to x's shape; no gradient flows where it is
    /// true.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &device)?;
    /// let even = (&x % 2).eq(&x.zeros_like());
    /// assert_eq!(x.masked_fill(&even, -1.0).to_vec::<f32>()?, [1.0, -1.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn masked_fill(&self, mask: &Self, value: f64) -> Self {
        Self::guard("masked_fill", &[self, mask], Location::caller(), |n| {
            if n[1].dtype != DType::Bool {
                let reason = format!("the mask is {}, not bool", n[1].dtype);
                return Err(Fault::dtype(reason, "compare it first, say with .ne(0)"));
            }
            if n[1].shape.broadcast(&n[0].shape) != Some(n[0].shape) {
                let reason = format!("the mask's shape {} does not stretch to {}", n[1].shape, n[0].shape);
                return Err(Fault::shape(reason, "its sizes must agree or be 1, aligned at the last axis"));
            }
            Ok(mask.where_(&self.scalar_like(value), self))
        })
    }

    /// A floating-point function of one operand.
    fn activation(&self, name: &'static str, at: super::At, body: impl FnOnce() -> Result<Self, Fault>) -> Self {
        Self::guard(name, &[self], at, |n| {
            need_float(n[0])?;
            body()
        })
    }

    /// `min(max(x, low), high)` with gradient 0 from the bounds on; NaN stays.
    fn between(&self, low: f64, high: f64) -> Self {
        let (low, high) = (self.scalar_like(low), self.scalar_like(high));
        self.le(&low).where_(&low, &self.ge(&high).where_(&high, self))
    }
}

/// A number that is not NaN.
fn known(name: &str, value: f64) -> Result<f64, Fault> {
    if value.is_nan() { Err(Fault::attribute(format!("{name} is NaN"), "use a number")) } else { Ok(value) }
}
