//! Reverse-mode differentiation: a graph to graph transform.
//!
//! Gradients are tensors built of the same ops as the forward pass, so they are fused, planned and cached like anything
//! else, and can be differentiated again. Every rule uses the incoming gradient.

mod clip;
pub(crate) mod rules;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::lazy::{Node, Payload, no_grad, with_grad_mode};
use crate::param::Param;
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a gradient belongs to: a parameter whatever its version, or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Cell(u64),
    Node(u64),
}

impl Clip {
    fn of(&self, gradient: &Tensor) -> Tensor {
        gradient * &self.factor.cast(gradient.dtype().unwrap_or(DType::F32))
    }
}

/// Why a plain tensor has no gradient.
const NO_VARIABLE: &str = "it is not a variable; x.variable() leaves x as it is and returns the tensor to use in its place, in the \
                           loss and here";

/// Something that [`Gradients::get`] can look up: a [`Param`] or a variable [`Tensor`].
pub trait Differentiable {
    #[doc(hidden)]
    fn lookup(&self, gradients: &Gradients) -> Result<Tensor>;
}

impl Differentiable for Param {
    fn lookup(&self, gradients: &Gradients) -> Result<Tensor> {
        let why = if self.is_trainable() { "the loss does not depend on it" } else { "it is frozen" };
        gradients.find(Key::Cell(self.id()), || format!("parameter {} has no gradient: {why}", self.name()))
    }
}

impl Differentiable for Tensor {
    fn lookup(&self, gradients: &Gradients) -> Result<Tensor> {
        let node = self.node()?;
        gradients.find(key(node), || {
            let why = match (node.requires_grad, node.op.is_source()) {
                (true, true) => "the loss does not depend on it",
                (true, false) => "it is the result of an op; ask wgrad::grad for the derivative by it",
                (false, _) => NO_VARIABLE,
            };
            format!("the tensor of shape {} has no gradient: {why}", node.shape)
        })
    }
}

/// The gradients of one loss: lazy tensors by parameter or variable.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    by_key: HashMap<Key, Tensor>,
    /// f32, 0 if the optimizer's step is to be skipped.
    gate: Option<Tensor>,
    /// Clipping by the norm of all, which an optimizer may do itself, and every other reader does.
    clip: Option<Clip>,
}

#[derive(Debug, Clone)]
struct Clip {
    limit: f64,
    /// What every gradient is to be multiplied with.
    factor: Tensor,
}

impl Gradients {
    /// The gradient with respect to a parameter or variable, lazily.
    ///
    /// # Errors
    /// None flows there.
    pub fn get(&self, of: &impl Differentiable) -> Result<Tensor> {
        of.lookup(self)
    }

    /// Adds another loss's gradients, to accumulate over several batches.
    pub fn accumulate(&mut self, other: &Self) {
        self.apply_clip();
        for (key, gradient) in &other.by_key {
            let gradient = &other.clipped(gradient);
            self.by_key.entry(*key).and_modify(|g| *g = &*g + gradient).or_insert_with(|| gradient.clone());
        }
        self.gate = match (self.gate.take(), &other.gate) {
            (Some(a), Some(b)) => Some(&a * b),
            (a, b) => a.or_else(|| b.clone()),
        };
    }

    /// Applies a function to every gradient.
    pub fn map(&mut self, f: impl Fn(&Tensor) -> Tensor) {
        self.apply_clip();
        for gradient in self.by_key.values_mut() {
            *gradient = f(gradient);
        }
    }

    /// Multiplies every gradient by the factor that waits.
    fn apply_clip(&mut self) {
        if let Some(clip) = self.clip.take() {
            no_grad(|| self.by_key.values_mut().for_each(|g| *g = clip.of(g)));
        }
    }

    /// A gradient as its readers see it.
    fn clipped(&self, gradient: &Tensor) -> Tensor {
        self.clip.as_ref().map_or_else(|| gradient.clone(), |clip| no_grad(|| clip.of(gradient)))
    }

