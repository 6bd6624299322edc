//! Nodes, and the handles that users hold.

use super::{Cell, Device, Handle, HostSource, Inputs, Node, Origin, Outcome, Payload, SUPERSEDED, State, Target, Tensor};
use super::{anomaly, fresh_id, thread};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::graph::layer::Layer;
use crate::graph::row::RowOp;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::sync::{self, lock};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

impl Tensor {
    /// A tensor that holds a node.
    pub(crate) fn from_node(node: Arc<Node>) -> Self {
        Self(Ok(Handle::new(node)))
    }

    /// A tensor of which the device does not know, for a moment in which somebody else keeps its value obtainable.
    pub(crate) fn passing(node: Arc<Node>) -> Self {
        Self(Ok(Arc::new(Handle { node, thread: thread::current(), slot: None })))
    }

    /// The same value in a tensor that may stay: known to the device if need be.
    pub(crate) fn staying(self) -> Self {
        match &self.0 {
            Ok(handle) if handle.slot.is_none() && handle.node.reads_cell => Self::from_node(handle.node.clone()),
            _ => self,
        }
    }

    /// A tensor that shares a handle.
    pub(crate) fn from_handle(handle: Arc<Handle>) -> Self {
        Self(Ok(handle))
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

impl AsRef<Self> for Tensor {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Node {
    /// A node over realised or lazy operands.
    pub fn new(
        op: Op,
        inputs: impl Into<Inputs>,
        shape: Shape,
        dtype: DType,
        device: &Device,
        payload: Payload,
        requires_grad: bool,
    ) -> Arc<Self> {
        let inputs = inputs.into();
        let reads = |i: &Arc<Self>| i.reads_cell && (i.op == Op::Cell || i.requires_grad || !i.is_realised());
        let layer = match &payload {
            Payload::Cell(cell, _) => Layer::of_cell(cell.id),
            _ => {
                Layer::of(inputs.iter().map(|i| Some(i.layer).filter(|_| !matches!(i.op, Op::Scalar | Op::Iota | Op::Random(_)))))
            }
        };
        let reads_cell = matches!(payload, Payload::Cell(..) | Payload::Target(..)) || inputs.iter().any(reads);
        let node = Arc::new(Self {
            id: fresh_id(),
            op,
            shape,
            dtype,
            device: device.clone(),
            requires_grad,
            reads_cell,
            layer,
            payload,
            number: AtomicU64::new(0),
            differentiated: AtomicBool::new(false),
            state: Mutex::new(State { inputs, ..State::default() }),
        });
        anomaly::made(&node);
        node
    }

    /// The mutable part.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The operands.
    pub fn inputs(&self) -> Inputs {
        self.state().inputs.clone()
    }

    /// Takes a number in the evaluation whose numbers begin after `base`.
    pub fn set_number(&self, base: u64, number: usize) {
        self.number.store(base + 1 + number as u64, Ordering::Relaxed);
    }

    /// The number that the evaluation whose numbers begin after `base` gave, if it did.
    #[allow(clippy::cast_possible_truncation, reason = "it was a usize")]
    pub fn number(&self, base: u64) -> Option<usize> {
        self.number.load(Ordering::Relaxed).checked_sub(base + 1).map(|n| n as usize)
    }

    /// Notes that a backward pass has gone through.
    pub fn mark_differentiated(&self) {
        self.differentiated.store(true, Ordering::Relaxed);
    }

    /// Whether a backward pass has gone through.
    pub fn is_differentiated(&self) -> bool {
        self.differentiated.load(Ordering::Relaxed)
    }

    /// For an assignment: what it is for.
    pub fn target(&self) -> Option<&Target> {
        match &self.payload {
            Payload::Target(target) => Some(target),
            _ => None,
        }
    }

    /// Whether it is a check of indices, which has the indices as its operand and its value.
    pub fn is_check(&self) -> bool {
        matches!(self.op, Op::Row(RowOp::Check { .. }))
    }

    /// For a check of indices: whether it has run.
    pub fn is_done(&self) -> bool {
        self.state().assigned.is_some()
    }

    /// For a check of indices: notes that it has run.
    pub fn mark_done(&self) {
        self.state().assigned = Some(0);
    }

    /// For a pending assignment: gives way to a later one if its value is at hand.
    pub fn supersede(&self) -> bool {
        let inputs = self.inputs();
        let can = inputs.len() == 1 && inputs[0].is_realised();
        if can {
            self.state().assigned = Some(SUPERSEDED);
        }
        can
    }

    /// For an assignment: notes that it has run, as this version of its cell; `None` if a later one has overwritten that.
    pub fn has_run(&self, version: Option<u64>) {
        let mut state = self.state();
        state.assigned = Some(version.unwrap_or(SUPERSEDED));
        // The cell has the value now.
        let freed = version.map(|_| std::mem::take(&mut state.inputs));
        drop(state);
        drop(freed);
    }

    /// Whether the value is in memory.
    pub fn is_realised(&self) -> bool {
        self.state().value.is_some()
    }

    /// The memory of the value: the node's own, or its cell's. The caller holds the device's evaluation lock.
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
        cell.contents(wanted).map_err(|current| Error::Stale { name: cell.name(), wanted, current })
    }

    /// The cell and version that the node reads straight from memory.
    pub fn cell_read(&self) -> Option<(&Arc<Cell>, u64)> {
        match (&self.op, &self.payload) {
            (Op::Cell, Payload::Cell(cell, version)) => Some((cell, *version)),
            (Op::Assign, Payload::Target(target)) => {
                self.state().assigned.filter(|&version| version != SUPERSEDED).map(|version| (&target.cell, version))
            }
            _ => None,
        }
    }
}

impl Deref for Inputs {
    type Target = [Arc<Node>];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::None => &[],
            Self::One(list) => list,
            Self::Two(list) => list,
            Self::Three(list) => list,
            Self::Many(list) => list,
        }
    }
}

