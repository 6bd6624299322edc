//! The gradients of a loss, and what they are looked up by.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::lazy::{Node, Payload, Siblings, no_grad};
use crate::param::Param;
use crate::tensor::Tensor;
use rustc_hash::FxHashMap;
use std::panic::Location;
use std::sync::Arc;

/// What a gradient belongs to: a parameter whatever its version, or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Cell(u64),
    Node(u64),
}

pub(super) fn key(node: &Node) -> Key {
    match (&node.op, &node.payload) {
        (Op::Cell, Payload::Cell(cell, _)) => Key::Cell(cell.id),
        _ => Key::Node(node.id),
    }
}

/// Why a plain tensor has no gradient.
const NO_VARIABLE: &str = "it is not a variable; x.variable() leaves x as it is and returns the tensor to use in its place, in the \
                           loss and here";

/// Something to take derivatives with respect to, in [`grad`](crate::grad), and to look gradients up by, in [`Gradients::get`]: a
/// [`Param`], a variable [`Tensor`], or a reference to one.
pub trait Differentiable {
    #[doc(hidden)]
    fn lookup(&self, gradients: &Gradients, at: &'static Location<'static>) -> Result<Tensor>;

    #[doc(hidden)]
    fn value(&self) -> Tensor;

    /// What a message calls it when it is one of several.
    #[doc(hidden)]
    fn title(&self, index: usize) -> Result<String>;

    /// Why it requires no gradient.
    #[doc(hidden)]
    fn flaw(&self) -> &'static str;
}

impl<T: Differentiable> Differentiable for &T {
    fn lookup(&self, gradients: &Gradients, at: &'static Location<'static>) -> Result<Tensor> {
        (**self).lookup(gradients, at)
    }

    fn value(&self) -> Tensor {
        (**self).value()
    }

    fn title(&self, index: usize) -> Result<String> {
        (**self).title(index)
    }

    fn flaw(&self) -> &'static str {
        (**self).flaw()
    }
}

impl Differentiable for Param {
    fn lookup(&self, gradients: &Gradients, at: &'static Location<'static>) -> Result<Tensor> {
        let why = if self.is_trainable() { "the loss does not depend on it" } else { "it is frozen" };
        gradients.find(Key::Cell(self.id()), at, || format!("parameter {} has no gradient: {why}", self.name()))
    }

    fn value(&self) -> Tensor {
        self.tensor()
    }

    fn title(&self, _: usize) -> Result<String> {
        Ok(format!("parameter {}", self.name()))
    }

    fn flaw(&self) -> &'static str {
        match (self.is_buffer(), self.is_trainable()) {
            (true, _) => "it is a buffer",
            (_, false) => "it is frozen",
            _ => "it was read within no_grad",
        }
    }
}

impl Differentiable for Tensor {
    fn lookup(&self, gradients: &Gradients, at: &'static Location<'static>) -> Result<Tensor> {
        let node = self.node()?;
        gradients.find(key(node), at, || {
            let why = match (node.requires_grad, node.op.is_source()) {
                (true, true) => "the loss does not depend on it",
                (true, false) => "it is the result of an op; ask wgrad::grad for the derivative with respect to it",
                (false, _) => NO_VARIABLE,
            };
            format!("the tensor of shape {} has no gradient: {why}", node.shape)
        })
    }

    fn value(&self) -> Tensor {
        self.clone()
    }

    fn title(&self, index: usize) -> Result<String> {
        Ok(format!("tensor {index} of `wrt`, of shape {},", self.shape()?))
    }

    fn flaw(&self) -> &'static str {
        NO_VARIABLE
    }
}

/// The gradients of one loss: lazy tensors by parameter or variable.
#[derive(Debug, Clone, Default)]
#[must_use = "gradients change nothing until an optimizer steps with them"]
pub struct Gradients {
    pub(super) by_key: FxHashMap<Key, Tensor>,
    /// f32, 0 if the optimizer's step is to be skipped.
    pub(super) gate: Option<Tensor>,
    /// Clipping by the norm of all, still to be done: by an optimizer itself, or for any other reader.
    pub(super) clip: Option<Clip>,
}