    /// Computes all gradients now.
    ///
    /// # Errors
    /// Whatever evaluation reports.
    pub fn eval(&self) -> Result<()> {
        let factor = self.clip.iter().map(|clip| &clip.factor);
        Tensor::eval_all(&self.by_key.values().chain(&self.gate).chain(factor).collect::<Vec<_>>())
    }

    /// The gradient of a cell, if there is one.
    pub(crate) fn of_cell(&self, id: u64) -> Option<Tensor> {
        self.by_key.get(&Key::Cell(id)).map(|g| self.clipped(g))
    }

    /// The gradient of a cell before clipping, for an optimizer that clips by [`Gradients::limit_of`].
    pub(crate) fn unclipped(&self, id: u64) -> Option<Tensor> {
        self.by_key.get(&Key::Cell(id)).cloned()
    }

    /// The limit of the norm that is still to be clipped by, if these cells are all that have a gradient.
    pub(crate) fn limit_of(&self, mut cells: impl ExactSizeIterator<Item = u64>) -> Option<f64> {
        let all = cells.len() == self.by_key.len() && cells.all(|id| self.by_key.contains_key(&Key::Cell(id)));
        self.clip.as_ref().filter(|_| all).map(|clip| clip.limit)
    }

    fn find(&self, key: Key, reason: impl FnOnce() -> String) -> Result<Tensor> {
        self.by_key.get(&key).map(|g| self.clipped(g)).ok_or_else(|| Error::Gradient {
            op: "get",
            reason: reason(),
            help: "make the loss depend on it, unfreeze it, or mark a tensor with variable()".into(),
        })
    }
}

fn key(node: &Node) -> Key {
    match (&node.op, &node.payload) {
        (Op::Cell, Payload::Cell(cell, _)) => Key::Cell(cell.id),
        _ => Key::Node(node.id),
    }
}

impl Tensor {
    /// The gradients of this scalar with respect to every parameter and variable it depends on. Lazy: nothing runs yet.
    ///
    /// ```
    /// # use wgrad::{Device, Param, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let w = Param::new(&Tensor::from_slice(&[3.0f32, -1.0], [2], &device)?)?;
    /// let loss = w.tensor().square().sum((), false);
    /// assert_eq!(loss.backward()?.get(&w)?.to_vec::<f32>()?, [6.0, -2.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The error that the tensor carries; more than one element; no parameter or variable upstream.
    pub fn backward(&self) -> Result<Gradients> {
        let node = self.node()?;
        if node.shape.numel() != 1 {
            return Err(Error::Gradient {
                op: "backward",
                reason: format!("the tensor has shape {}, and a loss has one element", node.shape),
                help: "reduce it, say with .mean((), false), or give a cotangent with backward_with".into(),
            });
        }
        self.backward_with(&self.ones_like())
    }

    /// The gradients of `Σ self · cotangent`.
    ///
    /// # Errors
    /// As [`Tensor::backward`]; a cotangent of another shape.
    pub fn backward_with(&self, cotangent: &Self) -> Result<Gradients> {
        let node = self.node()?;
        if !node.requires_grad {
            return Err(Error::Gradient {
                op: "backward",
                reason: "the tensor depends on no trainable parameter or variable".into(),
                help: "build it outside no_grad, from a Param that is not frozen or a tensor marked with variable()".into(),
            });
        }
        let found = no_grad(|| propagate(self, cotangent, &[]))?;
        Ok(Gradients { by_key: found.by_source(), ..Gradients::default() })
    }
}

