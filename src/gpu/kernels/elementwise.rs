//! `out[i] = expr(i)`: one thread per element, or per four where the length allows; of storage types at least a whole word.
//! What transposes passes through tiles on devices with real workgroup memory. Traffic: each loaded element and each result once.

use super::groups;
use super::source::{Binding, check_bindings, declare, entry, size_word, written};
use super::transpose::Tiles;
use super::vector::{self, VectorLoads, VectorOperand};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type, zero};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::plan::{Expr, Kernel, Plan, Step, Term};

/// Threads of a workgroup.
const WORKGROUP: u32 = 64;

/// How a step is laid out over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// A thread computes one word of the result.
    Scalar,
    /// A thread computes four neighbours, whose plain operands it loads as one vector; as [`Variant::Scalar`] where that is not
    /// possible.
    Vector,
    /// Through tiles in workgroup memory; as [`Variant::Vector`] where nothing transposes.
    Tiled,
}

/// What the lab times and tests force.
#[cfg(any(test, feature = "lab"))]
pub(crate) const FORCED: &[Variant] = &[Variant::Scalar, Variant::Vector, Variant::Tiled];

/// The program of an elementwise step. Where the step writes a buffer that it reads, one read-write binding serves both.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let plain = Lowering::new(step, plan, caps, Variant::Vector)?;
    let tiled = groups::suit(caps) && plain.tiles().is_some_and(|tiles| tiles.pay());
    lower_with(step, plan, caps, if tiled { Variant::Tiled } else { Variant::Vector })
}

/// Lowers with a given variant.
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    let lowering = Lowering::new(step, plan, caps, variant)?;
    let tiles = if variant == Variant::Tiled { lowering.tiles() } else { None };
    lowering.lowered(tiles)
}

/// A step laid out over threads.
struct Lowering<'a> {
    step: &'a Step,
    plan: &'a Plan,
    caps: &'a Caps,
    expr: &'a Expr,
    /// What is written.
    dtype: DType,
    /// The read whose buffer is overwritten.
    in_place: Option<usize>,
    /// What four neighbours load together.
    vectors: Vec<VectorOperand>,
    /// Elements that a thread computes.
    lanes: usize,
}

impl<'a> Lowering<'a> {
    fn new(step: &'a Step, plan: &'a Plan, caps: &'a Caps, variant: Variant) -> Result<Self> {
        let Kernel::Elementwise(expr) = &step.kernel else {
            return Err(Error::internal("elementwise::lower was given another kernel"));
        };
        let write = written(step)?;
        let in_place = step.reads.iter().position(|&r| r == write);
        if in_place.is_some_and(|k| !plain(expr, k)) {
            return Err(Error::internal("an elementwise step moves the elements of the buffer that it overwrites"));
        }
        let dtype = plan.buffers[write].dtype;
        // In place, a load of two halves per word must see words, not pairs of them. Four lanes are four copies to compile.
        let packed_in_place = in_place.is_some() && dtype.per_word() == 2;
        let short = 4 * expr.terms.len() <= caps.unrolled && caps.copies(4, expr);
        let fits = expr.shape.numel().is_multiple_of(4) && !packed_in_place && short;
        let (vectors, lanes) = match if fits { variant } else { Variant::Scalar } {
            Variant::Vector | Variant::Tiled => (vector::operands(expr, &(0..expr.shape.rank())), 4),
            Variant::Scalar => (Vec::new(), dtype.per_word()),
        };
        Ok(Self { step, plan, caps, expr, dtype, in_place, vectors, lanes })
    }

    /// How it transposes, if it does.
    fn tiles(&self) -> Option<Tiles> {
        if self.dtype.per_word() == 1 { Tiles::of(self.expr, self.step, self.plan) } else { None }
    }

