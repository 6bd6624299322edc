//! Times of compute passes on the device's own clock.

use super::context::Context;
use crate::error::{Error, Result};

/// The most passes that one set of queries times.
pub(crate) const MAX_PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// A pair of timestamps for each of a number of passes.
pub(crate) struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    count: u32,
}

impl Timestamps {
    /// For `passes` passes of one submission, [`MAX_PASSES`] at most, on a device that takes timestamps.
    pub fn new(context: &Context, passes: usize) -> Result<Self> {
        let count = u32::try_from(passes * 2).map_err(|_| Error::internal(format!("{passes} passes in one submission")))?;
        context.scoped("timestamps", || {
            let ty = wgpu::QueryType::Timestamp;
            let queries = context.device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count });
            let resolved = context.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            Self { queries, resolved, count }
        })
    }

    /// Bytes that the timestamps take.
    pub fn bytes(&self) -> u64 {
        u64::from(self.count) * 8
    }

    /// Begins pass number `n`, which is timed.
    pub fn pass<'e>(&self, encoder: &'e mut wgpu::CommandEncoder, n: usize) -> wgpu::ComputePass<'e> {
        let first = u32::try_from(n * 2).unwrap_or(u32::MAX);
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        });
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes })
    }

    /// Encodes the copy of all timestamps into `target`, which has [`Timestamps::bytes`] bytes.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder, target: &wgpu::Buffer) {
        encoder.resolve_query_set(&self.queries, 0..self.count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, target, 0, self.bytes());
    }
}

/// Seconds of each pass, from what was resolved; `None` where the clock stands still at 0, as on macOS 26.
pub(crate) fn seconds(context: &Context, bytes: &[u8]) -> Vec<Option<f64>> {
    let period = f64::from(context.queue.get_timestamp_period()) * 1e-9;
    let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(bytes);
    ticks.chunks_exact(2).map(|t| (t[1] != 0).then(|| t[1].saturating_sub(t[0]) as f64 * period)).collect()
}
