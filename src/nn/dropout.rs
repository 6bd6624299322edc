//! Dropout of elements, of channels and of whole examples.

use super::init::Init;
use super::mode::Mode;
use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result, counted};
use crate::fields;
use crate::rng::Generator;
use crate::tensor::Tensor;

/// Refuses what is not a probability.
#[track_caller]
pub(super) fn probability(what: &str, p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        return Ok(p);
    }
    Err(Error::argument(what, format!("a probability of {p} was given"), "use one in 0..=1, such as 0.5"))
}

/// One row per layer: how many leading axes have a draw of their own (`None`: all), and the input's rank (0: any).
macro_rules! dropout {
    ($($(#[$doc:meta])* $name:ident, $axes:expr, $rank:literal, $layout:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            p: f64,
            mode: Mode,
            generator: Generator,
        }

        impl $name {
            /// A layer that drops with probability `p` in `0..=1`, using the generator of `init`.
            ///
            /// # Errors
            /// `p` is outside that range.
            #[track_caller]
            pub fn new(p: f64, init: &Init) -> Result<Self> {
                let p = probability(concat!(stringify!($name), "::new"), p)?;
                Ok(Self { p, mode: Mode::default(), generator: init.generator.clone() })
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let rank = x.shape()?.rank();
                if $rank > 0 && rank != $rank {
                    let reason = format!("the input {} has {}, not {}", x.shape()?, counted(rank, "axis"), $rank);
                    return Err(Error::argument(stringify!($name), reason, concat!("give ", $layout)));
                }
                let active = self.mode.is_training() && self.p > 0.0;
                observe(self, stringify!($name), if active { drop(x, $axes, self.p, &self.generator)? } else { x.clone() })
            }
            fields!(mode; skip p, generator);
        }
    )*};
}

dropout! {
    /// In training, sets each element to 0 with probability `p` and divides the rest by `1 - p`; in evaluation, passes its input
    /// on.
    ///
    /// Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    Dropout, None, 0, "any shape";
    /// [`Dropout`] of whole channels of `[n, c, l]`.
    ///
    /// Source: J. Tompson et al., "Efficient object localization using convolutional networks", 2015.
    Dropout1d, Some(2), 3, "[n, c, l]";
    /// [`Dropout`] of whole channels of `[n, c, h, w]`.
    ///
    /// Source: J. Tompson et al., "Efficient object localization using convolutional networks", 2015.
    Dropout2d, Some(2), 4, "[n, c, h, w]";
    /// [`Dropout`] of whole channels of `[n, c, d, h, w]`.
    ///
    /// Source: J. Tompson et al., "Efficient object localization using convolutional networks", 2015.
    Dropout3d, Some(2), 5, "[n, c, d, h, w]";
    /// Stochastic depth: [`Dropout`] of whole examples of `[n, ..]`, for the branch of a residual block.
    ///
    /// Source: G. Huang et al., "Deep networks with stochastic depth", 2016.
    DropPath, Some(1), 0, "[n, ..]";
}

impl Dropout {
    /// For an op that drops by itself: a probability and the generator while the layer trains.
    pub(super) fn active(&self, p: f64) -> Option<(f64, Generator)> {
        (self.mode.is_training() && p > 0.0).then(|| (p, self.generator.clone()))
    }
}

/// Drops elements that share the first `axes` coordinates together.
fn drop(x: &Tensor, axes: Option<usize>, p: f64, generator: &Generator) -> Result<Tensor> {
    let Some(axes) = axes else { return Ok(x.dropout(p, generator)) };
    let shape = x.shape()?;
    let dims: Vec<usize> = shape.iter().enumerate().map(|(d, &len)| if d < axes { len } else { 1 }).collect();
    let mask = Tensor::ones(dims, &x.device()?)?.cast(x.dtype()?).dropout(p, generator);
    Ok(x * mask)
}
