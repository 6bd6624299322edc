//! What runs plans: the CPU device or a GPU, with the plans that it has compiled. The one place where the two are told apart;
//! their memory is told apart in [`storage`](crate::storage).

mod alarm;
pub(crate) mod arena;
mod cache;
mod profile;
mod recording;
mod settle;
#[cfg(all(test, feature = "gpu"))]
mod tests;
mod trace;
mod transfer;
mod trial;
mod unasked;

pub(crate) use alarm::Flag;
pub use cache::CacheLimits;
pub use profile::{Ceilings, Launch, LayerRow, Pass, Profile, ProfileRow};

use crate::cpu::{self, CpuExecutor};
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::faults::{self, FaultKind, Faults};
use crate::gpu::download::Download;
use crate::gpu::{self, GpuExecutor};
use crate::graph::{Graph, NodeId};
use crate::plan::Plan;
use crate::plan::materialise::Options;
use crate::site::FLAG;
use crate::storage::Storage;
use crate::storage::bindings::Bindings;
use crate::storage::pool::{Account, Counted, KINDS};
use crate::sync::lock;
use alarm::Alarm;
use cache::PlanCache;
use profile::Record;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use unasked::Unasked;
pub(crate) use unasked::{VARIABLE, target};

/// What a device has done, and what it holds in memory; counts are since it was opened.
///
/// `bytes_live` and `bytes_cached` together are all that the device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Plans compiled.
    pub plans: u64,
    /// Plans in the cache now.
    pub plans_cached: u64,
    /// Plans that the cache has evicted, because of its limits or because memory ran out.
    pub evictions: u64,
    /// Pipelines created (GPU).
    pub pipelines: u64,
    /// Bind groups created (GPU).
    pub bind_groups: u64,
    /// Buffers created: on a GPU all of them, on the CPU device those of results and intermediate results.
    pub buffers: u64,
    /// Queue submissions (GPU).
    pub submissions: u64,
    /// Kernels launched.
    pub dispatches: u64,
    /// Bytes of tensors, parameters, optimizers and values kept for gradients.
    pub bytes_live: u64,
    /// Bytes that are only kept for later: memory that handles no longer need, the memory that plans work in and their
    /// tables, staging memory, and the plans themselves with their pipelines; the last two are estimates.
    pub bytes_cached: u64,
    /// The most bytes that were in use at the same time: those of `bytes_live` and those that plans work in.
    pub bytes_peak: u64,
    /// Bytes of parameters' old values that are kept because handles still need them; part of `bytes_live`.
    pub bytes_kept: u64,
}

#[derive(Debug)]
enum Backend {
    Cpu(CpuExecutor),
    Gpu(Box<GpuExecutor>),
}

/// What a backend makes of a plan.
#[derive(Debug)]
enum Code {
    Cpu(cpu::Compiled),
    Gpu(gpu::Compiled),
}

/// A plan ready to run on its device.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The plan as data.
    pub plan: Arc<Plan>,
    /// The nodes whose values a run gives, in order: the graph's outputs, and what its wishes were resolved to.
    pub outputs: Vec<NodeId>,
    code: Code,
}

/// A value on its way to the host.
#[derive(Debug)]
pub(crate) enum Transfer {
    /// It is here.
    Arrived(HostData),
    /// The copy joins the next submission; the flag comes with it.
    Coming(Download, Option<Flag>),
}

/// A backend and its plans.
#[derive(Debug)]
pub(crate) struct Executor {
    backend: Backend,
    /// Whether elementwise work joins the kernels that it feeds or follows.
    fuse: bool,
    plans: Mutex<PlanCache<Compiled>>,
    /// What runs while somebody profiles.
    record: Mutex<Option<Record<Compiled>>>,
    /// What profiles compare rates with, once measured.
    pub ceilings: OnceLock<Option<Ceilings>>,
    /// What `WGRAD_PROFILE` asks for.
    unasked: OnceLock<Arc<Unasked<Compiled>>>,
    /// What is to go wrong on purpose.
    faults: Arc<Faults>,
    /// What checks of indices have found.
    alarm: Alarm,
}

fn mixed() -> Error {
    Error::internal("a plan or a value belongs to another kind of device")
}

impl Executor {
    /// On the host's cores.
    ///
    /// # Errors
    /// The thread pool cannot be made.
    pub fn cpu(fuse: bool) -> Result<Self> {
        Ok(Self::over(Backend::Cpu(CpuExecutor::new()?), fuse))
    }

    /// Of the same kind as another, with the same kernels, which counts memory and computes nothing. Every reading gives zeros.
    ///
    /// # Errors
    /// Its threads, or the device behind it, cannot be made.
    pub fn stand_in(&self) -> Result<Self> {
        let backend = match &self.backend {
            Backend::Cpu(_) => Backend::Cpu(CpuExecutor::new()?),
            Backend::Gpu(gpu) => Backend::Gpu(Box::new(gpu.stand_in()?)),
        };
        Ok(Self::over(backend, self.fuse))
    }

