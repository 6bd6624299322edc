//! What a kernel becomes on the GPU, as plain data: WGSL text, what it binds, how large the launch is.
//!
//! Conventions of every program:
//! - entry point `main`; bind group 0; binding 0 is the uniform record, `params: array<vec4<u32>, R>`, whose words are
//!   [`Program::record`] (word k is `params[k / 4][k % 4]`; f32 words are bitcast);
//! - bindings 1.. are storage buffers in the order of [`Program::operands`]; the step's read k is named `b{k}` and is
//!   `array<f32>` (`i32`, `u32` by dtype), the written buffer is `out`; other views of the same memory (say `array<vec4<f32>>`)
//!   are extra operands with names of their own;
//! - grids are folded: the linear workgroup index is `wid.x + wid.y * num_workgroups.x`, and excess workgroups return.

use crate::dtype::DType;
use crate::graph::op::BinaryOp;
use crate::plan::expr::{Expr, Term};

/// One word of a program's uniform record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    /// Known when the plan is compiled.
    U32(u32),
    /// The graph's scalar `slot`, rounded to the dtype, as bits.
    Scalar {
        /// Position among the graph's scalars.
        slot: usize,
        /// The dtype it is rounded to.
        dtype: DType,
    },
    /// A word of the graph's random key `slot`: 0 and 1 are the key, 2 is the offset.
    Random {
        /// Position among the graph's random keys.
        slot: usize,
        /// 0, 1 or 2.
        word: usize,
    },
}

/// A buffer that a program binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    /// The step's read k, read-only.
    Read(usize),
    /// The step's written buffer, read-write.
    Write,
    /// The same, read-only, for the programs after the one that writes it.
    Written,
    /// The moments of the step's result, read-write.
    Moments,
    /// The step's further result number n, read-write.
    Further(usize),
    /// Scratch memory number n of the step, read-only.
    ScratchRead(usize),
    /// Scratch memory number n of the step, read-write.
    ScratchWrite(usize),
    /// An arena of an optimizer store.
    Arena(Arena),
}

/// The memory of an optimizer store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arena {
    /// Table of blocks, read-only: see `shaders/common/optim.wgsl`.
    Blocks,
    /// Per-entry coefficients, read-only.
    Coefficients,
    /// Parameters, read-write.
    Parameters,
    /// Gradients, read-only.
    Gradients,
    /// State number n, read-write.
    State(usize),
}

impl Operand {
    /// Whether the binding is read-only.
    pub const fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::Read(_)
                | Self::Written
                | Self::ScratchRead(_)
                | Self::Arena(Arena::Blocks | Arena::Coefficients | Arena::Gradients)
        )
    }
}

/// One compute dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// A short name for profiles, such as `matmul_nn_4x8`.
    pub name: String,
    /// The whole WGSL text. Equal texts share a pipeline.
    pub source: String,
    /// What bindings 1.. hold, in order.
    pub operands: Vec<Operand>,
    /// The uniform record.
    pub record: Vec<Word>,
    /// Workgroups, each at most the device's limit.
    pub grid: [u32; 3],
}

impl Program {
    /// The same work in about `launches` launches, one after the other, each over workgroups of its own; unchanged if it has too
    /// few of them. Workgroups do not know of one another, so the results are the same bit for bit.
    #[allow(clippy::cast_possible_truncation, reason = "at most the limit of a grid, which has 32 bits")]
    pub fn pieces(self, launches: usize, caps: &Caps) -> Vec<Self> {
        let [x, y, z] = self.grid.map(|n| n as usize);
        // Without a second row, no workgroup is in excess.
        let each = (x * y).div_ceil(launches.max(1)).min(caps.max_grid as usize);
        if launches < 2 || z != 1 || each >= x * y {
            return vec![self];
        }
        let Some(source) = self.text_with_first() else { return vec![self] };
        let piece = |first: usize| {
            let record = self.record.iter().copied().chain([Word::U32(first as u32)]).collect();
            let grid = [each.min(x * y - first) as u32, 1, 1];
            Self { name: self.name.clone(), source: source.clone(), operands: self.operands.clone(), record, grid }
        };
        (0..x * y).step_by(each).map(piece).collect()
    }

    /// The text, with a further word in its record that is added to the index of a workgroup.
    fn text_with_first(&self) -> Option<String> {
        const RECORD: &str = "params: array<vec4<u32>, ";
        let word = self.record.len();
        let first = format!(" + params[{}][{}];", word / 4, word % 4);
        let (head, rest) = self.source.split_once(RECORD)?;
        let (vectors, rest) = rest.split_once('>')?;
        let vectors = vectors.parse::<usize>().ok()?.max(word / 4 + 1);
        let text = format!("{head}{RECORD}{vectors}>{rest}");
        LINEAR.iter().find_map(|index| {
            let (before, after) = text.split_once(index)?;
            Some(format!("{before}{}{first}{after}", index.trim_end_matches(';')))
        })
    }
}

