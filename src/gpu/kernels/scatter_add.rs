//! Sums of rows that share an index: `shaders/scatter_add.wgsl` for few indices; else the indices are sorted and
//! `shaders/segment_sum.wgsl` adds what is adjacent.

use super::assumed::{LANES, LAUNCH, MULTIPROCESSORS};
use super::sort::{self, Keys};
use super::source::word;
use super::source::{MAX_LOOP, check_loops};
use crate::error::Result;
use crate::gpu::math::wgsl_type;
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Plan, Row, Step};

/// What the launches of a sort cost on the host's cores, in comparisons of an element of the result with an index; and what each
/// index adds. Measured on lavapipe.
const LAUNCHES: usize = 1 << 17;
const SORTED: usize = 120;

/// Instructions of a comparison on hardware; and clocks that a thread takes for each index, which it reads one after the other,
/// `LOADED` of them under way at once.
const COMPARISON: f64 = 6.0;
const INDEX: f64 = 24.0;
const LOADED: usize = 8;

/// The fewest pairs in a chunk that is summed beforehand.
const CHUNK: usize = 256;

/// Lowers a sum of rows by index.
pub(crate) fn lower(row: &Row, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let ([rows, cols], n) = (row.out, row.x[0]);
    let kind = wgsl_type(plan.buffers[step.reads[0]].dtype);
    let (kind, bytes, cols) = if cols % 4 == 0 { (format!("vec4<{kind}>"), 16, cols / 4) } else { (kind.to_string(), 4, cols) };
    let sorted = sorted(&kind, bytes, (rows, cols, n), caps)?;
    if n <= MAX_LOOP && (n <= 16 || is_searched((rows * cols, n), sorted.programs.len(), caps)) {
        return Ok(Lowered { programs: vec![search(&kind, (rows, cols, n), caps)?], scratch: vec![] });
    }
    Ok(sorted)
}

/// Whether to compare each of these elements of the result with each of `n` indices, rather than to sort in so many launches.
fn is_searched((elements, n): (usize, usize), launches: usize, caps: &Caps) -> bool {
    if caps.software {
        return elements.saturating_mul(n) <= LAUNCHES + SORTED * n;
    }
    let compared = elements as f64 * n as f64 * COMPARISON / (MULTIPROCESSORS * LANES);
    compared.max(n as f64 * INDEX) <= launches.saturating_sub(1) as f64 * LAUNCH
}

/// The indices are sorted, and what is then adjacent is added.
fn sorted(kind: &str, bytes: usize, (rows, cols, n): (usize, usize, usize), caps: &Caps) -> Result<Lowered> {
    // A row walks at most two parts of chunks and all chunks between.
    let chunk = CHUNK.max(n.isqrt());
    check_loops("scatter_add", 2 * chunk + n / chunk, caps)?;
    let chunks = if n >= 4 * chunk { n / chunk } else { 0 };
    let (mut programs, sorted) = sort::programs(Keys::clamped(rows), Operand::Read(1), (1, n), None, caps)?;
    let pairs = Operand::ScratchRead(sorted);
    let mut stage = |mode: &str, threads: usize, operands: Vec<Operand>| -> Result<()> {
        let shader = Shader::new().set("MODE", mode).set("TYPE", kind).set("CHUNK", chunk);
        programs.push(Program {
            name: format!("segment_{mode}"),
            source: shader.set("CHUNKED", usize::from(chunks > 0)).render("segment_sum")?,
            operands,
            record: [threads, cols, n, 0].map(word).to_vec(),
            grid: caps.grid(threads.div_ceil(64)),
        });
        Ok(())
    };
    let mut scratch = vec![(n * 8) as u64, (n * 8) as u64, ((rows + 1) * 4) as u64];
    stage("starts", rows + 1, vec![pairs, Operand::ScratchWrite(2)])?;
    let mut operands = vec![pairs, Operand::Read(0), Operand::Write, Operand::ScratchRead(2)];
    if chunks > 0 {
        stage("chunks", chunks * cols, vec![pairs, Operand::Read(0), Operand::ScratchWrite(3)])?;
        operands.push(Operand::ScratchRead(3));
        scratch.push((chunks * cols * bytes) as u64);
    }
    stage("rows", rows * cols, operands)?;
    Ok(Lowered { programs, scratch })
}

/// Every element of the result looks at every index.
fn search(kind: &str, (rows, cols, n): (usize, usize, usize), caps: &Caps) -> Result<Program> {
    Ok(Program {
        name: "scatter_add".into(),
        source: Shader::new().set("TYPE", kind).set("LOADED", if caps.software { 1 } else { LOADED }).render("scatter_add")?,
        operands: vec![Operand::Read(0), Operand::Read(1), Operand::Write],
        record: [rows * cols, rows, cols, n].map(word).to_vec(),
        grid: caps.grid((rows * cols).div_ceil(64)),
    })
}
