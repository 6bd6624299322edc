//! Activation functions as modules, for [`Sequential`](super::Sequential) models, under PyTorch's names and defaults.

use super::init::{Init, filled};
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;

/// One row per activation: its settings with their defaults, and what it computes.
macro_rules! activation {
    ($(
        $(#[$doc:meta])*
        $name:ident $({ $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),+ })? => |$x:ident| $call:expr;
    )*) => {$(
        activation!(@type $(#[$doc])* $name $({ $($(#[$field_doc])* $field: $type = $default),+ })?);

        impl Module for $name {
            #[track_caller]
            fn forward(&self, $x: &Tensor) -> Result<Tensor> {
                $(let Self { $($field),+ } = *self;)?
                observe(self, stringify!($name), $call)
            }
            fields!($(; skip $($field),+)?);
        }
    )*};
    (@type $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type),+
        }

        impl $name {
            /// With these settings; `default()` has the usual ones.
            pub fn new($($field: $type),+) -> Self {
                Self { $($field),+ }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
    (@type $(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name;
    };
}

activation! {
    /// `x`.
    Identity => |x| x.clone();
    /// `max(x, 0)`.
    Relu => |x| x.relu();
    /// `min(max(x, 0), 6)`.
    Relu6 => |x| x.relu6();
    /// `x` above 0, else `negative_slope · x`.
    LeakyRelu {
        /// Defaults to 0.01.
        negative_slope: f64 = 0.01
    } => |x| x.leaky_relu(negative_slope);
    /// `x` above 0, else `alpha · (eˣ - 1)`.
    Elu {
        /// Defaults to 1.
        alpha: f64 = 1.0
    } => |x| x.elu(alpha);
    /// `x` above 0, else `alpha · (e^(x/alpha) - 1)`.
    Celu {
        /// Defaults to 1.
        alpha: f64 = 1.0
    } => |x| celu(x, alpha)?;
    /// `scale · elu(x, alpha)` with the constants that keep mean and variance.
    Selu => |x| x.selu();
    /// `x · Φ(x)`, exactly.
    Gelu => |x| x.gelu();
    /// GELU approximated by a hyperbolic tangent: PyTorch's `GELU(approximate="tanh")`, GPT-2's `gelu_new`.
    GeluTanh => |x| x.gelu_tanh();
    /// `x · sigmoid(x)`.
    Silu => |x| x.silu();
    /// `x · tanh(softplus(x))`.
    Mish => |x| x.mish();
    /// `relu6(x + 3) / 6`.
    Hardsigmoid => |x| x.hardsigmoid();
    /// `x · relu6(x + 3) / 6`.
    Hardswish => |x| x.hardswish();
    /// `min(max(x, min_val), max_val)`.
    Hardtanh {
        /// Defaults to -1.
        min_val: f64 = -1.0,
        /// Defaults to 1.
        max_val: f64 = 1.0
    } => |x| x.hardtanh(min_val, max_val);
    /// `x` where `|x| > lambda`, else 0.
    Hardshrink {
        /// Defaults to 0.5.
        lambda: f64 = 0.5
    } => |x| x.abs().gt(&x.full_like(lambda)).where_(x, &x.zeros_like());
    /// `x - lambda` above `lambda`, `x + lambda` below `-lambda`, else 0.
    Softshrink {
        /// At least 0. Defaults to 0.5.
        lambda: f64 = 0.5
    } => |x| softshrink(x, lambda)?;
    /// `x - tanh(x)`.
    Tanhshrink => |x| x - x.tanh();
    /// `ln(1 + e^(beta·x)) / beta`, and `x` itself where `beta·x` exceeds `threshold`.
    Softplus {
        /// Defaults to 1.
        beta: f64 = 1.0,
        /// Defaults to 20.
        threshold: f64 = 20.0
    } => |x| x.softplus_with(beta, threshold);
    /// `x / (1 + |x|)`.
    Softsign => |x| x.softsign();
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid => |x| x.sigmoid();
    /// `ln sigmoid(x)`.
    LogSigmoid => |x| x.log_sigmoid();
    /// Hyperbolic tangent.
    Tanh => |x| x.tanh();
    /// `x` where `x > threshold`, else `value`.
    Threshold {
        /// The bound; PyTorch has no default, here it is 0.
        threshold: f64 = 0.0,
        /// What replaces smaller values; PyTorch has no default, here it is 0.
        value: f64 = 0.0
    } => |x| x.gt(&x.full_like(threshold)).where_(x, &x.full_like(value));
    /// `a · sigmoid(b)`, where a and b are the halves of `x` along `dim`.
    Glu {
        /// The axis. Defaults to the last.
        dim: isize = -1
    } => |x| glu(x, dim)?;
    /// `eˣ / Σ eˣ` along `dim`.
    Softmax {
        /// The axis. Defaults to the last.
        dim: isize = -1
    } => |x| x.softmax(dim);
    /// `ln softmax(x)` along `dim`.
    LogSoftmax {
        /// The axis. Defaults to the last.
        dim: isize = -1
    } => |x| x.log_softmax(dim);
    /// `softmax(-x)` along `dim`.
    Softmin {
        /// The axis. Defaults to the last.
        dim: isize = -1
    } => |x| (-x).softmax(dim);
}

#[track_caller]
fn celu(x: &Tensor, alpha: f64) -> Result<Tensor> {
    if alpha == 0.0 || !alpha.is_finite() {
        return Err(Error::argument("Celu", format!("alpha is {alpha}"), "use a finite alpha other than 0, such as 1"));
    }
    let positive = x.gt(&x.zeros_like());
    // The branch that is not taken gets a harmless input, so that its gradient stays finite.
    let below = positive.where_(&x.zeros_like(), x);
    Ok(positive.where_(x, &((below / alpha).expm1() * alpha)))
}

#[track_caller]
fn softshrink(x: &Tensor, lambda: f64) -> Result<Tensor> {
    if lambda.is_nan() || lambda < 0.0 {
        return Err(Error::argument("Softshrink", format!("lambda is {lambda}"), "use one of at least 0, such as 0.5"));
    }
    Ok(x - x.clamp(-lambda, lambda))
}

#[track_caller]
fn glu(x: &Tensor, dim: isize) -> Result<Tensor> {
    let len = x.dim(dim)?;
    if !len.is_multiple_of(2) {
        let reason = format!("axis {dim} of {} has an odd length, {len}", x.shape()?);
        return Err(Error::argument("Glu", reason, "give an even length, half values and half gates"));
    }
    let half = (len / 2) as isize;
    Ok(x.slice(dim, 0, half) * x.slice(dim, half, 2 * half).sigmoid())
}

/// Settings of a [`PRelu`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PReluConfig {
    /// One slope for all, or one per channel. Defaults to 1.
    pub num_parameters: usize,
    /// Where the slopes start. Defaults to 0.25.
    pub slope: f64,
}

impl Default for PReluConfig {
    fn default() -> Self {
        Self { num_parameters: 1, slope: 0.25 }
    }
}

/// `x` above 0, else `weight · x` with a learned slope, one for all or one per channel of `[n, c, ..]`.
///
/// Source: K. He et al., "Delving deep into rectifiers", 2015.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct PRelu {
    /// `[1]` or `[c]`.
    pub weight: Param,
}

impl PRelu {
    /// A layer with one slope, 0.25.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn new(init: &Init) -> Result<Self> {
        Self::with(PReluConfig::default(), init)
    }

    /// A layer with its own settings.
    ///
    /// # Errors
    /// The device is out of memory.
    #[track_caller]
    pub fn with(config: PReluConfig, init: &Init) -> Result<Self> {
        Ok(Self { weight: filled("weight", config.num_parameters, config.slope, init)? })
    }
}

impl Module for PRelu {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (shape, slopes) = (x.shape()?, self.weight.shape().numel());
        let channels = if shape.rank() > 1 { shape[1] } else { 1 };
        if slopes != 1 && slopes != channels {
            let reason = format!("the input {shape} has {}, and the layer has {slopes} slopes", counted(channels, "channel"));
            return Err(Error::argument("PRelu", reason, "make the layer with one slope, or one per channel"));
        }
        let mut dims = vec![1; shape.rank()];
        if slopes > 1 {
            dims[1] = slopes;
        }
        let slope = if shape.rank() == 0 { self.weight.tensor().reshape(()) } else { self.weight.tensor().reshape(dims) };
        observe(self, "PRelu", x.gt(&x.zeros_like()).where_(x, &(x * slope)))
    }
    fields!(weight);
}
