//! How threads share rows: the kernels that softmax, cross-entropy and their gradients are made of.
//!
//! `shaders/row_sums.wgsl` sums up parts of rows, `shaders/row_apply.wgsl` computes what follows from such sums; on hardware
//! `shaders/softmax_held.wgsl` does both for rows that fit its threads' registers.

use super::source::{check_loops, word};
use crate::error::Result;
use crate::gpu::program::{Caps, Operand, Program};
use crate::gpu::shader::Shader;

/// Threads of a workgroup on hardware.
const GROUP: usize = 256;

/// Threads of a workgroup on software adapters.
const SMALL_GROUP: usize = 64;

/// Threads that every large launch has at least, if there is work for so many.
const WANTED: usize = 131_072;

/// The most values of a row that a thread holds.
const HELD: usize = 16;

/// The most parts of a row: whoever needs the row's sum adds up those of its parts.
const MOST_PARTS: usize = 64;

/// How the threads of workgroups share rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    rows: usize,
    /// Elements that are loaded at once.
    vector: usize,
    /// Units of as many elements in a row.
    units: usize,
    /// Threads that share a row, or a part of one.
    lanes: usize,
    /// Threads of a workgroup.
    size: usize,
    /// Units that a thread loads before it uses any.
    each: usize,
    /// Parts of a row: each is a workgroup's.
    pub parts: usize,
}

/// Threads of a workgroup.
fn group(caps: &Caps) -> usize {
    let most = if caps.software { SMALL_GROUP } else { GROUP };
    if caps.max_invocations as usize >= most { most } else { SMALL_GROUP }
}

/// What threads do with their shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// They hold whole rows in registers.
    Hold,
    /// They sum up.
    Sum,
    /// They compute elements, which do not depend on each other.
    Apply,
}

impl Shares {
    /// Of rows whose threads hold them in registers; `None` if they are too long, or for software adapters, to which barriers are
    /// expensive.
    pub fn held([rows, cols]: [usize; 2], caps: &Caps) -> Option<Self> {
        (!caps.software && cols <= group(caps) * HELD).then(|| Self::of([rows, cols], Work::Hold, caps))
    }

    /// Of rows that are summed up.
    pub fn sums(x: [usize; 2], caps: &Caps) -> Self {
        Self::of(x, Work::Sum, caps)
    }

    /// Of rows whose elements do not depend on each other.
    pub fn apply(x: [usize; 2], caps: &Caps) -> Self {
        Self::of(x, Work::Apply, caps)
    }

    fn of([rows, cols]: [usize; 2], work: Work, caps: &Caps) -> Self {
        let vector = if cols.is_multiple_of(4) { 4 } else { 1 };
        let units = (cols / vector).max(1);
        let size = group(caps);
        // Few elements are spread thinner.
        let fill = |values: usize| rows.saturating_mul(cols) / values >= WANTED;
        let mut values = [HELD, HELD / 2].into_iter().find(|&values| fill(values)).unwrap_or(HELD / 4);
        while work == Work::Hold && values < HELD && cols > size * values {
            values *= 2;
        }
        if work == Work::Sum && cols > size * values {
            // Long rows are loops in any case.
            values = if vector == 4 { HELD } else { HELD / 2 };
        }
        let each = values / vector;
        // Without barriers, a thread sums up a row alone, as long as it may loop so often.
        let alone = caps.software && work == Work::Sum && units.div_ceil(each) < super::source::MAX_LOOP;
        let lanes = if alone { 1 } else { units.div_ceil(each).next_power_of_two().min(size) };
        let turns = units.div_ceil(lanes * each);
        let parts = match work {
            Work::Hold => 1,
            Work::Apply => turns,
            Work::Sum if caps.software => 1,
            Work::Sum => WANTED.div_ceil((rows * lanes).max(1)).min(turns).min(MOST_PARTS),
        };
        // No part is empty.
        let parts = if work == Work::Sum { turns.div_ceil(turns.div_ceil(parts)) } else { parts };
        let size = if alone { 8 } else { size };
        Self { rows, vector, units, lanes, size, each, parts }
    }

    /// Units of a part.
    fn span(&self) -> usize {
        let turn = self.lanes * self.each;
        self.units.div_ceil(turn).div_ceil(self.parts) * turn
    }

    /// Fills the holes that the shaders share.
    pub fn fill(&self, shader: Shader) -> Shader {
        let unit = if self.vector == 4 { "vec4<f32>" } else { "f32" };
        let shader = shader.set("UNIT", unit).set("LAST", self.each - 1).set("V", self.vector).set("EACH", self.each);
        shader.set("LANES", self.lanes).set("SIZE", self.size).set("ROWS", self.size / self.lanes)
    }

    /// Workgroups of all rows and parts.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(self.size / self.lanes) * self.parts
    }

    /// A program over all rows and parts.
    pub fn program(&self, name: &str, source: String, operands: Vec<Operand>, further: [usize; 2], caps: &Caps) -> Program {
        let lowest = f32::NEG_INFINITY.to_bits() as usize;
        let record = [self.rows, self.units, self.parts, further[0], further[1], lowest, 0, 0].map(word);
        Program { name: name.into(), source, operands, record: record.to_vec(), grid: caps.grid(self.groups()) }
    }
}

/// What `shaders/row_sums.wgsl` computes of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// (maximum, Σ e^(x - maximum))
    Exp,
    /// Σ x·y
    Dot,
    /// Σ x
    Total,
}

/// The program that sums up rows, with bytes of its results and the number of parts.
///
/// # Errors
/// Rows too long for a software adapter.
pub(super) fn sums(
    name: &str,
    sum: Sum,
    x: [usize; 2],
    mut operands: Vec<Operand>,
    caps: &Caps,
) -> Result<(Program, u64, usize)> {
    let shares = Shares::sums(x, caps);
    let (mode, bytes) = match sum {
        Sum::Exp => ("EXP", 8),
        Sum::Dot => ("DOT", 4),
        Sum::Total => ("TOTAL", 4),
    };
    check_loops("softmax", shares.span() / (shares.lanes * shares.each), caps)?;
    let source = shares.fill(Shader::new().set("MODE", mode)).render("row_sums")?;
    operands.push(Operand::ScratchWrite(0));
    let program = shares.program(name, source, operands, [shares.span(), 0], caps);
    Ok((program, (x[0] * shares.parts * bytes) as u64, shares.parts))
}

/// The program that computes a matrix from numbers of its rows; `parts` are those of each row's sums.
///
/// # Errors
/// Only if a shader file is broken.
pub(super) fn apply(name: &str, mode: &str, x: [usize; 2], operands: Vec<Operand>, parts: usize, caps: &Caps) -> Result<Program> {
    let shares = Shares::apply(x, caps);
    let flag = |is: bool| usize::from(is);
    let shader = Shader::new().set("MODE", mode).set("GRAD", flag(mode.ends_with("GRAD")));
    let shader = shader.set("PAIRED", flag(matches!(mode, "SOFTMAX_GRAD" | "LOG_GRAD")));
    let source = shares.fill(shader.set("PARTED", flag(shares.parts > 1))).render("row_apply")?;
    Ok(shares.program(name, source, operands, [parts, 0], caps))
}