impl FromIterator<Arc<Node>> for Inputs {
    fn from_iter<I: IntoIterator<Item = Arc<Node>>>(nodes: I) -> Self {
        let mut nodes = nodes.into_iter();
        let Some(a) = nodes.next() else { return Self::None };
        let Some(b) = nodes.next() else { return Self::One([a]) };
        let Some(c) = nodes.next() else { return Self::Two([a, b]) };
        match nodes.next() {
            None => Self::Three([a, b, c]),
            Some(d) => Self::Many(Arc::new([a, b, c, d].into_iter().chain(nodes).collect())),
        }
    }
}

impl From<Vec<Arc<Node>>> for Inputs {
    fn from(list: Vec<Arc<Node>>) -> Self {
        if list.len() > 3 { Self::Many(Arc::new(list)) } else { list.into_iter().collect() }
    }
}

impl Inputs {
    /// Moves the operands to a list, those that nobody else holds.
    fn move_to(self, list: &mut Vec<Arc<Node>>) {
        match self {
            Self::None => {}
            Self::One(few) => list.extend(few),
            Self::Two(few) => list.extend(few),
            Self::Three(few) => list.extend(few),
            Self::Many(many) => list.append(&mut Arc::into_inner(many).unwrap_or_default()),
        }
    }
}

impl Drop for Node {
    /// Frees long chains in a loop: recursion would overflow the stack.
    fn drop(&mut self) {
        let mut doomed = Vec::new();
        let release = |node: &mut Self, doomed: &mut Vec<Arc<Self>>| {
            let state = sync::get_mut(&mut node.state);
            std::mem::take(&mut state.inputs).move_to(doomed);
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
    /// A new handle, known to the device if a later step could overwrite what the node depends on.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        let thread = thread::current();
        if node.reads_cell {
            let device = node.device.clone();
            return device.register(node, thread);
        }
        Arc::new(Self { node, thread, slot: None })
    }

    /// Whether this thread made it.
    pub fn is_own(&self) -> bool {
        self.thread == thread::current()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.node.device.unregister(slot);
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
