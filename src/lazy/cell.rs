//! Cells: memory with versions.

use super::{Cell, CellState, Device, Node, Payload, fresh_id};
use crate::dtype::DType;
use crate::graph::Op;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::sync::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

impl Cell {
    /// A cell over memory that nobody else writes.
    pub fn new(storage: Storage, shape: Shape, dtype: DType, device: Device, trainable: bool) -> Arc<Self> {
        Arc::new(Self {
            id: fresh_id(),
            shape,
            dtype,
            device,
            buffer: !trainable,
            trainable: AtomicBool::new(trainable),
            name: Mutex::default(),
            state: Mutex::new(CellState { storage, version: 0, head_version: 0, head: Weak::new() }),
        })
    }

    /// The memory and the version it holds.
    pub fn stored(&self) -> (Storage, u64) {
        let state = lock(&self.state);
        (state.storage.clone(), state.version)
    }

    /// Moves the contents to other memory, which must hold the same values.
    pub fn relocate(&self, storage: Storage) {
        lock(&self.state).storage = storage;
    }

    /// Notes that a write has run. `version` is the write's, or `None` for one more than the last.
    pub fn commit(&self, version: Option<u64>) {
        let mut state = lock(&self.state);
        state.version = version.unwrap_or(state.version + 1);
        state.head_version = state.head_version.max(state.version);
        if state.version == state.head_version {
            self.device.remove_pending(self.id);
            if version.is_none() {
                state.head = Weak::new();
            }
        }
    }

    /// Takes back an assignment that has not run, if it is still the newest; `before` is what the cell read ahead of it.
    pub fn retract(&self, assign: &Node, before: &Arc<Node>) {
        let mut state = lock(&self.state);
        let Payload::Cell(_, version) = &assign.payload else { return };
        if state.head_version != *version || assign.state().assigned {
            return;
        }
        state.head_version -= 1;
        state.head = Arc::downgrade(before);
        drop(state);
        if before.op == Op::Assign && !before.state().assigned {
            self.device.add_pending(self.id, before.clone());
        } else {
            self.device.remove_pending(self.id);
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        let name = lock(&self.name).clone();
        if name.is_empty() { format!("#{}", self.id) } else { name }
    }

    /// Names the cell.
    pub fn set_name(&self, name: String) {
        *lock(&self.name) = name;
    }

    /// Whether gradients flow to the cell.
    pub fn is_trainable(&self) -> bool {
        self.trainable.load(Ordering::Relaxed)
    }

    /// Switches gradients to the cell on or off.
    pub fn set_trainable(&self, trainable: bool) {
        self.trainable.store(trainable, Ordering::Relaxed);
    }

    /// A node that will overwrite the cell with `source`, of its shape, dtype and device; the newest version from now on.
    pub fn assign(self: &Arc<Self>, source: Arc<Node>) -> Arc<Node> {
        let before = self.head();
        let mut state = lock(&self.state);
        state.head_version += 1;
        let payload = Payload::Cell(self.clone(), state.head_version);
        let node = Node::new(Op::Assign, vec![before, source], self.shape, self.dtype, &self.device, payload, false);
        state.head = Arc::downgrade(&node);
        drop(state);
        self.device.add_pending(self.id, node.clone());
        node
    }

    /// Drops an assignment that has not run: nobody can read the cell any more.
    pub fn abandon(&self) {
        self.device.remove_pending(self.id);
    }

    /// The node that reads the newest version in program order.
    pub fn head(self: &Arc<Self>) -> Arc<Node> {
        let mut state = lock(&self.state);
        let trainable = self.is_trainable();
        if let Some(head) = state.head.upgrade()
            && (head.op == Op::Assign || head.requires_grad == trainable)
        {
            return head;
        }
        let payload = Payload::Cell(self.clone(), state.head_version);
        let head = Node::new(Op::Cell, Vec::new(), self.shape, self.dtype, &self.device, payload, trainable);
        state.head = Arc::downgrade(&head);
        head
    }
}
