//! `out[i] = epilogue(i, reduce over j of value(i, j))`, deterministic, without atomics.
//!
//! Three shapes of launch: a thread an output; a thread a part of an output and a second program over the parts; and, on
//! devices with real workgroup memory, a workgroup a part. Traffic: each loaded element once, plus the partial results.

use super::source::{Binding, check_bindings, declare, entry, size_word, written};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at, from_word};
use crate::gpu::math::{snippets, wgsl_type};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::graph::op::ReduceOp;
use crate::plan::{Expr, Kernel, Plan, Step};

const WORKGROUP: u32 = 64;
const TREE: u32 = 256;

/// The programs of a reduction step.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Reduce { op, value, kept, epilogue } = &step.kernel else {
        return Err(Error::internal("reduce::lower was given another kernel"));
    };
    let outputs: usize = value.shape[..*kept].iter().product();
    let length: usize = value.shape[*kept..].iter().product();
    let job = Job { op: *op, value, kept: *kept, epilogue, step, plan, caps, outputs, length };
    if !caps.software && caps.max_invocations >= TREE && outputs < 4096 && length >= 256 {
        let parts = (1024 / outputs.max(1)).clamp(1, length.div_ceil(4 * TREE as usize));
        return job.staged(parts, Shape::Workgroup);
    }
    let threads = if caps.software { 256 } else { 4096 };
    if outputs >= threads || length <= 256 {
        return Ok(Lowered { programs: vec![job.program(Stage::Whole, 1, Shape::Thread)?], scratch: Vec::new() });
    }
    job.staged((threads / outputs.max(1)).clamp(1, length.div_ceil(64)), Shape::Thread)
}

/// Who computes one result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Thread,
    Workgroup,
}

/// Which part of the reduction a program does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// From values to results.
    Whole,
    /// From values to partial results, part p of output i at `p * outputs + i`.
    Partial,
    /// From partial results to results.
    Final,
}

struct Job<'a> {
    op: ReduceOp,
    value: &'a Expr,
    kept: usize,
    epilogue: &'a Expr,
    step: &'a Step,
    plan: &'a Plan,
    caps: &'a Caps,
    outputs: usize,
    length: usize,
}

