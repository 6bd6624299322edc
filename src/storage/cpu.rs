//! Host memory that holds values, and its elements as words.

use crate::dtype::HostData;
use crate::sync;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    pub fn new(data: HostData, total: &Arc<AtomicU64>) -> Self {
        let bytes = data.bytes().len() as u64;
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { data: Arc::new(RwLock::new(data)), _live: Arc::new(Live { bytes, total: Arc::clone(total) }) }
    }

    /// Shared access. A panic elsewhere does not make numbers unreadable.
    pub fn read(&self) -> RwLockReadGuard<'_, HostData> {
        sync::read(&self.data)
    }

    /// Exclusive access. The number and type of the elements must stay.
    pub fn write(&self) -> RwLockWriteGuard<'_, HostData> {
        sync::write(&self.data)
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
