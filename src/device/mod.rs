//! Devices, on which tensors are stored and graphs run.

mod ceilings;
mod choice;
mod estimate;
#[cfg(any(test, feature = "faults"))]
mod faults;
mod options;
#[cfg(all(test, feature = "gpu"))]
mod tests;

pub use crate::executor::{CacheLimits, Ceilings, Counters, Launch, LayerRow, Pass, Profile, ProfileRow};
pub use crate::gpu::model::GpuModel;
pub use crate::lazy::{Device, DeviceKind};
pub use choice::{Choice, DeviceInfo};
pub use estimate::MemoryEstimate;
pub use options::DeviceOptions;

use crate::atomic;
use crate::error::{Error, Result};
use crate::executor::{self, Executor};
use crate::lazy::Holding;
pub use crate::memory::MemoryUse;
use crate::source;
use crate::sync::lock;
use options::{context_options, host_memory};
use std::panic::Location;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

impl Device {
    /// The device that [`Device::choice`] describes: the one that `WGRAD_DEVICE` names; if it is unset, blank or `best`, the
    /// first hardware GPU; else the CPU device. Like [`Device::named`], it gives all callers the same device.
    ///
    /// A software adapter is never chosen by itself: it is slower than the CPU device.
    ///
    /// # Errors
    /// `WGRAD_DEVICE` names no device or is not UTF-8; there is a GPU and it fails to open
    /// ([`Error::DeviceUnavailable`](crate::Error::DeviceUnavailable)).
    pub fn best() -> Result<Self> {
        if std::env::var("WGRAD_DEVICE").is_ok_and(|wanted| choice::is_cpu(&wanted)) {
            log::info!(target: "wgrad::device", "the CPU device: WGRAD_DEVICE asks for it");
            return Self::cpu();
        }
        let choice = Self::choice()?;
        log::info!(target: "wgrad::device", "{choice}");
        Self::shared(&choice.device)
    }

    /// The first hardware GPU, opened once and shared: all callers get the same device, and their tensors can be combined.
    ///
    /// # Errors
    /// There is none, or it fails to open.
    pub fn gpu() -> Result<Self> {
        Self::shared(&choice::first(DeviceKind::Gpu)?)
    }

    /// The first software adapter (lavapipe, SwiftShader, WARP), shared as [`Device::gpu`] is: for tests and machines without a
    /// GPU.
    ///
    /// # Errors
    /// There is none, or it fails to open.
    pub fn software() -> Result<Self> {
        Self::shared(&choice::first(DeviceKind::Software)?)
    }

