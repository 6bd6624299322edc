//! Reading several cells as they were at one moment.

use super::{Cell, Device, Handle};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::RefCell;
use std::sync::Arc;

/// The handles that read cells at one moment, by the cells' ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame(Arc<FxHashMap<u64, Arc<Handle>>>);

/// A frame through which a thread reads cells.
struct Entered {
    frame: Frame,
    /// Cells that this thread has written since: it reads what it wrote.
    written: FxHashSet<u64>,
}

thread_local! {
    /// Innermost last.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

impl Frame {
    /// The newest versions of these cells, none of them in the middle of a step; and what `besides` returns at the same moment.
    pub fn take<'c, R>(cells: impl Iterator<Item = &'c Arc<Cell>> + Clone, besides: impl FnOnce() -> R) -> (Self, R) {
        let mut devices: Vec<&Device> = Vec::new();
        for cell in cells.clone() {
            if !devices.contains(&&cell.device) {
                devices.push(&cell.device);
            }
        }
        // In the same order for all threads.
        devices.sort_by_key(|d| d.number());
        let _guards: Vec<_> = devices.iter().map(|d| d.evaluating()).collect();
        (Self(Arc::new(cells.map(|c| (c.id, c.read())).collect())), besides())
    }

    /// The handle that reads a cell.
    pub fn get(&self, cell: u64) -> Option<Arc<Handle>> {
        self.0.get(&cell).cloned()
    }

    /// Runs `f`; meanwhile this thread reads the frame's cells as of its moment, except for what `f` writes.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                let left = ENTERED.with_borrow_mut(Vec::pop);
                drop(left);
            }
        }
        let entered = Entered { frame: self.clone(), written: FxHashSet::default() };
        ENTERED.with_borrow_mut(|all| all.push(entered));
        let _leave = Leave;
        f()
    }
}

/// How this thread reads a cell, if a frame says so.
pub(super) fn framed(cell: u64) -> Option<Arc<Handle>> {
    let find = |all: &RefCell<Vec<Entered>>| {
        all.borrow().iter().rev().filter(|e| !e.written.contains(&cell)).find_map(|e| e.frame.get(cell))
    };
    ENTERED.try_with(find).ok().flatten()
}

/// This thread writes a cell: no frame that it is in applies to the cell any more.
pub(crate) fn written(cell: u64) {
    let _ = ENTERED.try_with(|all| {
        for entered in all.borrow_mut().iter_mut() {
            entered.written.insert(cell);
        }
    });
}
