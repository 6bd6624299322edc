//! Who carries plans out: the CPU device or a GPU, with the plans that it has compiled. The one place where the two are told
//! apart; what lies in their memory is told apart in [`storage`](crate::storage).

pub(crate) mod arena;
mod cache;
#[cfg(test)]
mod tests;

use crate::cpu::{self, CpuExecutor};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::gpu::download::Download;
use crate::gpu::{self, GpuExecutor};
use crate::graph::{Graph, NodeId};
use crate::plan::Plan;
use crate::plan::materialise::Options;
use crate::storage::Storage;
use crate::storage::bindings::Bindings;
use crate::sync::lock;
use cache::PlanCache;
use std::sync::{Arc, Mutex};

/// The most buffers that one fused kernel reads: with its output and its table of numbers it stays within WebGPU's default
/// limit on storage buffers.
const MAX_OPERANDS: usize = 7;

/// What a device has done and holds; all counts are since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Plans compiled.
    pub plans: u64,
    /// Pipelines created (GPU).
    pub pipelines: u64,
    /// Bind groups created (GPU).
    pub bind_groups: u64,
    /// Buffers created (GPU).
    pub buffers: u64,
    /// Queue submissions (GPU).
    pub submissions: u64,
    /// Kernels launched.
    pub dispatches: u64,
    /// Bytes of device memory in use now.
    pub bytes_live: u64,
    /// The most bytes that were in use at one time (GPU).
    pub bytes_peak: u64,
    /// Bytes of parameters' old values that are kept because handles still want them; part of `bytes_live`.
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
    /// The nodes whose values a run gives, in order: the graph's outputs, and what its wishes came to.
    pub outputs: Vec<NodeId>,
    code: Code,
}

/// A value on its way to the host.
#[derive(Debug)]
pub(crate) enum Transfer {
    /// It is here.
    Arrived(HostData),
    /// The copy joins the next submission.
    Coming(Download),
}

