//! Elementwise steps that transpose: an operand whose neighbours in memory are far apart in the result passes through tiles in
//! workgroup memory, so that both reads and writes are of whole lines. One element per thread and turn, four turns. Traffic: each
//! loaded element and each result once.

use super::groups::TREE;
use super::source::{Binding, check_bindings, declare, entry, size_word};
use crate::error::Result;
use crate::gpu::expr::{Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type, zero};
use crate::gpu::program::{Caps, Operand, Program, Word, loaded};
use crate::graph::View;
use crate::plan::{Expr, Plan, Step, Term};
use std::fmt::Write;

/// Elements along the sides of a tile; rows in workgroup memory are one longer, so that a column is in as many banks.
const SIDE: usize = 32;

/// The most operands that pass through tiles: they fit WebGPU's least workgroup memory.
const MOST: usize = 3;

/// Axes shorter than this leave most of a tile empty.
const SHORT: usize = 16;

/// Strides below this one are read well enough as they are.
const FAR: u64 = 8;

/// The result as `[outer, rows, cols]`, where cols are neighbours in the result and rows in the operands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tiles {
    outer: usize,
    rows: usize,
    cols: usize,
    /// The operands that pass through tiles, with their views.
    operands: Vec<(usize, View)>,
}

impl Tiles {
    /// How an expression transposes, if it does: operands of one step that do so in different ways count as the first one does.
    pub fn of(expr: &Expr, step: &Step, plan: &Plan) -> Option<Self> {
        let mut found: Option<Self> = None;
        for operand in loaded(expr) {
            // Four bytes are an element.
            let Some(view) = only_view(expr, operand).filter(|_| plan.buffers[step.reads[operand]].dtype.per_word() == 1) else {
                continue;
            };
            let Some([outer, rows, cols]) = sides(&view) else { continue };
            let tiles = found.get_or_insert(Self { outer, rows, cols, operands: Vec::new() });
            if (tiles.rows, tiles.cols) == (rows, cols) && tiles.operands.len() < MOST {
                tiles.operands.push((operand, view));
            }
        }
        found
    }

    /// Whether tiles are full enough to pay.
    pub fn pay(&self) -> bool {
        self.rows >= SHORT && self.cols >= SHORT
    }

    /// The result's sides: outer, rows, cols.
    #[cfg(test)]
    pub fn sides(&self) -> [usize; 3] {
        [self.outer, self.rows, self.cols]
    }

    /// The program of a step that overwrites none of these operands in place.
    pub fn program(
        &self,
        expr: &Expr,
        step: &Step,
        plan: &Plan,
        written: usize,
        in_place: Option<usize>,
        caps: &Caps,
    ) -> Result<Program> {
        let [across, down] = [self.cols, self.rows].map(|n| n.div_ceil(SIDE));
        let workgroups = across * down * self.outer;
        let mut record =
            [workgroups, self.cols, self.rows].into_iter().map(|n| size_word(n).map(Word::U32)).collect::<Result<Vec<_>>>()?;
        let given: Vec<usize> = self.operands.iter().map(|&(k, _)| k).collect();
        let code = emit_at("value", expr, record.len(), Site { given: &given, in_place, ..Site::default() });
        record.extend(code.words);
        let (mut memory, mut functions, mut loads, mut arguments) = (String::new(), code.function, String::new(), String::new());
        for &(k, view) in &self.operands {
            let mut index = Expr::new(expr.shape);
            index.push(Term::Index { view }, crate::dtype::DType::U32);
            let code = emit_at(&format!("at{k}"), &index, record.len(), Site::default());
            record.extend(code.words);
            functions.push_str(&code.function);
            let element = wgsl_type(plan.buffers[step.reads[k]].dtype);
            let _ = writeln!(memory, "var<workgroup> tile{k}: array<{element}, {}>;", SIDE * (SIDE + 1));
            let _ = writeln!(loads, "            tile{k}[turn * {}u + fast] = b{k}[at{k}(i, 0u)];", SIDE + 1);
            let _ = write!(arguments, ", tile{k}[fast * {}u + turn]", SIDE + 1);
        }
        let dtype = plan.buffers[written].dtype;
        let reads = loaded(expr).into_iter().filter(|k| Some(*k) != in_place);
        let mut bindings: Vec<Binding> = reads.map(|k| Binding::read(k, step, plan)).collect();
        bindings.push(Binding::new(Operand::Write, "out", wgsl_type(dtype)));
        check_bindings(bindings.len(), caps, step)?;
        let turns = format!("    for (var turn = slow; turn < {SIDE}u; turn += {}u) {{\n", TREE as usize / SIDE);
        let body = format!(
            "    if (wg >= params[0].x) {{
        return;
    }}
    let cols = params[0].y;
    let rows = params[0].z;
    let across = (cols + {last}u) / {SIDE}u;
    let down = (rows + {last}u) / {SIDE}u;
    let first_col = wg % across * {SIDE}u;
    let first_row = wg / across % down * {SIDE}u;
    let first = wg / across / down * rows * cols;
    let fast = lid % {SIDE}u;
    let slow = lid / {SIDE}u;
{turns}        let row = first_row + fast;
        let col = first_col + turn;
        if (row < rows && col < cols) {{
            let i = first + row * cols + col;
{loads}        }}
    }}
    workgroupBarrier();
{turns}        let row = first_row + turn;
        let col = first_col + fast;
        if (row < rows && col < cols) {{
            let i = first + row * cols + col;
            out[i] = value(i, {}{arguments});
        }}
    }}
}}
",
            zero(expr.dtype()),
            last = SIDE - 1,
        );
        let source =
            format!("{}{}{memory}{functions}{}{body}", declare(record.len(), &bindings), snippets(&[expr], &[]), entry(TREE));
        Ok(Program {
            name: "elementwise_tiled".into(),
            source,
            operands: bindings.iter().map(|b| b.operand).collect(),
            record,
            grid: caps.grid(workgroups),
        })
    }
}

/// The view of all loads of an operand, if they have one in common.
fn only_view(expr: &Expr, operand: usize) -> Option<View> {
    let mut views = expr.terms.iter().filter_map(|(t, _)| match t {
        Term::Load { operand: o, view } if *o == operand => Some(*view),
        _ => None,
    });
    let view = views.next()?;
    views.all(|v| v == view).then_some(view)
}

/// A view's shape as `[outer, rows, cols]`, if its last axis is far apart in memory and rows are adjacent.
fn sides(view: &View) -> Option<[usize; 3]> {
    let axes: Vec<usize> = (0..view.shape.rank()).filter(|&d| view.shape[d] != 1).collect();
    let strides = view.strides();
    let (&last, others) = axes.split_last()?;
    if view.mask().is_some() || view.shape.numel() == 0 || strides[last].unsigned_abs() < FAR {
        return None;
    }
    let end = others.iter().position(|&d| strides[d] == 1)?;
    let mut start = end;
    while start > 0 && strides[axes[start - 1]] == strides[axes[start]].wrapping_mul(view.shape[axes[start]] as i64) {
        start -= 1;
    }
    let product = |axes: &[usize]| axes.iter().map(|&d| view.shape[d]).product();
    Some([product(&axes[..start]), product(&axes[start..=end]), product(&axes[end + 1..])])
}
