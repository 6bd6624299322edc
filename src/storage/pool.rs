//! Memory that waits for its next use, and the account of all that a device holds.

use crate::error::Error;
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes that a tally counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: u64,
    tally: Arc<AtomicU64>,
}

impl Counted {
    /// Adds bytes to a tally.
    pub fn new(bytes: u64, tally: &Arc<AtomicU64>) -> Self {
        tally.fetch_add(bytes, Ordering::Relaxed);
        Self { bytes, tally: Arc::clone(tally) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Who holds memory that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Handles, parameters, optimizers: it counts as live.
    Handle,
    /// Plans, which work in it: it counts as cached.
    Plan,
}

/// What a pool keeps: memory of a fixed size.
pub(crate) trait Memory {
    /// Gives it back to the system, whoever else refers to it.
    fn release(self);
}

/// What a device's memory has done, and what it holds. All of it is `live`, `working`, `pooled` or `aside`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Allocations made since the device was opened.
    pub created: u64,
    /// Bytes that handles refer to.
    pub live: u64,
    /// Bytes that plans work in.
    pub working: u64,
    /// Bytes that wait in the pool.
    pub pooled: u64,
    /// Bytes outside the pool: plans themselves, and memory for transfers.
    pub aside: u64,
    /// The most that was ever live and working at once.
    pub peak: u64,
    /// The most that was ever held, as far as the pool knows: it learns what is aside when it lends.
    pub most: u64,
}

impl Account {
    /// Bytes that no handle refers to.
    pub fn cached(&self) -> u64 {
        self.working + self.pooled + self.aside
    }
}

/// What is known of memory that was taken, for giving it back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loan {
    /// Bytes.
    pub size: u64,
    holder: Holder,
    /// The use that it was taken for.
    used: u64,
}

/// Free memory by size, last in, first out, so that a loop finds the same memory in the same places. Past what is allowed, the
/// least recently used is released.
#[derive(Debug)]
pub(crate) struct Pool<M> {
    /// By size: what waits, and the use that it was taken for, ordered by since when it waits.
    free: HashMap<u64, BTreeMap<u64, (M, u64)>>,
    /// The sizes of what waits, by the use that it was taken for and since when it waits.
    order: BTreeMap<(u64, u64), u64>,
    clock: u64,
    /// Counts uploads and runs.
    use_now: u64,
    account: Account,
    aside: Arc<AtomicU64>,
    /// The bytes that may be cached, and the latest uses whose memory stays all the same.
    allowed: (u64, u64),
    /// The bytes that may be held.
    limit: u64,
    hollow: Option<Watched>,
}

/// How many kinds of live memory are told apart at the peak.
pub(crate) const KINDS: usize = 4;

/// Counts of live memory by kind, and what they and the account were when the most was in use.
#[derive(Debug)]
struct Watched {
    kinds: [Arc<AtomicU64>; KINDS],
    at_peak: ([u64; KINDS], Account),
}

/// Memory past a device's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes asked for.
    wanted: u64,
    /// Bytes held, without what waited.
    in_use: u64,
    limit: u64,
}

impl Full {
    /// That there is no room for `what`.
    pub fn error(self, what: &str) -> Error {
        let Self { wanted, in_use, limit } = self;
        Error::OutOfMemory {
            wanted,
            in_use,
            limit: Some(limit),
            by_use: None,
            reason: format!("there is no room for {what}"),
            help: "use smaller batches, drop tensors that are no longer needed, or raise DeviceOptions::memory".into(),
        }
    }
}

impl<M> Default for Pool<M> {
    fn default() -> Self {
        Self {
            free: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            use_now: 0,
            account: Account::default(),
            aside: Arc::default(),
            allowed: (u64::MAX, 0),
            limit: u64::MAX,
            hollow: None,
        }
    }
}

impl<M: Memory> Pool<M> {
    /// Makes it a pool of memory that is counted and not there, and has it note these counts of live memory at its peak.
    pub fn hollow_out(&mut self, kinds: [Arc<AtomicU64>; KINDS]) {
        self.hollow = Some(Watched { kinds, at_peak: Default::default() });
    }

    /// Whether its memory is counted and not there.
    pub fn is_hollow(&self) -> bool {
        self.hollow.is_some()
    }

    /// What the counts and the account were when the most was in use.
    pub fn at_peak(&self) -> ([u64; KINDS], Account) {
        self.hollow.as_ref().map(|watched| watched.at_peak).unwrap_or_default()
    }

    /// Begins an upload or a run.
    pub fn begin(&mut self) {
        self.use_now += 1;
    }

    /// How many uploads and runs have begun.
    pub fn uses(&self) -> u64 {
        self.use_now
    }

