//! Matrix products: chooses a variant, and fills its text.

mod form;
mod register;
mod select;
mod tiled;
mod vector;

use super::epilogue::{Epilogue, split_sum_with};
use super::reduce;
use super::source::{need_f32, record_len, word};
#[cfg(any(test, feature = "lab"))]
use super::tile::Tile;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::graph::View;
use crate::graph::op::ReduceOp;
use crate::plan::{Expr, Kernel, MatMul, Plan, Step, Term};
use crate::shape::Shape;
pub(crate) use form::Variant;
pub(crate) use select::select;

/// What the lab times and tests force, on every class of device; selection may take others.
#[cfg(any(test, feature = "lab"))]
pub(crate) const FORCED: &[Variant] = &[
    Variant::Register { tile: [4, 4], lanes: [8, 1], splits: 1 },
    Variant::Register { tile: [4, 4], lanes: [8, 1], splits: 3 },
    Variant::Register { tile: [8, 8], lanes: [1, 8], splits: 1 },
    Variant::Register { tile: [8, 8], lanes: [1, 8], splits: 3 },
    Variant::Register { tile: [8, 16], lanes: [2, 4], splits: 1 },
    Variant::Register { tile: [8, 16], lanes: [2, 4], splits: 3 },
    Variant::Register { tile: [4, 8], lanes: [4, 2], splits: 1 },
    Variant::Register { tile: [4, 8], lanes: [4, 2], splits: 3 },
    Variant::Register { tile: [4, 4], lanes: [4, 16], splits: 1 },
    Variant::Tiled { tile: Tile::of_eights(128, 128), splits: 1 },
    Variant::Tiled { tile: Tile::of_eights(128, 64), splits: 3 },
    Variant::Tiled { tile: Tile::of_eights(64, 128), splits: 1 },
    Variant::Tiled { tile: Tile::of_eights(64, 64), splits: 3 },
    Variant::Tiled { tile: Tile::of_fours(32, 32), splits: 1 },
    Variant::Tiled { tile: Tile::of_fours(32, 32), splits: 3 },
    Variant::Reduction,
];

/// Lowers a [`Kernel::MatMul`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::MatMul(mm) = &step.kernel else { return Err(Error::internal("matmul::lower got another kernel")) };
    lower_with(step, plan, caps, select(mm, caps))
}

/// Lowers with a given variant.
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    let Kernel::MatMul(mm) = &step.kernel else { return Err(Error::internal("matmul::lower got another kernel")) };
    need_f32("matmul", step, plan, &[0, 1])?;
    let (form, wanted) = match variant {
        Variant::Register { tile, lanes, splits } => (register::form(mm, tile, lanes, caps), splits),
        Variant::Tiled { tile, splits } => (tiled::form(mm, tile, caps)?, splits),
        Variant::Reduction => return with_sums(vector::lower(mm, step, plan, caps)?, mm, step, plan, caps),
    };
    let (m, n, k) = (mm.m, mm.n, mm.k);
    let batches = mm.batch.numel();
    let k_part = k.div_ceil(wanted).next_multiple_of(form.depth).max(form.depth);
    let splits = k.div_ceil(k_part).max(1);
    let (tiles_m, tiles_n) = (m.div_ceil(form.block[0]), n.div_ceil(form.block[1]));
    let count = tiles_m * tiles_n * batches * splits;

    let mut record: Vec<Word> = [m, n, k, k_part, tiles_m, tiles_n, count, batches].map(word).to_vec();
    record.extend([mm.a.row, mm.a.col, mm.b.row, mm.b.col, mm.a.offset, mm.b.offset, 0, 0].map(stride));
    for d in (0..mm.batch.rank()).rev() {
        record.extend([word(mm.batch[d]), stride(mm.a.batch[d]), stride(mm.b.batch[d]), word(0)]);
    }
    let direct = splits == 1 && Epilogue::fits(&mm.epilogue);
    let epilogue = if direct { Epilogue::new(&mm.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
    record.extend(&epilogue.words);
    let target = if direct { Operand::Write } else { Operand::ScratchWrite(0) };
    let mut operands = vec![Operand::Read(0), Operand::Read(1), target];
    operands.extend(&epilogue.operands);
    let lines = mm.sums.as_ref().filter(|_| form.sums).map(|sums| [m, n][sums.half]);
    let mut declaration = String::new();
    if lines.is_some() {
        operands.push(if direct { Operand::Further(0) } else { Operand::ScratchWrite(1) });
        declaration = format!("@group(0) @binding({}) var<storage, read_write> sums: array<f32>;\n", operands.len());
    }

    let vectors = form.writes == 4;
    let shader = form
        .shader
        .set("RECORD", record_len(record.len()))
        .set("BATCH_DIMS", mm.batch.rank())
        .set("SUMS_OPERAND", declaration)
        .set("OUT", if vectors { "x" } else { "s" })
        .set("OUT_TYPE", if vectors { "vec4<f32>" } else { "f32" });
    let source = epilogue.fill(shader, if vectors { 4 } else { 1 }).render(form.file)?;
    let mut lowered = Lowered {
        programs: vec![Program { name: form.name, source, operands, record, grid: caps.grid(count) }],
        scratch: vec![],
    };
    if !direct {
        let len = batches * m * n;
        lowered.scratch.push((splits * len * 4) as u64);
        lowered.scratch.extend(lines.map(|lines| (splits * lines * 4) as u64));
        lowered.programs.push(split_sum_with(&mm.epilogue, step, plan, caps, 0, (len, splits), lines)?);
    }
    if form.sums { Ok(lowered) } else { with_sums(lowered, mm, step, plan, caps) }
}

/// With the sums of an operand's lines, if they are wanted, by kernels of their own.
fn with_sums(mut lowered: Lowered, mm: &MatMul, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Some(sums) = &mm.sums else { return Ok(lowered) };
    let (len, view, strides) = match sums.half {
        0 => (mm.m, &mm.a, [mm.a.row, mm.a.col]),
        _ => (mm.n, &mm.b, [mm.b.col, mm.b.row]),
    };
    let shape = Shape::of(&[len, mm.k]);
    let mut value = Expr::new(shape);
    value.push(Term::Load { operand: sums.half, view: View::strided(shape, &strides, view.offset) }, DType::F32);
    let kernel = Kernel::Reduce { op: ReduceOp::Sum, value, kept: 1, epilogue: sums.expr.clone() };
    let alone = reduce::lower(&Step { kernel, write: Some(sums.buffer), ..step.clone() }, plan, caps)?;
    let first = lowered.scratch.len();
    for mut program in alone.programs {
        for operand in &mut program.operands {
            *operand = match *operand {
                Operand::Write => Operand::Further(0),
                Operand::ScratchRead(n) => Operand::ScratchRead(first + n),
                Operand::ScratchWrite(n) => Operand::ScratchWrite(first + n),
                other => other,
            };
        }
        lowered.programs.push(program);
    }
    lowered.scratch.extend(alone.scratch);
    Ok(lowered)
}

/// A stride or offset as a record word; shaders compute addresses modulo 2³².
#[allow(clippy::cast_possible_truncation, reason = "sizes were checked to fit 32 bits")]
fn stride(value: i64) -> Word {
    Word::U32(value as u32)
}