    /// As [`Executor::stand_in`], for a GPU that need not be there.
    ///
    /// # Errors
    /// The device behind it cannot be made.
    pub fn of_model(model: &gpu::model::GpuModel, options: gpu::context::Options, fuse: bool) -> Result<Self> {
        Ok(Self::over(Backend::Gpu(Box::new(GpuExecutor::of_model(model, options)?)), fuse))
    }

    /// Has memory counted, with these counts noted at its peak, and not made: before any is.
    pub fn hollow_out(&self, kinds: [Arc<AtomicU64>; KINDS]) {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().hollow_out(kinds),
            Backend::Gpu(gpu) => gpu.hollow_out(kinds),
        }
    }

    /// Whether memory is counted and not there.
    pub fn is_hollow(&self) -> bool {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.is_hollow(),
            Backend::Gpu(gpu) => gpu.is_hollow(),
        }
    }

    /// What a stand-in's live memory held, and its account, when the most was in use.
    pub fn at_peak(&self) -> ([u64; KINDS], Account) {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().at_peak(),
            Backend::Gpu(gpu) => gpu.at_peak(),
        }
    }

    /// The most bytes that were held, caches included.
    pub fn most_held(&self) -> u64 {
        self.account().most
    }

    /// On the adapter of this number.
    ///
    /// # Errors
    /// It fails to open.
    pub fn gpu(adapter: usize, options: gpu::context::Options, fuse: bool) -> Result<Self> {
        Ok(Self::over(Backend::Gpu(Box::new(GpuExecutor::open(adapter, options)?)), fuse))
    }

    fn over(backend: Backend, fuse: bool) -> Self {
        let (plans, record, ceilings, unasked) = (Mutex::default(), Mutex::default(), OnceLock::new(), OnceLock::new());
        let faults = match &backend {
            Backend::Cpu(_) => Arc::default(),
            Backend::Gpu(gpu) => gpu.faults(),
        };
        let executor = Self { backend, fuse, plans, record, ceilings, unasked, faults, alarm: Alarm::default() };
        executor.set_cache_limits(CacheLimits::default());
        executor
    }

    /// What is to go wrong on purpose.
    #[cfg(any(test, feature = "faults"))]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Memory of the CPU device: fails if it is to fail on purpose.
    fn allocates(&self) -> Result<()> {
        if !self.faults.strikes(FaultKind::Allocation) {
            return Ok(());
        }
        Err(Error::out_of_memory(0, faults::REASON, "try again"))
    }

    /// Whether the device is gone for good.
    pub fn is_lost(&self) -> bool {
        match &self.backend {
            Backend::Cpu(_) => false,
            Backend::Gpu(gpu) => gpu.is_lost(),
        }
    }

    /// Tests every kernel family against the reference; returns those that use a plainer form. None on the CPU device.
    pub fn self_test(&self) -> Result<Vec<&'static str>> {
        match &self.backend {
            Backend::Cpu(_) => Ok(Vec::new()),
            Backend::Gpu(gpu) if gpu.is_hollow() => Ok(gpu.forms.replaced()),
            Backend::Gpu(gpu) => self.with_room(None, || trial::prove_all(gpu)),
        }
    }

    /// The results of the trials so far, as text; `None` on the CPU device, which has none.
    pub fn trial_record(&self) -> Option<String> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(trial::record(gpu)),
        }
    }

    /// Takes over the results of [`Executor::trial_record`]. Returns false, and takes none, if they are of another adapter, driver
    /// or version, or no such text.
    pub fn adopt_trial_record(&self, record: &str) -> bool {
        match &self.backend {
            Backend::Cpu(_) => false,
            Backend::Gpu(gpu) => trial::adopt(gpu, record),
        }
    }

    /// Whether attention has a kernel that is worth it here: software adapters multiply faster by products of whole matrices.
    pub fn fuses_attention(&self) -> bool {
        match &self.backend {
            Backend::Cpu(_) => true,
            Backend::Gpu(gpu) => !gpu.is_software(),
        }
    }

    /// Whether values are in host memory, at hand without waiting.
    pub fn is_cpu(&self) -> bool {
        matches!(self.backend, Backend::Cpu(_))
    }

    #[cfg(test)]
    pub fn as_gpu(&self) -> Option<&GpuExecutor> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(gpu),
        }
    }

    /// What has been done so far, and what is held.
    pub fn counters(&self) -> Counters {
        let account = self.account();
        let plans = lock(&self.plans);
        let shared = Counters {
            plans: plans.compiled(),
            plans_cached: plans.len() as u64,
            evictions: plans.evicted(),
            bytes_live: account.live,
            bytes_cached: account.cached(),
            bytes_peak: account.peak,
            ..Counters::default()
        };
        drop(plans);
        match &self.backend {
            Backend::Cpu(cpu) => Counters { dispatches: cpu.kernels(), buffers: account.created, ..shared },
            Backend::Gpu(gpu) => {
                let c = gpu.counters();
                Counters {
                    pipelines: c.pipelines,
                    bind_groups: c.bind_groups,
                    buffers: c.buffers_created,
                    submissions: c.submissions,
                    dispatches: c.dispatches,
                    ..shared
                }
            }
        }
    }

    /// The text of every pipeline that a cached plan uses, and of the one that counts submissions, sorted; none on the CPU device.
    pub fn shader_sources(&self) -> Vec<String> {
        match &self.backend {
            Backend::Cpu(_) => Vec::new(),
            Backend::Gpu(gpu) => lock(&gpu.pipelines).sources(),
        }
    }

    /// Waits until nothing runs.
    pub fn wait(&self) -> Result<()> {
        match &self.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Gpu(gpu) => gpu.wait(),
        }
    }

    // ---- memory ----

    /// Sets the most bytes that the device may hold.
    pub fn limit_memory(&self, bytes: u64) {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().limit_to(bytes),
            Backend::Gpu(gpu) => gpu.limit_memory(bytes),
        }
    }

    /// The most bytes that the device may hold, if there is a limit.
    pub fn memory_limit(&self) -> Option<u64> {
        let limit = match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().limit(),
            Backend::Gpu(gpu) => gpu.memory_limit(),
        };
        (limit < u64::MAX).then_some(limit)
    }

    /// The bytes that plans work in.
    pub fn working_bytes(&self) -> u64 {
        self.account().working
    }

    // ---- indices out of range ----

    /// The flag that the next value to the host brings with it, if there is one.
    pub fn latest_flag(&self) -> Option<Flag> {
        self.alarm.latest()
    }

    /// The flag that checks of indices go on from.
    pub fn flag(&self) -> Result<Flag> {
        self.alarm.begin(|| self.upload(HostData::I32(vec![0; FLAG])))
    }

    /// The flag after checks that went on from another.
    pub fn set_flag(&self, before: &Flag, after: &Storage) {
        self.alarm.set(before, after);
    }

    // ---- plans ----

    /// The plan of a graph, compiled on first use.
    pub fn plan(&self, graph: &Graph) -> Result<Arc<Compiled>> {
        let uses = self.uses();
        if let Some(found) = lock(&self.plans).get(graph, uses) {
            return Ok(found);
        }
        let since = Instant::now();
        let options = match &self.backend {
            Backend::Gpu(gpu) if self.fuse => gpu.plan_options(),
            _ => Options { fuse: self.fuse, gradient_arena: !self.is_cpu(), ..Options::of_gpu(self.most_bytes()) },
        };
        let granted = crate::plan::compile::granted(graph, options);
        let plan = Arc::new(crate::plan::compile::compile(&granted, options)?);
        let code = match &self.backend {
            Backend::Cpu(cpu) => Code::Cpu(cpu.compile(&granted, plan.clone())?),
            Backend::Gpu(gpu) => Code::Gpu(self.with_room(None, || {
                if !gpu.is_hollow() {
                    trial::prove(gpu, &plan)?;
                }
                gpu.compile(plan.clone())
            })?),
        };
        let compiled = Arc::new(Compiled { plan, outputs: granted.outputs.clone(), code });
        let (nodes, steps, ms) = (graph.nodes.len(), compiled.plan.steps.len(), since.elapsed().as_secs_f64() * 1e3);
        log::debug!(target: "wgrad::compile", "a plan of {steps} steps for a graph of {nodes} nodes in {ms:.1} ms");
        let counted = Counted::new(compiled.weight(graph), &self.aside());
        lock(&self.plans).insert(Arc::new(graph.clone()), compiled.clone(), counted, uses);
        self.settle();
        Ok(compiled)
    }

    /// Runs a plan; the values of its outputs, in order.
    pub fn run(&self, compiled: &Arc<Compiled>, bindings: &Bindings) -> Result<Vec<Storage>> {
        let recorded = self.is_recorded();
        let mut launched = Vec::new();
        let outputs = match (&self.backend, &compiled.code) {
            (Backend::Cpu(cpu), Code::Cpu(code)) => {
                let room = self.with_room(Some(compiled), || self.allocates().and_then(|()| cpu.room(code)))?;
                cpu.run(code, bindings, room, recorded.then_some(&mut launched))
            }
            (Backend::Gpu(gpu), Code::Gpu(code)) => {
                // Everything is allocated before the first submission.
                let (values, launches) = self.with_room(Some(compiled), || match recorded {
                    false => Ok((gpu.run(code, bindings)?, Vec::new())),
                    true => gpu.run_timed(code, bindings),
                })?;
                launched = launches;
                let missing = || Error::internal("an output has no buffer");
                values.into_iter().map(|v| v.map(Storage::Gpu).ok_or_else(missing)).collect()
            }
            _ => Err(mixed()),
        };
        if recorded && outputs.is_ok() {
            self.add_run(compiled, &bindings.layers, &launched);
        }
        self.settle();
        outputs
    }
}
