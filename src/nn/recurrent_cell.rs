//! Single steps of recurrent layers, for loops in which a step's input depends on the step before.

use super::fields::{Copier, Fields};
use super::init::Init;
use super::module::Module;
use super::recurrent::{Kind, RecurrentConfig, Steps};
use super::summary::observe;
use crate::error::Result;
use crate::tensor::Tensor;

/// Settings of an [`LstmCell`] or [`GruCell`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentCellConfig {
    /// Whether biases are added. Defaults to true.
    pub bias: bool,
}

impl Default for RecurrentCellConfig {
    fn default() -> Self {
        Self { bias: true }
    }
}

macro_rules! cell {
    ($($(#[$doc:meta])* $name:ident, $kind:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Weights, uniform in ±`1/√h`, are `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`, in PyTorch's layout `[gates · h, inputs]`.
        /// [`Module::forward`] is a step from states of 0, and gives h'.
        #[derive(Debug)]
        #[must_use = "a layer computes nothing until its step is called"]
        pub struct $name(Steps);

        impl $name {
            /// From `inputs` to `hidden` elements, with biases.
            ///
            /// # Errors
            /// No hidden elements; the device is out of memory.
            #[track_caller]
            pub fn new(inputs: usize, hidden: usize, init: &Init) -> Result<Self> {
                Self::with(inputs, hidden, RecurrentCellConfig::default(), init)
            }

            /// With its own settings.
            ///
            /// # Errors
            /// No hidden elements; the device is out of memory.
            #[track_caller]
            pub fn with(inputs: usize, hidden: usize, config: RecurrentCellConfig, init: &Init) -> Result<Self> {
                let config = RecurrentConfig { bias: config.bias, ..RecurrentConfig::default() };
                Ok(Self(Steps::new(stringify!($name), $kind, [inputs, hidden], config, init)?))
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), self.0.step(x, [None, None])?.hidden)
            }

            fn fields(&self, fields: &mut Fields) {
                self.0.list(fields);
            }

            fn copied(&self, copier: &mut Copier) -> Result<Self> {
                Ok(Self(self.0.copied(copier)?))
            }

            fn boxed_copy(&self, copier: &mut Copier) -> Result<Box<dyn Module>> {
                Ok(Box::new(Module::copied(self, copier)?))
            }
        }
    )*};
}

cell! {
    /// A step of an [`Lstm`](super::Lstm): `c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`, where i, f, g and o are the blocks of
    /// `W_ih·x + b_ih + W_hh·h + b_hh`.
    ///
    /// ```
    /// # use wgrad::nn::{Init, LstmCell};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let cell = LstmCell::new(3, 4, &Init::new(&device, 0))?;
    /// let x = Tensor::ones([2, 3], &device)?;
    /// let (mut h, mut c) = cell.step(&x, None)?;
    /// for _ in 1..5 {
    ///     (h, c) = cell.step(&x, Some((&h, &c)))?;
    /// }
    /// assert_eq!((h.shape()?.to_vec(), c.shape()?.to_vec()), (vec![2, 4], vec![2, 4]));
    /// # Ok(()) }
    /// ```
    LstmCell, Kind::Lstm;
    /// A step of a [`Gru`](super::Gru): `n = tanh(W_in·x + b_in + r·(W_hn·h + b_hn))`, `h' = (1 - z)·n + z·h`.
    ///
    /// ```
    /// # use wgrad::nn::{GruCell, Init};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let cell = GruCell::new(3, 4, &Init::new(&device, 0))?;
    /// let x = Tensor::ones([2, 3], &device)?;
    /// let h = cell.step(&x, None)?;
    /// assert_eq!(cell.step(&x, Some(&h))?.shape()?.to_vec(), [2, 4]);
    /// # Ok(()) }
    /// ```
    GruCell, Kind::Gru;
}

impl LstmCell {
    /// h' and c', `[n, h]`, of inputs `[n, inputs]` and of h and c, which default to 0.
    ///
    /// # Errors
    /// An input or a state that does not fit.
    #[track_caller]
    pub fn step(&self, x: &Tensor, states: Option<(&Tensor, &Tensor)>) -> Result<(Tensor, Tensor)> {
        let (hidden, cell) = states.unzip();
        let next = self.0.step(x, [hidden, cell])?;
        let cell = next.cell.unwrap_or_else(|| next.hidden.clone());
        Ok((next.hidden, cell))
    }
}

impl GruCell {
    /// h', `[n, h]`, of inputs `[n, inputs]` and of h, which defaults to 0.
    ///
    /// # Errors
    /// An input or a state that does not fit.
    #[track_caller]
    pub fn step(&self, x: &Tensor, hidden: Option<&Tensor>) -> Result<Tensor> {
        Ok(self.0.step(x, [hidden, None])?.hidden)
    }
}
