//! What all optimizers share: parameters and state in flat arenas, and one lazy step node per arena.

use super::counts::Counts;
use crate::autodiff::Gradients;
use crate::device::Device;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::eval::Session;
use crate::executor::arena::Adoptee;
use crate::graph::Op;
use crate::graph::optim::{Coefficients, Gate, OptimRule, VARIANTS};
use crate::lazy::{Cell, Holding, Inputs, Node, Payload, anomaly, no_grad};
use crate::param::Param;
use crate::shape::Shape;
use crate::storage::Storage;
use crate::storage::bindings::OptimStore;
use crate::storage::pool::Counted;
use crate::sync::lock;
use crate::tensor::Tensor;
use std::panic::Location;
use std::sync::{Arc, Mutex};

/// Memory, and where it is to be copied to.
type Copies = Vec<(Storage, Storage)>;

/// A parameter that a step changes: its place among the optimizer's parameters and in its arena, and its gradient.
struct Active {
    param: usize,
    entry: usize,
    gradient: Arc<Node>,
}

/// A checkpoint's state on the device, to be copied into place by [`Stepper::restore`].
#[derive(Debug)]
pub(super) struct Staged {
    copies: Copies,
    steps: Vec<u64>,
}

/// The shared part of an optimizer: registered parameters, their state, and their step counts.
#[derive(Debug)]
pub(super) struct Stepper {
    device: Device,
    rule: OptimRule,
    params: Vec<Param>,
    /// Arenas, each within the device's binding limit, and where each parameter is: (arena, entry).
    stores: Vec<Arc<OptimStore>>,
    places: Vec<(usize, usize)>,
    /// Per arena, its entries' parameters.
    cells: Vec<Arc<[Arc<Cell>]>>,
    counts: Mutex<Counts>,
    /// The bytes of state in the device's account.
    counted: Option<Arc<Counted>>,
}

impl Stepper {
    /// Registers parameters; one that is listed twice (tied weights) counts once. On a GPU they move into an arena.
    ///
    /// # Errors
    /// No parameter; a parameter that is not f32 or f64, or on another device; out of memory.
    #[track_caller]
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
        let counts = Mutex::new(Counts::new(unique.len()));
        let mut stepper = Self {
            device: device.clone(),
            rule,
            params: unique,
            stores: Vec::new(),
            places: Vec::new(),
            cells: Vec::new(),
            counts,
            counted: None,
        };
        stepper.adopt()?;
        Ok(stepper)
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
    #[track_caller]
    pub fn steps(&self, i: usize) -> Result<u64> {
        let mut counts = lock(&self.counts);
        counts.settle(0)?;
        Ok(counts.steps[i])
    }

    /// How many gated steps were skipped since the optimizer was made. Waits for the device.
    ///
    /// # Errors
    /// Whatever the device reports.
    #[track_caller]
    pub fn skipped(&self) -> Result<u64> {
        let mut counts = lock(&self.counts);
        counts.settle(0)?;
        Ok(counts.known)
    }

    /// How many state arrays each parameter has.
    pub fn states(&self) -> usize {
        self.rule.states()
    }

    /// Updates every trainable parameter that has a gradient, in one dispatch per arena. What the gradients need is computed
    /// in the same submission; so are handles that still need the old values.
    ///
    /// `coefficients(i, t)` gives entry i's numbers for its t-th step (counted from 1). If the gradients are gated, the device
    /// decides whether the step is taken, and the host does not wait for its decision.
    ///
    /// # Errors
    /// Whatever evaluation reports; in that case no parameter, state or count changes.
    #[track_caller]
    pub fn step(&mut self, gradients: Gradients, coefficients: &mut dyn FnMut(usize, u64) -> Coefficients) -> Result<()> {
        let device = self.device.clone();
        let _call = anomaly::called("step", Location::caller());
        let limit = self.limit(&gradients);
        let open = gradients.gate().cloned();
        let active = self.collect(&gradients, limit.is_some())?;
        let mut stepped: Vec<usize> = active.iter().flatten().map(|a| a.param).collect();
        stepped.sort_unstable();
        let mut counts = lock(&self.counts);
        counts.settle_for(&stepped, open.is_some())?;
        self.fill(&active, open.is_some(), limit, &counts, coefficients);
        let gate = open.as_ref().map(|open| open.node().cloned()).transpose()?;
        let (nodes, after) = self.nodes(active, open, limit.is_some(), &mut counts)?;
        // Whatever other threads do to the parameters comes before all of this, or after it.
        let mut session = Session::new(&device);
        // The step holds the gradients as operands; as handles they would have to outlive it.
        drop(gradients);
        self.reclaim(&mut session)?;
        if !session.step(nodes, gate)? {
            return Ok(());
        }
        drop(session);
        counts.add(&stepped, after)
    }

