//! The order of rows, by blocks and merges: `shaders/sort.wgsl`, on hardware with larger blocks, `shaders/sort_group.wgsl`.

use super::groups;
use super::source::word;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// Rows up to this length are sorted in one launch.
const ONE_LAUNCH: usize = 64;
/// The runs that merging starts from; also the results of a merging thread, which must be in one pair of runs.
const BLOCK: usize = 16;

/// The same on hardware: what workgroup memory holds, and the results of a merging thread.
const HELD: usize = 2048;
const MERGED: usize = 4;

/// What is put in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// How words become keys: a name that the shader knows.
    kind: &'static str,
    /// Largest first.
    descending: bool,
    /// The largest key, for clamped indices.
    top: usize,
}

impl Keys {
    /// I32 indices, clamped to `0..rows`.
    pub fn clamped(rows: usize) -> Self {
        Self { kind: "clamped", descending: false, top: rows.saturating_sub(1) }
    }
}

/// Lowers an argsort.
pub(crate) fn lower(row: &Row, descending: bool, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let [rows, cols] = row.x;
    let kind = match plan.buffers[step.reads[0]].dtype {
        DType::F32 | DType::F64 => "float",
        DType::I32 => "signed",
        DType::U32 | DType::Bool => "unsigned",
        DType::U8 | DType::F16 => return Err(Error::internal("packed elements reached a sort")),
    };
    let keys = Keys { kind, descending, top: 0 };
    let (programs, _) = programs(keys, Operand::Read(0), (rows, cols), Some(Operand::Write), caps)?;
    let pairs = if programs.len() == 1 { 0 } else { 2 };
    Ok(Lowered { programs, scratch: vec![(rows * cols * 8) as u64; pairs] })
}

/// Programs that sort each of `rows` rows of `cols` words. Positions go to `result`, if there is one; else pairs of key and
/// position are left in scratch memory 0 or 1, whose number is returned. Both hold 8 bytes per element.
pub(super) fn programs(
    keys: Keys,
    words: Operand,
    (rows, cols): (usize, usize),
    result: Option<Operand>,
    caps: &Caps,
) -> Result<(Vec<Program>, usize)> {
    let shared = groups::suit(caps);
    let (block, merged) = match shared {
        true => (cols.next_power_of_two().clamp(2, HELD), MERGED),
        false => (if cols <= ONE_LAUNCH { ONE_LAUNCH } else { BLOCK }, BLOCK),
    };
    let make = |mode: &str, source: Operand, target: usize, run: usize, last: bool| -> Result<Program> {
        let parts = match (mode, shared) {
            ("merge", _) => cols.div_ceil(merged),
            (_, true) => cols.div_ceil(block),
            (_, false) => cols,
        };
        let positions = result.filter(|_| last);
        let shader = Shader::new()
            .set("MODE", mode)
            .set("KEY", keys.kind)
            .set("DESCENDING", usize::from(keys.descending))
            .set("T", merged)
            .set("N", block)
            .set("HELD", HELD)
            .set("SRC_TYPE", if mode == "block" { "u32" } else { "vec2<u32>" })
            .set("OUT_TYPE", if positions.is_some() { "i32" } else { "vec2<u32>" })
            .set("RESULT", if positions.is_some() { "i32(pair.y)" } else { "pair" });
        let in_groups = shared && mode == "block";
        let (file, groups) =
            if in_groups { ("sort_group", (rows * parts).div_ceil(HELD / block)) } else { ("sort", (rows * parts).div_ceil(64)) };
        let run = if in_groups { parts } else { run };
        Ok(Program {
            name: format!("sort_{mode}"),
            source: shader.render(file)?,
            operands: vec![source, positions.unwrap_or(Operand::ScratchWrite(target))],
            record: [rows * parts, cols, run, parts, keys.top, 0, 0, 0].map(word).to_vec(),
            grid: caps.grid(groups),
        })
    };
    let mut at = 0;
    let mut run = block;
    let mut programs = vec![make("block", words, at, block, cols <= block)?];
    while run < cols {
        programs.push(make("merge", Operand::ScratchRead(at), 1 - at, run, run * 2 >= cols)?);
        (at, run) = (1 - at, run * 2);
    }
    Ok((programs, at))
}
