//! A plan prepared for a device: its programs, pipelines and uniform records.

use super::executor::GpuExecutor;
use super::kernels;
use super::pace::{Pace, Work};
use super::pipeline::Pipeline;
use super::program::{Operand, Program, Word};
use super::rooms::{self, Scratch};
use crate::dtype::{DType, F16};
use crate::error::{Error, Result, counted};
use crate::plan::Plan;
use crate::storage::bindings::Bindings;
use crate::storage::bindings::OptimStore;
use crate::storage::gpu::Buffer;
use crate::storage::pool::{Holder, Workspace};
use crate::sync::lock;
use std::sync::{Arc, Mutex, Weak};

/// A plan for one device.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(super) plan: Arc<Plan>,
    pub(super) dispatches: Vec<Dispatch>,
    /// All of it.
    pub(super) work: Work,
    /// What it launches, in short.
    pub(super) label: Arc<str>,
    /// The slots, and the buffers for scratch memory alone.
    pub(super) workspace: Workspace,
    /// Per step, where its scratch buffers are.
    pub(super) scratch: Vec<Vec<Scratch>>,
    pub(super) state: Mutex<State>,
}

/// One launch.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub name: String,
    pub step: usize,
    pub pipeline: Arc<Pipeline>,
    pub operands: Vec<Operand>,
    pub grid: [u32; 3],
    /// Its record's place in the plan's uniform buffer.
    pub record: std::ops::Range<u64>,
    /// What the device has to do.
    pub work: Work,
}

/// What a plan keeps between evaluations.
#[derive(Debug)]
pub(super) struct State {
    /// All uniform records; those with words that change are at the end.
    pub record: Buffer,
    template: Vec<u8>,
    dynamic: Vec<(usize, Word)>,
    /// Where the changing part of the records starts.
    dynamic_from: usize,
    uploaded: bool,
    /// Per dispatch, its bind groups, the latest last.
    pub groups: Vec<Vec<Group>>,
    /// Per optimizer step: the store it last ran on, its block table and its coefficients.
    pub optimizers: Vec<Optimizer>,
}

/// A bind group, and the (buffer, offset) pairs that it binds.
pub(super) type Group = (Vec<(u64, u64)>, wgpu::BindGroup);

/// An optimizer step's tables for one store.
#[derive(Debug)]
pub(super) struct Optimizer {
    pub step: usize,
    pub store: Weak<OptimStore>,
    pub blocks: Buffer,
    pub coefficients: Buffer,
}

impl GpuExecutor {
    /// Lowers a plan and compiles its pipelines; allocates nothing that depends on an evaluation.
    pub fn compile(&self, plan: Arc<Plan>) -> Result<Compiled> {
        self.context.unless_lost(|| Compiled::new(self, plan))
    }
}

