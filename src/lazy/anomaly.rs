//! Anomaly mode: while it is on, which call made each node, and what was found. It finds nothing itself: evaluations do, in
//! [`eval`](crate::eval).
//!
//! All of this is beside the nodes, in tables that exist only while the mode is on.

use super::{Cell, Node, Payload};
use crate::error::Anomaly;
use crate::graph::layer::Layer;
use crate::site;
use crate::sync::lock;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::{Cell as Slot, RefCell};
use std::panic::Location;
use std::sync::{Arc, Mutex, Weak};

type At = &'static Location<'static>;

/// What happens when [`AnomalyMode`] finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnomalyPolicy {
    /// The evaluation or step fails with [`Error::NotFinite`](crate::Error::NotFinite), and changes nothing.
    Stop,
    /// An optimizer's step is not taken: weights, state, statistics and counts stay as they were. Other evaluations go on.
    Skip,
    /// Nothing else changes.
    Ignore,
}

/// Names what first becomes NaN or infinite in a training run: the op, the layer, the parameter and the line of the program.
///
/// While [`watch`](Self::watch) runs a closure, on its thread, every evaluation and every optimizer's step is checked before it
/// happens. It is an anomaly if what it results in is not finite: a value that is read or evaluated, a loss, a gradient, a layer's
/// new statistics, a parameter or its state after the step. Then all that it was computed from is looked at, and the first culprit
/// in the order of the program is named:
///
/// - an op that makes a NaN or an infinity of finite operands, or a NaN of infinities that were put in on purpose;
/// - data or a parameter that is not finite already.
///
/// Values that do not reach a result are no anomalies: the -∞ of an attention mask, or the logarithm of 0 where `where_` takes
/// the other branch. Neither is an infinite number in the program itself that is only passed on.
///
/// With [`LossScaler`](crate::optim::LossScaler), gradients are checked as if the scale was 1: what overflows because of the scale
/// is the scaler's own affair.
///
/// What is found is logged as a warning (target `wgrad::train`), once for each place in the program, and kept in
/// [`found`](Self::found). Without an anomaly, results are the same bits as without the mode. It is slow: each evaluation runs
/// twice, and a step needs memory for its gradients and for a copy of parameters and optimizer state. Without the mode nothing is
/// recorded or computed for it.
///
/// ```
/// # use wgrad::train::{AnomalyMode, AnomalyPolicy};
/// # use wgrad::{Device, Error, Param, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let w = Param::new(&Tensor::from_slice(&[4.0f32, 0.0], [2], &Device::cpu()?)?)?;
/// let mode = AnomalyMode::new(AnomalyPolicy::Stop);
/// let error = mode.watch(|| {
///     let loss = w.tensor().sqrt().sum(); // finite, but the derivative of a root at 0 is infinite
///     loss.backward()?.get(&w)?.to_vec::<f32>()
/// });
/// let Err(Error::NotFinite(found)) = error else { panic!() };
/// assert_eq!((found.op.as_str(), found.position, found.at.unwrap().line()), ("sqrt", 1, line!() - 4));
/// assert_eq!(mode.found().len(), 1);
/// # Ok(()) }
/// ```
/// Compare [PyTorch](https://pytorch.org/docs/stable/autograd.html#anomaly-detection), `detect_anomaly`, which finds a NaN in a
/// backward pass, and no infinity.
#[derive(Debug, Clone)]
#[must_use = "the mode does nothing until it watches something"]
pub struct AnomalyMode(Arc<Watch>);

impl AnomalyMode {
    /// A mode that has found nothing yet. Clones share what they find.
    pub fn new(policy: AnomalyPolicy) -> Self {
        Self(Arc::new(Watch { policy, found: Mutex::default() }))
    }

