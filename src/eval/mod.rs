//! Evaluation: from lazy nodes to a canonical graph, a cached plan, and values in memory.

mod gather;

use crate::error::{Error, Result};
use crate::graph::saved::Kept;
use crate::lazy::{Device, Node, Payload, grad_enabled};
use crate::storage::Storage;
use gather::{Gathered, gather};
use std::collections::HashSet;
use std::sync::Arc;

/// Realises nodes. If gradients are being recorded, values that a later backward needs are kept as well.
pub(crate) fn evaluate(roots: &[Arc<Node>]) -> Result<()> {
    run(roots, grad_enabled())
}

/// Runs an optimizer step; `roots` are realised on the way. Nothing is kept for a later backward.
pub(crate) fn evaluate_step(roots: &[Arc<Node>]) -> Result<()> {
    run(roots, false)
}

fn run(roots: &[Arc<Node>], keep_saved: bool) -> Result<()> {
    let Some(device) = roots.first().map(|r| r.device.clone()) else { return Ok(()) };
    let _guard = device.evaluating();
    let mut wanted: Vec<Arc<Node>> = roots.iter().filter(|r| needs_work(r)).cloned().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    if keep_saved {
        add_saved(&mut wanted);
    }
    let gathered = with_endangered(&device, wanted)?;
    let executor = device.executor();
    let values = executor.run(&*executor.plan(&gathered.graph)?, &gathered.bindings)?;
    commit(&gathered, values);
    Ok(())
}

/// The plan that would realise a node, as a table; with `timed`, every launch is run and timed as well (GPU only).
pub(crate) fn explain(root: &Arc<Node>, timed: bool) -> Result<String> {
    let device = root.device.clone();
    let _guard = device.evaluating();
    if !needs_work(root) {
        return Ok("nothing to do: the value is in memory\n".into());
    }
    let gathered = gather(std::slice::from_ref(root))?;
    let compiled = device.executor().plan(&gathered.graph)?;
    let mut text = compiled.plan.explain();
    if timed {
        if !gathered.assigned.is_empty() {
            let help = "evaluate the tensor once, or profile in evaluation mode".into();
            return Err(Error::Unsupported {
                op: "profile",
                reason: "a timed run would repeat waiting assignments".into(),
                help,
            });
        }
        text += &device.executor().profile(&compiled, &gathered.bindings)?;
    }
    Ok(text)
}

/// A copy of a node's value that no handle shares.
pub(crate) fn duplicate(node: &Arc<Node>) -> Result<Storage> {
    evaluate(std::slice::from_ref(node))?;
    let _guard = node.device.evaluating();
    node.device.executor().duplicate(&node.memory()?, node.dtype, node.shape.numel())
}

fn needs_work(node: &Node) -> bool {
    !node.is_realised() && node.cell_read().is_none()
}

/// The nodes whose values the gradient rule of `node` reads.
fn kept_by(node: &Arc<Node>, inputs: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let flows = |i: usize| inputs.get(i).is_some_and(|n| n.requires_grad);
    let mut found = Vec::new();
    for kept in node.op.kept() {
        match *kept {
            Kept::Output => found.push(node.clone()),
            Kept::Input(i) => found.extend(inputs.get(i).cloned()),
            Kept::Factor(i) => found.extend(inputs.get(i).filter(|_| flows(1 - i)).cloned()),
            Kept::From(i) => found.extend(inputs.iter().skip(i).cloned()),
        }
    }
    found
}

/// Adds the values that gradient rules of nodes under differentiable roots will read.
fn add_saved(wanted: &mut Vec<Arc<Node>>) {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut listed: HashSet<u64> = wanted.iter().map(|n| n.id).collect();
    let mut stack: Vec<Arc<Node>> = wanted.iter().filter(|n| n.requires_grad).cloned().collect();
    while let Some(node) = stack.pop() {
        if !seen.insert(node.id) || !needs_work(&node) {
            continue;
        }
        let inputs = node.state().inputs.clone();
        if node.requires_grad {
            for saved in kept_by(&node, &inputs) {
                // A view costs nothing to repeat: keep what it looks at.
                let mut base = saved;
                while base.op.is_movement() && !base.is_realised() {
                    let Some(inner) = base.state().inputs.first().cloned() else { break };
                    base = inner;
                }
                if !base.op.is_source() && needs_work(&base) && listed.insert(base.id) {
                    wanted.push(base);
                }
            }
        }
        stack.extend(inputs.into_iter().filter(|i| i.requires_grad));
    }
}

/// Gathers the graph under `wanted`, and under every live handle whose cells the evaluation overwrites.
fn with_endangered(device: &Device, mut wanted: Vec<Arc<Node>>) -> Result<Gathered> {
    loop {
        let gathered = gather(&wanted)?;
        if gathered.overwritten.is_empty() {
            return Ok(gathered);
        }
        let listed: HashSet<u64> = wanted.iter().map(|n| n.id).collect();
        let mut more = Vec::new();
        for node in device.endangered_nodes() {
            let unread = !node.is_realised() && !listed.contains(&node.id);
            if unread && depends_on(&node, &gathered.overwritten) {
                more.push(node);
            }
        }
        if more.is_empty() {
            return Ok(gathered);
        }
        wanted.append(&mut more);
    }
}

/// Whether an unrealised node reads the present contents of one of the cells (by id).
fn depends_on(node: &Arc<Node>, cells: &HashSet<u64>) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![node.clone()];
    while let Some(node) = stack.pop() {
        if !seen.insert(node.id) || node.is_realised() {
            continue;
        }
        if let Some((cell, version)) = node.cell_read() {
            if cells.contains(&cell.id) && cell.stored().1 == version {
                return true;
            }
            continue;
        }
        stack.extend(node.state().inputs.iter().cloned());
    }
    false
}

/// Hands the values to their nodes and counts the cells' versions up. Runs only after everything was submitted.
fn commit(gathered: &Gathered, values: Vec<Storage>) {
    for (nodes, value) in gathered.outputs.iter().zip(values) {
        for node in nodes {
            let mut state = node.state();
            state.value = Some(value.clone());
            let freed = if node.requires_grad { Vec::new() } else { std::mem::take(&mut state.inputs) };
            drop(state);
            drop(freed);
        }
    }
    for assign in &gathered.assigned {
        if let Payload::Cell(cell, version) = &assign.payload {
            cell.commit(Some(*version));
        }
        let mut state = assign.state();
        state.assigned = true;
        let freed = std::mem::take(&mut state.inputs);
        drop(state);
        drop(freed);
    }
    for node in &gathered.visited {
        let done = std::mem::take(&mut node.state().anchored);
        drop(done);
    }
    for cell in &gathered.stepped {
        cell.commit(None);
    }
}
