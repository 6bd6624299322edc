//! Pooling and its adjoints: `shaders/pool.wgsl`, and `shaders/pool_tiled.wgsl` for the usual 2x2 maximum.

use super::source::check_loops;
use super::source::{need_f32, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::graph::op::{PoolOp, PoolSpec};
use crate::plan::{Kernel, Plan, Step};

/// Lowers a [`Kernel::Pool`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Pool { op, spec, x, y } = &step.kernel else { return Err(Error::internal("pool::lower got another kernel")) };
    let reads = step.reads.len();
    need_f32("pool", step, plan, &(0..reads).collect::<Vec<_>>())?;
    if let Some(program) = tiled(step, caps)? {
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let planes = x[0] * x[1];
    let apart = (0..2).all(|d| spec.stride[d] > spec.dilation[d] * (spec.kernel[d] - 1));
    let cells = [0, 1].map(|d| (x[d + 2] + spec.padding[d]).div_ceil(spec.stride[d]));
    let (mode, threads) = match op {
        PoolOp::Max => ("max", planes * y[2] * y[3]),
        PoolOp::MaxSelect => ("select", planes * y[2] * y[3]),
        PoolOp::Avg => ("avg", planes * y[2] * y[3]),
        PoolOp::AvgScatter => ("avg_scatter", planes * x[2] * x[3]),
        PoolOp::MaxScatter if apart => ("max_scatter_apart", planes * cells[0] * cells[1]),
        PoolOp::MaxScatter => ("max_scatter", planes * x[2] * x[3]),
    };
    check_loops("pool", loops(op, spec, apart), caps)?;
    let source = Shader::new()
        .set("MODE", mode)
        .set("READS", reads)
        .set("H", x[2])
        .set("W", x[3])
        .set("OH", y[2])
        .set("OW", y[3])
        .set("KH", spec.kernel[0])
        .set("KW", spec.kernel[1])
        .set("SY", spec.stride[0])
        .set("SX", spec.stride[1])
        .set("PY", spec.padding[0])
        .set("PX", spec.padding[1])
        .set("DY", spec.dilation[0])
        .set("DX", spec.dilation[1])
        .set("INCLUDE_PAD", usize::from(spec.count_include_pad))
        .set("CELLS_Y", cells[0])
        .set("CELLS_X", cells[1])
        .render("pool")?;
    let mut operands: Vec<Operand> = (0..reads).map(Operand::Read).collect();
    operands.push(Operand::Write);
    let record = vec![word(threads), Word::U32(f32::NEG_INFINITY.to_bits()), word(planes * x[2] * x[3]), word(0)];
    let program = Program { name: format!("pool_{mode}"), source, operands, record, grid: caps.grid(threads.div_ceil(64)) };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}

/// Iterations of a thread's loops, at most.
fn loops(op: &PoolOp, spec: &PoolSpec, apart: bool) -> usize {
    let [kh, kw] = spec.kernel;
    // Windows that cover one pixel, along each axis.
    let cover = [0, 1].map(|d| (spec.dilation[d] * (spec.kernel[d] - 1)) / spec.stride[d] + 1);
    let window = kh * (kw + 1);
    let covered = |each: usize| cover[0].saturating_mul(1 + cover[1].saturating_mul(1 + each));
    match op {
        PoolOp::Max | PoolOp::MaxSelect => window,
        PoolOp::Avg => window + kh + kw,
        PoolOp::MaxScatter if apart => window + spec.stride[0] * (1 + spec.stride[1]),
        PoolOp::MaxScatter => covered(window),
        PoolOp::AvgScatter => covered(kh + kw),
    }
}

/// Max pooling by vectors, where the windows tile the image exactly and are 2 (or 4) wide.
fn tiled(step: &Step, caps: &Caps) -> Result<Option<Program>> {
    let Kernel::Pool { op, spec, x, y } = &step.kernel else { return Ok(None) };
    let exact = (0..2).all(|d| {
        let plain = spec.padding[d] == 0 && (spec.dilation[d] == 1 || spec.kernel[d] == 1);
        plain && spec.stride[d] == spec.kernel[d] && y[d + 2] * spec.kernel[d] == x[d + 2]
    });
    let [kh, kw] = spec.kernel;
    let vector = if x[3] % 4 == 0 { 4 } else { 2 };
    let windows = vector / kw.max(1);
    let scatter = match op {
        PoolOp::Max => false,
        PoolOp::MaxScatter => true,
        PoolOp::MaxSelect | PoolOp::Avg | PoolOp::AvgScatter => return Ok(None),
    };
    if !exact || kh > 4 || !matches!((vector, kw), (4, 2 | 4) | (2, 2)) {
        return Ok(None);
    }
    let source = Shader::new()
        .set("SCATTER", usize::from(scatter))
        .set("P", windows)
        .set("V", vector)
        .set("KH", kh)
        .set("KW", kw)
        .set("COLS", x[3] / vector)
        .set("Y_TYPE", if windows == 1 { "f32" } else { "vec2<f32>" })
        .render("pool_tiled")?;
    let mut operands: Vec<Operand> = (0..step.reads.len()).map(Operand::Read).collect();
    operands.push(Operand::Write);
    let threads = y.iter().product::<usize>() / windows;
    let name = if scatter { "pool_max_scatter_tiled" } else { "pool_max_tiled" };
    let record = vec![word(threads), word(0), word(0), word(0)];
    Ok(Some(Program { name: name.into(), source, operands, record, grid: caps.grid(threads.div_ceil(64)) }))
}
