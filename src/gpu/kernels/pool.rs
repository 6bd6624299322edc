//! Pooling and its adjoints: `shaders/pool.wgsl`; `shaders/pool_tiled.wgsl` for the usual 2x2 maximum, `shaders/pool_cells.wgsl` for
//! the gradient of small windows that overlap.

use super::source::check_loops;
use super::source::{need_f32, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::graph::op::{PoolOp, PoolSpec};
use crate::plan::{Kernel, Plan, Step};

/// Lowers a [`Kernel::Pool`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    need_f32("pool", step, plan, &(0..step.reads.len()).collect::<Vec<_>>())?;
    let special = match tiled(step, caps)? {
        None => cells(step, caps)?,
        tiled => tiled,
    };
    let program = special.map_or_else(|| general(step, caps), Ok)?;
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}

/// Pooling of any geometry.
fn general(step: &Step, caps: &Caps) -> Result<Program> {
    let Kernel::Pool { op, spec, x, y } = &step.kernel else { return Err(Error::internal("pool::lower got another kernel")) };
    let reads = step.reads.len();
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
    Ok(Program { name: format!("pool_{mode}"), source, operands, record, grid: caps.grid(threads.div_ceil(64)) })
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

/// Comparisons that the text of a thread's cell may have: those of windows of 3 by 3 at steps of 1; in short texts and on software
/// adapters, where longer ones take longer to compile than they save, at steps of 2.
const COMPARED: usize = 81;
const COMPARED_IN_SHORT: usize = 36;

/// The gradient of max pooling by cells as large as a step, where small windows overlap.
fn cells(step: &Step, caps: &Caps) -> Result<Option<Program>> {
    let Kernel::Pool { op: PoolOp::MaxScatter, spec, x, y } = &step.kernel else { return Ok(None) };
    let overlap = (0..2).any(|d| spec.kernel[d] > spec.stride[d]);
    let most = if caps.software || caps.short_texts() { COMPARED_IN_SHORT } else { COMPARED };
    let [[kh, sy], [kw, sx]] = [0, 1].map(|d| [spec.kernel[d], spec.stride[d]]);
    if !overlap || spec.dilation != [1; 2] || kh > 9 || kw > 9 || sy > kh || sx > kw {
        return Ok(None);
    }
    // Windows that see a cell, along each axis, and what they see together.
    let [wy, wx] = [(kh - 1) / sy + 1, (kw - 1) / sx + 1];
    let [rh, rw] = [(wy - 1) * sy + kh, (wx - 1) * sx + kw];
    if wy * wx * kh * kw > most {
        return Ok(None);
    }
    let count = [0, 1].map(|d| (x[d + 2] + spec.padding[d]).div_ceil(spec.stride[d]));
    let sizes = [("H", x[2]), ("W", x[3]), ("OH", y[2]), ("OW", y[3]), ("CELLS_Y", count[0]), ("CELLS_X", count[1])];
    let window = [("KH", kh), ("KW", kw), ("SY", sy), ("SX", sx), ("PY", spec.padding[0]), ("PX", spec.padding[1])];
    let seen = [("WY", wy), ("WX", wx), ("RH", rh), ("RW", rw), ("CELL", sy * sx)];
    let values = sizes.into_iter().chain(window).chain(seen);
    let source = values.fold(Shader::new(), |shader, (name, value)| shader.set(name, value)).render("pool_cells")?;
    let threads = x[0] * x[1] * count[0] * count[1];
    Ok(Some(Program {
        name: "pool_max_scatter_cells".into(),
        source,
        operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
        record: vec![word(threads), word(0), word(0), word(0)],
        grid: caps.grid(threads.div_ceil(64)),
    }))
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