    /// The CPU device, shared as [`Device::gpu`] is.
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
        executor.limit_memory(options.memory.or_else(host_memory).unwrap_or(u64::MAX));
        Ok(Self::new(DeviceKind::Cpu, choice::cpu_name(), executor).profiled_unasked())
    }

    /// The first device of a kind, opened anew, with options: its tensors cannot be combined with those of any other device.
    ///
    /// # Errors
    /// There is none of that kind, or it fails to open.
    pub fn first(kind: DeviceKind, options: DeviceOptions) -> Result<Self> {
        if kind == DeviceKind::Cpu { Self::cpu_with(options) } else { Self::open(&choice::first(kind)?, options) }
    }

    /// The device that a text names. All callers that name the same adapter get the same device, until it is lost; then it is
    /// opened anew.
    ///
    /// | text | device |
    /// |---|---|
    /// | `gpu`, `software`, `cpu` | the first of the kind |
    /// | `best` | what [`Device::best`] takes without its variable |
    /// | digits, such as `1` | that index of [`Device::list`] |
    /// | `vulkan`, `metal`, `dx12` | the first adapter of that API, even if its GPU is listed for another |
    /// | `dx12:nvidia`, `vulkan:software` | the same, by part of its name or by kind |
    /// | else | the first with that in its name, else in its driver's, in any case |
    ///
    /// Blanks around the text are ignored.
    ///
    /// # Errors
    /// Nothing matches; the text is blank; the device fails to open.
    pub fn named(wanted: &str) -> Result<Self> {
        if choice::is_cpu(wanted) { Self::cpu() } else { Self::shared(&choice::named(wanted)?) }
    }

    /// As [`Device::named`], opened anew, with options: its tensors cannot be combined with those of any other device.
    ///
    /// # Errors
    /// As [`Device::named`].
    pub fn named_with(wanted: &str, options: DeviceOptions) -> Result<Self> {
        if choice::is_cpu(wanted) { Self::cpu_with(options) } else { Self::open(&choice::named(wanted)?, options) }
    }

    /// Opens a device of [`Device::list`] anew, with options.
    ///
    /// # Errors
    /// It fails to open.
    pub fn open(info: &DeviceInfo, options: DeviceOptions) -> Result<Self> {
        let Some(adapter) = info.adapter else { return Self::cpu_with(options) };
        let executor = Executor::gpu(adapter, context_options(options), !options.unfused)?;
        let on_host = || if info.kind == DeviceKind::Software { host_memory() } else { None };
        executor.limit_memory(options.memory.or_else(on_host).unwrap_or(u64::MAX));
        Ok(Self::new(info.kind, info.name.clone(), executor).profiled_unasked())
    }

    /// The device; if `WGRAD_PROFILE` asks for it, all that it runs is recorded.
    fn profiled_unasked(self) -> Self {
        match executor::target(std::env::var_os(executor::VARIABLE).map(|value| value.to_string_lossy().into_owned()).as_deref())
        {
            Ok(None) => {}
            Ok(Some(target)) => {
                // Without them a profile lacks a column.
                let _ = self.ceilings();
                self.executor().record_unasked(target, self.name());
            }
            Err(reason) => eprintln!("{reason}"),
        }
        self
    }

    /// The device that all callers share who ask for this one without options.
    fn shared(info: &DeviceInfo) -> Result<Self> {
        static SHARED: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
        let Some(adapter) = info.adapter else { return Self::cpu() };
        let mut devices = lock(&SHARED);
        if let Some((_, device)) = devices.iter().find(|(id, device)| *id == adapter && !device.executor().is_lost()) {
            return Ok(device.clone());
        }
        let device = Self::open(info, DeviceOptions::default())?;
        devices.retain(|(id, _)| *id != adapter);
        devices.push((adapter, device.clone()));
        Ok(device)
    }

    /// Every device of this machine: adapters, discrete GPUs first, then integrated, virtual and software ones, each GPU once
    /// (for Vulkan before DX12); then the CPU device. The order stays the same as long as the process runs.
    ///
    /// `WGPU_BACKEND=dx12` lists only adapters of that API, `WGPU_POWER_PREF=low` integrated GPUs first, and
    /// `WGPU_ADAPTER_NAME=radeon` adapters with that in their names first.
    pub fn list() -> Vec<DeviceInfo> {
        choice::list()
    }

    /// What [`Device::best`] opens, and why; opens nothing.
    ///
    /// # Errors
    /// `WGRAD_DEVICE` names no device or is not UTF-8.
    pub fn choice() -> Result<Choice> {
        choice::best(std::env::var_os("WGRAD_DEVICE").as_deref())
    }

    /// Tests every kernel family of a GPU against the reference, in a few milliseconds each, and returns those that use a plainer
    /// form because the driver refuses the usual one or gets it wrong. On hardware GPUs each family is tested before its first
    /// use anyway ([`DeviceOptions::self_test`]). On the CPU device there are none.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported): no form of a kernel gives right results; the device is lost.
    pub fn self_test(&self) -> Result<Vec<&'static str>> {
        self.executor().self_test()
    }

    /// Writes the results of the kernels' tests so far to a file, whole or not at all, so that a later process need not repeat them. Nothing is written
    /// on the CPU device, which has none.
    ///
    /// ```no_run
    /// # fn main() -> wgrad::Result<()> {
    /// let device = wgrad::Device::best()?;
    /// if !device.load_self_test("kernels.txt")? {
    ///     device.self_test()?;
    ///     device.save_self_test("kernels.txt")?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]: the file cannot be written.
    #[track_caller]
    pub fn save_self_test(&self, path: impl AsRef<Path>) -> Result<()> {
        let Some(record) = self.executor().trial_record() else { return Ok(()) };
        atomic::write(path.as_ref(), record.as_bytes())
    }

    /// Takes over results that [`Device::save_self_test`] wrote: kernels that passed are not tested again, and those that a plainer
    /// form replaced stay replaced. Returns false, and takes none, if there is no such file, or it is damaged or of another
    /// adapter, driver, version of this crate or set of options. What this process has tested itself stays.
    ///
    /// # Errors
    /// [`Error::Io`]: the file is there and cannot be read.
    #[track_caller]
    pub fn load_self_test(&self, path: impl AsRef<Path>) -> Result<bool> {
        match source::read(path.as_ref()) {
            Ok(record) => Ok(std::str::from_utf8(&record).is_ok_and(|record| self.executor().adopt_trial_record(record))),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the device has done, and what it holds in memory.
    pub fn counters(&self) -> Counters {
        Counters { bytes_kept: self.held(Holding::Old), ..self.executor().counters() }
    }

    /// What the device's memory is used for.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Param, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions::default())?;
    /// let weights = Param::new(&Tensor::zeros([256, 4], &device)?)?;
    /// assert_eq!(device.memory_use().parameters, 4096);
    /// drop(weights);
    /// assert_eq!(device.memory_use().parameters, 0);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    pub fn memory_use(&self) -> MemoryUse {
        self.measured_use()
    }

    /// The most bytes that the device may hold: see [`DeviceOptions::memory`]. Nothing where only its driver knows.
    pub fn memory_limit(&self) -> Option<u64> {
        self.executor().memory_limit()
    }

    /// Sets the most bytes that the device may hold. What it holds stays, even past the limit. All callers of [`Device::cpu`] share
    /// one device, with one limit.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Error, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions::default())?;
    /// device.set_memory_limit(1 << 20);
    /// let error = Tensor::zeros([1024, 1024], &device)?.eval().unwrap_err();
    /// assert!(matches!(error, Error::OutOfMemory { wanted: 4_194_304, limit: Some(1_048_576), .. }), "{error}");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_memory_limit(&self, bytes: u64) {
        self.executor().limit_memory(bytes);
    }

    /// What the device may keep for later.
    pub fn cache_limits(&self) -> CacheLimits {
        self.executor().cache_limits()
    }

    /// Sets what the device may keep for later; anything beyond that is freed at once. All callers of [`Device::cpu`] share one
    /// device, with one set of limits.
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

    /// Runs `work`, such as a training step, and returns its result with every launch of every plan that ran on the device
    /// meanwhile, from any thread. The results are those of an unprofiled run, bit for bit.
    ///
    /// On a GPU each launch is a pass between two timestamps, and each plan is waited for; without timestamps there are only
    /// counts. The first profile of a device measures its [`Device::ceilings`] before. What nobody evaluates does not run: end
    /// `work` with a step, [`Tensor::eval`](crate::Tensor::eval) or a read. The first step of its kind compiles plans, so profile
    /// a later one.
    ///
    /// ```
    /// use wgrad::{Device, DeviceOptions, Tensor};
    ///
    /// let device = Device::cpu_with(DeviceOptions::default())?; // nobody else profiles this one
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
    #[track_caller]
    pub fn profile<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Profile)> {
        let at = Location::caller();
        // Without them a profile lacks a column.
        let _ = self.ceilings();
        let recording = self.executor().record().map_err(|error| error.seen_from(at))?;
        let value = work()?;
        Ok((value, recording.finish(self.name())))
    }

    /// The WGSL text of every pipeline that a cached plan uses, sorted; none on the CPU device. For inspection.
    pub fn shader_sources(&self) -> Vec<String> {
        self.executor().shader_sources()
    }

    /// Runs this thread's pending assignments (see [`Param::assign_with`]), then waits until the device is idle.
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