#[derive(Debug, Clone)]
pub(super) struct Clip {
    pub limit: f64,
    /// What every gradient is to be multiplied by.
    pub factor: Tensor,
}

impl Clip {
    fn of(&self, gradient: &Tensor) -> Tensor {
        gradient * &self.factor.cast(gradient.dtype().unwrap_or(DType::F32))
    }
}

impl Gradients {
    /// The gradients of one backward pass: the first read of one evaluates all that are still alive.
    pub(super) fn together(by_key: FxHashMap<Key, Tensor>) -> Self {
        let mut handles: Vec<_> = by_key.values().filter_map(|gradient| gradient.outcome().as_ref().ok()).collect();
        // In the same order in every step, so that the plan is found again.
        handles.sort_by_key(|h| h.node.id);
        let siblings: Arc<Siblings> = Arc::new(handles.iter().map(|h| Arc::downgrade(h)).collect());
        for handle in handles.into_iter().filter(|h| !h.node.op.is_source()) {
            handle.node.state().siblings.get_or_insert_with(|| siblings.clone());
        }
        Self { by_key, ..Self::default() }
    }

    /// The gradient with respect to a parameter or variable, lazily.
    ///
    /// # Errors
    /// No gradient flows there.
    #[track_caller]
    pub fn get(&self, of: &impl Differentiable) -> Result<Tensor> {
        of.lookup(self, Location::caller())
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

    /// Multiplies every gradient by the factor of pending clipping.
    pub(super) fn apply_clip(&mut self) {
        if let Some(clip) = self.clip.take() {
            no_grad(|| self.by_key.values_mut().for_each(|g| *g = clip.of(g)));
        }
    }

    /// A gradient as its readers see it.
    pub(super) fn clipped(&self, gradient: &Tensor) -> Tensor {
        self.clip.as_ref().map_or_else(|| gradient.clone(), |clip| no_grad(|| clip.of(gradient)))
    }

    /// Computes all gradients now.
    ///
    /// # Errors
    /// Whatever evaluation reports.
    #[track_caller]
    pub fn eval(&self) -> Result<()> {
        let factor = self.clip.iter().map(|clip| &clip.factor);
        Tensor::eval_all(&self.by_key.values().chain(&self.gate).chain(factor).collect::<Vec<_>>())
    }

    /// The gradients of cells, and the cells' ids.
    pub(super) fn of_cells(&self) -> impl Iterator<Item = (&Arc<Node>, u64)> {
        self.by_key.iter().filter_map(|(key, gradient)| match (key, gradient.outcome()) {
            (Key::Cell(id), Ok(handle)) => Some((&handle.node, *id)),
            _ => None,
        })
    }

    /// The gradient of a cell, if there is one.
    pub(crate) fn of_cell(&self, id: u64) -> Option<Tensor> {
        self.by_key.get(&Key::Cell(id)).map(|g| self.clipped(g))
    }

    /// The gradient of a cell before clipping, for an optimizer that clips by [`Gradients::limit_of`].
    pub(crate) fn unclipped(&self, id: u64) -> Option<Tensor> {
        self.by_key.get(&Key::Cell(id)).cloned()
    }

    /// The norm's limit, if clipping by it is still to be done and these cells are all that have a gradient.
    pub(crate) fn limit_of(&self, mut cells: impl ExactSizeIterator<Item = u64>) -> Option<f64> {
        let all = cells.len() == self.by_key.len() && cells.all(|id| self.by_key.contains_key(&Key::Cell(id)));
        self.clip.as_ref().filter(|_| all).map(|clip| clip.limit)
    }

    fn find(&self, key: Key, at: &'static Location<'static>, reason: impl FnOnce() -> String) -> Result<Tensor> {
        self.by_key.get(&key).map(|g| self.clipped(g)).ok_or_else(|| Error::Gradient {
            op: "get",
            reason: reason(),
            help: "make the loss depend on it, unfreeze it, or mark a tensor with variable()".into(),
            at,
        })
    }
}
