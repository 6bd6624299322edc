//! Runs a compiled plan: resolves its memory, finds its bind groups, encodes and submits.

use super::compiled::{Compiled, Dispatch, Optimizer, State};
use super::executor::GpuExecutor;
use super::failure::{Failure, record};
use super::kernels::optim::block_table;
use super::program::{Arena, Operand};
use super::queue::Queue;
use super::rooms::Room;
use crate::error::{Error, Result};
use crate::plan::{BufferInfo, Kernel, Place};
use crate::storage::bindings::OptimStore;
use crate::storage::bindings::{Bindings, Leaf};
use crate::storage::gpu::Buffer;
use crate::storage::pool::Holder;
use crate::sync::lock;
use std::sync::Arc;
use std::time::Instant;

/// Bind groups that a dispatch keeps for different sets of buffers.
const GROUPS: usize = 8;

/// A launch that is ready to encode.
pub(super) struct Ready {
    group: wgpu::BindGroup,
    /// Copies to make first, where a kernel reads one part of a buffer and writes another.
    copies: Vec<(Buffer, Buffer)>,
}

impl Ready {
    /// Encodes the copies that come before the launch's pass.
    pub fn copy_first(&self, encoder: &mut wgpu::CommandEncoder) {
        for (from, to) in &self.copies {
            encoder.copy_buffer_to_buffer(from.raw(), from.offset, to.raw(), to.offset, from.bytes);
        }
    }

    /// Encodes the launch.
    pub fn launch(&self, dispatch: &Dispatch, pass: &mut wgpu::ComputePass<'_>) {
        dispatch.pipeline.launch(&self.group, dispatch.grid, pass);
    }
}

impl GpuExecutor {
    /// Runs a plan. Per graph output, its buffer: a new one, or the leaf's if the output is a leaf. Everything is
    /// allocated before the first submission.
    pub fn run(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<Option<Buffer>>> {
        self.context.unless_lost(|| {
            let mut queue = self.queue();
            let timed = compiled.has_run() && self.pace.wants(compiled.work) && !self.is_hollow();
            if timed {
                queue.flush(&self.context)?;
                self.context.wait(None, format_args!("the device to be idle before a run is timed"))?;
            }
            let since = Instant::now();
            let outputs = with_launches(self, &mut queue, compiled, bindings, |queue, ready| {
                if self.is_hollow() {
                    queue.let_go();
                    return Ok(());
                }
                self.context.scoped("run", || encode(self, queue, compiled, ready))?
            })?;
            if timed {
                self.context.wait(None, format_args!("a run that is timed"))?;
                self.pace.measured(compiled.work, since.elapsed());
            }
            Ok(outputs)
        })
    }
}

/// Resolves a plan's memory, makes its bind groups and queues its uploads; then `submit` runs the launches.
pub(super) fn with_launches(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    compiled: &Compiled,
    bindings: &Bindings,
    submit: impl FnOnce(&mut Queue, &[Ready]) -> Result<()>,
) -> Result<Vec<Option<Buffer>>> {
    let mut state = lock(&compiled.state);
    let state = &mut *state;
    gpu.memory.pool().begin();
    grow_to(gpu, &mut queue.slots, &compiled.workspace.slots, "an intermediate result")?;
    grow_to(gpu, &mut queue.scratch, &compiled.workspace.scratch, "scratch memory")?;
    let outputs = outputs(gpu, compiled)?;
    let memory = Resolver { compiled, bindings, slots: &queue.slots, outputs: &outputs };
    let buffers: Vec<Option<Buffer>> = compiled.plan.buffers.iter().map(|b| memory.place(b)).collect::<Result<_>>()?;
    tables(gpu, queue, compiled, state, bindings)?;
    let ready: Vec<Ready> = (0..compiled.dispatches.len())
        .map(|n| prepare(gpu, queue, compiled, state, bindings, &buffers, n))
        .collect::<Result<_>>()?;
    let record = state.record.clone();
    if let Some((from, bytes)) = state.patch(bindings)? {
        queue.write(&gpu.context, bytes, &record.range(from as u64, bytes.len() as u64))?;
        state.patched();
    }
    if let Err(error) = submit(queue, &ready) {
        state.forget();
        return Err(error);
    }
    Ok(compiled.plan.outputs.iter().map(|&b| buffers[b].clone()).collect())
}

/// Grows slots or scratch memory to what a plan needs.
fn grow_to(gpu: &GpuExecutor, held: &mut Vec<Option<Buffer>>, wanted: &[u64], what: &str) -> Result<()> {
    for (n, &bytes) in wanted.iter().enumerate() {
        if n == held.len() {
            held.push(None);
        }
        if held[n].as_ref().is_none_or(|b| b.bytes < bytes) {
            // Freed first, so that the old memory is there for the new.
            if let Some(small) = held[n].take() {
                small.discard();
            }
            held[n] = Some(gpu.memory.take(&gpu.context, bytes, Holder::Plan, what)?);
        }
    }
    Ok(())
}

/// A buffer for each graph output that has one of its own.
fn outputs(gpu: &GpuExecutor, compiled: &Compiled) -> Result<Vec<Option<Buffer>>> {
    let mut chosen = vec![None; compiled.plan.outputs.len()];
    for info in &compiled.plan.buffers {
        let Place::Output(n) = info.place else { continue };
        let bytes = info.dtype.bytes(info.len) as u64;
        let place = chosen.get_mut(n).ok_or_else(|| Error::internal(format!("output {n} does not exist")))?;
        *place = Some(gpu.memory.take(&gpu.context, bytes, Holder::Handle, "a result")?);
    }
    Ok(chosen)
}

/// Finds where a plan's values are in this evaluation.
struct Resolver<'a> {
    compiled: &'a Compiled,
    bindings: &'a Bindings,
    slots: &'a [Option<Buffer>],
    outputs: &'a [Option<Buffer>],
}

