//! Cells: memory with versions.

use super::{
    Cell, CellState, Device, Handle, Holding, Inputs, Node, Payload, Pending, Tally, Target, Ticket, fresh_id, snapshot, thread,
};
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
        let holding = if trainable { Holding::Parameters } else { Holding::State };
        Arc::new(Self {
            counted: device.count(holding, dtype.bytes(shape.numel()) as u64),
            id: fresh_id(),
            shape,
            dtype,
            device,
            buffer: !trainable,
            trainable: AtomicBool::new(trainable),
            name: Mutex::default(),
            state: Mutex::new(CellState { storage, version: 0, ended: 0, since: 0, reader: Weak::new(), pending: Vec::new() }),
        })
    }

    // ---- contents; the caller holds the device's evaluation lock ----

    /// The memory.
    pub fn storage(&self) -> Storage {
        lock(&self.state).storage.clone()
    }

    /// The memory, if it has this version.
    ///
    /// # Errors
    /// The version that it has instead.
    pub fn contents(&self, version: u64) -> Result<Storage, u64> {
        let state = lock(&self.state);
        if (state.since..=state.ended).contains(&version) { Ok(state.storage.clone()) } else { Err(state.ended) }
    }

    /// Moves the contents to other memory, which must have the same values.
    pub fn relocate(&self, storage: Storage) {
        lock(&self.state).storage = storage;
    }

    /// Begins `writes` writes: from now on reads are of the last one's version. Returns the first one's.
    pub fn begin(&self, writes: u64) -> u64 {
        let mut state = lock(&self.state);
        let first = state.version + 1;
        state.version += writes;
        state.reader = Weak::new();
        first
    }

    /// Ends writes that have begun: the memory has the last one's value, or still what it had before.
    pub fn end(&self, written: bool) {
        let mut state = lock(&self.state);
        state.ended = state.version;
        if written {
            state.since = state.version;
        }
    }

    // ---- reads ----

    /// A handle to the newest value, as this thread sees it: of the snapshot that it is in, of its own pending assignment, or
    /// the committed one.
    pub fn read(self: &Arc<Self>) -> Arc<Handle> {
        if let Some(handle) = snapshot::framed(self.id) {
            return handle;
        }
        let mut state = lock(&self.state);
        // A handle is registered before the cell is unlocked: a write that begins after that finds it.
        if let Some(assign) = state.pending_of(thread::current()) {
            return Handle::new(assign.clone());
        }
        let trainable = self.is_trainable();
        if let Some(reader) = state.reader.upgrade().filter(|r| r.node.requires_grad == trainable) {
            return reader;
        }
        let payload = Payload::Cell(self.clone(), state.version);
        let node = Node::new(Op::Cell, Inputs::None, self.shape, self.dtype, &self.device, payload, trainable);
        let reader = Handle::new(node);
        state.reader = Arc::downgrade(&reader);
        reader
    }

    // ---- assignments ----

    /// A node that will overwrite the cell with `source`, of its shape, dtype and device; for this thread the newest value from
    /// now on.
    ///
    /// `tally` is incremented when it has run; `tracks` as in [`Target`].
    pub fn assign(self: &Arc<Self>, source: Arc<Node>, tally: Option<&Tally>, tracks: bool) -> Arc<Node> {
        let own = thread::current();
        let mut state = lock(&self.state);
        // A pending one runs first, so that it does not come later and undo this one. If its value is at hand already, this one
        // stands for both: otherwise a loop without steps would make an endless chain of them.
        let mut before = state.pending_of(own).filter(|before| before.state().assigned.is_none()).cloned();
        let superseded = before.take_if(|before| before.supersede());
        let taken = superseded.as_ref().and_then(|s| s.target()?.ticket.as_ref().map(Ticket::take));
        let inputs: Inputs = std::iter::once(source).chain(before).collect();
        let ticket = tally.map(|tally| Ticket::new(tally, 1 + taken.unwrap_or(0)));
        let payload = Payload::Target(Arc::new(Target { cell: self.clone(), ticket, tracks }));
        let assign = Node::new(Op::Assign, inputs, self.shape, self.dtype, &self.device, payload, false);
        let replaced = state.replace(own, Some(assign.clone()));
        drop(state);
        drop((replaced, superseded));
        snapshot::written(self.id);
        let own: Weak<dyn thread::Owned> = Arc::<Self>::downgrade(self);
        thread::owns(own);
        self.device.wait(self, true);
        assign
    }

    /// Takes back an assignment of this thread that has not run, if it is still the newest; `before` is what it replaced.
    pub fn retract(self: &Arc<Self>, assign: &Arc<Node>, before: Option<Arc<Node>>) {
        let own = thread::current();
        if assign.state().assigned.is_some() {
            return;
        }
        let before = before.filter(|b| b.state().assigned.is_none());
        let mut state = lock(&self.state);
        let newest = state.pending_of(own).is_some_and(|p| Arc::ptr_eq(p, assign));
        let replaced = newest.then(|| state.replace(own, before));
        self.settle(state);
        drop(replaced);
    }

    /// This thread's pending assignment.
    pub fn pending(&self) -> Option<Arc<Node>> {
        lock(&self.state).pending_of(thread::current()).cloned()
    }

    /// The pending assignments of all threads.
    pub fn all_pending(&self) -> Vec<Arc<Node>> {
        lock(&self.state).pending.iter().map(|p| p.assign.clone()).collect()
    }

    /// Forgets an assignment that has run, or that a failed step leaves undone.
    pub fn done(self: &Arc<Self>, assign: &Arc<Node>) {
        let mut state = lock(&self.state);
        let at = state.pending.iter().position(|p| Arc::ptr_eq(&p.assign, assign));
        let done = at.map(|at| state.pending.swap_remove(at));
        self.settle(state);
        drop(done);
    }

    /// Drops the assignments that have not run: nobody can read the cell any more.
    pub fn abandon(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let dropped = std::mem::take(&mut state.pending);
        self.settle(state);
        drop(dropped);
    }

    /// Tells the device whether assignments are pending.
    fn settle(self: &Arc<Self>, state: std::sync::MutexGuard<'_, CellState>) {
        if state.pending.is_empty() {
            self.device.wait(self, false);
        }
    }

    // ---- the rest ----

    /// The name for messages.
    pub fn name(&self) -> String {
        self.given_name().unwrap_or_else(|| format!("#{}", self.id))
    }

    /// The name, if it was given one.
    pub fn given_name(&self) -> Option<String> {
        Some(lock(&self.name).clone()).filter(|name| !name.is_empty())
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
}

