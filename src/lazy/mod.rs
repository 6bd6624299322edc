//! The types of the lazy graph that know one another: a [`Tensor`] holds a node, a node its operands, its device and perhaps a
//! cell; a device knows who still wants the values that a step is about to overwrite. They have one file because each is said in
//! terms of the others; what can be done with them lies above, in [`eval`](crate::eval), [`device`](crate::device),
//! [`tensor`](crate::tensor) and [`param`](crate::param).
//!
//! ```text
//! Tensor ── Handle ──> Node ──> operands: Node ...          Param ──> Cell: memory, version
//!             ^          │                                              ^   │
//!             │          └── payload: (Cell, the version it reads) ─────┘   └── head: the node of the newest version
//!             │
//! Device ── Registry: handles that read a cell, assignments that have not run
//! ```
//!
//! The life of a cell: an assignment or a step asks for a new version (`head_version`), nodes made since read that one; when it
//! has run, the memory holds it (`version`). Before it runs, the device's registry is asked which live handles and waiting
//! assignments still need the old contents; they are computed in the same submission.

mod cell;
mod device;
mod node;
mod recording;

pub use recording::no_grad;
pub(crate) use recording::{grad_enabled, with_grad_mode};

use crate::dtype::{DType, HostData};
use crate::error::Error;
use crate::executor::Executor;
use crate::graph::{Op, View};
use crate::rng::RandomKey;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use std::collections::HashMap;
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
/// It has a name, an executor that carries plans out, and a registry of who still wants values that a later step overwrites.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    kind: DeviceKind,
    name: String,
    executor: Executor,
    registry: Registry,
    /// Held while an evaluation reads and changes node and cell states.
    evaluation: Mutex<()>,
}

/// Who wants old values of cells.
#[derive(Default)]
struct Registry {
    /// Handles on nodes that depend on a cell, by their id.
    live: Mutex<HashMap<u64, Weak<Handle>>>,
    /// Assignments that have not run, by the cell's id: the newest of each.
    pending: Mutex<HashMap<u64, Arc<Node>>>,
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
pub struct Tensor(Outcome);

/// The outcome of an op: a node, or the first error on the way to it.
pub(crate) type Outcome = Result<Arc<Handle>, Arc<Error>>;

/// A user's hold on a node. While one lives, the node's value must stay obtainable.
#[derive(Debug)]
pub(crate) struct Handle {
    pub node: Arc<Node>,
    id: u64,
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
pub(crate) trait GradientRule: fmt::Debug + Send + Sync {
    /// `ct · ∂value/∂operand` for each operand; `None` where none flows. `vjp_at` differentiates what the rule builds.
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
}

#[derive(Debug)]
struct CellState {
    storage: Storage,
    /// Counts the writes that have run.
    version: u64,
    /// Counts the writes that the program has asked for.
    head_version: u64,
    /// The node that reads the newest version, shared by all reads of it.
    head: Weak<Node>,
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

/// Host values, and what lies between them and the node.
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

/// Where host values lie.
#[derive(Debug)]
pub(crate) enum HostSource {
    /// In host memory, beside the upload.
    Kept(HostData),
    /// Held by the mark of a node above it, which drops it without recursion.
    Node(Arc<Node>),
}

/// What host values are seen through.
#[derive(Debug, Clone)]
pub(crate) enum Through {
    View(Box<View>),
    Cast { from: DType, to: DType },
}