impl Resolver<'_> {
    /// The memory of a value; `None` for an optimizer store, which is not one value.
    fn place(&self, info: &BufferInfo) -> Result<Option<Buffer>> {
        let bytes = info.dtype.bytes(info.len) as u64;
        let buffer = match info.place {
            Place::Slot(n) => self.slots.get(n).cloned().flatten(),
            Place::Output(n) => self.outputs.get(n).cloned().flatten(),
            Place::Leaf(n) => match self.bindings.leaves.get(n) {
                Some(Leaf::Data(storage) | Leaf::Cell(storage)) => Some(storage.on_gpu()?.clone()),
                Some(Leaf::Store(_)) => return Ok(None),
                None => None,
            },
            Place::Gradient { store, entry } => {
                let store = store_of(self.bindings, store)?;
                let entry = store.entries.get(entry as usize).ok_or_else(|| Error::internal("no such optimizer entry"))?;
                let arena = store.gradients.as_ref().ok_or_else(|| Error::internal("a store without gradients"))?.on_gpu()?;
                Some(arena.range(entry.offset as u64 * 4, bytes))
            }
        };
        match buffer {
            Some(b) if b.bytes >= bytes => Ok(Some(b.range(0, bytes))),
            Some(b) => Err(Error::internal(format!("{:?} has {} bytes and needs {bytes}", info.place, b.bytes))),
            None => Err(Error::internal(format!(
                "{:?} is not bound ({} steps, {} leaves)",
                info.place,
                self.compiled.plan.steps.len(),
                self.bindings.leaves.len()
            ))),
        }
    }
}

/// The store that a leaf is bound to.
fn store_of(bindings: &Bindings, leaf: usize) -> Result<&Arc<OptimStore>> {
    match bindings.leaves.get(leaf) {
        Some(Leaf::Store(store)) => Ok(store),
        _ => Err(Error::internal(format!("leaf {leaf} is not an optimizer store"))),
    }
}

