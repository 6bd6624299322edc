//! What a chain of movements amounts to: one view of a value in memory, or of a source, however long the chain is.

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op, View};
use crate::plan::materialise::Options;
use crate::shape::Shape;

/// What a movement, and those below it, look at.
#[derive(Debug)]
pub(super) struct Window {
    /// A source, or a value with a buffer.
    pub base: NodeId,
    /// From the movement's coordinates to its elements.
    pub view: View,
}

/// The windows of a graph's movements; `None` where a movement looks at a value that its readers compute, and at all other
/// nodes. Materialises what no single view can show.
pub(super) fn windows(graph: &Graph, materialised: &mut [bool], options: Options) -> Result<Vec<Option<Box<Window>>>> {
    let uses = graph.uses();
    let mut windows: Vec<Option<Box<Window>>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        if !node.op.is_movement() {
            windows.push(None);
            continue;
        }
        let input = node.inputs[0];
        let own = || Window { base: input, view: View::contiguous(graph.nodes[input].shape) };
        let (below, op) = (&windows[input], &graph.nodes[input].op);
        let below = match below {
            _ if materialised[input] => own(),
            Some(window) => Window { base: window.base, view: window.view },
            None if op.is_elementwise() || op.is_movement() => {
                windows.push(None);
                continue;
            }
            None => own(),
        };
        let window = match moved(&below.view, &node.op, node.shape)? {
            Some(view) => Window { base: below.base, view },
            None => {
                materialised[input] = true;
                if options.fuse {
                    let movements = give_up(graph, materialised, &uses, input);
                    movements.into_iter().for_each(|node| windows[node] = None);
                }
                let own = own();
                let view = moved(&own.view, &node.op, node.shape)?;
                Window { base: input, view: view.ok_or_else(|| Error::internal("a contiguous value has no such view"))? }
            }
        };
        windows.push(Some(Box::new(window)));
    }
    Ok(windows)
}

/// Where a node that gets a buffer is another order of a computed value that nothing else reads, that value needs none: it is
/// computed in that order at once. Returns the movements down to it, which look at no buffer any more.
fn give_up(graph: &Graph, materialised: &mut [bool], uses: &[u32], node: NodeId) -> Vec<NodeId> {
    let mut movements = Vec::new();
    let mut at = node;
    while matches!(graph.nodes[at].op, Op::Permute(_)) {
        movements.push(at);
        at = graph.nodes[at].inputs[0];
        if uses[at] != 1 || graph.is_output(at) {
            return Vec::new();
        }
    }
    if movements.is_empty() || !graph.nodes[at].op.is_elementwise() {
        return Vec::new();
    }
    materialised[at] = false;
    movements
}

/// A view after one more movement, to `shape`; `None` where no view is both.
pub(super) fn moved(view: &View, op: &Op, shape: Shape) -> Result<Option<View>> {
    Ok(match op {
        Op::Reshape => view.reshape(shape),
        Op::Permute(order) => Some(view.permute(order)),
        Op::Expand => Some(view.expand(shape)),
        Op::Slice { start, step } => Some(view.slice(start, step, shape)),
        Op::Pad { before } => Some(view.pad(before, shape)),
        Op::Recomputed => Some(*view),
        op => return Err(Error::internal(format!("{} is not a movement", op.name()))),
    })
}
