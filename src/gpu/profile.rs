//! Times of single launches, by timestamps around one pass each.

use super::compiled::Compiled;
use super::executor::{GpuExecutor, Queue};
use super::readback::read_mapped;
use super::run::{Ready, with_launches};
use crate::error::{Error, Result};
use crate::plan::explain::LaunchTime;
use crate::storage::bindings::Bindings;

/// A submission whose timestamps are on their way.
pub(super) struct Timed {
    target: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
}

/// Runs a plan with timestamps.
pub(super) fn encode(gpu: &GpuExecutor, queue: &mut Queue, compiled: &Compiled, bindings: &Bindings) -> Result<Timed> {
    let count = u32::try_from(compiled.dispatches.len() * 2).unwrap_or(u32::MAX);
    if !gpu.context.timestamps || count > wgpu::QUERY_SET_MAX_QUERIES || count == 0 {
        return Err(Error::Unsupported {
            op: "profile",
            reason: format!("{} launches cannot be timed on {}", count / 2, gpu.name()),
            help: "profile a smaller plan, on an adapter with timestamps".into(),
        });
    }
    let bytes = u64::from(count) * 8;
    let target = queue.readback.take(&gpu.context, bytes)?;
    let mut submission = None;
    with_launches(gpu, queue, compiled, bindings, |queue, ready| {
        let index = gpu.context.scoped("profile", || submit(gpu, queue, compiled, ready, count, &target))?;
        submission = Some(index);
        Ok(())
    })?;
    let submission = submission.ok_or_else(|| Error::internal("a profile was not submitted"))?;
    Ok(Timed { target, submission })
}

fn submit(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    compiled: &Compiled,
    ready: &[Ready],
    count: u32,
    target: &wgpu::Buffer,
) -> wgpu::SubmissionIndex {
    let device = &gpu.context.device;
    let query_set = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
    let resolved = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("timestamps"),
        size: u64::from(count) * 8,
        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.context.encoder();
    queue.encode_pending(&mut encoder);
    for (at, (launch, dispatch)) in (0..).step_by(2).zip(ready.iter().zip(&compiled.dispatches)) {
        launch.copy_first(&mut encoder);
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &query_set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        launch.launch(dispatch, &mut pass);
    }
    encoder.resolve_query_set(&query_set, 0..count, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, target, 0, u64::from(count) * 8);
    queue.dispatches += ready.len() as u64;
    queue.submit(&gpu.context, encoder)
}

impl Timed {
    /// Waits for the timestamps.
    pub fn read(self, gpu: &GpuExecutor, compiled: &Compiled) -> Result<Vec<LaunchTime>> {
        let bytes = compiled.dispatches.len() as u64 * 16;
        let ticks: Vec<u64> =
            read_mapped(&gpu.context, &self.target, bytes, self.submission, bytemuck::pod_collect_to_vec::<u8, u64>)?;
        let period = f64::from(gpu.context.queue.get_timestamp_period()) * 1e-9;
        let pairs = compiled.dispatches.iter().zip(ticks.chunks_exact(2));
        Ok(pairs
            .map(|(d, t)| LaunchTime {
                step: d.step,
                name: d.name.clone(),
                grid: d.grid,
                seconds: t[1].saturating_sub(t[0]) as f64 * period,
            })
            .collect())
    }
}
