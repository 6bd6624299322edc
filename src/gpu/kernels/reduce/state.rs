//! What a thread keeps of the values that it has seen, in WGSL: one number, two sums, or a mean with a sum of squares.
//!
//! Sums are taken in runs of 64, which keeps rounding errors of long reductions near those of a pairwise sum. Of moments, a run
//! takes distances to its first value, so that squares are of the size of the variance; runs and threads are joined by Chan's formula.
//! Their means are distances, too, to the first of all values: those of values far from 0 would differ in their last digits alone.
//!
//! Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

use crate::dtype::DType;
use crate::gpu::expr::from_word;
use crate::gpu::kernels::groups::TREE;
use crate::gpu::kernels::vector::{self, VectorOperand};
use crate::graph::op::{PairOp, ReduceOp};
use crate::plan::Further;
use std::fmt::Write;

/// What the lanes of a `vec4` are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// No vectors.
    One,
    /// Four neighbouring values of one output.
    Values,
    /// Four neighbouring outputs.
    Outputs,
}

/// Which part of the reduction a program does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// From values to results.
    Whole,
    /// From values to partial results, part p of output i at `p * outputs + i`.
    Partial,
    /// From partial results to results.
    Final,
}

/// What is computed of values of a dtype.
#[derive(Clone, Copy)]
pub(super) enum State {
    /// One value, combined by this op.
    One(ReduceOp, DType),
    /// Two values, in f32.
    Two(PairOp),
}

/// The components of a state, the fields of its struct.
const SUMS: [&str; 2] = ["a", "b"];
const MOMENTS: [&str; 3] = ["n", "mean", "squares"];

