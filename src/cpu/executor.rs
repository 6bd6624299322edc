//! Carries out plans in host memory.

mod f64_graph;

use super::expr::Context;
use super::kernel::Prepared;
use super::optim;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::host::zeroed;
use crate::plan::{BufferInfo, Kernel, Place, Plan, Step};
use crate::storage::Storage;
use crate::storage::bindings::{Bindings, Leaf};
use crate::storage::cpu::{Buffer, words, words_mut};
use crate::sync::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLockReadGuard, RwLockWriteGuard};

/// How many buffers of an output are kept for reuse.
const ROTATION: usize = 3;

/// What an executor has used and done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    /// Bytes in buffers and slots now.
    pub live_bytes: u64,
    /// Kernels run since the start.
    pub kernels: u64,
}

/// The CPU device's executor: a thread pool, and the slots that all its plans share.
#[derive(Debug)]
pub(crate) struct CpuExecutor {
    pool: rayon::ThreadPool,
    /// Held for the whole of a run, so runs follow each other.
    slots: Mutex<Vec<Vec<u32>>>,
    live_bytes: Arc<AtomicU64>,
    kernels: AtomicU64,
}

/// A plan made ready to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    code: Code,
}

#[derive(Debug)]
enum Code {
    /// Kernels of 32-bit elements.
    Plan { plan: Arc<Plan>, kernels: Vec<Prepared>, recycled: Mutex<Vec<Vec<Buffer>>> },
    /// F64 takes part: the reference runs the graph.
    Graph(Graph),
}

impl CpuExecutor {
    /// An executor with as many threads as the machine offers.
    pub fn new() -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("wgrad-cpu-{i}"))
            .start_handler(|_| super::simd::flush_subnormals())
            .build()
            .map_err(|e| Error::NoDevice {
                wanted: "cpu".into(),
                reason: format!("its threads could not be started: {e}"),
                help: "raise the limit on threads of this process".into(),
            })?;
        Ok(Self { pool, slots: Mutex::default(), live_bytes: Arc::default(), kernels: AtomicU64::new(0) })
    }

    /// Makes a buffer from host data. Elements of storage types have a word each: see [`HostData::unpacked`].
    pub fn upload(&self, data: HostData) -> Buffer {
        Buffer::new(data, &self.live_bytes)
    }

    /// A copy of a buffer's elements.
    pub fn read(&self, buffer: &Buffer) -> HostData {
        buffer.read().clone()
    }

    /// What has been used and done so far.
    pub fn counters(&self) -> Counters {
        let slots: usize = lock(&self.slots).iter().map(|s| 4 * s.len()).sum();
        let live_bytes = self.live_bytes.load(Ordering::Relaxed) + slots as u64;
        Counters { live_bytes, kernels: self.kernels.load(Ordering::Relaxed) }
    }

    /// Makes a plan ready. A graph with F64 in it runs node by node instead.
    pub fn compile(&self, graph: &Graph, plan: Arc<Plan>) -> Result<Compiled> {
        let is_f64 = graph.nodes.iter().any(|n| n.dtype == DType::F64) || plan.buffers.iter().any(|b| b.dtype == DType::F64);
        if is_f64 {
            return Ok(Compiled { code: Code::Graph(graph.clone()) });
        }
        let kernels = plan.steps.iter().map(|step| Prepared::new(&plan, step)).collect::<Result<_>>()?;
        let recycled = Mutex::new(vec![Vec::new(); plan.outputs.len()]);
        Ok(Compiled { code: Code::Plan { plan, kernels, recycled } })
    }

    /// Runs a compiled plan and returns the storage of each output.
    pub fn run(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<Storage>> {
        match &compiled.code {
            Code::Graph(graph) => {
                let _serial = lock(&self.slots);
                self.kernels.fetch_add(graph.nodes.len() as u64, Ordering::Relaxed);
                let outputs = f64_graph::run(graph, bindings)?;
                Ok(outputs.into_iter().map(|data| Storage::Cpu(self.upload(data))).collect())
            }
            Code::Plan { plan, kernels, recycled } => {
                let mut slots = lock(&self.slots);
                check_leaves(plan, bindings)?;
                grow(&mut slots, plan)?;
                let outputs = self.outputs(plan, &mut lock(recycled))?;
                let mut memory = Memory { plan, slots: &mut slots, outputs: &outputs, bindings };
                self.pool.install(|| plan.steps.iter().zip(kernels).try_for_each(|(step, kernel)| memory.run(step, kernel)))?;
                self.kernels.fetch_add(plan.steps.len() as u64, Ordering::Relaxed);
                plan.outputs.iter().map(|&id| output(plan, id, &outputs, bindings)).collect()
            }
        }
    }

    /// A buffer for every output, reused from an earlier run where nobody holds it any more.
    fn outputs(&self, plan: &Plan, recycled: &mut Vec<Vec<Buffer>>) -> Result<Vec<Buffer>> {
        let mut sizes: Vec<(DType, usize)> = Vec::new();
        for info in &plan.buffers {
            if let Place::Output(i) = info.place {
                if sizes.len() <= i {
                    sizes.resize(i + 1, (DType::U32, 0));
                }
                sizes[i] = (info.dtype, info.len);
            }
        }
        recycled.resize_with(sizes.len().max(recycled.len()), Vec::new);
        let take = |((dtype, len), kept): ((DType, usize), &mut Vec<Buffer>)| {
            if let Some(free) = kept.iter().find(|b| Arc::strong_count(&b.data) == 1) {
                return Ok(free.clone());
            }
            let buffer = self.upload(zeros(dtype, len)?);
            if kept.len() < ROTATION {
                kept.push(buffer.clone());
            }
            Ok(buffer)
        };
        sizes.into_iter().zip(recycled).map(take).collect()
    }
}

