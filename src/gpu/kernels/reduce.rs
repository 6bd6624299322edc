//! `out[i] = epilogue(i, reduce over j of value(i, j))`, or two results of each i in one pass, deterministic, without atomics.
//!
//! On a software adapter, one thread per output, or one per part of an output with a second program over the parts. On devices
//! with real workgroup memory, the threads of a workgroup share its outputs' values, neighbouring threads take what is adjacent
//! in memory, and a tree adds up; large reductions have parts there, too. Where memory order allows, a thread takes four values
//! or four outputs at once. Traffic: each loaded element once, plus the partial results.

mod state;

use super::groups::{self, Form};
use super::source::{Binding, MAX_LOOP, check_bindings, declare, entry, loops, size_word, word, written};
use super::vector::{self, VectorLoads, VectorOperand};
use crate::error::{Error, Result};
use crate::gpu::expr::{self, Site, emit_at};
use crate::gpu::math::{snippets, wgsl_type};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word, loaded};
use crate::plan::{Expr, Further, Kernel, Plan, Step};
use state::{Lanes, Stage, State};
use std::fmt::Write;
use std::ops::Range;

const WORKGROUP: u32 = 64;

/// What computes one result, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// A thread.
    Thread,
    /// Threads of a workgroup, through workgroup memory.
    Workgroup,
}

/// What the lab times and tests force.
#[cfg(any(test, feature = "lab"))]
pub(crate) const FORCED: &[Variant] = &[Variant::Thread, Variant::Workgroup];

/// The programs of a reduction step.
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let lowering = Lowering::new(step, plan, caps)?;
    // With so many outputs, threads that take four of them fill the GPU.
    let many = || lowering.outputs / 4 >= groups::FULL && lowering.down().is_some();
    let shared = groups::suit(caps) && !many();
    lowering.programs(if shared { Variant::Workgroup } else { Variant::Thread })
}

/// Lowers with a given variant.
#[cfg(any(test, feature = "lab"))]
pub(crate) fn lower_with(step: &Step, plan: &Plan, caps: &Caps, variant: Variant) -> Result<Lowered> {
    Lowering::new(step, plan, caps)?.programs(variant)
}

/// The programs of a reduction of what another step writes, for that step; `None` where they cannot add up its parts.
pub(super) fn lower_joined(step: &Step, plan: &Plan, caps: &Caps, joined: Joined) -> Result<Option<Lowered>> {
    let lowering = Lowering { joined: Some(joined), ..Lowering::new(step, plan, caps)? };
    let variant = if groups::suit(caps) { Variant::Workgroup } else { Variant::Thread };
    let suits = joined.parts.is_none() || variant == Variant::Workgroup && lowering.meets_each_once();
    if suits { lowering.programs(variant).map(Some) } else { Ok(None) }
}

/// A reduction to pairs whose operand 0 is the result of the step that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// The step's scratch buffers before those of the reduction.
    pub scratch: usize,
    /// What the result is to be added up of, if it is not there yet.
    pub parts: Option<Parts>,
}

/// Parts of a result, one after the other in a scratch buffer of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// The buffer's number.
    pub scratch: usize,
    /// How many there are.
    pub splits: usize,
}

/// How a program's work is laid out.
#[derive(Clone, Copy)]
enum Layout {
    /// A thread per unit.
    Threads,
    /// Workgroups.
    Groups(Form),
}

struct Lowering<'a> {
    state: State,
    value: &'a Expr,
    kept: usize,
    /// What one value becomes in the end; two are written as they are.
    epilogue: Option<&'a Expr>,
    step: &'a Step,
    plan: &'a Plan,
    caps: &'a Caps,
    outputs: usize,
    length: usize,
    joined: Option<Joined>,
}

impl<'a> Lowering<'a> {
    fn new(step: &'a Step, plan: &'a Plan, caps: &'a Caps) -> Result<Self> {
        let (state, value, kept, epilogue) = match &step.kernel {
            Kernel::Reduce { op, value, kept, epilogue } => (State::One(*op, value.dtype()), value, *kept, Some(epilogue)),
            Kernel::Pair { op, value, kept, .. } => (State::Two(*op), value, *kept, None),
            _ => return Err(Error::internal("reduce::lower was given another kernel")),
        };
        let outputs = value.shape[..kept].iter().product();
        let length = value.shape[kept..].iter().product();
        Ok(Self { state, value, kept, epilogue, step, plan, caps, outputs, length, joined: None })
    }

