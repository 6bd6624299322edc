//! Lowers each materialised value of a graph to one step, fusing what it reads into expressions.

use super::compile::{Options, is_heavy};
use super::{BufferId, BufferInfo, Conv2d, ConvRole, Expr, Kernel, MatMul, MatrixView, Place, Plan, Step, Term};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::graph::{Graph, NodeId, Op, View};
use crate::optim::store::BLOCK;
use crate::plan::expr::TermId;
use crate::shape::Shape;
use std::collections::{HashMap, HashSet};

/// What a lowering pass came to.
pub(super) enum Outcome {
    /// This node must have a buffer of its own; start again.
    Materialise(NodeId),
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
    materialised: &'g [bool],
    options: Options,
    /// Per leaf, scalar and random node, its position among its kind.
    position: Vec<usize>,
    /// Where each value is, once it is.
    buffer: Vec<Option<BufferId>>,
    /// Nodes finished by another node's kernel: heavy node to elementwise node.
    finished_by: HashMap<NodeId, NodeId>,
    /// The reverse.
    epilogues: HashMap<NodeId, Epilogue>,
    uses: Vec<u32>,
    users: Vec<Vec<NodeId>>,
    plan: Plan,
}

impl<'g> Lowering<'g> {
    pub fn new(graph: &'g Graph, materialised: &'g [bool], options: Options) -> Self {
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
        Self {
            graph,
            materialised,
            options,
            position,
            buffer: vec![None; graph.nodes.len()],
            finished_by: HashMap::new(),
            epilogues: HashMap::new(),
            uses: graph.uses(),
            users,
            plan: Plan::default(),
        }
    }

    /// Lowers everything, or names a node that needs a buffer first.
    pub fn run(mut self) -> Result<Outcome> {
        match self.lower_all() {
            Ok(()) => Ok(Outcome::Done(self.plan)),
            Err(Stop::Materialise(node)) if !self.materialised[node] => Ok(Outcome::Materialise(node)),
            Err(Stop::Materialise(node)) => Err(Error::internal(format!(
                "node {node} ({}) has a buffer and still cannot be read",
                self.graph.nodes[node].op.name()
            ))),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn lower_all(&mut self) -> Attempt<()> {
        if self.options.fuse {
            self.choose_epilogues();
        }
        for id in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[id];
            match node.op {
                Op::Data | Op::Cell => {
                    self.add_buffer(id, Place::Leaf(self.position[id]));
                }
                _ if self.finished_by.contains_key(&id) => {}
                _ if is_heavy(&node.op) => self.lower_heavy(id, None)?,
                _ if self.materialised[id] => match self.epilogues.get(&id).map(|e| e.heavy) {
                    Some(heavy) => self.lower_heavy(heavy, Some(id))?,
                    None => self.lower_elementwise(id)?,
                },
                _ => {}
            }
        }
        self.lower_outputs()?;
        self.lower_effects()
    }

    /// Lets elementwise kernels run as the epilogue of the product or reduction that feeds them.
    fn choose_epilogues(&mut self) {
        for id in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[id];
            if !(self.materialised[id] && node.op.is_elementwise()) {
                continue;
            }
            let mut heavies = Vec::new();
            let inlined = self.inlined(id, &mut heavies);
            // The last one: by then every other operand exists.
            let Some(&heavy) = heavies.iter().max() else { continue };
            // The heavy node itself drops out of the reads; its own operands come in.
            let operands = match self.graph.nodes[heavy].op {
                Op::Reduce { .. } => self.buffers_read(&self.inlined(heavy, &mut Vec::new()), heavy),
                _ => self.graph.nodes[heavy].inputs.len(),
            };
            if operands + self.buffers_read(&inlined, id) > self.options.max_operands + 1 || !self.can_finish(heavy, id, &inlined)
            {
                continue;
            }
            self.finished_by.insert(heavy, id);
            self.epilogues.insert(id, Epilogue { heavy });
        }
    }

    /// The nodes fused into the kernel of `id`; heavy nodes that it reads go to `heavies`.
    fn inlined(&self, id: NodeId, heavies: &mut Vec<NodeId>) -> HashSet<NodeId> {
        let mut seen = HashSet::from([id]);
        let mut stack = vec![id];
        while let Some(node) = stack.pop() {
            for &input in &self.graph.nodes[node].inputs {
                if !seen.insert(input) {
                    continue;
                }
                if is_heavy(&self.graph.nodes[input].op) {
                    heavies.push(input);
                } else if !self.materialised[input] {
                    stack.push(input);
                }
            }
        }
        seen
    }