/// How texts find the linear index of a workgroup: each in one place.
const LINEAR: [&str; 2] = ["return wid.x + wid.y * groups.x;", "let wg = wid.x + wid.y * nwg.x;"];

/// A step's programs, in order, and the scratch memory they share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lowered {
    /// Dispatches; usually one.
    pub programs: Vec<Program>,
    /// Bytes of each scratch buffer.
    pub scratch: Vec<u64>,
}

#[cfg(test)]
impl Lowered {
    /// What a driver makes of it that refuses it, or that miscompiles it so that nothing is written.
    pub fn with_fault(mut self, fault: Option<super::forms::Fault>) -> Self {
        for program in &mut self.programs {
            program.source = match fault {
                Some(fault) if fault.refused => "refused".into(),
                Some(_) => program.source.replacen(") {\n    let", ") {\n    if (true) { return; }\n    let", 1),
                None => continue,
            };
        }
        self
    }
}

/// What kernel choice may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Runs on the host's cores (lavapipe, SwiftShader, WARP): avoid workgroup memory and barriers.
    pub software: bool,
    /// Multiply-adds that a kernel may unroll into text: compile time grows in proportion, on SwiftShader with the square.
    pub unrolled: usize,
    /// Most workgroups along a grid dimension.
    pub max_grid: u32,
    /// Most storage buffers a program may bind.
    pub max_storage_buffers: u32,
    /// Most bytes one binding may span.
    pub max_binding: u64,
    /// Most invocations in a workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
}

/// The usual bound on unrolled text.
pub(crate) const UNROLLED: usize = 340;

/// Multiply-adds in copies of an expression, in short texts.
const COPIED_IN_SHORT: usize = 256;

/// The bound for compilers that are slow with long texts, or refuse them.
const UNROLLED_IN_SHORT: usize = 32;

impl Caps {
    /// The same device with short texts, for compilers that are slow with long ones or refuse them: SwiftShader's, and FXC.
    pub const fn with_short_texts(self) -> Self {
        Self { unrolled: UNROLLED_IN_SHORT, ..self }
    }

    /// Whether texts are short. Arrays are then declared outside loops, where WGSL would have each declaration write zeros: FXC takes
    /// minutes over those, or gives up (X3511).
    pub const fn short_texts(&self) -> bool {
        self.unrolled < UNROLLED
    }

    /// Whether a text may contain this many copies of an expression.
    pub fn copies(&self, copies: usize, expr: &Expr) -> bool {
        !self.short_texts() || copies * multiply_adds(expr) <= COPIED_IN_SHORT
    }

    /// WebGPU's defaults, which every adapter offers; `software` as given.
    #[cfg(test)]
    pub const fn webgpu_defaults(software: bool) -> Self {
        Self {
            software,
            unrolled: UNROLLED,
            max_grid: 65_535,
            max_storage_buffers: 8,
            max_binding: 128 << 20,
            max_invocations: 256,
            workgroup_memory: 16 << 10,
        }
    }

    /// A grid of at least `workgroups` workgroups, folded into two dimensions.
    #[allow(clippy::cast_possible_truncation, reason = "at most the limit of a grid, which has 32 bits")]
    pub fn grid(&self, workgroups: usize) -> [u32; 3] {
        let max = self.max_grid as usize;
        let rows = workgroups.div_ceil(max).max(1);
        let cols = workgroups.div_ceil(rows).max(1);
        [cols.min(max) as u32, rows.min(max) as u32, 1]
    }
}

/// WGSL for an expression, and the record words it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExprCode {
    /// `fn NAME(i: u32, acc: T) -> T { ... }`: the expression at linear index i of its shape.
    pub function: String,
    /// Words to append to the record, starting at the `first_word` that was given to the emitter.
    pub words: Vec<Word>,
}

/// About the multiply-adds in an expression's text, those of the functions that it calls included; one for anything else.
fn multiply_adds(expr: &Expr) -> usize {
    let of = |(term, _): &(Term, DType)| match term {
        Term::Unary(op, _) if op.cost() > 1 => 24,
        Term::Binary(BinaryOp::Pow, ..) => 40,
        Term::Binary(BinaryOp::Atan2 | BinaryOp::Rem, ..) | Term::Random { .. } => 24,
        _ => 1,
    };
    expr.terms.iter().map(of).sum()
}

/// The operands that an expression loads, ascending.
pub(crate) fn loaded(expr: &Expr) -> Vec<usize> {
    let mut operands: Vec<usize> = expr
        .terms
        .iter()
        .filter_map(|(t, _)| match t {
            Term::Load { operand, .. } => Some(*operand),
            _ => None,
        })
        .collect();
    operands.sort_unstable();
    operands.dedup();
    operands
}
