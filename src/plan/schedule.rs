//! Orders steps by dependency level and packs values into slots by their lifetimes.

use super::{BufferId, BufferInfo, Kernel, Place, Plan, Step};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

/// Bytes up to which any slot may hold any value.
const ROOMY: usize = 1 << 16;

/// Levels, a stable order by level, and slots; `spent` are leaves that may be written over after their last use, ascending.
pub(super) fn schedule(mut plan: Plan, spent: &[usize]) -> Plan {
    assign_levels(&mut plan);
    delay(&mut plan, spent);
    plan.steps.sort_by_key(|s| s.level);
    assign_slots(&mut plan, spent);
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
        let after_write = step.writes().filter_map(|b| touched.get(&place(&b))).copied().max().unwrap_or(0);
        // An optimizer step reads the gradient arena and writes parameters that any step may have read.
        let after_all = if matches!(step.kernel, Kernel::OptimStep { .. }) { last } else { 0 };
        let level = after_reads.max(after_write).max(after_all);
        for b in &step.reads {
            let t = touched.entry(place(b)).or_default();
            *t = (*t).max(level + 1);
        }
        for b in step.writes() {
            written.insert(place(&b), level + 1);
            touched.insert(place(&b), level + 1);
        }
        last = last.max(level + 1);
        plan.steps[i].level = level;
    }
}

/// Computes intermediate results as late as possible if that holds on to about as much memory as it saves, or less: what backward
/// makes of saved values alone would otherwise all come first, and wait.
fn delay(plan: &mut Plan, spent: &[usize]) {
    let mut readers: HashMap<BufferId, Vec<usize>> = HashMap::new();
    for (i, step) in plan.steps.iter().enumerate() {
        step.reads.iter().for_each(|&b| readers.entry(b).or_default().push(i));
    }
    let readers = |b: BufferId| readers.get(&b).map_or(&[][..], Vec::as_slice);
    let size = |info: &BufferInfo| info.len * info.dtype.size();
    // The first level at which a later step writes a place, or an optimizer's step writes parameters.
    let mut written: HashMap<Place, u32> = HashMap::new();
    let mut stepped = u32::MAX;
    for i in (0..plan.steps.len()).rev() {
        let step = &plan.steps[i];
        let level = step.level;
        match step.write.map(|b| &plan.buffers[b]) {
            None => stepped = stepped.min(level),
            Some(info) if matches!(info.place, Place::Slot(_)) => {
                let used = step.writes().flat_map(readers).map(|&r| plan.steps[r].level).min();
                let overwritten = step.reads.iter().filter_map(|&r| written.get(&plan.buffers[r].place).copied()).min();
                let latest = used.into_iter().chain(overwritten).chain([stepped]).min().unwrap_or(0).saturating_sub(1);
                let held = step.reads.iter().filter(|&&r| {
                    let is_freed = match plan.buffers[r].place {
                        Place::Slot(_) => true,
                        Place::Leaf(leaf) => spent.binary_search(&leaf).is_ok(),
                        Place::Output(_) | Place::Gradient { .. } => false,
                    };
                    is_freed && readers(r).iter().all(|&other| other == i || plan.steps[other].level < latest)
                });
                let held: usize = held.map(|&r| size(&plan.buffers[r])).sum();
                // A value with the numbers that it is normalised by is as large as its result.
                if used.is_some() && latest > level && held <= size(info) + size(info) / 8 {
                    plan.steps[i].level = latest;
                }
            }
            Some(_) => {}
        }
        let step = &plan.steps[i];
        for place in step.writes().map(|b| plan.buffers[b].place).filter(|place| !matches!(place, Place::Slot(_))) {
            let first = written.entry(place).or_insert(step.level);
            *first = step.level.min(*first);
        }
    }
}

/// Whether an element takes the same memory on every device.
fn is_word(info: &BufferInfo) -> bool {
    info.dtype.size() == 4
}

/// Memory that values take turns in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    /// A leaf that nobody reads any more; it keeps its size.
    Leaf(usize),
    /// A slot, which grows to its largest value.
    Slot(usize),
}

/// What is free, by size.
#[derive(Debug, Default)]
struct Free(BTreeSet<(usize, Space)>);

impl Free {
    /// Takes the smallest space that fits, else the largest slot that does not. A space that is far too large is left to large
    /// values: a small one that lives long would keep it from them.
    fn take(&mut self, bytes: usize, accepts_leaf: bool) -> Option<(usize, Space)> {
        let is_slot = |entry: &&(usize, Space)| matches!(entry.1, Space::Slot(_));
        let roomy = (bytes * 4).max(ROOMY);
        let least = (bytes, Space::Leaf(0));
        let most = (roomy, Space::Slot(usize::MAX));
        let fits = self.0.range(least..=most).find(|entry| accepts_leaf || is_slot(entry));
        let found = fits.or_else(|| self.0.range(..least).rev().find(is_slot)).copied()?;
        self.0.remove(&found);
        Some(found)
    }
}

