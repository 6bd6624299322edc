//! Single steps of a plan: each locks what it reads and writes.

use crate::cpu::expr::Context;
use crate::cpu::kernel::Prepared;
use crate::cpu::optim;
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::host::copied;
use crate::plan::{BufferInfo, Kernel, Place, Plan, Step};
use crate::storage::bindings::{Bindings, Leaf};
use crate::storage::cpu::{Buffer, Words, words, words_mut};
use crate::storage::pool::Loan;
use rustc_hash::FxHashSet;
use std::sync::{RwLockReadGuard, RwLockWriteGuard};

/// Memory for intermediate results.
#[derive(Debug)]
pub(super) struct Slot {
    pub words: Words,
    pub loan: Loan,
}

/// Runs a plan's steps on the memory of a run.
pub(super) struct Steps<'a> {
    pub plan: &'a Plan,
    pub slots: &'a mut [Slot],
    pub outputs: &'a [Buffer],
    pub bindings: &'a Bindings,
}

/// What a step reads, before it is borrowed as words.
enum Read<'a> {
    Slot(usize),
    Shared(RwLockReadGuard<'a, HostData>),
    /// The same buffer as an earlier read; a thread must not lock twice.
    Again(usize),
    /// A copy of what the step overwrites.
    Copy(Vec<u32>),
    /// The elements are in the output itself.
    InPlace,
}

/// What a step writes.
enum Write<'a> {
    Slot(usize, Vec<u32>),
    Locked(RwLockWriteGuard<'a, HostData>),
}

impl<'a> Steps<'a> {
    fn info(&self, id: usize) -> &'a BufferInfo {
        &self.plan.buffers[id]
    }

    /// The lockable buffer of a place, `None` for a slot.
    fn shared(&self, place: Place) -> Result<Option<&'a Buffer>> {
        match place {
            Place::Slot(_) => Ok(None),
            Place::Output(i) => Ok(Some(&self.outputs[i])),
            Place::Leaf(leaf) => leaf_buffer(self.bindings, leaf).map(Some),
            Place::Gradient { .. } => Err(Error::internal("the CPU has no gradient arena")),
        }
    }

    /// Locks what a step reads and writes, and runs its kernel.
    pub fn run(&mut self, step: &Step, kernel: &Prepared) -> Result<()> {
        let in_place = kernel.in_place();
        let target = step.write.map(|id| self.info(id));
        let reads = self.reads(step, target, in_place)?;
        let mut write = match target {
            None => None,
            Some(info) => Some(match (info.place, self.shared(info.place)?) {
                (Place::Slot(i), _) => Write::Slot(i, std::mem::take(&mut self.slots[i].words)),
                (_, Some(buffer)) => Write::Locked(buffer.write()),
                (place, None) => return Err(Error::internal(format!("a step writes to {place:?}"))),
            }),
        };
        let operands: Vec<&[u32]> =
            step.reads.iter().enumerate().map(|(i, &id)| self.operand(&reads, i, self.info(id).len)).collect::<Result<_>>()?;
        let out = match &mut write {
            None => &mut [],
            Some(Write::Slot(_, slot)) => slot.as_mut_slice(),
            Some(Write::Locked(data)) => words_mut(data),
        };
        let out = out.get_mut(..target.map_or(0, |t| t.len)).ok_or_else(|| Error::internal("a slot is too small"))?;
        let context = Context { operands: &operands, bindings: self.bindings };
        let result = match &step.kernel {
            Kernel::OptimStep { clipped: true, .. } => Err(Error::internal("only GPUs clip gradients within a step")),
            Kernel::OptimStep { store, rule, gated, entries, .. } => match self.bindings.leaves.get(*store) {
                Some(Leaf::Store(store)) => optim::run(*rule, *gated, entries, store, &operands),
                _ => Err(Error::internal(format!("leaf {store} is not an optimizer store"))),
            },
            described => kernel.run(described, context, out),
        };
        if let Some(Write::Slot(i, slot)) = write {
            self.slots[i].words = slot;
        }
        result
    }

    /// The parameters that an optimizer's step overwrites, by address.
    fn stepped(&self, step: &Step) -> Result<FxHashSet<usize>> {
        match &step.kernel {
            Kernel::OptimStep { store, .. } => match self.bindings.leaves.get(*store) {
                Some(Leaf::Store(store)) => store.entries.iter().map(|e| Ok(e.parameter.on_cpu()?.address())).collect(),
                _ => Err(Error::internal(format!("leaf {store} is not an optimizer store"))),
            },
            _ => Ok(FxHashSet::default()),
        }
    }

    /// Locks what a step reads. What it also writes is read in place, or copied first.
    fn reads(&self, step: &Step, target: Option<&BufferInfo>, in_place: Option<usize>) -> Result<Vec<Read<'a>>> {
        const WHAT: &str = "an operand";
        let written = target.map(|t| self.shared(t.place)).transpose()?.flatten();
        // A gradient may be a parameter itself, which the optimizer is about to lock.
        let stepped = self.stepped(step)?;
        let mut buffers: Vec<Option<&Buffer>> = Vec::with_capacity(step.reads.len());
        let mut reads = Vec::with_capacity(step.reads.len());
        for (i, &id) in step.reads.iter().enumerate() {
            let info = self.info(id);
            let shared = self.shared(info.place)?;
            let same = |other: &Buffer| shared.is_some_and(|b| b.is_same(other));
            reads.push(match (info.place, shared) {
                _ if in_place == Some(i) => Read::InPlace,
                (Place::Slot(slot), _) if target.is_some_and(|t| t.place == info.place) => {
                    Read::Copy(copied(WHAT, &self.slots[slot].words)?)
                }
                (Place::Slot(slot), _) => Read::Slot(slot),
                (_, Some(buffer)) if written.is_some_and(same) => Read::Copy(copied(WHAT, words(&buffer.read()))?),
                (_, Some(buffer)) if stepped.contains(&buffer.address()) => Read::Copy(copied(WHAT, words(&buffer.read()))?),
                (_, Some(buffer)) => match buffers.iter().position(|b| b.is_some_and(same)) {
                    Some(first) => Read::Again(first),
                    None => Read::Shared(buffer.read()),
                },
                (place, None) => return Err(Error::internal(format!("a step reads {place:?}"))),
            });
            buffers.push(shared);
        }
        Ok(reads)
    }

    fn operand<'b>(&'b self, reads: &'b [Read<'a>], i: usize, len: usize) -> Result<&'b [u32]> {
        let all = match &reads[i] {
            Read::Slot(slot) => self.slots[*slot].words.as_slice(),
            Read::Shared(data) => words(data),
            Read::Copy(copy) => copy,
            Read::Again(first) => return self.operand(reads, *first, len),
            Read::InPlace => return Ok(&[]),
        };
        all.get(..len).ok_or_else(|| Error::internal("an operand is shorter than planned"))
    }
}

/// What a leaf is bound to.
pub(super) fn leaf_buffer(bindings: &Bindings, leaf: usize) -> Result<&Buffer> {
    match bindings.leaves.get(leaf) {
        Some(Leaf::Data(storage) | Leaf::Cell(storage)) => storage.on_cpu(),
        _ => Err(Error::internal(format!("leaf {leaf} is not bound to a value"))),
    }
}
