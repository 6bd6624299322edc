//! How workgroups share reductions on devices with real workgroup memory: neighbouring threads take what is adjacent in memory,
//! several take the values of one output, and their results meet in a tree.

use super::source::entry;
use crate::gpu::program::Caps;
use crate::plan::{Expr, Term};
use std::fmt::Write;
use std::ops::Range;

/// Threads of a workgroup.
pub(crate) const TREE: u32 = 256;

/// Threads that fill a large GPU: an H100 holds 270,000.
pub(crate) const FULL: usize = 262_144;

/// From this many values on, a reduction takes longer than a second launch, and gets as many threads as the GPU holds.
const LARGE: usize = 1 << 20;

/// Values that a thread takes at least where a reduction is small.
pub(crate) const EACH: usize = 16;

/// The most parts of an output.
pub(crate) const PARTS: usize = 1024;

/// How the threads of workgroups share a reduction. Each has at least one value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// Threads that share an output of a workgroup: a power of two.
    pub rows: usize,
    /// Outputs of a workgroup.
    pub columns: usize,
    /// Whether neighbouring threads take neighbouring outputs, rather than neighbouring values of one.
    pub across: bool,
}

impl Form {
    /// For outputs of `length` values, with the number of parts: so many threads that they fill the GPU, as far as each of them
    /// has something to do: `least` values in small reductions.
    pub fn of(outputs: usize, length: usize, across: bool, least: usize) -> (Self, usize) {
        let total = outputs.saturating_mul(length);
        let each = if total < LARGE { least } else { (total / FULL).clamp(8, 64) };
        let form = Self::new(outputs, length, each, across);
        let wanted = FULL.div_ceil(form.groups(outputs).max(1) * TREE as usize);
        (form, wanted.min(length.div_ceil(form.rows * each)).clamp(1, PARTS))
    }

    /// For the results of parts: part p of output i at `p * outputs + i`.
    pub fn last(outputs: usize, parts: usize) -> Self {
        Self::new(outputs, parts, 4, true)
    }

    /// A thread takes about `each` of `length` values.
    fn new(outputs: usize, length: usize, each: usize, across: bool) -> Self {
        // 32 neighbouring outputs are a whole line of memory.
        let narrow = if across { outputs.next_power_of_two().min(32) } else { 1 };
        let rows = length.div_ceil(each).max(1).next_power_of_two().min(TREE as usize / narrow);
        Self { rows, columns: TREE as usize / rows, across }
    }

    /// Workgroups that compute all outputs.
    pub fn groups(self, outputs: usize) -> usize {
        outputs.div_ceil(self.columns)
    }

    /// The head of an entry point over `params[0].x` outputs, in `params[0].z` parts if `parted`. It declares `part`; `row` of `rows`,
    /// this thread among those that share an output; and the output `i`, which for threads past the end is the last one, so that
    /// all of them meet at the barriers: `n` is their own.
    pub fn head(self, parted: bool) -> String {
        let Self { rows, columns, across } = self;
        let mut text = entry(TREE);
        let (part, parts) = if parted { ("wg / groups", "params[0].z") } else { ("0u", "1u") };
        let (column, row) = match across {
            true => (format!("lid % {columns}u"), format!("lid / {columns}u")),
            false => (format!("lid / {rows}u"), format!("lid % {rows}u")),
        };
        let _ = writeln!(text, "    let groups = (params[0].x + {}u) / {columns}u;", columns - 1);
        let _ = writeln!(text, "    if (wg >= groups * {parts}) {{\n        return;\n    }}");
        let _ = writeln!(text, "    let part = {part};\n    let row = {row};\n    let n = wg % groups * {columns}u + {column};");
        let _ = writeln!(text, "    let i = min(n, params[0].x - 1u);");
        text
    }

    /// Code by which row 0 gets what all rows have: `combine` names two threads' indices and joins the second's into the first's.
    /// Then all threads leave but those with a result to write.
    pub fn tree(self, combine: impl Fn(&str, &str) -> String) -> String {
        let stride = if self.across { self.columns } else { 1 };
        let mut text = String::new();
        if self.rows > 1 {
            text.push_str("    workgroupBarrier();\n");
        }
        let mut half = self.rows / 2;
        while half > 0 {
            let _ = writeln!(text, "    if (row < {half}u) {{");
            text.push_str(&combine("lid", &format!("lid + {}u", half * stride)));
            let _ = writeln!(text, "    }}\n    workgroupBarrier();");
            half /= 2;
        }
        text.push_str("    if (row > 0u || n >= params[0].x) {\n        return;\n    }\n");
        text
    }
}

/// Whether a device shares reductions so.
pub(crate) fn suit(caps: &Caps) -> bool {
    !caps.software && caps.max_invocations >= TREE
}

/// Whether neighbouring outputs are nearer to each other in memory than neighbouring values: whichever costs fewer sectors of
/// eight words, all operands together.
pub(crate) fn across(value: &Expr, kept: usize) -> bool {
    let shape = value.shape;
    let inner = |mut axes: Range<usize>| axes.rfind(|&d| shape[d] != 1);
    let Some(reduced) = inner(kept..shape.rank()) else { return true };
    let Some(kept) = inner(0..kept) else { return false };
    let (mut across, mut along) = (0usize, 0usize);
    for (term, _) in &value.terms {
        let Term::Load { view, .. } = term else { continue };
        let strides = view.strides();
        let elements = (0..shape.rank()).filter(|&d| strides[d] != 0).map(|d| shape[d]).fold(1, usize::saturating_mul);
        let cost = |d: usize| elements.saturating_mul(usize::try_from(strides[d].unsigned_abs()).unwrap_or(8).min(8));
        (across, along) = (across.saturating_add(cost(kept)), along.saturating_add(cost(reduced)));
    }
    across < along
}
