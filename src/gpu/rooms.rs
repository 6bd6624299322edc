//! Where the scratch memory of steps is.
//!
//! A launch waits for every launch before it that touched its memory. Scratch memory of one's own would keep steps that do not depend
//! on each other apart, but take too much; so a step works in slots that hold no value while it runs, which costs nothing, and
//! beyond them in buffers that are for scratch memory alone.

use crate::plan::{Place, Plan};

/// Where one scratch buffer of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// A slot of the plan, free at the step's level.
    Slot(usize),
    /// A buffer for scratch memory.
    Scratch(usize),
}

/// A scratch buffer: where it is, and its bytes.
pub(super) type Scratch = (Room, u64);

/// A buffer for scratch memory, and the levels and steps that use it.
#[derive(Debug, Default)]
struct Spare {
    bytes: u64,
    users: Vec<(u32, usize)>,
}

/// Places the scratch buffers that each step wants, in bytes. Returns where they are, and the bytes of each buffer that is for
/// scratch memory alone, the largest first.
pub(super) fn place(plan: &Plan, wanted: &[Vec<u64>]) -> (Vec<Vec<Scratch>>, Vec<u64>) {
    let mut slots = Slots::of(plan);
    let mut spares: Vec<Spare> = Vec::new();
    let most = most(wanted);
    let mut places: Vec<Vec<Scratch>> =
        wanted.iter().map(|sizes| sizes.iter().map(|&b| (Room::Scratch(0), b)).collect()).collect();
    // The largest first, so that no buffer grows for a later one.
    let numbered = |(step, sizes): (usize, &Vec<u64>)| (0..sizes.len()).map(move |n| (step, n)).collect::<Vec<_>>();
    let mut order: Vec<(usize, usize)> = wanted.iter().enumerate().flat_map(numbered).collect();
    order.sort_by_key(|&(step, n)| (std::cmp::Reverse(wanted[step][n]), step, n));
    for (step, n) in order {
        let (level, bytes) = (plan.steps[step].level, wanted[step][n]);
        let slot = slots.take(level, bytes).map(Room::Slot);
        places[step][n].0 = slot.unwrap_or_else(|| Room::Scratch(spare(&mut spares, most, level, step, bytes)));
    }
    (places, spares.into_iter().map(|spare| spare.bytes).collect())
}

/// The bytes beyond which steps share buffers rather than get more: a quarter more than if all steps shared them.
fn most(wanted: &[Vec<u64>]) -> u64 {
    let each = wanted.iter().map(Vec::len).max().unwrap_or(0);
    let largest = |n: usize| wanted.iter().filter_map(|sizes| sizes.get(n)).max().copied().unwrap_or(0);
    let all: u64 = (0..each).map(largest).sum();
    all + all / 4
}

/// A buffer that no step of this level has, nor one of a level beside it, if there is such a one; a new one; or, if that would be too
/// much, one that another step has, which this one then waits for. All there are have at least `bytes`.
fn spare(spares: &mut Vec<Spare>, most: u64, level: u32, step: usize, bytes: u64) -> usize {
    let near = |s: &Spare, within: u32| s.users.iter().filter(|(l, _)| l.abs_diff(level) <= within).count();
    let total: u64 = spares.iter().map(|s| s.bytes).sum();
    let idle = (0..spares.len()).filter(|&n| near(&spares[n], 0) == 0);
    let idle = idle.min_by_key(|&n| (near(&spares[n], 1), spares[n].bytes, n));
    let others = || (0..spares.len()).filter(|&n| spares[n].users.iter().all(|&(_, s)| s != step));
    let shared = || others().min_by_key(|&n| (near(&spares[n], 0), n));
    let found = idle.or_else(|| if total + bytes <= most { None } else { shared() });
    let n = found.unwrap_or_else(|| {
        spares.push(Spare { bytes, ..Spare::default() });
        spares.len() - 1
    });
    spares[n].users.push((level, step));
    n
}

/// The plan's slots, and when they hold values.
struct Slots {
    bytes: Vec<u64>,
    /// Per slot, the first and the last level of each value.
    busy: Vec<Vec<(u32, u32)>>,
}

