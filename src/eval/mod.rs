//! Evaluation: from lazy nodes to a canonical graph, a cached plan, and values in memory.
//!
//! Everything that reads or changes contents happens within a [`Session`], of which a device has one at a time.

mod anomaly;
mod gather;
mod keep;
mod measure;
mod phase;
mod survey;
#[cfg(test)]
mod tests;

use crate::dtype::{DType, HostData};
use crate::error::Result;
use crate::executor::Transfer;
use crate::lazy::{self, Cell, Device, Holding, Node, Verdict, grad_enabled, snapshot};
use crate::storage::Storage;
use gather::{Gathered, Numbering, Purpose};
use keep::Wanted;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::{Arc, MutexGuard};

/// Realises nodes. If gradients are being recorded, values that a later backward needs are kept as well.
pub(crate) fn evaluate(roots: &[Arc<Node>]) -> Result<()> {
    if !roots.iter().any(|r| needs_work(r)) {
        return Ok(());
    }
    let Some(device) = roots.first().map(|r| r.device.clone()) else { return Ok(()) };
    Session::new(&device).evaluate(roots)
}

/// Starts to bring a node's value to the host, and computes it first if need be.
pub(crate) fn start_read(node: &Arc<Node>) -> Result<Transfer> {
    let mut session = Session::new(&node.device);
    session.evaluate(std::slice::from_ref(node))?;
    let (executor, memory) = (node.device.executor(), node.memory()?);
    let transfer = executor.start_read(&memory, node.dtype, node.shape.numel(), executor.latest_flag());
    node.device.says_what_it_holds(transfer)
}

/// A node's value. Waits for the device, and leaves reports of indices out of range to the next read.
pub(crate) fn read_quietly(node: &Arc<Node>) -> Result<HostData> {
    let mut session = Session::new(&node.device);
    session.evaluate(std::slice::from_ref(node))?;
    let memory = node.memory()?;
    let transfer = node.device.executor().start_read(&memory, node.dtype, node.shape.numel(), None);
    drop(session);
    let data = transfer.and_then(|transfer| node.device.executor().finish_read(transfer, node.dtype, node.shape.numel()));
    node.device.says_what_it_holds(data)
}

/// A node's value. Waits for the device.
pub(crate) fn read(node: &Arc<Node>) -> Result<HostData> {
    let transfer = start_read(node)?;
    node.device.executor().finish_read(transfer, node.dtype, node.shape.numel())
}

/// Memory with a node's value that nothing overwrites: its own, or a copy of its cell's.
pub(crate) fn fixed(node: &Arc<Node>) -> Result<Storage> {
    let mut session = Session::new(&node.device);
    session.evaluate(std::slice::from_ref(node))?;
    if node.cell_read().is_some() && !node.is_realised() {
        return node.device.executor().duplicate(&node.memory()?, node.dtype, node.shape.numel());
    }
    node.memory()
}

/// A copy of a node's value that no handle shares.
pub(crate) fn duplicate(node: &Arc<Node>) -> Result<Storage> {
    let mut session = Session::new(&node.device);
    session.evaluate(std::slice::from_ref(node))?;
    node.device.executor().duplicate(&node.memory()?, node.dtype, node.shape.numel())
}

/// The plan that would realise a node, as a table.
pub(crate) fn explain(root: &Arc<Node>) -> Result<String> {
    let device = root.device.clone();
    let mut session = Session::new(&device);
    if !needs_work(root) {
        return Ok("nothing to do: the value is in memory\n".into());
    }
    let gathered = session.number_one(root)?;
    Ok(device.executor().plan(&gathered.out.graph)?.plan.explain())
}

/// The plan that would realise a node, and what its sources are bound to, for tests that carry it out themselves.
#[cfg(test)]
pub(crate) fn planned(root: &Arc<Node>) -> Result<(Arc<crate::plan::Plan>, crate::storage::bindings::Bindings)> {
    let device = root.device.clone();
    let gathered = Session::new(&device).number_one(root)?;
    Ok((device.executor().plan(&gathered.out.graph)?.plan.clone(), gathered.out.bindings))
}

/// The right to read and change contents on a device, as long as it lives.
pub(crate) struct Session<'d> {
    device: &'d Device,
    /// The last number that was given to a node.
    last: MutexGuard<'d, u64>,
}

impl<'d> Session<'d> {
    /// Waits for the device's other evaluations.
    pub fn new(device: &'d Device) -> Self {
        Self { device, last: device.evaluating() }
    }

    /// As [`evaluate`].
    pub fn evaluate(&mut self, roots: &[Arc<Node>]) -> Result<()> {
        let wanted: Vec<Arc<Node>> = roots.iter().filter(|r| needs_work(r)).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        if let Some(watch) = lazy::anomaly::current() {
            self.inspect(&watch, &wanted)?;
        }
        self.run(wanted, Purpose::default(), grad_enabled())
    }