    fn lowered(&self, tiles: Option<Tiles>) -> Result<Lowered> {
        let program = match tiles {
            Some(tiles) => tiles.program(self.expr, self.step, self.plan, written(self.step)?, self.in_place, self.caps)?,
            None => self.program()?,
        };
        Ok(Lowered { programs: vec![program], scratch: Vec::new() })
    }

    /// The operands that it loads, then the result.
    fn bindings(&self) -> Result<Vec<Binding>> {
        let reads = loaded(self.expr).into_iter().filter(|k| Some(*k) != self.in_place);
        let mut bindings: Vec<Binding> = reads.map(|k| vector::binding(k, &self.vectors, self.step, self.plan)).collect();
        bindings.push(Binding::new(Operand::Write, "out", &self.element()));
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(bindings)
    }

    /// The type of what a thread writes.
    fn element(&self) -> String {
        match self.lanes / self.dtype.per_word() {
            1 => wgsl_type(self.dtype).to_string(),
            words => format!("vec{words}<{}>", wgsl_type(self.dtype)),
        }
    }

    /// WGSL for the words that a thread writes; `clamped` where the last thread's lanes may be past the end.
    fn words(&self, clamped: bool) -> String {
        let (lanes, per_word, acc) = (self.lanes, self.dtype.per_word(), zero(self.expr.dtype()));
        let lane = |l: usize| {
            let i = match (lanes, clamped) {
                (1, _) => "n".to_string(),
                (_, false) => format!("n * {lanes}u + {l}u"),
                (_, true) => format!("min(n * {lanes}u + {l}u, params[0].y)"),
            };
            format!("value({i}, {acc}{})", vector::arguments(&self.vectors, l))
        };
        let shifted = |first: usize, k: usize| {
            if k == 0 { lane(first) } else { format!("({} << {}u)", lane(first + k), 32 / per_word * k) }
        };
        let word = |w: usize| (0..per_word).map(|k| shifted(w * per_word, k)).collect::<Vec<_>>().join(" | ");
        (0..lanes / per_word).map(word).collect::<Vec<_>>().join(", ")
    }

    fn program(&self) -> Result<Program> {
        let n = self.expr.shape.numel();
        let threads = n.div_ceil(self.lanes);
        // The last word's lanes past the end repeat the last element; readers ignore them.
        let clamped = !n.is_multiple_of(self.lanes);
        let mut record = vec![Word::U32(size_word(threads)?)];
        if clamped {
            record.push(Word::U32(size_word(n - 1)?));
        }
        let given: Vec<usize> = self.vectors.iter().map(|v| v.operand).collect();
        let code = emit_at("value", self.expr, record.len(), Site { given: &given, in_place: self.in_place, ..Site::default() });
        record.extend(code.words);
        let loads = VectorLoads::new(&self.vectors, self.expr, record.len(), None, "n * 4u", "", self.in_place);
        record.extend(&loads.words);
        let bindings = self.bindings()?;
        let source = format!(
            "{}{}{}{}{}    let n = wg * {WORKGROUP}u + lid;\n    if (n >= params[0].x) {{\n        return;\n    }}\n{}    out[n] = \
             {}({});\n}}\n",
            declare(record.len(), &bindings),
            snippets(&[self.expr], &[]),
            code.function,
            loads.functions,
            entry(WORKGROUP),
            loads.lets,
            self.element(),
            self.words(clamped),
        );
        let name = match self.lanes {
            1 => "elementwise",
            2 => "elementwise2",
            _ => "elementwise4",
        };
        Ok(Program {
            name: name.into(),
            source,
            operands: bindings.iter().map(|b| b.operand).collect(),
            record,
            grid: self.caps.grid(threads.div_ceil(WORKGROUP as usize)),
        })
    }
}

/// Whether all loads of an operand read the element that the thread computes. In place, they must.
fn plain(expr: &Expr, operand: usize) -> bool {
    expr.terms.iter().all(|(t, _)| !matches!(t, Term::Load { operand: o, view } if *o == operand && !view.is_identity()))
}
