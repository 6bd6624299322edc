//! Devices that stand for others: they plan and count memory as those do, and neither allocate nor compute. Behind each is wgpu's
//! `noop` backend, which is never given any work.

use super::adapters::{AdapterKind, AdapterSummary};
use super::context::{Context, Options, caps};
use super::executor::GpuExecutor;
use super::hollow::Hollow;
use super::model::GpuModel;
use super::program::Caps;
use super::proof::PROOF;
use super::queue::Pending;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::storage::gpu::Buffer;
use crate::storage::pool::{Account, KINDS};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A context of an adapter, which need not be there.
fn context(info: AdapterSummary, caps: Caps, limits: wgpu::Limits, options: Options) -> Result<Context> {
    let unavailable = |reason: String| Error::DeviceUnavailable {
        device: format!("a stand-in for {}", info.name),
        reason,
        help: "wgpu's `noop` backend must open; please report it".into(),
    };
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
    let adapter = adapters.into_iter().next().ok_or_else(|| unavailable("there is no such adapter".into()))?;
    let opened = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()));
    let (device, queue) = opened.map_err(|error| unavailable(error.to_string()))?;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("nothing"),
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &[] });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("nothing"), layout: &layout, entries: &[] });
    Ok(Context {
        device,
        queue,
        info,
        caps,
        limits,
        options,
        timestamps: false,
        failure: Arc::default(),
        gate: Arc::default(),
        watch: Arc::new(Watch::new(options.stall)),
        faults: Arc::default(),
        hollow: Some(Arc::new(Hollow { buffer, group })),
    })
}

impl GpuExecutor {
    /// One that stands for this one, with the same kernels.
    ///
    /// # Errors
    /// wgpu refuses.
    pub fn stand_in(&self) -> Result<Self> {
        let Context { info, caps, limits, options, .. } = &self.context;
        Self::over(context(info.clone(), *caps, limits.clone(), *options)?)
    }

    /// One that stands for a GPU with these limits.
    ///
    /// # Errors
    /// wgpu refuses.
    pub fn of_model(model: &GpuModel, options: Options) -> Result<Self> {
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: model.bytes_per_binding,
            max_buffer_size: model.bytes_per_buffer,
            max_storage_buffers_per_shader_stage: model.storage_buffers,
            max_compute_invocations_per_workgroup: model.invocations,
            max_compute_workgroup_storage_size: model.workgroup_memory,
            max_compute_workgroups_per_dimension: model.workgroups,
            min_uniform_buffer_offset_alignment: model.uniform_alignment,
            ..wgpu::Limits::default()
        };
        let mut caps = caps(&limits, model.software && !options.hardware_kernels);
        if options.short_texts {
            caps = caps.with_short_texts();
        }
        let info = AdapterSummary {
            id: usize::MAX,
            listed_as: usize::MAX,
            name: model.name.clone(),
            backend: "none".into(),
            kind: if model.software { AdapterKind::Software } else { AdapterKind::Discrete },
            driver: String::new(),
            limits: Vec::new(),
            quirks: Vec::new(),
            also: Vec::new(),
        };
        Self::over(context(info, caps, limits, options)?)
    }

    /// Has memory counted, with these counts noted at its peak.
    pub fn hollow_out(&self, kinds: [Arc<AtomicU64>; KINDS]) {
        self.memory.pool().hollow_out(kinds);
    }

    /// Whether memory is counted and not there.
    pub fn is_hollow(&self) -> bool {
        self.context.hollow.is_some()
    }

    /// What live memory held, and the account, when the most was in use.
    pub fn at_peak(&self) -> ([u64; KINDS], Account) {
        self.memory.pool().at_peak()
    }

    /// Keeps a buffer as long as a copy of it to the host would.
    pub fn pretend_download(&self, from: &Buffer) {
        let mut queue = self.queue();
        queue.readback.pretend(from.bytes + PROOF);
        queue.pending.push(Pending::Clear(from.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_the_default_limits_of_webgpu() {
        let (model, limits) = (GpuModel::default(), wgpu::Limits::default());
        let GpuExecutor { context, .. } = GpuExecutor::of_model(&model, Options::default()).expect("opens");
        assert_eq!(context.limits, limits);
        assert_eq!(context.caps, caps(&limits, false));
    }
}
