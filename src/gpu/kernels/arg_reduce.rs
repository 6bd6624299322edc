//! `out[i]` = index of the first extreme of `value(i, j)` over j; NaN counts as the extreme.
//!
//! On a software adapter, one thread per output; for long rows, one per chunk of a row and a second program over the chunks.
//! Elsewhere workgroups share rows as they share reductions, and the index decides between equal extremes. Traffic: each loaded
//! element once.

use super::groups::{self, Form, TREE};
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
    let iterations = length.saturating_mul(1 + loops(value));
    if groups::suit(caps) {
        let (form, parts) = Form::of(outputs, length, groups::across(value, kept), groups::EACH);
        let parts = parts.max(iterations.div_ceil(form.rows * MAX_LOOP));
        let lowering = Lowering { op: *op, value, step, plan, caps, kept, outputs, length, chunk: 0, parts };
        return lowering.by_groups(form);
    }
    let wanted = if length <= 512 { 1 } else { (256 / outputs.max(1)).clamp(1, length.div_ceil(128)) };
    let chunk = length.div_ceil(wanted.max(iterations.div_ceil(MAX_LOOP))).max(1);
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
    /// Values of a part, where parts are chunks.
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
        self.program(name, bindings, record, &head, &body, (self.outputs * self.parts).div_ceil(WORKGROUP as usize))
    }

    /// Workgroups share rows: one program, or two where there are parts.
    fn by_groups(&self, form: Form) -> Result<Lowered> {
        let element = wgsl_type(self.value.dtype());
        let loads = loaded(self.value).into_iter().map(|k| Binding::read(k, self.step, self.plan));
        let scratch = |read| {
            let of = |n| if read { Operand::ScratchRead(n) } else { Operand::ScratchWrite(n) };
            [Binding::new(of(0), "extremes", element), Binding::new(of(1), "indices", "u32")]
        };
        let written = || [Binding::new(Operand::Write, "out", "i32")];
        let own = "value(i, j)";
        if self.parts == 1 {
            let program = self.shared("arg_reduce", form, loads.chain(written()).collect(), [own, "j"], self.length)?;
            return Ok(Lowered { programs: vec![program], scratch: Vec::new() });
        }
        let partial = self.shared("arg_reduce_partial", form, loads.chain(scratch(false)).collect(), [own, "j"], self.length)?;
        let bindings = scratch(true).into_iter().chain(written()).collect();
        let last = Form::last(self.outputs, self.parts);
        let own = ["extremes[j * params[0].x + i]", "indices[j * params[0].x + i]"];
        let programs = vec![partial, self.shared("arg_reduce_final", last, bindings, own, self.parts)?];
        Ok(Lowered { programs, scratch: vec![(self.outputs * self.parts * 4) as u64; 2] })
    }

    /// A program whose workgroups share `length` values per output; `own` are the value at (i, j) and its index.
    fn shared(&self, name: &str, form: Form, bindings: Vec<Binding>, own: [&str; 2], length: usize) -> Result<Program> {
        let element = wgsl_type(self.value.dtype());
        let is_partial = name == "arg_reduce_partial";
        let parts = if is_partial { self.parts } else { 1 };
        let mut record =
            [self.outputs, length, parts].into_iter().map(|s| size_word(s).map(Word::U32)).collect::<Result<Vec<Word>>>()?;
        let mut head = snippets(&[], self.bits());
        if name != "arg_reduce_final" {
            let code = emit_at("value", self.value, record.len(), Site { split: Some(self.kept), ..Site::default() });
            record.extend(code.words);
            head = snippets(&[self.value], self.bits()) + &code.function;
        }
        // NaN by bits: under fast math it may compare as equal.
        let same = match self.value.dtype().is_float() {
            true => "is_nan_f32(v) == is_nan_f32(best) && (is_nan_f32(v) || v == best)",
            false => "v == best",
        };
        let rows = form.rows;
        let step = format!("params[0].z * {rows}u");
        let [value, index] = own;
        let tree = form.tree(|a, b| {
            format!(
                "        if (precedes(values[{b}], places[{b}], values[{a}], places[{a}])) {{
            values[{a}] = values[{b}];
            places[{a}] = places[{b}];
        }}
"
            )
        });
        let result = if is_partial {
            "    extremes[part * params[0].x + i] = values[lid];\n    indices[part * params[0].x + i] = places[lid];\n"
        } else {
            "    out[i] = i32(places[lid]);\n"
        };
        let body = format!(
            "fn precedes(v: {element}, at: u32, best: {element}, index: u32) -> bool {{
    return ({}) || (({same}) && at < index);
}}
var<workgroup> values: array<{element}, {TREE}>;
var<workgroup> places: array<u32, {TREE}>;
{}    var j = part * {rows}u + row;
    var best = {value};
    var index = {index};
    for (j += {step}; j < params[0].y; j += {step}) {{
        let v = {value};
        let at = {index};
        if (precedes(v, at, best, index)) {{
            best = v;
            index = at;
        }}
    }}
    values[lid] = best;
    places[lid] = index;
{tree}{result}}}
",
            self.better(),
            form.head(is_partial),
        );
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(Program {
            name: name.into(),
            source: format!("{}{head}{body}", declare(record.len(), &bindings)),
            operands: bindings.iter().map(|b| b.operand).collect(),
            record,
            grid: self.caps.grid(form.groups(self.outputs) * parts),
        })
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
        self.program(
            "arg_reduce_final",
            bindings,
            record,
            &snippets(&[], self.bits()),
            &body,
            self.outputs.div_ceil(WORKGROUP as usize),
        )
    }

    fn program(
        &self,
        name: &str,
        bindings: Vec<Binding>,
        record: Vec<Word>,
        head: &str,
        body: &str,
        workgroups: usize,
    ) -> Result<Program> {
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(Program {
            name: name.into(),
            source: format!("{}{head}{}{body}", declare(record.len(), &bindings), entry(WORKGROUP)),
            operands: bindings.iter().map(|b| b.operand).collect(),
            record,
            grid: self.caps.grid(workgroups),
        })
    }
}
