//! `out[i] = epilogue(i, reduce over j of value(i, j))`, deterministic, without atomics.
//!
//! Three shapes of launch: a thread an output; a thread a part of an output and a second program over the parts; and, on
//! devices with real workgroup memory, a workgroup a part. Where memory order allows, a thread takes four values or four
//! outputs at once. Traffic: each loaded element once, plus the partial results.

use super::source::{Binding, MAX_LOOP, check_bindings, declare, entry, loops, size_word, written};
use super::vector::{self, Fetch, Given};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::expr::{Site, emit_at, from_word};
use crate::gpu::math::{snippets, wgsl_type};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::graph::op::ReduceOp;
use crate::plan::{Expr, Kernel, Plan, Step};
use std::fmt::Write;

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
    // Where neighbouring outputs are neighbours in memory, a thread or four of them walk down together.
    let finish = loaded(epilogue);
    // What the epilogue reads too is bound as scalars.
    let given = |axes| vector::given(value, &axes).into_iter().filter(|g| !finish.contains(&g.operand)).collect::<Vec<_>>();
    // Four lanes are four copies to compile.
    let four = 4 * value.terms.len() <= caps.unrolled;
    let across = given(0..*kept);
    if four && outputs.is_multiple_of(4) && outputs > 0 && vector::pays(&across) {
        return job.by_threads(Lanes::Outputs, across, outputs / 4, length);
    }
    let along = given(*kept..value.shape.rank());
    let (lanes, given, length4) = if four && length.is_multiple_of(4) && vector::pays(&along) {
        (Lanes::Values, along, length / 4)
    } else {
        (Lanes::One, Vec::new(), length)
    };
    if !caps.software && caps.max_invocations >= TREE && outputs < 4096 && length >= 256 {
        let parts = (1024 / outputs.max(1)).clamp(1, length4.div_ceil(4 * TREE as usize));
        return job.staged(parts, Shape::Workgroup, lanes, given);
    }
    job.by_threads(lanes, given, outputs, length4)
}

/// Who computes one result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Thread,
    Workgroup,
}

