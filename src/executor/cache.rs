//! The plan cache: compiled plans by graph structure.

use crate::graph::Graph;
use crate::storage::pool::Counted;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What a device may keep for later.
///
/// A device keeps compiled plans, the memory that plans work in, and memory that handles no longer need, so that a loop
/// compiles and allocates nothing. Past a limit the least recently used goes first. What runs takes whatever memory it needs:
/// no run fails because of a limit, and memory that the latest few uploads and runs used is not released to keep within one. If
/// memory runs out, everything that is only cached is released, whatever the limits, before an evaluation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// The most bytes: [`Counters::bytes_cached`](super::Counters::bytes_cached). Defaults to 256 MiB.
    ///
    /// If the plans of the latest 64 runs work in more than half of that, the limit is twice what they work in, so that a
    /// loop over large batches keeps its memory.
    pub bytes: u64,
    /// The most compiled plans. A training loop has one for each shape of batch that it sees, and one for each way in which
    /// it evaluates. Defaults to 256.
    pub plans: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { bytes: 256 << 20, plans: 256 }
    }
}

#[derive(Debug)]
struct Slot<P> {
    plan: Arc<P>,
    /// The lookup that found it last.
    used: u64,
    /// The number of uploads and runs by then.
    uses: u64,
    _counted: Counted,
}

/// Keys are whole graphs, compared in full: equal hashes of different graphs cannot be confused.
#[derive(Debug)]
pub(super) struct PlanCache<P> {
    plans: FxHashMap<Arc<Graph>, Slot<P>>,
    /// Counts lookups.
    clock: u64,
    compiled: u64,
    evicted: u64,
    /// What may be kept.
    pub limits: CacheLimits,
}

impl<P> Default for PlanCache<P> {
    fn default() -> Self {
        Self { plans: FxHashMap::default(), clock: 0, compiled: 0, evicted: 0, limits: CacheLimits::default() }
    }
}

impl<P> PlanCache<P> {
    /// The plan of an equal graph; `uses` counts the uploads and runs so far.
    pub fn get(&mut self, graph: &Graph, uses: u64) -> Option<Arc<P>> {
        self.clock += 1;
        let slot = self.plans.get_mut(graph)?;
        (slot.used, slot.uses) = (self.clock, uses);
        Some(slot.plan.clone())
    }

    /// Keeps a plan, whose bytes are counted; `uses` counts the uploads and runs so far.
    pub fn insert(&mut self, graph: Arc<Graph>, plan: Arc<P>, counted: Counted, uses: u64) {
        self.compiled += 1;
        self.plans.insert(graph, Slot { plan, used: self.clock, uses, _counted: counted });
    }

    /// The number of uploads and runs when the least recently used plan was looked up; none without plans.
    pub fn oldest_uses(&self) -> u64 {
        self.plans.values().min_by_key(|slot| slot.used).map_or(0, |slot| slot.uses)
    }

    /// Removes the least recently used plan, if there is more than one.
    pub fn evict(&mut self) -> Option<Arc<P>> {
        if self.plans.len() < 2 {
            return None;
        }
        let oldest = self.plans.iter().min_by_key(|(_, slot)| slot.used).map(|(graph, _)| graph.clone())?;
        self.evicted += 1;
        log::debug!(target: "wgrad::cache", "the least recently used of {} plans is evicted", self.plans.len());
        self.plans.remove(&oldest).map(|slot| slot.plan)
    }

    /// Removes all plans but one.
    pub fn evict_others(&mut self, kept: Option<&P>) -> Vec<Arc<P>> {
        let is_kept = |slot: &Slot<P>| kept.is_some_and(|kept| std::ptr::eq(Arc::as_ptr(&slot.plan), kept));
        let gone: Vec<Arc<P>> = self.plans.extract_if(|_, slot| !is_kept(slot)).map(|(_, slot)| slot.plan).collect();
        self.evicted += gone.len() as u64;
        log::debug!(target: "wgrad::cache", "memory is short: {} plans are evicted", gone.len());
        gone
    }

    /// The plans that the latest `lookups` lookups have found.
    pub fn latest(&self, lookups: u64) -> impl Iterator<Item = &P> {
        self.plans.values().filter(move |slot| self.clock - slot.used < lookups).map(|slot| &*slot.plan)
    }

    /// All of them, with their graphs.
    #[cfg(test)]
    pub fn entries(&self) -> impl Iterator<Item = (&Graph, &P)> {
        self.plans.iter().map(|(graph, slot)| (&**graph, &*slot.plan))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.plans.len()
    }

    /// How many plans were ever compiled.
    pub fn compiled(&self) -> u64 {
        self.compiled
    }

    /// How many plans were removed.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}
