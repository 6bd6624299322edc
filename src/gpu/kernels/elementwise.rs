//! `out[i] = expr(i)`: one thread an element, or four where the length allows. Traffic: each loaded element and each result once.

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
    let vector = variant.vector && n.is_multiple_of(4);
    let given = if vector { vector::given(expr, &(0..expr.shape.rank())) } else { Vec::new() };
    let mut bindings: Vec<Binding> =
        loaded(expr).into_iter().filter(|k| Some(*k) != in_place).map(|k| vector::binding(k, &given, step, plan)).collect();
    let element = wgsl_type(plan.buffers[write].dtype);
    let out = if vector { format!("vec4<{element}>") } else { element.to_string() };
    bindings.push(Binding::new(Operand::Write, "out", &out));
    check_bindings(bindings.len(), caps, step)?;
    let threads = if vector { n / 4 } else { n };
    let mut record = vec![Word::U32(size_word(threads)?)];
    let operands: Vec<usize> = given.iter().map(|g| g.operand).collect();
    let code = emit_at("value", expr, record.len(), Site { given: &operands, in_place, split: None });
    record.extend(code.words);
    let fetch = Fetch::new(&given, expr, record.len(), None, "n * 4u", "", in_place);
    record.extend(&fetch.words);
    let acc = zero(expr.dtype());
    let body = if vector {
        let lanes: Vec<String> = (0..4).map(|l| format!("value(n * 4u + {l}u, {acc}{})", vector::arguments(&given, l))).collect();
        format!("{}    out[n] = {out}({});\n", fetch.lets, lanes.join(", "))
    } else {
        format!("    out[n] = value(n, {acc});\n")
    };
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
        name: if vector { "elementwise4" } else { "elementwise" }.into(),
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
