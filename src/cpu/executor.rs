//! Runs plans in host memory.

mod f64_graph;
mod step;

use super::awake::Awake;
use super::kernel::Prepared;
use super::{attention, conv2d, matmul, recurrent, scratch};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::host::{had_room, probe, zeroed};
use crate::plan::{Kernel, Launched, Place, Plan};
use crate::storage::Storage;
use crate::storage::bindings::Bindings;
use crate::storage::cpu::{Buffer, Words, words};
use crate::storage::pool::{Account, Holder, Loan, Pool, Workspace, tally};
use crate::sync::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use step::{Slot, Steps, leaf_buffer};

/// The CPU device's executor: a thread pool, the memory that results come from and return to, and the slots that all plans
/// share.
#[derive(Debug)]
pub(crate) struct CpuExecutor {
    threads: rayon::ThreadPool,
    scratch: Arc<scratch::Device>,
    memory: Arc<Mutex<Pool<Words>>>,
    /// Held for the whole of a run, so runs follow each other.
    slots: Mutex<Vec<Slot>>,
    kernels: AtomicU64,
    /// Bytes of scratch memory for which there was room.
    granted: AtomicU64,
}

/// A plan prepared to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    code: Code,
    workspace: Workspace,
}

#[derive(Debug)]
enum Code {
    /// Kernels of 32-bit elements.
    Plan { plan: Arc<Plan>, kernels: Vec<Prepared> },
    /// F64 is involved: the reference runs the graph.
    Graph(Graph),
}

/// Everything that a run takes memory for before its first kernel, except for what single kernels keep to themselves.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    slots: MutexGuard<'a, Vec<Slot>>,
    outputs: Vec<Buffer>,
}

impl Compiled {
    /// The memory that it works in.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }
}

