//! Dropout.

use super::fields::Mode;
use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::rng::Generator;
use crate::tensor::Tensor;

/// In training, sets each element to 0 with probability `p` and divides the rest by `1 - p`; in evaluation, passes them on.
///
/// Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
#[derive(Debug)]
pub struct Dropout {
    p: f64,
    mode: Mode,
    generator: Generator,
}

impl Dropout {
    /// A layer that drops with probability `p` in `0..=1`, by the generator of `init`.
    ///
    /// # Errors
    /// `p` is outside that range.
    pub fn new(p: f64, init: &Init) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument(
                "Dropout::new",
                format!("a probability of {p} was given"),
                "use one in 0..=1, such as 0.5",
            ));
        }
        Ok(Self { p, mode: Mode::default(), generator: init.generator.clone() })
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = if self.mode.is_training() && self.p > 0.0 { x.dropout(self.p, &self.generator) } else { x.clone() };
        observe(self, "Dropout", y)
    }
    fields!(mode; skip p, generator);
}
