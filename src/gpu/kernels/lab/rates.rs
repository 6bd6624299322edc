//! Rates of the kernels on the software adapter, as `cargo bench --features lab --bench kernels` prints them.

use super::{Lab, Target, bias_relu, noise, one_step};
use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::gpu::kernels::lower;
use crate::gpu::kernels::matmul::{self, Variant};
use crate::gpu::program::{Caps, Operand};
use crate::graph::op::{ConvSpec, PoolOp, PoolSpec};
use crate::plan::{Conv2d, ConvRole, Expr, Kernel, MatMul, MatrixView};
use crate::shape::Shape;

/// Prints one line a kernel and shape; the first argument chooses a group: `matmul`, `tiles`, `conv` or `pool`.
///
/// # Errors
/// If there is no software adapter.
pub fn print() -> Result<()> {
    let lab = Lab::open(false)?;
    let group = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let group = group.as_deref();
    if matches!(group, None | Some("matmul")) {
        products(&lab)?;
    }
    if matches!(group, Some("tiles")) {
        tiles(&lab)?;
    }
    if matches!(group, None | Some("conv")) {
        convolutions(&lab)?;
    }
    if matches!(group, None | Some("pool")) {
        pools(&lab)?;
    }
    Ok(())
}

/// Times one kernel; `work` is in GFLOP (or GB).
fn line(lab: &Lab, label: &str, kernel: Kernel, lens: &[usize], work: f64, unit: &str) -> Result<f64> {
    let caps = Caps::webgpu_defaults(true);
    let buffers: Vec<_> = lens.iter().map(|&n| (DType::F32, n)).collect();
    let plan = one_step(kernel, &buffers);
    let lowered = lower(&plan.steps[0], &plan, &caps)?;
    let reads: Vec<_> = (0..lens.len() - 1).map(|i| HostData::F32(noise(lens[i], i as u32))).collect();
    let target = Target { operand: Operand::Write, data: HostData::F32(vec![0.0; lens[lens.len() - 1]]) };
    let prepared = lab.prepare(&lowered, &reads, &[target]);
    let (first, ms) = lab.time(&prepared, 0.3);
    println!("{label:<34} {:<40} {:7.2} {unit}/s {ms:8.3} ms, first {first:4.0} ms", prepared.name(), work / ms * 1e3);
    Ok(ms)
}

fn products(lab: &Lab) -> Result<()> {
    {
        let mut mm = product(512, 512, 512, false, false);
        mm.a.offset = 1;
        let n = 512 * 512;
        line(lab, "512 scalar lhs", Kernel::MatMul(mm.clone()), &[n + 1, n, n], 0.268, "GFLOP")?;
        mm.b.offset = 1;
        line(lab, "512 scalar both", Kernel::MatMul(mm.clone()), &[n + 1, n + 1, n], 0.268, "GFLOP")?;
    }
    let shapes = [
        (512, 512, 512, false, false),
        (1024, 1024, 1024, false, false),
        (128, 512, 784, false, true),
        (128, 512, 512, false, true),
        (128, 10, 512, false, true),
        (128, 512, 10, false, false),
        (10, 512, 128, true, false),
        (512, 784, 128, true, false),
        (64, 128, 1568, false, true),
        (64, 1568, 128, false, false),
        (128, 1568, 64, true, false),
        (10, 128, 64, true, false),
        (64, 10, 128, false, true),
        (16, 16, 65_536, true, false),
        (1, 1024, 1024, false, true),
    ];
    for (m, n, k, ta, tb) in shapes {
        let label = format!("matmul {m}x{n}x{k} {}{}", if ta { "T" } else { "N" }, if tb { "T" } else { "N" });
        let kernel = Kernel::MatMul(product(m, n, k, ta, tb));
        line(lab, &label, kernel, &[m * k, k * n, m * n], 2e-9 * (m * n * k) as f64, "GFLOP")?;
    }
    Ok(())
}

fn convolutions(lab: &Lab) -> Result<()> {
    // x, output channels, kernel, stride, padding
    let layers = [
        ([64, 1, 28, 28], 16, 3, 1, 1),
        ([64, 16, 14, 14], 32, 3, 1, 1),
        ([64, 32, 7, 7], 64, 3, 1, 1),
        ([32, 64, 16, 16], 64, 3, 1, 1),
        ([16, 32, 32, 32], 64, 3, 1, 1),
        ([32, 32, 32, 32], 64, 3, 2, 1),
        ([32, 64, 16, 16], 64, 1, 1, 0),
        ([16, 3, 32, 32], 32, 5, 1, 2),
    ];
    for (x, co, k, stride, pad) in layers {
        let spec = ConvSpec { stride: [stride; 2], padding: [pad; 2], dilation: [1; 2], groups: 1 };
        let w = [co, x[1], k, k];
        let out = (x[2] + 2 * pad - k) / stride + 1;
        let y = [x[0], co, out, out];
        let [nx, nw, ny] = [x, w, y].map(|s| s.iter().product::<usize>());
        let work = 2e-9 * (ny * x[1] * k * k) as f64;
        let mut sum = 0.0;
        for (role, lens, shape) in [
            (ConvRole::Forward, [nx, nw, ny], y),
            (ConvRole::InputGrad, [ny, nw, nx], x),
            (ConvRole::WeightGrad, [nx, ny, nw], w),
        ] {
            let kernel = Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue: Expr::identity(Shape::of(&shape), DType::F32) });
            sum += line(lab, &format!("{x:?} to {co}, {k}x{k} stride {stride}"), kernel, &lens, work, "GFLOP")?;
        }
        let epilogue = bias_relu(&y, 1, 2);
        let fused = Kernel::Conv2d(Conv2d { role: ConvRole::Forward, spec, x, w, y, epilogue });
        line(lab, "  with bias and relu", fused, &[nx, nw, co, ny], work, "GFLOP")?;
        println!("  all three: {:.2} GFLOP/s", 3.0 * work / sum * 1e3);
    }
    Ok(())
}

fn pools(lab: &Lab) -> Result<()> {
    let spec = PoolSpec { kernel: [2; 2], stride: [2; 2], padding: [0; 2], dilation: [1; 2], count_include_pad: true };
    for (c, len) in [(16, 28), (32, 14)] {
        let (x, y) = ([64, c, len, len], [64, c, len / 2, len / 2]);
        let [nx, ny] = [x, y].map(|s| s.iter().product::<usize>());
        for (op, lens) in [
            (PoolOp::Max, vec![nx, ny]),
            (PoolOp::MaxScatter, vec![nx, ny, nx]),
            (PoolOp::Avg, vec![nx, ny]),
            (PoolOp::AvgScatter, vec![ny, nx]),
        ] {
            let work = 4e-9 * lens.iter().sum::<usize>() as f64;
            line(lab, &format!("{op:?} {x:?}"), Kernel::Pool { op, spec, x, y }, &lens, work, "GB")?;
        }
    }
    Ok(())
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