impl CpuExecutor {
    /// An executor with as many threads as the machine offers.
    pub fn new() -> Result<Self> {
        let memory: Arc<Mutex<Pool<Words>>> = Arc::default();
        let scratch = scratch::Device::new(tally(&memory));
        let of_threads = scratch.clone();
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("wgrad-cpu-{i}"))
            .start_handler(move |_| {
                super::simd::flush_subnormals();
                scratch::work_for(of_threads.clone());
            })
            .build()
            .map_err(|e| Error::NoDevice {
                wanted: "cpu".into(),
                reason: format!("its threads could not be started: {e}"),
                help: "raise the limit on threads of this process".into(),
            })?;
        Ok(Self { threads, scratch, memory, slots: Mutex::default(), kernels: AtomicU64::new(0), granted: AtomicU64::new(0) })
    }

    /// Makes a buffer from host data. Elements of storage types have a word each: see [`HostData::unpacked`].
    ///
    /// # Errors
    /// Past the device's limit.
    pub fn upload(&self, data: HostData) -> Result<Buffer> {
        self.make_room(data.bytes().len() as u64, "a tensor")?;
        Ok(Buffer::new(data, &self.memory))
    }

    /// Releases waiting memory for this many bytes.
    ///
    /// # Errors
    /// Past the device's limit.
    pub fn make_room(&self, bytes: u64, what: &str) -> Result<()> {
        self.memory().make_room(bytes).map_err(|full| full.error(what))
    }

    /// Whether memory is counted and not there: nothing is computed.
    pub fn is_hollow(&self) -> bool {
        self.memory().is_hollow()
    }

    /// A hollow device's memory of `len` elements, as much as data of the host would take.
    ///
    /// # Errors
    /// Past the device's limit.
    pub fn of_nothing(&self, dtype: DType, len: usize) -> Result<Storage> {
        // Storage types have a word per element.
        let bytes = dtype.size().max(4) as u64 * len as u64;
        let mut memory = self.memory();
        memory.make_room(bytes).map_err(|full| full.error("a tensor"))?;
        let loan = memory.lend(bytes, Holder::Handle);
        drop(memory);
        Ok(Storage::Cpu(Buffer::of_nothing(dtype, loan, &self.memory)))
    }

    /// A copy of a buffer's elements.
    ///
    /// # Errors
    /// Out of memory.
    pub fn read(&self, buffer: &Buffer) -> Result<HostData> {
        let data = buffer.read();
        had_room(data.try_clone(), "a tensor", data.kind(), data.len())
    }

    /// The memory of results, free and lent.
    pub fn memory(&self) -> MutexGuard<'_, Pool<Words>> {
        lock(&self.memory)
    }

    /// What is held.
    pub fn account(&self) -> Account {
        self.memory().account()
    }

    /// What is cached besides the plans' data, added up piece by piece.
    #[cfg(test)]
    pub fn cached_piece_by_piece(&self) -> u64 {
        let slots: usize = lock(&self.slots).iter().map(|slot| 4 * slot.words.len()).sum();
        let threads: usize = self.threads.broadcast(|_| scratch::bytes()).iter().sum();
        let pooled: usize = self.memory().waiting().map(|(_, words)| 4 * words.len()).sum();
        (slots + self.scratch.bytes() + threads + pooled) as u64
    }

    /// Kernels run so far.
    pub fn kernels(&self) -> u64 {
        self.kernels.load(Ordering::Relaxed)
    }

    /// Prepares a plan. A graph with F64 in it runs node by node instead.
    pub fn compile(&self, graph: &Graph, plan: Arc<Plan>) -> Result<Compiled> {
        let is_f64 = graph.nodes.iter().any(|n| n.dtype == DType::F64) || plan.buffers.iter().any(|b| b.dtype == DType::F64);
        if is_f64 {
            return Ok(Compiled { code: Code::Graph(graph.clone()), workspace: Workspace::default() });
        }
        let kernels = plan.steps.iter().map(|step| Prepared::new(&plan, step)).collect::<Result<_>>()?;
        Ok(Compiled { workspace: workspace(&plan), code: Code::Plan { plan, kernels } })
    }

    /// Takes the memory for a run; if there is none, nothing has happened yet.
    ///
    /// # Errors
    /// Out of memory.
    pub fn room(&self, compiled: &Compiled) -> Result<Room<'_>> {
        let mut slots = lock(&self.slots);
        let outputs = match &compiled.code {
            Code::Graph(graph) => {
                let (what, bytes) = ("values of a graph in f64", f64_graph::bytes(graph));
                self.make_room(bytes, what)?;
                if !self.is_hollow() {
                    probe(what, bytes)?;
                }
                Vec::new()
            }
            Code::Plan { plan, .. } => {
                self.memory().begin();
                self.grow(&mut slots, &compiled.workspace)?;
                self.grant(&compiled.workspace)?;
                self.outputs(plan)?
            }
        };
        Ok(Room { slots, outputs })
    }

    /// Runs a compiled plan and returns the storage of each output. `launched` takes what ran, and for how long.
    pub fn run(
        &self,
        compiled: &Compiled,
        bindings: &Bindings,
        room: Room<'_>,
        mut launched: Option<&mut Vec<Launched>>,
    ) -> Result<Vec<Storage>> {
        let Room { mut slots, outputs } = room;
        match &compiled.code {
            Code::Graph(graph) if self.is_hollow() => {
                let made = graph.outputs.iter().filter_map(|&id| graph.nodes.get(id));
                made.map(|node| self.of_nothing(node.dtype, node.shape.numel())).collect()
            }
            Code::Plan { plan, .. } if self.is_hollow() => {
                plan.outputs.iter().map(|&id| output(plan, id, &outputs, bindings)).collect()
            }
            Code::Graph(graph) => {
                self.kernels.fetch_add(graph.nodes.len() as u64, Ordering::Relaxed);
                let since = Instant::now();
                let outputs = f64_graph::run(graph, bindings)?;
                if let Some(launched) = launched {
                    // The reference walks the whole graph at once.
                    launched.push(Launched { step: 0, name: "f64 graph".into(), time: Some(since.elapsed()) });
                }
                // There was room for them; the graph's effects have happened.
                Ok(outputs.into_iter().map(|data| Storage::Cpu(Buffer::new(data, &self.memory))).collect())
            }
            Code::Plan { plan, kernels } => {
                check_leaves(plan, bindings)?;
                let mut steps = Steps { plan, slots: &mut slots, outputs: &outputs, bindings };
                self.threads.install(|| {
                    let awake = Awake::default();
                    plan.steps.iter().zip(kernels).enumerate().try_for_each(|(n, (step, kernel))| {
                        awake.keep();
                        let Some(launched) = launched.as_deref_mut() else { return steps.run(step, kernel) };
                        let since = Instant::now();
                        steps.run(step, kernel)?;
                        launched.push(Launched { step: n, name: step.kernel.name().into(), time: Some(since.elapsed()) });
                        Ok(())
                    })
                })?;
                self.kernels.fetch_add(plan.steps.len() as u64, Ordering::Relaxed);
                plan.outputs.iter().map(|&id| output(plan, id, &outputs, bindings)).collect()
            }
        }
    }

    /// Shrinks slots, and what threads keep, to what a workspace wants.
    pub fn fit(&self, workspace: &Workspace) {
        let mut slots = lock(&self.slots);
        let mut wanted = workspace.slots.iter();
        // A slot that is too large is made anew by the next run, which knows its size.
        slots.iter_mut().for_each(|slot| {
            if slot.loan.size > wanted.next().copied().unwrap_or(0) {
                slot.words = Vec::new();
                self.memory().shrink(&mut slot.loan, 0);
            }
        });
        let [shared, own] = scratch_of(workspace);
        self.scratch.fit(shared);
        self.threads.broadcast(|_| scratch::fit(own));
        let wanted = self.scratch_bytes(workspace);
        let granted = self.granted.fetch_min(wanted, Ordering::Relaxed);
        let memory = self.memory();
        if memory.is_hollow() {
            memory.aside().fetch_sub(granted.saturating_sub(wanted), Ordering::Relaxed);
        }
        drop(memory);
        let used = slots.iter().rposition(|s| s.loan.size > 0).map_or(0, |last| last + 1);
        slots.truncate(used);
    }

    /// Makes room for the scratch memory that a plan wants, which threads take when they need it.
    fn grant(&self, workspace: &Workspace) -> Result<()> {
        let wanted = self.scratch_bytes(workspace);
        let more = wanted.saturating_sub(self.granted.load(Ordering::Relaxed));
        if more > 0 {
            let what = "what kernels work in";
            self.make_room(more, what)?;
            if !self.is_hollow() {
                probe(what, more)?;
            }
            self.granted.fetch_add(more, Ordering::Relaxed);
            let memory = self.memory();
            if memory.is_hollow() {
                // Threads count what they take; here none takes any.
                memory.aside().fetch_add(more, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// What all threads share, and each has its own.
    fn scratch_bytes(&self, workspace: &Workspace) -> u64 {
        let [shared, own] = scratch_of(workspace);
        shared + own * self.threads.current_num_threads() as u64
    }

    /// Grows slots to what a plan wants.
    fn grow(&self, slots: &mut Vec<Slot>, workspace: &Workspace) -> Result<()> {
        for (n, &bytes) in workspace.slots.iter().enumerate() {
            if n == slots.len() {
                slots.push(Slot { words: Vec::new(), loan: self.memory().lend(0, Holder::Plan) });
            }
            let slot = &mut slots[n];
            if slot.loan.size < bytes {
                // Old contents need no copy, and their memory is free for the new.
                slot.words = Vec::new();
                self.memory().shrink(&mut slot.loan, 0);
                let (words, loan) = self.take(word_count(bytes), Holder::Plan, "an intermediate result")?;
                *slot = Slot { words, loan };
            }
        }
        Ok(())
    }

    /// A buffer for every output.
    fn outputs(&self, plan: &Plan) -> Result<Vec<Buffer>> {
        let mut sizes: Vec<(DType, usize)> = Vec::new();
        for info in &plan.buffers {
            if let Place::Output(i) = info.place {
                if sizes.len() <= i {
                    sizes.resize(i + 1, (DType::U32, 0));
                }
                sizes[i] = (info.dtype, info.len);
            }
        }
        let take = |(dtype, len)| {
            let (words, loan) = self.take(len, Holder::Handle, "a result")?;
            Ok(Buffer::of_words(words, loan, dtype, &self.memory))
        };
        sizes.into_iter().map(take).collect()
    }

    /// `len` words, with undefined contents: from the pool, else from the system, else from the system once the pool is
    /// empty.
    fn take(&self, len: usize, holder: Holder, what: &str) -> Result<(Words, Loan)> {
        let bytes = 4 * len as u64;
        let mut memory = self.memory();
        if let Some(found) = memory.reuse(bytes, holder) {
            return Ok(found);
        }
        memory.make_room(bytes).map_err(|full| full.error(what))?;
        let words = match zeroed(what, if memory.is_hollow() { 0 } else { len }) {
            Ok(words) => words,
            Err(_) => {
                memory.clear();
                zeroed(what, len)?
            }
        };
        let loan = memory.adopt(bytes, holder);
        Ok((words, loan))
    }
}

/// What a plan works in; its scratch memory is what all threads share, and what each has. Storage types are planned as packed,
/// but have one word per element here.
fn workspace(plan: &Plan) -> Workspace {
    let mut slots: Vec<u64> = plan.slots.iter().map(|&bytes| (bytes as u64).next_multiple_of(4)).collect();
    for info in &plan.buffers {
        if let Place::Slot(n) = info.place {
            slots[n] = slots[n].max(4 * info.len as u64);
        }
    }
    let floats = plan.steps.iter().map(|step| match &step.kernel {
        Kernel::Conv2d(conv) => conv2d::scratch(conv),
        Kernel::MatMul(product) => [matmul::scratch(product), 0],
        Kernel::Attention(a) => [0, attention::scratch(a)],
        Kernel::Recurrent(op) => recurrent::scratch(*op),
        _ => [0; 2],
    });
    let [shared, own] = floats.fold([0; 2], |all, [shared, own]| [all[0].max(shared), all[1].max(own)]);
    Workspace { slots, scratch: vec![4 * shared as u64, 4 * own as u64] }
}

/// The bytes of scratch memory that all threads share, and those of each.
fn scratch_of(workspace: &Workspace) -> [u64; 2] {
    [0, 1].map(|n| workspace.scratch.get(n).copied().unwrap_or(0))
}

/// The words in this many bytes; for more bytes than memory can have, the most there are.
fn word_count(bytes: u64) -> usize {
    usize::try_from(bytes / 4).unwrap_or(usize::MAX)
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

fn output(plan: &Plan, id: usize, outputs: &[Buffer], bindings: &Bindings) -> Result<Storage> {
    match plan.buffers.get(id).map(|info| info.place) {
        Some(Place::Output(i)) => Ok(Storage::Cpu(outputs[i].clone())),
        Some(Place::Leaf(leaf)) => Ok(Storage::Cpu(leaf_buffer(bindings, leaf)?.clone())),
        place => Err(Error::internal(format!("an output is planned at {place:?}"))),
    }
}