    /// Per arena, the trainable parameters that have a gradient, in the order of its entries.
    #[track_caller]
    fn collect(&self, gradients: &Gradients, clips: bool) -> Result<Vec<Vec<Active>>> {
        let mut active: Vec<Vec<Active>> = self.stores.iter().map(|_| Vec::new()).collect();
        for (i, param) in self.params.iter().enumerate().filter(|(_, p)| p.is_trainable()) {
            let gradient = if clips { gradients.unclipped(param.id()) } else { gradients.of_cell(param.id()) };
            let Some(gradient) = gradient else { continue };
            let node = gradient.node()?;
            if node.shape != param.shape() || node.dtype != param.dtype() {
                let (name, dtype, shape) = (param.name(), param.dtype(), param.shape());
                let reason = format!("the gradient of {name} is {} {}, not {dtype} {shape}", node.dtype, node.shape);
                return Err(Error::argument("step", reason, "keep a gradient's shape and dtype when you change it"));
            }
            let (store, entry) = self.places[i];
            active[store].push(Active { param: i, entry, gradient: node.clone() });
        }
        active.iter_mut().for_each(|entries| entries.sort_by_key(|a| a.entry));
        Ok(active)
    }

    /// Puts the numbers of a step into the arenas.
    #[allow(clippy::cast_possible_truncation, reason = "counts of entries and of variants are small")]
    fn fill(
        &self,
        active: &[Vec<Active>],
        gated: bool,
        limit: Option<f32>,
        counts: &Counts,
        coefficients: &mut dyn FnMut(usize, u64) -> Coefficients,
    ) {
        let variants = Gate::variants(gated);
        for (store, entries) in self.stores.iter().zip(active).filter(|(_, entries)| !entries.is_empty()) {
            let mut numbers = lock(&store.coefficients);
            numbers.resize(store.entries.len() * variants, Coefficients::default());
            for a in entries {
                let next = counts.steps[a.param] + 1;
                for more in 0..variants as u64 {
                    // Slots that no count can select hold numbers too, which keeps them finite.
                    let slot = if gated { ((counts.known + more) % VARIANTS as u64) as usize } else { 0 };
                    let own = coefficients(a.param, next.saturating_sub(more).max(1));
                    numbers[a.entry * variants + slot] = Coefficients { limit: limit.unwrap_or(0.0), ..own };
                }
            }
        }
    }