/// Block tables of optimizer steps (when the store is a new one) and their coefficients (always).
fn tables(gpu: &GpuExecutor, queue: &mut Queue, compiled: &Compiled, state: &mut State, bindings: &Bindings) -> Result<()> {
    for (n, step) in compiled.plan.steps.iter().enumerate() {
        let Kernel::OptimStep { store, entries, .. } = &step.kernel else { continue };
        let store = store_of(bindings, *store)?;
        let coefficients = lock(&store.coefficients).clone();
        let bytes: &[u8] = bytemuck::cast_slice(&coefficients);
        let known = state.optimizers.iter().position(|o| o.step == n && std::ptr::eq(o.store.as_ptr(), Arc::as_ptr(store)));
        let at = match known.filter(|&k| state.optimizers[k].coefficients.bytes == bytes.len() as u64) {
            Some(at) => at,
            None => {
                let table = block_table(store, entries)?;
                let table: &[u8] = bytemuck::cast_slice(&table);
                let blocks = gpu.memory.take(&gpu.context, table.len() as u64, Holder::Plan, "an optimizer's table")?;
                let coefficients =
                    gpu.memory.take(&gpu.context, bytes.len() as u64, Holder::Plan, "an optimizer's coefficients")?;
                queue.write(&gpu.context, table, &blocks)?;
                state.optimizers.retain(|o| o.step != n);
                state.optimizers.push(Optimizer { step: n, store: Arc::downgrade(store), blocks, coefficients });
                state.optimizers.len() - 1
            }
        };
        let target = state.optimizers[at].coefficients.clone();
        queue.write(&gpu.context, bytes, &target)?;
    }
    Ok(())
}

/// What an operand of a dispatch is bound to.
fn operand(
    queue: &Queue,
    compiled: &Compiled,
    state: &State,
    bindings: &Bindings,
    buffers: &[Option<Buffer>],
    dispatch: &Dispatch,
    operand: Operand,
) -> Result<Buffer> {
    let step = &compiled.plan.steps[dispatch.step];
    let missing = || Error::internal(format!("{} binds {operand:?}, which is not there", dispatch.name));
    let found = match operand {
        Operand::Read(k) => step.reads.get(k).and_then(|&b| buffers[b].clone()),
        Operand::Write | Operand::Written => step.write.and_then(|b| buffers[b].clone()),
        Operand::Moments => step.kernel.moments().and_then(|b| buffers[b].clone()),
        Operand::Further(n) => step.kernel.further().get(n).and_then(|further| buffers[further.buffer].clone()),
        Operand::ScratchRead(n) | Operand::ScratchWrite(n) => {
            let &(room, bytes) = compiled.scratch[dispatch.step].get(n).ok_or_else(missing)?;
            let held = match room {
                Room::Slot(n) => queue.slots.get(n),
                Room::Scratch(n) => queue.scratch.get(n),
            };
            held.cloned().flatten().map(|buffer| buffer.range(0, bytes))
        }
        Operand::Arena(arena) => {
            let Kernel::OptimStep { store, .. } = &step.kernel else { return Err(missing()) };
            let tables = state.optimizers.iter().find(|o| o.step == dispatch.step).ok_or_else(missing)?;
            let store = store_of(bindings, *store)?;
            let storage = match arena {
                Arena::Blocks => return Ok(tables.blocks.clone()),
                Arena::Coefficients => return Ok(tables.coefficients.clone()),
                Arena::Parameters => store.parameters.as_ref(),
                Arena::Gradients => store.gradients.as_ref(),
                Arena::State(n) => store.state.get(n),
            };
            Some(storage.ok_or_else(missing)?.on_gpu()?.clone())
        }
    };
    found.ok_or_else(missing)
}

