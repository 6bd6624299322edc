//! Nodes with a kernel of their own: products, convolutions, reductions, rows, windows.

use super::{Attempt, Builder, Lowering, Movement, Stop};
use crate::error::Error;
use crate::graph::attention::AttentionSizes;
use crate::graph::row::RowOp;
use crate::graph::{NodeId, Op, View};
use crate::plan::expr::TermId;
use crate::plan::{Attention, BufferId, Conv2d, ConvRole, Expr, Kernel, MatMul, MatrixView, Row, Term};
use crate::shape::Shape;

impl Lowering<'_> {
    /// The buffer that an operand is in, and the view of it.
    fn operand(&self, id: NodeId) -> Attempt<(BufferId, View)> {
        if let Some(buffer) = self.buffer[id] {
            return Ok((buffer, View::contiguous(self.graph.nodes[id].shape)));
        }
        let found = self.windows[id].as_ref().and_then(|w| Some((self.buffer[w.base]?, w.view)));
        found.ok_or(Stop::Materialise(id))
    }

    /// A buffer with exactly the elements of `id`, in order.
    pub(super) fn contiguous(&self, id: NodeId) -> Attempt<BufferId> {
        match self.operand(id)? {
            (buffer, view) if view.is_identity() && view.shape.numel() == self.plan.buffers[buffer].len => Ok(buffer),
            _ => Err(Stop::Materialise(id)),
        }
    }

    /// A buffer that begins with the elements of `id`, in order: kernels that know their operands' sizes do not look further.
    fn leading(&self, id: NodeId) -> Attempt<BufferId> {
        match self.operand(id)? {
            (buffer, view) if view.is_identity() => Ok(buffer),
            _ => Err(Stop::Materialise(id)),
        }
    }

    /// A buffer and strides for a matrix operand, one of whose last two strides is 1.
    pub(super) fn matrix(&self, id: NodeId) -> Attempt<(BufferId, MatrixView)> {
        let (buffer, view) = self.operand(id)?;
        if view.mask().is_some() {
            return Err(Stop::Materialise(id));
        }
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

    /// A buffer and strides for an operand of rows, whose elements are neighbours.
    fn rows(&self, id: NodeId) -> Attempt<(BufferId, View)> {
        let (buffer, view) = self.strided(id)?;
        match (view.shape.last(), view.strides().last()) {
            (Some(&length), Some(&step)) if length > 1 && step != 1 => Err(Stop::Materialise(id)),
            _ => Ok((buffer, view)),
        }
    }

    /// A buffer and strides, none of them negative.
    fn strided(&self, id: NodeId) -> Attempt<(BufferId, View)> {
        match self.operand(id)? {
            found if found.1.mask().is_none() && found.1.strides().iter().all(|&s| s >= 0) => Ok(found),
            _ => Err(Stop::Materialise(id)),
        }
    }

    /// Whether a node has elements and one of its operands has none: a constant, for which no kernel of its own runs.
    pub(super) fn is_of_nothing(&self, heavy: NodeId) -> bool {
        let node = &self.graph.nodes[heavy];
        node.shape.numel() > 0 && node.inputs.iter().any(|&i| self.graph.nodes[i].shape.numel() == 0)
    }

    fn lower_of_nothing(&mut self, heavy: NodeId) -> Attempt<()> {
        let node = &self.graph.nodes[heavy];
        let value = node.op.of_nothing().ok_or_else(|| Error::internal(format!("{} has no value of nothing", node.op.name())))?;
        let mut expr = Expr::new(node.shape);
        let constant = expr.push(Term::Constant { bits: value.to_bits() }, node.dtype);
        let write = self.target(heavy);
        self.push_step(Kernel::Elementwise(expr.finish(constant)), Vec::new(), Some(write));
        Ok(())
    }

    /// Emits the kernel of `heavy`, finished by the elementwise node `finish` if there is one.
    pub(super) fn lower_heavy(&mut self, heavy: NodeId, finish: Option<NodeId>) -> Attempt<()> {
        if self.is_of_nothing(heavy) {
            return self.lower_of_nothing(heavy);
        }
        self.at = heavy;
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
            Op::Pair { op, axes } => {
                let (mut builder, mut root, kept) = self.prologue(inputs[0], axes)?;
                if let Some(&second) = inputs.get(1) {
                    let (order, dtype) = (Self::reduced_last(shape(1), axes), node.dtype);
                    let second = self.ordered(&mut builder, second, order)?;
                    root = builder.expr.push(Term::Pair(root, second), dtype);
                }
                (Kernel::Pair { op: *op, value: builder.expr.finish(root), kept, further: Vec::new() }, builder.reads)
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
                (Kernel::MatMul(MatMul { batch, m, n, k, a, b, epilogue, sums: None }), reads)
            }
            Op::Conv2d(spec) | Op::Conv2dInputGrad(spec) | Op::Conv2dWeightGrad(spec) => {
                let reads = vec![self.leading(inputs[0])?, self.leading(inputs[1])?];
                let (role, x, w, y) = match node.op {
                    Op::Conv2d(_) => (ConvRole::Forward, shape(0), shape(1), node.shape),
                    Op::Conv2dInputGrad(_) => (ConvRole::InputGrad, node.shape, shape(1), shape(0)),
                    _ => (ConvRole::WeightGrad, shape(0), node.shape, shape(1)),
                };
                let (epilogue, reads) = self.epilogue(heavy, finish, node.shape, reads)?;
                (
                    Kernel::Conv2d(Conv2d {
                        role,
                        spec: *spec,
                        x: four(x),
                        w: four(w),
                        y: four(y),
                        epilogue,
                        packed: None,
                        moments: None,
                    }),
                    reads,
                )
            }
            Op::Attention(op) => {
                let found = inputs.iter().enumerate();
                let found = found.map(|(n, &i)| if op.mask_operand() == Some(n) { self.strided(i) } else { self.rows(i) });
                let (reads, operands) = found.collect::<Attempt<Vec<_>>>()?.into_iter().unzip();
                let sizes = AttentionSizes::of(shape(0), shape(1), shape(2));
                (Kernel::Attention(Attention { op: *op, sizes, operands }), reads)
            }
            Op::Recurrent(op) => (Kernel::Recurrent(*op), inputs.iter().map(|&i| self.leading(i)).collect::<Attempt<Vec<_>>>()?),
            Op::Pool(op, spec) => {
                use crate::graph::op::PoolOp;
                let reads = inputs.iter().map(|&i| self.leading(i)).collect::<Attempt<Vec<_>>>()?;
                let (x, y) = match op {
                    PoolOp::Max | PoolOp::Avg | PoolOp::MaxSelect => (shape(0), node.shape),
                    PoolOp::MaxScatter => (node.shape, shape(1)),
                    PoolOp::AvgScatter => (node.shape, shape(0)),
                };
                (Kernel::Pool { op: *op, spec: *spec, x: four(x), y: four(y) }, reads)
            }
            Op::Row(op) => {
                // What normalises takes a gradient that begins a longer buffer; the others take their sizes from their operands.
                let looks_no_further = matches!(op, RowOp::RowNorm(_) | RowOp::RowNormGrad(_));
                let read = |&i: &NodeId| if looks_no_further { self.leading(i) } else { self.contiguous(i) };
                let reads = inputs.iter().map(read).collect::<Attempt<Vec<_>>>()?;
                (Kernel::Row(Row::new(*op, shape(0), node.shape)), reads)
            }
            op => return Err(Error::internal(format!("{} has no kernel", op.name())).into()),
        };
        let write = self.target(finish.unwrap_or(heavy));
        self.push_step(kernel, reads, Some(write));
        Ok(())
    }

    /// A reduction's input as an expression over `[kept.., reduced..]`.
    pub(super) fn prologue(&mut self, input: NodeId, axes: &[usize]) -> Attempt<(Builder, TermId, usize)> {
        let shape = self.graph.nodes[input].shape;
        let order = Self::reduced_last(shape, axes);
        let permuted = Shape::of(&order.iter().map(|&d| shape[d]).collect::<Vec<_>>());
        let mut builder = Builder::new(permuted, None);
        let root = self.ordered(&mut builder, input, order)?;
        Ok((builder, root, shape.rank() - axes.len()))
    }

    /// The order of axes that puts the reduced ones last.
    fn reduced_last(shape: Shape, axes: &[usize]) -> Vec<usize> {
        (0..shape.rank()).filter(|d| !axes.contains(d)).chain(axes.iter().copied()).collect()
    }

    /// A value with its axes in another order, which is that of the expression.
    fn ordered(&mut self, builder: &mut Builder, input: NodeId, order: Vec<usize>) -> Attempt<TermId> {
        let shape = builder.expr.shape;
        let in_order = order.iter().enumerate().all(|(d, &a)| d == a);
        let chain = if in_order { vec![] } else { vec![Movement { op: Op::Permute(order), shape, input }] };
        self.value(builder, input, &chain)
    }

    /// What a kernel does with its accumulator, and all that the step reads.
    pub(super) fn epilogue(
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
