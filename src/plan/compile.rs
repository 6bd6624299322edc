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
    // Lowering may find that a view cannot be expressed; then that value gets a buffer and lowering starts again. Each round
    // materialises a node that was not, so there are at most as many rounds as nodes.
    for _ in 0..=graph.nodes.len() {
        match Lowering::new(graph, &materialised, options).run()? {
            Outcome::Materialise(node) => materialised[node] = true,
            Outcome::Done(plan) => {
                super::sizes::check(&plan, options.max_bytes)?;
                return Ok(schedule::schedule(plan));
            }
        }
    }
    Err(Error::internal("lowering does not settle"))
}
