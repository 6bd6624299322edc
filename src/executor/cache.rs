//! The plan cache: compiled plans by graph structure.

use crate::graph::Graph;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The most plans a device keeps; the least recently used goes first.
const MAX_PLANS: usize = 256;
/// The most bytes of plan data a device keeps, roughly.
const MAX_BYTES: usize = 256 << 20;

#[derive(Debug)]
struct Slot<P> {
    plan: Arc<P>,
    bytes: usize,
    used: u64,
}

/// Keys are whole graphs, compared in full: equal hashes of different graphs cannot be confused.
#[derive(Debug)]
pub(super) struct PlanCache<P> {
    plans: FxHashMap<Arc<Graph>, Slot<P>>,
    bytes: usize,
    clock: u64,
    compiled: u64,
}

impl<P> Default for PlanCache<P> {
    fn default() -> Self {
        Self { plans: FxHashMap::default(), bytes: 0, clock: 0, compiled: 0 }
    }
}

impl<P> PlanCache<P> {
    /// The plan of an equal graph.
    pub fn get(&mut self, graph: &Graph) -> Option<Arc<P>> {
        self.clock += 1;
        let slot = self.plans.get_mut(graph)?;
        slot.used = self.clock;
        Some(slot.plan.clone())
    }

    /// Keeps a plan of so many steps, and forgets the least recently used ones past the caps.
    pub fn insert(&mut self, graph: Arc<Graph>, plan: Arc<P>, steps: usize) {
        self.clock += 1;
        self.compiled += 1;
        // A node with its attributes, and a step with its expressions, are of the order of a kilobyte.
        let bytes = 1024 * (graph.nodes.len() + steps);
        self.bytes += bytes;
        self.plans.insert(graph, Slot { plan, bytes, used: self.clock });
        while self.plans.len() > 1 && (self.plans.len() > MAX_PLANS || self.bytes > MAX_BYTES) {
            let Some(oldest) = self.plans.iter().min_by_key(|(_, s)| s.used).map(|(k, _)| k.clone()) else { break };
            if let Some(slot) = self.plans.remove(&oldest) {
                self.bytes -= slot.bytes;
            }
        }
    }

    /// How many plans were ever compiled.
    pub fn compiled(&self) -> u64 {
        self.compiled
    }
}
