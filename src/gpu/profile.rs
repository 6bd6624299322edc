//! Times of single launches, by timestamps around one pass each.

use super::compiled::Compiled;
use super::executor::GpuExecutor;
use super::queue::Queue;
use super::readback::read_mapped;
use super::run::{Ready, with_launches};
use super::staging::Mappable;
use super::timestamps::{Timestamps, seconds};
use crate::error::{Error, Result};
use crate::plan::explain::LaunchTime;
use crate::storage::bindings::Bindings;
use std::sync::Arc;

impl GpuExecutor {
    /// Runs a plan with every launch timed; slower than [`GpuExecutor::run`], and the outputs are dropped.
    ///
    /// # Errors
    /// As for a run; the device cannot take timestamps.
    pub fn profile(&self, compiled: &Compiled, bindings: &Bindings) -> Result<Vec<LaunchTime>> {
        self.context.unless_lost(|| {
            let timestamps = Timestamps::new(&self.context, compiled.dispatches.len())?;
            let (target, submission) = encode(self, &mut self.queue(), compiled, bindings, &timestamps)?;
            let times = read_mapped(&self.context, &target.buffer, timestamps.bytes(), submission, |bytes| {
                seconds(&self.context, bytes)
            })?;
            let launch = |(d, seconds): (&super::compiled::Dispatch, f64)| LaunchTime {
                step: d.step,
                name: d.name.clone(),
                grid: d.grid,
                seconds,
            };
            Ok(compiled.dispatches.iter().zip(times).map(launch).collect())
        })
    }
}

/// Runs a plan with timestamps: where they go, and the submission that writes them.
fn encode(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    compiled: &Compiled,
    bindings: &Bindings,
    timestamps: &Timestamps,
) -> Result<(Arc<Mappable>, wgpu::SubmissionIndex)> {
    let target = queue.readback.take(&gpu.context, timestamps.bytes())?;
    let mut submission = None;
    with_launches(gpu, queue, compiled, bindings, |queue, ready| {
        let submit = || submit(gpu, queue, compiled, ready, timestamps, &target.buffer);
        submission = Some(gpu.context.scoped("profile", submit)?);
        Ok(())
    })?;
    let submission = submission.ok_or_else(|| Error::internal("a profile was not submitted"))?;
    Ok((target, submission))
}

fn submit(
    gpu: &GpuExecutor,
    queue: &mut Queue,
    compiled: &Compiled,
    ready: &[Ready],
    timestamps: &Timestamps,
    target: &wgpu::Buffer,
) -> wgpu::SubmissionIndex {
    let mut encoder = gpu.context.encoder();
    queue.encode_pending(&mut encoder);
    for (n, (launch, dispatch)) in ready.iter().zip(&compiled.dispatches).enumerate() {
        launch.copy_first(&mut encoder);
        launch.launch(dispatch, &mut timestamps.pass(&mut encoder, n));
    }
    timestamps.resolve(&mut encoder, target);
    queue.dispatches += ready.len() as u64;
    queue.submit(&gpu.context, encoder)
}
