//! `out[i] = expr(i)`: one thread an element, or four where the length allows; of storage types at least a whole word.
//! Traffic: each loaded element and each result once.

use super::source::{Binding, check_bindings, declare, entry, size_word, written};
use super::vector::{self, Fetch};
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type, zero};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::plan::{Expr, Kernel, Plan, Step, Term};

/// Threads of a workgroup.
const WORKGROUP: u32 = 64;

/// How a step is laid out over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Threads of a workgroup.
    pub workgroup: u32,
    /// Whether a thread does four neighbours, whose plain operands it loads as one vector.
    pub vector: bool,
}

/// The program of an elementwise step. Where the step writes a buffer that it reads, one read-write binding serves both.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    lower_with(step, plan, caps, Variant { workgroup: WORKGROUP, vector: true })
}

/// Lowers with a given variant; one element a thread where the length is no multiple of 4.
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    let Kernel::Elementwise(expr) = &step.kernel else {
        return Err(Error::internal("elementwise::lower was given another kernel"));
    };
    let write = written(step)?;
    let in_place = step.reads.iter().position(|&r| r == write);
    if in_place.is_some_and(|k| !plain(expr, k)) {
        return Err(Error::internal("an elementwise step moves the elements of the buffer that it overwrites"));
    }
    let n = expr.shape.numel();
    let dtype = plan.buffers[write].dtype;
    let per_word = dtype.per_word();
    // In place, a load of two halves a word must see words, not pairs of them. Four lanes are four copies to compile.
    let vector =
        variant.vector && n.is_multiple_of(4) && !(in_place.is_some() && per_word == 2) && 4 * expr.terms.len() <= caps.unrolled;
    let given = if vector { vector::given(expr, &(0..expr.shape.rank())) } else { Vec::new() };
    let mut bindings: Vec<Binding> =
        loaded(expr).into_iter().filter(|k| Some(*k) != in_place).map(|k| vector::binding(k, &given, step, plan)).collect();
    let lanes = if vector { 4 } else { per_word };
    let out = match lanes / per_word {
        1 => wgsl_type(dtype).to_string(),
        words => format!("vec{words}<{}>", wgsl_type(dtype)),
    };
    bindings.push(Binding::new(Operand::Write, "out", &out));
    check_bindings(bindings.len(), caps, step)?;
    let threads = n.div_ceil(lanes);
    // The last word's lanes past the end repeat the last element; readers ignore them.
    let last = (!n.is_multiple_of(lanes)).then_some(n - 1);
    let mut record = vec![Word::U32(size_word(threads)?)];
    if let Some(last) = last {
        record.push(Word::U32(size_word(last)?));
    }
    let operands: Vec<usize> = given.iter().map(|g| g.operand).collect();
    let code = emit_at("value", expr, record.len(), Site { given: &operands, in_place, split: None });
    record.extend(code.words);
    let fetch = Fetch::new(&given, expr, record.len(), None, "n * 4u", "", in_place);
    record.extend(&fetch.words);
    let acc = zero(expr.dtype());
    let lane = |l: usize| {
        let i = match (lanes, last) {
            (1, _) => "n".to_string(),
            (_, None) => format!("n * {lanes}u + {l}u"),
            (_, Some(_)) => format!("min(n * {lanes}u + {l}u, params[0].y)"),
        };
        format!("value({i}, {acc}{})", vector::arguments(&given, l))
    };
    let word = |w: usize| {
        let shifted = |k: usize| {
            if k == 0 { lane(w * per_word) } else { format!("({} << {}u)", lane(w * per_word + k), 32 / per_word * k) }
        };
        (0..per_word).map(shifted).collect::<Vec<_>>().join(" | ")
    };
    let words: Vec<String> = (0..lanes / per_word).map(word).collect();
    let body = format!("{}    out[n] = {out}({});\n", fetch.lets, words.join(", "));
    let source = format!(
        "{}{}{}{}{}    let n = wg * {}u + lid;\n    if (n >= params[0].x) {{\n        return;\n    }}\n{body}}}\n",
        declare(record.len(), &bindings),
        snippets(&[expr], &[]),
        code.function,
        fetch.functions,
        entry(variant.workgroup),
        variant.workgroup,
    );
    let program = Program {
        name: match lanes {
            1 => "elementwise",
            2 => "elementwise2",
            _ => "elementwise4",
        }
        .into(),
        source,
        operands: bindings.iter().map(|b| b.operand).collect(),
        record,
        grid: caps.grid(threads.div_ceil(variant.workgroup as usize)),
    };
    Ok(Lowered { programs: vec![program], scratch: Vec::new() })
}

/// Whether all loads of an operand read the element that the thread computes. In place, they must.
fn plain(expr: &Expr, operand: usize) -> bool {
    expr.terms.iter().all(|(t, _)| !matches!(t, Term::Load { operand: o, view } if *o == operand && !view.is_identity()))
}