    /// How many buffers a kernel made of these nodes loads.
    fn buffers_read(&self, inlined: &HashSet<NodeId>, own: NodeId) -> usize {
        let has_buffer = |&&n: &&NodeId| {
            let op = &self.graph.nodes[n].op;
            n != own && (self.materialised[n] || is_heavy(op) || matches!(op, Op::Data | Op::Cell))
        };
        inlined.iter().filter(has_buffer).count()
    }

    /// Whether all that becomes of `heavy` is computed by the kernel of `id`, element by element.
    fn can_finish(&self, heavy: NodeId, id: NodeId, inlined: &HashSet<NodeId>) -> bool {
        let (h, e) = (&self.graph.nodes[heavy], &self.graph.nodes[id]);
        let kernel_has_epilogue =
            matches!(h.op, Op::MatMul | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_) | Op::Reduce { .. });
        if !kernel_has_epilogue || self.finished_by.contains_key(&heavy) || self.graph.outputs.contains(&heavy) {
            return false;
        }
        if h.shape.numel() != e.shape.numel() || h.dtype != e.dtype || h.dtype != DType::F32 {
            return false;
        }
        // Every path from the heavy node stays inside the kernel, through elementwise nodes and reshapes alone.
        let mut stack = vec![heavy];
        let mut seen = HashSet::from([heavy]);
        while let Some(node) = stack.pop() {
            if node == id {
                continue;
            }
            if self.graph.outputs.contains(&node) {
                return false;
            }
            for &user in &self.users[node] {
                let n = &self.graph.nodes[user];
                let transparent = n.op.is_elementwise() || (n.op == Op::Reshape && n.shape.numel() == h.shape.numel());
                if !transparent || !inlined.contains(&user) || (user != id && self.materialised[user]) {
                    return false;
                }
                if seen.insert(user) {
                    stack.push(user);
                }
            }
        }
        // Other operands must exist when the heavy kernel runs: they are numbered below `id`, as is the heavy node, and
        // kernels are emitted at `id`.
        seen.contains(&id)
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
        let size = |b: BufferId| (self.plan.buffers[b].len * self.plan.buffers[b].dtype.size()) as u64;
        let bytes = reads.iter().chain(&write).map(|&b| size(b)).sum();
        let flops = super::explain::flops(&kernel, written);
        self.plan.steps.push(Step { kernel, reads, write, level: 0, flops, bytes });
    }

    fn lower_elementwise(&mut self, id: NodeId) -> Attempt<()> {
        let mut builder = Builder::new(self.graph.nodes[id].shape, None);
        let root = self.body(&mut builder, id, &[])?;
        let write = self.target(id);
        self.push_step(Kernel::Elementwise(builder.expr.finish(root)), builder.reads, Some(write));
        Ok(())
    }

    /// Copies outputs that no kernel writes in place: leaves, views, inlined sources.
    fn lower_outputs(&mut self) -> Attempt<()> {
        let mut outputs = Vec::new();
        for (k, &id) in self.graph.outputs.iter().enumerate() {
            let found = self.buffer[id].filter(|&b| self.plan.buffers[b].place == Place::Output(k));
            outputs.push(match found {
                Some(buffer) => buffer,
                None => self.copy_to(id, Place::Output(k))?,
            });
        }
        self.plan.outputs = outputs;
        Ok(())
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

    /// Writes to cells and optimizer steps come last, when every reader of the old values has run.
    fn lower_effects(&mut self) -> Attempt<()> {
        let graph = self.graph;
        self.lower_assigns()?;
        for node in &graph.nodes {
            let Op::OptimStep { rule, entries } = &node.op else { continue };
            let store = self.position[node.inputs[0]];
            let mut reads = Vec::new();
            let block_count = |&g: &NodeId| graph.nodes[g].shape.numel().div_ceil(BLOCK);
            let blocks = node.inputs[1..].iter().map(block_count).sum();
            for (&gradient, &entry) in node.inputs[1..].iter().zip(entries) {
                let buffer = self.gradient(gradient, store, entry)?;
                if !self.options.gradient_arena {
                    reads.push(buffer);
                }
            }
            self.push_step(Kernel::OptimStep { store, rule: *rule, entries: entries.clone(), blocks }, reads, None);
        }
        Ok(())
    }

    /// Puts a gradient where the optimizer step will look for it.
    fn gradient(&mut self, id: NodeId, store: usize, entry: u32) -> Attempt<BufferId> {
        let place = Place::Gradient { store, entry };
        let mut origin = id;
        while self.graph.nodes[origin].op == Op::Reshape && self.buffer[origin].is_none() && self.uses[origin] == 1 {
            origin = self.graph.nodes[origin].inputs[0];
        }
        let same_len = self.graph.nodes[origin].shape.numel() == self.graph.nodes[id].shape.numel();
        if let Some(buffer) = self.buffer[origin].filter(|_| same_len) {
            if !self.options.gradient_arena {
                return Ok(buffer);
            }
            // Only the optimizer reads it: the kernel that computes it may write to the arena directly.
            let read = self.plan.steps.iter().any(|s| s.reads.contains(&buffer));
            if !read && self.uses[origin] == 1 && matches!(self.plan.buffers[buffer].place, Place::Slot(_)) {
                self.plan.buffers[buffer].place = place;
                return Ok(buffer);
            }
        }
        let place = if self.options.gradient_arena { place } else { Place::Slot(self.plan.buffers.len()) };
        self.copy_to(id, place)
    }

    /// Writes each assigned value to its cell, in place where the value reads that cell element by element.
    fn lower_assigns(&mut self) -> Attempt<()> {
        let graph = self.graph;
        let assigns: Vec<(NodeId, NodeId)> =
            graph.nodes.iter().filter(|n| n.op == Op::Assign).map(|n| (n.inputs[0], n.inputs[1])).collect();
        let leaves = assigns.iter().map(|a| self.buffer[a.0]).collect::<Option<Vec<_>>>();
        let leaves = leaves.ok_or_else(|| Error::internal("an assignment's cell has no buffer"))?;
        let mut writes = Vec::new();
        for (&(cell, value), &leaf) in assigns.iter().zip(&leaves) {
            let node = &graph.nodes[cell];
            let mut builder = Builder::new(node.shape, None);
            let root = self.value(&mut builder, value, &[])?;
            let (mut expr, mut reads) = (builder.expr.finish(root), builder.reads);
            let own = reads.iter().position(|&b| b == leaf);
            let shuffled = expr
                .terms
                .iter()
                .any(|(t, _)| matches!(t, Term::Load { operand, view } if Some(*operand) == own && !view.is_identity()));
            if shuffled || reads.iter().any(|b| *b != leaf && leaves.contains(b)) {
                // Read before anything is overwritten; copied in afterwards.
                let place = Place::Slot(self.plan.buffers.len());
                self.plan.buffers.push(BufferInfo { place, dtype: node.dtype, len: node.shape.numel() });
                let copy = self.plan.buffers.len() - 1;
                self.push_step(Kernel::Elementwise(expr), reads, Some(copy));
                expr = Expr::new(node.shape);
                let load = expr.push(Term::Load { operand: 0, view: View::contiguous(node.shape) }, node.dtype);
                (expr, reads) = (expr.finish(load), vec![copy]);
            }
            writes.push((expr, reads, leaf));
        }
        for (expr, reads, leaf) in writes {
            self.push_step(Kernel::Elementwise(expr), reads, Some(leaf));
        }
        Ok(())
    }

    // ---- expressions ----

    /// The term for node `id` seen through `chain` (innermost movement first).
    fn value(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        if let Some(&term) = builder.memo.get(&(id, chain.to_vec())) {
            return Ok(term);
        }
        let node = &self.graph.nodes[id];
        let readable = self.buffer[id].is_some() || builder.acc == Some(id);
        let term = if readable && !matches!(node.op, Op::Scalar) {
            self.read(builder, id, chain)?
        } else if self.materialised[id] || is_heavy(&node.op) {
            return Err(Error::internal(format!("node {id} ({}) is read before it is computed", node.op.name())).into());
        } else {
            self.body(builder, id, chain)?
        };
        builder.memo.insert((id, chain.to_vec()), term);
        Ok(term)
    }

    /// Loads a value from its buffer, or takes the accumulator.
    fn read(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let view = self.view(node.shape, chain)?;
        if builder.acc == Some(id) {
            if view.is_identity() && view.shape.numel() == builder.expr.shape.numel() {
                return Ok(builder.expr.push(Term::Acc, node.dtype));
            }
            return Err(Error::internal("an accumulator was read out of place").into());
        }
        let buffer = self.buffer[id].ok_or_else(|| Error::internal("a value has no buffer"))?;
        let operand = builder.operand(buffer);
        Ok(builder.expr.push(Term::Load { operand, view }, node.dtype))
    }

    /// Computes a node that has no buffer.
    fn body(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let dtype = node.dtype;
        let inputs = node.inputs.clone();
        let term = match &node.op {
            Op::Scalar => Term::Scalar { slot: self.position[id] },
            Op::Iota => Term::Index { view: self.view(node.shape, chain)? },
            Op::Random(word) => Term::Random { slot: self.position[id], word: *word, view: self.view(node.shape, chain)? },
            Op::Unary(op) => Term::Unary(*op, self.value(builder, inputs[0], chain)?),
            Op::Binary(op) => {
                let a = self.value(builder, inputs[0], chain)?;
                Term::Binary(*op, a, self.value(builder, inputs[1], chain)?)
            }
            Op::Where => {
                let c = self.value(builder, inputs[0], chain)?;
                let a = self.value(builder, inputs[1], chain)?;
                Term::Select(c, a, self.value(builder, inputs[2], chain)?)
            }
            Op::Cast => {
                let a = self.value(builder, inputs[0], chain)?;
                if builder.expr.terms[a].1 == dtype {
                    return Ok(a);
                }
                Term::Cast(a)
            }
            Op::Normalize { .. } => {
                let terms = inputs.iter().map(|&i| self.value(builder, i, chain)).collect::<Attempt<Vec<_>>>()?;
                let expr = &mut builder.expr;
                let centred = expr.push(Term::Binary(BinaryOp::Sub, terms[0], terms[1]), dtype);
                let variance = expr.push(Term::Binary(BinaryOp::Add, terms[2], terms[3]), dtype);
                let scale = expr.push(Term::Unary(UnaryOp::Rsqrt, variance), dtype);
                Term::Binary(BinaryOp::Mul, centred, scale)
            }
            op if op.is_movement() => return self.through(builder, id, chain),
            op => return Err(Error::internal(format!("{} is not an expression", op.name())).into()),
        };
        Ok(builder.expr.push(term, dtype))
    }

    /// A view: its movement joins the chain.
    fn through(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let input = node.inputs[0];
        let mut longer = vec![Movement { op: node.op.clone(), shape: node.shape, input }];
        longer.extend_from_slice(chain);
        let inner = self.value(builder, input, &longer)?;
        if !matches!(node.op, Op::Pad { .. }) || matches!(builder.expr.terms[inner].0, Term::Load { .. }) {
            return Ok(inner);
        }
        let view = self.view(self.graph.nodes[input].shape, &longer)?;
        let valid = builder.expr.push(Term::Valid { view }, DType::Bool);
        let zero = builder.expr.push(Term::Constant { bits: 0f64.to_bits() }, node.dtype);
        Ok(builder.expr.push(Term::Select(valid, inner, zero), node.dtype))
    }

    /// A contiguous value of `shape`, seen through a chain.
    fn view(&self, shape: Shape, chain: &[Movement]) -> Attempt<View> {
        let mut view = View::contiguous(shape);
        for movement in chain {
            view = match &movement.op {
                Op::Reshape => view.reshape(movement.shape).ok_or(Stop::Materialise(movement.input))?,
                Op::Permute(order) => view.permute(order),
                Op::Expand => view.expand(movement.shape),
                Op::Slice { start, step } => view.slice(start, step, movement.shape),
                Op::Pad { before } => view.pad(before, movement.shape),
                Op::Recomputed => view,
                op => return Err(Error::internal(format!("{} is not a movement", op.name())).into()),
            };
        }
        Ok(view)
    }

    // ---- kernels ----

    /// The movements between `id` and the buffer that they look at, and that buffer's node.
    fn peel(&self, id: NodeId) -> (NodeId, Vec<Movement>) {
        let mut chain = Vec::new();
        let mut node = id;
        while self.buffer[node].is_none() && self.graph.nodes[node].op.is_movement() {
            let n = &self.graph.nodes[node];
            chain.insert(0, Movement { op: n.op.clone(), shape: n.shape, input: n.inputs[0] });
            node = n.inputs[0];
        }
        (node, chain)
    }

    /// A buffer that holds exactly the elements of `id`, in order.
    fn contiguous(&self, id: NodeId) -> Attempt<BufferId> {
        let (node, chain) = self.peel(id);
        let Some(buffer) = self.buffer[node] else { return Err(Stop::Materialise(id)) };
        let shape = self.graph.nodes[node].shape;
        match self.view(shape, &chain) {
            Ok(view) if view.is_identity() && view.shape.numel() == shape.numel() => Ok(buffer),
            _ => Err(Stop::Materialise(id)),
        }
    }

    /// A buffer and strides for a matrix operand, one of whose last two strides is 1.
    fn matrix(&self, id: NodeId) -> Attempt<(BufferId, MatrixView)> {
        let (node, chain) = self.peel(id);
        let Some(buffer) = self.buffer[node] else { return Err(Stop::Materialise(id)) };
        let view = match self.view(self.graph.nodes[node].shape, &chain) {
            Ok(view) if view.mask().is_none() => view,
            _ => return Err(Stop::Materialise(id)),
        };
        let rank = view.shape.rank();
        let (rows, cols) = (view.shape[rank - 2], view.shape[rank - 1]);
        let [mut row, mut col] = [view.strides()[rank - 2], view.strides()[rank - 1]];
        if rows == 1 {
            row = if col == 1 { cols as i64 } else { 1 };
        }
        if cols == 1 {
            col = if row == 1 && rows != 1 { rows as i64 } else { 1 };
        }
        let negative = view.strides().iter().any(|&s| s < 0);
        if negative || (row != 1 && col != 1) || (row == 0 || col == 0) {
            return Err(Stop::Materialise(id));
        }
        Ok((buffer, MatrixView { batch: view.strides()[..rank - 2].to_vec(), row, col, offset: view.offset }))
    }

    /// Emits the kernel of `heavy`, finished by the elementwise node `finish` if there is one.
    fn lower_heavy(&mut self, heavy: NodeId, finish: Option<NodeId>) -> Attempt<()> {
        let node = &self.graph.nodes[heavy];
        let inputs = node.inputs.clone();
        let shape = |i: usize| self.graph.nodes[inputs[i]].shape;
        let four = |s: Shape| -> [usize; 4] { [s[0], s[1], s[2], s[3]] };
        let (kernel, reads) = match &node.op {
            Op::Reduce { op, axes } => {
                let (mut builder, root, kept) = self.prologue(inputs[0], axes)?;
                let value = std::mem::replace(&mut builder.expr, Expr::new(Shape::SCALAR)).finish(root);
                let kept_shape = Shape::of(&value.shape[..kept]);
                let (epilogue, reads) = self.epilogue(heavy, finish, kept_shape, builder.reads)?;
                (Kernel::Reduce { op: *op, value, kept, epilogue }, reads)
            }
            Op::ArgReduce { op, axis } => {
                let (builder, root, _) = self.prologue(inputs[0], &[*axis])?;
                (Kernel::ArgReduce { op: *op, value: builder.expr.finish(root) }, builder.reads)
            }
            Op::MatMul => {
                let (a_buffer, a) = self.matrix(inputs[0])?;
                let (b_buffer, b) = self.matrix(inputs[1])?;
                let rank = node.shape.rank();
                let (m, n, k) = (node.shape[rank - 2], node.shape[rank - 1], shape(0)[rank - 1]);
                let batch = Shape::of(&node.shape[..rank - 2]);
                // A product with itself binds its buffer twice: positions of operands are fixed.
                let (epilogue, reads) = self.epilogue(heavy, finish, node.shape, vec![a_buffer, b_buffer])?;
                (Kernel::MatMul(MatMul { batch, m, n, k, a, b, epilogue }), reads)
            }
            Op::Conv2d(spec) | Op::Conv2dInputGrad(spec) | Op::Conv2dWeightGrad(spec) => {
                let reads = vec![self.contiguous(inputs[0])?, self.contiguous(inputs[1])?];
                let (role, x, w, y) = match node.op {
                    Op::Conv2d(_) => (ConvRole::Forward, shape(0), shape(1), node.shape),
                    Op::Conv2dInputGrad(_) => (ConvRole::InputGrad, node.shape, shape(1), shape(0)),
                    _ => (ConvRole::WeightGrad, shape(0), node.shape, shape(1)),
                };
                let (epilogue, reads) = self.epilogue(heavy, finish, node.shape, reads)?;
                (Kernel::Conv2d(Conv2d { role, spec: *spec, x: four(x), w: four(w), y: four(y), epilogue }), reads)
            }
            Op::Pool(op, spec) => {
                use crate::graph::op::PoolOp;
                let reads = inputs.iter().map(|&i| self.contiguous(i)).collect::<Attempt<Vec<_>>>()?;
                let (x, y) = match op {
                    PoolOp::Max | PoolOp::Avg | PoolOp::MaxSelect => (shape(0), node.shape),
                    PoolOp::MaxScatter => (node.shape, shape(1)),
                    PoolOp::AvgScatter => (node.shape, shape(0)),
                };
                (Kernel::Pool { op: *op, spec: *spec, x: four(x), y: four(y) }, reads)
            }
            Op::Softmax { .. } | Op::CrossEntropy | Op::CrossEntropyGrad | Op::Gather | Op::ScatterAdd => {
                let reads = inputs.iter().map(|&i| self.contiguous(i)).collect::<Attempt<Vec<_>>>()?;
                (rows_kernel(&node.op, shape(0), node.shape), reads)
            }
            op => return Err(Error::internal(format!("{} has no kernel", op.name())).into()),
        };
        let write = self.target(finish.unwrap_or(heavy));
        self.push_step(kernel, reads, Some(write));
        Ok(())
    }

    /// A reduction's input as an expression over `[kept.., reduced..]`.
    fn prologue(&mut self, input: NodeId, axes: &[usize]) -> Attempt<(Builder, TermId, usize)> {
        let shape = self.graph.nodes[input].shape;
        let mut order: Vec<usize> = (0..shape.rank()).filter(|d| !axes.contains(d)).collect();
        let kept = order.len();
        order.extend(axes);
        let permuted = Shape::of(&order.iter().map(|&d| shape[d]).collect::<Vec<_>>());
        let mut builder = Builder::new(permuted, None);
        let in_order = order.iter().enumerate().all(|(d, &a)| d == a);
        let chain = if in_order { vec![] } else { vec![Movement { op: Op::Permute(order), shape: permuted, input }] };
        let root = self.value(&mut builder, input, &chain)?;
        Ok((builder, root, kept))
    }

    /// What a kernel does with its accumulator, and all that the step reads.
    fn epilogue(
        &mut self,
        heavy: NodeId,
        finish: Option<NodeId>,
        shape: Shape,
        reads: Vec<BufferId>,
    ) -> Attempt<(Expr, Vec<BufferId>)> {
        let dtype = self.graph.nodes[heavy].dtype;
        let Some(finish) = finish else { return Ok((Expr::identity(shape, dtype), reads)) };
        // Written in the finishing node's own coordinates; both count elements in the same order.
        let mut builder = Builder::new(self.graph.nodes[finish].shape, Some(heavy));
        builder.reads = reads;
        let root = self.body(&mut builder, finish, &[])?;
        if builder.reads.len() > self.options.max_operands {
            return Err(Stop::Materialise(heavy));
        }
        Ok((builder.expr.finish(root), builder.reads))
    }
}

fn rows_kernel(op: &Op, first: Shape, out: Shape) -> Kernel {
    let cols = first.last().copied().unwrap_or(1);
    let rows = first.numel().checked_div(cols).unwrap_or(0);
    match op {
        Op::Softmax { log } => Kernel::Softmax { rows, cols, log: *log },
        Op::CrossEntropy => Kernel::CrossEntropy { rows, cols },
        Op::CrossEntropyGrad => Kernel::CrossEntropyGrad { rows, cols },
        Op::Gather => Kernel::Gather { rows: first[0], cols: first[1], n: out[0] },
        _ => Kernel::ScatterAdd { rows: out[0], cols: out[1], n: first[0] },
    }
}
