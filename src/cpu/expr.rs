//! Interprets scalar expressions: block by block, one tight loop per term.
//!
//! All elements are 32-bit words; a term's dtype says how its loop reads them.

mod hoist;
mod ops;
mod walk;

use crate::dtype::{DType, F16};
use crate::error::{Error, Result};
use crate::graph::View;
use crate::graph::op::RandomWord;
use crate::plan::expr::{Expr, Term, TermId, operands};
use crate::rng::RandomKey;
use crate::rng::threefry2x32;
use crate::storage::bindings::Bindings;
pub(super) use hoist::hoist;
use std::cell::RefCell;
pub(super) use walk::Walk;

/// Elements that one pass over the terms evaluates: a dozen columns of them fit in a first-level cache.
pub(super) const BLOCK: usize = 1024;

/// Where a term's block is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a scratch column.
    Column(usize),
    /// In an operand, at the block's own position.
    Operand(usize),
}

#[derive(Debug)]
enum Action {
    Load { operand: usize, walk: Walk },
    Random { slot: usize, word: RandomWord, walk: Walk },
    Index { walk: Walk, dtype: DType },
    Valid { walk: Walk },
    Unary { op: crate::graph::op::UnaryOp, dtype: DType, a: Place },
    Binary { op: crate::graph::op::BinaryOp, dtype: DType, a: Place, b: Place },
    Select { condition: Place, a: Place, b: Place },
    Cast { from: DType, to: DType, a: Place },
    Copy { a: Place },
}

#[derive(Debug)]
enum Constant {
    Bits(u32),
    Scalar { slot: usize, dtype: DType },
}

/// An expression prepared for evaluation.
#[derive(Debug)]
pub(super) struct Program {
    /// Elements of the expression's shape.
    pub len: usize,
    /// Roughly, how many loops an element passes through.
    pub cost: usize,
    /// Whether nothing needs to be done to the accumulator.
    pub is_identity: bool,
    /// Where both values of a pair are.
    pair: Option<[Place; 2]>,
    actions: Vec<(Action, usize)>,
    constants: Vec<(usize, Constant)>,
    columns: usize,
    /// Whether column 0 holds what was in the output before.
    reads_output: bool,
}

/// What expressions read in one evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// The step's reads, as words.
    pub operands: &'a [&'a [u32]],
    /// The graph's scalars and random keys.
    pub bindings: &'a Bindings,
}

/// The bits of `value` as a `dtype`.
#[allow(clippy::cast_possible_truncation, reason = "casts truncate and saturate; an index has 32 bits")]
pub(super) fn word(value: f64, dtype: DType) -> u32 {
    match dtype {
        DType::Bool => u32::from(value != 0.0),
        DType::U8 => u32::from(value as u8),
        DType::F16 => u32::from(F16::from_f32(value as f32).to_bits()),
        DType::U32 => value as u32,
        DType::I32 => (value as i32) as u32,
        DType::F32 | DType::F64 => (value as f32).to_bits(),
    }
}

