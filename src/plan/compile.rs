//! Compiles a graph to a plan: decide what is materialised, lower every such value to one kernel, order, place.
//!
//! Pure functions over plain data, deterministic, no device.

use super::lower::{Lowering, Outcome};
use super::materialise::{Options, decide, is_heavy, limit_again};
use super::{Plan, join_moments, pack, schedule};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op};
use std::borrow::Cow;

/// The graph with what its wishes are resolved to among the outputs. For a wish that has no buffer, what it is made of is handed
/// out, as far as that has one: repeating the rest costs little.
pub(crate) fn granted(graph: &Graph, options: Options) -> Cow<'_, Graph> {
    if graph.wishes.is_empty() {
        return Cow::Borrowed(graph);
    }
    let materialised = decide(graph, options);
    let mut outputs = graph.outputs.clone();
    let mut seen = vec![false; graph.nodes.len()];
    let mut stack: Vec<NodeId> = graph.wishes.clone();
    while let Some(id) = stack.pop() {
        let node = &graph.nodes[id];
        if std::mem::replace(&mut seen[id], true) || node.op.is_source() {
            continue;
        }
        if materialised[id] || is_heavy(&node.op) {
            outputs.push(id);
        } else {
            stack.extend(&node.inputs);
        }
    }
    outputs.sort_unstable();
    outputs.dedup();
    Cow::Owned(Graph { nodes: graph.nodes.clone(), outputs, wishes: Vec::new(), spent: graph.spent.clone() })
}

/// The leaves whose memory may be written over, by number.
fn spent_leaves(graph: &Graph) -> Vec<usize> {
    let leaves = graph.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Data | Op::Cell | Op::OptimStore));
    let numbered = leaves.enumerate().filter(|(_, (id, node))| node.op == Op::Data && graph.spent.binary_search(id).is_ok());
    numbered.map(|(leaf, _)| leaf).collect()
}

/// Compiles a graph, whose wishes are [`granted`] already.
pub(crate) fn compile(graph: &Graph, options: Options) -> Result<Plan> {
    super::sizes::check_nodes(graph)?;
    let mut materialised = decide(graph, options);
    // Lowering may find that views cannot be expressed; then what they look at gets a buffer and lowering starts again. A round
    // finds all that it can, so there are few rounds, and each finds a node that no other has found, so they end.
    for _ in 0..=graph.nodes.len() {
        match Lowering::new(graph, materialised.clone(), options)?.run()? {
            Outcome::Materialise(nodes) => {
                nodes.into_iter().for_each(|node| materialised[node] = true);
                limit_again(graph, &mut materialised, options);
            }
            Outcome::Done(mut plan) => {
                if options.packs {
                    pack::pack(&mut plan, options);
                }
                if options.moments_in_convolutions {
                    join_moments::join(&mut plan);
                }
                super::sizes::check(&plan, options.max_bytes)?;
                return Ok(schedule::schedule(plan, &spent_leaves(graph)));
            }
        }
    }
    Err(Error::internal("lowering does not settle"))
}
