//! Rates of the kernels on the software adapter, as `cargo bench --features lab --bench kernels` prints them.

use super::{Lab, Target, noise, one_step};
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::gpu::kernels::matmul::{self, Variant};
use crate::gpu::program::{Caps, Operand};
use crate::plan::{Expr, Kernel, MatMul, MatrixView};
use crate::shape::Shape;

/// Prints one line a kernel and shape.
///
/// # Errors
/// If there is no software adapter.
pub fn print() -> Result<()> {
    let lab = Lab::open(false)?;
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("tiles") => tiles(&lab),
        _ => Ok(()),
    }
}

fn product(m: usize, n: usize, k: usize, ta: bool, tb: bool) -> MatMul {
    let view = |rows: usize, cols: usize, t: bool| {
        let (row, col) = if t { (1, rows as i64) } else { (cols as i64, 1) };
        MatrixView { batch: vec![], row, col, offset: 0 }
    };
    let epilogue = Expr::identity(Shape::of(&[m, n]), DType::F32);
    MatMul { batch: Shape::SCALAR, m, n, k, a: view(m, k, ta), b: view(k, n, tb), epilogue }
}

fn tiles(lab: &Lab) -> Result<()> {
    let caps = Caps::webgpu_defaults(true);
    let shapes = [
        (512, 512, 512, false, false),
        (512, 512, 512, false, true),
        (512, 512, 512, true, false),
        (128, 512, 784, false, true),
        (128, 512, 512, false, false),
        (512, 784, 128, true, false),
    ];
    for (m, n, k, ta, tb) in shapes {
        let mm = product(m, n, k, ta, tb);
        for (tile, lanes) in [([4, 8], [8, 1]), ([8, 8], [8, 1]), ([8, 8], [1, 8]), ([8, 16], [8, 1])] {
            let plan = one_step(Kernel::MatMul(mm.clone()), &[(DType::F32, m * k), (DType::F32, k * n), (DType::F32, m * n)]);
            let variant = Variant { tile, lanes, splits: 1 };
            let lowered = matmul::lower_with(&plan.steps[0], &plan, &caps, variant)?;
            let target = Target { operand: Operand::Write, data: HostData::F32(vec![0.0; m * n]) };
            let prepared = lab.prepare(&lowered, &[HostData::F32(noise(m * k, 1)), HostData::F32(noise(k * n, 2))], &[target]);
            let (first, ms) = lab.time(&prepared, 0.15);
            let rate = 2.0 * (m * n * k) as f64 / ms / 1e6;
            println!(
                "{m}x{n}x{k} {ta} {tb} {} lanes {lanes:?}: {rate:.2} GFLOP/s, {ms:.3} ms, first {first:.0} ms",
                prepared.name()
            );
        }
    }
    Ok(())
}
