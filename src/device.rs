//! Devices: where tensors live and graphs run.

use crate::cpu::CpuExecutor;
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::eval::cache::PlanCache;
use crate::gpu::GpuExecutor;
use crate::storage::Storage;
use crate::sync::lock;
use crate::tensor::Tensor;
use crate::tensor::node::{Handle, Node};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// What kind of device runs the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A hardware GPU through Vulkan, Metal or DX12.
    Gpu,
    /// A GPU driver that runs on the host's cores: lavapipe, SwiftShader, WARP.
    Software,
    /// The CPU device: Rust code on the host's cores.
    Cpu,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gpu => "gpu",
            Self::Software => "software",
            Self::Cpu => "cpu",
        })
    }
}

/// What [`Device::list`] tells about a device, without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Position in the list; a name that [`Device::named`] takes.
    pub index: usize,
    /// The kind.
    pub kind: DeviceKind,
    /// The adapter's name.
    pub name: String,
    /// The graphics API, or `native`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Limits and features that matter here, as (name, value).
    pub limits: Vec<(&'static str, String)>,
}

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
}

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceOptions {
    /// Use only WebGPU's default limits, as the weakest adapter would offer. Defaults to false.
    pub clamped: bool,
    /// Compile shaders with the driver's bounds checks. Defaults to false in release builds, true in debug builds.
    pub checks: Option<bool>,
    /// Run every op as its own kernel. For tests. Defaults to false.
    pub unfused: bool,
    /// Use the kernels that are chosen for hardware GPUs, on a software adapter, too. For tests. Defaults to false.
    pub hardware_kernels: bool,
}

#[derive(Debug)]
pub(crate) enum Backend {
    Cpu(CpuExecutor),
    Gpu(Box<GpuExecutor>),
}

pub(crate) struct Inner {
    kind: DeviceKind,
    name: String,
    pub backend: Backend,
    pub fuse: bool,
    pub plans: Mutex<PlanCache>,
    /// Held while an evaluation reads and changes node and cell states.
    pub evaluation: Mutex<()>,
    live: Mutex<HashMap<u64, Weak<Handle>>>,
    pending: Mutex<HashMap<u64, Arc<Node>>>,
}

/// A device: a GPU, a software adapter, or the CPU. Clones share it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}: {})", self.kind(), self.name())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.kind())
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Device {}

const GET_A_DRIVER: &str = "install a Vulkan driver: for a GPU the vendor's, for a software adapter `apt-get install libvulkan1 \
                            mesa-vulkan-drivers` (Debian, Ubuntu) or your system's Mesa Vulkan package";

const NAME_ONE: &str =
    "use best, gpu, software or cpu, an index, or part of a name from the list (`cargo run --example devices`)";

impl Device {
    fn open(kind: DeviceKind, name: String, backend: Backend, options: DeviceOptions) -> Self {
        Self(Arc::new(Inner {
            kind,
            name,
            backend,
            fuse: !options.unfused,
            plans: Mutex::default(),
            evaluation: Mutex::default(),
            live: Mutex::default(),
            pending: Mutex::default(),
        }))
    }

    /// The device that `WGRAD_DEVICE` names (see [`Device::named`]); if it is unset, blank or `best`, the first hardware GPU;
    /// else the CPU device.
    ///
    /// A software adapter is never chosen by itself: it is slower than the CPU device.
    ///
    /// # Errors
    /// `WGRAD_DEVICE` names no device or is not UTF-8; the GPU fails to open.
    pub fn best() -> Result<Self> {
        let Some(raw) = std::env::var_os("WGRAD_DEVICE") else { return Self::choose(DeviceOptions::default()) };
        let Some(wanted) = raw.to_str() else {
            let reason = "the variable WGRAD_DEVICE is not UTF-8".to_owned();
            return Err(Error::NoDevice { wanted: raw.to_string_lossy().into(), reason, help: NAME_ONE.into() });
        };
        if wanted.trim().is_empty() {
            return Self::choose(DeviceOptions::default());
        }
        Self::named(wanted).map_err(|error| match error {
            Error::NoDevice { wanted, reason, help } => {
                Error::NoDevice { wanted, reason: format!("the variable WGRAD_DEVICE asks for it; {reason}"), help }
            }
            other => other,
        })
    }

    /// The first hardware GPU, else the CPU device, whatever the environment says.
    fn choose(options: DeviceOptions) -> Result<Self> {
        match Self::first(DeviceKind::Gpu, options) {
            Err(Error::NoDevice { .. }) => Self::named_with("cpu", options),
            other => other,
        }
    }

    /// The first hardware GPU.
    ///
    /// # Errors
    /// There is none, or it fails to open.
    pub fn gpu() -> Result<Self> {
        Self::first(DeviceKind::Gpu, DeviceOptions::default())
    }

    /// The first software adapter (lavapipe, SwiftShader, WARP): for tests and machines without a GPU.
    ///
    /// # Errors
    /// There is none, or it fails to open.
    pub fn software() -> Result<Self> {
        Self::first(DeviceKind::Software, DeviceOptions::default())
    }

