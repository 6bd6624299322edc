//! What a device holds, added up piece by piece rather than by its account.

use super::GpuExecutor;
use crate::gpu::Compiled;
use crate::storage::gpu::Buffer;
use crate::sync::lock;

impl GpuExecutor {
    /// What is cached besides the plans' data on the host; these plans are all there are.
    pub fn cached_piece_by_piece<'p>(&self, plans: impl Iterator<Item = &'p Compiled>) -> u64 {
        let mut tables = 0;
        for plan in plans {
            let state = lock(&plan.state);
            let of_optimizers = state.optimizers.iter().map(|o| o.blocks.size() + o.coefficients.size());
            tables += state.record.size() + of_optimizers.sum::<u64>();
        }
        let mut queue = self.queue();
        let working: u64 = queue.slots.iter().chain(&queue.scratch).flatten().map(Buffer::size).sum();
        let transfers = queue.staging.bytes() + queue.readback.bytes();
        let pooled: u64 = self.memory.pool().waiting().map(|(size, _)| size).sum();
        tables + working + transfers + pooled + lock(&self.pipelines).bytes()
    }

    /// How many pipelines there are.
    pub fn pipelines_in_use(&self) -> usize {
        lock(&self.pipelines).in_use().count()
    }

    /// Lets the driver give this many bytes for values and plans.
    pub fn limit_capacity(&self, bytes: u64) {
        self.memory.capacity.store(bytes, std::sync::atomic::Ordering::SeqCst);
    }
}
