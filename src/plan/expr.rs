//! Scalar expressions: what one element of a fused kernel computes.
//!
//! One expression type serves elementwise kernels, what a reduction reads (prologue) and what a reduction, product or
//! convolution does to its result (epilogue). The GPU prints it as WGSL; the CPU interprets it block by block.

use crate::dtype::DType;
use crate::graph::View;
use crate::graph::op::{BinaryOp, RandomWord, UnaryOp};
use crate::shape::Shape;

/// The index of a term within its [`Expr`].
pub type TermId = usize;

/// One step of an expression. Everything is evaluated at a coordinate of the expression's shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// Element `view(coord)` of the step's operand `reads[operand]`; 0 where the view is masked.
    Load {
        /// Which of the step's reads.
        operand: usize,
        /// From coordinates to elements.
        view: View,
    },
    /// The accumulator that the kernel hands to its epilogue.
    Acc,
    /// The graph's scalar number `slot` (its bindings of kind scalar, in order), rounded to the term's dtype.
    Scalar {
        /// Position among the graph's scalars.
        slot: usize,
    },
    /// A structural constant, as the bits of an f64 (exact for every dtype).
    Constant {
        /// `f64::to_bits` of the value.
        bits: u64,
    },
    /// U32: word of Threefry(key, (view(coord), offset)) of the graph's random number `slot`.
    Random {
        /// Position among the graph's random bindings.
        slot: usize,
        /// Which word.
        word: RandomWord,
        /// From coordinates to the counter.
        view: View,
    },
    /// The value `view(coord)` itself, in the term's dtype.
    Index {
        /// From coordinates to the index.
        view: View,
    },
    /// Bool: whether the view has an element here (its mask).
    Valid {
        /// The view whose mask decides.
        view: View,
    },
    /// A function of an earlier term.
    Unary(UnaryOp, TermId),
    /// A function of two earlier terms of one dtype.
    Binary(BinaryOp, TermId, TermId),
    /// `condition ? a : b`.
    Select(TermId, TermId, TermId),
    /// Conversion to the term's dtype.
    Cast(TermId),
    /// Two values of the term's dtype, as the last term: what reductions of pairs combine.
    Pair(TermId, TermId),
}

/// A directed acyclic graph of scalar terms; the last one is the result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expr {
    /// The coordinates' extent.
    pub shape: Shape,
    /// Terms with their dtypes, operands first, no term twice.
    pub terms: Vec<(Term, DType)>,
}

impl Expr {
    /// An expression with no terms yet.
    pub fn new(shape: Shape) -> Self {
        Self { shape, terms: Vec::new() }
    }

    /// The epilogue that does nothing.
    pub fn identity(shape: Shape, dtype: DType) -> Self {
        Self { shape, terms: vec![(Term::Acc, dtype)] }
    }

    /// Whether this is [`Expr::identity`].
    pub fn is_identity(&self) -> bool {
        matches!(self.terms[..], [(Term::Acc, _)])
    }

    /// Adds a term, or finds the equal one that is there already.
    pub fn push(&mut self, term: Term, dtype: DType) -> TermId {
        if let Some(found) = self.terms.iter().position(|t| t.0 == term && t.1 == dtype) {
            return found;
        }
        self.terms.push((term, dtype));
        self.terms.len() - 1
    }

    /// Makes `root` the last term, as the result must be, and drops what it does not need.
    pub fn finish(mut self, root: TermId) -> Self {
        let mut needed = vec![false; self.terms.len()];
        needed[root] = true;
        for i in (0..=root).rev() {
            if needed[i] {
                for o in operands(&self.terms[i].0) {
                    needed[o] = true;
                }
            }
        }
        let mut renumbered = vec![0; self.terms.len()];
        let mut kept = Vec::new();
        for (i, (mut term, dtype)) in self.terms.drain(..).enumerate() {
            if needed[i] {
                for o in operands_mut(&mut term) {
                    *o = renumbered[*o];
                }
                renumbered[i] = kept.len();
                kept.push((term, dtype));
            }
        }
        self.terms = kept;
        self
    }

    /// The dtype of the result.
    pub fn dtype(&self) -> DType {
        self.terms.last().map_or(DType::F32, |t| t.1)
    }
}

/// The terms that a term reads.
pub fn operands(term: &Term) -> Vec<TermId> {
    match *term {
        Term::Unary(_, a) | Term::Cast(a) => vec![a],
        Term::Binary(_, a, b) | Term::Pair(a, b) => vec![a, b],
        Term::Select(c, a, b) => vec![c, a, b],
        _ => Vec::new(),
    }
}

fn operands_mut(term: &mut Term) -> Vec<&mut TermId> {
    match term {
        Term::Unary(_, a) | Term::Cast(a) => vec![a],
        Term::Binary(_, a, b) | Term::Pair(a, b) => vec![a, b],
        Term::Select(c, a, b) => vec![c, a, b],
        _ => Vec::new(),
    }
}