/// What the lanes of a `vec4` are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lanes {
    /// No vectors.
    One,
    /// Four neighbouring values of one output.
    Values,
    /// Four neighbouring outputs.
    Outputs,
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
    /// One stage if `threads` are many or `length` is short, otherwise two.
    fn by_threads(&self, lanes: Lanes, given: Vec<Given>, threads: usize, length: usize) -> Result<Lowered> {
        let (wanted, parts_at_most) = if self.caps.software { (256, 256) } else { (16_384, 128) };
        let parts = if length <= 64 { 1 } else { wanted / threads.max(1) };
        let parts = parts.clamp(1, length.div_ceil(32).clamp(1, parts_at_most));
        // A run of 64 costs one iteration of the outer loop too; at most four elements are evaluated in one.
        let iterations = length + length / 32 + length.saturating_mul(4 * loops(self.value));
        self.staged(parts.max(iterations.div_ceil(MAX_LOOP)), Shape::Thread, lanes, given)
    }

    /// Two programs, or one if there is but one part.
    fn staged(&self, parts: usize, shape: Shape, lanes: Lanes, given: Vec<Given>) -> Result<Lowered> {
        if parts == 1 {
            return Ok(Lowered { programs: vec![self.program(Stage::Whole, 1, shape, lanes, &given)?], scratch: Vec::new() });
        }
        let programs = vec![
            self.program(Stage::Partial, parts, shape, lanes, &given)?,
            self.program(Stage::Final, parts, shape, Lanes::One, &[])?,
        ];
        Ok(Lowered { programs, scratch: vec![(self.outputs * parts * 4) as u64] })
    }

    fn program(&self, stage: Stage, parts: usize, shape: Shape, lanes: Lanes, given: &[Given]) -> Result<Program> {
        let dtype = self.value.dtype();
        let element = wgsl_type(dtype);
        let finishes = stage != Stage::Partial;
        let mut operands: Vec<usize> = Vec::new();
        let length = if stage == Stage::Final { parts } else { self.length };
        let units = [
            if lanes == Lanes::Outputs { self.outputs / 4 } else { self.outputs },
            if lanes == Lanes::Values { length / 4 } else { length },
        ];
        let mut record: Vec<Word> = Vec::new();
        for n in [units[0], units[1], parts] {
            record.push(Word::U32(size_word(n)?));
        }
        record.push(Word::U32(identity(self.op, dtype)));
        let mut functions = String::new();
        let mut exprs: Vec<&Expr> = Vec::new();
        if stage == Stage::Final {
            let _ =
                writeln!(functions, "fn values(i: u32, j: u32) -> {element} {{\n    return partials[j * params[0].x + i];\n}}");
        } else {
            let numbers: Vec<usize> = given.iter().map(|g| g.operand).collect();
            let site = Site { given: &numbers, split: Some(self.kept), in_place: None };
            let code = emit_at("value", self.value, record.len(), site);
            record.extend(code.words);
            let (i, j) = if lanes == Lanes::Outputs { ("i * 4u", "j") } else { ("i", "j * 4u") };
            let fetch = Fetch::new(given, self.value, record.len(), Some(self.kept), i, j, None);
            record.extend(&fetch.words);
            functions.push_str(&code.function);
            functions.push_str(&fetch.functions);
            functions.push_str(&values(lanes, element, given, &fetch.lets));
            operands.extend(loaded(self.value));
            exprs.push(self.value);
        }
        if finishes {
            let code = emit_at("finish", self.epilogue, record.len(), Site::default());
            record.extend(code.words);
            functions.push_str(&code.function);
            operands.extend(loaded(self.epilogue));
            exprs.push(self.epilogue);
        }
        let bindings = self.bindings(stage, operands, given)?;
        let order: &[&str] = if needs_order(self.op, dtype) { &["order"] } else { &[] };
        let source = format!(
            "{}{}{functions}fn combine(a: {element}, b: {element}) -> {element} {{\n    return {};\n}}\n{}{}",
            declare(record.len(), &bindings),
            snippets(&exprs, order),
            combine(self.op, dtype),
            range(lanes, element, dtype),
            self.main(stage, shape, lanes, element),
        );
        let results = units[0] * if stage == Stage::Partial { parts } else { 1 };
        let workgroups = if shape == Shape::Thread { results.div_ceil(WORKGROUP as usize) } else { results };
        let name = match stage {
            Stage::Whole => "reduce",
            Stage::Partial => "reduce_partial",
            Stage::Final => "reduce_final",
        };
        let operands = bindings.iter().map(|b| b.operand).collect();
        Ok(Program { name: name.into(), source, operands, record, grid: self.caps.grid(workgroups) })
    }

    /// The bindings of a stage that loads `operands`.
    fn bindings(&self, stage: Stage, mut operands: Vec<usize>, given: &[Given]) -> Result<Vec<Binding>> {
        operands.sort_unstable();
        operands.dedup();
        let element = wgsl_type(self.value.dtype());
        let mut bindings: Vec<Binding> = Vec::new();
        for k in operands {
            bindings.push(vector::binding(k, given, self.step, self.plan));
        }
        match stage {
            Stage::Partial => bindings.push(Binding::new(Operand::ScratchWrite(0), "out", element)),
            Stage::Final => bindings.push(Binding::new(Operand::ScratchRead(0), "partials", element)),
            Stage::Whole => {}
        }
        if stage != Stage::Partial {
            let written = self.plan.buffers[written(self.step)?].dtype;
            bindings.push(Binding::new(Operand::Write, "out", wgsl_type(written)));
        }
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(bindings)
    }

    /// The entry point. In a partial stage neighbouring threads take neighbouring parts, or neighbouring outputs where
    /// those lie side by side in memory.
    fn main(&self, stage: Stage, shape: Shape, lanes: Lanes, element: &str) -> String {
        let (n, size) = match shape {
            Shape::Thread => (format!("wg * {WORKGROUP}u + lid"), WORKGROUP),
            Shape::Workgroup => ("wg".to_string(), TREE),
        };
        let mut text = String::new();
        if shape == Shape::Workgroup {
            let _ = writeln!(text, "var<workgroup> lanes: array<{element}, {TREE}>;");
        }
        text.push_str(&entry(size));
        let (count, i, part, parts) = match stage {
            Stage::Partial if lanes == Lanes::Outputs => {
                ("params[0].x * params[0].z", "n % params[0].x", "n / params[0].x", "params[0].z")
            }
            Stage::Partial => ("params[0].x * params[0].z", "n / params[0].z", "n % params[0].z", "params[0].z"),
            _ => ("params[0].x", "n", "0u", "1u"),
        };
        let _ = writeln!(text, "    let n = {n};\n    if (n >= {count}) {{\n        return;\n    }}");
        let _ = writeln!(text, "    let i = {i};\n    let part = {part};");
        let fold = |all: &str| match lanes {
            Lanes::Values => format!("fold({all})"),
            _ => all.to_string(),
        };
        match shape {
            Shape::Thread => {
                let _ = writeln!(text, "    let total = {};", fold(&format!("reduce_range(i, part, {parts})")));
            }
            Shape::Workgroup => {
                let all = format!("reduce_range(i, part * {TREE}u + lid, {parts} * {TREE}u)");
                let _ = writeln!(text, "    lanes[lid] = {};\n    workgroupBarrier();", fold(&all));
                let mut half = TREE / 2;
                while half > 0 {
                    let _ = writeln!(
                        text,
                        "    if (lid < {half}u) {{\n        lanes[lid] = combine(lanes[lid], lanes[lid + {half}u]);"
                    );
                    let _ = writeln!(text, "    }}\n    workgroupBarrier();");
                    half /= 2;
                }
                text.push_str("    if (lid > 0u) {\n        return;\n    }\n    let total = lanes[0];\n");
            }
        }
        let each: &[&str] = if lanes == Lanes::Outputs { &["x", "y", "z", "w"] } else { &[""] };
        for (l, part) in each.iter().enumerate() {
            let (at, total, width) = if each.len() == 4 {
                (format!("i * 4u + {l}u"), format!("total.{part}"), "4u * ")
            } else {
                ("i".into(), "total".into(), "")
            };
            let _ = match stage {
                Stage::Partial => writeln!(text, "    out[part * ({width}params[0].x) + {at}] = {total};"),
                _ => writeln!(text, "    out[{at}] = finish({at}, {total});"),
            };
        }
        text.push_str("}\n");
        text
    }
}

