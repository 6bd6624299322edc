//! Normalisation of rows, and its gradient: `shaders/row_norm.wgsl` and `shaders/row_norm_grad.wgsl` where threads keep a row,
//! `shaders/row_norm_loops.wgsl` and `shaders/row_norm_parts.wgsl` where they do not.

use super::softmax::RowLaunch;
use super::source::{check_loops, need_f32, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::graph::row::RowNorm;
use crate::plan::{Plan, Row, Step};

/// Threads of a workgroup, at most.
const THREADS: usize = 256;

/// Threads that keep a large GPU's memory busy.
const ENOUGH: usize = 131_072;

/// Rows at a time, at most.
const ROWS: usize = 32;

/// Values of a row that a thread keeps, at most; of the gradient, those of two rows and the sums of columns. RDNA3 has registers for
/// no more.
const KEPT: usize = 64;
const KEPT_IN_GRADIENT: usize = 16;

/// Values and channels' sums that it keeps in the gradient.
const KEPT_OF_CHANNELS: usize = 36;

/// Up to how many values it also keeps their parameters, forward and in the gradient.
const WITH_PARAMETERS: [usize; 2] = [24, 12];

/// Loads of a thread that are written out, at most; in short texts.
const LOADS: usize = 32;
const LOADS_IN_SHORT: usize = 4;

/// Turns whose sum is taken by itself.
const BLOCK: usize = 64;

/// How elements are loaded: one at a time or four.
#[derive(Debug, Clone, Copy)]
struct Units {
    /// Elements of a unit.
    width: usize,
    /// Units of a row.
    cols: usize,
    /// Channels of a row: one, if each column has parameters of its own.
    channels: usize,
    /// Units of a channel.
    positions: usize,
}

impl Units {
    fn of(norm: &RowNorm, cols: usize) -> Self {
        let positions = if norm.by_column() { cols } else { norm.positions };
        let width = if positions.is_multiple_of(4) { 4 } else { 1 };
        Self { width, cols: cols / width, channels: cols / positions, positions: positions / width }
    }

    /// Fills what all texts need.
    fn fill(self, norm: &RowNorm, reads: usize) -> Shader {
        let kind = if self.width == 4 { "vec4<f32>" } else { "f32" };
        Shader::new()
            .set("TYPE", kind)
            .set("WIDTH", self.width)
            .set("PARAMETER", if norm.by_column() { kind } else { "f32" })
            .set("BY_COLUMN", usize::from(norm.by_column()))
            .set("CENTRE", usize::from(norm.centre))
            .set("SCALE", usize::from(norm.scale))
            .set("SHIFT", usize::from(norm.shift))
            .set("PARTED", usize::from(norm.scale || norm.shift))
            .set("SHIFT_AT", 2 + usize::from(norm.scale))
            .set("OUT_AT", reads + 1)
    }
}

/// How the threads of a workgroup keep a row: neighbours take neighbouring positions of a channel.
#[derive(Debug, Clone, Copy)]
struct Kept {
    units: Units,
    /// Units of a channel that a thread has.
    loads: usize,
    /// Threads per channel.
    places: usize,
    /// Channels at a time.
    slots: usize,
    /// Turns until all channels had theirs.
    batches: usize,
    /// Rows at a time.
    rows: usize,
    /// Whether a thread keeps parameters of columns.
    parameters: bool,
}

impl Kept {
    /// For rows of `cols`, of which each part has `examples`; `None` if they are too long.
    fn of(norm: &RowNorm, cols: usize, examples: usize, gradient: bool, caps: &Caps) -> Option<Self> {
        let units = Units::of(norm, cols);
        let loads = units.positions.div_ceil(THREADS);
        let places = units.positions.div_ceil(loads);
        let batches = units.channels.div_ceil(THREADS / places);
        let slots = units.channels.div_ceil(batches);
        let rows = (THREADS / (places * slots)).clamp(1, ROWS).min(examples.next_power_of_two());
        let written = if caps.short_texts() { LOADS_IN_SHORT } else { LOADS };
        let values = loads * batches * units.width;
        let is_kept = match (gradient, norm.by_column()) {
            (false, _) => values <= KEPT,
            (true, true) => values <= KEPT_IN_GRADIENT,
            (true, false) => values + 2 * batches <= KEPT_OF_CHANNELS,
        };
        let fits = !caps.software && caps.max_invocations as usize >= THREADS && loads * batches <= written && is_kept;
        let parameters = values <= WITH_PARAMETERS[usize::from(gradient)];
        fits.then_some(Self { units, loads, places, slots, batches, rows, parameters })
    }

    fn lanes(self) -> usize {
        self.places * self.slots
    }

    fn size(self) -> usize {
        self.lanes() * self.rows
    }

    fn fill(self, norm: &RowNorm, reads: usize) -> Shader {
        let ragged = |is_ragged: bool, last: usize| if is_ragged { (last - 1).to_string() } else { "none".into() };
        self.units
            .fill(norm, reads)
            .set("LANES", self.lanes())
            .set("ROWS", self.rows)
            .set("SIZE", self.size())
            .set("PLACES", self.places)
            .set("SLOTS", self.slots)
            .set("BATCHES", self.batches)
            .set("LOADS", self.loads)
            .set("KEPT_SCALE", usize::from(norm.scale && self.parameters))
            .set("KEPT_SHIFT", usize::from(norm.shift && self.parameters))
            .set("LOADED_SCALE", usize::from(norm.scale && norm.by_column() && !self.parameters))
            .set("SCALE_BY_COLUMN", usize::from(norm.scale && norm.by_column()))
            .set("RAGGED_BATCH", ragged(self.slots * self.batches != self.units.channels, self.batches))
            .set("RAGGED_LOAD", ragged(self.places * self.loads != self.units.positions, self.loads))
            .set("ROW_STEP", step(self.lanes()))
            .set("CHANNEL_STEP", step(self.places))
    }
}

/// How many of `lanes` sums there are after the first of two steps.
fn step(lanes: usize) -> usize {
    lanes.isqrt().next_power_of_two().min(16)
}

#[allow(clippy::cast_possible_truncation, reason = "f32 is what kernels compute in")]
fn float(x: f64) -> Word {
    Word::U32((x as f32).to_bits())
}

/// Lowers a normalisation.
pub(crate) fn lower(norm: &RowNorm, row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    let reads: Vec<usize> = (0..step.reads.len()).collect();
    need_f32("row_norm", step, plan, &reads)?;
    let examples = rows / norm.groups;
    let Some(kept) = Kept::of(norm, cols, examples, false, caps) else {
        return Ok(Lowered { programs: vec![loops(norm, row.x, false, &reads, caps)?], scratch: vec![] });
    };
    // So many examples for a workgroup that it reads its parameters once for several, and there are still enough threads.
    let parts = ENOUGH.div_ceil(kept.size()).div_ceil(norm.groups);
    let few = examples.div_ceil(examples.div_ceil(parts)) < parts;
    let each = if few { examples / parts } else { examples.div_ceil(parts) };
    let each = (each / kept.rows).max(1) * kept.rows;
    let parts = examples.div_ceil(each);
    let program = Program {
        name: "row_norm".into(),
        source: kept.fill(norm, reads.len()).render("row_norm")?,
        operands: operands(&reads),
        record: record(norm, row.x, kept.units, each, [parts * norm.groups, 0, 0]),
        grid: caps.grid(parts * norm.groups),
    };
    Ok(Lowered { programs: vec![program], scratch: vec![] })
}

/// Lowers the gradient.
pub(crate) fn lower_gradient(norm: &RowNorm, row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    let reads: Vec<usize> = (0..step.reads.len()).collect();
    need_f32("row_norm", step, plan, &reads)?;
    let parts = norm.parts(row.x);
    let units = Units::of(norm, cols);
    let first = rows * units.cols;
    let second = first + if norm.by_column() && norm.scale { parts.count * units.cols } else { 0 };
    if let Some(kept) = Kept::of(norm, cols, parts.each, true, caps) {
        let program = Program {
            name: "row_norm_grad".into(),
            source: kept.fill(norm, reads.len()).render("row_norm_grad")?,
            operands: operands(&reads),
            record: record(norm, row.x, units, parts.each, [parts.count * norm.groups, first, second]),
            grid: caps.grid(parts.count * norm.groups),
        };
        return Ok(Lowered { programs: vec![program], scratch: vec![] });
    }
    let statistics = loops(norm, row.x, true, &reads, caps)?;
    if !norm.scale && !norm.shift {
        return Ok(Lowered { programs: vec![statistics], scratch: vec![] });
    }
    let turns = if norm.by_column() { parts.each } else { parts.each * units.positions };
    check_loops("row_norm_grad", turns, caps)?;
    let width = if norm.by_column() { units.cols } else { norm.groups * units.channels };
    let size = if caps.software { 8 } else { 64 };
    let mut record = record(norm, row.x, units, parts.each, [parts.count, first, second]);
    record[4] = word(width);
    record[5] = word(units.channels);
    record[6] = word(units.positions);
    let mut operands = vec![Operand::Read(0), Operand::Read(1), Operand::ScratchRead(0)];
    operands.extend(norm.scale.then_some(Operand::Read(2)));
    operands.push(Operand::Write);
    let rest = Program {
        name: "row_norm_parts".into(),
        source: units.fill(norm, operands.len() - 1).set("SIZE", size).render("row_norm_parts")?,
        operands,
        record,
        grid: caps.grid((parts.count * width).div_ceil(size)),
    };
    Ok(Lowered { programs: vec![statistics, rest], scratch: vec![16 * rows as u64] })
}

fn operands(reads: &[usize]) -> Vec<Operand> {
    reads.iter().map(|&k| Operand::Read(k)).chain([Operand::Write]).collect()
}

/// The record of kernels over parts.
fn record(norm: &RowNorm, [rows, cols]: [usize; 2], units: Units, each: usize, last: [usize; 3]) -> Vec<Word> {
    let [workgroups, first, second] = last.map(word);
    let shape = [rows / norm.groups, units.cols, norm.groups, each, units.channels, units.positions].map(word);
    shape.into_iter().chain([float(1.0 / cols as f64), float(norm.eps()), workgroups, first, second, word(0)]).collect()
}

/// The kernel whose threads read a row again for every pass.
fn loops(norm: &RowNorm, [rows, cols]: [usize; 2], grad: bool, reads: &[usize], caps: &Caps) -> Result<Program> {
    let units = Units::of(norm, cols);
    let short = match (caps.software, units.cols) {
        (true, cols) => RowLaunch::of(cols),
        (false, ..=64) => RowLaunch { lanes: 1, size: 64, rows: 64 },
        (false, _) => RowLaunch { lanes: 64, size: 64, rows: 1 },
    };
    let few = caps.software || (caps.max_invocations as usize) < THREADS;
    let launch = if short.lanes == 1 || few { short } else { RowLaunch { lanes: THREADS, size: THREADS, rows: 1 } };
    check_loops("row_norm", 3 * units.cols.div_ceil(launch.lanes), caps)?;
    let parted = grad && (norm.scale || norm.shift);
    let mut operands = operands(reads);
    if parted {
        operands.pop();
        operands.push(Operand::ScratchWrite(0));
    }
    let source = launch
        .fill(units.fill(norm, reads.len()))
        .set("GRAD", usize::from(grad))
        .set("SHIFT", usize::from(norm.shift && !grad))
        .set("PARTED", usize::from(parted))
        .set("SCALE_AT", 2 + usize::from(grad))
        .set("SUM", if grad { "vec2<f32>" } else { "f32" })
        .set("ROW_STEP", step(launch.lanes))
        .set("BLOCK", BLOCK)
        .set("BLOCK_COLS", BLOCK * launch.lanes)
        .render("row_norm_loops")?;
    let shape = [rows, units.cols, norm.groups, units.channels, units.positions].map(word);
    Ok(Program {
        name: match (grad, parted) {
            (false, _) => "row_norm_loops",
            (true, false) => "row_norm_grad_loops",
            (true, true) => "row_norm_statistics",
        }
        .into(),
        source,
        operands,
        record: shape.into_iter().chain([float(1.0 / cols as f64), float(norm.eps()), word(0)]).collect(),
        grid: caps.grid(rows.div_ceil(launch.rows)),
    })
}