    /// What a step evaluates; if it is gated, also how many steps have been skipped after it.
    fn nodes(
        &self,
        active: Vec<Vec<Active>>,
        open: Option<Tensor>,
        clips: bool,
        counts: &mut Counts,
    ) -> Result<(Vec<Arc<Node>>, Option<Tensor>)> {
        let (mut gate, mut after, mut roots) = (None, None, Vec::new());
        if let Some(open) = open {
            let (numbers, skipped) = self.gate(&open, counts)?;
            roots.extend([skipped.node()?.clone(), open.node()?.clone()]);
            (gate, after) = (Some(numbers.node()?.clone()), Some(skipped));
        }
        let steps = active.into_iter().enumerate().filter(|(_, entries)| !entries.is_empty());
        let mut nodes: Vec<Arc<Node>> = steps.map(|(n, entries)| self.step_node(n, gate.clone(), clips, entries)).collect();
        nodes.append(&mut roots);
        Ok((nodes, after))
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

    #[allow(clippy::cast_possible_truncation, reason = "counts of entries and of variants are small")]
    fn step_node(&self, store: usize, gate: Option<Arc<Node>>, clipped: bool, active: Vec<Active>) -> Arc<Node> {
        let payload = Payload::Store { store: self.stores[store].clone(), cells: self.cells[store].clone() };
        let source = Node::new(Op::OptimStore, Inputs::None, Shape::SCALAR, DType::F32, &self.device, payload, false);
        // An arena has fewer than 2³² elements, and so fewer entries.
        let entries = active.iter().map(|a| a.entry as u32).collect();
        let op = Op::OptimStep { rule: self.rule, gated: gate.is_some(), clipped, entries };
        let inputs: Inputs = std::iter::once(source).chain(gate).chain(active.into_iter().map(|a| a.gradient)).collect();
        Node::new(op, inputs, Shape::SCALAR, DType::F32, &self.device, Payload::None, false)
    }

    /// A state array of entry `i`, for checkpoints. Waits for the device.
    ///
    /// # Errors
    /// Whatever the device reports.
    #[track_caller]
    pub fn state(&self, i: usize, state: usize) -> Result<HostData> {
        let param = &self.params[i];
        self.device.read(&self.state_storage(i, state)?, param.dtype(), param.shape().numel())
    }

    /// Prepares what a checkpoint contains: state arrays, each with its entry and its number, and the step counts of all entries.
    /// Everything that can fail happens here, and nothing changes before [`Stepper::restore`].
    ///
    /// # Errors
    /// A wrong number or type of elements; whatever the device reports.
    #[track_caller]
    pub fn stage(&self, states: Vec<(usize, usize, HostData)>, steps: Vec<u64>) -> Result<Staged> {
        if steps.len() != self.params.len() {
            return Err(Error::internal(format!("{} step counts for {} parameters", steps.len(), self.params.len())));
        }
        lock(&self.counts).settle(0)?;
        Ok(Staged { copies: self.upload_states(states)?, steps })
    }

    /// Overwrites state arrays and step counts with what was prepared.
    ///
    /// # Errors
    /// The device has been lost since.
    #[track_caller]
    pub fn restore(&mut self, staged: Staged) -> Result<()> {
        staged.copies.iter().try_for_each(|(source, target)| self.device.executor().copy(source, target))?;
        lock(&self.counts).steps = staged.steps;
        Ok(())
    }

    /// Overwrites state arrays; uploads everything before the first one changes.
    ///
    /// # Errors
    /// As [`Stepper::stage`]; nothing changes in that case.
    #[track_caller]
    pub fn set_states(&self, states: Vec<(usize, usize, HostData)>) -> Result<()> {
        let copies = self.upload_states(states)?;
        copies.iter().try_for_each(|(source, target)| self.device.executor().copy(source, target))
    }

    /// State arrays in memory of their own, each with where it is to be copied to.
    #[track_caller]
    fn upload_states(&self, states: Vec<(usize, usize, HostData)>) -> Result<Copies> {
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
            copies.push((self.device.upload(data)?, self.state_storage(i, state)?));
        }
        Ok(copies)
    }

    fn state_storage(&self, i: usize, state: usize) -> Result<Storage> {
        let (store, entry) = self.places[i];
        self.stores[store].state_of(entry, state).ok_or_else(|| Error::internal(format!("an optimizer has no state {state}")))
    }

    /// Takes back parameters that another optimizer has moved into an arena of its own.
    fn reclaim(&self, session: &mut Session<'_>) -> Result<()> {
        let own = |&(store, entry): &(usize, usize)| &self.stores[store].entries[entry].parameter;
        let moved = |(param, place): &(&Param, &(usize, usize))| !param.cell().storage().is_same(own(place));
        let moved: Vec<_> = self.params.iter().zip(&self.places).filter(moved).collect();
        for (param, place) in &moved {
            session.copy(&param.cell().storage(), own(place))?;
        }
        moved.iter().for_each(|(param, place)| param.cell().relocate(own(place).clone()));
        Ok(())
    }

    /// Makes the arenas, with states of 0, and moves the parameters into them. After an error everything is where it was.
    fn adopt(&mut self) -> Result<()> {
        let device = self.device.clone();
        let _session = Session::new(&device);
        let adoptees: Vec<Adoptee> = self
            .params
            .iter()
            .map(|p| Adoptee { storage: p.cell().storage(), dtype: p.dtype(), len: p.shape().numel() })
            .collect();
        let (stores, places) = device.executor().adopt(&adoptees, self.states())?;
        let stores: Vec<Arc<OptimStore>> = stores.into_iter().map(Arc::new).collect();
        for (param, &(store, entry)) in self.params.iter().zip(&places) {
            param.cell().relocate(stores[store].entries[entry].parameter.clone());
        }
        let cells_of = |store| {
            let inside = self.params.iter().zip(&places).filter(|(_, place)| place.0 == store);
            inside.map(|(param, _)| param.cell().clone()).collect()
        };
        self.cells = (0..stores.len()).map(cells_of).collect();
        let elements: usize = adoptees.iter().map(|p| p.dtype.bytes(p.len)).sum();
        self.counted = Some(device.count(Holding::State, (elements * self.states()) as u64));
        self.stores = stores;
        self.places = places;
        Ok(())
    }
}