impl State {
    /// The name of programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::One(..) => "reduce",
            Self::Two(op) => op.name(),
        }
    }

    /// The fields of a pair's struct.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::One(..) => &[],
            Self::Two(PairOp::Sums) => &SUMS,
            Self::Two(PairOp::Moments) => &MOMENTS,
        }
    }

    /// Words of a partial result.
    pub fn words(self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Two(PairOp::Sums) => 2,
            // The last one is what means are relative to.
            Self::Two(PairOp::Moments) => 4,
        }
    }

    /// The fourth word of the record: the value of a reduction over no elements, or of how many values there are moments.
    pub fn word(self, length: u32) -> u32 {
        match self {
            Self::One(op, dtype) => identity(op, dtype),
            Self::Two(_) => length,
        }
    }

    /// The snippet that it calls, if any.
    pub fn snippets(self) -> &'static [&'static str] {
        match self {
            Self::One(ReduceOp::Max | ReduceOp::Min, dtype) if dtype.is_float() => &["order"],
            Self::One(..) | Self::Two(_) => &[],
        }
    }

    /// The type of a state, of vectors where there are lanes.
    fn kind(self, lanes: Lanes, element: &str) -> String {
        match (self, lanes) {
            (Self::One(..), Lanes::One) => element.into(),
            (Self::One(..), _) => format!("vec4<{element}>"),
            (Self::Two(_), Lanes::One) => "State".into(),
            (Self::Two(_), _) => "State4".into(),
        }
    }

    /// The structs, and how two states become one.
    pub fn declarations(self, lanes: Lanes, element: &str) -> String {
        let op = match self {
            Self::One(op, dtype) => {
                let joined = combine(op, dtype);
                return format!("fn combine(a: {element}, b: {element}) -> {element} {{\n    return {joined};\n}}\n");
            }
            Self::Two(op) => op,
        };
        let mut text = String::new();
        for (suffix, value) in [("", "f32"), ("4", "vec4<f32>")] {
            if suffix == "4" && lanes == Lanes::One {
                continue;
            }
            let field = |&f: &&str| if f == "n" { "    n: f32,\n".to_string() } else { format!("    {f}: {value},\n") };
            let fields: String = self.fields().iter().map(field).collect();
            let _ = write!(text, "struct State{suffix} {{\n{fields}}}\n");
            text.push_str(&match op {
                PairOp::Sums => format!(
                    "fn combine{suffix}(a: State{suffix}, b: State{suffix}) -> State{suffix} {{\n    return State{suffix}(a.a + b.a, a.b + \
                     b.b);\n}}\n"
                ),
                PairOp::Moments => moments_joined(suffix, value),
            });
        }
        text
    }

    /// `fold`: what four lanes amount to together.
    fn fold(self, element: &str) -> String {
        let all = match self {
            Self::One(..) => {
                return format!(
                    "fn fold(v: vec4<{element}>) -> {element} {{\n    return combine(combine(v.x, v.y), combine(v.z, v.w));\n}}\n"
                );
            }
            Self::Two(_) => ["x", "y", "z", "w"].map(|lane| self.lane("v", lane)),
        };
        let [x, y, z, w] = all;
        format!("fn fold(v: State4) -> State {{\n    return combine(combine({x}, {y}), combine({z}, {w}));\n}}\n")
    }

    /// One lane of a state of four.
    fn lane(self, all: &str, lane: &str) -> String {
        let field = |&f: &&str| if f == "n" { format!("{all}.n") } else { format!("{all}.{f}.{lane}") };
        format!("State({})", self.fields().iter().map(field).collect::<Vec<_>>().join(", "))
    }

    /// `values(i, j)`: unit j of unit i, four lanes where there are lanes.
    pub fn values(self, lanes: Lanes, element: &str, given: &[VectorOperand], lets: &str) -> String {
        let calls: Vec<String> = match lanes {
            Lanes::One => vec!["value(i, j)".into()],
            Lanes::Values => (0..4).map(|l| format!("value(i, j * 4u + {l}u{})", vector::arguments(given, l))).collect(),
            Lanes::Outputs => (0..4).map(|l| format!("value(i * 4u + {l}u, j{})", vector::arguments(given, l))).collect(),
        };
        let (kind, body) = match self {
            Self::Two(PairOp::Sums) => {
                let lets: String = calls.iter().enumerate().map(|(l, call)| format!("    let v{l} = {call};\n")).collect();
                let lanes_of = |part: &str| (0..calls.len()).map(|l| format!("v{l}.{part}")).collect::<Vec<_>>().join(", ");
                let value = if lanes == Lanes::One { "f32" } else { "vec4<f32>" };
                let kind = self.kind(lanes, element);
                let result = format!("{lets}    return {kind}({value}({}), {value}({}));\n", lanes_of("x"), lanes_of("y"));
                (kind, result)
            }
            Self::One(..) | Self::Two(PairOp::Moments) => {
                let kind = if lanes == Lanes::One { element.to_string() } else { format!("vec4<{element}>") };
                let result = format!("    return {kind}({});\n", calls.join(", "));
                (kind, result)
            }
        };
        let origin = match (self, lanes) {
            (Self::Two(PairOp::Moments), Lanes::Outputs) => origin("vec4<f32>", "values(i, 0u)"),
            (Self::Two(PairOp::Moments), Lanes::Values) => origin("f32", "values(i, 0u).x"),
            (Self::Two(PairOp::Moments), Lanes::One) => origin("f32", "values(i, 0u)"),
            _ => String::new(),
        };
        format!("fn values(i: u32, j: u32) -> {kind} {{\n{lets}{body}}}\n{origin}")
    }

    /// `values(i, j)` of the second stage: part j of output i.
    pub fn parts(self, element: &str) -> String {
        let kind = self.kind(Lanes::One, element);
        let part = |c: usize| match c {
            0 => "partials[j * params[0].x + i]".to_string(),
            c => format!("partials[({c}u * params[0].y + j) * params[0].x + i]"),
        };
        let parts: Vec<String> = (0..self.fields().len().max(1)).map(part).collect();
        let all = if parts.len() == 1 { parts[0].clone() } else { format!("{kind}({})", parts.join(", ")) };
        let origin = match self {
            Self::Two(PairOp::Moments) => {
                "fn origin(i: u32) -> f32 {\n    return partials[3u * params[0].y * params[0].x + i];\n}\n"
            }
            _ => "",
        };
        format!("fn values(i: u32, j: u32) -> {kind} {{\n    return {all};\n}}\n{origin}")
    }

    /// `reduce_range(i, first, step)`: the units at `first, first + step, ...` below the length; and `fold`, where lanes are values.
    pub fn range(self, stage: Stage, lanes: Lanes, element: &str) -> String {
        let kind = self.kind(lanes, element);
        let fold = if lanes == Lanes::Values { self.fold(element) } else { String::new() };
        let head = format!("{fold}fn reduce_range(i: u32, first: u32, step: u32) -> {kind} {{\n");
        if let (Self::Two(PairOp::Moments), true) = (self, stage != Stage::Final) {
            return head + &moments_of_values(&kind, if lanes == Lanes::One { "f32" } else { "vec4<f32>" });
        }
        let identity = match self {
            Self::One(_, dtype) => from_word(dtype, "params[0].w"),
            Self::Two(_) => String::new(),
        };
        let join = |a: &str, b: &str| match (self, lanes) {
            (_, Lanes::One) => format!("combine({a}, {b})"),
            (Self::One(..), _) => {
                let of = |lane: &str| format!("combine({a}.{lane}, {b}.{lane})");
                format!("vec4<{element}>({}, {}, {}, {})", of("x"), of("y"), of("z"), of("w"))
            }
            (Self::Two(_), _) => format!("combine4({a}, {b})"),
        };
        // A struct without arguments is zero.
        let (run, total) = (join("run", "next"), join("total", "run"));
        format!(
            "{head}    var total = {kind}({identity});
    var j = first;
    while (j < params[0].y) {{
        var run = values(i, j);
        j += step;
        for (var n = 1u; n < 64u && j < params[0].y; n++) {{
            let next = values(i, j);
            run = {run};
            j += step;
        }}
        total = {total};
    }}
    return total;
}}
"
        )
    }

    /// Declarations of the workgroup memory in which threads' states meet.
    pub fn memory(self, element: &str) -> String {
        match self {
            Self::One(..) => format!("var<workgroup> lanes: array<{element}, {TREE}>;\n"),
            Self::Two(_) => {
                let array = |f: &&str| format!("var<workgroup> lanes_{f}: array<f32, {TREE}>;\n");
                self.fields().iter().map(array).collect()
            }
        }
    }

    /// Puts a state into workgroup memory.
    pub fn put(self, at: &str, state: &str, indent: &str) -> String {
        match self {
            Self::One(..) => format!("{indent}lanes[{at}] = {state};\n"),
            Self::Two(_) => {
                let lines = self.fields().iter().map(|f| format!("{indent}lanes_{f}[{at}] = own.{f};\n")).collect::<String>();
                format!("{indent}let own = {state};\n{lines}")
            }
        }
    }

    /// A state in workgroup memory.
    pub fn get(self, at: &str) -> String {
        match self {
            Self::One(..) => format!("lanes[{at}]"),
            Self::Two(_) => {
                let parts: Vec<String> = self.fields().iter().map(|f| format!("lanes_{f}[{at}]")).collect();
                format!("State({})", parts.join(", "))
            }
        }
    }

    /// Writes `total`, the results of unit i.
    pub fn results(self, stage: Stage, lanes: Lanes, further: &[Further]) -> String {
        let mut text = String::new();
        let four = lanes == Lanes::Outputs;
        let width = if four { "4u * " } else { "" };
        let each: &[&str] = if four { &["x", "y", "z", "w"] } else { &[""] };
        let is_relative = matches!(self, Self::Two(PairOp::Moments));
        if is_relative {
            text.push_str("    let base = origin(i);\n");
        }
        for (l, part) in each.iter().enumerate() {
            let at = if four { format!("i * 4u + {l}u") } else { "i".into() };
            let of = |field: &str| match (field, four) {
                ("", false) => "total".to_string(),
                ("", true) => format!("total.{part}"),
                ("n", _) | (_, false) => format!("total.{field}"),
                _ => format!("total.{field}.{part}"),
            };
            let from = if four { format!("base.{part}") } else { "base".into() };
            let written: Vec<String> = match (self, stage) {
                (Self::One(..), Stage::Partial) => vec![of("")],
                (Self::One(..), _) => vec![format!("finish({at}, {})", of(""))],
                (Self::Two(_), Stage::Partial) => {
                    self.fields().iter().map(|f| of(f)).chain(is_relative.then(|| from.clone())).collect()
                }
                (Self::Two(PairOp::Sums), _) => vec![of("a"), of("b")],
                (Self::Two(PairOp::Moments), _) => {
                    vec![format!("{from} + {}", of("mean")), format!("{} / f32(params[0].w)", of("squares"))]
                }
            };
            for (c, value) in written.iter().enumerate() {
                let row = match (stage, c) {
                    (Stage::Partial, 0) => format!("part * ({width}params[0].x) + {at}"),
                    (Stage::Partial, c) => format!("({c}u * params[0].z + part) * ({width}params[0].x) + {at}"),
                    (_, 0) => at.clone(),
                    (_, c) => format!("{c}u * ({width}params[0].x) + {at}"),
                };
                let _ = writeln!(text, "    out[{row}] = {value};");
            }
            for (n, result) in further.iter().enumerate() {
                let _ = writeln!(text, "    further{n}[{at}] = further{n}_of({at}, {});", written[result.half]);
            }
        }
        text
    }
}

