//! The types of the lazy graph that know one another: a [`Tensor`] holds a node, a node its operands, its device and perhaps a
//! cell; a device knows who still wants the values that a step is about to overwrite. They are in one file because each is
//! defined in terms of the others; what can be done with them is above, in [`eval`](crate::eval), [`device`](crate::device),
//! [`tensor`](crate::tensor) and [`param`](crate::param).
//!
//! ```text
//! Tensor ── Handle ──> Node ──> operands: Node ...          Param ──> Cell: memory, version
//!             ^          │                                              ^   │
//!             │          └── payload: (Cell, the version it reads) ─────┘   ├── reader: the handle to the newest version
//!             │                                                             └── pending: each thread's newest assignment
//! Device ── Registry: handles that read a cell, cells with pending assignments
//! ```
//!
//! # The life of a cell
//!
//! ```text
//!            read                       assign
//!   live ──────────> live: a node    ──────────> pending, of one thread ──┐
//!     ^              reads version v               │ abandoned, retracted │ read, flushed, or anchored and reached by a step
//!     │                                            v                      v
//!     │  end(written)                            live        begun: new reads are of version v + 1
//!     ├───────────────────────────────────────────────────────────────────┤
//!     └───────────────────────────────────────────────────────────────────┘
//!        end(not written): version v + 1 has the contents of version v
//! ```
//!
//! - Everything that reads or changes contents holds the device's evaluation lock. Making nodes and dropping handles does not.
//! - A write *begins* before anyone asks who still wants the old contents: from then on nobody new can want them. A reading
//!   handle is registered while its cell is locked, so that it is either on the old version and known, or on the new one.
//! - Whoever wants the old contents gets them ([`eval`](crate::eval)): what the evaluation computes anyway, or one copy per cell
//!   and version that all its readers share; the last of them frees it.
//! - A write *ends* when it has been submitted, or has failed. Then both versions have the same contents, and nobody has lost
//!   anything.
//! - An assignment is pending for the thread that made it: this thread reads the new value, all others the committed one. What
//!   a training pass tracks, such as running statistics, is run with the thread's next step, if that is taken.

pub(crate) mod anomaly;
mod cell;
mod device;
mod node;
mod recording;
mod slots;
pub(crate) mod snapshot;
mod tally;
mod thread;

pub use recording::no_grad;
pub(crate) use recording::{grad_enabled, with_grad_mode};
pub(crate) use tally::{Tally, Ticket, Verdict};

use crate::dtype::{DType, HostData};
use crate::ending::Outliving;
use crate::error::Error;
use crate::executor::Executor;
use crate::graph::layer::Layer;
use crate::graph::{Op, View};
use crate::rng::RandomKey;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::storage::pool::{Counted, KINDS};
use slots::Slots;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no other node, cell or handle of this process has.
pub(crate) fn fresh_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// What kind of device runs the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A hardware GPU through Vulkan, Metal or DX12.
    Gpu,
    /// A GPU driver that runs on the host's cores: lavapipe, SwiftShader, WARP.
    Software,
    /// The CPU device: Rust code on the host's cores.
    Cpu,
}

/// A device: a GPU, a software adapter, or the CPU. Clones share it.
///
/// It has a name, an executor that runs plans, and a registry of who still wants values that a later step overwrites.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    number: u64,
    kind: DeviceKind,
    name: String,
    executor: Outliving<Executor>,
    registry: Registry,
    /// Held while an evaluation reads and changes contents of nodes and cells: the last number that one gave to a node.
    evaluation: Mutex<u64>,
}

/// Who wants old values of cells.
#[derive(Debug, Default)]
struct Registry {
    /// Handles to nodes that depend on a cell.
    live: Mutex<Slots<Handle>>,
    /// Cells with pending assignments, by id.
    waiting: Mutex<BTreeMap<u64, Weak<Cell>>>,
    /// Bytes of live memory, by [`Holding`].
    held: [Arc<AtomicU64>; KINDS],
}

/// What live memory may hold, other than tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Parameters.
    Parameters,
    /// The state of optimizers, and buffers of layers.
    State,
    /// Old contents of cells that handles still need.
    Old,
    /// Values that a backward pass reads.
    Saved,
}

/// An n-dimensional array on a device, computed when it is needed.
///
/// Ops return a tensor at once and do no work. Work happens when a value is read ([`Tensor::to_vec`], [`Tensor::item`]),
/// on [`Tensor::eval`], or in an optimizer's step. A call with operands that do not fit returns a tensor that carries the
/// error; every method that returns a `Result` reports it. Clones are cheap and share the value.
///
/// ```
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
/// let b = (&a + 1.0).matmul(&a.t());
/// assert_eq!(b.to_vec::<f32>()?, [8.0, 18.0, 14.0, 32.0]);
///
/// let wrong = a.matmul(&Tensor::zeros([3, 2], &device)?);
/// assert!(wrong.eval().unwrap_err().to_string().contains("inner dimensions 2 and 3 differ"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "an op changes no tensor: it gives a new one, which is computed when it is read"]
pub struct Tensor(Outcome);

/// The outcome of an op: a node, or the first error on the way to it.
pub(crate) type Outcome = Result<Arc<Handle>, Arc<Error>>;

/// A user's handle to a node. While one lives, the node's value must stay obtainable.
#[derive(Debug)]
pub(crate) struct Handle {
    pub node: Arc<Node>,
    /// The thread that made it: a number of [`thread`].
    pub thread: u64,
    /// Its place in the device's registry, if a later step could overwrite what the node depends on.
    slot: Option<usize>,
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
    /// Which layer it belongs to, for profiles.
    pub layer: Layer,
    pub payload: Payload,
    /// The number that the latest evaluation to reach the node gave it, above all numbers of earlier ones.
    number: AtomicU64,
    /// Whether a backward pass has gone through the node.
    differentiated: AtomicBool,
    state: Mutex<State>,
}

