//! Keeps what is only cached within its limits, and releases all of it when memory runs out.

use super::{Backend, CacheLimits, Code, Compiled, Executor};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphNode};
use crate::plan::{BufferInfo, Step, Term};
use crate::storage::pool::{Account, Workspace};
use crate::sync::lock;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// How many of the latest runs count as under way: slots and staging memory that they need stay.
const LATEST: u64 = 64;

/// How many of the latest uploads and runs keep their memory, whatever the limit: a loop of a few of them uses it again.
const KEPT: u64 = 4;

/// A launch with its names, record and bind groups, roughly.
const LAUNCH_BYTES: usize = 4 << 10;

impl Compiled {
    /// The memory that it works in.
    fn workspace(&self) -> &Workspace {
        match &self.code {
            Code::Cpu(code) => code.workspace(),
            Code::Gpu(code) => code.workspace(),
        }
    }

    /// Roughly the bytes that the plan of a graph takes on the host, without pipelines, which plans share.
    pub(super) fn weight(&self, graph: &Graph) -> u64 {
        let inputs: usize = graph.nodes.iter().map(|n| n.inputs.len()).sum();
        let graph = size_of::<GraphNode>() * graph.nodes.len() + size_of::<usize>() * (inputs + graph.outputs.len());
        let step = |step: &Step| {
            let terms: usize = step.kernel.exprs().iter().map(|e| e.terms.len()).sum();
            size_of::<Step>() + size_of::<Term>() * terms + size_of::<usize>() * step.reads.len()
        };
        let plan = self.plan.steps.iter().map(step).sum::<usize>() + size_of::<BufferInfo>() * self.plan.buffers.len();
        let code = match &self.code {
            // Expressions once more, in the form that they run in.
            Code::Cpu(_) => plan,
            Code::Gpu(code) => LAUNCH_BYTES * code.launches(),
        };
        (graph + plan + code) as u64
    }
}

impl Executor {
    /// Sets what may be cached, and releases anything beyond that.
    pub fn set_cache_limits(&self, limits: CacheLimits) {
        lock(&self.plans).limits = limits;
        if self.account().cached() > limits.bytes {
            self.fit(&Workspace::default(), 0);
        }
        self.allow(limits.bytes, 0);
        self.settle();
    }

    /// What may be cached.
    pub fn cache_limits(&self) -> CacheLimits {
        lock(&self.plans).limits
    }

    /// What is held.
    pub(super) fn account(&self) -> Account {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.account(),
            Backend::Gpu(gpu) => gpu.account(),
        }
    }

    /// The tally of bytes that are cached outside the pool.
    pub(super) fn aside(&self) -> Arc<AtomicU64> {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().aside().clone(),
            Backend::Gpu(gpu) => gpu.aside(),
        }
    }

    /// Releases unused memory beyond these bytes, except for what the latest `latest` uploads and runs had.
    fn allow(&self, bytes: u64, latest: u64) {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().allow(bytes, latest),
            Backend::Gpu(gpu) => gpu.allow(bytes, latest),
        }
    }

    /// Releases memory that plans work in beyond what is wanted, and staging memory that the latest `latest` submissions did not
    /// use.
    fn fit(&self, wanted: &Workspace, latest: u64) {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.fit(wanted),
            Backend::Gpu(gpu) => gpu.fit(wanted, latest),
        }
    }

    /// What all plans that the latest lookups have found work in.
    fn workspace(&self, lookups: u64) -> Workspace {
        let mut all = Workspace::default();
        lock(&self.plans).latest(lookups).for_each(|plan| all.join(plan.workspace()));
        all
    }

    /// Releases what is cached past the limits: memory that old plans work in, then memory that nobody uses, then plans, each
    /// with the least recently used first.
    pub(super) fn settle(&self) {
        let (limits, gone) = {
            let mut plans = lock(&self.plans);
            let limits = plans.limits;
            let past = plans.len().saturating_sub(limits.plans);
            (limits, (0..past).map_while(|_| plans.evict()).collect::<Vec<_>>())
        };
        // A plan gives memory back when it drops, which takes locks of its own.
        if !gone.is_empty() {
            drop(gone);
            self.follow_plans();
        }
        if self.account().cached() <= limits.bytes / 2 {
            self.allow(limits.bytes, KEPT);
            return;
        }
        let latest = self.workspace(LATEST);
        let allowed = limits.bytes.max(2 * latest.bytes());
        if self.account().cached() > allowed {
            self.fit(&latest, LATEST);
        }
        self.allow(allowed, KEPT);
        let mut evicted = false;
        while self.account().cached() > allowed {
            let oldest = lock(&self.plans).evict();
            if oldest.is_none() {
                break;
            }
            evicted = true;
        }
        if evicted {
            self.follow_plans();
        }
    }

    /// Releases memory of plans that are gone: what is beyond the others' needs, and what none of them has used in its latest
    /// run.
    fn follow_plans(&self) {
        self.fit(&self.workspace(u64::MAX), LATEST);
        let uses = lock(&self.plans).oldest_uses();
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().forget(uses),
            Backend::Gpu(gpu) => gpu.forget(uses),
        }
    }

    /// The uploads and runs so far.
    pub(super) fn uses(&self) -> u64 {
        match &self.backend {
            Backend::Cpu(cpu) => cpu.memory().uses(),
            Backend::Gpu(gpu) => gpu.uses(),
        }
    }

    /// Does work that takes memory before it does anything else. If there is not enough, it is tried again once everything that
    /// is only cached is gone, except for the plan that is to run.
    pub(super) fn with_room<T>(&self, plan: Option<&Compiled>, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::OutOfMemory { wanted, .. }) if wanted <= self.most_bytes() => {
                self.reclaim(plan)?;
                work()
            }
            outcome => outcome,
        }
    }

    /// Releases everything that is only cached, so that what runs next allocates and compiles, for tests.
    #[cfg(test)]
    pub(crate) fn forget(&self) -> Result<()> {
        self.reclaim(None)
    }

    /// Releases everything that is only cached, except for one plan and what it works in.
    fn reclaim(&self, plan: Option<&Compiled>) -> Result<()> {
        let gone = lock(&self.plans).evict_others(plan);
        drop(gone);
        self.fit(plan.map_or(&Workspace::default(), Compiled::workspace), 0);
        match &self.backend {
            Backend::Cpu(cpu) => {
                cpu.memory().clear();
                Ok(())
            }
            Backend::Gpu(gpu) => gpu.clear(),
        }
    }

    /// No memory can make room for more than this.
    pub(crate) fn most_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Cpu(_) => u64::MAX,
            Backend::Gpu(gpu) => gpu.max_bytes(),
        }
    }
}