/// A backend and its plans.
#[derive(Debug)]
pub(crate) struct Executor {
    backend: Backend,
    /// Whether elementwise work joins the kernels that it feeds or follows.
    fuse: bool,
    plans: Mutex<PlanCache<Compiled>>,
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
        Ok(Self { backend: Backend::Cpu(CpuExecutor::new()?), fuse, plans: Mutex::default() })
    }

    /// On the adapter of this index.
    ///
    /// # Errors
    /// It fails to open.
    pub fn gpu(index: usize, options: gpu::context::Options, fuse: bool) -> Result<Self> {
        let executor = Box::new(GpuExecutor::open(index, options)?);
        Ok(Self { backend: Backend::Gpu(executor), fuse, plans: Mutex::default() })
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

    /// What was done so far, and is held.
    pub fn counters(&self) -> Counters {
        let plans = lock(&self.plans).compiled();
        match &self.backend {
            Backend::Cpu(cpu) => {
                let c = cpu.counters();
                Counters { plans, dispatches: c.kernels, bytes_live: c.live_bytes, ..Counters::default() }
            }
            Backend::Gpu(gpu) => {
                let c = gpu.counters();
                Counters {
                    plans,
                    pipelines: c.pipelines,
                    bind_groups: c.bind_groups,
                    buffers: c.buffers_created,
                    submissions: c.submissions,
                    dispatches: c.dispatches,
                    bytes_live: c.bytes_live,
                    bytes_peak: c.bytes_peak,
                    ..Counters::default()
                }
            }
        }
    }

    /// The text of every pipeline so far, sorted; none on the CPU device.
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

    /// Memory that holds these values.
    pub fn upload(&self, data: HostData) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(cpu) => Ok(Storage::Cpu(cpu.upload(data.unpacked()))),
            Backend::Gpu(gpu) => Ok(Storage::Gpu(gpu.upload(&data)?)),
        }
    }

    /// A value's elements. Waits for the device.
    pub fn read(&self, storage: &Storage, dtype: DType, len: usize) -> Result<HostData> {
        match &self.backend {
            Backend::Cpu(cpu) => Ok(cpu.read(storage.on_cpu()?).packed(dtype)),
            Backend::Gpu(gpu) => gpu.read(storage.on_gpu()?, dtype, len),
        }
    }

    /// Overwrites `to` with the elements of `from`, which has the same size and dtype.
    pub fn copy(&self, from: &Storage, to: &Storage) -> Result<()> {
        match &self.backend {
            Backend::Gpu(gpu) => gpu.copy(from.on_gpu()?, to.on_gpu()?),
            Backend::Cpu(_) => {
                let data = from.on_cpu()?.read().clone();
                *to.on_cpu()?.write() = data;
                Ok(())
            }
        }
    }

    /// Other memory with the same contents.
    pub fn duplicate(&self, storage: &Storage, dtype: DType, len: usize) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(cpu) => Ok(Storage::Cpu(cpu.upload(cpu.read(storage.on_cpu()?)))),
            Backend::Gpu(gpu) => {
                let copy = gpu.alloc(dtype.bytes(len) as u64)?;
                if len > 0 {
                    gpu.copy(storage.on_gpu()?, &copy)?;
                }
                Ok(Storage::Gpu(copy))
            }
        }
    }

    /// `len` f32 elements that are 0.
    fn zeroed(&self, len: usize) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(_) => self.upload(HostData::F32(crate::host::zeroed("a tensor", len)?)),
            Backend::Gpu(gpu) => Ok(Storage::Gpu(gpu.alloc(len as u64 * 4)?)),
        }
    }

    /// The most f32 elements that an arena can hold; `None` where optimizers use none.
    fn arena_limit(&self) -> Option<usize> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(usize::try_from(gpu.caps().max_binding / 4).unwrap_or(usize::MAX)),
        }
    }

    /// Starts to bring a value to the host.
    pub fn start_read(&self, storage: &Storage, dtype: DType, len: usize) -> Result<Transfer> {
        match &self.backend {
            Backend::Gpu(gpu) if len > 0 => Ok(Transfer::Coming(gpu.start_download(storage.on_gpu()?, dtype.bytes(len) as u64)?)),
            _ => Ok(Transfer::Arrived(self.read(storage, dtype, len)?)),
        }
    }

    /// The value, if it has arrived.
    pub fn try_read(&self, download: &Download, dtype: DType, len: usize) -> Result<Option<HostData>> {
        match &self.backend {
            Backend::Gpu(gpu) => gpu.try_download(download, |bytes| HostData::from_padded(dtype, bytes, len)),
            Backend::Cpu(_) => Err(mixed()),
        }
    }

    /// The value, once it has arrived.
    pub fn finish_read(&self, transfer: Transfer, dtype: DType, len: usize) -> Result<HostData> {
        match (transfer, &self.backend) {
            (Transfer::Arrived(data), _) => Ok(data),
            (Transfer::Coming(download), Backend::Gpu(gpu)) => {
                gpu.finish_download(&download, |bytes| HostData::from_padded(dtype, bytes, len))
            }
            (Transfer::Coming(_), Backend::Cpu(_)) => Err(mixed()),
        }
    }

    // ---- plans ----

    /// The plan of a graph, compiled on first sight.
    pub fn plan(&self, graph: &Graph) -> Result<Arc<Compiled>> {
        if let Some(found) = lock(&self.plans).get(graph) {
            return Ok(found);
        }
        let max_bytes = match &self.backend {
            Backend::Cpu(_) => u64::MAX,
            Backend::Gpu(gpu) => gpu.max_bytes(),
        };
        let options = Options { fuse: self.fuse, gradient_arena: !self.is_cpu(), max_operands: MAX_OPERANDS, max_bytes };
        let granted = crate::plan::compile::granted(graph, options);
        let plan = Arc::new(crate::plan::compile::compile(&granted, options)?);
        let code = match &self.backend {
            Backend::Cpu(cpu) => Code::Cpu(cpu.compile(&granted, plan.clone())?),
            Backend::Gpu(gpu) => Code::Gpu(gpu.compile(plan.clone())?),
        };
        let compiled = Arc::new(Compiled { plan, outputs: granted.outputs.clone(), code });
        lock(&self.plans).insert(Arc::new(graph.clone()), compiled.clone(), compiled.plan.steps.len());
        Ok(compiled)
    }

    /// Carries a plan out; the values of its outputs, in order.
    pub fn run(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<Storage>> {
        match (&self.backend, &compiled.code) {
            (Backend::Cpu(cpu), Code::Cpu(code)) => cpu.run(code, bindings),
            (Backend::Gpu(gpu), Code::Gpu(code)) => {
                let missing = || Error::internal("an output has no buffer");
                gpu.run(code, bindings)?.into_iter().map(|v| v.map(Storage::Gpu).ok_or_else(missing)).collect()
            }
            _ => Err(mixed()),
        }
    }

    /// Runs a plan with every launch timed, and drops the results; the times as text.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the device has no timestamps; whatever the device reports.
    pub fn profile(&self, compiled: &Compiled, bindings: &Bindings) -> Result<String> {
        match (&self.backend, &compiled.code) {
            (Backend::Gpu(gpu), Code::Gpu(code)) => {
                Ok(crate::plan::explain::times(&compiled.plan, &gpu.profile(code, bindings)?))
            }
            (Backend::Cpu(_), Code::Cpu(_)) => Err(Error::Unsupported {
                op: "profile",
                reason: "the CPU device has no timestamps".into(),
                help: "profile on a GPU or a software adapter".into(),
            }),
            _ => Err(mixed()),
        }
    }
}