    /// Sets the bytes that may be held. What is past them now stays.
    pub fn limit_to(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// The bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Makes room for as many bytes: what waits is released, the least recently used first, as far as the limit asks for it.
    ///
    /// # Errors
    /// There is no room even so; then all of it is released.
    pub fn make_room(&mut self, wanted: u64) -> Result<(), Full> {
        loop {
            let account = self.account();
            let in_use = account.live + account.cached();
            if in_use.saturating_add(wanted) <= self.limit {
                return Ok(());
            }
            if self.order.is_empty() {
                return Err(Full { wanted, in_use, limit: self.limit });
            }
            self.release_oldest();
        }
    }

    /// Memory of exactly this size that waits.
    pub fn reuse(&mut self, size: u64, holder: Holder) -> Option<(M, Loan)> {
        let (since, (memory, used)) = self.free.get_mut(&size)?.pop_last()?;
        self.order.remove(&(used, since));
        self.account.pooled -= size;
        Some((memory, self.lend(size, holder)))
    }

    /// Notes memory that was just made for this device.
    pub fn adopt(&mut self, size: u64, holder: Holder) -> Loan {
        self.account.created += 1;
        self.lend(size, holder)
    }

    /// Takes memory back, to keep.
    pub fn give_back(&mut self, memory: M, loan: Loan) {
        self.end(loan);
        self.clock += 1;
        self.account.pooled += loan.size;
        self.order.insert((loan.used, self.clock), loan.size);
        self.free.entry(loan.size).or_default().insert(self.clock, (memory, loan.used));
        self.trim();
    }

    /// Ends a loan of memory that is not kept.
    pub fn end(&mut self, loan: Loan) {
        match loan.holder {
            Holder::Handle => self.account.live -= loan.size,
            Holder::Plan => self.account.working -= loan.size,
        }
    }

    /// Notes that part of what was lent is given back to the system: `size` bytes stay.
    pub fn shrink(&mut self, loan: &mut Loan, size: u64) {
        self.end(*loan);
        *loan = self.lend(size, loan.holder);
    }

    /// Counts memory as taken, whoever made it.
    pub fn lend(&mut self, size: u64, holder: Holder) -> Loan {
        match holder {
            Holder::Handle => self.account.live += size,
            Holder::Plan => self.account.working += size,
        }
        let in_use = self.account.live + self.account.working;
        let peaks = in_use > self.account.peak;
        self.account.peak = self.account.peak.max(in_use);
        self.account.most = self.account.most.max(self.account().live + self.account().cached());
        if let Some(watched) = self.hollow.as_mut().filter(|_| peaks) {
            let counts = std::array::from_fn(|kind| watched.kinds[kind].load(Ordering::Relaxed));
            watched.at_peak = (counts, self.account);
        }
        Loan { size, holder, used: self.use_now }
    }

    /// Sets the bytes that may be cached, and releases anything beyond that, except for what the latest `latest` uses had.
    pub fn allow(&mut self, bytes: u64, latest: u64) {
        self.allowed = (bytes, latest);
        self.trim();
    }

    /// Releases everything that waits.
    pub fn clear(&mut self) {
        self.order.clear();
        self.account.pooled = 0;
        self.free.drain().flat_map(|(_, waiting)| waiting.into_values()).for_each(|(memory, _)| memory.release());
    }

    /// Releases what waits and was last taken for one of the first `uses` uploads and runs.
    pub fn forget(&mut self, uses: u64) {
        while self.oldest().is_some_and(|used| used <= uses) {
            self.release_oldest();
        }
    }

    fn trim(&mut self) {
        let (bytes, latest) = self.allowed;
        while self.account().cached() > bytes && self.oldest().is_some_and(|used| used + latest <= self.use_now) {
            self.release_oldest();
        }
    }

    /// The oldest of the uses that waiting memory was taken for.
    fn oldest(&self) -> Option<u64> {
        self.order.first_key_value().map(|(&(used, _), _)| used)
    }

    fn release_oldest(&mut self) {
        let Some(((_, since), size)) = self.order.pop_first() else { return };
        self.account.pooled -= size;
        if let Some(waiting) = self.free.get_mut(&size) {
            if let Some((memory, _)) = waiting.remove(&since) {
                memory.release();
            }
            if waiting.is_empty() {
                self.free.remove(&size);
            }
        }
    }

    /// What has happened so far, and what is held.
    pub fn account(&self) -> Account {
        Account { aside: self.aside.load(Ordering::Relaxed), ..self.account }
    }

    /// Counts cached bytes outside the pool.
    pub fn aside(&self) -> &Arc<AtomicU64> {
        &self.aside
    }

    /// Adds up what waits, one by one; for tests.
    #[cfg(test)]
    pub fn waiting(&self) -> impl Iterator<Item = (u64, &M)> {
        self.free.iter().flat_map(|(&size, waiting)| waiting.values().map(move |(memory, _)| (size, memory)))
    }
}

/// A counter of cached bytes outside a pool.
pub(crate) fn tally<M: Memory>(pool: &Mutex<Pool<M>>) -> Arc<AtomicU64> {
    Arc::clone(lock(pool).aside())
}

/// The memory that a plan works in and shares with the other plans: bytes of each slot and each scratch buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Workspace {
    /// Per slot.
    pub slots: Vec<u64>,
    /// Per scratch buffer.
    pub scratch: Vec<u64>,
}

