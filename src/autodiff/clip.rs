//! Gradients as a whole: their norm, clipping, and the test for values that are not finite. All of this is lazy, and happens on
//! the device.

use super::gradients::{Clip, Gradients};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::tensor::Tensor;
use std::panic::Location;

/// Gradients of at most this many elements are reduced together.
const SMALL: usize = 4096;
/// The most buffers that a kernel reads.
const TOGETHER: usize = 7;

/// A scalar tensor that a call measures along the way: read it, or ignore it. It is computed when it is read.
#[derive(Debug, Clone)]
pub struct Measured(Tensor);

impl std::ops::Deref for Measured {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl From<Measured> for Tensor {
    fn from(measured: Measured) -> Self {
        measured.0
    }
}

impl Gradients {
    /// The gradients in an order that does not vary, so that sums and plans do not either.
    fn ordered(&self) -> Vec<Tensor> {
        let mut entries: Vec<_> = self.by_key.iter().collect();
        entries.sort_by_key(|e| *e.0);
        entries.into_iter().map(|e| self.clipped(e.1)).collect()
    }

    /// The gradients, small ones joined: as many as one kernel reads.
    fn joined(&self) -> Vec<Tensor> {
        let (mut large, mut small) = (Vec::new(), Vec::new());
        for gradient in self.ordered() {
            match gradient.shape().map(|s| s.numel()) {
                Ok(n) if n <= SMALL && gradient.dtype().ok() == Some(DType::F32) => small.push(gradient.reshape([n])),
                _ => large.push(gradient),
            }
        }
        large.extend(small.chunks(TOGETHER).map(|chunk| Tensor::cat(&chunk.iter().collect::<Vec<_>>(), 0)));
        large
    }

    /// One number for each of the gradients, or for several together, folded into one.
    #[track_caller]
    fn fold(
        &self,
        what: &'static str,
        number: impl Fn(&Tensor) -> Tensor,
        join: impl Fn(Tensor, Tensor) -> Tensor,
    ) -> Result<Tensor> {
        let Some(folded) = self.joined().into_iter().map(|g| number(&g)).reduce(join) else {
            return Err(Error::argument(what, "there are no gradients", "make the loss depend on a parameter"));
        };
        Ok(folded)
    }

    /// The norm of all gradients as one vector, `√(Σ g²)`: a scalar, without waiting for the device. f64 if a gradient is f64. No
    /// square overflows or vanishes: gradients of 1e-30 and 1e30 have a norm, too.
    ///
    /// # Errors
    /// There are no gradients.
    #[track_caller]
    pub fn global_norm(&self) -> Result<Tensor> {
        let wide = self.by_key.values().any(|g| g.dtype().ok() == Some(DType::F64));
        let dtype = if wide { DType::F64 } else { DType::F32 };
        let at = Location::caller();
        let norm = no_grad(|| {
            // In units of the largest magnitude: squares of gradients of 1e20 and more overflow in f32, those below 1e-19 vanish.
            let largest = |g: &Tensor| match g.shape() {
                Ok(shape) if shape.numel() == 0 => g.sum().cast(dtype),
                _ => g.abs().max().cast(dtype),
            };
            let unit = self.fold("global_norm", largest, |a, b| a.maximum(&b))?.as_unit();
            let squares = |g: &Tensor| (g / unit.cast(g.dtype().unwrap_or(dtype))).square().sum().cast(dtype);
            Ok(self.fold("global_norm", squares, |a, b| a + b)?.sqrt() * &unit)
        });
        norm.map_err(|error: Error| error.seen_from(at))
    }

    /// Limits every element to `-limit..=limit`; NaN stays.
    ///
    /// Source: [PyTorch](https://pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html).
    ///
    /// # Errors
    /// A limit that is not above 0.
    #[track_caller]
    pub fn clip_by_value(&mut self, limit: f64) -> Result<()> {
        positive("clip_by_value", "limit", limit)?;
        no_grad(|| self.map(|g| g.clamp(-limit, limit)));
        Ok(())
    }

    /// Scales all gradients by `min(1, limit / (norm + 1e-6))`, where `norm` is [`Gradients::global_norm`], and returns the norm
    /// before. The device computes it in the step's submission; reading the norm is up to the caller. On a GPU, an optimizer of
    /// exactly these gradients' parameters takes two launches for it, however many parameters there are; a norm that is kept
    /// costs a few launches per parameter.
    ///
    /// A norm that is not finite gives gradients that are 0 or NaN, as in PyTorch: see [`Gradients::skip_non_finite`].
    ///
    /// Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013;
    /// [PyTorch](https://pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html).
    ///
    /// ```
    /// # use wgrad::{Device, Param, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let w = Param::new(&Tensor::from_slice(&[3.0f32, 4.0], [2], &Device::cpu()?)?)?;
    /// let mut gradients = (w.tensor().square() * 0.5).sum().backward()?;
    /// let norm = gradients.clip_by_norm(1.0)?;
    /// assert!((norm.item()? - 5.0).abs() < 1e-5);
    /// assert!((gradients.get(&w)?.to_vec::<f32>()?[0] - 0.6).abs() < 1e-5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There are no gradients; a limit that is not above 0.
    #[track_caller]
    pub fn clip_by_norm(&mut self, limit: f64) -> Result<Measured> {
        positive("clip_by_norm", "limit", limit)?;
        let norm = self.global_norm()?;
        self.apply_clip();
        let factor = no_grad(|| (limit / (&norm + 1e-6)).minimum(&norm.full_like(1.0)));
        self.clip = Some(Clip { limit, factor });
        Ok(Measured(norm))
    }

    /// Multiplies all gradients by a scalar tensor.
    pub(crate) fn scale(&mut self, factor: &Tensor) {
        self.map(|g| g * &factor.cast(g.dtype().unwrap_or(DType::F32)));
    }

    /// Has the optimizer skip this step if a gradient contains a NaN or an infinity, and returns the test's outcome: an f32
    /// scalar, 1 if all are finite, else 0. The test is by bits, on the device, and nothing waits for it.
    ///
    /// A skipped step changes no parameter and no state, and does not count: bias corrections and checkpoints continue from the
    /// steps that were taken. Test before clipping by norm, which may turn an infinity into 0.
    ///
    /// # Errors
    /// There are no gradients.
    #[track_caller]
    pub fn skip_non_finite(&mut self) -> Result<Measured> {
        let at = Location::caller();
        let finite = no_grad(|| self.fold("skip_non_finite", |g| g.is_finite().cast(DType::F32).min(), |a, b| a * b))
            .map_err(|error| error.seen_from(at))?;
        self.gate = Some(match self.gate.take() {
            Some(gate) => gate * &finite,
            None => finite.clone(),
        });
        Ok(Measured(finite))
    }

    /// The scalar that decides whether the step is taken.
    pub(crate) fn gate(&self) -> Option<&Tensor> {
        self.gate.as_ref()
    }
}

#[track_caller]
fn positive(op: &'static str, name: &str, value: f64) -> Result<()> {
    if value > 0.0 {
        return Ok(());
    }
    Err(Error::argument(op, format!("{name} is {value}"), "use a value above 0"))
}
