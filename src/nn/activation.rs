//! Activation functions as modules, for [`Sequential`](super::Sequential) models.

use super::module::Module;
use super::summary::observe;
use crate::error::Result;
use crate::fields;
use crate::tensor::Tensor;

macro_rules! activation {
    ($($(#[$doc:meta])* $name:ident => $call:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name;

        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let call: fn(&Tensor) -> Tensor = $call;
                observe(self, stringify!($name), call(x))
            }
            fields!();
        }
    )*};
}

activation! {
    /// `max(x, 0)`.
    Relu => Tensor::relu;
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid => Tensor::sigmoid;
    /// Hyperbolic tangent.
    Tanh => Tensor::tanh;
    /// `eˣ / Σ eˣ` over the last axis.
    Softmax => |x| x.softmax(-1);
}
