//! Matrix products: chooses a variant, an operand path and a tile, and fills `shaders/matmul.wgsl`.

use super::epilogue::{Epilogue, split_sum};
use super::source::MAX_LOOP;
use super::source::{need_f32, record_len, word};
use crate::error::{Error, Result};
use crate::gpu::program::UNROLLED;
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::plan::{Kernel, MatMul, MatrixView, Plan, Step};

/// A way to compute a product. Each has a file in `shaders/`, and is listed in [`FORCED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Register tiles, without workgroup memory: `matmul.wgsl`.
    Register {
        /// Rows and columns that a thread computes: multiples of 4.
        tile: [usize; 2],
        /// Threads of a workgroup along rows and columns.
        lanes: [usize; 2],
        /// Parts that the inner dimension is cut into.
        splits: usize,
    },
}

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
    Variant::Register { tile: [8, 8], lanes: [8, 8], splits: 1 },
];

impl Variant {
    /// Rows and columns that a workgroup computes, and the parts that the inner dimension is cut into.
    fn block(self) -> ([usize; 2], usize) {
        match self {
            Self::Register { tile: [tm, tn], lanes: [lm, ln], splits } => ([tm * lm, tn * ln], splits),
        }
    }

    /// How lhs, rhs and the result are read and written.
    fn paths(self, mm: &MatMul) -> [Path; 3] {
        match self {
            Self::Register { .. } => [
                Path::of(&mm.a, (mm.a.col, mm.k), (mm.a.row, mm.m)),
                Path::of(&mm.b, (mm.b.row, mm.k), (mm.b.col, mm.n)),
                if mm.n.is_multiple_of(4) { Path::Outer } else { Path::Scalar },
            ],
        }
    }

    /// Its file in `shaders/`, its name in profiles, and its holes.
    fn form(self, [lhs, rhs, _]: [Path; 3], shader: Shader) -> (&'static str, String, Shader) {
        match self {
            Self::Register { tile: [tm, tn], lanes: [lm, ln], .. } => (
                "matmul",
                format!("matmul_{}{}_{tm}x{tn}", lhs.code(), rhs.code()),
                shader
                    .set("TM", tm)
                    .set("TN", tn)
                    .set("TM4", tm / 4)
                    .set("TN4", tn / 4)
                    .set("LM", lm)
                    .set("LN", ln)
                    .set("LANES", lm * ln),
            ),
        }
    }
}

/// How an operand is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// `vec4` along the inner dimension.
    Inner,
    /// `vec4` along the rows of lhs or the columns of rhs.
    Outer,
    /// One scalar at a time.
    Scalar,
}

impl Path {
    fn code(self) -> &'static str {
        match self {
            Self::Inner => "k",
            Self::Outer => "x",
            Self::Scalar => "s",
        }
    }

    /// The element type that it reads or writes.
    fn element(self) -> &'static str {
        match self {
            Self::Inner | Self::Outer => "vec4<f32>",
            Self::Scalar => "f32",
        }
    }

    /// The widest path that a view's alignment allows. `inner`/`outer` are (stride, length) of the two dimensions.
    fn of(view: &MatrixView, inner: (i64, usize), outer: (i64, usize)) -> Self {
        let aligned = |x: i64| x % 4 == 0;
        if !aligned(view.offset) || !view.batch.iter().all(|&s| aligned(s)) {
            return Self::Scalar;
        }
        let fits =
            |fast: (i64, usize), slow: (i64, usize)| fast.0 == 1 && fast.1.is_multiple_of(4) && (aligned(slow.0) || slow.1 == 1);
        match () {
            () if fits(inner, outer) => Self::Inner,
            () if fits(outer, inner) => Self::Outer,
            () => Self::Scalar,
        }
    }
}

/// Lowers a [`Kernel::MatMul`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::MatMul(mm) = &step.kernel else { return Err(Error::internal("matmul::lower got another kernel")) };
    lower_with(step, plan, caps, select(mm, caps))
}

/// Estimated costs of a load and a multiply-add. The unit is about a clock cycle of a vector of 8 threads on lavapipe, where a
/// load costs as much as 20 multiply-adds.
const LOAD: f64 = 30.0;
const FMA: f64 = 1.5;

/// What selection knows of a class of devices.
struct Class {
    tiles: &'static [[usize; 2]],
    lanes: &'static [[usize; 2]],
    /// Workgroups that keep such a device busy.
    busy: usize,
}

const SOFTWARE: Class = Class { tiles: &[[8, 8], [8, 16], [4, 8], [4, 4]], lanes: &[[8, 1], [1, 8], [2, 4]], busy: 16 };
const HARDWARE: Class = Class { tiles: &[[8, 8], [4, 4]], lanes: &[[8, 8], [4, 16], [16, 4]], busy: 256 };

