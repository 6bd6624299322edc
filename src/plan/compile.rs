//! Compiles a graph to a plan: decide what is materialised, lower every such value to one kernel, order, place.
//!
//! Pure functions over plain data, deterministic, no device.

use super::lower::{Lowering, Outcome};
use super::materialise::{Options, decide};
use super::{Plan, schedule};
use crate::error::{Error, Result};
use crate::graph::Graph;

/// Compiles a graph.
pub(crate) fn compile(graph: &Graph, options: Options) -> Result<Plan> {
    super::sizes::check_nodes(graph)?;
    let mut materialised = decide(graph, options);
    // Lowering may find that views cannot be expressed; then what they look at gets a buffer and lowering starts again. A round
    // finds all that it can, so there are few, and each finds a node that no other has found, so they end.
    for _ in 0..=graph.nodes.len() {
        match Lowering::new(graph, materialised.clone(), options)?.run()? {
            Outcome::Materialise(nodes) => nodes.into_iter().for_each(|node| materialised[node] = true),
            Outcome::Done(plan) => {
                super::sizes::check(&plan, options.max_bytes)?;
                return Ok(schedule::schedule(plan));
            }
        }
    }
    Err(Error::internal("lowering does not settle"))
}
