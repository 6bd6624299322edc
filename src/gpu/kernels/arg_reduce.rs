//! `out[i]` = index of the first extreme of `value(i, j)` over j; NaN counts as the extreme.
//!
//! One thread per output; for long rows, one per chunk of a row and a second program over the chunks. Traffic: each
//! loaded element once.

use super::source::{Binding, MAX_LOOP, check_bindings, declare, entry, loops, size_word, written};
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::graph::op::ReduceOp;
use crate::plan::{Expr, Kernel, Plan, Step};

const WORKGROUP: u32 = 64;

/// The programs of an argmax or argmin step.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::ArgReduce { op, value } = &step.kernel else {
        return Err(Error::internal("arg_reduce::lower was given another kernel"));
    };
    written(step)?;
    let kept = value.shape.rank().saturating_sub(1);
    let outputs: usize = value.shape[..kept].iter().product();
    let length: usize = value.shape[kept..].iter().product();
    let threads = if caps.software { 256 } else { 4096 };
    let wanted = if length <= 512 { 1 } else { (threads / outputs.max(1)).clamp(1, length.div_ceil(128)) };
    let chunk = length.div_ceil(wanted.max(length.saturating_mul(1 + loops(value)).div_ceil(MAX_LOOP))).max(1);
    let parts = length.div_ceil(chunk).max(1);
    let lowering = Lowering { op: *op, value, step, plan, caps, kept, outputs, length, chunk, parts };
    if parts == 1 {
        return Ok(Lowered { programs: vec![lowering.search("arg_reduce")?], scratch: Vec::new() });
    }
    let bytes = (outputs * parts * 4) as u64;
    Ok(Lowered { programs: vec![lowering.search("arg_reduce_partial")?, lowering.choose()?], scratch: vec![bytes; 2] })
}

struct Lowering<'a> {
    op: ReduceOp,
    value: &'a Expr,
    step: &'a Step,
    plan: &'a Plan,
    caps: &'a Caps,
    kept: usize,
    outputs: usize,
    length: usize,
    chunk: usize,
    parts: usize,
}

impl Lowering<'_> {
    /// The condition under which `v` replaces `best`.
    fn better(&self) -> &'static str {
        match (self.op, self.value.dtype().is_float()) {
            (ReduceOp::Min, true) => "!is_nan_f32(best) && (is_nan_f32(v) || v < best)",
            (ReduceOp::Min, false) => "v < best",
            (ReduceOp::Max | ReduceOp::Sum | ReduceOp::Prod, true) => "!is_nan_f32(best) && (is_nan_f32(v) || v > best)",
            (ReduceOp::Max | ReduceOp::Sum | ReduceOp::Prod, false) => "v > best",
        }
    }

    fn bits(&self) -> &'static [&'static str] {
        if self.value.dtype().is_float() { &["bits"] } else { &[] }
    }

    /// Finds each chunk's extreme; thread n does chunk n / outputs of output n % outputs.
    fn search(&self, name: &str) -> Result<Program> {
        let mut bindings: Vec<Binding> = loaded(self.value).into_iter().map(|k| Binding::read(k, self.step, self.plan)).collect();
        let result = if self.parts == 1 {
            bindings.push(Binding::new(Operand::Write, "out", "i32"));
            "out[n] = i32(index);"
        } else {
            bindings.push(Binding::new(Operand::ScratchWrite(0), "extremes", wgsl_type(self.value.dtype())));
            bindings.push(Binding::new(Operand::ScratchWrite(1), "indices", "u32"));
            "extremes[n] = best;\n    indices[n] = index;"
        };
        let sizes = [self.outputs, self.length, self.chunk, self.outputs * self.parts];
        let mut record = sizes.into_iter().map(|s| size_word(s).map(Word::U32)).collect::<Result<Vec<Word>>>()?;
        let code = emit_at("value", self.value, record.len(), Site { split: Some(self.kept), ..Site::default() });
        record.extend(code.words);
        let body = format!(
            "    let n = wg * {WORKGROUP}u + lid;
    if (n >= params[0].w) {{
        return;
    }}
    let i = n % params[0].x;
    let first = n / params[0].x * params[0].z;
    let end = min(first + params[0].z, params[0].y);
    var best = value(i, first);
    var index = first;
    for (var j = first + 1u; j < end; j++) {{
        let v = value(i, j);
        if ({}) {{
            best = v;
            index = j;
        }}
    }}
    {result}
}}
",
            self.better()
        );
        let head = snippets(&[self.value], self.bits()) + &code.function;
        self.program(name, bindings, record, &head, &body, self.outputs * self.parts)
    }

    /// Takes the first extreme of an output's chunks.
    fn choose(&self) -> Result<Program> {
        let bindings = vec![
            Binding::new(Operand::ScratchRead(0), "extremes", wgsl_type(self.value.dtype())),
            Binding::new(Operand::ScratchRead(1), "indices", "u32"),
            Binding::new(Operand::Write, "out", "i32"),
        ];
        let record = vec![Word::U32(size_word(self.outputs)?), Word::U32(size_word(self.outputs * self.parts)?)];
        let body = format!(
            "    let i = wg * {WORKGROUP}u + lid;
    if (i >= params[0].x) {{
        return;
    }}
    var best = extremes[i];
    var index = indices[i];
    for (var n = i + params[0].x; n < params[0].y; n += params[0].x) {{
        let v = extremes[n];
        if ({}) {{
            best = v;
            index = indices[n];
        }}
    }}
    out[i] = i32(index);
}}
",
            self.better()
        );
        self.program("arg_reduce_final", bindings, record, &snippets(&[], self.bits()), &body, self.outputs)
    }

    fn program(
        &self,
        name: &str,
        bindings: Vec<Binding>,
        record: Vec<Word>,
        head: &str,
        body: &str,
        threads: usize,
    ) -> Result<Program> {
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(Program {
            name: name.into(),
            source: format!("{}{head}{}{body}", declare(record.len(), &bindings), entry(WORKGROUP)),
            operands: bindings.iter().map(|b| b.operand).collect(),
            record,
            grid: self.caps.grid(threads.div_ceil(WORKGROUP as usize)),
        })
    }
}
