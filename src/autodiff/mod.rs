//! Reverse-mode differentiation: a graph-to-graph transform.
//!
//! Gradients are tensors built of the same ops as the forward pass, so they are fused, planned and cached like anything
//! else, and can be differentiated again. Every rule uses the incoming gradient.

mod clip;
mod custom;
mod gradients;
mod pair;
mod propagate;
mod row_norm;
mod rules;

pub use clip::Measured;
pub use gradients::{Differentiable, Gradients};

use crate::error::{Error, Result};
use crate::lazy::{Node, anomaly, no_grad, with_grad_mode};
use crate::tensor::Tensor;
use gradients::key;
use propagate::propagate;
use std::panic::Location;

/// # Backward passes
impl Tensor {
    /// The gradients of this scalar with respect to every parameter and variable it depends on. Lazy: nothing runs yet.
    ///
    /// ```
    /// # use wgrad::{Device, Param, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let w = Param::new(&Tensor::from_slice(&[3.0f32, -1.0], [2], &device)?)?;
    /// let loss = w.tensor().square().sum();
    /// assert_eq!(loss.backward()?.get(&w)?.to_vec::<f32>()?, [6.0, -2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; more than one element; no parameter or variable upstream.
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        let node = self.node()?;
        if node.shape.numel() != 1 {
            return Err(Error::Gradient {
                op: "backward",
                reason: format!("the tensor has shape {}, and a loss has one element", node.shape),
                help: "reduce it, say with .mean(), or give a cotangent with backward_with".into(),
                at: Location::caller(),
            });
        }
        self.backward_with(&self.ones_like())
    }

    /// The gradients of `Σ self · cotangent`.
    ///
    /// # Errors
    /// As [`Tensor::backward`]; a cotangent of another shape.
    #[track_caller]
    pub fn backward_with(&self, cotangent: &Self) -> Result<Gradients> {
        let node = self.node()?;
        if !node.requires_grad {
            return Err(Error::Gradient {
                op: "backward",
                reason: "the tensor depends on no trainable parameter or variable".into(),
                help: "build it outside no_grad, from a Param that is not frozen or a tensor marked with variable()".into(),
                at: Location::caller(),
            });
        }
        let at = Location::caller();
        let _call = anomaly::backward(at);
        let found = no_grad(|| propagate(self, cotangent, &[])).map_err(|error| error.seen_from(at))?;
        let gradients = Gradients::together(found.by_source());
        anomaly::went_backward(node, gradients.of_cells());
        Ok(gradients)
    }
}

/// The derivatives of `Σ output` with respect to `wrt`, as differentiable tensors: differentiate them again for second
/// derivatives. Zero where the output does not depend on a tensor. `wrt` are parameters, or tensors: variables, parameters'
/// values, or what an op made of those.
///
/// ```
/// # use wgrad::{Device, Tensor, grad};
/// # fn main() -> wgrad::Result<()> {
/// let x = Tensor::from_slice(&[2.0f32], [1], &Device::cpu()?)?.variable()?;
/// let first = grad(&x.powf(3.0), &[&x])?.remove(0);
/// let second = grad(&first, &[&x])?.remove(0);
/// assert_eq!((first.item()?, second.item()?), (12.0, 12.0));
/// # Ok(()) }
/// ```
///
/// The product of a loss's Hessian H with a vector v, over a model's parameters:
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module};
/// # use wgrad::{Device, Generator, Tensor, grad};
/// # fn main() -> wgrad::Result<()> {
/// # let (device, generator) = (Device::cpu()?, Generator::new(0));
/// let model = Linear::new(3, 1, &Init::new(&device, 0))?;
/// let loss = model.forward(&Tensor::randn([8, 3], &generator, &device)?)?.square().sum();
/// let parameters = model.parameters()?;
/// let first = grad(&loss, &parameters)?;
/// let v = first.iter().map(|g| g.ones_like()).collect::<Vec<_>>();
/// let slope: Tensor = first.iter().zip(&v).map(|(g, v)| (g * v).sum()).sum();
/// let hv = grad(&slope, &parameters)?; // one tensor per parameter
/// assert_eq!(hv[0].shape()?, [1, 3]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The error that a tensor carries; one of `wrt` that requires no gradient.
#[track_caller]
pub fn grad<'a, D: Differentiable + 'a>(output: &Tensor, wrt: impl IntoIterator<Item = &'a D>) -> Result<Vec<Tensor>> {
    let at = Location::caller();
    let _call = anomaly::backward(at);
    let mut targets = Vec::new();
    for (i, of) in wrt.into_iter().enumerate() {
        let tensor = of.value();
        if !tensor.node()?.requires_grad {
            return Err(Error::Gradient {
                op: "grad",
                reason: format!("{} requires no gradient: {}", of.title(i)?, of.flaw()),
                help: "mark a tensor with variable(), or unfreeze the parameter, before the output is built from it".into(),
                at,
            });
        }
        targets.push(tensor);
    }
    with_grad_mode(true, || {
        let found = propagate(output, &output.ones_like(), &[])?;
        let sources = found.by_source();
        let of = |node: &Node| if node.op.is_source() { sources.get(&key(node)) } else { found.cotangents.get(&node.id) };
        targets.iter().map(|t| Ok(of(t.node()?).cloned().unwrap_or_else(|| t.zeros_like()))).collect::<Result<_>>()
    })
    .map_err(|error| error.seen_from(at))
}
