//! In which order a reduction walks over its values, and how it is divided.

use crate::cpu::expr::BLOCK;
use crate::graph::View;
use crate::plan::expr::{Expr, Term};
use crate::shape::Shape;

/// Elements that a parallel task combines.
pub(super) const PIECE: usize = 32 * BLOCK;

/// Whether more loads have neighbouring elements along the last kept axis than along the last reduced one.
pub(super) fn prefers_transposed(value: &Expr, kept: usize) -> bool {
    let neighbours = |axes: std::ops::Range<usize>| {
        let inner = axes.rev().find(|&d| value.shape[d] > 1);
        let unit = |view: &View| inner.is_some_and(|d| view.strides()[d] == 1);
        let loads = value.terms.iter().filter(|(t, _)| matches!(t, Term::Load { view, .. } if unit(view)));
        loads.count()
    };
    neighbours(0..kept) > neighbours(kept..value.shape.rank())
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
