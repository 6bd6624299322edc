//! Products with a vector, for hardware: a reduction of the products of elements, whose kernels read each matrix once, along
//! memory.

use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::kernels::reduce;
use crate::gpu::program::{Caps, Lowered};
use crate::graph::View;
use crate::graph::op::{BinaryOp, ReduceOp};
use crate::plan::{Expr, Kernel, MatMul, Plan, Step, Term};
use crate::shape::Shape;

/// `out[batch][m][n] = epilogue(Σ_k a[batch][m][k] * b[batch][k][n])` as a reduction over k.
pub(super) fn lower(mm: &MatMul, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let mut dims: Vec<usize> = mm.batch.to_vec();
    dims.extend([mm.m, mm.n, mm.k]);
    let shape = Shape::of(&dims);
    let with = |batch: &[i64], last: [i64; 3]| batch.iter().copied().chain(last).collect::<Vec<i64>>();
    let a = View::strided(shape, &with(&mm.a.batch, [mm.a.row, 0, mm.a.col]), mm.a.offset);
    let b = View::strided(shape, &with(&mm.b.batch, [0, mm.b.col, mm.b.row]), mm.b.offset);
    let mut value = Expr::new(shape);
    let x = value.push(Term::Load { operand: 0, view: a }, DType::F32);
    let y = value.push(Term::Load { operand: 1, view: b }, DType::F32);
    let product = value.push(Term::Binary(BinaryOp::Mul, x, y), DType::F32);
    let value = value.finish(product);
    let kernel = Kernel::Reduce { op: ReduceOp::Sum, value, kept: dims.len() - 1, epilogue: mm.epilogue.clone() };
    let mut lowered = reduce::lower(&Step { kernel, ..step.clone() }, plan, caps)?;
    for program in &mut lowered.programs {
        program.name = program.name.replacen("reduce", "matmul_vector", 1);
    }
    Ok(lowered)
}
