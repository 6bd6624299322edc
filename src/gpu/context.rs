//! Adapters and devices: what is there, and one of it opened.

use super::failure::{Failure, Point, record};
use super::program::{Caps, UNROLLED};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex};

/// What an adapter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterSummary {
    /// Position in [`list`]; opens it through [`open`].
    pub index: usize,
    /// The adapter's name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` ...
    pub backend: String,
    /// What sort of device it is.
    pub kind: AdapterKind,
    /// The driver's name and version.
    pub driver: String,
    /// Limits and features that matter here, as (name, value).
    pub limits: Vec<(&'static str, String)>,
}

impl AdapterSummary {
    /// Whether it computes on the host's cores.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

/// Sorts of adapters, the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Shares the host's memory.
    Integrated,
    /// Lent by a virtual machine's host.
    Virtual,
    /// Unknown.
    Other,
    /// Runs on the host's cores (lavapipe, SwiftShader, WARP).
    Software,
}

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Only WebGPU's default limits, whatever the adapter offers.
    pub clamped: bool,
    /// Bounds and loop checks in shaders, for tests.
    pub checks: bool,
    /// The kernels for hardware GPUs, on whatever adapter, for tests.
    pub hardware_kernels: bool,
}

/// An open device.
#[derive(Debug)]
pub(crate) struct Context {
    /// The logical device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What it is.
    pub info: AdapterSummary,
    /// What kernels may use.
    pub caps: Caps,
    /// The limits it was opened with.
    pub limits: wgpu::Limits,
    /// How it was opened.
    pub options: Options,
    /// Whether timestamps can be taken.
    pub timestamps: bool,
    pub(super) failure: Arc<Mutex<Option<Failure>>>,
    /// At which point of loss, counted from 1, a test has the device lost; see `loss.rs`.
    #[cfg(test)]
    pub(super) until_loss: std::sync::atomic::AtomicUsize,
}

/// The adapters of this machine, in the driver's order.
pub(crate) fn list() -> Vec<AdapterSummary> {
    adapters().iter().enumerate().map(|(i, a)| describe(i, a)).collect()
}

/// Opens adapter number `index` of [`list`].
///
/// # Errors
/// No such adapter, or the driver refuses.
pub(crate) fn open(index: usize, options: Options) -> Result<Context> {
    let adapters = adapters();
    let Some(adapter) = adapters.get(index) else {
        return Err(Error::NoDevice {
            wanted: format!("adapter {index}"),
            reason: format!("{} adapters were found", adapters.len()),
            help: "install a Vulkan, Metal or DX12 driver (lavapipe works without a GPU), or use the CPU device".into(),
        });
    };
    let info = describe(index, adapter);
    let limits = wanted_limits(&adapter.limits(), options);
    let timestamps = adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgrad"),
        required_features: if timestamps { wgpu::Features::TIMESTAMP_QUERY } else { wgpu::Features::empty() },
        required_limits: limits.clone(),
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| Error::NoDevice {
        wanted: info.name.clone(),
        reason: e.to_string(),
        help: "update the driver, or choose another adapter".into(),
    })?;
    let failure = Arc::new(Mutex::new(None));
    let (lost, uncaught) = (failure.clone(), failure.clone());
    device.set_device_lost_callback(move |reason, message| {
        if reason != wgpu::DeviceLostReason::Destroyed {
            record(&lost, Failure::Lost(message));
        }
    });
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| record(&uncaught, Failure::Uncaught(error.to_string()))));
    let mut caps = caps(&limits, info.is_software() && !options.hardware_kernels);
    if info.name.contains("SwiftShader") {
        caps.unrolled = 32;
    }
    Ok(Context {
        device,
        queue,
        info,
        caps,
        limits,
        options,
        timestamps,
        failure,
        #[cfg(test)]
        until_loss: std::sync::atomic::AtomicUsize::new(usize::MAX),
    })
}

