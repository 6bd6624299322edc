//! Proof that submissions ran to their end.
//!
//! On Metal a command buffer that the system has killed counts as done, and wgpu reports no error: a read gives zeros or old
//! values. So each submission ends by adding 1 to a counter on the device, and what is read comes with the counter after it. A
//! submission that was cut short leaves the counter too low for good, and the next read finds out.

use super::context::Context;
use super::failure::{Failure, record};
use super::staging::Mappable;
use crate::error::Result;

/// Bytes after what is read.
pub(super) const PROOF: u64 = 4;

/// The text that counts.
pub(super) const COUNT: &str = "
@group(0) @binding(0) var<storage, read_write> count: array<u32, 1>;
@compute @workgroup_size(1)
fn main() {
    count[0] = count[0] + 1u;
}
";

/// The counter of a device.
#[derive(Debug)]
pub(super) struct Proof {
    counter: wgpu::Buffer,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    /// The submissions that have been encoded with a count.
    counted: u32,
    /// Those that were submitted.
    submitted: u32,
}

impl Proof {
    /// At 0.
    pub fn new(context: &Context) -> Result<Self> {
        context.scoped("proof", || {
            let device = &context.device;
            let counter = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("proof"),
                size: PROOF,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let source = wgpu::ShaderSource::Wgsl(COUNT.into());
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("proof"), source });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("proof"),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            });
            let entries = [wgpu::BindGroupEntry { binding: 0, resource: counter.as_entire_binding() }];
            let layout = &pipeline.get_bind_group_layout(0);
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("proof"), layout, entries: &entries });
            Self { counter, pipeline, group, counted: 0, submitted: 0 }
        })
    }

    /// Counts the submission whose last pass this is.
    pub fn count(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
        self.counted = self.counted.wrapping_add(1);
    }

    /// What was encoded is submitted.
    pub fn confirm(&mut self) {
        self.submitted = self.counted;
    }

    /// What was encoded will not run.
    pub fn forget(&mut self) {
        self.counted = self.submitted;
    }

    /// Counts, in a pass of its own.
    pub fn count_apart(&mut self, encoder: &mut wgpu::CommandEncoder) {
        self.count(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    }

    /// Copies the counter after `bytes` bytes that are read into `target`, and returns the number that must arrive there: not the
    /// one that the target held before, or an old proof could pass for a new one.
    pub fn append(&mut self, encoder: &mut wgpu::CommandEncoder, target: &Mappable, bytes: u64) -> u32 {
        if target.proof() == Some(self.counted) {
            self.count_apart(encoder);
        }
        encoder.copy_buffer_to_buffer(&self.counter, 0, &target.buffer, bytes, PROOF);
        target.holds(self.counted);
        self.counted
    }
}

/// The bytes without the proof after them; the device counts as lost if that is not the number that must be there.
pub(super) fn checked<'b>(context: &Context, bytes: &'b [u8], expected: u32) -> Result<&'b [u8]> {
    let (value, proof) = bytes.split_at(bytes.len().saturating_sub(4));
    let found = proof.try_into().map_or(0, u32::from_le_bytes);
    // The `noop` backend, which tests pretend is an adapter, computes nothing.
    if found != expected && context.info.backend != "noop" {
        let missing = expected.wrapping_sub(found);
        let reason = format!(
            "{missing} of {expected} submissions did not run to their end: the driver killed one, as it does \
             with kernels that take too long or find no memory, and reported no error"
        );
        record(&context.failure, Failure::Lost(reason));
        context.check_lost()?;
    }
    Ok(value)
}
