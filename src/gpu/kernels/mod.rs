//! Steps of a plan as WGSL programs: one file a kernel family, named as its file in `shaders/`.

pub(crate) mod arg_reduce;
pub(crate) mod elementwise;
pub(crate) mod matmul;
pub(crate) mod optim;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod rows;
pub(crate) mod source;

#[cfg(any(test, feature = "lab"))]
pub(crate) mod lab;

use super::expr;
use super::program::{Caps, Lowered, Operand, Program, Word, loaded};
use super::shader::Shader;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{Expr, Kernel, Plan, Step};

/// The programs that carry out a step.
///
/// # Errors
/// [`Error::Unsupported`] for dtypes or sizes that the kernel cannot take.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    match &step.kernel {
        Kernel::Elementwise(_) => elementwise::lower(step, plan, caps),
        Kernel::Reduce { .. } => reduce::lower(step, plan, caps),
        Kernel::ArgReduce { .. } => arg_reduce::lower(step, plan, caps),
        Kernel::MatMul(_) => matmul::lower(step, plan, caps),
        Kernel::Pool { .. } => pool::lower(step, plan, caps),
        Kernel::Softmax { .. }
        | Kernel::CrossEntropy { .. }
        | Kernel::CrossEntropyGrad { .. }
        | Kernel::Gather { .. }
        | Kernel::ScatterAdd { .. } => rows::lower(step, plan, caps),
        Kernel::OptimStep { rule, blocks, .. } => {
            Ok(Lowered { programs: vec![optim::lower_store(*rule, *blocks, caps)?], scratch: vec![] })
        }
        other => Err(Error::internal(format!("no GPU kernel for {}", other.name()))),
    }
}

/// What an epilogue adds to a program: declarations, its function, and how a result is written.
pub(crate) struct Epilogue {
    /// Declarations of the operands that it loads.
    declarations: String,
    /// `fn epilogue`, or nothing for the identity.
    function: String,
    /// The operands, to append to the program's.
    operands: Vec<Operand>,
    /// The words, to append to the record.
    words: Vec<Word>,
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
            let kind = scalar_type(plan.buffers[step.reads[k]].dtype);
            let binding = bound + 1 + operands.len();
            declarations += &format!("@group(0) @binding({binding}) var<storage, read> b{k}: array<{kind}>;\n");
            operands.push(Operand::Read(k));
        }
        Self { declarations, function: code.function, operands, words: code.words, identity: false }
    }

    /// The epilogue of a program whose result is finished by another one.
    pub fn none() -> Self {
        Self { declarations: String::new(), function: String::new(), operands: vec![], words: vec![], identity: true }
    }

    /// Fills the holes `OPERANDS`, `EPILOGUE` (a flag), `EPILOGUE_FN`, `RESULT` (of `v: f32` at `i`) and `RESULT4` (of `v: vec4<f32>` from `i` on).
    pub fn fill(&self, shader: Shader) -> Shader {
        let (one, four) = if self.identity {
            ("v", "v")
        } else {
            ("epilogue(i, v)", "vec4<f32>(epilogue(i, v.x), epilogue(i + 1u, v.y), epilogue(i + 2u, v.z), epilogue(i + 3u, v.w))")
        };
        shader
            .set("OPERANDS", &self.declarations)
            .set("EPILOGUE", usize::from(!self.identity))
            .set("EPILOGUE_FN", &self.function)
            .set("RESULT", one)
            .set("RESULT4", four)
    }
}

/// The WGSL type that holds an element.
pub(crate) fn scalar_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F64 => "f32",
        DType::I32 => "i32",
        DType::U32 | DType::Bool => "u32",
    }
}

/// Refuses operands that are not F32.
fn need_f32(op: &'static str, step: &Step, plan: &Plan, reads: &[usize]) -> Result<()> {
    for &k in reads {
        let dtype = plan.buffers[step.reads[k]].dtype;
        if dtype != DType::F32 {
            let reason = format!("{dtype} operands have no kernel on a GPU");
            return Err(Error::Unsupported { op, reason, help: "cast the operands to f32".into() });
        }
    }
    Ok(())
}

/// A size as a record word.
fn word(size: usize) -> Word {
    Word::U32(size as u32)
}

/// How many `vec4<u32>` a record of `words` takes.
fn record_len(words: usize) -> usize {
    words.div_ceil(4).max(1)
}

/// The second pass of a split product: sums `splits` partial results of `len` elements from scratch 0 and finishes them.
fn split_sum(expr: &Expr, step: &Step, plan: &Plan, caps: &Caps, len: usize, splits: usize) -> Result<Program> {
    let mut record = vec![word(len), word(splits), word(0), word(0)];
    let epilogue = Epilogue::new(expr, step, plan, 2, record.len());
    record.extend(&epilogue.words);
    let source = epilogue.fill(Shader::new().set("RECORD", record_len(record.len()))).render("split_sum")?;
    let mut operands = vec![Operand::ScratchRead(0), Operand::Write];
    operands.extend(&epilogue.operands);
    Ok(Program { name: "split_sum".into(), source, operands, record, grid: caps.grid(len.div_ceil(64)) })
}
