//! Attention and its gradient: `shaders/attention*.wgsl`.

use super::source::{Binding, check_bindings, check_loops, declare, need_f32, record_len, word};
use crate::error::{Error, Result};
use crate::gpu::math::wgsl_type;
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::graph::View;
use crate::graph::attention::{AttentionMask, AttentionPart, AttentionSizes};
use crate::plan::{Attention, Kernel, Plan, Step};

/// Rows of a workgroup's tile, and elements of rows that are in workgroup memory at a time.
const ROWS: usize = 64;
const DEPTH: usize = 16;

/// Threads of a workgroup of the plain form.
const PLAIN: usize = 8;

/// A launch: its text's file, what it is of, and how many rows of its kind there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// `[o | lse]`, for queries.
    Forward,
    /// `dq` and D, for queries.
    Queries,
    /// `dk` and `dv`, for keys.
    Keys,
}

/// Lowers an attention or its gradient.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Attention(kernel) = &step.kernel else { return Err(Error::internal("attention::lower got another kernel")) };
    let mask = kernel.op.mask_operand();
    let floats: Vec<usize> =
        (0..step.reads.len()).filter(|&n| mask != Some(n) || kernel.op.mask == AttentionMask::Added).collect();
    need_f32(kernel.op.name(), step, plan, &floats)?;
    let passes: &[Pass] = match kernel.op.part {
        AttentionPart::Forward => &[Pass::Forward],
        AttentionPart::Gradient => &[Pass::Queries, Pass::Keys],
    };
    let programs = passes.iter().map(|&pass| launch(kernel, pass, step, plan, caps)).collect::<Result<_>>()?;
    let scratch = match kernel.op.part {
        AttentionPart::Forward => vec![],
        AttentionPart::Gradient => vec![4 * kernel.sizes.rows() as u64],
    };
    Ok(Lowered { programs, scratch })
}

fn launch(kernel: &Attention, pass: Pass, step: &Step, plan: &Plan, caps: &Caps) -> Result<Program> {
    let n = kernel.sizes;
    let wide = is_wide(kernel);
    let bindings = bindings(kernel, pass, wide, step, plan);
    check_bindings(bindings.len(), caps, step)?;
    let tiled = !caps.software && caps.max_invocations >= 256;
    let (heads, rows) = match pass {
        Pass::Forward | Pass::Queries => (n.batch * n.heads, n.queries),
        Pass::Keys => (n.batch * n.key_heads, n.keys),
    };
    let count = if tiled { heads * rows.div_ceil(ROWS) } else { heads * rows };
    let record = record(kernel, count);
    let (hidden, added) = match kernel.op.mask {
        AttentionMask::None => ("", ""),
        AttentionMask::Bool => (" | (mask[at] == 0u)", ""),
        AttentionMask::Added => ("", " + mask[at]"),
    };
    let shader = Shader::new()
        .set("RECORD", record_len(record.len()))
        .set("BINDINGS", declarations(&bindings))
        .set("WIDE", usize::from(wide))
        .set("CAUSAL", kernel.op.causal)
        .set("MASK", if kernel.op.mask == AttentionMask::None { "none" } else { "any" })
        .set("HIDDEN_MASK", hidden)
        .set("ADDED", added)
        .set("SHORT", usize::from(caps.short_texts()));
    let ending = match pass {
        Pass::Forward => "",
        Pass::Queries => "_grad_q",
        Pass::Keys => "_grad_kv",
    };
    let (source, grid, kind) = if tiled {
        (tile(n, pass).fill(shader).render(&format!("attention{ending}"))?, count, "")
    } else {
        let work = (n.width + n.value_width).div_ceil(2) + 2;
        let rows = if pass == Pass::Keys { n.group() * n.queries } else { n.keys };
        check_loops(kernel.op.name(), rows.saturating_mul(work), caps)?;
        (plain(shader, n, pass)?, count.div_ceil(PLAIN), "_plain")
    };
    let operands = bindings.iter().map(|b| b.operand).collect();
    Ok(Program { name: format!("attention{ending}{kind}"), source, operands, record, grid: caps.grid(grid) })
}

/// The text of the plain form.
fn plain(shader: Shader, n: AttentionSizes, pass: Pass) -> Result<String> {
    let [d, e] = [n.width, n.value_width].map(|n| n.div_ceil(4));
    let part = match pass {
        Pass::Forward => "forward",
        Pass::Queries => "queries",
        Pass::Keys => "keys",
    };
    let shader = shader.set("PART", part).set("LANES", PLAIN).set("D_FOURS", d).set("E_FOURS", e);
    shader.set("Y_FOURS", if pass == Pass::Queries { d } else { e }).render("attention_plain")
}

/// How a workgroup is made up.
struct Tile {
    /// Threads along the columns; there are 16 along the rows.
    across: usize,
    /// Fours of columns of a thread.
    fours: usize,
    /// Rows that are multiplied by weights at a time.
    steps: usize,
    sizes: AttentionSizes,
}

/// The tile of a launch: as large as 128 registers allow with all its sums. The gradient by keys and values has four of them.
fn tile(sizes: AttentionSizes, pass: Pass) -> Tile {
    let widest = sizes.width.max(sizes.value_width);
    let across = if widest > 64 || (pass == Pass::Keys && widest > 32) { 16 } else { 8 };
    let fours = if pass == Pass::Forward && widest <= 64 { 2 } else { 1 };
    Tile { across, fours, steps: if widest > 64 { 8 } else { 16 }, sizes }
}

