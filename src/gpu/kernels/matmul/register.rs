//! Register tiles, without workgroup memory: `shaders/matmul.wgsl`.

use super::form::{Form, lhs_path, rhs_path, widest};
use crate::gpu::program::Caps;
use crate::gpu::shader::Shader;
use crate::plan::MatMul;

/// The text for a tile per thread and for threads along rows and columns.
pub(super) fn form(mm: &MatMul, [tm, tn]: [usize; 2], [lm, ln]: [usize; 2], caps: &Caps) -> Form {
    let (lhs, rhs) = (lhs_path(mm), rhs_path(mm));
    let shader = Shader::new()
        .set("LHS", lhs.code())
        .set("RHS", rhs.code())
        .set("LHS_TYPE", lhs.element())
        .set("RHS_TYPE", rhs.element())
        .set("TAIL", usize::from(!mm.k.is_multiple_of(4)))
        .set("SHORT", usize::from(caps.short_texts()))
        .set("TM", tm)
        .set("TN", tn)
        .set("TM4", tm / 4)
        .set("TN4", tn / 4)
        .set("LM", lm)
        .set("LN", ln)
        .set("LANES", lm * ln);
    Form {
        file: "matmul",
        name: format!("matmul_{}{}_{tm}x{tn}", lhs.code(), rhs.code()),
        shader,
        block: [tm * lm, tn * ln],
        depth: 4,
        writes: widest(mm),
        sums: false,
    }
}
