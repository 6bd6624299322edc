//! Orders steps by dependency level and packs values into slots by their lifetimes.

use super::{BufferId, Kernel, Place, Plan};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

/// Bytes up to which any slot may hold any value.
const ROOMY: usize = 1 << 16;

/// Levels, a stable order by level, and slots.
pub(super) fn schedule(mut plan: Plan) -> Plan {
    assign_levels(&mut plan);
    plan.steps.sort_by_key(|s| s.level);
    assign_slots(&mut plan);
    plan
}

/// A step comes one level after all it depends on: who wrote what it reads, and who touched what it writes.
fn assign_levels(plan: &mut Plan) {
    // Per place: the level after the last write, and the level after the last read.
    let mut written: HashMap<Place, u32> = HashMap::new();
    let mut touched: HashMap<Place, u32> = HashMap::new();
    let mut last = 0;
    for i in 0..plan.steps.len() {
        let step = &plan.steps[i];
        let place = |b: &BufferId| plan.buffers[*b].place;
        let after_reads = step.reads.iter().filter_map(|b| written.get(&place(b))).copied().max().unwrap_or(0);
        let after_write = step.write.iter().filter_map(|b| touched.get(&place(b))).copied().max().unwrap_or(0);
        // An optimizer step reads the gradient arena and writes parameters that any step may have read.
        let after_all = if matches!(step.kernel, Kernel::OptimStep { .. }) { last } else { 0 };
        let level = after_reads.max(after_write).max(after_all);
        for b in &step.reads {
            let t = touched.entry(place(b)).or_default();
            *t = (*t).max(level + 1);
        }
        if let Some(b) = &step.write {
            written.insert(place(b), level + 1);
            touched.insert(place(b), level + 1);
        }
        last = last.max(level + 1);
        plan.steps[i].level = level;
    }
}

/// Gives values whose lifetimes do not overlap the same slot; a slot is free again after the level of its last use.
fn assign_slots(plan: &mut Plan) {
    let mut last_use: HashMap<BufferId, u32> = HashMap::new();
    for step in &plan.steps {
        for &b in step.reads.iter().chain(&step.write) {
            let level = last_use.entry(b).or_default();
            *level = (*level).max(step.level);
        }
    }
    let mut slots: Vec<usize> = Vec::new();
    // (bytes, slot)
    let mut free: BTreeSet<(usize, usize)> = BTreeSet::new();
    // (level of last use, slot), the earliest first
    let mut busy: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
    for i in 0..plan.steps.len() {
        let level = plan.steps[i].level;
        while let Some(&Reverse((until, slot))) = busy.peek()
            && until < level
        {
            busy.pop();
            free.insert((slots[slot], slot));
        }
        let Some(write) = plan.steps[i].write else { continue };
        let info = &plan.buffers[write];
        if !matches!(info.place, Place::Slot(_)) {
            continue;
        }
        let bytes = (info.len * info.dtype.size()).next_multiple_of(16);
        // The smallest that fits, else the largest that does not, grown. A slot far too large is left to large values: a
        // small one that lives long would keep it from them.
        let roomy = (bytes * 4).max(ROOMY);
        let fits = free.range((bytes, 0)..=(roomy, usize::MAX)).next();
        let found = fits.or_else(|| free.range(..(bytes, 0)).next_back()).copied();
        let slot = match found {
            Some(entry) => {
                free.remove(&entry);
                entry.1
            }
            None => {
                slots.push(0);
                slots.len() - 1
            }
        };
        slots[slot] = slots[slot].max(bytes);
        busy.push(Reverse((last_use[&write], slot)));
        plan.buffers[write].place = Place::Slot(slot);
    }
    // Values without elements are never written, yet kernels may bind them.
    let written: HashSet<BufferId> = plan.steps.iter().filter_map(|s| s.write).collect();
    let empty = slots.len();
    for (b, info) in plan.buffers.iter_mut().enumerate() {
        if matches!(info.place, Place::Slot(_)) && !written.contains(&b) {
            info.place = Place::Slot(empty);
            slots.resize(empty + 1, 16);
        }
    }
    // The largest first: plans share slots by number, and each slot is as large as the largest of its number.
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|&s| (std::cmp::Reverse(slots[s]), s));
    let mut number = vec![0; slots.len()];
    order.iter().enumerate().for_each(|(n, &s)| number[s] = n);
    for info in &mut plan.buffers {
        if let Place::Slot(s) = &mut info.place {
            *s = number[*s];
        }
    }
    plan.slots = order.into_iter().map(|s| slots[s]).collect();
}