    /// The CPU device.
    ///
    /// # Errors
    /// The thread pool cannot be made.
    pub fn cpu() -> Result<Self> {
        static SHARED: OnceLock<Device> = OnceLock::new();
        if let Some(device) = SHARED.get() {
            return Ok(device.clone());
        }
        let device = Self::cpu_with(DeviceOptions::default())?;
        Ok(SHARED.get_or_init(|| device).clone())
    }

    /// A CPU device of its own, with options.
    ///
    /// # Errors
    /// The thread pool cannot be made.
    pub fn cpu_with(options: DeviceOptions) -> Result<Self> {
        let executor = CpuExecutor::new()?;
        let name = format!("CPU, {} threads", threads());
        Ok(Self::open(DeviceKind::Cpu, name, Backend::Cpu(executor), options))
    }

    /// The first device of a kind, with options.
    ///
    /// # Errors
    /// There is none of that kind, or it fails to open.
    pub fn first(kind: DeviceKind, options: DeviceOptions) -> Result<Self> {
        if kind == DeviceKind::Cpu {
            return Self::cpu_with(options);
        }
        let list = Self::list();
        match list.iter().find(|d| d.kind == kind) {
            Some(info) => Self::open_adapter(info, options),
            None => Err(no_device(&kind.to_string(), &list)),
        }
    }

    /// The device that a text names: a kind (`gpu`, `software`, `cpu`), `best` for what [`Device::best`] takes without its
    /// variable, an index of [`Device::list`], or part of a name, in any case; of several devices with it, the first. Digits
    /// alone are an index. Blanks around the text are passed over.
    ///
    /// # Errors
    /// Nothing matches; the text is blank; the device fails to open.
    pub fn named(wanted: &str) -> Result<Self> {
        Self::named_with(wanted, DeviceOptions::default())
    }

    /// As [`Device::named`], with options.
    ///
    /// # Errors
    /// As [`Device::named`].
    pub fn named_with(wanted: &str, options: DeviceOptions) -> Result<Self> {
        let lower = wanted.trim().to_lowercase();
        let plain = options == DeviceOptions::default();
        match lower.as_str() {
            "best" => return Self::choose(options),
            "cpu" if plain => return Self::cpu(),
            "cpu" => return Self::cpu_with(options),
            "gpu" => return Self::first(DeviceKind::Gpu, options),
            "software" => return Self::first(DeviceKind::Software, options),
            _ => {}
        }
        let list = Self::list();
        // Every name has the empty text, which is not an index either; digits in names tell a model or a count of threads.
        let found = if lower.chars().all(|c| c.is_ascii_digit()) {
            lower.parse().ok().and_then(|i: usize| list.get(i))
        } else {
            list.iter().find(|d| d.name.to_lowercase().contains(&lower))
        };
        match found {
            Some(info) if info.kind == DeviceKind::Cpu => Self::cpu_with(options),
            Some(info) => Self::open_adapter(info, options),
            None => Err(no_device(wanted, &list)),
        }
    }

    fn open_adapter(info: &DeviceInfo, options: DeviceOptions) -> Result<Self> {
        let checks = options.checks.unwrap_or(cfg!(debug_assertions));
        let DeviceOptions { clamped, hardware_kernels, .. } = options;
        let executor = GpuExecutor::open(info.index, crate::gpu::context::Options { clamped, checks, hardware_kernels })?;
        Ok(Self::open(info.kind, info.name.clone(), Backend::Gpu(Box::new(executor)), options))
    }

    /// Every device of this machine: adapters in the order in which drivers report them, then the CPU device.
    pub fn list() -> Vec<DeviceInfo> {
        let mut list: Vec<DeviceInfo> = crate::gpu::context::list()
            .into_iter()
            .map(|a| DeviceInfo {
                index: a.index,
                kind: if a.is_software() { DeviceKind::Software } else { DeviceKind::Gpu },
                name: a.name,
                backend: a.backend,
                driver: a.driver,
                limits: a.limits,
            })
            .collect();
        list.push(DeviceInfo {
            index: list.len(),
            kind: DeviceKind::Cpu,
            name: format!("CPU, {} threads", threads()),
            backend: "native".into(),
            driver: String::new(),
            limits: Vec::new(),
        });
        list
    }