/// Two sets of values, whose joint mean and squares are those of all: `combine`. Infinities have no distance; the mean with one is
/// infinite.
fn moments_joined(suffix: &str, value: &str) -> String {
    let near = finite("distance", value);
    format!(
        "fn combine{suffix}(a: State{suffix}, b: State{suffix}) -> State{suffix} {{
    if (a.n == 0f) {{
        return b;
    }}
    if (b.n == 0f) {{
        return a;
    }}
    let n = a.n + b.n;
    let share = b.n / n;
    let distance = b.mean - a.mean;
    let near = {near};
    let mean = select(a.mean + b.mean, a.mean + distance * share, near);
    return State{suffix}(n, mean, a.squares + b.squares + distance * distance * (a.n * share));
}}
"
    )
}

/// `origin(i)`: what the means of unit i are relative to, the first value unless that is not finite.
fn origin(value: &str, first: &str) -> String {
    let finite = finite("first", value);
    format!("fn origin(i: u32) -> {value} {{\n    let first = {first};\n    return select({value}(0f), first, {finite});\n}}\n")
}

/// Whether floats are finite, by their bits: NaN and infinity may be assumed away where they are compared.
fn finite(x: &str, value: &str) -> String {
    let bits = value.replace("f32", "u32");
    format!("(bitcast<{bits}>({x}) & {bits}(0x7f800000u)) != {bits}(0x7f800000u)")
}

/// The body of `reduce_range` that takes the moments of values.
fn moments_of_values(kind: &str, value: &str) -> String {
    let finite = finite("head", value);
    let combine = if value == "f32" { "combine" } else { "combine4" };
    format!(
        "    let base = origin(i);
    var total = {kind}();
    var j = first;
    while (j < params[0].y) {{
        let head = values(i, j);
        let shift = select({value}(0f), head, {finite});
        var sum = head - shift;
        var squares = sum * sum;
        j += step;
        var n = 1u;
        for (; n < 64u && j < params[0].y; n++) {{
            let distance = values(i, j) - shift;
            sum += distance;
            squares += distance * distance;
            j += step;
        }}
        let mean = sum / f32(n);
        total = {combine}(total, {kind}(f32(n), (shift - base) + mean, squares - sum * mean));
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

/// The bits of the value of a reduction over no elements.
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