/// The variant with the lowest estimated cost for a shape; a pure function, so reruns are bit-identical.
pub(crate) fn select(mm: &MatMul, caps: &Caps) -> Variant {
    let class = if caps.software { &SOFTWARE } else { &HARDWARE };
    // The widest tile takes twice as long to compile; only a large product earns that back.
    let large = mm.m * mm.n * mm.k * mm.batch.numel() >= 1 << 25;
    let compiles = |tile: &&[usize; 2]| (large || tile[1] < 16) && (caps.unrolled >= UNROLLED || **tile == [4, 4]);
    let mut best = (f64::INFINITY, Variant::Register { tile: [4, 4], lanes: class.lanes[0], splits: 1 });
    for &tile in class.tiles.iter().filter(compiles) {
        for &lanes in class.lanes {
            let (cost, splits) = register_cost(mm, tile, lanes, class.busy);
            if cost < best.0 {
                best = (cost, Variant::Register { tile, lanes, splits });
            }
        }
    }
    best.1
}

/// The estimated cost of register tiles, and the parts that they cut the inner dimension into.
fn register_cost(mm: &MatMul, [tm, tn]: [usize; 2], [lm, ln]: [usize; 2], busy: usize) -> (f64, usize) {
    let thread = |k: f64| k / 4.0 * ((tm + tn) as f64 * LOAD + (4 * tm * tn) as f64 * FMA) + (tm * tn) as f64 * LOAD;
    block_cost(mm, [tm * lm, tn * ln], lm * ln, busy, thread)
}

/// The estimated cost of blocks, one per workgroup of this many threads, and the parts that they cut the inner dimension into;
/// `thread` is what a thread costs over k steps of it.
fn block_cost(mm: &MatMul, block: [usize; 2], threads: usize, busy: usize, thread: impl Fn(f64) -> f64) -> (f64, usize) {
    let (m, n, k, batches) = (mm.m, mm.n, mm.k, mm.batch.numel());
    let groups = m.div_ceil(block[0]) * n.div_ceil(block[1]) * batches;
    // Split the inner dimension when too few workgroups are there, but keep parts worth a launch.
    let wanted = if groups * 2 > busy { 1 } else { (busy / groups).min(k / 128).max(1) };
    let splits = wanted.max(k.div_ceil(4 * MAX_LOOP));
    let vectors = threads.div_ceil(8) as f64;
    let second = if splits > 1 { ((splits + 1) * m * n * batches) as f64 / 8.0 * LOAD + 20_000.0 } else { 0.0 };
    (thread(k.div_ceil(splits) as f64) * vectors * (groups * splits).max(busy) as f64 + second, splits)
}

/// Lowers with a given variant.
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    let Kernel::MatMul(mm) = &step.kernel else { return Err(Error::internal("matmul::lower got another kernel")) };
    need_f32("matmul", step, plan, &[0, 1])?;
    let (m, n, k) = (mm.m, mm.n, mm.k);
    let batches = mm.batch.numel();
    let ([block_m, block_n], wanted) = variant.block();
    let k_part = k.div_ceil(wanted).next_multiple_of(4).max(4);
    let splits = k.div_ceil(k_part).max(1);
    let (tiles_m, tiles_n) = (m.div_ceil(block_m), n.div_ceil(block_n));
    let count = tiles_m * tiles_n * batches * splits;

    let mut record: Vec<Word> = [m, n, k, k_part, tiles_m, tiles_n, count, batches].map(word).to_vec();
    record.extend([mm.a.row, mm.a.col, mm.b.row, mm.b.col, mm.a.offset, mm.b.offset, 0, 0].map(stride));
    for d in (0..mm.batch.rank()).rev() {
        record.extend([word(mm.batch[d]), stride(mm.a.batch[d]), stride(mm.b.batch[d]), word(0)]);
    }
    let direct = splits == 1 && Epilogue::fits(&mm.epilogue);
    let epilogue = if direct { Epilogue::new(&mm.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
    record.extend(&epilogue.words);

    let paths = variant.paths(mm);
    let [lhs, rhs, out] = paths;
    let shader = Shader::new()
        .set("RECORD", record_len(record.len()))
        .set("BATCH_DIMS", mm.batch.rank())
        .set("LHS", lhs.code())
        .set("RHS", rhs.code())
        .set("OUT", out.code())
        .set("LHS_TYPE", lhs.element())
        .set("RHS_TYPE", rhs.element())
        .set("OUT_TYPE", out.element())
        .set("TAIL", usize::from(k % 4 != 0))
        .set("SHORT", usize::from(caps.short_texts()));
    let (file, name, shader) = variant.form(paths, shader);
    let source = epilogue.fill(shader, if out == Path::Scalar { 1 } else { 4 }).render(file)?;
    let target = if direct { Operand::Write } else { Operand::ScratchWrite(0) };
    let mut operands = vec![Operand::Read(0), Operand::Read(1), target];
    operands.extend(&epilogue.operands);
    let mut lowered =
        Lowered { programs: vec![Program { name, source, operands, record, grid: caps.grid(count) }], scratch: vec![] };
    if !direct {
        let len = batches * m * n;
        lowered.scratch.push((splits * len * 4) as u64);
        lowered.programs.push(split_sum(&mm.epilogue, step, plan, caps, 0, (len, splits))?);
    }
    Ok(lowered)
}

/// A stride or offset as a record word; shaders compute addresses modulo 2³².
#[allow(clippy::cast_possible_truncation, reason = "sizes were checked to fit 32 bits")]
fn stride(value: i64) -> Word {
    Word::U32(value as u32)
}