    /// Runs `f` with the mode on, on this thread: a whole training loop, or one step. Build the graph within it, too: calls made
    /// before have no line.
    pub fn watch<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Leaves the innermost mode, whatever happens.
        struct Leave(Context);
        impl Drop for Leave {
            fn drop(&mut self) {
                let left = MODES.with_borrow_mut(Vec::pop);
                CONTEXT.set(self.0);
                drop(left);
            }
        }
        MODES.with_borrow_mut(|modes| modes.push(self.0.clone()));
        let _leave = Leave(CONTEXT.replace(Context { on: true, call: None }));
        f()
    }

    /// What happens when something is found.
    pub fn policy(&self) -> AnomalyPolicy {
        self.0.policy
    }

    /// What has been found so far, each place of the program once, in the order in which they were found.
    pub fn found(&self) -> Vec<Anomaly> {
        lock(&self.0.found).anomalies.clone()
    }

    /// How many steps have been skipped by [`AnomalyPolicy::Skip`].
    pub fn skipped(&self) -> usize {
        lock(&self.0.found).skipped
    }
}

/// A mode's tables.
#[derive(Debug)]
pub(crate) struct Watch {
    pub policy: AnomalyPolicy,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    anomalies: Vec<Anomaly>,
    skipped: usize,
    nodes: FxHashMap<u64, Noted>,
    cells: FxHashMap<u64, Weak<Cell>>,
    /// How many entries there may be before those of what is gone are removed.
    many: usize,
    /// Cells by which losses are scaled.
    scales: FxHashSet<u64>,
    /// What this mode's threads have gone backward from since the last step.
    losses: Vec<Weak<Node>>,
}

/// What is known of a node.
#[derive(Debug)]
struct Noted {
    node: Weak<Node>,
    call: Option<Call>,
    /// The cell whose gradient it is.
    gradient_of: Option<u64>,
    /// The anomaly that spoils it.
    spoiled_by: Option<usize>,
}

/// A call of an op.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// The op, as the program calls it; `None` for the node's own name.
    pub op: Option<&'static str>,
    pub at: Option<At>,
    /// The layer of its operands.
    pub layer: Layer,
    /// Whether a backward pass goes through it.
    pub backward: bool,
}

/// What this thread is doing.
#[derive(Debug, Clone, Copy)]
struct Context {
    on: bool,
    /// The outermost call that it is in.
    call: Option<Call>,
}

thread_local! {
    static CONTEXT: Slot<Context> = const { Slot::new(Context { on: false, call: None }) };
    /// Innermost last.
    static MODES: RefCell<Vec<Arc<Watch>>> = const { RefCell::new(Vec::new()) };
}

/// Restores what the thread was doing before.
#[derive(Debug)]
pub(crate) struct Within(Context);

impl Drop for Within {
    fn drop(&mut self) {
        CONTEXT.set(self.0);
    }
}

/// The mode that this thread is in.
pub(crate) fn current() -> Option<Arc<Watch>> {
    if !CONTEXT.get().on {
        return None;
    }
    MODES.with_borrow(|modes| modes.last().cloned())
}

/// Until the result is dropped, nodes belong to this call, unless it is a part of another one.
#[inline]
pub(crate) fn called(op: &'static str, at: At) -> Option<Within> {
    called_on(op, at, Layer::default)
}

/// As [`called`], for a call on operands of a layer.
#[inline]
pub(crate) fn called_on(op: &'static str, at: At, layer: impl FnOnce() -> Layer) -> Option<Within> {
    let context = CONTEXT.get();
    let call = || Call { op: Some(op), at: Some(at), layer: layer(), backward: false };
    (context.on && context.call.is_none()).then(|| enter(context, call()))
}

/// Until the result is dropped, nodes belong to a backward pass that is called here.
pub(crate) fn backward(at: At) -> Option<Within> {
    let context = CONTEXT.get();
    let call = Call { op: Some("backward"), at: Some(at), layer: Layer::default(), backward: true };
    (context.on && context.call.is_none()).then(|| enter(context, call))
}

/// Until the result is dropped, nodes belong to the gradient of this one.
#[inline]
pub(crate) fn differentiating(node: &Node) -> Option<Within> {
    let context = CONTEXT.get();
    if !context.on {
        return None;
    }
    let call = current().and_then(|watch| watch.call_of(node.id));
    let unknown = || Call { op: Some(node.op.name()), at: None, layer: node.layer, backward: true };
    Some(enter(context, Call { backward: true, ..call.unwrap_or_else(unknown) }))
}

fn enter(context: Context, mut call: Call) -> Within {
    call.at = call.at.map(site::of_program);
    Within(CONTEXT.replace(Context { call: Some(call), ..context }))
}