impl Program {
    /// Prepares `expr`. Loads of operand `in_place` read the output itself; their view must be the identity.
    pub fn new(expr: &Expr, in_place: Option<usize>) -> Result<Self> {
        let last = expr.terms.len().checked_sub(1).ok_or_else(|| Error::internal("an expression has no terms"))?;
        let mut program = Self {
            len: expr.shape.numel(),
            cost: 0,
            is_identity: expr.is_identity(),
            pair: None,
            actions: Vec::new(),
            constants: Vec::new(),
            columns: 1,
            reads_output: false,
        };
        let mut last_use = vec![0; expr.terms.len()];
        for (id, (term, _)) in expr.terms.iter().enumerate() {
            for o in operands(term) {
                last_use[o] = id;
            }
        }
        let mut places: Vec<Place> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for (id, (term, dtype)) in expr.terms.iter().enumerate() {
            let dtype = *dtype;
            if let Term::Pair(a, b) = *term {
                program.pair = Some([places[a], places[b]]);
                break;
            }
            let fixed = match term {
                Term::Acc => Some(program.output_column()),
                Term::Load { operand, view } if Some(*operand) == in_place => {
                    if !view.is_identity() {
                        return Err(Error::internal("an in-place operand is read out of order"));
                    }
                    Some(program.output_column())
                }
                Term::Load { operand, view } if view.is_identity() => Some(Place::Operand(*operand)),
                Term::Constant { bits } => Some(program.constant(Constant::Bits(word(f64::from_bits(*bits), dtype)))),
                Term::Scalar { slot } => Some(program.constant(Constant::Scalar { slot: *slot, dtype })),
                _ => None,
            };
            let action = match (fixed, term) {
                (Some(a), _) if id == last => Action::Copy { a },
                (Some(a), _) => {
                    places.push(a);
                    continue;
                }
                (None, term) => action(term, dtype, expr, &places)?,
            };
            program.cost += match action {
                Action::Load { .. } | Action::Unary { .. } | Action::Index { .. } => 4,
                Action::Random { .. } => 40,
                Action::Binary { .. } | Action::Select { .. } | Action::Cast { .. } => 1,
                Action::Valid { .. } | Action::Copy { .. } => 1,
            };
            let column = match free.pop() {
                _ if id == last => 0,
                Some(column) => column,
                None => {
                    program.columns += 1;
                    program.columns - 1
                }
            };
            // Columns are freed only after the result's is taken, as a loop may not write what it reads.
            for o in operands(term) {
                if let Place::Column(c) = places[o]
                    && last_use[o] == id
                    && c != 0
                    && program.constants.iter().all(|k| k.0 != c)
                    && !free.contains(&c)
                {
                    free.push(c);
                }
            }
            places.push(Place::Column(column));
            program.actions.push((action, column));
        }
        Ok(program)
    }

    fn output_column(&mut self) -> Place {
        self.reads_output = true;
        Place::Column(0)
    }

    fn constant(&mut self, constant: Constant) -> Place {
        self.columns += 1;
        self.constants.push((self.columns - 1, constant));
        Place::Column(self.columns - 1)
    }
}

fn action(term: &Term, dtype: DType, expr: &Expr, places: &[Place]) -> Result<Action> {
    let at = |id: &TermId| places.get(*id).copied().ok_or_else(|| Error::internal("a term reads a later one"));
    let walk = |view: &View| Walk::new(view);
    Ok(match term {
        Term::Load { operand, view } => Action::Load { operand: *operand, walk: walk(view) },
        Term::Random { slot, word, view } => Action::Random { slot: *slot, word: *word, walk: walk(view) },
        Term::Index { view } => Action::Index { walk: walk(view), dtype },
        Term::Valid { view } => Action::Valid { walk: walk(view) },
        Term::Unary(op, a) => Action::Unary { op: *op, dtype: expr.terms[*a].1, a: at(a)? },
        Term::Binary(op, a, b) => Action::Binary { op: *op, dtype: expr.terms[*a].1, a: at(a)?, b: at(b)? },
        Term::Select(c, a, b) => Action::Select { condition: at(c)?, a: at(a)?, b: at(b)? },
        Term::Cast(a) => Action::Cast { from: expr.terms[*a].1, to: dtype, a: at(a)? },
        Term::Acc | Term::Scalar { .. } | Term::Constant { .. } | Term::Pair(..) => {
            return Err(Error::internal("a leaf term is not an action"));
        }
    })
}

thread_local! {
    /// Columns that outlive an evaluator, so that small kernels do not allocate.
    static SCRATCH: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Evaluates a program on one thread.
pub(super) struct Evaluator<'a> {
    program: &'a Program,
    context: Context<'a>,
    columns: Vec<Vec<u32>>,
}

