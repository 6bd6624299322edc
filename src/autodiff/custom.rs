//! Gradients that the caller defines.

use crate::error::{Error, Result};
use crate::graph::Op;
use crate::lazy::{GradientRule, Inputs, Node, Payload, VjpAt, grad_enabled};
use crate::tensor::{At, Tensor, need_float};
use std::array::from_fn;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A rule that [`Tensor::with_gradient`] was given.
struct Custom<F, const N: usize> {
    rule: F,
    at: At,
}

impl<F, const N: usize> fmt::Debug for Custom<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custom({} at {})", N, self.at)
    }
}

impl<F: Fn(&Tensor, [&Tensor; N]) -> [Tensor; N] + Send + Sync, const N: usize> GradientRule for Custom<F, N> {
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, _: VjpAt) -> Result<Vec<Option<Tensor>>> {
        let parts = (self.rule)(ct, from_fn(|i| &operands[i]));
        let mut checked = Vec::with_capacity(N);
        for (i, (part, operand)) in parts.into_iter().zip(operands).enumerate() {
            let input = operand.node()?;
            if !input.requires_grad {
                checked.push(None);
                continue;
            }
            let gradient = part.node()?;
            if gradient.shape != input.shape || gradient.dtype.arithmetic() != input.dtype.arithmetic() {
                return Err(Error::Gradient {
                    op: "with_gradient",
                    reason: format!(
                        "the rule's gradient {i} is {} {}, and input {i} is {} {}",
                        gradient.dtype, gradient.shape, input.dtype, input.shape
                    ),
                    help: "return one gradient per input, of its shape and dtype".into(),
                    at: self.at,
                });
            }
            checked.push(Some(part));
        }
        Ok(checked)
    }
}

/// # Backward passes
impl Tensor {
    /// This value with a gradient of your own, as with PyTorch's `torch.autograd.Function`. The value is detached; its
    /// derivatives with respect to `inputs` are what `rule(ct, inputs)` returns: `ct · ∂value/∂input` for each, where `ct` has
    /// the value's shape, and each result its input's shape and dtype. The result for an input that requires no gradient is
    /// ignored.
    ///
    /// With the value itself as the input, the rule is a hook on its gradient: PyTorch's `Tensor.register_hook`. What a rule
    /// computes from `ct` and its inputs can be differentiated again by [`grad`](crate::grad). Have it use the inputs that it is
    /// given: the value of a tensor that it captures stays in memory as long as this tensor lives.
    ///
    /// ```
    /// # use wgrad::{DType, Device, Tensor, grad};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[-3.0f32, 0.2, 4.0], [3], &Device::cpu()?)?.variable()?;
    ///
    /// // A threshold through which gradients pass as they are.
    /// let y = x.gt(0).cast(DType::F32).with_gradient([&x], |ct, _| [ct.clone()]);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 1.0]);
    /// assert_eq!(grad(&(y * 5), &[&x])?[0].to_vec::<f32>()?, [5.0, 5.0, 5.0]);
    ///
    /// // A hook: the gradient of x² on its way to x, clipped.
    /// let hooked = x.with_gradient([&x], |ct, _| [ct.clamp(-1.0, 1.0)]);
    /// assert_eq!(grad(&hooked.square(), &[&x])?[0].to_vec::<f32>()?, [-1.0, 0.4, 1.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn with_gradient<const N: usize>(
        &self,
        inputs: [&Self; N],
        rule: impl Fn(&Self, [&Self; N]) -> [Self; N] + Send + Sync + 'static,
    ) -> Self {
        let at = Location::caller();
        let operands: Vec<&Self> = std::iter::once(self).chain(inputs).collect();
        Self::guard("with_gradient", &operands, at, |n| {
            need_float(n[0])?;
            let value = self.detach();
            let Ok(node) = value.node() else { return Ok(value) };
            if !grad_enabled() || !n[1..].iter().any(|input| input.requires_grad) {
                return Ok(value);
            }
            let nodes: Inputs = std::iter::once(node).chain(n[1..].iter().copied()).cloned().collect();
            let rule = Payload::Gradient(Arc::new(Custom { rule, at }));
            Ok(Self::from_node(Node::new(Op::Recomputed, nodes, node.shape, node.dtype, &node.device, rule, true)))
        })
    }
}
