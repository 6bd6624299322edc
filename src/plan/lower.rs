//! Lowers each materialised value of a graph to one step, fusing what it reads into expressions.

mod effects;
mod expression;
mod fuse;
mod kernels;
mod window;

use super::expr::TermId;
use super::materialise::{Options, is_heavy};
use super::{BufferId, BufferInfo, Expr, Kernel, Place, Plan, Step};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op};
use crate::shape::Shape;
use std::collections::{HashMap, HashSet};
use window::Window;

/// The result of a lowering pass.
pub(super) enum Outcome {
    /// These nodes must have buffers of their own; start again.
    Materialise(Vec<NodeId>),
    /// Steps in an order that respects dependencies. Slots are not assigned yet: each value has its own.
    Done(Plan),
}

/// Why an expression cannot be built.
enum Stop {
    /// This node must have a buffer of its own.
    Materialise(NodeId),
    /// Something is wrong.
    Failed(Error),
}

type Attempt<T> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One movement of a chain, outermost last. `input` is what to materialise if the movement cannot be a view.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Movement {
    op: Op,
    shape: Shape,
    input: NodeId,
}

/// A value that a heavy kernel computes and an elementwise kernel finishes.
struct Epilogue {
    /// The heavy node whose result enters as the accumulator.
    heavy: NodeId,
}

/// An expression under construction, with the buffers it loads.
struct Builder {
    expr: Expr,
    reads: Vec<BufferId>,
    memo: HashMap<(NodeId, Vec<Movement>), TermId>,
    /// The heavy node that is the accumulator here.
    acc: Option<NodeId>,
}

impl Builder {
    fn new(shape: Shape, acc: Option<NodeId>) -> Self {
        Self { expr: Expr::new(shape), reads: Vec::new(), memo: HashMap::new(), acc }
    }

    fn operand(&mut self, buffer: BufferId) -> usize {
        self.reads.iter().position(|&b| b == buffer).unwrap_or_else(|| {
            self.reads.push(buffer);
            self.reads.len() - 1
        })
    }
}

pub(super) struct Lowering<'g> {
    graph: &'g Graph,
    materialised: Vec<bool>,
    options: Options,
    /// What must have a buffer and has none. Such values count as computed for the rest of the round, which finds the others.
    missing: Vec<NodeId>,
    /// Per movement, what it looks at and how, unless that is a value without a buffer.
    windows: Vec<Option<Box<Window>>>,
    /// Per leaf, scalar and random node, its position among its kind.
    position: Vec<usize>,
    /// Where each value is, once it has a buffer.
    buffer: Vec<Option<BufferId>>,
    /// Nodes finished by another node's kernel: heavy node to elementwise node.
    finished_by: HashMap<NodeId, NodeId>,
    /// The reverse.
    epilogues: HashMap<NodeId, Epilogue>,
    uses: Vec<u32>,
    /// The buffers that some step reads.
    read: HashSet<BufferId>,
    users: Vec<Vec<NodeId>>,
    /// The node that steps are for.
    at: NodeId,
    plan: Plan,
}

