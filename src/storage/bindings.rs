//! What a graph's sources are bound to in one evaluation, including an optimizer's memory.

use super::Storage;
use crate::graph::layer::Layers;
use crate::graph::optim::Coefficients;
use crate::rng::RandomKey;
use std::sync::{Arc, Mutex};

/// The values that a graph's sources take in one evaluation: data, never structure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bindings {
    /// Per `Data`, `Cell` and `OptimStore` node, in node order; [`Place::Leaf`](crate::plan::Place::Leaf) indexes these.
    pub leaves: Vec<Leaf>,
    /// Per `Scalar` node, in node order.
    pub scalars: Vec<f64>,
    /// Per `Random` node, in node order.
    pub randoms: Vec<RandomKey>,
    /// Which layers the nodes belong to; empty unless a profile is being recorded.
    pub layers: Layers,
}

/// What a buffer leaf is bound to.
#[derive(Debug, Clone)]
pub(crate) enum Leaf {
    /// Realised data, never written.
    Data(Storage),
    /// A parameter's or statistic's memory, which `Assign` overwrites.
    Cell(Storage),
    /// An optimizer's memory.
    Store(Arc<OptimStore>),
}

/// One parameter of a store.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The parameter's memory; on a GPU a range of the parameter arena.
    pub parameter: Storage,
    /// Its elements.
    pub len: usize,
    /// On a GPU: its first element in the gradient and state arenas, a multiple of [`BLOCK`](crate::graph::optim::BLOCK).
    pub offset: usize,
}

/// An optimizer's memory on a device.
///
/// State is one array per state value ([`OptimRule::states`](crate::graph::optim::OptimRule::states)); on the CPU a `Storage` per entry, on a GPU one arena for all.
#[derive(Debug)]
pub(crate) struct OptimStore {
    /// The parameters, in registration order.
    pub entries: Vec<Entry>,
    /// CPU: `state[s * entries.len() + e]`. GPU: `state[s]` is arena s.
    pub state: Vec<Storage>,
    /// GPU: the arena that parameters live in.
    pub parameters: Option<Storage>,
    /// GPU: the arena that gradients are written to.
    pub gradients: Option<Storage>,
    /// This step's numbers, one per entry; if the step is gated, [`VARIANTS`](crate::graph::optim::VARIANTS) per entry, side by side.
    pub coefficients: Mutex<Vec<Coefficients>>,
}

impl OptimStore {
    /// The memory of state array `state` of an entry.
    pub fn state_of(&self, entry: usize, state: usize) -> Option<Storage> {
        if self.parameters.is_none() {
            return self.state.get(state * self.entries.len() + entry).cloned();
        }
        let e = self.entries.get(entry)?;
        self.state.get(state).map(|arena| arena.range(e.offset, e.len))
    }
}