/// The type that a thread accumulates in.
fn accumulator(lanes: Lanes, element: &str) -> String {
    if lanes == Lanes::One { element.to_string() } else { format!("vec4<{element}>") }
}

/// `values(i, j)`: unit j of unit i, four lanes where there are lanes.
fn values(lanes: Lanes, element: &str, given: &[Given], lets: &str) -> String {
    let kind = accumulator(lanes, element);
    let calls: Vec<String> = match lanes {
        Lanes::One => vec!["value(i, j)".into()],
        Lanes::Values => (0..4).map(|l| format!("value(i, j * 4u + {l}u{})", vector::arguments(given, l))).collect(),
        Lanes::Outputs => (0..4).map(|l| format!("value(i * 4u + {l}u, j{})", vector::arguments(given, l))).collect(),
    };
    format!("fn values(i: u32, j: u32) -> {kind} {{\n{lets}    return {kind}({});\n}}\n", calls.join(", "))
}

/// `reduce_range(i, first, step)`: the units at `first, first + step, ...` below the length. Sums are taken in runs of 64,
/// which keeps rounding errors of long reductions near those of a pairwise sum.
fn range(lanes: Lanes, element: &str, dtype: DType) -> String {
    let kind = accumulator(lanes, element);
    let identity = from_word(dtype, "params[0].w");
    let join = |a: &str, b: &str| match lanes {
        Lanes::One => format!("combine({a}, {b})"),
        _ => format!("{kind}(combine({a}.x, {b}.x), combine({a}.y, {b}.y), combine({a}.z, {b}.z), combine({a}.w, {b}.w))"),
    };
    let fold = match lanes {
        Lanes::Values => {
            format!("fn fold(v: {kind}) -> {element} {{\n    return combine(combine(v.x, v.y), combine(v.z, v.w));\n}}\n")
        }
        _ => String::new(),
    };
    format!(
        "{fold}fn reduce_range(i: u32, first: u32, step: u32) -> {kind} {{
    var total = {kind}({identity});
    var j = first;
    while (j < params[0].y) {{
        var run = values(i, j);
        j += step;
        for (var n = 1u; n < 64u && j < params[0].y; n++) {{
            let next = values(i, j);
            run = {};
            j += step;
        }}
        total = {};
    }}
    return total;
}}
",
        join("run", "next"),
        join("total", "run"),
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
        DType::U32 | DType::U8 | DType::F16 => (0, u32::MAX),
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