    /// The operands that four neighbours along `axes` load together. What the epilogue reads too is bound as scalars.
    fn vectors(&self, axes: Range<usize>) -> Vec<VectorOperand> {
        let finish = self.epilogue.map(loaded).unwrap_or_default();
        vector::operands(self.value, &axes).into_iter().filter(|v| !finish.contains(&v.operand)).collect()
    }

    /// Four lanes are four copies to compile.
    fn four(&self) -> bool {
        4 * self.value.terms.len() <= self.caps.unrolled && self.caps.copies(8, self.value)
    }

    /// Where neighbouring outputs are neighbours in memory, a thread walks down four of them together: what it loads that way.
    fn down(&self) -> Option<Vec<VectorOperand>> {
        let across = self.vectors(0..self.kept);
        let fits = self.four() && self.outputs.is_multiple_of(4) && self.outputs > 0 && vector::pays_in_full(&across, self.value);
        fits.then_some(across)
    }

    fn programs(&self, variant: Variant) -> Result<Lowered> {
        let along = self.vectors(self.kept..self.value.shape.rank());
        let (lanes, vectors, length) = if self.four() && self.length.is_multiple_of(4) && vector::pays(&along) {
            (Lanes::Values, along, self.length / 4)
        } else {
            (Lanes::One, Vec::new(), self.length)
        };
        match (variant, self.down()) {
            (Variant::Thread, Some(across)) => self.by_threads(Lanes::Outputs, across, self.outputs / 4, self.length),
            (Variant::Thread, None) => self.by_threads(lanes, vectors, self.outputs, length),
            (Variant::Workgroup, _) if groups::across(self.value, self.kept) => self.by_groups(Lanes::One, &[], true),
            (Variant::Workgroup, _) => self.by_groups(lanes, &vectors, false),
        }
    }

    /// Whether workgroups would load each value of operand 0 once, as vectors, but for the first that means are relative to.
    fn meets_each_once(&self) -> bool {
        let along = self.vectors(self.kept..self.value.shape.rank());
        let (form, _) = self.form(false);
        self.value.terms.len() == 1
            && self.four()
            && self.length.is_multiple_of(4)
            && vector::pays(&along)
            && !groups::across(self.value, self.kept)
            && self.outputs.is_multiple_of(form.columns)
    }

    /// One stage if `threads` are many or `length` is short, otherwise two.
    fn by_threads(&self, lanes: Lanes, given: Vec<VectorOperand>, threads: usize, length: usize) -> Result<Lowered> {
        let (wanted, parts_at_most) = if self.caps.software { (256, 256) } else { (groups::FULL, groups::PARTS) };
        let parts = if length <= 64 { 1 } else { wanted / threads.max(1) };
        let parts = parts.clamp(1, length.div_ceil(32).clamp(1, parts_at_most));
        self.staged(parts.max(self.iterations(length).div_ceil(MAX_LOOP)), [Layout::Threads; 2], lanes, &given)
    }

    /// How workgroups share it, and in how many parts. To add up a result takes as many threads as to copy it.
    fn form(&self, across: bool) -> (Form, usize) {
        let adds = self.joined.is_some_and(|joined| joined.parts.is_some());
        Form::of(self.outputs, self.length, across, if adds { 4 } else { groups::EACH })
    }

    /// One stage if workgroups without parts fill the GPU, or the reduction is small, otherwise two.
    fn by_groups(&self, lanes: Lanes, given: &[VectorOperand], across: bool) -> Result<Lowered> {
        let (form, parts) = self.form(across);
        let parts = parts.max(self.iterations(self.length).div_ceil(form.rows * MAX_LOOP));
        self.staged(parts, [form, Form::last(self.outputs, parts)].map(Layout::Groups), lanes, given)
    }

    /// Iterations of all loops over `length` units of an output.
    fn iterations(&self, length: usize) -> usize {
        // A run of 64 costs one iteration of the outer loop too; at most four elements are evaluated in one.
        length + length / 32 + length.saturating_mul(4 * loops(self.value))
    }

    /// Two programs, or one if there is but one part.
    fn staged(&self, parts: usize, layouts: [Layout; 2], lanes: Lanes, given: &[VectorOperand]) -> Result<Lowered> {
        let [first, last] = layouts;
        if parts == 1 {
            return Ok(Lowered { programs: vec![self.program(Stage::Whole, 1, first, lanes, given)?], scratch: Vec::new() });
        }
        let programs = vec![
            self.program(Stage::Partial, parts, first, lanes, given)?,
            self.program(Stage::Final, parts, last, Lanes::One, &[])?,
        ];
        Ok(Lowered { programs, scratch: vec![(self.outputs * parts * self.state.words() * 4) as u64] })
    }