/// The derivatives of `Σ output` with respect to `wrt`, as differentiable tensors: differentiate them again for second
/// derivatives. Zero where the output does not depend on a tensor. Each tensor is a variable, a parameter's, or what an op
/// made of those.
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
/// # Errors
/// The error that a tensor carries; a tensor of `wrt` that requires no gradient.
pub fn grad(output: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Tensor>> {
    for (i, t) in wrt.iter().enumerate() {
        let node = t.node()?;
        if !node.requires_grad {
            return Err(Error::Gradient {
                op: "grad",
                reason: format!("tensor {i} of `wrt`, of shape {}, requires no gradient: {NO_VARIABLE}", node.shape),
                help: "mark a tensor with variable(), or unfreeze the parameter, before the output is built from it".into(),
            });
        }
    }
    with_grad_mode(true, || {
        let found = propagate(output, &output.ones_like(), &[])?;
        let sources = found.by_source();
        let of = |node: &Node| if node.op.is_source() { sources.get(&key(node)) } else { found.cotangents.get(&node.id) };
        wrt.iter().map(|t| Ok(of(t.node()?).cloned().unwrap_or_else(|| t.zeros_like()))).collect()
    })
}

/// `cotangent · ∂output/∂w` for each w of `wrt`; `None` where none flows. What lies above those is not looked at.
pub(crate) fn vjp_at(output: &Tensor, cotangent: &Tensor, wrt: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
    let ids = wrt.iter().map(|t| Ok(t.node()?.id)).collect::<Result<Vec<_>>>()?;
    let found = propagate(output, cotangent, &ids)?;
    Ok(ids.iter().map(|id| found.cotangents.get(id).cloned()).collect())
}

struct Propagated {
    /// Differentiable nodes, users before operands.
    order: Vec<Arc<Node>>,
    cotangents: HashMap<u64, Tensor>,
}

impl Propagated {
    /// The cotangents of variables and parameters; those of one parameter's reads add up.
    fn by_source(&self) -> HashMap<Key, Tensor> {
        let mut by_key: HashMap<Key, Tensor> = HashMap::new();
        for node in self.order.iter().filter(|n| n.op.is_source()) {
            if let Some(ct) = self.cotangents.get(&node.id) {
                by_key.entry(key(node)).and_modify(|sum| *sum = &*sum + ct).or_insert_with(|| ct.clone());
            }
        }
        by_key
    }
}

/// Cotangents of all differentiable nodes from `output` up to and with the nodes `ends` (by id), or the sources.
fn propagate(output: &Tensor, cotangent: &Tensor, ends: &[u64]) -> Result<Propagated> {
    let root = output.node()?;
    if cotangent.shape()? != root.shape || cotangent.dtype()?.arithmetic() != root.dtype.arithmetic() {
        let reason = format!(
            "the cotangent is {} {} and the tensor {} {}",
            cotangent.dtype()?,
            cotangent.shape()?,
            root.dtype,
            root.shape
        );
        return Err(Error::Gradient { op: "backward", reason, help: "give a cotangent of the tensor's shape and dtype".into() });
    }
    // Ids grow with creation, so users always have larger ones than their operands.
    let mut order = Vec::new();
    let mut seen = HashSet::from([root.id]);
    let mut stack = vec![root.clone()];
    while let Some(node) = stack.pop() {
        let inputs = if ends.contains(&node.id) { Vec::new() } else { node.state().inputs.clone() };
        for input in &inputs {
            if input.requires_grad && seen.insert(input.id) {
                stack.push(input.clone());
            }
        }
        order.push(node);
    }
    order.sort_by_key(|n| std::cmp::Reverse(n.id));
    let mut cotangents = HashMap::from([(root.id, cotangent.cast(root.dtype.arithmetic()))]);
    for node in &order {
        if node.op.is_source() || !node.requires_grad || ends.contains(&node.id) {
            continue;
        }
        let Some(ct) = cotangents.remove(&node.id) else { continue };
        let inputs: Vec<Tensor> = node.state().inputs.iter().cloned().map(Tensor::from_node).collect();
        let out = Tensor::from_node(node.clone());
        let parts = match &node.payload {
            Payload::Gradient(rule) => {
                let mut parts = vec![None];
                parts.extend(rule.vjp(&inputs[1..], &ct)?);
                parts
            }
            _ => rules::vjp(&node.op, &inputs, &out, &ct)?,
        };
        // Someone may ask for the derivative by an inner node.
        cotangents.insert(node.id, ct);
        for (input, part) in inputs.iter().zip(parts) {
            let input = input.node()?;
            let Some(part) = part.filter(|_| input.requires_grad) else { continue };
            part.check()?;
            let sum = match cotangents.remove(&input.id) {
                Some(so_far) => so_far + part,
                None => part,
            };
            cotangents.insert(input.id, sum);
        }
    }
    Ok(Propagated { order, cotangents })
}
