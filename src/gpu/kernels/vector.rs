//! Four neighbours per thread: which operands of an expression load as one `vec4`.
//!
//! A scalar load costs a software adapter as much as a vector, so this halves the time of most memory-bound kernels.

use super::source::Binding;
use crate::gpu::expr::{Site, emit_at, given_name, views_of};
use crate::gpu::program::{Word, loaded};
use crate::graph::View;
use crate::plan::{Expr, Plan, Step, Term};
use std::fmt::Write;
use std::ops::Range;

/// An operand that four neighbours load together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VectorOperand {
    /// Which of the step's reads.
    pub operand: usize,
    /// Its loads; where it is splat, there may be several, of which this is the first.
    view: View,
    /// How many different ones.
    views: usize,
    /// One element for all four, rather than four in a row.
    splat: bool,
}

/// The operands that four neighbours along `axes` load together; the first of the four is a multiple of 4 there.
pub(crate) fn operands(expr: &Expr, axes: &Range<usize>) -> Vec<VectorOperand> {
    loaded(expr).into_iter().filter_map(|k| of_operand(expr, k, axes)).collect()
}

/// Whether any of them is a true vector.
pub(crate) fn pays(vectors: &[VectorOperand]) -> bool {
    vectors.iter().any(|g| !g.splat)
}

/// Whether any of those that an expression reads in full, an element of its own for each of the expression's, is a true vector;
/// if it reads none in full, whether any is. Few vectors that are read again and again do not pay for many scalars.
pub(crate) fn pays_in_full(vectors: &[VectorOperand], expr: &Expr) -> bool {
    let is_full = |view: &View| (0..view.shape.rank()).all(|d| view.strides()[d] != 0 || view.shape[d] == 1);
    let any = expr.terms.iter().any(|(t, _)| matches!(t, Term::Load { view, .. } if is_full(view)));
    vectors.iter().any(|g| !g.splat && (!any || is_full(&g.view)))
}

fn of_operand(expr: &Expr, operand: usize, axes: &Range<usize>) -> Option<VectorOperand> {
    let views: Vec<View> = views_of(expr, operand).copied().collect();
    // Four packed elements are not a vector.
    if expr.terms.iter().any(|(t, dtype)| matches!(t, Term::Load { operand: o, .. } if *o == operand) && dtype.per_word() > 1) {
        return None;
    }
    let (&view, others) = views.split_first()?;
    let is_splat = shared(&view, axes)?;
    // Two views of one operand would need two vectors; it stays scalar.
    let fits = others.is_empty() || is_splat && others.iter().all(|v| shared(v, axes) == Some(true));
    fits.then_some(VectorOperand { operand, view, views: views.len(), splat: is_splat })
}

/// Whether four neighbours along `axes` load one element (or four in a row) through a view; `None` for neither.
fn shared(view: &View, axes: &Range<usize>) -> Option<bool> {
    if view.mask().is_some() {
        return None;
    }
    let mut inner = axes.clone().rev().filter(|&d| view.shape[d] != 1);
    let first = inner.next()?;
    let stride = view.strides()[first];
    let mut run = view.shape[first];
    let mut next = inner.next();
    while let Some(d) = next.filter(|&d| view.strides()[d] == stride.wrapping_mul(run as i64)) {
        run *= view.shape[d];
        next = inner.next();
    }
    let outside = |d: usize| !axes.contains(&d) || next.is_some_and(|n| d <= n);
    let aligned = view.offset % 4 == 0
        && (0..view.shape.rank()).filter(|&d| outside(d)).all(|d| view.strides()[d] % 4 == 0 || view.shape[d] == 1);
    match stride {
        _ if !run.is_multiple_of(4) => None,
        0 => Some(true),
        1 if aligned => Some(false),
        _ => None,
    }
}

/// Code that loads such operands and evaluates `value` for four neighbours.
pub(crate) struct VectorLoads {
    /// Index functions `at{k}`.
    pub functions: String,
    /// `let p{k} = ...` lines.
    pub lets: String,
    /// Their record words, from the `first_word` that was given.
    pub words: Vec<Word>,
}

impl VectorLoads {
    /// For loads at the index texts `i` (and `j`, where the site splits it) of the first neighbour.
    pub fn new(
        vectors: &[VectorOperand],
        expr: &Expr,
        first_word: usize,
        split: Option<usize>,
        i: &str,
        j: &str,
        in_place: Option<usize>,
    ) -> Self {
        let mut loads = Self { functions: String::new(), lets: String::new(), words: Vec::new() };
        for g in vectors {
            let k = g.operand;
            let buffer = if in_place == Some(k) { "out".to_string() } else { format!("b{k}") };
            for (n, view) in views_of(expr, k).enumerate() {
                let name = given_name(k, n);
                let mut index = Expr::new(expr.shape);
                index.push(Term::Index { view: *view }, crate::dtype::DType::U32);
                let site = Site { split, ..Site::default() };
                let code = emit_at(&format!("at{name}"), &index, first_word + loads.words.len(), site);
                loads.words.extend(code.words);
                loads.functions.push_str(&code.function);
                let second = if split.is_some() { j } else { "0u" };
                let fourth = if g.splat { "" } else { " >> 2u" };
                let _ = writeln!(loads.lets, "    let p{name} = {buffer}[at{name}({i}, {second}){fourth}];");
            }
        }
        loads
    }
}

/// The extra arguments of `value` for neighbour `lane`.
pub(crate) fn arguments(vectors: &[VectorOperand], lane: usize) -> String {
    let part = ["x", "y", "z", "w"][lane % 4];
    let of = |g: &VectorOperand| -> String {
        let lane = if g.splat { String::new() } else { format!(".{part}") };
        (0..g.views).map(|n| format!(", p{}{lane}", given_name(g.operand, n))).collect()
    };
    vectors.iter().map(of).collect()
}

/// A read binding, as an array of vectors where the operand is given as one.
pub(crate) fn binding(k: usize, vectors: &[VectorOperand], step: &Step, plan: &Plan) -> Binding {
    let mut binding = Binding::read(k, step, plan);
    if vectors.iter().any(|g| g.operand == k && !g.splat) {
        binding.element = format!("vec4<{}>", binding.element);
    }
    binding
}