impl<'g> Lowering<'g> {
    pub fn new(graph: &'g Graph, mut materialised: Vec<bool>, options: Options) -> Result<Self> {
        let windows = window::windows(graph, &mut materialised, options)?;
        let mut users = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            for &input in &node.inputs {
                users[input].push(id);
            }
        }
        let (mut leaves, mut scalars, mut randoms) = (0, 0, 0);
        let count = |n: &mut usize| {
            *n += 1;
            *n - 1
        };
        let position = graph
            .nodes
            .iter()
            .map(|node| match node.op {
                Op::Data | Op::Cell | Op::OptimStore => count(&mut leaves),
                Op::Scalar => count(&mut scalars),
                Op::Random(_) => count(&mut randoms),
                _ => 0,
            })
            .collect();
        Ok(Self {
            graph,
            materialised,
            options,
            missing: Vec::new(),
            windows,
            position,
            buffer: vec![None; graph.nodes.len()],
            finished_by: HashMap::new(),
            epilogues: HashMap::new(),
            uses: graph.uses(),
            read: HashSet::new(),
            users,
            at: 0,
            plan: Plan::default(),
        })
    }

    /// Lowers everything, or names nodes that need buffers first.
    pub fn run(mut self) -> Result<Outcome> {
        self.lower_all()?;
        Ok(if self.missing.is_empty() { Outcome::Done(self.plan) } else { Outcome::Materialise(self.missing) })
    }

    /// Repeats an attempt until it succeeds, with buffers for what has none and must have one: from then on, all that the round
    /// does is find those.
    fn carry<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Attempt<T>) -> Result<T> {
        loop {
            match attempt(self) {
                Ok(done) => return Ok(done),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Materialise(node)) if !self.materialised[node] && self.buffer[node].is_none() => {
                    self.missing.push(node);
                    self.add_buffer(node, Place::Slot(self.plan.buffers.len()));
                }
                Err(Stop::Materialise(node)) => {
                    let op = self.graph.nodes[node].op.name();
                    return Err(Error::internal(format!("node {node} ({op}) has a buffer and still cannot be read")));
                }
            }
        }
    }

    fn lower_all(&mut self) -> Result<()> {
        if self.options.fuse {
            self.choose_epilogues();
        }
        for id in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[id];
            self.at = id;
            match node.op {
                Op::Data | Op::Cell => {
                    self.add_buffer(id, Place::Leaf(self.position[id]));
                }
                _ if self.finished_by.contains_key(&id) => {}
                _ if is_heavy(&node.op) => self.carry(|l| l.lower_heavy(id, None))?,
                _ if self.materialised[id] => match self.epilogues.get(&id).map(|e| e.heavy) {
                    Some(heavy) => self.carry(|l| l.lower_heavy(heavy, Some(id)))?,
                    None => self.carry(|l| l.lower_elementwise(id))?,
                },
                _ => {}
            }
        }
        self.lower_outputs()?;
        self.lower_effects()
    }

    fn add_buffer(&mut self, id: NodeId, place: Place) -> BufferId {
        let node = &self.graph.nodes[id];
        self.plan.buffers.push(BufferInfo { place, dtype: node.dtype, len: node.shape.numel() });
        self.buffer[id] = Some(self.plan.buffers.len() - 1);
        self.plan.buffers.len() - 1
    }

    /// Where node `id` will be written: an output's buffer if it is one, else a slot of its own.
    fn target(&mut self, id: NodeId) -> BufferId {
        let place = match self.graph.outputs.binary_search(&id) {
            Ok(output) => Place::Output(output),
            Err(_) => Place::Slot(self.plan.buffers.len()),
        };
        self.add_buffer(id, place)
    }

    fn push_step(&mut self, kernel: Kernel, reads: Vec<BufferId>, write: Option<BufferId>) {
        let written = write.map_or(0, |w| self.plan.buffers[w].len);
        if written == 0 && write.is_some() {
            return;
        }
        let size = |b: BufferId| self.plan.buffers[b].dtype.bytes(self.plan.buffers[b].len) as u64;
        let bytes = reads.iter().chain(&write).map(|&b| size(b)).fold(0, u64::saturating_add);
        let flops = super::sizes::flops(&kernel, written);
        self.read.extend(&reads);
        self.plan.steps.push(Step { kernel, reads, write, level: 0, flops, bytes, node: self.at });
    }

    fn lower_elementwise(&mut self, id: NodeId) -> Attempt<()> {
        let mut builder = Builder::new(self.graph.nodes[id].shape, None);
        let root = self.body(&mut builder, id, &[])?;
        let write = self.target(id);
        self.push_step(Kernel::Elementwise(builder.expr.finish(root)), builder.reads, Some(write));
        Ok(())
    }

    /// Copies outputs that no kernel writes in place: leaves, inlined sources, and views other than of a whole value in order.
    fn lower_outputs(&mut self) -> Result<()> {
        let (graph, mut outputs) = (self.graph, Vec::new());
        for (k, &id) in graph.outputs.iter().enumerate() {
            self.at = id;
            let found = self.buffer[id].filter(|&b| self.plan.buffers[b].place == Place::Output(k)).or_else(|| self.shown(id, k));
            outputs.push(match found {
                Some(buffer) => buffer,
                None => self.carry(|l| l.copy_to(id, Place::Output(k)))?,
            });
        }
        self.plan.outputs = outputs;
        Ok(())
    }

    /// The buffer of a computed value of which an output shows all elements in order, as most reshapes do: it becomes the output's,
    /// or two outputs share it.
    fn shown(&mut self, id: NodeId, output: usize) -> Option<BufferId> {
        let buffer = self.contiguous(id).ok()?;
        let place = &mut self.plan.buffers[buffer].place;
        match place {
            Place::Slot(_) => *place = Place::Output(output),
            Place::Output(_) => {}
            Place::Leaf(_) | Place::Gradient { .. } => return None,
        }
        Some(buffer)
    }

    /// A kernel that computes `id` (a copy if it has a buffer) into a place.
    fn copy_to(&mut self, id: NodeId, place: Place) -> Attempt<BufferId> {
        let node = &self.graph.nodes[id];
        let mut builder = Builder::new(node.shape, None);
        let root = if self.buffer[id].is_some() { self.read(&mut builder, id, &[])? } else { self.value(&mut builder, id, &[])? };
        self.plan.buffers.push(BufferInfo { place, dtype: node.dtype, len: node.shape.numel() });
        let write = self.plan.buffers.len() - 1;
        self.push_step(Kernel::Elementwise(builder.expr.finish(root)), builder.reads, Some(write));
        Ok(write)
    }
}