impl Job<'_> {
    /// Two programs, or one if there is but one part.
    fn staged(&self, parts: usize, shape: Shape) -> Result<Lowered> {
        if parts == 1 {
            return Ok(Lowered { programs: vec![self.program(Stage::Whole, 1, shape)?], scratch: Vec::new() });
        }
        let programs = vec![self.program(Stage::Partial, parts, shape)?, self.program(Stage::Final, parts, shape)?];
        Ok(Lowered { programs, scratch: vec![(self.outputs * parts * 4) as u64] })
    }

    fn program(&self, stage: Stage, parts: usize, shape: Shape) -> Result<Program> {
        let dtype = self.value.dtype();
        let element = wgsl_type(dtype);
        let reads_value = stage != Stage::Final;
        let finishes = stage != Stage::Partial;
        let mut operands: Vec<usize> = Vec::new();
        let mut record = vec![
            Word::U32(size_word(self.outputs)?),
            Word::U32(0),
            Word::U32(size_word(parts)?),
            Word::U32(identity(self.op, dtype)),
        ];
        let mut functions = String::new();
        let mut exprs: Vec<&Expr> = Vec::new();
        if reads_value {
            record[1] = Word::U32(size_word(self.length)?);
            let code = emit_at("value", self.value, record.len(), Site { split: Some(self.kept), ..Site::default() });
            record.extend(code.words);
            functions.push_str(&code.function);
            operands.extend(loaded(self.value));
            exprs.push(self.value);
        } else {
            record[1] = Word::U32(size_word(parts)?);
            functions
                .push_str(&format!("fn value(i: u32, j: u32) -> {element} {{\n    return partials[j * params[0].x + i];\n}}\n"));
        }
        if finishes {
            let code = emit_at("finish", self.epilogue, record.len(), Site::default());
            record.extend(code.words);
            functions.push_str(&code.function);
            operands.extend(loaded(self.epilogue));
            exprs.push(self.epilogue);
        }
        operands.sort_unstable();
        operands.dedup();
        let mut bindings: Vec<Binding> = operands.into_iter().map(|k| Binding::read(k, self.step, self.plan)).collect();
        match stage {
            Stage::Partial => bindings.push(Binding::new(Operand::ScratchWrite(0), "out", element)),
            Stage::Final => bindings.push(Binding::new(Operand::ScratchRead(0), "partials", element)),
            Stage::Whole => {}
        }
        if finishes {
            let written = self.plan.buffers[written(self.step)?].dtype;
            bindings.push(Binding::new(Operand::Write, "out", wgsl_type(written)));
        }
        check_bindings(bindings.len(), self.caps, self.step)?;
        let order: &[&str] = if needs_order(self.op, dtype) { &["order"] } else { &[] };
        let combine = combine(self.op, dtype);
        let source = format!(
            "{}{}{functions}fn combine(a: {element}, b: {element}) -> {element} {{\n    return {combine};\n}}\n{}{}",
            declare(record.len(), &bindings),
            snippets(&exprs, order),
            range(element, dtype),
            self.main(stage, shape, element),
        );
        let partial_count = if stage == Stage::Partial { self.outputs * parts } else { self.outputs };
        let workgroups = match shape {
            Shape::Thread => partial_count.div_ceil(WORKGROUP as usize),
            Shape::Workgroup => partial_count,
        };
        let name = match stage {
            Stage::Whole => "reduce",
            Stage::Partial => "reduce_partial",
            Stage::Final => "reduce_final",
        };
        let operands = bindings.iter().map(|b| b.operand).collect();
        Ok(Program { name: name.into(), source, operands, record, grid: self.caps.grid(workgroups) })
    }

    /// The entry point. In a partial stage neighbouring threads take neighbouring parts, or neighbouring outputs where
    /// those lie side by side in memory.
    fn main(&self, stage: Stage, shape: Shape, element: &str) -> String {
        let (index, size) = match shape {
            Shape::Thread => (format!("wg * {WORKGROUP}u + lid"), WORKGROUP),
            Shape::Workgroup => ("wg".to_string(), TREE),
        };
        let mut text = String::new();
        if shape == Shape::Workgroup {
            text.push_str(&format!("var<workgroup> lanes: array<{element}, {TREE}>;\n"));
        }
        text.push_str(&entry(size));
        text.push_str(&format!("    let n = {index};\n"));
        let (count, i, part, parts) = match stage {
            Stage::Partial if self.outputs_adjacent() => {
                ("params[0].x * params[0].z", "n % params[0].x", "n / params[0].x", "params[0].z")
            }
            Stage::Partial => ("params[0].x * params[0].z", "n / params[0].z", "n % params[0].z", "params[0].z"),
            _ => ("params[0].x", "n", "0u", "1u"),
        };
        text.push_str(&format!("    if (n >= {count}) {{\n        return;\n    }}\n    let i = {i};\n    let part = {part};\n"));
        match shape {
            Shape::Thread => text.push_str(&format!("    let total = reduce_range(i, part, {parts});\n")),
            Shape::Workgroup => {
                text.push_str(&format!(
                    "    lanes[lid] = reduce_range(i, part * {TREE}u + lid, {parts} * {TREE}u);\n    workgroupBarrier();\n"
                ));
                let mut half = TREE / 2;
                while half > 0 {
                    text.push_str(&format!(
                        "    if (lid < {half}u) {{\n        lanes[lid] = combine(lanes[lid], lanes[lid + {half}u]);\n    }}\n    workgroupBarrier();\n"
                    ));
                    half /= 2;
                }
                text.push_str("    if (lid > 0u) {\n        return;\n    }\n    let total = lanes[0];\n");
            }
        }
        text.push_str(match stage {
            Stage::Partial => "    out[part * params[0].x + i] = total;\n}\n",
            _ => "    out[i] = finish(i, total);\n}\n",
        });
        text
    }

    /// Whether the innermost kept axis is the one that lies contiguous in the first operand.
    fn outputs_adjacent(&self) -> bool {
        let Some(axis) = (0..self.kept).rev().find(|&d| self.value.shape[d] > 1) else {
            return false;
        };
        self.value.terms.iter().any(|(t, _)| matches!(t, crate::plan::Term::Load { view, .. } if view.strides()[axis] == 1))
    }
}

/// `reduce_range(i, first, step)`: the values at `first, first + step, ...` below the length. Sums are taken in runs of
/// 64, which keeps rounding errors of long reductions near those of a pairwise sum.
fn range(element: &str, dtype: DType) -> String {
    let identity = from_word(dtype, "params[0].w");
    format!(
        "fn reduce_range(i: u32, first: u32, step: u32) -> {element} {{
    var total = {identity};
    var j = first;
    while (j < params[0].y) {{
        var run = value(i, j);
        j += step;
        for (var n = 1u; n < 64u && j < params[0].y; n++) {{
            run = combine(run, value(i, j));
            j += step;
        }}
        total = combine(total, run);
    }}
    return total;
}}
"
    )
}

fn combine(op: ReduceOp, dtype: DType) -> &'static str {
    match (op, dtype.is_float()) {
        (ReduceOp::Sum, _) => "a + b",
        (ReduceOp::Prod, _) => "a * b",
        (ReduceOp::Max, true) => "maximum_f32(a, b)",
        (ReduceOp::Max, false) => "max(a, b)",
        (ReduceOp::Min, true) => "minimum_f32(a, b)",
        (ReduceOp::Min, false) => "min(a, b)",
    }
}

fn needs_order(op: ReduceOp, dtype: DType) -> bool {
    dtype.is_float() && matches!(op, ReduceOp::Max | ReduceOp::Min)
}

/// The bits of the value that a reduction of nothing gives.
fn identity(op: ReduceOp, dtype: DType) -> u32 {
    let (smallest, largest) = match dtype {
        DType::F32 | DType::F64 => (f32::NEG_INFINITY.to_bits(), f32::INFINITY.to_bits()),
        DType::I32 => (0x8000_0000, 0x7FFF_FFFF),
        DType::U32 => (0, u32::MAX),
        DType::Bool => (0, 1),
    };
    match op {
        ReduceOp::Sum => 0,
        ReduceOp::Prod if dtype.is_float() => 1f32.to_bits(),
        ReduceOp::Prod => 1,
        ReduceOp::Max => smallest,
        ReduceOp::Min => largest,
    }
}
