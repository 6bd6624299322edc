//! What all optimizers share: parameters and state in flat arenas, and one lazy step node an arena.

use crate::autodiff::Gradients;
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::executor::arena::Adoptee;
use crate::graph::Op;
use crate::graph::optim::OptimRule;
use crate::graph::optim::{Coefficients, Gate, VARIANTS, WINDOW};
use crate::lazy::Cell;
use crate::lazy::{Node, Payload, no_grad};
use crate::param::Param;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::sync::lock;
use crate::tensor::{PendingValue, Tensor};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Memory, and where it is to be copied to.
type Copies = Vec<(Storage, Storage)>;

/// A checkpoint's state on the device, to be copied into place by [`OptimCore::restore`].
#[derive(Debug)]
pub struct Staged {
    copies: Copies,
    steps: Vec<u64>,
}

/// The shared part of an optimizer: registered parameters, their state, and their step counts.
#[derive(Debug)]
pub struct OptimCore {
    device: Device,
    rule: OptimRule,
    params: Vec<Param>,
    /// Arenas, each within the device's binding limit, and where each parameter is: (arena, entry).
    stores: Vec<Arc<OptimStore>>,
    places: Vec<(usize, usize)>,
    /// Per arena, its entries' parameters.
    cells: Vec<Arc<[Arc<Cell>]>>,
    counts: Mutex<Counts>,
}

/// How many steps each parameter has taken. The device decides whether a gated step is taken, so the host counts it as taken
/// and takes that back when it hears otherwise, at most [`WINDOW`] steps later.
#[derive(Debug, Default)]
struct Counts {
    steps: Vec<u64>,
    /// On the device: how many steps have been skipped, one f32. Exact below 2²⁴.
    skipped: Option<Tensor>,
    /// How many of them the host has heard of.
    known: u64,
    /// The number after each step since.
    coming: VecDeque<PendingValue>,
    /// The parameters of the steps in `coming`, which all have the same.
    active: Vec<usize>,
}

impl Counts {
    /// Hears of steps until at most `left` are unknown. Waits for the device if it has to.
    fn settle(&mut self, left: usize) -> Result<()> {
        while self.coming.len() > left {
            let Some(value) = self.coming.pop_front() else { break };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let total = value.wait()?.to_f64().first().copied().unwrap_or(0.0) as u64;
            let new = total.saturating_sub(self.known);
            for &i in &self.active {
                self.steps[i] = self.steps[i].saturating_sub(new);
            }
            self.known = total;
        }
        Ok(())
    }
}

impl OptimCore {
    /// Registers parameters; one that is listed twice (tied weights) counts once. On a GPU they move into an arena.
    ///
    /// # Errors
    /// No parameter; a parameter that is not f32 or f64, or on another device; out of memory.
    pub fn new(device: &Device, params: &[Param], rule: OptimRule) -> Result<Self> {
        let mut unique: Vec<Param> = Vec::new();
        for param in params {
            if param.device() != device {
                let reason = format!("parameter {} is on {}, not on {device}", param.name(), param.device());
                return Err(Error::argument("optimizer", reason, "make the model on the optimizer's device"));
            }
            if !param.dtype().is_float() {
                let reason = format!("parameter {} is {}", param.name(), param.dtype());
                return Err(Error::argument("optimizer", reason, "register floating-point parameters only"));
            }
            if unique.iter().all(|p| p.id() != param.id()) {
                unique.push(param.clone());
            }
        }
        if unique.is_empty() {
            return Err(Error::argument("optimizer", "there are no parameters", "pass the model's parameters"));
        }
        let counts = Mutex::new(Counts { steps: vec![0; unique.len()], ..Counts::default() });
        let mut core = Self {
            device: device.clone(),
            rule,
            params: unique,
            stores: Vec::new(),
            places: Vec::new(),
            cells: Vec::new(),
            counts,
        };
        core.adopt(Vec::new())?;
        Ok(core)
    }