/// Notes a new node.
#[inline]
pub(super) fn made(node: &Arc<Node>) {
    let context = CONTEXT.get();
    if context.on
        && let Some(watch) = current()
    {
        lock(&watch.found).note(node, context.call);
    }
}

/// Notes a backward pass: from a loss, to gradients of cells.
pub(crate) fn went_backward<'n>(loss: &Arc<Node>, gradients: impl Iterator<Item = (&'n Arc<Node>, u64)>) {
    let Some(watch) = current() else { return };
    let mut found = lock(&watch.found);
    found.losses.retain(|loss| loss.strong_count() > 0);
    found.losses.push(Arc::downgrade(loss));
    for (node, cell) in gradients {
        found.note(node, None).gradient_of = Some(cell);
    }
}

/// Notes that losses are multiplied by this cell.
pub(crate) fn scaled_by(cell: u64) {
    if let Some(watch) = current() {
        lock(&watch.found).scales.insert(cell);
    }
}

impl Found {
    /// Adds a node, if it is new.
    fn note(&mut self, node: &Arc<Node>, call: Option<Call>) -> &mut Noted {
        if self.nodes.len() + self.cells.len() > self.many {
            self.nodes.retain(|_, noted| noted.node.strong_count() > 0);
            self.cells.retain(|_, cell| cell.strong_count() > 0);
            self.many = 2 * (self.nodes.len() + self.cells.len()) + 1024;
        }
        if let Payload::Cell(cell, _) = &node.payload {
            self.cells.insert(cell.id, Arc::downgrade(cell));
        }
        let new = || Noted { node: Arc::downgrade(node), call, gradient_of: None, spoiled_by: None };
        self.nodes.entry(node.id).or_insert_with(new)
    }
}

impl Watch {
    /// The call that made a node.
    pub fn call_of(&self, node: u64) -> Option<Call> {
        lock(&self.found).nodes.get(&node).and_then(|noted| noted.call)
    }

    /// The cell whose gradient a node is.
    pub fn gradient_of(&self, node: u64) -> Option<u64> {
        lock(&self.found).nodes.get(&node).and_then(|noted| noted.gradient_of)
    }

    /// The name of a cell that was read in the mode.
    pub fn name_of(&self, cell: u64) -> Option<String> {
        lock(&self.found).cells.get(&cell).and_then(Weak::upgrade).map(|cell| cell.name())
    }

    /// Notes a cell whose name may be asked for.
    pub fn knows(&self, cell: &Arc<Cell>) {
        lock(&self.found).cells.insert(cell.id, Arc::downgrade(cell));
    }

    /// Whether losses are scaled at all.
    pub fn has_scales(&self) -> bool {
        !lock(&self.found).scales.is_empty()
    }

    /// Whether losses are multiplied by a cell.
    pub fn is_scale(&self, cell: u64) -> bool {
        lock(&self.found).scales.contains(&cell)
    }

    /// What was gone backward from since the last step.
    pub fn take_losses(&self) -> Vec<Arc<Node>> {
        std::mem::take(&mut lock(&self.found).losses).iter().filter_map(Weak::upgrade).collect()
    }

    /// The anomaly that spoils a node, if one was found.
    pub fn spoiled(&self, node: u64) -> Option<Anomaly> {
        let found = lock(&self.found);
        let at = found.nodes.get(&node)?.spoiled_by?;
        found.anomalies.get(at).cloned()
    }

    /// Adds an anomaly, or counts it once more, and notes which nodes it spoils.
    pub fn report(&self, anomaly: &Anomaly, spoiled: &[Arc<Node>]) {
        let mut found = lock(&self.found);
        let known = found.anomalies.iter().position(|a| a.is_like(anomaly));
        let at = known.unwrap_or_else(|| {
            found.anomalies.push(anomaly.clone());
            found.anomalies.len() - 1
        });
        match known {
            Some(at) => found.anomalies[at].times += 1,
            None => log::warn!(target: "wgrad::train", "not finite: {anomaly}"),
        }
        for node in spoiled {
            found.note(node, None).spoiled_by.get_or_insert(at);
        }
    }

    /// Counts a step that is not taken.
    pub fn skip(&self) {
        lock(&self.found).skipped += 1;
    }
}