impl Compiled {
    fn new(gpu: &GpuExecutor, plan: Arc<Plan>) -> Result<Self> {
        if plan.buffers.iter().any(|b| b.dtype == DType::F64) {
            return Err(Error::Unsupported {
                op: "gpu",
                reason: "f64 does not exist on GPUs".into(),
                help: "cast to f32, or use the CPU device".into(),
            });
        }
        let caps = gpu.caps();
        let mut programs: Vec<(usize, Work, Program)> = Vec::new();
        let mut scratch: Vec<Vec<u64>> = Vec::with_capacity(plan.steps.len());
        for (s, step) in plan.steps.iter().enumerate() {
            let family = step.kernel.family();
            let caps = gpu.forms.caps(family, caps);
            let lowered = kernels::lower(step, &plan, &caps)?;
            #[cfg(test)]
            let lowered = lowered.with_fault(gpu.forms.fault(family));
            scratch.push(lowered.scratch);
            // A step's first launches may be as long as the last: which does the work is not known here.
            let work = gpu.pace.work(step.flops, step.bytes).over(step.kernel.rounds());
            let parts = gpu.pace.launches(work);
            for program in lowered.programs {
                let pieces = program.pieces(parts, &caps);
                let share = work.over(pieces.len());
                programs.extend(pieces.into_iter().map(|piece| (s, share, piece)));
            }
        }
        let layout = Layout::of(programs.iter().map(|(_, _, p)| p), &gpu.context.limits);
        let pipelines = compile_all(gpu, &plan, &programs)?;
        let record = gpu.memory.take(&gpu.context, layout.template.len() as u64, Holder::Plan, "a plan's records")?;
        let mut dispatches = Vec::with_capacity(programs.len());
        for (((step, work, program), pipeline), place) in programs.into_iter().zip(pipelines).zip(&layout.places) {
            dispatches.push(Dispatch {
                name: program.name,
                step,
                pipeline,
                operands: program.operands,
                grid: program.grid,
                record: place.clone(),
                work,
            });
        }
        let state = State {
            record,
            template: layout.template,
            dynamic: layout.dynamic,
            dynamic_from: layout.dynamic_from,
            uploaded: false,
            groups: dispatches.iter().map(|_| Vec::new()).collect(),
            optimizers: Vec::new(),
        };
        let (scratch, spares) = rooms::place(&plan, &scratch);
        let workspace = Workspace { slots: plan.slots.iter().map(|&bytes| bytes as u64).collect(), scratch: spares };
        let work = dispatches.iter().fold(Work::default(), |sum, d| sum.and(d.work));
        let label = label(&dispatches);
        let compiled = Self { plan, dispatches, work, label, workspace, scratch, state: Mutex::new(state) };
        let submissions = compiled.cuts(&gpu.pace).into_iter().filter(|&cut| cut).count() + 1;
        if submissions > 1 {
            let launches = compiled.launches();
            log::debug!(target: "wgrad::submit", "a plan of {launches} launches takes {submissions} submissions");
        }
        Ok(compiled)
    }

    /// For each launch, whether a new submission begins with it.
    pub(super) fn cuts(&self, pace: &Pace) -> Vec<bool> {
        pace.cuts(self.dispatches.iter().map(|d| d.work))
    }

    /// Whether it has run, and so whether the driver has compiled it for good.
    pub(super) fn has_run(&self) -> bool {
        lock(&self.state).uploaded
    }

    /// The memory that it works in.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Kernel launches.
    pub fn launches(&self) -> usize {
        self.dispatches.len()
    }
}

impl State {
    /// Fills in the words that change; returns the bytes to upload and where they go, or `None` if none changed.
    pub fn patch(&mut self, bindings: &Bindings) -> Result<Option<(usize, &[u8])>> {
        let mut changed = false;
        for &(at, word) in &self.dynamic {
            let value = word_value(word, bindings)?.to_le_bytes();
            let place = &mut self.template[at..at + 4];
            changed |= place != value;
            place.copy_from_slice(&value);
        }
        let from = if self.uploaded { self.dynamic_from } else { 0 };
        let wanted = changed || !self.uploaded;
        // Until the caller confirms it, so that a failed upload is made again in full.
        self.uploaded &= !wanted;
        Ok(wanted.then(|| (from, &self.template[from..])))
    }

    /// The bytes that [`State::patch`] returned are on their way.
    pub fn patched(&mut self) {
        self.uploaded = true;
    }

    /// The next [`State::patch`] returns everything again, because the last upload may not have arrived.
    pub fn forget(&mut self) {
        self.uploaded = false;
        self.groups.iter_mut().for_each(Vec::clear);
    }
}

/// The current value of a record word.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scalars are rounded to their dtype on use")]
pub(super) fn word_value(word: Word, bindings: &Bindings) -> Result<u32> {
    let missing = |what: &str, slot: usize| Error::internal(format!("{what} {slot} is not bound"));
    match word {
        Word::U32(v) => Ok(v),
        Word::Scalar { slot, dtype } => {
            let value = *bindings.scalars.get(slot).ok_or_else(|| missing("scalar", slot))?;
            Ok(match dtype {
                DType::F32 | DType::F64 => (value as f32).to_bits(),
                DType::I32 => (value as i32).cast_unsigned(),
                DType::U32 => value as u32,
                DType::Bool => u32::from(value != 0.0),
                DType::U8 => u32::from(value as u8),
                DType::F16 => u32::from(F16::from_f32(value as f32).to_bits()),
            })
        }
        Word::Random { slot, word } => {
            let key = bindings.randoms.get(slot).ok_or_else(|| missing("random key", slot))?;
            Ok([key.key[0], key.key[1], key.offset][word.min(2)])
        }
    }
}

