//! Host memory that holds values, and its elements as words.

use super::pool::{Holder, Loan, Memory, Pool};
use crate::dtype::{DType, HostData};
use crate::sync::{self, lock};
use bytemuck::allocation::cast_vec;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Host memory that holds a value. Clones share it; memory that the device has made returns to its pool when the last one is
/// dropped.
#[derive(Debug, Clone)]
pub(crate) struct Buffer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data: RwLock<HostData>,
    loan: Loan,
    /// Whether the memory came from the pool; a caller's own is not kept, since nobody may ask for its size again.
    pooled: bool,
    pool: Weak<Mutex<Pool<Words>>>,
}

/// The words of 32 bits that a pool keeps.
pub(crate) type Words = Vec<u32>;

impl Memory for Words {
    fn release(self) {}
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let data = std::mem::replace(&mut *sync::write(&self.data), HostData::U32(Vec::new()));
        let words = match data {
            HostData::U32(v) => v,
            HostData::I32(v) => cast_vec(v),
            HostData::F32(v) => cast_vec(v),
            HostData::F64(_) | HostData::U8(_) | HostData::F16(_) => Vec::new(),
        };
        let mut pool = lock(&pool);
        if self.pooled && (words.len() as u64 * 4 == self.loan.size || pool.is_hollow()) {
            pool.give_back(words, self.loan);
        } else {
            pool.end(self.loan);
        }
    }
}

impl Buffer {
    /// A caller's data as a buffer; a hollow pool's counts it and drops it.
    pub fn new(data: HostData, pool: &Arc<Mutex<Pool<Words>>>) -> Self {
        let mut locked = lock(pool);
        let loan = locked.lend(data.bytes().len() as u64, Holder::Handle);
        let data = if locked.is_hollow() { HostData::from_bytes(data.kind(), &[]) } else { data };
        drop(locked);
        Self(Arc::new(Inner { data: RwLock::new(data), loan, pooled: false, pool: Arc::downgrade(pool) }))
    }

    /// Words that the pool has lent, as elements of a dtype of 32 bits or less.
    pub fn of_words(words: Words, loan: Loan, dtype: DType, pool: &Arc<Mutex<Pool<Words>>>) -> Self {
        let data = match dtype {
            DType::F32 => HostData::F32(cast_vec(words)),
            DType::I32 => HostData::I32(cast_vec(words)),
            DType::Bool | DType::U32 | DType::U8 | DType::F16 | DType::F64 => HostData::U32(words),
        };
        Self(Arc::new(Inner { data: RwLock::new(data), loan, pooled: true, pool: Arc::downgrade(pool) }))
    }

    /// Memory of a hollow pool that holds as much as data of the host.
    pub fn of_nothing(dtype: DType, loan: Loan, pool: &Arc<Mutex<Pool<Words>>>) -> Self {
        let data = RwLock::new(HostData::from_bytes(dtype, &[]));
        Self(Arc::new(Inner { data, loan, pooled: false, pool: Arc::downgrade(pool) }))
    }

    /// What tells buffers apart.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// How many clones there are.
    pub fn owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Shared access. A panic elsewhere does not make numbers unreadable.
    pub fn read(&self) -> RwLockReadGuard<'_, HostData> {
        sync::read(&self.0.data)
    }

    /// Exclusive access. The number and type of the elements must stay the same.
    pub fn write(&self) -> RwLockWriteGuard<'_, HostData> {
        sync::write(&self.0.data)
    }

    /// Whether both are one place in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Elements as words, of storage types one each; none for F64, which fast kernels never see.
pub(crate) fn words(data: &HostData) -> &[u32] {
    match data {
        HostData::U32(v) => v,
        HostData::I32(v) => bytemuck::cast_slice(v),
        HostData::F32(v) => bytemuck::cast_slice(v),
        HostData::F64(_) | HostData::U8(_) | HostData::F16(_) => &[],
    }
}

/// As [`words`], for writing.
pub(crate) fn words_mut(data: &mut HostData) -> &mut [u32] {
    match data {
        HostData::U32(v) => v,
        HostData::I32(v) => bytemuck::cast_slice_mut(v),
        HostData::F32(v) => bytemuck::cast_slice_mut(v),
        HostData::F64(_) | HostData::U8(_) | HostData::F16(_) => &mut [],
    }
}