    /// Runs an optimizer's step; `roots` are realised on the way, and what the forward pass tracks goes with it. Nothing is kept
    /// for a later backward. If it is gated, the device decides whether it is taken. Returns false if anomaly mode skips it.
    ///
    /// # Errors
    /// Whatever evaluation reports; in that case nothing changes, and the assignments that the step would have run are dropped.
    pub fn step(&mut self, roots: Vec<Arc<Node>>, gate: Option<Arc<Node>>) -> Result<bool> {
        if let Some(watch) = lazy::anomaly::current()
            && !self.approves(&watch, &roots)?
        {
            return Ok(false);
        }
        self.run(roots, Purpose { step: true, gate }, false).map(|()| true)
    }

    /// Overwrites memory with the contents of other memory.
    ///
    /// # Errors
    /// A lost device.
    pub fn copy(&mut self, from: &Storage, to: &Storage) -> Result<()> {
        self.device.executor().copy(from, to)
    }

    /// Numbers what `f` adds.
    fn number(&mut self, purpose: Purpose, f: impl FnOnce(&mut Numbering) -> Result<()>) -> Result<Numbering> {
        let mut numbering = Numbering::new(*self.last, purpose, self.device.executor().is_recorded());
        let outcome = f(&mut numbering);
        *self.last = numbering.last();
        outcome.map(|()| numbering)
    }

    /// Numbers a node and what is below it.
    fn number_one(&mut self, root: &Arc<Node>) -> Result<Numbering> {
        self.number(Purpose::default(), |numbering| {
            numbering.add([root.clone()])?;
            numbering.finish()
        })
    }

    fn run(&mut self, roots: Vec<Arc<Node>>, purpose: Purpose, keep_saved: bool) -> Result<()> {
        let mut attempt = |along: bool| {
            let mut numbering = Numbering::new(*self.last, purpose.clone(), self.device.executor().is_recorded());
            let outcome = compute(self.device, &mut numbering, &roots, keep_saved, along);
            *self.last = numbering.last();
            (outcome, numbering.out)
        };
        let (mut outcome, mut gathered) = attempt(true);
        if outcome.is_err() && gathered.along && !gathered.planned {
            // What is computed along the way may be what fails, which concerns only its readers.
            (outcome, gathered) = attempt(false);
        }
        if outcome.is_err() {
            // A step that fails leaves what its forward pass tracks as it was.
            for assign in &gathered.tracked {
                assign.target().into_iter().for_each(|target| target.cell.done(assign));
            }
        }
        self.device.says_what_it_holds(outcome)
    }
}

fn compute(device: &Device, numbering: &mut Numbering, roots: &[Arc<Node>], keep_saved: bool, along: bool) -> Result<()> {
    let mut wanted = if keep_saved { Wanted::saved(roots) } else { Wanted::default() };
    numbering.add(roots.iter().cloned())?;
    let mut writes = Writes::default();
    phase::reached();
    writes.begin(&numbering.out);
    phase::reached();
    if !writes.cells.is_empty() || numbering.out.gradients {
        wanted.join(Wanted::endangered(numbering, device, along)?);
        writes.begin(&numbering.out);
        phase::reached();
    }
    if keep_saved && along {
        Wanted::tracked(numbering, device)?;
    }
    numbering.finish()?;
    let overwritten = writes.cells();
    numbering.out.graph.wishes = wanted.wishes(numbering);
    let spent = if numbering.is_step() { wanted.spent(&numbering.out.saved) } else { Vec::new() };
    numbering.out.graph.spent = spent.iter().filter_map(|node| numbering.number_of(node)).collect();
    numbering.out.graph.spent.sort_unstable();
    let executor = device.executor();
    let compiled = executor.plan(&numbering.out.graph)?;
    numbering.out.planned = true;
    let resolved = wanted.resolve(numbering, &compiled.outputs, &overwritten);
    resolved.keep_contents(device);
    phase::reached();
    // From here on only the plan knows what is in their memory.
    let take = |node: &Arc<Node>| {
        let mut state = node.state();
        state.value = None;
        state.kept.take()
    };
    let counted: Vec<_> = spent.iter().map(take).collect();
    let count = |(_, node): &(_, Arc<Node>)| device.count(Holding::Saved, node.dtype.bytes(node.shape.numel()) as u64);
    let counts: Vec<_> = resolved.values.iter().filter(|_| keep_saved).map(count).collect();
    let values = executor.run(&compiled, &numbering.out.bindings)?;
    drop(counted);
    writes.written = true;
    phase::reached();
    let asked = numbering.out.graph.outputs.iter().zip(&numbering.out.outputs);
    let asked = asked.flat_map(|(&id, nodes)| nodes.iter().map(move |node| (id, node)));
    for (id, node) in asked.chain(resolved.values.iter().map(|(id, node)| (*id, node))) {
        let value = compiled.outputs.binary_search(&id).ok().and_then(|at| values.get(at));
        value.into_iter().for_each(|value| realise(node, value));
    }
    for ((_, node), count) in resolved.values.iter().zip(counts) {
        node.state().kept = Some(count);
    }
    if let Some((id, before)) = numbering.out.flag.take() {
        let after = compiled.outputs.binary_search(&id).ok().and_then(|at| values.get(at));
        after.into_iter().for_each(|after| executor.set_flag(&before, after));
        numbering.out.checks.iter().for_each(|check| check.mark_done());
    }
    let verdict = verdict(device, numbering);
    writes.commit(&numbering.out, verdict.as_ref().ok().and_then(Option::as_ref));
    if numbering.is_step() {
        wanted.release(&numbering.out.saved, &resolved);
    }
    verdict.map(|_| ())
}