    fn program(&self, stage: Stage, parts: usize, layout: Layout, lanes: Lanes, given: &[VectorOperand]) -> Result<Program> {
        let element = wgsl_type(self.value.dtype());
        let mut operands: Vec<usize> = Vec::new();
        let length = if stage == Stage::Final { parts } else { self.length };
        let units = [
            if lanes == Lanes::Outputs { self.outputs / 4 } else { self.outputs },
            if lanes == Lanes::Values { length / 4 } else { length },
        ];
        let mut record: Vec<Word> = Vec::new();
        for n in [units[0], units[1], parts] {
            record.push(Word::U32(size_word(n)?));
        }
        record.push(Word::U32(self.state.word(size_word(self.length)?)));
        let parts_of = self.joined.and_then(|joined| joined.parts).filter(|_| stage != Stage::Final);
        let mut functions = String::new();
        let mut exprs: Vec<&Expr> = Vec::new();
        if stage == Stage::Final {
            functions.push_str(&self.state.parts(element));
        } else {
            let numbers: Vec<usize> = given.iter().map(|g| g.operand).collect();
            let site = Site { given: &numbers, split: Some(self.kept), ..Site::default() };
            let code = emit_at("value", self.value, record.len(), site);
            record.extend(code.words);
            let (i, j) = if lanes == Lanes::Outputs { ("i * 4u", "j") } else { ("i", "j * 4u") };
            let loads = VectorLoads::new(given, self.value, record.len(), Some(self.kept), i, j, None);
            record.extend(&loads.words);
            functions.push_str(&code.function);
            functions.push_str(&loads.functions);
            let values = self.state.values(lanes, element, given, &loads.lets);
            functions.push_str(&match parts_of {
                Some(of) => {
                    record.push(word(self.outputs * self.length / 4));
                    added_up(&values, of.splits, &expr::word(record.len() - 1))
                }
                None => values,
            });
            operands.extend(loaded(self.value));
            exprs.push(self.value);
        }
        if let Some(epilogue) = self.epilogue.filter(|_| stage != Stage::Partial) {
            let code = emit_at("finish", epilogue, record.len(), Site::default());
            record.extend(code.words);
            functions.push_str(&code.function);
            operands.extend(loaded(epilogue));
            exprs.push(epilogue);
        }
        let further = if stage == Stage::Partial { &[][..] } else { self.step.kernel.further() };
        for (n, Further { expr, .. }) in further.iter().enumerate() {
            let name = format!("further{n}");
            let site = Site { in_place: Some(0), output: Some(&name), ..Site::default() };
            let code = emit_at(&format!("{name}_of"), expr, record.len(), site);
            record.extend(code.words);
            functions.push_str(&code.function);
            exprs.push(expr);
        }
        let bindings = self.bindings(stage, operands, given)?;
        let main = match layout {
            Layout::Threads => thread_main(self.state, stage, lanes, further),
            Layout::Groups(form) => group_main(self.state, stage, form, lanes, element, further),
        };
        let declarations = self.state.declarations(lanes, element);
        let source = format!(
            "{}{}{declarations}{functions}{}{main}",
            declare(record.len(), &bindings),
            snippets(&exprs, self.state.snippets()),
            self.state.range(stage, lanes, element),
        );
        let parts = if stage == Stage::Partial { parts } else { 1 };
        let workgroups = match layout {
            Layout::Threads => (units[0] * parts).div_ceil(WORKGROUP as usize),
            Layout::Groups(form) => form.groups(units[0]) * parts,
        };
        let name = match stage {
            Stage::Whole => "",
            Stage::Partial => "_partial",
            Stage::Final => "_final",
        };
        let adds = if parts_of.is_some() { "split_sum_" } else { "" };
        let operands = bindings.iter().map(|b| b.operand).collect();
        Ok(Program {
            name: format!("{adds}{}{name}", self.state.name()),
            source,
            operands,
            record,
            grid: self.caps.grid(workgroups),
        })
    }