impl Context {
    /// The same device, without runtime checks in shaders that it compiles from here on.
    #[cfg(test)]
    pub fn unchecked(&self) -> Self {
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            info: self.info.clone(),
            limits: self.limits.clone(),
            options: Options { checks: false, ..self.options },
            failure: self.failure.clone(),
            until_loss: std::sync::atomic::AtomicUsize::new(usize::MAX),
            ..*self
        }
    }

    /// Runs `work` and returns the validation or internal error that it caused, if any, as [`Error::Internal`].
    pub fn scoped<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T> {
        // Scopes are a stack of this thread: they are popped in reverse, before anything else may fail.
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work();
        let errors = [pollster::block_on(validation.pop()), pollster::block_on(internal.pop())];
        match errors.into_iter().flatten().next() {
            None => Ok(value),
            Some(error) => {
                self.check()?;
                Err(Error::internal(format!("{what}: {error}")))
            }
        }
    }

    /// Makes a buffer, or gives what the driver said instead.
    pub fn guarded(&self, make: impl FnOnce(&wgpu::Device) -> wgpu::Buffer) -> Result<wgpu::Buffer, String> {
        self.at(Point::Create);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffer = make(&self.device);
        let errors = [pollster::block_on(validation.pop()), pollster::block_on(memory.pop())];
        errors.into_iter().flatten().next().map_or(Ok(buffer), |error| Err(error.to_string()))
    }

    /// A new, empty encoder.
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.at(Point::Encode);
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Blocks until the queue has done everything, or one submission.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None })
    }
}

/// The number of the adapter that a text names: `best` (the first hardware GPU, else the first software adapter), `gpu`,
/// `software`, a number of [`list`], or part of a name, in any case.
///
/// # Errors
/// Nothing matches.
#[cfg(feature = "lab")]
pub(crate) fn find(wanted: &str) -> Result<usize> {
    let lower = wanted.trim().to_lowercase();
    let list = list();
    let of = |software: bool| list.iter().find(|a| a.is_software() == software);
    let found = match lower.as_str() {
        "best" => of(false).or(of(true)),
        "gpu" => of(false),
        "software" => of(true),
        text => match text.parse::<usize>() {
            Ok(index) => list.get(index),
            Err(_) => list.iter().find(|a| !text.is_empty() && a.name.to_lowercase().contains(text)),
        },
    };
    found.map(|a| a.index).ok_or_else(|| Error::NoDevice {
        wanted: wanted.into(),
        reason: format!("the adapters are {:?}", list.iter().map(|a| &a.name).collect::<Vec<_>>()),
        help: "use best, gpu, software, a number, or part of a name".into(),
    })
}

#[cfg(test)]
thread_local! {
    /// Whether this thread's only adapter is wgpu's `noop` backend, which validates everything and computes nothing.
    static NOOP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What `open` gives where the `noop` backend, with WebGPU's default limits, is the only adapter. It counts as a software adapter.
#[cfg(test)]
pub(crate) fn with_noop<T>(open: impl FnOnce() -> T) -> T {
    NOOP.set(true);
    let opened = open();
    NOOP.set(false);
    opened
}

fn adapters() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    #[cfg(test)]
    if NOOP.get() {
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        descriptor.backend_options.noop.limits = Some(wgpu::Limits::default());
    }
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterSummary {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let has = |f: wgpu::Features| if features.contains(f) { "yes" } else { "no" }.to_owned();
    let limits = vec![
        ("storage buffers per kernel", limits.max_storage_buffers_per_shader_stage.to_string()),
        ("bytes per binding", limits.max_storage_buffer_binding_size.to_string()),
        ("bytes per buffer", limits.max_buffer_size.to_string()),
        ("invocations per workgroup", limits.max_compute_invocations_per_workgroup.to_string()),
        ("workgroup memory, bytes", limits.max_compute_workgroup_storage_size.to_string()),
        ("workgroups per dimension", limits.max_compute_workgroups_per_dimension.to_string()),
        ("binding alignment, bytes", limits.min_storage_buffer_offset_alignment.to_string()),
        ("subgroup sizes", format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size)),
        ("timestamps", has(wgpu::Features::TIMESTAMP_QUERY)),
        ("f16 arithmetic", has(wgpu::Features::SHADER_F16)),
    ];
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Other => AdapterKind::Other,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
    };
    AdapterSummary {
        index,
        name: info.name.clone(),
        backend: info.backend.to_string(),
        kind,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        limits,
    }
}

/// The adapter's limits, or WebGPU's defaults where that is asked for.
fn wanted_limits(offered: &wgpu::Limits, options: Options) -> wgpu::Limits {
    if options.clamped {
        return wgpu::Limits::default().or_worse_values_from(offered);
    }
    offered.clone()
}

/// Storage bindings end below 2^31 bytes, whatever a driver says.
fn caps(limits: &wgpu::Limits, software: bool) -> Caps {
    Caps {
        software,
        unrolled: UNROLLED,
        max_grid: limits.max_compute_workgroups_per_dimension,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_binding: limits.max_storage_buffer_binding_size.min((1 << 31) - 4),
        max_invocations: limits.max_compute_invocations_per_workgroup,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
    }
}
