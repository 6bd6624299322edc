//! In which order a reduction walks over its values, and how it is divided.

use crate::cpu::expr::BLOCK;
use crate::graph::View;
use crate::plan::expr::{Expr, Term};
use crate::shape::Shape;
use std::ops::Range;

/// Elements that a parallel task combines.
pub(super) const PIECE: usize = 32 * BLOCK;

/// Whether more loads have neighbouring elements along the last kept axis than along the last reduced one. What is the same for all
/// results, or for all that one result is made of, does not count: it is small.
pub(super) fn prefers_transposed(value: &Expr, kept: usize) -> bool {
    let rank = value.shape.rank();
    let moves = |view: &View, axes: Range<usize>| axes.into_iter().any(|d| value.shape[d] > 1 && view.strides()[d] != 0);
    let neighbours = |axes: Range<usize>, others: Range<usize>| {
        let inner = axes.rev().find(|&d| value.shape[d] > 1);
        let unit = |view: &View| inner.is_some_and(|d| view.strides()[d] == 1) && moves(view, others.clone());
        let loads = value.terms.iter().filter(|(t, _)| matches!(t, Term::Load { view, .. } if unit(view)));
        loads.count()
    };
    neighbours(0..kept, kept..rank) > neighbours(kept..rank, 0..kept)
}

/// The same values over `[reduced.., kept..]`.
pub(super) fn transpose(value: &Expr, kept: usize) -> Expr {
    let rank = value.shape.rank();
    let order: Vec<usize> = (kept..rank).chain(0..kept).collect();
    let mut out = value.clone();
    out.shape = Shape::of(&order.iter().map(|&d| value.shape[d]).collect::<Vec<_>>());
    for (term, _) in &mut out.terms {
        match term {
            Term::Load { view, .. } | Term::Random { view, .. } | Term::Index { view } | Term::Valid { view } => {
                *view = view.permute(&order);
            }
            _ => {}
        }
    }
    out
}
