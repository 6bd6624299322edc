//! Placeholder of the optimizer kernels' table; the kernels themselves are not lowered here yet.

use crate::optim::store::{BLOCK, OptimStore};

/// Blocks of the given entries: `{parameter element, gradient and state element, entry, valid length}`.
pub(crate) fn block_table(store: &OptimStore, entries: &[u32]) -> Vec<[u32; 4]> {
    let mut table = Vec::new();
    for &e in entries {
        let Some(entry) = store.entries.get(e as usize) else { continue };
        let base = match &entry.parameter {
            crate::plan::Storage::Gpu(b) => b.offset / 4,
            crate::plan::Storage::Cpu(_) => 0,
        };
        for at in (0..entry.len).step_by(BLOCK) {
            let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let parameter = u32::try_from(base).unwrap_or(u32::MAX) + word(at);
            table.push([parameter, word(entry.offset + at), e, word((entry.len - at).min(BLOCK))]);
        }
    }
    table
}
