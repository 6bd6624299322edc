//! Nodes of the lazy graph, and the handles that users hold.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Error;
use crate::graph::Op;
use crate::param::Cell;
use crate::rng::RandomKey;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::sync::{self, lock};
use crate::tensor::Tensor;
use crate::tensor::origin::Origin;
use std::cell::Cell as ThreadCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no other node, cell or handle of this process has.
pub(crate) fn fresh_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// The value that a source node carries: data, not structure.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Not a source, or one without data.
    None,
    /// For `Op::Scalar`.
    Scalar(f64),
    /// For `Op::Random`.
    Random(RandomKey),
    /// For `Op::Cell` and `Op::Assign`: the cell, and the version that the node reads or makes.
    Cell(Arc<Cell>, u64),
    /// For `Op::OptimStore`: the memory, and the parameter of each entry, whose cell a step overwrites.
    Store { store: Arc<OptimStore>, cells: Arc<[Arc<Cell>]> },
    /// For an `Op::Where` that joins two tensors, each padded with what the other one fills: their gradients need no mask.
    Join,
    /// For `Op::Recomputed`.
    Gradient(Arc<dyn GradientRule>),
}

/// `ct · ∂output/∂w`, of an output, its cotangent `ct` and several w; `None` where none flows.
pub(crate) type VjpAt = fn(&Tensor, &Tensor, &[Tensor]) -> Result<Vec<Option<Tensor>>, Error>;

/// The gradient of an `Op::Recomputed`.
pub(crate) trait GradientRule: std::fmt::Debug + Send + Sync {
    /// `ct · ∂value/∂operand` for each operand; `None` where none flows. `vjp_at` differentiates what the rule builds.
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>, Error>;
}

/// What changes in a node's life.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Operands; empty for sources and for realised nodes through which no gradient flows.
    pub inputs: Vec<Arc<Node>>,
    /// The value, once realised.
    pub value: Option<Storage>,
    /// Assignments that run with the first evaluation that reaches this node.
    pub anchored: Vec<Arc<Node>>,
    /// For `Op::Assign`: the assignment has run, so the node now reads its cell.
    pub assigned: bool,
    /// Where the values came from; set when the node is made.
    pub origin: Origin,
}

/// One operation of the lazy graph.
#[derive(Debug)]
pub(crate) struct Node {
    pub id: u64,
    pub op: Op,
    pub shape: Shape,
    pub dtype: DType,
    pub device: Device,
    /// Whether a gradient can flow through the node to a parameter or variable.
    pub requires_grad: bool,
    /// Whether the value depends on a cell that a later step may overwrite.
    pub reads_cell: bool,
    pub payload: Payload,
    state: Mutex<State>,
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

/// A user's hold on a node. While one lives, the node's value must stay obtainable.
#[derive(Debug)]
pub(crate) struct Handle {
    pub node: Arc<Node>,
    id: u64,
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

/// The outcome of an op: a node, or the first error on the way to it.
pub(crate) type Outcome = Result<Arc<Handle>, Arc<Error>>;

thread_local! {
    static GRAD_ENABLED: ThreadCell<bool> = const { ThreadCell::new(true) };
}

/// Whether ops on this thread record what gradients need.
pub(crate) fn grad_enabled() -> bool {
    GRAD_ENABLED.get()
}

/// Runs `f` with gradient recording switched off on this thread: results are detached, and memory is freed early.
///
/// ```
/// # use wgrad::{Device, Param, Tensor, no_grad};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let w = Param::new(&Tensor::ones([2], &device)?)?;
/// let y = no_grad(|| w.tensor() * 2.0);
/// assert!(!y.requires_grad());
/// # Ok(()) }
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_grad_mode(false, f)
}

/// Runs `f` with gradient recording on or off.
pub(crate) fn with_grad_mode<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            GRAD_ENABLED.set(self.0);
        }
    }
    let _restore = Restore(GRAD_ENABLED.replace(enabled));
    f()
}

/// Where an op was called: carried to errors.
pub(crate) type At = &'static Location<'static>;