/// Where each program's record is.
pub(super) struct Layout {
    /// Per program, its record's bytes.
    pub places: Vec<std::ops::Range<u64>>,
    /// All records, with 0 for what changes.
    pub template: Vec<u8>,
    dynamic: Vec<(usize, Word)>,
    dynamic_from: usize,
}

impl Layout {
    /// Constant records first, those with changing words last, each aligned as the device requires for uniforms.
    pub fn of<'p>(programs: impl ExactSizeIterator<Item = &'p Program> + Clone, limits: &wgpu::Limits) -> Self {
        let align = limits.min_uniform_buffer_offset_alignment.max(16) as usize;
        let changes = |p: &Program| p.record.iter().any(|w| !matches!(w, Word::U32(_)));
        let mut layout = Self { places: vec![0..0; programs.len()], template: Vec::new(), dynamic: Vec::new(), dynamic_from: 0 };
        for wanted in [false, true] {
            if wanted {
                layout.dynamic_from = layout.template.len();
            }
            for (n, program) in programs.clone().enumerate().filter(|(_, p)| changes(p) == wanted) {
                let at = layout.template.len();
                let bytes = (program.record.len() * 4).next_multiple_of(16).max(16);
                layout.places[n] = at as u64..(at + bytes) as u64;
                for (k, &word) in program.record.iter().enumerate() {
                    match word {
                        Word::U32(v) => layout.template.extend(v.to_le_bytes()),
                        word @ (Word::Scalar { .. } | Word::Random { .. }) => {
                            layout.dynamic.push((at + k * 4, word));
                            layout.template.extend([0; 4]);
                        }
                    }
                }
                layout.template.resize((at + bytes).next_multiple_of(align), 0);
            }
        }
        layout
    }
}

fn compile_all(gpu: &GpuExecutor, plan: &Plan, programs: &[(usize, Work, Program)]) -> Result<Vec<Arc<Pipeline>>> {
    let mut pipelines = lock(&gpu.pipelines);
    pipelines.all(&gpu.context, programs.iter().map(|(_, _, p)| p)).map_err(|(refused, mut error)| {
        if let Error::DeviceRefused { what, .. } = &mut error {
            let step = programs.iter().find(|(_, _, program)| std::ptr::eq(program, refused)).map(|(step, ..)| *step);
            *what = format!("the kernel {}{}", refused.name, step.map_or(String::new(), |step| operands(plan, step)));
        }
        error
    })
}

/// The operands of a step: ` of f32 x 640 and f32 x 10 for f32 x 64`.
fn operands(plan: &Plan, step: usize) -> String {
    let Some(step) = plan.steps.get(step) else { return String::new() };
    let value = |&b: &usize| plan.buffers.get(b).map(|b| format!("{} x {}", b.dtype, b.len)).unwrap_or_default();
    let reads: Vec<String> = step.reads.iter().map(value).collect();
    let of = if reads.is_empty() { String::new() } else { format!(" of {}", reads.join(" and ")) };
    let written = step.write.as_ref().map(value).map_or(String::new(), |value| format!(" for {value}"));
    of + &written
}

/// The first few of a plan's kernels.
fn label(dispatches: &[Dispatch]) -> Arc<str> {
    const NAMED: usize = 3;
    let names: Vec<&str> = dispatches.iter().take(NAMED).map(|d| d.name.as_str()).collect();
    let more = dispatches.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {} more", counted(more, "kernel")) };
    format!("{}{more}", names.join(", ")).into()
}