impl Workspace {
    /// Grows to what another plan wants, too.
    pub fn join(&mut self, other: &Self) {
        for (all, more) in [(&mut self.slots, &other.slots), (&mut self.scratch, &other.scratch)] {
            all.resize(all.len().max(more.len()), 0);
            all.iter_mut().zip(more).for_each(|(a, &b)| *a = (*a).max(b));
        }
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().chain(&self.scratch).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Memory for u32 {
        fn release(self) {}
    }

    /// Makes or reuses memory; a number names it.
    fn take(pool: &mut Pool<u32>, size: u64) -> (u32, Loan) {
        pool.begin();
        pool.reuse(size, Holder::Handle).unwrap_or_else(|| {
            let loan = pool.adopt(size, Holder::Handle);
            (u32::try_from(pool.account().created).expect("few"), loan)
        })
    }

    fn waiting(pool: &Pool<u32>) -> Vec<u32> {
        let mut all: Vec<u32> = pool.waiting().map(|(_, &m)| m).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_last_that_came_back_goes_out_first() {
        let mut pool = Pool::default();
        let [a, b, other] = [8, 8, 16].map(|size| take(&mut pool, size));
        assert_eq!((a.0, b.0, other.0), (1, 2, 3));
        [a, b, other].into_iter().for_each(|(m, loan)| pool.give_back(m, loan));
        assert_eq!(take(&mut pool, 8).0, 2);
        assert_eq!(take(&mut pool, 8).0, 1);
        assert_eq!(take(&mut pool, 8).0, 4, "a new one");
        assert_eq!(pool.account(), Account { created: 4, live: 24, pooled: 16, peak: 32, most: 40, ..Account::default() });
    }

    #[test]
    fn a_hollow_pool_notes_what_its_peak_was_made_of() {
        let mut pool = Pool::default();
        assert!(!pool.is_hollow());
        let kinds: [Arc<AtomicU64>; KINDS] = Default::default();
        pool.hollow_out(kinds.clone());
        let parameters = Counted::new(10, &kinds[0]);
        let (_, held) = take(&mut pool, 10);
        let work = pool.lend(5, Holder::Plan);
        drop(parameters);
        [held, work].into_iter().for_each(|loan| pool.end(loan));
        take(&mut pool, 14);
        let (counts, account) = pool.at_peak();
        assert_eq!((counts[0], account.live, account.working), (10, 10, 5));
        take(&mut pool, 2);
        let (counts, account) = pool.at_peak();
        assert_eq!((counts[0], account.live, account.working), (0, 16, 0));
    }

    #[test]
    fn past_the_limit_the_least_recently_used_goes() {
        let mut pool = Pool::default();
        pool.allow(60, 4);
        // Sizes that nobody asks for again.
        for size in 10..20 {
            let (m, loan) = take(&mut pool, size);
            pool.give_back(m, loan);
        }
        assert_eq!(waiting(&pool), [7, 8, 9, 10], "the latest four stay past the limit");
        assert_eq!(pool.account().pooled, 16 + 17 + 18 + 19);
        (0..4).for_each(|_| pool.begin());
        pool.allow(40, 4);
        assert_eq!(waiting(&pool), [9, 10]);
        let beside = Counted::new(20, pool.aside());
        pool.allow(40, 4);
        assert_eq!((waiting(&pool), pool.account().cached()), (vec![10], 39));
        drop(beside);
        assert_eq!(pool.account().cached(), 19);
        // Taken for the tenth use.
        pool.forget(9);
        assert_eq!(waiting(&pool), [10]);
        pool.forget(10);
        assert!(waiting(&pool).is_empty());
        let (m, loan) = take(&mut pool, 7);
        pool.give_back(m, loan);
        pool.clear();
        assert_eq!((pool.account().live, pool.account().cached()), (0, 0));
    }

    #[test]
    fn what_waits_makes_room_and_no_more_than_the_limit_is_held() {
        let mut pool = Pool::default();
        pool.limit_to(100);
        let taken = [10, 20, 30].map(|size| take(&mut pool, size));
        let [_, b, c] = taken;
        [b, c].into_iter().for_each(|(m, loan)| pool.give_back(m, loan));
        assert_eq!(pool.make_room(40), Ok(()));
        assert_eq!(waiting(&pool), [2, 3], "nothing was in the way");
        assert_eq!(pool.make_room(41), Ok(()));
        assert_eq!(waiting(&pool), [3], "the older one was");
        let beside = Counted::new(15, pool.aside());
        assert_eq!(pool.make_room(76), Err(Full { wanted: 76, in_use: 25, limit: 100 }));
        assert!(waiting(&pool).is_empty());
        assert_eq!(pool.make_room(75), Ok(()));
        assert!(pool.make_room(u64::MAX).is_err());
        drop(beside);
        assert_eq!(pool.make_room(90), Ok(()));
    }

    #[test]
    fn a_workspace_is_the_most_of_each() {
        let mut all = Workspace { slots: vec![4, 9], scratch: vec![] };
        all.join(&Workspace { slots: vec![5, 1, 2], scratch: vec![7] });
        assert_eq!(all, Workspace { slots: vec![5, 9, 2], scratch: vec![7] });
        assert_eq!(all.bytes(), 23);
    }
}
