//! Graphs as plain data: what to compute, with no values and no device in them.
//!
//! [`Graph`] is canonical: two evaluations of one structure give equal graphs, which is what the plan cache compares.

pub mod attention;
pub(crate) mod binary;
pub(crate) mod layer;
pub mod op;
pub mod optim;
pub mod recurrent;
pub mod row;
pub(crate) mod saved;
pub(crate) mod unary;
pub mod view;

use crate::dtype::DType;
use crate::shape::Shape;
pub use op::Op;
pub use view::View;

/// The index of a node within its [`Graph`].
pub type NodeId = usize;

/// One operation of a canonical graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GraphNode {
    /// What it computes.
    pub op: Op,
    /// Its operands; always smaller indices.
    pub inputs: Vec<NodeId>,
    /// The result's shape.
    pub shape: Shape,
    /// The result's dtype.
    pub dtype: DType,
}

/// A canonical graph: nodes in an order in which inputs come first.
///
/// Sources are bound by position: the k-th `Data`, `Cell` or `OptimStore` node is leaf k, the k-th `Scalar` is scalar k,
/// the k-th `Random` is random key k.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Graph {
    /// The nodes, inputs first.
    pub nodes: Vec<GraphNode>,
    /// The nodes whose values the evaluation must hand out, ascending and unique. Effects are not listed; they always run.
    pub outputs: Vec<NodeId>,
    /// Nodes whose values handles or a later backward pass want: one that has a buffer anyway is handed out; for any other, what
    /// it is made of is, as far as that has buffers. Ascending and unique.
    pub wishes: Vec<NodeId>,
    /// `Data` nodes that nobody reads after the evaluation: their memory may be written over. Ascending and unique.
    pub spent: Vec<NodeId>,
}

impl Graph {
    /// How many nodes read each node (an input listed twice counts twice); outputs count once more.
    pub fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for &i in &node.inputs {
                uses[i] += 1;
            }
        }
        for &o in &self.outputs {
            uses[o] += 1;
        }
        uses
    }

    /// Whether the evaluation hands out the node's value.
    pub fn is_output(&self, id: NodeId) -> bool {
        self.outputs.binary_search(&id).is_ok()
    }
}
