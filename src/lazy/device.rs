//! What a device is inside: a name, an executor, and a registry.

use super::{Device, DeviceKind, Handle, Inner, Node, Registry};
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::executor::Executor;
use crate::storage::Storage;
use crate::sync::lock;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gpu => "gpu",
            Self::Software => "software",
            Self::Cpu => "cpu",
        })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}: {})", self.kind(), self.name())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.kind())
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Device {}

impl Device {
    /// A device of this name over an executor.
    pub(crate) fn new(kind: DeviceKind, name: String, executor: Executor) -> Self {
        let (registry, evaluation) = (Registry::default(), Mutex::default());
        Self(Arc::new(Inner { kind, name, executor, registry, evaluation }))
    }

    /// The device's kind.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Who carries plans out.
    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// Whether values are in host memory, at hand without waiting.
    pub(crate) fn is_cpu(&self) -> bool {
        self.executor().is_cpu()
    }

    /// Memory that holds these values.
    pub(crate) fn upload(&self, data: HostData) -> Result<Storage> {
        self.executor().upload(data)
    }

    /// A realised value's elements. Waits for the device.
    pub(crate) fn read(&self, storage: &Storage, dtype: DType, len: usize) -> Result<HostData> {
        self.executor().read(storage, dtype, len)
    }

    /// Keeps others from reading and changing the states of nodes and cells.
    pub(crate) fn evaluating(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.evaluation)
    }

    pub(super) fn register_live(&self, id: u64, handle: &Arc<Handle>) {
        lock(&self.0.registry.live).insert(id, Arc::downgrade(handle));
    }

    pub(super) fn unregister_live(&self, id: u64) {
        lock(&self.0.registry.live).remove(&id);
    }

    /// The nodes whose value a later step may take away although somebody still wants it (handles, and assignments that
    /// have not run), in the order of their creation.
    pub(crate) fn endangered_nodes(&self) -> Vec<Arc<Node>> {
        // Upgraded handles must drop outside the lock: their drop takes it.
        let handles: Vec<Arc<Handle>> = lock(&self.0.registry.live).values().filter_map(Weak::upgrade).collect();
        let mut nodes: Vec<Arc<Node>> = handles.iter().map(|h| h.node.clone()).collect();
        nodes.extend(self.pending());
        nodes.sort_by_key(|n| n.id);
        nodes.dedup_by_key(|n| n.id);
        nodes
    }

    /// Assignments that have not run.
    pub(crate) fn pending(&self) -> Vec<Arc<Node>> {
        lock(&self.0.registry.pending).values().cloned().collect()
    }

    pub(super) fn add_pending(&self, cell: u64, assign: Arc<Node>) {
        let replaced = lock(&self.0.registry.pending).insert(cell, assign);
        drop(replaced);
    }

    pub(super) fn remove_pending(&self, cell: u64) {
        let removed = lock(&self.0.registry.pending).remove(&cell);
        drop(removed);
    }
}