/// A node's operands: few of them without memory of their own; clones of longer lists share them.
#[derive(Debug, Clone, Default)]
pub(crate) enum Inputs {
    #[default]
    None,
    One([Arc<Node>; 1]),
    Two([Arc<Node>; 2]),
    Three([Arc<Node>; 3]),
    Many(Arc<Vec<Arc<Node>>>),
}

/// What changes in a node's life.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Operands; empty for sources and for realised nodes through which no gradient flows.
    pub inputs: Inputs,
    /// The value, once realised. For a node that reads a cell, the contents that an overwrite kept for it.
    pub value: Option<Storage>,
    /// Counts the bytes of contents that an overwrite kept, or of a value that a backward pass reads.
    pub kept: Option<Arc<Counted>>,
    /// Assignments that run with the first evaluation that reaches this node.
    pub anchored: Vec<Arc<Node>>,
    /// For `Op::Assign`: the version that it made of its cell, once it has run; [`SUPERSEDED`] if a later one stands for it. For a
    /// check of indices: something, once it has run.
    pub assigned: Option<u64>,
    /// For a gradient: all those of its backward pass, which the first read of one evaluates together.
    pub siblings: Option<Arc<Siblings>>,
    /// Where the values came from; set when the node is made.
    pub origin: Origin,
}

/// What an assignment is for.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it overwrites.
    pub cell: Arc<Cell>,
    /// What it increments when it runs.
    pub ticket: Option<Ticket>,
    /// Whether it belongs to a training step that is to come, and runs only if that does.
    pub tracks: bool,
}

/// A version that no cell ever has.
const SUPERSEDED: u64 = u64::MAX;

/// The gradients of one backward pass.
pub(crate) type Siblings = Vec<Weak<Handle>>;

/// The value that a source node carries: data, not structure.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Not a source, or one without data.
    None,
    /// For `Op::Scalar`.
    Scalar(f64),
    /// For `Op::Random`.
    Random(RandomKey),
    /// For `Op::Cell`: the cell, and the version that the node reads.
    Cell(Arc<Cell>, u64),
    /// For `Op::Assign`.
    Target(Arc<Target>),
    /// For `Op::OptimStore`: the memory, and the parameter of each entry, whose cell a step overwrites.
    Store { store: Arc<OptimStore>, cells: Arc<[Arc<Cell>]> },
    /// For an `Op::Where` that joins two tensors, each padded with what the other one fills: their gradients need no mask.
    Join,
    /// For `Op::Recomputed`.
    Gradient(Arc<dyn GradientRule>),
}

/// `ct · ∂output/∂w`, for an output, its cotangent `ct` and several w; `None` where no gradient flows.
pub(crate) type VjpAt = fn(&Tensor, &Tensor, &[Tensor]) -> Result<Vec<Option<Tensor>>, Error>;

/// The gradient of an `Op::Recomputed`.
pub(crate) trait GradientRule: fmt::Debug + Send + Sync {
    /// `ct · ∂value/∂operand` for each operand; `None` where no gradient flows. `vjp_at` differentiates what the rule builds.
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>, Error>;
}

/// Memory that changes over time, with a version that counts the changes.
#[derive(Debug)]
pub(crate) struct Cell {
    pub id: u64,
    pub shape: Shape,
    pub dtype: DType,
    pub device: Device,
    /// Whether this is tracked state, which never trains.
    pub buffer: bool,
    trainable: AtomicBool,
    name: Mutex<String>,
    state: Mutex<CellState>,
    /// Its bytes in the device's account.
    #[allow(dead_code, reason = "counts until it is dropped")]
    counted: Arc<Counted>,
}

#[derive(Debug)]
struct CellState {
    storage: Storage,
    /// Counts the writes that have begun.
    version: u64,
    /// The last write that has ended.
    ended: u64,
    /// The first version that has the present contents: a write that fails makes a version like the one before.
    since: u64,
    /// The handle that reads the newest version, shared by all reads of it.
    reader: Weak<Handle>,
    /// The newest assignment of each thread that has not run.
    pending: Vec<Pending>,
}

/// A pending assignment, and the thread for which it is the cell's newest value; `None` for all of them.
#[derive(Debug)]
struct Pending {
    thread: Option<u64>,
    assign: Arc<Node>,
}

/// Where a node's values came from: values that the host knows are checked where they are used as indices.
#[derive(Debug, Clone, Default)]
pub(crate) enum Origin {
    /// A device computed them.
    #[default]
    Device,
    /// The host: to be read from the node itself, whose range is worked out once.
    Host(Arc<ValueRange>),
    /// The host, seen through views and casts.
    Seen(Seen),
}

/// Host values, and what is between them and the node.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub leaf: Arc<HostLeaf>,
    pub steps: Vec<Through>,
}

/// The smallest and the largest value, NaN if any is; once they have been asked for.
pub(crate) type ValueRange = OnceLock<(f64, f64)>;

/// Host values.
#[derive(Debug)]
pub(crate) struct HostLeaf {
    pub source: HostSource,
    pub range: Arc<ValueRange>,
}

/// Where host values are.
#[derive(Debug)]
pub(crate) enum HostSource {
    /// In host memory, beside the upload.
    Kept(HostData),
    /// Held by the origin of a node above it, which drops it without recursion.
    Node(Arc<Node>),
}

/// What host values are seen through.
#[derive(Debug, Clone)]
pub(crate) enum Through {
    View(Box<View>),
    Cast { from: DType, to: DType },
}
