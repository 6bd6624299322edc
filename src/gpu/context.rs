//! Devices: an adapter, opened.

use super::adapters::{self, AdapterSummary, Found};
use super::failure::{Failure, Point, record};
use super::gate::Gate;
use super::hollow::Hollow;
use super::program::{Caps, UNROLLED};
use super::watch::Watch;
use crate::ending;
use crate::error::{Error, Result};
use crate::faults::{self, FaultKind, Faults};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Only WebGPU's default limits, whatever the adapter offers.
    pub clamped: bool,
    /// Bounds and loop checks in shaders, for tests.
    pub checks: bool,
    /// The kernels for hardware GPUs, on whatever adapter, for tests.
    pub hardware_kernels: bool,
    /// Short texts, on whatever adapter, for tests.
    pub short_texts: bool,
    /// Whether kernels are tested before they are used; `None` for the default.
    pub self_test: Option<bool>,
    /// How long one submission may take; `None` for the default.
    pub submission: Option<Duration>,
    /// How long a wait may see no progress; `None` for the default.
    pub stall: Option<Duration>,
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
    /// What every poll and every submission passes.
    pub(super) gate: Arc<Gate>,
    /// The submissions that may be under way.
    pub(super) watch: Arc<Watch>,
    /// What is to go wrong on purpose.
    pub(super) faults: Arc<Faults>,
    /// Without memory: what stands for it.
    pub(super) hollow: Option<Arc<Hollow>>,
}

/// Opens an adapter of [`adapters::list`]. One that refuses is looked up once more first: after a loss or a driver's update
/// an adapter may be stale.
///
/// # Errors
/// [`Error::DeviceUnavailable`] if the driver refuses; there is no such adapter.
pub(crate) fn open(id: usize, options: Options) -> Result<Context> {
    let found = adapters::get(id)?;
    request(&found, options)
        .or_else(|reason| {
            log::warn!(target: "wgrad::device", "{} does not open, trying once more: {reason}", found.summary.name);
            let again = adapters::refresh(id).ok_or(reason)?;
            request(&again, options)
        })
        .map_err(|reason| unavailable(&found.summary, &reason))
}

fn unavailable(summary: &AdapterSummary, reason: &str) -> Error {
    let software = summary.is_software();
    let other = if software { "`cpu`" } else { "WGRAD_DEVICE=cpu" };
    Error::DeviceUnavailable {
        device: format!("{} ({})", summary.name, summary.backend),
        reason: reason.to_owned(),
        help: format!("close programs that fill its memory, update or reinstall its driver ({}), or use {other}", summary.driver),
    }
}

/// Asks the driver for a device; returns its reason if it refuses.
fn request(found: &Found, options: Options) -> std::result::Result<Context, String> {
    let (adapter, info) = (&found.adapter, found.summary.clone());
    #[cfg(test)]
    if adapters::refuses() {
        return Err("the test refuses".into());
    }
    let limits = wanted_limits(&adapter.limits(), options);
    let features = adapter.features();
    let timestamps = features.contains(wgpu::Features::TIMESTAMP_QUERY);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgrad"),
        required_features: if timestamps { wgpu::Features::TIMESTAMP_QUERY } else { wgpu::Features::empty() },
        required_limits: limits.clone(),
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| e.to_string())?;
    let failure = Arc::new(Mutex::new(None));
    let (lost, uncaught) = (failure.clone(), failure.clone());
    device.set_device_lost_callback(move |reason, message| {
        if reason != wgpu::DeviceLostReason::Destroyed {
            record(&lost, Failure::Lost(message));
        }
    });
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        record(&uncaught, Failure::Uncaught(error.to_string()));
    }));
    log::info!(target: "wgrad::device", "opened {} ({}, {}, {})", info.name, info.kind, info.backend, info.driver);
    for (what, instead) in info.quirks.iter().map(|quirk| quirk.text()) {
        log::info!(target: "wgrad::device", "{}: {what}: {instead}", info.name);
    }
    let mut caps = caps(&limits, info.is_software() && !options.hardware_kernels);
    if options.short_texts || info.quirks.iter().any(|quirk| quirk.shortens_texts()) {
        caps = caps.with_short_texts();
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
        gate: Arc::default(),
        watch: Arc::new(Watch::new(options.stall)),
        faults: Arc::default(),
        hollow: None,
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
            gate: self.gate.clone(),
            watch: self.watch.clone(),
            faults: self.faults.clone(),
            hollow: self.hollow.clone(),
            ..*self
        }
    }

    /// Runs `work` and returns the error that it caused, if any: what the driver refused, lack of memory, or what wgpu found
    /// invalid, which is a mistake of this crate.
    pub fn scoped<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T> {
        // Scopes are a stack of this thread: they are popped in reverse, before anything else may fail. Nothing waits: the futures
        // are ready.
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = work();
        let scopes = [validation.pop(), internal.pop(), memory.pop()].map(pollster::block_on);
        let Some(error) = scopes.into_iter().flatten().next() else { return Ok(value) };
        self.check()?;
        Err(match error {
            wgpu::Error::Internal { .. } => self.refused(what, &error.to_string()),
            wgpu::Error::OutOfMemory { .. } => {
                let help = "use smaller batches, or drop tensors that are no longer needed";
                Error::out_of_memory(0, format!("{what}: {error}"), help)
            }
            wgpu::Error::Validation { .. } => Error::internal(format!("{what}: {error}")),
        })
    }

    /// What the driver does not do, though it is there and the call is valid.
    pub fn refused(&self, what: &str, reason: &str) -> Error {
        Error::DeviceRefused {
            device: self.info.name.clone(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            help: format!("update or reinstall its driver ({}), or use another device", self.info.driver),
        }
    }

    /// Fails if a call of this kind is to fail on purpose.
    pub fn unless_fault(&self, kind: FaultKind, what: &str) -> Result<()> {
        if self.faults.strikes(kind) { Err(self.refused(what, faults::REASON)) } else { Ok(()) }
    }

    /// Makes a buffer, or returns what the driver said instead.
    pub fn guarded(&self, make: impl FnOnce(&wgpu::Device) -> wgpu::Buffer) -> Result<wgpu::Buffer, String> {
        self.at(Point::Create);
        if self.faults.strikes(FaultKind::Allocation) {
            return Err(faults::REASON.into());
        }
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffer = make(&self.device);
        ending::has_called();
        let errors = [pollster::block_on(validation.pop()), pollster::block_on(memory.pop())];
        errors.into_iter().flatten().next().map_or(Ok(buffer), |error| Err(error.to_string()))
    }

    /// A new, empty encoder.
    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.at(Point::Encode);
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }
}

/// The adapter's limits, or WebGPU's defaults if that is asked for.
fn wanted_limits(offered: &wgpu::Limits, options: Options) -> wgpu::Limits {
    if options.clamped {
        return wgpu::Limits::default().or_worse_values_from(offered);
    }
    offered.clone()
}

/// Storage bindings end below 2^31 bytes, whatever a driver says.
pub(super) fn caps(limits: &wgpu::Limits, software: bool) -> Caps {
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
