//! Recording what a stretch of work launches.

use super::profile::{Profile, Record};
use super::unasked::{Target, Unasked, report_at_end};
use super::{Compiled, Executor};
use crate::error::{Error, Result};
use crate::graph::layer::Layers;
use crate::plan::Launched;
use crate::sync::lock;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// A record that is being made, until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Recording<'e> {
    executor: &'e Executor,
    since: Instant,
    plans: u64,
    pipelines: u64,
    finished: bool,
}

impl Executor {
    /// Whether what plans launch is being recorded.
    pub fn is_recorded(&self) -> bool {
        lock(&self.record).is_some() || self.unasked.get().is_some_and(|unasked| unasked.has_room())
    }

    /// From here on records what plans launch for the end of the program.
    pub fn record_unasked(&self, target: Target, device: &str) {
        let ceilings = self.ceilings.get().copied().flatten();
        let unasked = Arc::new(Unasked::<Compiled>::new(target, device, ceilings, self.compiled_so_far()));
        let weak: Weak<Unasked<Compiled>> = Arc::downgrade(&unasked);
        report_at_end(weak);
        let _ = self.unasked.set(unasked);
    }

    /// Adds a run of a plan to the records that are being made.
    pub(super) fn add_run(&self, compiled: &Arc<Compiled>, layers: &Layers, launched: &[Launched]) {
        if let Some(record) = &mut *lock(&self.record) {
            record.add(compiled, &compiled.plan, layers, launched);
        }
        if let Some(unasked) = self.unasked.get() {
            unasked.add(self.compiled_so_far(), compiled, &compiled.plan, layers, launched);
        }
    }

    fn compiled_so_far(&self) -> [u64; 2] {
        let counters = self.counters();
        [counters.plans, counters.pipelines]
    }

    /// Begins to record what plans launch. Waits for what is queued, which is not part of it.
    ///
    /// # Errors
    /// The device is being recorded already; it is lost.
    #[track_caller]
    pub fn record(&self) -> Result<Recording<'_>> {
        self.wait()?;
        let mut record = lock(&self.record);
        if record.is_some() {
            let reason = "the device is being profiled already";
            return Err(Error::argument("profile", reason, "end one profile before the next begins"));
        }
        *record = Some(Record::<Compiled>::default());
        drop(record);
        let before = self.counters();
        Ok(Recording { executor: self, since: Instant::now(), plans: before.plans, pipelines: before.pipelines, finished: false })
    }
}

impl Recording<'_> {
    /// What was launched on the device of this name.
    pub fn finish(mut self, device: &str) -> Profile {
        let wall = self.since.elapsed();
        let record = lock(&self.executor.record).take().unwrap_or_default();
        self.finished = true;
        let after = self.executor.counters();
        Profile {
            device: device.to_owned(),
            ceilings: self.executor.ceilings.get().copied().flatten(),
            wall,
            runs: record.runs,
            plans: record.plans.len(),
            compiled: after.plans - self.plans,
            pipelines: after.pipelines - self.pipelines,
            launches: record.launches,
        }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // Once finished, the record in place may be somebody else's. Plans drop outside the lock.
        let record = if self.finished { None } else { lock(&self.executor.record).take() };
        drop(record);
    }
}