impl thread::Owned for Cell {
    /// What a thread has assigned remains for those that join it; what it has tracked for a step that did not come does not.
    fn thread_ends(self: Arc<Self>, thread: u64) {
        let mut state = lock(&self.state);
        let tracks = |p: &mut Pending| p.thread == Some(thread) && p.assign.target().is_some_and(|t| t.tracks);
        let dropped: Vec<Pending> = state.pending.extract_if(.., tracks).collect();
        state.pending.iter_mut().filter(|p| p.thread == Some(thread)).for_each(|p| p.thread = None);
        self.settle(state);
        drop(dropped);
    }
}

impl CellState {
    /// The assignment that a thread reads: its own, else one that was left to all.
    fn pending_of(&self, thread: u64) -> Option<&Arc<Node>> {
        let of = |owner| self.pending.iter().find(|p| p.thread == owner);
        of(Some(thread)).or_else(|| of(None)).map(|p| &p.assign)
    }

    /// Replaces what a thread reads with an assignment; returns what was there, to be dropped without the lock.
    fn replace(&mut self, thread: u64, assign: Option<Arc<Node>>) -> Vec<Pending> {
        let (out, kept) = std::mem::take(&mut self.pending).into_iter().partition(|p| p.thread.is_none_or(|t| t == thread));
        self.pending = kept;
        self.pending.extend(assign.map(|assign| Pending { thread: Some(thread), assign }));
        out
    }
}