/// Gives values whose lifetimes do not overlap the same memory, which is free again after the level of its last use: slots, and
/// spent leaves.
fn assign_slots(plan: &mut Plan, spent: &[usize]) {
    let mut last_use: HashMap<BufferId, u32> = HashMap::new();
    for step in &plan.steps {
        for b in step.reads.iter().copied().chain(step.writes()) {
            let level = last_use.entry(b).or_default();
            *level = (*level).max(step.level);
        }
    }
    let mut slots: Vec<usize> = Vec::new();
    let mut free = Free::default();
    // (level of last use, bytes, space), the earliest first
    let mut busy: BinaryHeap<Reverse<(u32, usize, Space)>> = BinaryHeap::new();
    for (b, info) in plan.buffers.iter().enumerate() {
        if let (Place::Leaf(leaf), Some(&until)) = (info.place, last_use.get(&b))
            && is_word(info)
            && spent.binary_search(&leaf).is_ok()
        {
            busy.push(Reverse((until, info.len * info.dtype.size(), Space::Leaf(leaf))));
        }
    }
    for i in 0..plan.steps.len() {
        let level = plan.steps[i].level;
        while let Some(&Reverse((until, bytes, space))) = busy.peek()
            && until < level
        {
            busy.pop();
            free.0.insert((bytes, space));
        }
        for write in plan.steps[i].writes().collect::<Vec<_>>() {
            let info = &plan.buffers[write];
            if !matches!(info.place, Place::Slot(_)) {
                continue;
            }
            let wanted = info.len * info.dtype.size();
            let (bytes, space) = free.take(wanted, is_word(info)).unwrap_or_else(|| {
                slots.push(0);
                (0, Space::Slot(slots.len() - 1))
            });
            let (bytes, place) = match space {
                Space::Leaf(leaf) => (bytes, Place::Leaf(leaf)),
                Space::Slot(slot) => {
                    slots[slot] = slots[slot].max(wanted.next_multiple_of(16));
                    (slots[slot], Place::Slot(slot))
                }
            };
            busy.push(Reverse((last_use[&write], bytes, space)));
            plan.buffers[write].place = place;
        }
    }
    // Values without elements are never written, yet kernels may bind them.
    let written: HashSet<BufferId> = plan.steps.iter().flat_map(Step::writes).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::plan::{Expr, Step};
    use crate::shape::Shape;

    /// Steps of 256 elements as (what they read, what they write), over two leaves, in buffers 0 and 1, of 256 elements and of one.
    fn plan(steps: &[(&[BufferId], BufferId)]) -> Plan {
        let buffer = |place, len| BufferInfo { place, dtype: DType::F32, len };
        let last = steps.iter().map(|&(_, write)| write).max().expect("steps");
        let mut buffers = vec![buffer(Place::Leaf(0), 256), buffer(Place::Leaf(1), 1)];
        buffers.extend((2..last).map(|b| buffer(Place::Slot(b), 256)));
        buffers.push(buffer(Place::Output(0), 256));
        let kernel = Kernel::Elementwise(Expr::new(Shape::new(&[256]).expect("valid")));
        let step = |&(reads, write): &(&[BufferId], BufferId)| Step {
            kernel: kernel.clone(),
            reads: reads.to_vec(),
            write: Some(write),
            level: 0,
            flops: 0,
            bytes: 0,
            node: 0,
        };
        Plan { steps: steps.iter().map(step).collect(), buffers, slots: Vec::new(), outputs: vec![last] }
    }

    #[test]
    fn spent_leaves_are_worked_in_after_their_last_use() {
        // A chain, whose end reads the leaf again or does not.
        for (again, expected) in [(false, 1), (true, 2)] {
            let last: &[BufferId] = if again { &[3, 0] } else { &[3] };
            let chain = plan(&[(&[0], 2), (&[2], 3), (last, 4)]);
            assert_eq!(schedule(chain.clone(), &[]).slots.len(), 2, "not spent");
            let planned = schedule(chain, &[0]);
            assert_eq!(planned.slots.len(), expected, "read again: {again}");
            let writes = planned.steps.iter().filter(|s| planned.buffers[s.write.expect("writes")].place == Place::Leaf(0));
            assert_eq!(writes.count(), 2 - expected, "read again: {again}");
        }
        // Too small a leaf is left alone.
        assert_eq!(schedule(plan(&[(&[1], 2), (&[2], 3), (&[3], 4)]), &[1]).slots.len(), 2);
    }

    #[test]
    fn what_leaves_alone_give_is_computed_when_it_is_read() {
        // 2 to 6 are made of a leaf, and a chain reads them one by one.
        let made: Vec<(&[BufferId], BufferId)> = (2..7).map(|b| (&[0][..], b)).collect();
        let chain: [(&[BufferId], BufferId); 5] = [(&[1, 2], 7), (&[3, 7], 8), (&[4, 8], 9), (&[5, 9], 10), (&[6, 10], 11)];
        let planned = schedule(plan(&[&made[..], &chain].concat()), &[]);
        let levels: Vec<u32> = planned.steps.iter().map(|s| s.level).collect();
        assert_eq!(levels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(planned.slots.len(), 4, "of 9 values between");
    }
}
