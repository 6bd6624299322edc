//! Runs with the time of each launch, by timestamps around one pass each.

use super::compiled::{Compiled, Dispatch};
use super::executor::GpuExecutor;
use super::queue::Queue;
use super::readback::read_mapped;
use super::run::{Ready, submit, with_launches};
use super::staging::Mappable;
use super::timestamps::{MAX_PASSES, Timestamps, seconds};
use crate::error::Result;
use crate::plan::Launched;
use crate::storage::bindings::Bindings;
use crate::storage::gpu::Buffer;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Launches of one submission, and where their times go.
struct Part {
    launches: Range<usize>,
    timestamps: Timestamps,
    target: Arc<Mappable>,
    submission: Option<wgpu::SubmissionIndex>,
}

impl GpuExecutor {
    /// As [`GpuExecutor::run`], and reports what was launched: with times, for which it waits, if the device takes timestamps.
    pub fn run_timed(&self, compiled: &Compiled, bindings: &Bindings) -> Result<(Vec<Option<Buffer>>, Vec<Launched>)> {
        let launched = |d: &Dispatch, time| Launched { step: d.step, name: d.name.clone(), time };
        if !self.context.timestamps || compiled.dispatches.is_empty() {
            let outputs = self.run(compiled, bindings)?;
            return Ok((outputs, compiled.dispatches.iter().map(|d| launched(d, None)).collect()));
        }
        self.context.unless_lost(|| {
            let mut queue = self.queue();
            let mut parts = parts(self, &mut queue, compiled)?;
            let outputs = with_launches(self, &mut queue, compiled, bindings, |queue, ready| {
                let mut submitted = 0;
                let mut submit = |part: &mut Part| part.submit(self, queue, compiled, ready, &mut submitted);
                self.context.scoped("run", || parts.iter_mut().try_for_each(&mut submit))?
            })?;
            drop(queue);
            let mut times = Vec::with_capacity(compiled.dispatches.len());
            for part in parts {
                let Some(submission) = part.submission else { continue };
                let bytes = part.timestamps.bytes();
                match read_mapped(&self.context, &part.target.buffer, bytes, submission, |b| seconds(&self.context, b)) {
                    Ok(read) => {
                        times.extend(read);
                        self.queue().readback.give_back(part.target);
                    }
                    // The run has run: without its times it is no failure.
                    Err(error) if !error.is_device_loss() => times.extend(part.launches.map(|_| None)),
                    Err(error) => return Err(error),
                }
            }
            let timed = compiled.dispatches.iter().zip(times);
            Ok((outputs, timed.map(|(d, s)| launched(d, s.and_then(|s| Duration::try_from_secs_f64(s).ok()))).collect()))
        })
    }
}

/// The submissions of a run: a new one begins where [`GpuExecutor::run`] begins one, and where timestamps run out.
fn parts(gpu: &GpuExecutor, queue: &mut Queue, compiled: &Compiled) -> Result<Vec<Part>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (n, cut) in compiled.cuts(&gpu.pace).into_iter().enumerate() {
        match ranges.last_mut() {
            Some(range) if !cut && range.len() < MAX_PASSES => range.end = n + 1,
            _ => ranges.push(n..n + 1),
        }
    }
    let part = |launches: Range<usize>| {
        let timestamps = Timestamps::new(&gpu.context, launches.len())?;
        let target = queue.readback.take(&gpu.context, timestamps.bytes())?;
        Ok(Part { launches, timestamps, target, submission: None })
    };
    ranges.into_iter().map(part).collect()
}

impl Part {
    fn submit(
        &mut self,
        gpu: &GpuExecutor,
        queue: &mut Queue,
        compiled: &Compiled,
        ready: &[Ready],
        submitted: &mut usize,
    ) -> Result<()> {
        let mut encoder = gpu.context.encoder();
        queue.encode_pending(&mut encoder);
        for (n, launch) in self.launches.clone().enumerate() {
            ready[launch].copy_first(&mut encoder);
            ready[launch].launch(&compiled.dispatches[launch], &mut self.timestamps.pass(&mut encoder, n));
        }
        queue.proof.count_apart(&mut encoder);
        self.timestamps.resolve(&mut encoder, &self.target.buffer);
        queue.dispatches += self.launches.len() as u64;
        self.submission = Some(submit(gpu, queue, encoder, compiled, submitted)?);
        Ok(())
    }
}
