//! Takes out of an expression what is the same along most axes, such as a channel's scale: it is computed once into a table.

use crate::graph::View;
use crate::plan::expr::{Expr, Term, TermId, operands};
use crate::shape::Shape;

/// Elements of the whole for one of a table, at least.
const LEAST: usize = 16;
/// Elements of a table at most, as a plan's memory does not count them.
const MOST: usize = 1 << 16;

/// Splits an expression into tables and the rest, which reads them as operands `first..`.
pub(in crate::cpu) fn hoist(expr: &Expr, first: usize) -> (Vec<Expr>, Expr) {
    let axes = axes(expr);
    let len = |id: TermId| sizes(expr, axes[id]).iter().product::<usize>();
    let small = |id: TermId| len(id) <= MOST && len(id) * LEAST <= expr.shape.numel();
    let computed = |id: TermId| !operands(&expr.terms[id].0).is_empty();
    let mut wanted = vec![false; expr.terms.len()];
    for (id, (term, _)) in expr.terms.iter().enumerate() {
        for operand in operands(term) {
            wanted[operand] |= !small(id) && small(operand) && computed(operand);
        }
    }
    let mut tables = Vec::new();
    let mut rest = expr.clone();
    for id in (0..expr.terms.len()).filter(|&id| wanted[id]) {
        let shape = sizes(expr, axes[id]);
        let view = View::contiguous(Shape::of(&shape)).expand(expr.shape);
        rest.terms[id].0 = Term::Load { operand: first + tables.len(), view };
        let mut table = expr.clone().finish(id);
        table.shape = Shape::of(&shape);
        for (term, _) in &mut table.terms {
            if let Term::Load { view, .. } = term {
                *view = view.slice(&vec![0; shape.len()], &vec![1; shape.len()], table.shape);
            }
        }
        tables.push(table);
    }
    let last = rest.terms.len().saturating_sub(1);
    (tables, if expr.terms.is_empty() { rest } else { rest.finish(last) })
}

/// The axes that each term depends on, a bit each.
fn axes(expr: &Expr) -> Vec<u32> {
    let mut all: Vec<u32> = Vec::with_capacity(expr.terms.len());
    for (term, _) in &expr.terms {
        let own = match term {
            Term::Load { view, .. } if view.mask().is_none() => {
                let moves = |&d: &usize| view.strides()[d] != 0 && expr.shape[d] > 1;
                (0..expr.shape.rank()).filter(moves).map(|d| 1 << d).sum()
            }
            Term::Scalar { .. } | Term::Constant { .. } => 0,
            Term::Unary(..) | Term::Binary(..) | Term::Select(..) | Term::Cast(_) => {
                operands(term).into_iter().fold(0, |axes, id| axes | all[id])
            }
            _ => u32::MAX,
        };
        all.push(own);
    }
    all
}

/// The shape along these axes, with 1 along the others.
fn sizes(expr: &Expr, axes: u32) -> Vec<usize> {
    (0..expr.shape.rank()).map(|d| if (axes >> d) & 1 == 1 { expr.shape[d] } else { 1 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::graph::op::{BinaryOp, UnaryOp};

    /// `x * sqrt(variance) + sqrt(variance)`: the root is computed per channel.
    #[test]
    fn what_channels_share_is_computed_once() {
        let shape = Shape::of(&[4, 3, 8]);
        let mut expr = Expr::new(shape);
        let x = expr.push(Term::Load { operand: 0, view: View::contiguous(shape) }, DType::F32);
        let channel = View::contiguous(Shape::of(&[1, 3, 1])).expand(shape);
        let variance = expr.push(Term::Load { operand: 1, view: channel }, DType::F32);
        let root = expr.push(Term::Unary(UnaryOp::Sqrt, variance), DType::F32);
        let scaled = expr.push(Term::Binary(BinaryOp::Mul, x, root), DType::F32);
        expr.push(Term::Binary(BinaryOp::Add, scaled, root), DType::F32);
        let (tables, rest) = hoist(&expr, 2);
        let [table] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!((table.shape, table.terms.len()), (Shape::of(&[1, 3, 1]), 2));
        assert_eq!(rest.terms.len(), 4, "{rest:?}");
        assert_eq!(rest.terms[1].0, Term::Load { operand: 2, view: channel });
        // A table as large as the whole would gain nothing.
        let narrow = Expr {
            shape: Shape::of(&[3]),
            terms: vec![(Term::Load { operand: 0, view: View::contiguous(Shape::of(&[3])) }, DType::F32)],
        };
        assert!(hoist(&narrow, 1).0.is_empty());
    }
}
