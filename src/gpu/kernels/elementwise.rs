//! `out[i] = expr(i)`: one thread an element. Traffic: each loaded element and each result once.

use super::source::{Binding, check_bindings, declare, entry, size_word, written};
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::plan::{Expr, Kernel, Plan, Step, Term};

const WORKGROUP: u32 = 64;

/// The program of an elementwise step. Where the step writes a buffer that it reads, one read-write binding serves both.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Elementwise(expr) = &step.kernel else {
        return Err(Error::internal("elementwise::lower was given another kernel"));
    };
    let write = written(step)?;
    let in_place = step.reads.iter().position(|&r| r == write);
    if let Some(operand) = in_place {
        check_in_place(expr, operand)?;
    }
    let mut bindings: Vec<Binding> =
        loaded(expr).into_iter().filter(|k| Some(*k) != in_place).map(|k| Binding::read(k, step, plan)).collect();
    bindings.push(Binding::new(Operand::Write, "out", wgsl_type(plan.buffers[write].dtype)));
    check_bindings(bindings.len(), caps, step)?;
    let n = expr.shape.numel();
    let code = emit_at("value", expr, 1, Site { in_place, split: None });
    let mut record = vec![Word::U32(size_word(n)?)];
    record.extend(code.words);
    let source = format!(
        "{}{}{}{}    let i = wg * {WORKGROUP}u + lid;\n    if (i >= params[0].x) {{\n        return;\n    }}\n    \
         out[i] = value(i, {});\n}}\n",
        declare(record.len(), &bindings),
        snippets(&[expr], &[]),
        code.function,
        entry(WORKGROUP),
        crate::gpu::math::zero(expr.dtype()),
    );
    let program = Program {
        name: "elementwise".into(),
        source,
        operands: bindings.iter().map(|b| b.operand).collect(),
        record,
        grid: caps.grid(n.div_ceil(WORKGROUP as usize)),
    };
    Ok(Lowered { programs: vec![program], scratch: Vec::new() })
}

/// In place, a thread may read only the element that it writes.
fn check_in_place(expr: &Expr, operand: usize) -> Result<()> {
    let moved =
        expr.terms.iter().any(|(t, _)| matches!(t, Term::Load { operand: o, view } if *o == operand && !view.is_identity()));
    if moved {
        return Err(Error::internal("an elementwise step moves the elements of the buffer that it overwrites"));
    }
    Ok(())
}
