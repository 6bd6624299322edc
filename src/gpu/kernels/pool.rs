//! Pooling: fills `shaders/pool.wgsl`.

use super::{need_f32, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::graph::op::PoolOp;
use crate::plan::{Kernel, Plan, Step};

/// Lowers a [`Kernel::Pool`]: one program, one thread an output element.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Pool { op, spec, x, y } = &step.kernel else { return Err(Error::internal("pool::lower got another kernel")) };
    let (name, max, scatter, binary) = match op {
        PoolOp::Max => ("max_pool", true, false, false),
        PoolOp::MaxSelect => ("max_pool_select", true, false, true),
        PoolOp::MaxScatter => ("max_pool_scatter", true, true, true),
        PoolOp::Avg => ("avg_pool", false, false, false),
        PoolOp::AvgScatter => ("avg_pool_scatter", false, true, false),
    };
    let reads: Vec<usize> = (0..if binary { 2 } else { 1 }).collect();
    need_f32("pool", step, plan, &reads)?;
    let total: usize = if scatter { x.iter().product() } else { y.iter().product() };
    let mut shader = Shader::new()
        .set("OP", name)
        .set("MAX", usize::from(max))
        .set("AVG", usize::from(!max))
        .set("SCATTER", usize::from(scatter))
        .set("BINARY", usize::from(binary))
        .set("COUNT_PAD", usize::from(spec.count_include_pad));
    let geometry = [
        ("H", x[2]),
        ("W", x[3]),
        ("OH", y[2]),
        ("OW", y[3]),
        ("KH", spec.kernel[0]),
        ("KW", spec.kernel[1]),
        ("SH", spec.stride[0]),
        ("SW", spec.stride[1]),
        ("PH", spec.padding[0]),
        ("PW", spec.padding[1]),
        ("DH", spec.dilation[0]),
        ("DW", spec.dilation[1]),
    ];
    for (key, value) in geometry {
        shader = shader.set(key, value);
    }
    // Two reads of one buffer bind it twice, which is allowed for reads.
    let second = step.reads.len().saturating_sub(1).min(1);
    let operands = if binary {
        vec![Operand::Read(0), Operand::Read(second), Operand::Write]
    } else {
        vec![Operand::Read(0), Operand::Write]
    };
    let record = vec![word(total), word(0), word(0), word(0)];
    let source = shader.render("pool")?;
    let program = Program { name: name.into(), source, operands, record, grid: caps.grid(total.div_ceil(64)) };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}