fn zeros(dtype: DType, len: usize) -> Result<HostData> {
    Ok(match dtype {
        DType::Bool | DType::U32 | DType::U8 | DType::F16 => HostData::U32(zeroed("a result", len)?),
        DType::I32 => HostData::I32(zeroed("a result", len)?),
        DType::F32 => HostData::F32(zeroed("a result", len)?),
        DType::F64 => HostData::F64(zeroed("a result", len)?),
    })
}

fn grow(slots: &mut Vec<Vec<u32>>, plan: &Plan) -> Result<()> {
    if slots.len() < plan.slots.len() {
        slots.resize_with(plan.slots.len(), Vec::new);
    }
    let mut words: Vec<usize> = plan.slots.iter().map(|bytes| bytes.div_ceil(4)).collect();
    // Storage types are planned as packed, but have one word per element here.
    for info in &plan.buffers {
        if let Place::Slot(n) = info.place {
            words[n] = words[n].max(info.len);
        }
    }
    for (slot, words) in slots.iter_mut().zip(words) {
        if slot.len() < words {
            // A fresh allocation: old contents need no copy, and their memory is free for it.
            *slot = Vec::new();
            *slot = zeroed("an intermediate result", words)?;
        }
    }
    Ok(())
}

fn check_leaves(plan: &Plan, bindings: &Bindings) -> Result<()> {
    for info in &plan.buffers {
        if let Place::Leaf(leaf) = info.place
            && let data = leaf_buffer(bindings, leaf)?.read()
            && words(&data).len() < info.len
        {
            return Err(Error::internal(format!("leaf {leaf} has {} elements, and {} are planned", data.len(), info.len)));
        }
    }
    Ok(())
}

fn leaf_buffer(bindings: &Bindings, leaf: usize) -> Result<&Buffer> {
    match bindings.leaves.get(leaf) {
        Some(Leaf::Data(storage) | Leaf::Cell(storage)) => storage.on_cpu(),
        _ => Err(Error::internal(format!("leaf {leaf} is not bound to a value"))),
    }
}

fn output(plan: &Plan, id: usize, outputs: &[Buffer], bindings: &Bindings) -> Result<Storage> {
    match plan.buffers.get(id).map(|info| info.place) {
        Some(Place::Output(i)) => Ok(Storage::Cpu(outputs[i].clone())),
        Some(Place::Leaf(leaf)) => Ok(Storage::Cpu(leaf_buffer(bindings, leaf)?.clone())),
        place => Err(Error::internal(format!("an output is planned at {place:?}"))),
    }
}

/// The memory that a run works on.
struct Memory<'a> {
    plan: &'a Plan,
    slots: &'a mut [Vec<u32>],
    outputs: &'a [Buffer],
    bindings: &'a Bindings,
}

/// What a step reads, before it is borrowed as words.
enum Read<'a> {
    Slot(usize),
    Shared(RwLockReadGuard<'a, HostData>),
    /// The same buffer as an earlier read; a thread must not lock twice.
    Again(usize),
    /// A copy of what the step overwrites.
    Copy(Vec<u32>),
    /// The elements stand in the output itself.
    InPlace,
}

/// What a step writes.
enum Write<'a> {
    Slot(usize, Vec<u32>),
    Locked(RwLockWriteGuard<'a, HostData>),
}

