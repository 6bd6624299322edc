//! Terms for values without a buffer: elementwise nodes inlined, movements folded into views.

use super::window::moved;
use super::{Attempt, Builder, Lowering, Movement, Stop};
use crate::dtype::DType;
use crate::error::Error;
use crate::graph::op::{BinaryOp, UnaryOp, without};
use crate::graph::{NodeId, Op, View};
use crate::plan::Term;
use crate::plan::expr::TermId;
use crate::plan::materialise::is_heavy;
use crate::shape::Shape;

impl Lowering<'_> {
    /// The term for node `id` seen through `chain` (innermost movement first).
    pub(super) fn value(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
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
    pub(super) fn read(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let view = self.view(View::contiguous(self.graph.nodes[id].shape), chain)?;
        self.load(builder, id, view)
    }

    /// The same, through a view.
    fn load(&mut self, builder: &mut Builder, id: NodeId, view: View) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        if builder.acc == Some(id) {
            if view.is_identity() && view.shape.numel() == builder.expr.shape.numel() {
                return Ok(builder.expr.push(Term::Acc, node.dtype));
            }
            return Err(Error::internal("an accumulator was read out of place").into());
        }
        if node.shape.numel() == 0 {
            // Whatever reads it reads zeros around it.
            return Ok(builder.expr.push(Term::Constant { bits: 0f64.to_bits() }, node.dtype));
        }
        let buffer = self.buffer[id].ok_or_else(|| Error::internal("a value has no buffer"))?;
        let operand = builder.operand(buffer);
        Ok(builder.expr.push(Term::Load { operand, view }, node.dtype))
    }

    /// Computes a node that has no buffer.
    pub(super) fn body(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let dtype = node.dtype;
        let inputs = node.inputs.clone();
        let term = match &node.op {
            Op::Scalar | Op::Iota | Op::Random(_) => {
                let view = self.view(View::contiguous(node.shape), chain)?;
                return self.source(builder, id, view);
            }
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
            Op::Standardize { .. } | Op::StandardizeGrad { .. } => return self.standardized(builder, id, chain),
            op if op.is_movement() => return self.through(builder, id, chain),
            op => return Err(Error::internal(format!("{} is not an expression", op.name())).into()),
        };
        Ok(builder.expr.push(term, dtype))
    }

    /// [`Op::Standardize`] and [`Op::StandardizeGrad`], which see what has length 1 along their axes stretched to their shape.
    fn standardized(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let (dtype, shape, inputs) = (node.dtype, node.shape, node.inputs.clone());
        let (axes, x) = match &node.op {
            Op::StandardizeGrad { axes, .. } => (axes, 1),
            Op::Standardize { axes, .. } => (axes, 0),
            op => return Err(Error::internal(format!("{} standardizes nothing", op.name())).into()),
        };
        let narrow = without(shape, axes);
        let binary = |builder: &mut Builder, op, a, b| builder.expr.push(Term::Binary(op, a, b), dtype);
        let value = self.value(builder, inputs[x], chain)?;
        let mean = self.half(builder, inputs[x + 1], 0, [narrow, shape], chain)?;
        let variance = self.half(builder, inputs[x + 1], 1, [narrow, shape], chain)?;
        let eps = self.value(builder, inputs[x + 2], &[])?;
        let centred = binary(builder, BinaryOp::Sub, value, mean);
        let variance = binary(builder, BinaryOp::Add, variance, eps);
        let scale = builder.expr.push(Term::Unary(UnaryOp::Rsqrt, variance), dtype);
        let normal = binary(builder, BinaryOp::Mul, centred, scale);
        match node.op {
            Op::Standardize { scaled, shifted, .. } => {
                let mut affine = inputs[3..].iter();
                let mut result = normal;
                for (op, _) in [(BinaryOp::Mul, scaled), (BinaryOp::Add, shifted)].into_iter().filter(|(_, given)| *given) {
                    let factor = affine.next().ok_or_else(|| Error::internal("standardize has too few operands"))?;
                    let factor = self.stretched(builder, *factor, shape, chain)?;
                    result = binary(builder, op, result, factor);
                }
                Ok(result)
            }
            _ => {
                let dy = self.value(builder, inputs[0], chain)?;
                let share = 1.0 / (shape.numel() as f64 / narrow.numel() as f64);
                let share = builder.expr.push(Term::Constant { bits: share.to_bits() }, dtype);
                let of = |l: &mut Self, builder: &mut Builder, which| {
                    let sum = l.half(builder, inputs[4], which, [narrow, shape], chain)?;
                    Ok::<_, Stop>(binary(builder, BinaryOp::Mul, sum, share))
                };
                let (mean, slope) = (of(self, builder, 0)?, of(self, builder, 1)?);
                let along = binary(builder, BinaryOp::Mul, normal, slope);
                let centred = binary(builder, BinaryOp::Sub, dy, mean);
                let rest = binary(builder, BinaryOp::Sub, centred, along);
                let factor = match inputs.get(5) {
                    Some(&weight) => {
                        let weight = self.stretched(builder, weight, shape, chain)?;
                        binary(builder, BinaryOp::Mul, weight, scale)
                    }
                    None => scale,
                };
                Ok(binary(builder, BinaryOp::Mul, rest, factor))
            }
        }
    }

    /// A value with length 1 along some axes, stretched to `shape`.
    fn stretched(&mut self, builder: &mut Builder, input: NodeId, shape: Shape, chain: &[Movement]) -> Attempt<TermId> {
        let mut longer = vec![Movement { op: Op::Expand, shape, input }];
        longer.extend_from_slice(chain);
        self.value(builder, input, &longer)
    }

    /// Row `which` of `[2, n]`, seen in the first and stretched to the second of two shapes.
    fn half(
        &mut self,
        builder: &mut Builder,
        input: NodeId,
        which: i64,
        [narrow, wide]: [Shape; 2],
        chain: &[Movement],
    ) -> Attempt<TermId> {
        let row = Shape::of(&[1, narrow.numel()]);
        let movement = |op, shape| Movement { op, shape, input };
        let mut longer = vec![
            movement(Op::Slice { start: vec![which, 0], step: vec![1, 1] }, row),
            movement(Op::Reshape, narrow),
            movement(Op::Expand, wide),
        ];
        longer.extend_from_slice(chain);
        self.value(builder, input, &longer)
    }

    /// A source without a buffer, through a view.
    fn source(&mut self, builder: &mut Builder, id: NodeId, view: View) -> Attempt<TermId> {
        let node = &self.graph.nodes[id];
        let term = match &node.op {
            Op::Scalar => Term::Scalar { slot: self.position[id] },
            Op::Iota => Term::Index { view },
            Op::Random(word) => Term::Random { slot: self.position[id], word: *word, view },
            op => return Err(Error::internal(format!("{} is read before it is computed", op.name())).into()),
        };
        Ok(builder.expr.push(term, node.dtype))
    }

    /// A movement: through its window, or, if it looks at a value without a buffer, it joins the chain.
    fn through(&mut self, builder: &mut Builder, id: NodeId, chain: &[Movement]) -> Attempt<TermId> {
        if let Some(window) = &self.windows[id] {
            let (base, padded) = (window.base, window.view.mask().is_some());
            let view = self.view(window.view, chain)?;
            if self.buffer[base].is_some() || builder.acc == Some(base) {
                return self.load(builder, base, view);
            }
            let term = self.source(builder, base, view)?;
            return Ok(if padded { self.or_zero(builder, term, view) } else { term });
        }
        let node = &self.graph.nodes[id];
        let input = node.inputs[0];
        let mut longer = vec![Movement { op: node.op.clone(), shape: node.shape, input }];
        longer.extend_from_slice(chain);
        let inner = self.value(builder, input, &longer)?;
        if !matches!(node.op, Op::Pad { .. }) || matches!(builder.expr.terms[inner].0, Term::Load { .. }) {
            return Ok(inner);
        }
        let view = self.view(View::contiguous(self.graph.nodes[input].shape), &longer)?;
        Ok(self.or_zero(builder, inner, view))
    }

    /// A term where a view has an element, else 0.
    fn or_zero(&self, builder: &mut Builder, term: TermId, view: View) -> TermId {
        let dtype = builder.expr.terms[term].1;
        let valid = builder.expr.push(Term::Valid { view }, DType::Bool);
        let zero = builder.expr.push(Term::Constant { bits: 0f64.to_bits() }, dtype);
        builder.expr.push(Term::Select(valid, term, zero), dtype)
    }

    /// What a view shows, seen through a chain.
    fn view(&self, mut view: View, chain: &[Movement]) -> Attempt<View> {
        for movement in chain {
            view = moved(&view, &movement.op, movement.shape)?.ok_or(Stop::Materialise(movement.input))?;
        }
        Ok(view)
    }
}
