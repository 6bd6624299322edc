//! Recurrent layers and their gradients, a launch for each time step: `shaders/recurrent*.wgsl`.
//!
//! What changes with the length, the batch and the elements of a state is in the records of the launches, which share a pipeline.

use super::source::{Binding, check_bindings, check_loops, declare, need_f32, record_len, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp, RecurrentPart};
use crate::plan::{Plan, Step};

/// Units of a tile: a vector.
const UNITS: usize = 4;

/// Threads of a workgroup that copies states.
const COPIED: usize = 64;

/// In the record of a gradient's last launch, which has no step of its own; the first one's is 0, and 1 is for those between.
const LAST: usize = 2;

/// How a launch is cut up.
#[derive(Debug, Clone, Copy)]
struct Tile {
    /// Sequences of a tile.
    rows: usize,
    /// Threads that share one.
    splits: usize,
    /// Threads of a workgroup.
    lanes: usize,
    /// Units of a tile, in vectors.
    fours: usize,
    /// How many sums a thread has per sequence, each of a vector.
    sums: usize,
}

impl Tile {
    /// The tile of a part: loads weigh more the fewer sums there are; on hardware, threads share 16 KiB of sums.
    fn of(op: RecurrentOp, caps: &Caps) -> Self {
        let sums = if op.part == RecurrentPart::Gradient { 1 } else { op.cell.gates() };
        let (short, many) = (caps.short_texts(), sums > 1);
        if caps.software || caps.max_invocations < 64 || caps.workgroup_memory < 16 << 10 {
            let fours = if op.part == RecurrentPart::Gradient && !short { 2 } else { 1 };
            return Self { rows: if many && short { 2 } else { 8 }, splits: 1, lanes: 8, fours, sums: sums * fours };
        }
        let (rows, splits) = if many { (if short { 2 } else { 4 }, 4) } else { (8, 8) };
        Self { rows, splits, lanes: 64, fours: 1, sums }
    }

    /// Tiles along the sequences in a workgroup, in all, and the workgroups.
    fn count(self, op: RecurrentOp) -> [usize; 3] {
        let (down, tiles) = (op.batch.div_ceil(self.rows), self.lanes / self.splits);
        let across = down.next_power_of_two().min(tiles);
        let down = down.div_ceil(across);
        [across, down, down * op.hidden.div_ceil(UNITS * self.fours).div_ceil(tiles / across)]
    }

    /// What a thread loops: over the inner elements of a product, and then over rows, by units.
    fn turns(self, op: RecurrentOp, inner: usize) -> usize {
        let each = if element(op) == "f32" { 1 } else { UNITS };
        inner / each / self.splits + self.rows * (1 + UNITS)
    }

    fn fill(self, op: RecurrentOp) -> Shader {
        let all = self.rows * self.sums;
        Shader::new()
            .set("ROWS", self.rows)
            .set("SPLITS", self.splits)
            .set("LANES", self.lanes)
            .set("FOURS", self.fours)
            .set("SUMS", all)
            .set("MOVED", all - self.sums)
            .set("GATES", op.cell.gates())
    }
}

/// Lowers a recurrent layer or its gradient.
pub(crate) fn lower(op: RecurrentOp, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let shapes = op.operands();
    if shapes.len() != step.reads.len() {
        return Err(Error::internal(format!("{} needs {} operands", op.name(), shapes.len())));
    }
    let floats: Vec<usize> = (0..shapes.len() - usize::from(op.masked)).collect();
    need_f32(op.name(), step, plan, &floats)?;
    let programs = match op.part {
        RecurrentPart::Forward { kept } => forward(op, kept, step, caps),
        RecurrentPart::Gradient => gradient(op, step, caps),
    }?;
    Ok(Lowered { programs, scratch: vec![] })
}

/// The first states go into the record; then a launch for each step.
fn forward(op: RecurrentOp, kept: bool, step: &Step, caps: &Caps) -> Result<Vec<Program>> {
    let (record, state, tile) = (op.record(kept), op.state(), Tile::of(op, caps));
    let [across, tiles, groups] = tile.count(op);
    check_loops(op.name(), tile.turns(op, op.hidden), caps)?;
    let states: Vec<usize> = [2, 3].into_iter().take(if op.cell == RecurrentCell::Lstm { 2 } else { 1 }).collect();
    let words = [state, op.around(op.time(0))[0] * state, record.last_cell, 0].map(word).to_vec();
    let first = Text { file: "recurrent_first", op, reads: &states, element: "f32", shader: Shader::new() };
    let mut programs = vec![first.program(words, state.div_ceil(COPIED), step, caps)?];
    let gru = op.cell == RecurrentCell::Gru;
    let reads: Vec<usize> = [0, 1].into_iter().chain(gru.then_some(3)).chain(op.masked.then(|| step.reads.len() - 1)).collect();
    let shader = tile.fill(op).set("KEPT", usize::from(kept)).set("OLD", usize::from(op.masked || gru));
    let text = Text { file: "recurrent", op, reads: &reads, element: element(op), shader };
    let program = text.program(vec![word(0); 12], groups, step, caps)?;
    for time in (0..op.steps).map(|step| op.time(step)) {
        let [before, after] = op.around(time).map(|at| at * state);
        let rows = time * op.batch;
        let saved = [record.cells + time * state, record.saved + rows * op.cell.saved() * op.hidden];
        let [cells, saved] = if kept { saved } else { [0; 2] };
        let words = [
            [op.batch, op.hidden, tiles, groups],
            [across, rows * op.width(), before, after],
            [record.last_cell, cells, saved, rows],
        ];
        programs.push(Program { record: words.as_flattened().iter().copied().map(word).collect(), ..program.clone() });
    }
    Ok(programs)
}