    /// The device's kind.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the device has done and holds.
    pub fn counters(&self) -> Counters {
        let plans = lock(&self.0.plans).compiled();
        match &self.0.backend {
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
                }
            }
        }
    }

    /// The WGSL text of every pipeline that the device has made, sorted; none on the CPU device. For inspection.
    pub fn shader_sources(&self) -> Vec<String> {
        match &self.0.backend {
            Backend::Cpu(_) => Vec::new(),
            Backend::Gpu(gpu) => lock(&gpu.pipelines).sources(),
        }
    }

    /// Runs assignments that still wait (see [`Param::assign_with`]), then waits until the device is idle.
    ///
    /// # Errors
    /// Evaluation errors; a lost device.
    ///
    /// [`Param::assign_with`]: crate::Param::assign_with
    pub fn flush(&self) -> Result<()> {
        let waiting: Vec<Arc<Node>> = lock(&self.0.pending).values().cloned().collect();
        crate::eval::evaluate(&waiting)?;
        match &self.0.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Gpu(gpu) => gpu.wait(),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn is_cpu(&self) -> bool {
        matches!(self.0.backend, Backend::Cpu(_))
    }

    pub(crate) fn upload(&self, data: HostData) -> Result<Storage> {
        match &self.0.backend {
            Backend::Cpu(cpu) => Ok(Storage::Cpu(cpu.upload(data.unpacked()))),
            Backend::Gpu(gpu) => Ok(Storage::Gpu(gpu.upload(&data)?)),
        }
    }

    /// A realised value's elements. Waits for the device.
    pub(crate) fn read(&self, storage: &Storage, dtype: crate::dtype::DType, len: usize) -> Result<HostData> {
        match (&self.0.backend, storage) {
            (Backend::Cpu(cpu), Storage::Cpu(buffer)) => Ok(cpu.read(buffer).packed(dtype)),
            (Backend::Gpu(gpu), Storage::Gpu(buffer)) => gpu.read(buffer, dtype, len),
            _ => Err(Error::internal("a value's memory belongs to another kind of device")),
        }
    }

    /// Overwrites `to` with the elements of `from`, which has the same size and dtype.
    pub(crate) fn copy(&self, from: &Storage, to: &Storage) -> Result<()> {
        match (&self.0.backend, from, to) {
            (Backend::Gpu(gpu), Storage::Gpu(from), Storage::Gpu(to)) => gpu.copy(from, to),
            (Backend::Cpu(_), Storage::Cpu(from), Storage::Cpu(to)) => {
                let data = from.read().clone();
                *to.write() = data;
                Ok(())
            }
            _ => Err(Error::internal("a value's memory belongs to another kind of device")),
        }
    }

    /// A copy of a tensor's value that no handle shares.
    pub(crate) fn duplicate(&self, tensor: &Tensor) -> Result<Storage> {
        let node = tensor.node()?.clone();
        crate::eval::evaluate(std::slice::from_ref(&node))?;
        let _guard = lock(&self.0.evaluation);
        let storage = crate::eval::memory_of(&node)?;
        match (&self.0.backend, &storage) {
            (Backend::Gpu(gpu), Storage::Gpu(source)) => {
                let copy = gpu.alloc(node.dtype.bytes(node.shape.numel()) as u64)?;
                if node.shape.numel() > 0 {
                    gpu.copy(source, &copy)?;
                }
                Ok(Storage::Gpu(copy))
            }
            (Backend::Cpu(cpu), Storage::Cpu(source)) => Ok(Storage::Cpu(cpu.upload(cpu.read(source)))),
            _ => Err(Error::internal("a value's memory belongs to another kind of device")),
        }
    }

    pub(crate) fn register_live(&self, id: u64, handle: &Arc<Handle>) {
        lock(&self.0.live).insert(id, Arc::downgrade(handle));
    }

    pub(crate) fn unregister_live(&self, id: u64) {
        lock(&self.0.live).remove(&id);
    }

    /// The nodes whose value a later step may take away although somebody still wants it (handles, and assignments that
    /// have not run), in the order of their creation.
    pub(crate) fn endangered_nodes(&self) -> Vec<Arc<Node>> {
        // Upgraded handles must drop outside the lock: their drop takes it.
        let handles: Vec<Arc<Handle>> = lock(&self.0.live).values().filter_map(Weak::upgrade).collect();
        let mut nodes: Vec<Arc<Node>> = handles.iter().map(|h| h.node.clone()).collect();
        nodes.extend(lock(&self.0.pending).values().cloned());
        nodes.sort_by_key(|n| n.id);
        nodes.dedup_by_key(|n| n.id);
        nodes
    }

    pub(crate) fn add_pending(&self, cell: u64, assign: Arc<Node>) {
        let replaced = lock(&self.0.pending).insert(cell, assign);
        drop(replaced);
    }

    pub(crate) fn remove_pending(&self, cell: u64) {
        let removed = lock(&self.0.pending).remove(&cell);
        drop(removed);
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn no_device(wanted: &str, list: &[DeviceInfo]) -> Error {
    let found: Vec<String> = list.iter().map(|d| format!("{}: {} ({})", d.index, d.name, d.kind)).collect();
    let help = match wanted.trim().to_lowercase().as_str() {
        "gpu" | "software" => GET_A_DRIVER,
        _ => NAME_ONE,
    };
    Error::NoDevice {
        wanted: wanted.into(),
        reason: format!("looked for Vulkan, Metal and DX12 adapters and found [{}]", found.join("; ")),
        help: help.into(),
    }
}
