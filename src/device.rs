//! Devices: where tensors live and graphs run.

pub use crate::executor::{CacheLimits, Counters, Launch, Profile, ProfileRow};
pub use crate::lazy::{Device, DeviceKind};

use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::gpu::context;
use std::fmt;
use std::sync::OnceLock;

/// What [`Device::list`] tells about a device, without opening it. `Display` writes all but the limits, in a line.
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

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, name, backend, driver, .. } = self;
        let driver = if driver.is_empty() { String::new() } else { format!(", {driver}") };
        write!(f, "{index}: {name} ({kind}, {backend}{driver})")
    }
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

const GET_A_GPU: &str = "install the GPU vendor's Vulkan driver, or use `software` or `cpu`";

const GET_SOFTWARE: &str = "install Mesa's Vulkan drivers (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers`), or use `cpu`";

const NAME_ONE: &str =
    "use best, gpu, software or cpu, an index, or part of a name from the list (`cargo run --example devices`)";

impl Device {
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
        let executor = Executor::cpu(!options.unfused)?;
        Ok(Self::new(DeviceKind::Cpu, format!("CPU, {} threads", threads()), executor))
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
        let DeviceOptions { clamped, hardware_kernels, unfused, .. } = options;
        let executor = Executor::gpu(info.index, context::Options { clamped, checks, hardware_kernels }, !unfused)?;
        Ok(Self::new(info.kind, info.name.clone(), executor))
    }

    /// Every device of this machine: adapters in the order in which drivers report them, then the CPU device.
    pub fn list() -> Vec<DeviceInfo> {
        let mut list: Vec<DeviceInfo> = context::list()
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

    /// What the device has done and holds.
    pub fn counters(&self) -> Counters {
        Counters { bytes_kept: self.kept_bytes(), ..self.executor().counters() }
    }

    /// What the device may keep for later.
    pub fn cache_limits(&self) -> CacheLimits {
        self.executor().cache_limits()
    }

    /// Sets what the device may keep for later; what is beyond goes at once. [`Device::cpu`] gives one device to all who ask,
    /// with one set of limits.
    ///
    /// ```
    /// use wgrad::{CacheLimits, Device};
    ///
    /// let device = Device::cpu()?;
    /// device.set_cache_limits(CacheLimits { bytes: 64 << 20, ..CacheLimits::default() });
    /// assert!(device.counters().bytes_cached <= 64 << 20);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn set_cache_limits(&self, limits: CacheLimits) {
        self.executor().set_cache_limits(limits);
    }

    /// Runs `work`, such as a training step, and gives what it returns with every launch of every plan that ran on the device
    /// meanwhile, by whichever thread. The results are those of an unprofiled run, bit for bit.
    ///
    /// On a GPU each launch is a pass between two timestamps, and each plan is waited for; without timestamps there are counts
    /// alone. What nobody evaluates does not run: let `work` end with a step, [`Tensor::eval`](crate::Tensor::eval) or a read.
    /// The first step of its kind compiles plans, so profile a later one.
    ///
    /// ```
    /// use wgrad::{Device, Tensor};
    ///
    /// let device = Device::cpu()?;
    /// let a = Tensor::ones([64, 64], &device)?;
    /// let (sum, profile) = device.profile(|| a.matmul(&a).relu().sum().item())?;
    /// assert_eq!(sum, 64.0 * 64.0 * 64.0);
    /// assert!(profile.flops() >= 2 * 64 * 64 * 64);
    /// let slowest = &profile.rows()[0];
    /// println!("{} took {:?}\n\n{profile}", slowest.kernel, slowest.time);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// That of `work`; the device is being profiled already; it is lost.
    pub fn profile<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Profile)> {
        let recording = self.executor().record()?;
        let value = work()?;
        Ok((value, recording.finish(self.name())))
    }

    /// The WGSL text of every pipeline that a cached plan uses, sorted; none on the CPU device. For inspection.
    pub fn shader_sources(&self) -> Vec<String> {
        self.executor().shader_sources()
    }

    /// Runs this thread's assignments that still wait (see [`Param::assign_with`]), then waits until the device is idle.
    ///
    /// # Errors
    /// Evaluation errors; a lost device.
    ///
    /// [`Param::assign_with`]: crate::Param::assign_with
    pub fn flush(&self) -> Result<()> {
        crate::eval::evaluate(&self.pending())?;
        self.executor().wait()
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The most devices that an error lists.
const SHOWN: usize = 5;

fn no_device(wanted: &str, list: &[DeviceInfo]) -> Error {
    let found = list.iter().take(SHOWN).map(|d| format!("{}: {} ({})", d.index, d.name, d.kind));
    let mut found = found.collect::<Vec<_>>().join("; ");
    if list.len() > SHOWN {
        found += &format!("; and {} more", list.len() - SHOWN);
    }
    let help = match wanted.trim().to_lowercase().as_str() {
        "gpu" => GET_A_GPU,
        "software" => GET_SOFTWARE,
        _ => NAME_ONE,
    };
    Error::NoDevice { wanted: wanted.into(), reason: format!("there is {found}"), help: help.into() }
}
