//! `out[i]` = index of the first extreme of `value(i, j)` over j; NaN counts as the extreme. One thread an output.
//! Traffic: each loaded element once.

use super::source::{Binding, check_bindings, declare, entry, size_word, written};
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::snippets;
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::graph::op::ReduceOp;
use crate::plan::{Kernel, Plan, Step};

const WORKGROUP: u32 = 64;

/// The program of an argmax or argmin step.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::ArgReduce { op, value } = &step.kernel else {
        return Err(Error::internal("arg_reduce::lower was given another kernel"));
    };
    written(step)?;
    let kept = value.shape.rank().saturating_sub(1);
    let outputs: usize = value.shape[..kept].iter().product();
    let length: usize = value.shape[kept..].iter().product();
    let mut bindings: Vec<Binding> = loaded(value).into_iter().map(|k| Binding::read(k, step, plan)).collect();
    bindings.push(Binding::new(Operand::Write, "out", "i32"));
    check_bindings(bindings.len(), caps, step)?;
    let mut record = vec![Word::U32(size_word(outputs)?), Word::U32(size_word(length)?)];
    let code = emit_at("value", value, record.len(), Site { split: Some(kept), ..Site::default() });
    record.extend(code.words);
    let compare = if *op == ReduceOp::Min { "v < best" } else { "v > best" };
    let better =
        if value.dtype().is_float() { format!("{compare} || (is_nan_f32(v) && !is_nan_f32(best))") } else { compare.to_string() };
    let source = format!(
        "{}{}{}{}    let i = wg * {WORKGROUP}u + lid;
    if (i >= params[0].x) {{
        return;
    }}
    var best = value(i, 0u);
    var index = 0u;
    for (var j = 1u; j < params[0].y; j++) {{
        let v = value(i, j);
        if ({better}) {{
            best = v;
            index = j;
        }}
    }}
    out[i] = i32(index);
}}
",
        declare(record.len(), &bindings),
        snippets(&[value], if value.dtype().is_float() { &["bits"] } else { &[] }),
        code.function,
        entry(WORKGROUP),
    );
    let program = Program {
        name: "arg_reduce".into(),
        source,
        operands: bindings.iter().map(|b| b.operand).collect(),
        record,
        grid: caps.grid(outputs.div_ceil(WORKGROUP as usize)),
    };
    Ok(Lowered { programs: vec![program], scratch: Vec::new() })
}
