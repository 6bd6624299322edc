//! The plan cache: compiled plans by graph structure.

use crate::graph::Graph;
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// The most plans a device keeps; the least recently used goes first.
const MAX_PLANS: usize = 256;
/// The most bytes of plan data a device keeps, roughly.
const MAX_BYTES: usize = 256 << 20;

/// A plan ready to run on its device.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The plan as data.
    pub plan: Arc<crate::plan::Plan>,
    /// What the executor made of it: `cpu::Compiled` or `gpu::Compiled`.
    pub code: Box<dyn Any + Send + Sync>,
}

#[derive(Debug)]
struct Slot {
    compiled: Arc<Compiled>,
    bytes: usize,
    used: u64,
}

/// Keys are whole graphs, compared in full: equal hashes of different graphs cannot be confused.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    plans: HashMap<Arc<Graph>, Slot>,
    bytes: usize,
    clock: u64,
    compiled: u64,
}

impl PlanCache {
    /// The plan of an equal graph.
    pub fn get(&mut self, graph: &Graph) -> Option<Arc<Compiled>> {
        self.clock += 1;
        let slot = self.plans.get_mut(graph)?;
        slot.used = self.clock;
        Some(slot.compiled.clone())
    }

    /// Keeps a plan, and forgets the least recently used ones past the caps.
    pub fn insert(&mut self, graph: Arc<Graph>, compiled: Arc<Compiled>) {
        self.clock += 1;
        self.compiled += 1;
        // A node with its attributes, and a step with its expressions, are of the order of a kilobyte.
        let bytes = 1024 * (graph.nodes.len() + compiled.plan.steps.len());
        self.bytes += bytes;
        self.plans.insert(graph, Slot { compiled, bytes, used: self.clock });
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