impl Slots {
    fn of(plan: &Plan) -> Self {
        let mut lives: Vec<Option<(u32, u32)>> = vec![None; plan.buffers.len()];
        for step in &plan.steps {
            for b in step.reads.iter().copied().chain(step.writes()) {
                let (first, last) = lives[b].get_or_insert((step.level, step.level));
                (*first, *last) = ((*first).min(step.level), (*last).max(step.level));
            }
        }
        let mut busy = vec![Vec::new(); plan.slots.len()];
        for (info, life) in plan.buffers.iter().zip(lives) {
            if let Place::Slot(slot) = info.place {
                busy[slot].extend(life);
            }
        }
        Self { bytes: plan.slots.iter().map(|&bytes| bytes as u64).collect(), busy }
    }

    /// Takes the smallest slot of at least `bytes` that is free at a level.
    fn take(&mut self, level: u32, bytes: u64) -> Option<usize> {
        let is_free = |slot: &usize| self.busy[*slot].iter().all(|&(first, last)| level < first || last < level);
        let fits = (0..self.bytes.len()).filter(|&slot| self.bytes[slot] >= bytes).filter(is_free);
        let found = fits.min_by_key(|&slot| (self.bytes[slot], slot))?;
        self.busy[found].push((level, level));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::plan::{BufferInfo, Expr, Kernel, Step};
    use crate::shape::Shape;

    /// Steps of these levels over slots of these bytes; each value is a slot and the first and last steps that touch it.
    fn plan(levels: &[u32], slots: &[usize], values: &[(usize, usize, usize)]) -> Plan {
        let kernel = Kernel::Elementwise(Expr::new(Shape::SCALAR));
        let step = |&level: &u32| Step { kernel: kernel.clone(), reads: vec![], write: None, level, flops: 0, bytes: 0, node: 0 };
        let mut steps: Vec<Step> = levels.iter().map(step).collect();
        let mut buffers = Vec::new();
        for (b, &(slot, first, last)) in values.iter().enumerate() {
            buffers.push(BufferInfo { place: Place::Slot(slot), dtype: DType::F32, len: slots[slot] / 4 });
            steps[first].write = Some(b);
            steps[last].reads.push(b);
        }
        Plan { steps, buffers, slots: slots.to_vec(), outputs: vec![] }
    }

    #[test]
    fn scratch_memory_is_in_slots_without_values() {
        // The first slot has a value at levels 0 and 1, the second at level 2.
        let plan = plan(&[0, 0, 1, 2], &[64, 32], &[(0, 0, 2), (1, 3, 3)]);
        let wanted = [vec![16], vec![16], vec![40], vec![64]];
        let (places, spares) = place(&plan, &wanted);
        let rooms: Vec<Room> = places.iter().flatten().map(|p| p.0).collect();
        assert_eq!(rooms, [Room::Slot(1), Room::Scratch(0), Room::Scratch(0), Room::Slot(0)]);
        assert_eq!(places.iter().flatten().map(|p| p.1).collect::<Vec<_>>(), wanted.concat());
        assert_eq!(spares, [40]);
    }

    #[test]
    fn steps_of_a_level_have_scratch_memory_of_their_own_within_bounds() {
        // 100 bytes are shared by all if need be, and a quarter more is allowed.
        for (size, buffers, most) in [(8, 4, 1), (20, 2, 2), (60, 1, 4)] {
            let mut wanted = vec![vec![size]; 4];
            wanted.push(vec![100]);
            let (places, spares) = place(&plan(&[0, 0, 0, 0, 1], &[], &[]), &wanted);
            assert!(spares.iter().sum::<u64>() <= 125, "{size}: {spares:?}");
            let of = |room| places[..4].iter().flatten().filter(|p| p.0 == room).count();
            let users: Vec<usize> = (0..spares.len()).map(|n| of(Room::Scratch(n))).collect();
            assert_eq!((spares.len(), users.iter().max()), (buffers, Some(&most)), "{size}: {spares:?}, {users:?}");
            assert!(places.iter().flatten().all(|p| matches!(p.0, Room::Scratch(n) if spares[n] >= p.1)), "{places:?}");
        }
        // The buffers of one step are never the same.
        let (places, _) = place(&plan(&[0, 0], &[], &[]), &[vec![8, 8], vec![8, 8]]);
        assert!(places.iter().all(|p| p[0].0 != p[1].0), "{places:?}");
    }
}