/// Finds or makes the bind group of dispatch `n`.
fn prepare(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    compiled: &Compiled,
    state: &mut State,
    bindings: &Bindings,
    buffers: &[Option<Buffer>],
    n: usize,
) -> Result<Ready> {
    let dispatch = &compiled.dispatches[n];
    let mut bound: Vec<Buffer> = dispatch
        .operands
        .iter()
        .map(|&o| operand(queue, compiled, state, bindings, buffers, dispatch, o))
        .collect::<Result<_>>()?;
    let copies = separate(gpu, dispatch, &mut bound)?;
    let key: Vec<(u64, u64)> = bound.iter().map(|b| (b.id(), b.offset)).collect();
    let cache = &mut state.groups[n];
    if let Some(hit) = cache.iter().rposition(|(k, _)| *k == key) {
        // The least recently used goes first.
        cache[hit..].rotate_left(1);
        return Ok(Ready { group: cache[cache.len() - 1].1.clone(), copies });
    }
    let record = state.record.range(dispatch.record.start, dispatch.record.end - dispatch.record.start);
    let group = dispatch.pipeline.bind(&gpu.context, &dispatch.name, &record, &bound)?;
    queue.bind_groups += 1;
    if cache.len() == GROUPS {
        cache.remove(0);
    }
    cache.push((key, group.clone()));
    Ok(Ready { group, copies })
}

/// wgpu tracks whole buffers: where a kernel reads one part of an allocation and writes another, the part that is read is
/// copied first.
fn separate(gpu: &GpuExecutor, dispatch: &Dispatch, bound: &mut [Buffer]) -> Result<Vec<(Buffer, Buffer)>> {
    let mut copies = Vec::new();
    for r in 0..bound.len() {
        let clash = dispatch.operands[r].is_read_only()
            && (0..bound.len()).any(|w| !dispatch.operands[w].is_read_only() && bound[w].id() == bound[r].id());
        if clash {
            let copy = gpu.memory.take(&gpu.context, bound[r].bytes, Holder::Plan, "a copy")?;
            copies.push((bound[r].clone(), copy.clone()));
            bound[r] = copy;
        }
    }
    Ok(copies)
}

/// Encodes everything that is queued and all launches, one pass per submission.
fn encode(gpu: &GpuExecutor, queue: &mut Queue, compiled: &Compiled, ready: &[Ready]) -> Result<()> {
    let cuts = compiled.cuts(&gpu.pace);
    let mut encoder = gpu.context.encoder();
    queue.encode_pending(&mut encoder);
    if ready.is_empty() {
        queue.proof.count_apart(&mut encoder);
    }
    let (mut n, mut submitted) = (0, 0);
    while n < ready.len() {
        if cuts[n] && n > 0 {
            let full = std::mem::replace(&mut encoder, gpu.context.encoder());
            submit(gpu, queue, full, compiled, &mut submitted)?;
        }
        ready[n].copy_first(&mut encoder);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let first = n;
        while n < ready.len() && (n == first || (!cuts[n] && ready[n].copies.is_empty())) {
            ready[n].launch(&compiled.dispatches[n], &mut pass);
            n += 1;
        }
        if cuts.get(n).is_none_or(|&cut| cut) {
            queue.proof.count(&mut pass);
        }
    }
    queue.dispatches += ready.len() as u64;
    submit(gpu, queue, encoder, compiled, &mut submitted).map(drop)
}

/// Makes one of a run's submissions; counts them. If the first is refused, nothing has run; if a later one is, what the run writes
/// is half old and half new, and the device counts as lost.
pub(super) fn submit(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    encoder: wgpu::CommandEncoder,
    compiled: &Compiled,
    submitted: &mut usize,
) -> Result<wgpu::SubmissionIndex> {
    let outcome = queue.submit(&gpu.context, encoder, gpu.pace.job(&compiled.label, compiled.work));
    match &outcome {
        Err(error) if *submitted > 0 && !error.is_device_loss() => {
            let reason = format!("after {submitted} of a run's submissions, the next one failed: {error}");
            record(&gpu.context.failure, Failure::Lost(reason));
            gpu.context.check_lost()?;
        }
        _ => *submitted += 1,
    }
    outcome
}
