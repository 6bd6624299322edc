//! Graphs with F64 in them: the reference runs them on the device's buffers.

use super::super::reference::{self, Precision, ReferenceInputs, ReferenceLeaf, StoreValues, Value};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphNode, Op};
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::storage::bindings::{Bindings, Leaf};
use crate::sync::lock;

/// Runs a graph and writes back the cells and stores that its effects changed.
pub(super) fn run(graph: &Graph, bindings: &Bindings) -> Result<Vec<HostData>> {
    let leaf_nodes = graph.nodes.iter().filter(|n| matches!(n.op, Op::Data | Op::Cell | Op::OptimStore));
    let bind = |(node, leaf): (&GraphNode, &Leaf)| match leaf {
        Leaf::Data(storage) | Leaf::Cell(storage) => {
            Ok(ReferenceLeaf::Value(Value::from_host(&storage.on_cpu()?.read(), node.dtype, node.shape)))
        }
        Leaf::Store(store) => store_values(store).map(ReferenceLeaf::Store),
    };
    let leaves = leaf_nodes.zip(&bindings.leaves).map(bind).collect::<Result<_>>()?;
    let mut inputs = ReferenceInputs { leaves, scalars: bindings.scalars.clone(), randoms: bindings.randoms.clone() };
    let outputs = reference::run(graph, &mut inputs, Precision::Native)?;
    let leaf_of = reference::leaf_numbers(graph);
    for (id, node) in graph.nodes.iter().enumerate() {
        match &node.op {
            Op::Assign => {
                if let Some(leaf) = reference::assigned_leaf(graph, &leaf_of, id)
                    && let (ReferenceLeaf::Value(value), Leaf::Cell(cell)) = (&inputs.leaves[leaf], &bindings.leaves[leaf])
                {
                    *cell.on_cpu()?.write() = value.to_host();
                }
            }
            Op::OptimStep { rule, entries, .. } => {
                if let Some(leaf) = leaf_of[node.inputs[0]]
                    && let (ReferenceLeaf::Store(values), Leaf::Store(store)) = (&inputs.leaves[leaf], &bindings.leaves[leaf])
                {
                    write_back(values, store, entries, rule.states())?;
                }
            }
            _ => {}
        }
    }
    Ok(outputs.iter().map(Value::to_host).collect())
}

/// The most bytes that a run of a graph holds at once: nodes until their last use, and the leaves.
pub(super) fn bytes(graph: &Graph) -> u64 {
    let mut uses = graph.uses();
    let size = |n: &GraphNode| (n.shape.numel() as u64).saturating_mul(size_of::<f64>() as u64);
    let leaves = graph.nodes.iter().filter(|n| n.inputs.is_empty()).map(size);
    let mut held = leaves.fold(0, u64::saturating_add);
    let mut most = held;
    for node in &graph.nodes {
        held = held.saturating_add(size(node));
        most = most.max(held);
        for &input in &node.inputs {
            uses[input] -= 1;
            if uses[input] == 0 {
                held = held.saturating_sub(size(&graph.nodes[input]));
            }
        }
    }
    most
}

fn store_values(store: &OptimStore) -> Result<StoreValues> {
    let floats = |storage: &Storage| Ok::<_, Error>(storage.on_cpu()?.read().to_f64());
    let is_f64 = |storage: &Storage| Ok::<_, Error>(matches!(*storage.on_cpu()?.read(), HostData::F64(_)));
    let mut dtype = DType::F32;
    for entry in &store.entries {
        if is_f64(&entry.parameter)? {
            dtype = DType::F64;
        }
    }
    Ok(StoreValues {
        dtype,
        parameters: store.entries.iter().map(|e| floats(&e.parameter)).collect::<Result<_>>()?,
        state: store.state.iter().map(floats).collect::<Result<_>>()?,
        coefficients: lock(&store.coefficients).clone(),
    })
}

#[allow(clippy::cast_possible_truncation, reason = "a value is rounded to the precision of its dtype")]
fn write_back(values: &StoreValues, store: &OptimStore, entries: &[u32], states: usize) -> Result<()> {
    let put = |storage: &Storage, new: &[f64]| -> Result<()> {
        let mut data = storage.on_cpu()?.write();
        match &mut *data {
            HostData::F64(v) => v.copy_from_slice(new),
            HostData::F32(v) => v.iter_mut().zip(new).for_each(|(v, &x)| *v = x as f32),
            _ => return Err(Error::internal("an optimizer's memory is not float")),
        }
        Ok(())
    };
    for &entry in entries {
        let entry = entry as usize;
        put(&store.entries[entry].parameter, &values.parameters[entry])?;
        for s in 0..states {
            let at = s * store.entries.len() + entry;
            put(&store.state[at], &values.state[at])?;
        }
    }
    Ok(())
}