    /// The bindings of a stage that loads `operands`.
    fn bindings(&self, stage: Stage, mut operands: Vec<usize>, given: &[VectorOperand]) -> Result<Vec<Binding>> {
        operands.sort_unstable();
        operands.dedup();
        let element = wgsl_type(self.value.dtype());
        let mut bindings: Vec<Binding> = Vec::new();
        let parts = self.joined.and_then(|joined| joined.parts);
        for k in operands {
            let binding = vector::binding(k, given, self.step, self.plan);
            match (self.joined, parts) {
                (None, _) => bindings.push(binding),
                (_, None) => bindings.push(Binding { operand: Operand::Written, ..binding }),
                (_, Some(parts)) => {
                    bindings.push(Binding::new(Operand::ScratchRead(parts.scratch), "parts", &binding.element));
                    bindings.push(Binding::new(Operand::Write, "sums", &binding.element));
                }
            }
        }
        let scratch = self.joined.map_or(0, |joined| joined.scratch);
        match stage {
            Stage::Partial => bindings.push(Binding::new(Operand::ScratchWrite(scratch), "out", element)),
            Stage::Final => bindings.push(Binding::new(Operand::ScratchRead(scratch), "partials", element)),
            Stage::Whole => {}
        }
        if stage != Stage::Partial {
            let written = self.plan.buffers[written(self.step)?].dtype;
            let target = if self.joined.is_some() { Operand::Moments } else { Operand::Write };
            bindings.push(Binding::new(target, "out", wgsl_type(written)));
            for n in 0..self.step.kernel.further().len() {
                bindings.push(Binding::new(Operand::Further(n), &format!("further{n}"), element));
            }
        }
        check_bindings(bindings.len(), self.caps, self.step)?;
        Ok(bindings)
    }
}

/// The functions that load vectors of operand 0, which here are added up of so many parts, in their order, and written. `len` is the
/// text for the vectors of a part.
fn added_up(values: &str, splits: usize, len: &str) -> String {
    let values = values.replace("b0[at0(i, j * 4u) >> 2u]", "added(at0(i, j * 4u) >> 2u)");
    let values = values.replace("values(i, 0u).x", "sum_of(at0(i, 0u) >> 2u).x");
    format!(
        "fn sum_of(at: u32) -> vec4<f32> {{
    var sum = vec4<f32>();
    for (var part = 0u; part < {splits}u; part++) {{
        sum += parts[part * {len} + at];
    }}
    return sum;
}}
fn added(at: u32) -> vec4<f32> {{
    let sum = sum_of(at);
    sums[at] = sum;
    return sum;
}}
{values}"
    )
}

/// The entry point where a thread computes a unit. In a partial stage neighbouring threads take neighbouring parts, or
/// neighbouring outputs where those are vectors.
fn thread_main(state: State, stage: Stage, lanes: Lanes, further: &[Further]) -> String {
    let mut text = entry(WORKGROUP);
    let (count, i, part, parts) = match stage {
        Stage::Partial if lanes == Lanes::Outputs => {
            ("params[0].x * params[0].z", "n % params[0].x", "n / params[0].x", "params[0].z")
        }
        Stage::Partial => ("params[0].x * params[0].z", "n / params[0].z", "n % params[0].z", "params[0].z"),
        _ => ("params[0].x", "n", "0u", "1u"),
    };
    let _ = writeln!(text, "    let n = wg * {WORKGROUP}u + lid;\n    if (n >= {count}) {{\n        return;\n    }}");
    let _ = writeln!(text, "    let i = {i};\n    let part = {part};");
    let _ = writeln!(text, "    let total = {};", folded(lanes, &format!("reduce_range(i, part, {parts})")));
    text + &state.results(stage, lanes, further) + "}\n"
}

/// The entry point where the threads of a workgroup share its outputs.
fn group_main(state: State, stage: Stage, form: Form, lanes: Lanes, element: &str, further: &[Further]) -> String {
    let rows = form.rows;
    let is_partial = stage == Stage::Partial;
    let parts = if is_partial { "params[0].z" } else { "1u" };
    let own = folded(lanes, &format!("reduce_range(i, part * {rows}u + row, {parts} * {rows}u)"));
    let tree = form.tree(|a, b| {
        let both = format!("combine({}, {})", state.get(a), state.get(b));
        state.put(a, &both, "        ")
    });
    let (memory, head) = match rows {
        1 => (String::new(), format!("    let total = {own};\n{tree}")),
        _ => (state.memory(element), format!("{}{tree}    let total = {};\n", state.put("lid", &own, "    "), state.get("lid"))),
    };
    format!("{memory}{}{head}{}}}\n", form.head(is_partial), state.results(stage, lanes, further))
}

/// A total of one value.
fn folded(lanes: Lanes, all: &str) -> String {
    if lanes == Lanes::Values { format!("fold({all})") } else { all.to_string() }
}
