//! What products do to their results: an expression fused into the kernel, or a second pass.

use super::source::{record_len, word};
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::expr;
use crate::gpu::math::wgsl_type;
use crate::gpu::program::{Caps, Operand, Program, Word, loaded};
use crate::gpu::shader::Shader;
use crate::plan::{Expr, Plan, Step};

/// What an epilogue adds to a program: declarations, its function, and how a result is written.
pub(crate) struct Epilogue {
    /// Declarations of the operands that it loads.
    declarations: String,
    /// `fn epilogue`, or nothing for the identity.
    function: String,
    /// The operands, to append to the program's.
    pub operands: Vec<Operand>,
    /// The words, to append to the record.
    pub words: Vec<Word>,
    identity: bool,
}

impl Epilogue {
    /// Prepares `expr` for a program that already binds `bound` storage buffers and uses `first_word` record words.
    pub fn new(expr: &Expr, step: &Step, plan: &Plan, bound: usize, first_word: usize) -> Self {
        if expr.is_identity() {
            return Self {
                declarations: String::new(),
                function: String::new(),
                operands: vec![],
                words: vec![],
                identity: true,
            };
        }
        let code = expr::emit("epilogue", expr, first_word);
        let mut declarations = String::new();
        let mut operands = Vec::new();
        for k in loaded(expr) {
            let kind = wgsl_type(plan.buffers[step.reads[k]].dtype);
            let binding = bound + 1 + operands.len();
            declarations += &format!("@group(0) @binding({binding}) var<storage, read> b{k}: array<{kind}>;\n");
            operands.push(Operand::Read(k));
        }
        Self { declarations, function: code.function, operands, words: code.words, identity: false }
    }

    /// Whether a program that accumulates in f32 can finish `expr` itself: its own results must be f32 to be looked at again.
    pub fn fits(expr: &Expr) -> bool {
        expr.dtype() == DType::F32
    }

    /// The epilogue of a program whose result is finished by another one.
    pub fn none() -> Self {
        Self { declarations: String::new(), function: String::new(), operands: vec![], words: vec![], identity: true }
    }

    /// Whether there is nothing to do.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// WGSL for the finished `v`, which is `width` neighbours from element `i` on.
    pub fn result(&self, width: usize) -> &'static str {
        match (self.identity, width) {
            (true, _) => "v",
            (_, 1) => "epilogue(i, v)",
            (_, 2) => "vec2<f32>(epilogue(i, v.x), epilogue(i + 1u, v.y))",
            _ => "vec4<f32>(epilogue(i, v.x), epilogue(i + 1u, v.y), epilogue(i + 2u, v.z), epilogue(i + 3u, v.w))",
        }
    }

    /// Fills the holes `OPERANDS`, `EPILOGUE` (a flag), `EPILOGUE_FN` and `RESULT` (see [`Epilogue::result`]).
    pub fn fill(&self, shader: Shader, width: usize) -> Shader {
        shader
            .set("OPERANDS", &self.declarations)
            .set("EPILOGUE", usize::from(!self.identity))
            .set("EPILOGUE_FN", &self.function)
            .set("RESULT", self.result(width))
    }
}

/// The second pass of a split product: sums `splits` partial results of `len` elements from a scratch buffer and finishes them.
pub(crate) fn split_sum(
    expr: &Expr,
    step: &Step,
    plan: &Plan,
    caps: &Caps,
    scratch: usize,
    parts: (usize, usize),
) -> Result<Program> {
    split_sum_with(expr, step, plan, caps, scratch, parts, None)
}

/// The same, and the sums of so many lines, whose parts are in the scratch buffer after that one, as further result 0.
pub(crate) fn split_sum_with(
    expr: &Expr,
    step: &Step,
    plan: &Plan,
    caps: &Caps,
    scratch: usize,
    (len, splits): (usize, usize),
    lines: Option<usize>,
) -> Result<Program> {
    let mut record = vec![word(len), word(splits), word(lines.unwrap_or(0)), word(0)];
    let epilogue = Epilogue::new(expr, step, plan, 2, record.len());
    record.extend(&epilogue.words);
    let mut operands = vec![Operand::ScratchRead(scratch), Operand::Write];
    operands.extend(&epilogue.operands);
    let mut declarations = String::new();
    if lines.is_some() {
        for (operand, variable) in [
            (Operand::ScratchRead(scratch + 1), "var<storage, read> sum_parts"),
            (Operand::Further(0), "var<storage, read_write> sums"),
        ] {
            operands.push(operand);
            declarations += &format!("@group(0) @binding({}) {variable}: array<f32>;\n", operands.len());
        }
    }
    let shader = Shader::new()
        .set("RECORD", record_len(record.len()))
        .set("OUT_TYPE", wgsl_type(expr.dtype()))
        .set("SUMS", usize::from(lines.is_some()))
        .set("SUMS_OPERAND", declarations);
    let source = epilogue.fill(shader, 1).render("split_sum")?;
    let threads = len + lines.unwrap_or(0);
    Ok(Program { name: "split_sum".into(), source, operands, record, grid: caps.grid(threads.div_ceil(64)) })
}