impl Tile {
    fn fill(&self, shader: Shader) -> Shader {
        let Self { across, fours, steps, sizes } = *self;
        let lanes = 16 * across;
        let columns = 4 * across * fours;
        // Fours of a thread, elements of a line in workgroup memory, fours of a line, loads of a thread, whether some are in excess.
        let side = |width: usize| {
            let fours = width.div_ceil(4 * across);
            let line = fours * across;
            [fours, 4 * line, line, (steps * line).div_ceil(lanes), usize::from(!(steps * line).is_multiple_of(lanes))]
        };
        let (d, e) = (side(sizes.width), side(sizes.value_width));
        let scores = DEPTH * (ROWS + 4 + columns + 4);
        let weights = 32 * (ROWS + 4) + steps * (d[1].max(e[1]) + 4);
        let mut shader = shader
            .set("TX", across)
            .set("FOURS", fours)
            .set("COLUMNS", columns)
            .set("LANES", lanes)
            .set("LINES", lanes / 4)
            .set("BLOCKS", across / 8)
            .set("DEPTH", DEPTH)
            .set("STEPS", steps)
            .set("A_LOADS", ROWS * 4 / lanes)
            .set("B_LOADS", columns * 4 / lanes)
            .set("MEMORY", scores.max(weights).max(ROWS * across));
        for (side, [fours, width, line, loads, some]) in [("D", d), ("O", e)] {
            shader = shader
                .set(&format!("{side}_FOURS"), fours)
                .set(&format!("{side}_WIDTH"), width)
                .set(&format!("{side}_LINE"), line)
                .set(&format!("{side}_LOADS"), loads)
                .set(&format!("{side}_SOME"), some);
        }
        shader
    }
}

/// Whether all rows can be read as `vec4`.
fn is_wide(kernel: &Attention) -> bool {
    let aligned = |view: &View| {
        let strides = view.strides().iter().zip(view.shape.iter()).take(3);
        view.offset % 4 == 0
            && view.shape[3].is_multiple_of(4)
            && strides.into_iter().all(|(&step, &len)| len == 1 || step % 4 == 0)
    };
    [0, 1, 2].into_iter().chain((kernel.op.part == AttentionPart::Gradient).then_some(4)).all(|n| aligned(&kernel.operands[n]))
}

fn bindings(kernel: &Attention, pass: Pass, wide: bool, step: &Step, plan: &Plan) -> Vec<Binding> {
    let rows = if wide { "vec4<f32>" } else { "f32" };
    let mut found: Vec<Binding> = [0, 1, 2].map(|n| Binding::new(Operand::Read(n), &format!("b{n}"), rows)).into();
    if pass != Pass::Forward {
        found.push(Binding::new(Operand::Read(3), "b3", "f32"));
        found.push(Binding::new(Operand::Read(4), "b4", rows));
    }
    if let Some(n) = kernel.op.mask_operand() {
        found.push(Binding::new(Operand::Read(n), "mask", wgsl_type(plan.buffers[step.reads[n]].dtype)));
    }
    found.push(Binding::new(Operand::Write, "out", "f32"));
    match pass {
        Pass::Forward => {}
        Pass::Queries => found.push(Binding::new(Operand::ScratchWrite(0), "dots", "f32")),
        Pass::Keys => found.push(Binding::new(Operand::ScratchRead(0), "dots", "f32")),
    }
    found
}

/// The declarations of the storage bindings; that of the record is in the text.
fn declarations(bindings: &[Binding]) -> String {
    let all = declare(4, bindings);
    all.split_once('\n').map_or(String::new(), |(_, rest)| rest.trim_end().to_owned())
}

/// The record: sizes, the launch, and how operands are read.
#[allow(clippy::cast_possible_truncation, reason = "sizes were checked to fit 32 bits; scores are f32")]
fn record(kernel: &Attention, count: usize) -> Vec<Word> {
    let n = kernel.sizes;
    let stride = |value: i64| Word::U32(value as u32);
    let flat = kernel.operands.get(3).filter(|_| kernel.op.part == AttentionPart::Gradient).map_or(0, |view| view.offset);
    let mut record = [n.batch, n.heads, n.key_heads, n.queries, n.keys, n.width, n.value_width].map(word).to_vec();
    record.push(Word::U32((kernel.op.factor() as f32).to_bits()));
    record.extend([word(count), word(n.rows() * n.value_width), stride(flat), word(0)]);
    let rows = |view: &View| [view.strides()[0], view.strides()[1], view.strides()[2], view.offset].map(stride);
    for operand in [0, 1, 2, 4] {
        let view = kernel.operands.get(operand).filter(|_| operand < 3 || kernel.op.part == AttentionPart::Gradient);
        record.extend(view.map_or([word(0); 4], rows));
    }
    let mask = kernel.op.mask_operand().map(|n| &kernel.operands[n]);
    record.extend(mask.map_or([word(0); 4], |view| [0, 1, 2, 3].map(|d| stride(view.strides()[d]))));
    record.extend([stride(mask.map_or(0, |view| view.offset)), word(0), word(0), word(0)]);
    let to_k = n.rows() * n.width;
    record.extend([word(to_k), word(to_k + n.key_rows() * n.width), word(0), word(0)]);
    record
}
