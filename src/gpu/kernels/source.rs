//! What the generated kernels share: binding declarations and the folded launch.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::math::wgsl_type;
use crate::gpu::program::{Caps, Operand, Word};
use crate::graph::op::BinaryOp;
use crate::plan::{Expr, Plan, Step, Term};

/// Iterations that a thread may spend in loops, all of them together: llvmpipe silently ends an invocation's loops after
/// 65,535.
pub(crate) const MAX_LOOP: usize = 60_000;

/// Refuses a thread's work that cannot be cut further and is past the loop limit of software adapters.
pub(crate) fn check_loops(op: &'static str, iterations: usize, caps: &Caps) -> Result<()> {
    if !caps.software || iterations <= MAX_LOOP {
        return Ok(());
    }
    let reason = format!("a thread would loop {iterations} times, and software adapters end loops after {MAX_LOOP}");
    Err(Error::Unsupported { op, reason, help: "use smaller windows or rows, or the CPU device".into() })
}

/// Iterations that one evaluation of an expression may spend in loops of its own: long divisions, and powers of integers.
pub(crate) fn loops(expr: &Expr) -> usize {
    let turns = |(term, dtype): &(Term, DType)| match term {
        Term::Binary(op, ..) => match op {
            BinaryOp::Rem if dtype.is_float() => 33,
            BinaryOp::Pow if !dtype.is_float() => 33,
            BinaryOp::Rem | BinaryOp::Pow => 0,
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Atan2 => 0,
            BinaryOp::Minimum | BinaryOp::Maximum | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => 0,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 0,
        },
        // No function of one operand has a loop.
        Term::Unary(..) | Term::Select(..) | Term::Cast(_) | Term::Pair(..) => 0,
        Term::Load { .. } | Term::Acc | Term::Scalar { .. } | Term::Constant { .. } => 0,
        Term::Random { .. } | Term::Index { .. } | Term::Valid { .. } => 0,
    };
    expr.terms.iter().map(turns).sum()
}

/// A storage binding: what it is, its name in WGSL and its element type.
pub(crate) struct Binding {
    /// What is bound.
    pub operand: Operand,
    /// The variable's name.
    pub name: String,
    /// The element type.
    pub element: String,
}

impl Binding {
    /// The step's read `k`, as `b{k}`.
    pub fn read(k: usize, step: &Step, plan: &Plan) -> Self {
        Self { operand: Operand::Read(k), name: format!("b{k}"), element: wgsl_type(plan.buffers[step.reads[k]].dtype).into() }
    }

    /// Any operand under a name of its own.
    pub fn new(operand: Operand, name: &str, element: &str) -> Self {
        Self { operand, name: name.into(), element: element.into() }
    }
}

/// Declarations of the record and the storage bindings, in the order in which the executor binds them.
pub(crate) fn declare(record_words: usize, bindings: &[Binding]) -> String {
    let mut text = format!("@group(0) @binding(0) var<uniform> params: array<vec4<u32>, {}>;\n", record_words.div_ceil(4).max(1));
    for (k, b) in bindings.iter().enumerate() {
        let access = if b.operand.is_read_only() { "read" } else { "read_write" };
        let line = format!("@group(0) @binding({}) var<storage, {access}> {}: array<{}>;\n", k + 1, b.name, b.element);
        text.push_str(&line);
    }
    text
}

/// The head of an entry point with workgroups of `size`: declares `wg`, the linear workgroup index, and `lid`.
pub(crate) fn entry(size: u32) -> String {
    format!(
        "@compute @workgroup_size({size})\nfn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: \
         vec3<u32>,\n        @builtin(local_invocation_index) lid: u32) {{\n    let wg = wid.x + wid.y * nwg.x;\n"
    )
}

/// The written buffer's id; every kernel but the optimizers' has one.
pub(crate) fn written(step: &Step) -> Result<usize> {
    step.write.ok_or_else(|| Error::internal(format!("{} writes nothing", step.kernel.name())))
}

/// Checks a kernel against the device's limit on storage buffers, which the planner respects.
pub(crate) fn check_bindings(count: usize, caps: &Caps, step: &Step) -> Result<()> {
    if count as u64 <= u64::from(caps.max_storage_buffers) {
        return Ok(());
    }
    Err(Error::internal(format!("{} binds {count} buffers; the device allows {}", step.kernel.name(), caps.max_storage_buffers)))
}

/// A size as a record word.
pub(crate) fn size_word(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| {
        let reason = "a kernel can index at most 2^32 elements";
        Error::out_of_memory((n as u64).saturating_mul(4), reason, "use smaller tensors or batches")
    })
}

/// Refuses operands that are not F32.
pub(super) fn need_f32(op: &'static str, step: &Step, plan: &Plan, reads: &[usize]) -> Result<()> {
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
#[allow(clippy::cast_possible_truncation, reason = "sizes were checked to fit 32 bits")]
pub(super) fn word(size: usize) -> Word {
    Word::U32(size as u32)
}

/// How many `vec4<u32>` a record of `words` takes.
pub(super) fn record_len(words: usize) -> usize {
    words.div_ceil(4).max(1)
}
