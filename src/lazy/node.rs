//! Nodes, and the handles that users hold.

use super::{Cell, Device, Handle, HostSource, Node, Origin, Outcome, Payload, State, Tensor, fresh_id};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::sync::{self, lock};
use std::sync::{Arc, Mutex, MutexGuard};

impl Tensor {
    /// A tensor that holds a node.
    pub(crate) fn from_node(node: Arc<Node>) -> Self {
        Self(Ok(Handle::new(node)))
    }

    /// A tensor that carries an error.
    pub(crate) fn from_error(error: impl Into<Arc<Error>>) -> Self {
        Self(Err(error.into()))
    }

    /// The node's handle, or the error that the tensor carries.
    pub(crate) fn outcome(&self) -> &Outcome {
        &self.0
    }

    /// The node, or the error that the tensor carries.
    pub(crate) fn node(&self) -> Result<&Arc<Node>> {
        match &self.0 {
            Ok(handle) => Ok(&handle.node),
            Err(error) => Err(Error::clone(error)),
        }
    }
}

impl Node {
    /// A node over realised or lazy operands.
    pub fn new(
        op: Op,
        inputs: Vec<Arc<Self>>,
        shape: Shape,
        dtype: DType,
        device: &Device,
        payload: Payload,
        requires_grad: bool,
    ) -> Arc<Self> {
        let reads_cell =
            matches!(payload, Payload::Cell(..)) || inputs.iter().any(|i| i.reads_cell && (i.op == Op::Cell || !i.is_realised()));
        Arc::new(Self {
            id: fresh_id(),
            op,
            shape,
            dtype,
            device: device.clone(),
            requires_grad,
            reads_cell,
            payload,
            state: Mutex::new(State { inputs, ..State::default() }),
        })
    }

    /// The mutable part.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether the value is in memory.
    pub fn is_realised(&self) -> bool {
        self.state().value.is_some()
    }

    /// The memory that holds the value: the node's own, or its cell's.
    ///
    /// # Errors
    /// [`Error::Stale`]: the cell has moved on; the value was not computed yet.
    pub fn memory(&self) -> Result<Storage> {
        if let Some(value) = self.state().value.clone() {
            return Ok(value);
        }
        let Some((cell, wanted)) = self.cell_read() else {
            return Err(Error::internal("a value was read before it was realised"));
        };
        let (storage, current) = cell.stored();
        if current == wanted { Ok(storage) } else { Err(Error::Stale { name: cell.name(), wanted, current }) }
    }

    /// The cell and version that the node reads straight from memory.
    pub fn cell_read(&self) -> Option<(&Arc<Cell>, u64)> {
        match (&self.op, &self.payload) {
            (Op::Cell, Payload::Cell(cell, version)) => Some((cell, *version)),
            (Op::Assign, Payload::Cell(cell, version)) if self.state().assigned => Some((cell, *version)),
            _ => None,
        }
    }
}

impl Drop for Node {
    /// Frees long chains in a loop: recursion would overflow the stack.
    fn drop(&mut self) {
        let mut doomed = Vec::new();
        let release = |node: &mut Self, doomed: &mut Vec<Arc<Self>>| {
            let state = sync::get_mut(&mut node.state);
            doomed.append(&mut state.inputs);
            doomed.append(&mut state.anchored);
            doomed.extend(std::mem::take(&mut state.origin).into_node());
        };
        release(self, &mut doomed);
        while let Some(node) = doomed.pop() {
            if let Some(mut last) = Arc::into_inner(node) {
                release(&mut last, &mut doomed);
            }
        }
    }
}

impl Handle {
    /// A new hold, known to the device if a later step could overwrite what the node depends on.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        let handle = Arc::new(Self { node, id: fresh_id() });
        if handle.node.reads_cell {
            handle.node.device.register_live(handle.id, &handle);
        }
        handle
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.node.reads_cell {
            self.node.device.unregister_live(self.id);
        }
    }
}

impl Origin {
    /// Gives up the node that the values are read from, if nobody else holds it: for a drop without recursion.
    fn into_node(self) -> Option<Arc<Node>> {
        let Self::Seen(seen) = self else { return None };
        match Arc::into_inner(seen.leaf)?.source {
            HostSource::Node(node) => Some(node),
            HostSource::Kept(_) => None,
        }
    }
}
