//! The transform itself: cotangents from an output down to what it depends on.

use super::gradients::{Key, key};
use super::rules;
use crate::error::{Error, Result};
use crate::lazy::{Inputs, Node, Payload, anomaly};
use crate::tensor::Tensor;
use rustc_hash::{FxHashMap, FxHashSet};
use std::panic::Location;
use std::sync::Arc;

pub(super) struct Propagated {
    /// Differentiable nodes, users before operands.
    order: Vec<Arc<Node>>,
    pub cotangents: FxHashMap<u64, Tensor>,
}

impl Propagated {
    /// The cotangents of variables and parameters; those of one parameter's reads add up.
    pub fn by_source(&self) -> FxHashMap<Key, Tensor> {
        let mut by_key: FxHashMap<Key, Tensor> = FxHashMap::default();
        for node in self.order.iter().filter(|n| n.op.is_source()) {
            if let Some(ct) = self.cotangents.get(&node.id) {
                by_key.entry(key(node)).and_modify(|sum| *sum = &*sum + ct).or_insert_with(|| ct.clone());
            }
        }
        by_key
    }
}

/// Cotangents of all differentiable nodes from `output` up to and including the nodes `ends` (by id), or the sources.
#[track_caller]
pub(super) fn propagate(output: &Tensor, cotangent: &Tensor, ends: &[u64]) -> Result<Propagated> {
    let root = output.node()?;
    if cotangent.shape()? != root.shape || cotangent.dtype()?.arithmetic() != root.dtype.arithmetic() {
        let reason = format!(
            "the cotangent is {} {} and the tensor {} {}",
            cotangent.dtype()?,
            cotangent.shape()?,
            root.dtype,
            root.shape
        );
        return Err(Error::Gradient {
            op: "backward",
            reason,
            help: "give a cotangent of the tensor's shape and dtype".into(),
            at: Location::caller(),
        });
    }
    // Ids grow with creation, so users always have larger ones than their operands.
    let mut order = Vec::new();
    let mut seen = FxHashSet::from_iter([root.id]);
    let mut stack = vec![root.clone()];
    while let Some(node) = stack.pop() {
        let inputs = if ends.contains(&node.id) { Inputs::default() } else { node.inputs() };
        for input in inputs.iter() {
            if input.requires_grad && seen.insert(input.id) {
                stack.push(input.clone());
            }
        }
        order.push(node);
    }
    order.sort_by_key(|n| std::cmp::Reverse(n.id));
    let mut cotangents = FxHashMap::from_iter([(root.id, cotangent.cast(root.dtype.arithmetic()))]);
    for node in &order {
        if node.op.is_source() || !node.requires_grad || ends.contains(&node.id) {
            continue;
        }
        let Some(ct) = cotangents.remove(&node.id) else { continue };
        let (_through, _call) = (node.layer.backward(), anomaly::differentiating(node));
        // The output's handle keeps them all obtainable; a user's rule may keep what it is given.
        let handed = if matches!(node.payload, Payload::Gradient(_)) { Tensor::from_node } else { Tensor::passing };
        let inputs: Vec<Tensor> = node.inputs().iter().cloned().map(handed).collect();
        let out = Tensor::passing(node.clone());
        let parts = match &node.payload {
            Payload::Gradient(rule) => {
                let mut parts = vec![None];
                parts.extend(rule.vjp(&inputs[1..], &ct, vjp_at)?);
                parts
            }
            _ => rules::vjp(&node.op, &inputs, &out, &ct)?,
        };
        // Someone may ask for the derivative with respect to an inner node.
        cotangents.insert(node.id, ct);
        for (input, part) in inputs.iter().zip(parts) {
            let input = input.node()?;
            let Some(part) = part.filter(|_| input.requires_grad).map(Tensor::staying) else { continue };
            part.check()?;
            let sum = match cotangents.remove(&input.id) {
                Some(so_far) => so_far + part,
                None => part,
            };
            cotangents.insert(input.id, sum);
        }
    }
    // From here on the cotangents' handles say what is needed.
    order.iter().for_each(|node| node.mark_differentiated());
    Ok(Propagated { order, cotangents })
}

/// `cotangent · ∂output/∂w` for each w of `wrt`; `None` where no gradient flows. What those are made of is not visited.
fn vjp_at(output: &Tensor, cotangent: &Tensor, wrt: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
    let ids = wrt.iter().map(|t| Ok(t.node()?.id)).collect::<Result<Vec<_>>>()?;
    let found = propagate(output, cotangent, &ids)?;
    Ok(ids.iter().map(|id| found.cotangents.get(id).cloned()).collect())
}