/// A launch for each step, the last first, and one for the first states.
fn gradient(op: RecurrentOp, step: &Step, caps: &Caps) -> Result<Vec<Program>> {
    let (record, slopes, state, width) = (op.record(true), op.slopes(), op.state(), op.width());
    let tile = Tile::of(op, caps);
    let [across, tiles, groups] = tile.count(op);
    check_loops(op.name(), tile.turns(op, width), caps)?;
    let gru = op.cell == RecurrentCell::Gru;
    let reads: Vec<usize> = [0, 1, 2].into_iter().chain(op.masked.then_some(3)).collect();
    let shader = tile.fill(op).set("AROUND", usize::from(op.masked || gru));
    let text = Text { file: "recurrent_grad", op, reads: &reads, element: element(op), shader };
    let program = text.program(vec![word(0); 20], groups, step, caps)?;
    let product = if gru { slopes.recurrent } else { 0 };
    let launch = |n: usize| {
        // The step of this launch, if it has one, and that of the launch before it.
        let own = op.steps.checked_sub(n + 1);
        let (time, later) = (op.time(own.unwrap_or(0)), op.time((op.steps - n).min(op.steps - 1)));
        let [before, after] = op.around(time).map(|at| at * state);
        let place = if own.is_none() { LAST } else { usize::from(n > 0) };
        let rows = time * op.batch;
        let words = [
            [op.batch, op.hidden, tiles, groups],
            [across, if own.is_none() { before } else { after }, before, after],
            [record.cells + time * state, record.saved + rows * op.cell.saved() * op.hidden, rows, place],
            [product + later * op.batch * width, rows * width, slopes.hidden, slopes.cell],
            [product + rows * width, record.last_cell, 0, 0],
        ];
        Program { record: words.as_flattened().iter().copied().map(word).collect(), ..program.clone() }
    };
    Ok((0..=op.steps).map(launch).collect())
}

/// How rows of states are read: as vectors if all begin at a multiple of 4.
fn element(op: RecurrentOp) -> &'static str {
    if op.hidden.is_multiple_of(UNITS) { "vec4<f32>" } else { "f32" }
}

/// What launches of one kind share.
struct Text<'a> {
    file: &'static str,
    op: RecurrentOp,
    /// The operands that it reads; the op's mask, if it is the last of them.
    reads: &'a [usize],
    /// The type in which it reads and writes.
    element: &'a str,
    shader: Shader,
}

impl Text<'_> {
    fn program(self, record: Vec<Word>, groups: usize, step: &Step, caps: &Caps) -> Result<Program> {
        let Self { file, op, reads, element, shader } = self;
        let mask = op.masked.then(|| step.reads.len() - 1);
        let binding = |&n: &usize| match mask {
            Some(mask) if mask == n => Binding::new(Operand::Read(n), "mask", "u32"),
            _ => Binding::new(Operand::Read(n), &format!("b{n}"), element),
        };
        let mut bindings: Vec<Binding> = reads.iter().map(binding).collect();
        bindings.push(Binding::new(Operand::Write, "out", element));
        check_bindings(bindings.len(), caps, step)?;
        let cell = match op.cell {
            RecurrentCell::Tanh => "tanh",
            RecurrentCell::Relu => "relu",
            RecurrentCell::Lstm => "lstm",
            RecurrentCell::Gru => "gru",
        };
        // That of the record is in the text.
        let declared = declare(record.len(), &bindings);
        let source = shader
            .set("RECORD", record_len(record.len()))
            .set("BINDINGS", declared.split_once('\n').map_or("", |(_, rest)| rest.trim_end()))
            .set("CELL", cell)
            .set("MASKED", usize::from(op.masked))
            .set("WIDE", usize::from(element != "f32"))
            .render(file)?;
        let operands = bindings.iter().map(|b| b.operand).collect();
        Ok(Program { name: file.into(), source, operands, record, grid: caps.grid(groups) })
    }
}