impl<'a> Memory<'a> {
    fn info(&self, id: usize) -> &'a BufferInfo {
        &self.plan.buffers[id]
    }

    /// The lockable buffer of a place, `None` for a slot.
    fn shared(&self, place: Place) -> Result<Option<&'a Buffer>> {
        match place {
            Place::Slot(_) => Ok(None),
            Place::Output(i) => Ok(Some(&self.outputs[i])),
            Place::Leaf(leaf) => leaf_buffer(self.bindings, leaf).map(Some),
            Place::Gradient { .. } => Err(Error::internal("the CPU has no gradient arena")),
        }
    }

    fn run(&mut self, step: &Step, kernel: &Prepared) -> Result<()> {
        let in_place = if let Prepared::Elementwise { in_place, .. } = kernel { *in_place } else { None };
        let target = step.write.map(|id| self.info(id));
        let reads = self.reads(step, target, in_place)?;
        let mut write = match target {
            None => None,
            Some(info) => Some(match (info.place, self.shared(info.place)?) {
                (Place::Slot(i), _) => Write::Slot(i, std::mem::take(&mut self.slots[i])),
                (_, Some(buffer)) => Write::Locked(buffer.write()),
                (place, None) => return Err(Error::internal(format!("a step writes to {place:?}"))),
            }),
        };
        let operands: Vec<&[u32]> =
            step.reads.iter().enumerate().map(|(i, &id)| self.operand(&reads, i, self.info(id).len)).collect::<Result<_>>()?;
        let out = match &mut write {
            None => &mut [],
            Some(Write::Slot(_, slot)) => slot.as_mut_slice(),
            Some(Write::Locked(data)) => words_mut(data),
        };
        let out = out.get_mut(..target.map_or(0, |t| t.len)).ok_or_else(|| Error::internal("a slot is too small"))?;
        let context = Context { operands: &operands, bindings: self.bindings };
        let result = match &step.kernel {
            Kernel::OptimStep { clipped: true, .. } => Err(Error::internal("only GPUs clip gradients within a step")),
            Kernel::OptimStep { store, rule, gated, entries, .. } => match self.bindings.leaves.get(*store) {
                Some(Leaf::Store(store)) => optim::run(*rule, *gated, entries, store, &operands),
                _ => Err(Error::internal(format!("leaf {store} is not an optimizer store"))),
            },
            described => kernel.run(described, context, out),
        };
        if let Some(Write::Slot(i, slot)) = write {
            self.slots[i] = slot;
        }
        result
    }

    /// Locks what a step reads. What it also writes is read in place, or copied first.
    fn reads(&self, step: &Step, target: Option<&BufferInfo>, in_place: Option<usize>) -> Result<Vec<Read<'a>>> {
        let written = target.map(|t| self.shared(t.place)).transpose()?.flatten();
        let mut buffers: Vec<Option<&Buffer>> = Vec::with_capacity(step.reads.len());
        let mut reads = Vec::with_capacity(step.reads.len());
        for (i, &id) in step.reads.iter().enumerate() {
            let info = self.info(id);
            let shared = self.shared(info.place)?;
            let same = |other: &Buffer| shared.is_some_and(|b| Arc::ptr_eq(&b.data, &other.data));
            reads.push(match (info.place, shared) {
                _ if in_place == Some(i) => Read::InPlace,
                (Place::Slot(slot), _) if target.is_some_and(|t| t.place == info.place) => Read::Copy(self.slots[slot].clone()),
                (Place::Slot(slot), _) => Read::Slot(slot),
                (_, Some(buffer)) if written.is_some_and(same) => Read::Copy(words(&buffer.read()).to_vec()),
                // A gradient may be the parameter itself, which the optimizer is about to lock.
                (Place::Leaf(_), Some(buffer)) if target.is_none() => Read::Copy(words(&buffer.read()).to_vec()),
                (_, Some(buffer)) => match buffers.iter().position(|b| b.is_some_and(same)) {
                    Some(first) => Read::Again(first),
                    None => Read::Shared(buffer.read()),
                },
                (place, None) => return Err(Error::internal(format!("a step reads {place:?}"))),
            });
            buffers.push(shared);
        }
        Ok(reads)
    }

    fn operand<'b>(&'b self, reads: &'b [Read<'a>], i: usize, len: usize) -> Result<&'b [u32]> {
        let all = match &reads[i] {
            Read::Slot(slot) => self.slots[*slot].as_slice(),
            Read::Shared(data) => words(data),
            Read::Copy(copy) => copy,
            Read::Again(first) => return self.operand(reads, *first, len),
            Read::InPlace => return Ok(&[]),
        };
        all.get(..len).ok_or_else(|| Error::internal("an operand is shorter than planned"))
    }
}
