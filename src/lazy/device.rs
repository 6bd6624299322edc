//! What a device is inside: a name, an executor, and a registry.

use super::{Cell, Device, DeviceKind, Handle, Holding, Inner, Node, Registry, fresh_id};
use crate::dtype::{DType, HostData};
use crate::ending::Outliving;
use crate::error::{Error, Result};
use crate::executor::{Executor, Flag};
use crate::memory::MemoryUse;
use crate::storage::Storage;
use crate::storage::pool::{Counted, KINDS};
use crate::sync::lock;
use std::fmt;
use std::sync::atomic::Ordering;
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
        let (registry, evaluation, executor) = (Registry::default(), Mutex::default(), Outliving::new(executor));
        Self(Arc::new(Inner { number: fresh_id(), kind, name, executor, registry, evaluation }))
    }

    /// A device that counts memory and computes nothing.
    pub(crate) fn hollow(kind: DeviceKind, name: String, executor: Executor) -> Self {
        let device = Self::new(kind, name, executor);
        device.executor().hollow_out(device.0.registry.held.clone());
        device
    }

    /// The device's kind.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What runs plans.
    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// Whether values are in host memory, at hand without waiting.
    pub(crate) fn is_cpu(&self) -> bool {
        self.executor().is_cpu()
    }

    /// Memory with these values.
    pub(crate) fn upload(&self, data: HostData) -> Result<Storage> {
        self.says_what_it_holds(self.executor().upload(data))
    }

    /// Room for as many bytes of host memory that are about to be uploaded, on the CPU device.
    pub(crate) fn expect_upload(&self, bytes: u64) -> Result<()> {
        self.says_what_it_holds(self.executor().expect_upload(bytes))
    }

    /// A GPU's memory with these bytes.
    pub(crate) fn upload_bytes(&self, bytes: &[u8]) -> Result<Storage> {
        self.says_what_it_holds(self.executor().upload_bytes(bytes))
    }

    /// A realised value's elements. Waits for the device.
    pub(crate) fn read(&self, storage: &Storage, dtype: DType, len: usize) -> Result<HostData> {
        let executor = self.executor();
        let transfer = executor.start_read(storage, dtype, len, executor.latest_flag());
        self.says_what_it_holds(transfer.and_then(|transfer| executor.finish_read(transfer, dtype, len)))
    }

    /// The flag of indices out of range, to go on from.
    pub(crate) fn flag(&self) -> Result<Flag> {
        self.says_what_it_holds(self.executor().flag())
    }

    /// What the device's memory is used for.
    pub(crate) fn measured_use(&self) -> MemoryUse {
        let counters = self.executor().counters();
        let work = self.executor().working_bytes();
        let held = self.0.registry.held.each_ref().map(|held| held.load(Ordering::Relaxed));
        split(held, counters.bytes_live, work, counters.bytes_cached.saturating_sub(work))
    }

    /// What a stand-in's memory was used for when the most was in use.
    pub(crate) fn use_at_peak(&self) -> MemoryUse {
        let (held, account) = self.executor().at_peak();
        split(held, account.live, account.working, 0)
    }

    /// Adds what the device holds to an error that says that memory has run out.
    pub(crate) fn says_what_it_holds<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|mut error| {
            if let Error::OutOfMemory { by_use: by_use @ None, in_use, limit, .. } = &mut error
                && (limit.is_some() || *in_use > 0)
            {
                let now = self.measured_use();
                (*in_use, *by_use) = (now.total(), Some(Box::new(now)));
            }
            error
        })
    }

    /// Keeps others from reading and changing the contents of nodes and cells. Returns the last number that an evaluation gave to
    /// a node.
    pub(crate) fn evaluating(&self) -> MutexGuard<'_, u64> {
        lock(&self.0.evaluation)
    }

    /// A number that no other device of this process has.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// A handle that the device knows from the moment when it exists.
    pub(super) fn register(&self, node: Arc<Node>, thread: u64) -> Arc<Handle> {
        lock(&self.0.registry.live).add(|slot| Arc::new(Handle { node, thread, slot: Some(slot) }))
    }

    pub(super) fn unregister(&self, slot: usize) {
        lock(&self.0.registry.live).remove(slot);
    }

    /// The handles whose values a later step may take away, those of older nodes first.
    pub(crate) fn live_handles(&self) -> Vec<Arc<Handle>> {
        // Handles must drop outside the lock: their drop takes it.
        let mut handles = lock(&self.0.registry.live).live();
        handles.sort_by_key(|h| (h.node.id, h.thread));
        handles
    }

    /// Notes whether a cell has pending assignments.
    pub(super) fn wait(&self, cell: &Arc<Cell>, waits: bool) {
        let mut waiting = lock(&self.0.registry.waiting);
        if waits {
            waiting.insert(cell.id, Arc::downgrade(cell));
        } else {
            waiting.remove(&cell.id);
        }
    }

    fn waiting(&self) -> Vec<Arc<Cell>> {
        lock(&self.0.registry.waiting).values().filter_map(Weak::upgrade).collect()
    }

    /// This thread's assignments that have not run, in program order.
    pub(crate) fn pending(&self) -> Vec<Arc<Node>> {
        sorted(self.waiting().iter().filter_map(|cell| cell.pending()).collect())
    }

    /// All threads' assignments that have not run.
    pub(crate) fn all_pending(&self) -> Vec<Arc<Node>> {
        sorted(self.waiting().iter().flat_map(|cell| cell.all_pending()).collect())
    }

    /// Counts live memory by what it holds, until the result is dropped.
    pub(crate) fn count(&self, what: Holding, bytes: u64) -> Arc<Counted> {
        Arc::new(Counted::new(bytes, &self.0.registry.held[what as usize]))
    }

    /// The bytes that hold something now.
    pub(crate) fn held(&self, what: Holding) -> u64 {
        self.0.registry.held[what as usize].load(Ordering::Relaxed)
    }
}

/// Memory by use: bytes by what live memory holds, all live bytes, those that plans work in, and those that are only cached.
fn split(held: [u64; KINDS], live: u64, working: u64, cached: u64) -> MemoryUse {
    let of = |what: Holding| held[what as usize];
    MemoryUse {
        parameters: of(Holding::Parameters),
        state: of(Holding::State),
        kept: of(Holding::Old),
        saved: of(Holding::Saved),
        // The others count elements, and live memory has paddings, too.
        tensors: live.saturating_sub(held.iter().sum()),
        working,
        cached,
    }
}

fn sorted(mut nodes: Vec<Arc<Node>>) -> Vec<Arc<Node>> {
    nodes.sort_by_key(|n| n.id);
    nodes
}
