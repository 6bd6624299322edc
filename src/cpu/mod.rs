//! The CPU device: a reference executor that is easy to trust, and a fast one for f32 and integer plans.
//!
//! [`reference`] runs graphs as they are and is the oracle of every test; f64 graphs run there too. [`CpuExecutor`] runs
//! plans: expressions interpreted block by block, products by `gemm`, all on its own thread pool. Both give the same bits
//! on every run, whatever the threads' timing.

mod conv2d;
mod cross_entropy;
mod elementwise;
mod executor;
mod expr;
mod gather;
mod gemm;
mod kernel;
mod math;
mod matmul;
mod optim;
mod pool;
mod reduce;
pub(crate) mod reference;
mod simd;
mod softmax;
mod sort;
#[cfg(test)]
mod tests;

use crate::dtype::HostData;
pub(crate) use executor::CpuExecutor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Host memory that holds a value. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// The elements.
    pub data: Arc<RwLock<HostData>>,
    /// Counts the bytes while any clone lives.
    _live: Arc<Live>,
}

/// Bytes that a device counts until they are dropped.
#[derive(Debug)]
struct Live {
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Buffer {
    /// A buffer whose bytes are added to `total` as long as it lives.
    fn new(data: HostData, total: &Arc<AtomicU64>) -> Self {
        let bytes = data.bytes().len() as u64;
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { data: Arc::new(RwLock::new(data)), _live: Arc::new(Live { bytes, total: Arc::clone(total) }) }
    }

    /// Shared access. A panic elsewhere does not make numbers unreadable.
    pub fn read(&self) -> RwLockReadGuard<'_, HostData> {
        self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exclusive access. The number and type of the elements must stay.
    pub fn write(&self) -> RwLockWriteGuard<'_, HostData> {
        self.data.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a mutex; a panic elsewhere does not poison plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Elements as words, of storage types one each; none for F64, which fast kernels never see.
fn words(data: &HostData) -> &[u32] {
    match data {
        HostData::U32(v) => v,
        HostData::I32(v) => bytemuck::cast_slice(v),
        HostData::F32(v) => bytemuck::cast_slice(v),
        HostData::F64(_) | HostData::U8(_) | HostData::F16(_) => &[],
    }
}

/// As [`words`], for writing.
fn words_mut(data: &mut HostData) -> &mut [u32] {
    match data {
        HostData::U32(v) => v,
        HostData::I32(v) => bytemuck::cast_slice_mut(v),
        HostData::F32(v) => bytemuck::cast_slice_mut(v),
        HostData::F64(_) | HostData::U8(_) | HostData::F16(_) => &mut [],
    }
}
