//! What a driver's compiler must not see: it may simplify `x - x` to 0, `√x·√x` to |x| and `x·(1/x)` to 1, as if no number in
//! WGSL were NaN or infinite.

use crate::graph::op::{BinaryOp, UnaryOp};
use crate::plan::expr::{Expr, Term, TermId};
use std::collections::HashMap;

/// The most summands that are remembered of a sum.
const SUMMANDS: usize = 64;

/// For each term, whether its last operand is to be hidden: in sums of which both sides contain the same value, whatever its
/// sign; in products of a root with itself; in products and quotients that undo each other.
pub(super) fn hidden(expr: &Expr) -> Vec<bool> {
    let mut first = HashMap::new();
    // The first term of the same value, and what the term is a sum of.
    let (mut same, mut summands): (Vec<TermId>, Vec<Vec<TermId>>) = (Vec::new(), Vec::new());
    let mut hidden = vec![false; expr.terms.len()];
    for (n, (term, dtype)) in expr.terms.iter().enumerate() {
        let key = match *term {
            Term::Unary(op, a) => Term::Unary(op, same[a]),
            Term::Binary(BinaryOp::Mul, a, b) if same[a] == same[b] => Term::Unary(UnaryOp::Square, same[a]),
            Term::Binary(op, a, b) => Term::Binary(op, same[a], same[b]),
            Term::Select(c, a, b) => Term::Select(same[c], same[a], same[b]),
            Term::Cast(a) => Term::Cast(same[a]),
            Term::Pair(a, b) => Term::Pair(same[a], same[b]),
            ref other => other.clone(),
        };
        same.push(*first.entry((key, *dtype)).or_insert(n));
        let root = |a: TermId| matches!(expr.terms[same[a]].0, Term::Unary(UnaryOp::Sqrt | UnaryOp::Rsqrt, _));
        let of = match *term {
            Term::Unary(UnaryOp::Neg, a) => summands[a].clone(),
            Term::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) if dtype.is_float() => {
                hidden[n] = summands[a].iter().any(|s| summands[b].contains(s));
                let mut all = [&summands[a][..], &summands[b]].concat();
                all.truncate(SUMMANDS);
                all
            }
            _ => vec![same[n]],
        };
        summands.push(of);
        // Whether a is divided by b, or has b for a factor.
        let divided = |a: TermId, b: TermId| match expr.terms[same[a]].0 {
            Term::Unary(UnaryOp::Reciprocal, by) | Term::Binary(BinaryOp::Div, _, by) => same[by] == same[b],
            _ => false,
        };
        let multiplied = |a: TermId, b: TermId| match expr.terms[same[a]].0 {
            Term::Binary(BinaryOp::Mul, x, y) => same[x] == same[b] || same[y] == same[b],
            _ => false,
        };
        hidden[n] |= match *term {
            _ if !dtype.is_float() => false,
            Term::Unary(UnaryOp::Square, a) => root(a),
            Term::Binary(BinaryOp::Mul, a, b) => same[a] == same[b] && root(a) || divided(a, b) || divided(b, a),
            Term::Binary(BinaryOp::Div, a, b) => multiplied(a, b),
            _ => false,
        };
    }
    hidden
}