    /// The registered parameters, each once, in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// How many steps entry `i` has taken part in; those that were skipped do not count. Waits for the device if steps were
    /// gated.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn steps(&self, i: usize) -> Result<u64> {
        let mut counts = lock(&self.counts);
        counts.settle(0)?;
        Ok(counts.steps[i])
    }

    /// How many gated steps were skipped since the optimizer was made. Waits for the device.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn skipped(&self) -> Result<u64> {
        let mut counts = lock(&self.counts);
        counts.settle(0)?;
        Ok(counts.known)
    }

    /// How many state arrays each parameter has.
    pub fn states(&self) -> usize {
        self.rule.states()
    }

    /// Updates every trainable parameter that has a gradient, in one dispatch an arena. What the gradients need is computed
    /// in the same submission; so are handles that still want the old values.
    ///
    /// `coefficients(i, t)` gives entry i's numbers for its t-th step (counted from 1). If the gradients are gated, the device
    /// decides whether the step is taken, and the host does not wait for its decision.
    ///
    /// # Errors
    /// Whatever evaluation reports; then no parameter, state or count has changed.
    pub fn step(&mut self, gradients: Gradients, coefficients: &mut dyn FnMut(usize, u64) -> Coefficients) -> Result<()> {
        self.reclaim()?;
        let mut active: Vec<Vec<(usize, usize, Arc<Node>)>> = vec![Vec::new(); self.stores.len()];
        let limit = self.limit(&gradients);
        for (i, param) in self.params.iter().enumerate() {
            let gradient = if limit.is_some() { gradients.unclipped(param.id()) } else { gradients.of_cell(param.id()) };
            let Some(gradient) = gradient.filter(|_| param.is_trainable()) else { continue };
            let node = gradient.node()?;
            if node.shape != param.shape() || node.dtype != param.dtype() {
                let reason = format!(
                    "the gradient of {} is {} {}, not {} {}",
                    param.name(),
                    node.dtype,
                    node.shape,
                    param.dtype(),
                    param.shape()
                );
                return Err(Error::argument("step", reason, "keep a gradient's shape and dtype when you change it"));
            }
            let (store, entry) = self.places[i];
            active[store].push((entry, i, node.clone()));
        }
        let gate = gradients.gate().cloned();
        // The step holds the gradients as operands; as handles they would have to outlive it.
        drop(gradients);
        let mut stepped: Vec<usize> = active.iter().flatten().map(|e| e.1).collect();
        stepped.sort_unstable();
        let mut counts = lock(&self.counts);
        let (mut nodes, mut roots) = (Vec::new(), Vec::new());
        if gate.is_none() || stepped != counts.active {
            counts.settle(0)?;
            counts.active.clone_from(&stepped);
        }
        counts.settle(WINDOW - 1)?;
        let after = match &gate {
            Some(open) => {
                let (gate, after) = self.gate(open, &mut counts)?;
                roots.extend([after.node()?.clone(), open.node()?.clone()]);
                Some((gate, after))
            }
            None => None,
        };
        for (n, (store, mut entries)) in self.stores.iter().zip(active.iter().cloned()).enumerate() {
            if entries.is_empty() {
                continue;
            }
            entries.sort_by_key(|e| e.0);
            let mut numbers = lock(&store.coefficients);
            let variants = Gate::variants(gate.is_some());
            numbers.resize(store.entries.len() * variants, Coefficients::default());
            for &(entry, i, _) in &entries {
                let next = counts.steps[i] + 1;
                for more in 0..variants as u64 {
                    // Slots that no count can select hold numbers too, which keeps them finite.
                    let slot = if gate.is_some() { ((counts.known + more) % VARIANTS as u64) as usize } else { 0 };
                    let mut own = coefficients(i, next.saturating_sub(more).max(1));
                    own.limit = limit.unwrap_or(0.0);
                    numbers[entry * variants + slot] = own;
                }
            }
            drop(numbers);
            let entries = entries.into_iter().map(|(entry, _, gradient)| (entry, gradient)).collect();
            let gate = after.as_ref().map(|(gate, _)| gate.node()).transpose()?.cloned();
            nodes.push(self.step_node(n, gate, limit.is_some(), entries));
        }
        drop(active);
        let after = after.map(|(_, after)| after);
        drop(gate);
        nodes.append(&mut roots);
        crate::eval::evaluate_step(&nodes)?;
        for i in stepped {
            counts.steps[i] += 1;
        }
        if let Some(after) = after {
            counts.skipped = Some(after.clone());
            counts.coming.push_back(after.read_later()?);
        }
        Ok(())
    }

    /// What a gated step reads (see [`Gate`]), and the count of skipped steps after it.
    fn gate(&self, open: &Tensor, counts: &mut Counts) -> Result<(Tensor, Tensor)> {
        let before = match counts.skipped.take() {
            Some(before) => before,
            None => Tensor::zeros([1], &self.device)?,
        };
        counts.skipped = Some(before.clone());
        no_grad(|| {
            let open = open.cast(DType::F32).reshape([1]);
            let first = Tensor::iota(2, DType::I32, &self.device)?.cast(DType::F32);
            // (open, before): the first number where the index is 0.
            let gate = &open * &(1.0 - &first) + &before * &first;
            Ok((gate, &before + &(1.0 - &open)))
        })
    }

    /// The limit of the gradients' norm, if the step can keep to it by itself: on a GPU, with all of them in one arena.
    fn limit(&self, gradients: &Gradients) -> Option<f32> {
        let trainable: Vec<u64> = self.params.iter().filter(|p| p.is_trainable()).map(Param::id).collect();
        let one = !self.device.is_cpu() && self.stores.len() == 1;
        #[allow(clippy::cast_possible_truncation, reason = "kernels compute in single precision")]
        gradients.limit_of(trainable.into_iter()).filter(|_| one).map(|limit| limit as f32)
    }

    fn step_node(&self, store: usize, gate: Option<Arc<Node>>, clipped: bool, entries: Vec<(usize, Arc<Node>)>) -> Arc<Node> {
        let payload = Payload::Store { store: self.stores[store].clone(), cells: self.cells[store].clone() };
        let source = Node::new(Op::OptimStore, Vec::new(), Shape::SCALAR, DType::F32, &self.device, payload, false);
        // An arena has fewer than 2³² elements, and so entries.
        let listed = entries.iter().map(|e| e.0 as u32).collect();
        let op = Op::OptimStep { rule: self.rule, gated: gate.is_some(), clipped, entries: listed };
        let inputs = std::iter::once(source).chain(gate).chain(entries.into_iter().map(|e| e.1)).collect();
        Node::new(op, inputs, Shape::SCALAR, DType::F32, &self.device, Payload::None, false)
    }

    /// A state array of entry `i`, for checkpoints. Waits for the device.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn state(&self, i: usize, state: usize) -> Result<HostData> {
        let param = &self.params[i];
        self.device.read(&self.state_storage(&self.stores, self.places[i], state)?, param.dtype(), param.shape().numel())
    }

    /// Makes ready what a checkpoint says: state arrays, each with its entry and its number, and the step counts of all entries.
    /// Everything that can fail happens here, and nothing changes before [`OptimCore::restore`].
    ///
    /// # Errors
    /// Another number or type of elements; whatever the device reports.
    pub fn stage(&self, states: Vec<(usize, usize, HostData)>, steps: Vec<u64>) -> Result<Staged> {
        if steps.len() != self.params.len() {
            return Err(Error::internal(format!("{} step counts for {} parameters", steps.len(), self.params.len())));
        }
        lock(&self.counts).settle(0)?;
        Ok(Staged { copies: self.upload_states(states, &self.stores, &self.places)?, steps })
    }

    /// Overwrites state arrays and step counts with what was made ready.
    ///
    /// # Errors
    /// The device was lost since.
    pub fn restore(&mut self, staged: Staged) -> Result<()> {
        staged.copies.iter().try_for_each(|(source, target)| self.device.executor().copy(source, target))?;
        lock(&self.counts).steps = staged.steps;
        Ok(())
    }

    /// Overwrites state arrays; uploads everything before the first one changes.
    ///
    /// # Errors
    /// As [`OptimCore::stage`]; nothing has changed then.
    pub fn set_states(&self, states: Vec<(usize, usize, HostData)>) -> Result<()> {
        let copies = self.upload_states(states, &self.stores, &self.places)?;
        copies.iter().try_for_each(|(source, target)| self.device.executor().copy(source, target))
    }

    /// State arrays in memory of their own, each with where it is to be copied to.
    fn upload_states(
        &self,
        states: Vec<(usize, usize, HostData)>,
        stores: &[Arc<OptimStore>],
        places: &[(usize, usize)],
    ) -> Result<Copies> {
        let mut copies = Vec::with_capacity(states.len());
        for (i, state, data) in states {
            let param = &self.params[i];
            let numel = param.shape().numel();
            let typed = matches!((&data, param.dtype()), (HostData::F32(_), DType::F32) | (HostData::F64(_), DType::F64));
            if data.len() != numel || !typed {
                let reason =
                    format!("state {state} of {} needs {numel} elements of {}, not {}", param.name(), param.dtype(), data.len());
                return Err(Error::argument("set_state", reason, "load the state of the same model and optimizer"));
            }
            copies.push((self.device.upload(data)?, self.state_storage(stores, places[i], state)?));
        }
        Ok(copies)
    }

    fn state_storage(&self, stores: &[Arc<OptimStore>], place: (usize, usize), state: usize) -> Result<Storage> {
        let (store, entry) = place;
        stores[store].state_of(entry, state).ok_or_else(|| Error::internal(format!("an optimizer has no state {state}")))
    }

    /// Takes parameters back that another optimizer has moved into an arena of its own.
    fn reclaim(&mut self) -> Result<()> {
        let moved = self
            .params
            .iter()
            .zip(&self.places)
            .any(|(param, &(store, entry))| !param.cell().stored().0.is_same(&self.stores[store].entries[entry].parameter));
        if !moved {
            return Ok(());
        }
        let states = self.states();
        let each = (0..self.params.len()).flat_map(|i| (0..states).map(move |s| (i, s)));
        let kept = each.map(|(i, s)| Ok((i, s, self.state(i, s)?))).collect::<Result<Vec<_>>>()?;
        self.adopt(kept)
    }

    /// Makes the arenas with these states, 0 where none is given, and moves the parameters into them. After an error all is
    /// where it was.
    fn adopt(&mut self, states: Vec<(usize, usize, HostData)>) -> Result<()> {
        // Assignments that still wait refer to the old memory's contents: run them first.
        let heads: Vec<Arc<Node>> = self.params.iter().map(|p| p.tensor().node().cloned()).collect::<Result<_>>()?;
        crate::eval::evaluate(&heads)?;
        let _guard = self.device.evaluating();
        let adoptees: Vec<Adoptee> = self
            .params
            .iter()
            .map(|p| Adoptee { storage: p.cell().stored().0, dtype: p.dtype(), len: p.shape().numel() })
            .collect();
        let (stores, places) = self.device.executor().adopt(&adoptees, self.states())?;
        let stores: Vec<Arc<OptimStore>> = stores.into_iter().map(Arc::new).collect();
        for (source, target) in self.upload_states(states, &stores, &places)? {
            self.device.executor().copy(&source, &target)?;
        }
        for (param, &(store, entry)) in self.params.iter().zip(&places) {
            param.cell().relocate(stores[store].entries[entry].parameter.clone());
        }
        let cells_of = |store| {
            let inside = self.params.iter().zip(&places).filter(|(_, place)| place.0 == store);
            inside.map(|(param, _)| param.cell().clone()).collect()
        };
        self.cells = (0..stores.len()).map(cells_of).collect();
        self.stores = stores;
        self.places = places;
        Ok(())
    }
}