impl<'a> Evaluator<'a> {
    /// Takes scratch memory and fills the columns that hold constants.
    pub fn new(program: &'a Program, context: Context<'a>) -> Self {
        let mut columns = SCRATCH.with_borrow_mut(std::mem::take);
        while columns.len() < program.columns {
            columns.push(vec![0; BLOCK]);
        }
        for (column, constant) in &program.constants {
            let bits = match constant {
                Constant::Bits(bits) => *bits,
                Constant::Scalar { slot, dtype } => word(context.bindings.scalars[*slot], *dtype),
            };
            columns[*column].fill(bits);
        }
        Self { program, context, columns }
    }

    /// Evaluates elements `start..start + out.len()` block by block into `out`, which holds the accumulator beforehand.
    pub fn run(&mut self, start: usize, out: &mut [u32]) {
        for (i, block) in out.chunks_mut(BLOCK).enumerate() {
            self.block(start + i * BLOCK, block);
        }
    }

    /// Both values of a pair of `len` elements, a block at most.
    pub fn pair(&mut self, start: usize, len: usize) -> [&[u32]; 2] {
        for (action, column) in &self.program.actions {
            let mut target = std::mem::take(&mut self.columns[*column]);
            self.act(action, start, &mut target[..len]);
            self.columns[*column] = target;
        }
        self.program.pair.map_or([&[]; 2], |pair| pair.map(|place| self.at(place, start, len)))
    }

    fn at(&self, place: Place, start: usize, len: usize) -> &[u32] {
        match place {
            Place::Column(c) => &self.columns[c][..len],
            Place::Operand(o) => &self.context.operands[o][start..start + len],
        }
    }

    fn block(&mut self, start: usize, out: &mut [u32]) {
        let len = out.len();
        if self.program.reads_output {
            self.columns[0][..len].copy_from_slice(out);
        }
        let last = self.program.actions.len() - 1;
        for (i, (action, column)) in self.program.actions.iter().enumerate() {
            if i == last {
                self.act(action, start, out);
            } else {
                let mut target = std::mem::take(&mut self.columns[*column]);
                self.act(action, start, &mut target[..len]);
                self.columns[*column] = target;
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "casts truncate and saturate; an index has 32 bits")]
    fn act(&self, action: &Action, start: usize, out: &mut [u32]) {
        let len = out.len();
        let at = |place: Place| self.at(place, start, len);
        match action {
            Action::Load { operand, walk } => walk.load(start, self.context.operands[*operand], out),
            Action::Random { slot, word, walk } => random(self.context.bindings.randoms[*slot], *word, walk, start, out),
            Action::Index { walk, dtype } => walk.fill(start, out, |index| match dtype {
                DType::F32 | DType::F64 => (index as f32).to_bits(),
                _ => index as u32,
            }),
            Action::Valid { walk } => walk.fill(start, out, |_| 1),
            Action::Unary { op, dtype, a } => ops::unary(*op, *dtype, at(*a), out),
            Action::Binary { op, dtype, a, b } => ops::binary(*op, *dtype, at(*a), at(*b), out),
            Action::Select { condition, a, b } => ops::select(at(*condition), at(*a), at(*b), out),
            Action::Cast { from, to, a } => ops::cast(*from, *to, at(*a), out),
            Action::Copy { a } => out.copy_from_slice(at(*a)),
        }
    }
}

impl Drop for Evaluator<'_> {
    fn drop(&mut self) {
        let columns = std::mem::take(&mut self.columns);
        SCRATCH.with_borrow_mut(|kept| {
            if kept.len() < columns.len() {
                *kept = columns;
            }
        });
    }
}

#[allow(clippy::cast_possible_truncation, reason = "casts truncate and saturate; an index has 32 bits")]
fn random(key: RandomKey, word: RandomWord, walk: &Walk, start: usize, out: &mut [u32]) {
    walk.fill(start, out, |index| index as u32);
    super::simd::vectorize(
        #[inline(always)]
        || {
            for o in out {
                let [first, second] = threefry2x32(key.key, [*o, key.offset]);
                *o = if word == RandomWord::First { first } else { second };
            }
        },
    );
}