/// What the device decides about a gated step, if a count depends on it.
fn verdict(device: &Device, numbering: &Numbering) -> Result<Option<Arc<Verdict>>> {
    let Some(gate) = numbering.gate() else { return Ok(None) };
    if numbering.out.tracked.iter().all(|assign| assign.target().is_none_or(|t| t.ticket.is_none())) {
        return Ok(None);
    }
    let memory = gate.memory()?;
    // The step has run: what fails from here on must not be its failure.
    let transfer = device.executor().start_read(&memory, DType::F32, 1, None);
    let device = device.clone();
    Ok(Some(Verdict::new(move || {
        let executor = device.executor();
        // A driver that refuses to map one buffer may map another. A device that is lost has taken no step.
        let read = transfer.and_then(|transfer| executor.finish_read(transfer, DType::F32, 1));
        let read = read.or_else(|_| executor.read(&memory, DType::F32, 1));
        read.is_ok_and(|data| data.to_f64().first().is_some_and(|&open| open != 0.0))
    })))
}

fn needs_work(node: &Node) -> bool {
    !node.is_realised() && node.cell_read().is_none()
}

/// Whether a node's value is in memory, so that a read computes nothing.
pub(crate) fn is_computed(node: &Node) -> bool {
    !needs_work(node)
}

/// Hands a node its value.
fn realise(node: &Node, value: &Storage) {
    let mut state = node.state();
    state.value = Some(value.clone());
    let siblings = state.siblings.take();
    let freed = if node.requires_grad { None } else { Some(std::mem::take(&mut state.inputs)) };
    drop(state);
    drop((freed, siblings));
}

/// The writes of an evaluation, from their beginning to their end, successful or not.
#[derive(Default)]
struct Writes {
    /// Each cell, its writes, and the version that the first one makes.
    cells: Vec<(Arc<Cell>, u64, u64)>,
    written: bool,
}

impl Writes {
    /// The cells, by id.
    fn cells(&self) -> FxHashSet<u64> {
        self.cells.iter().map(|(cell, ..)| cell.id).collect()
    }

    /// Begins those that have not begun.
    fn begin(&mut self, gathered: &Gathered) {
        let mut counts: FxHashMap<u64, (&Arc<Cell>, u64)> = FxHashMap::default();
        let assigned = gathered.assigned.iter().filter_map(|a| a.target()).map(|target| &target.cell);
        for cell in assigned.chain(&gathered.stepped) {
            counts.entry(cell.id).or_insert((cell, 0)).1 += 1;
        }
        for (cell, _, begun) in &mut self.cells {
            if let Some((_, count)) = counts.remove(&cell.id)
                && count > *begun
            {
                cell.begin(count - *begun);
                *begun = count;
            }
        }
        self.cells.extend(counts.into_values().map(|(cell, count)| (cell.clone(), count, cell.begin(count))));
    }

    /// Tells the assignments that they have run.
    fn commit(&self, gathered: &Gathered, verdict: Option<&Arc<Verdict>>) {
        let mut next: FxHashMap<u64, (u64, u64)> = FxHashMap::default();
        for (cell, count, first) in &self.cells {
            snapshot::written(cell.id);
            next.insert(cell.id, (*first, first + count - 1));
        }
        for assign in &gathered.assigned {
            let Some(target) = assign.target() else { continue };
            let Some((version, last)) = next.get_mut(&target.cell.id) else { continue };
            assign.has_run((version == last).then_some(*version));
            *version += 1;
            target.cell.done(assign);
            if let Some(ticket) = &target.ticket {
                let tracked = gathered.tracked.iter().any(|t| t.id == assign.id);
                ticket.count(verdict.filter(|_| tracked));
            }
        }
        gathered.release_anchors();
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.cells.iter().for_each(|(cell, ..)| cell.end(self.written));
    }
}
