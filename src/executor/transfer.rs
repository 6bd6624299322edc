//! Values between the host and the device's memory.

use super::alarm::Flag;
use super::{Backend, Executor, Transfer, mixed};
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::host::{had_room, zeroed, zeros};
use crate::site::FLAG;
use crate::storage::Storage;

impl Executor {
    /// Releases what is only cached for host memory of this many bytes, which the CPU device is about to hold.
    ///
    /// # Errors
    /// Past the device's limit.
    pub fn expect_upload(&self, bytes: u64) -> Result<()> {
        match &self.backend {
            Backend::Cpu(cpu) => self.with_room(None, || cpu.make_room(bytes, "a tensor")),
            Backend::Gpu(_) => Ok(()),
        }
    }

    /// Memory with these values.
    pub fn upload(&self, data: HostData) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(cpu) => {
                let (dtype, len) = (data.kind(), data.len());
                let data = had_room(data.unpacked(), "a tensor", dtype, len)?;
                self.with_room(None, || self.allocates())?;
                self.with_room(None, || cpu.make_room(data.bytes().len() as u64, "a tensor"))?;
                Ok(Storage::Cpu(cpu.upload(data)?))
            }
            Backend::Gpu(gpu) => Ok(Storage::Gpu(self.with_room(None, || gpu.upload(&data))?)),
        }
    }

    /// A GPU's memory with these bytes.
    pub fn upload_bytes(&self, bytes: &[u8]) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(_) => Err(mixed()),
            Backend::Gpu(gpu) => Ok(Storage::Gpu(self.with_room(None, || gpu.upload_bytes(bytes))?)),
        }
    }

    /// A value's elements. Waits for the device.
    pub fn read(&self, storage: &Storage, dtype: DType, len: usize) -> Result<HostData> {
        match &self.backend {
            Backend::Cpu(cpu) if cpu.is_hollow() => zeros(dtype, len),
            Backend::Cpu(cpu) => {
                let buffer = storage.on_cpu()?;
                self.with_room(None, || had_room(cpu.read(buffer)?.packed(dtype), "a tensor", dtype, len))
            }
            Backend::Gpu(gpu) => {
                let buffer = storage.on_gpu()?;
                self.with_room(None, || gpu.read(buffer, dtype, len))
            }
        }
    }

    /// Overwrites `to` with the elements of `from`, which has the same size and dtype.
    pub fn copy(&self, from: &Storage, to: &Storage) -> Result<()> {
        match &self.backend {
            Backend::Gpu(gpu) => {
                let (from, to) = (from.on_gpu()?, to.on_gpu()?);
                self.with_room(None, || gpu.copy(from, to))
            }
            Backend::Cpu(cpu) if cpu.is_hollow() => Ok(()),
            Backend::Cpu(_) => {
                let (from, to) = (from.on_cpu()?, to.on_cpu()?);
                let copied = from.is_same(to) || to.write().copy_from(&from.read());
                if copied { Ok(()) } else { Err(Error::internal("a copy is not of the same elements")) }
            }
        }
    }

    /// Other memory with the same contents.
    pub fn duplicate(&self, storage: &Storage, dtype: DType, len: usize) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(cpu) if cpu.is_hollow() => self.with_room(None, || cpu.of_nothing(dtype, len)),
            Backend::Cpu(cpu) => {
                self.with_room(None, || self.allocates())?;
                let buffer = storage.on_cpu()?;
                self.upload(self.with_room(None, || cpu.read(buffer))?)
            }
            Backend::Gpu(gpu) => {
                let copy = self.with_room(None, || gpu.alloc(dtype.bytes(len) as u64))?;
                if len > 0 {
                    gpu.copy(storage.on_gpu()?, &copy)?;
                }
                Ok(Storage::Gpu(copy))
            }
        }
    }

    /// `len` f32 elements that are 0.
    pub(super) fn zeroed(&self, len: usize) -> Result<Storage> {
        match &self.backend {
            Backend::Cpu(_) => {
                self.expect_upload(4 * len as u64)?;
                self.upload(HostData::F32(zeroed("a tensor", len)?))
            }
            Backend::Gpu(gpu) => Ok(Storage::Gpu(self.with_room(None, || gpu.alloc(len as u64 * 4))?)),
        }
    }

    /// The most f32 elements that an arena can hold; `None` if optimizers use none.
    pub(super) fn arena_limit(&self) -> Option<usize> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(usize::try_from(gpu.caps().max_binding / 4).unwrap_or(usize::MAX)),
        }
    }

    /// Starts to bring a value to the host, and with it a flag, if the value has elements.
    pub fn start_read(&self, storage: &Storage, dtype: DType, len: usize, flag: Option<Flag>) -> Result<Transfer> {
        match &self.backend {
            Backend::Gpu(gpu) if gpu.is_hollow() && len > 0 => {
                gpu.pretend_download(storage.on_gpu()?);
                if let Some(flag) = flag {
                    self.alarm.arrived(&flag, &[0; 4 * FLAG])?;
                }
                Ok(Transfer::Arrived(zeros(dtype, len)?))
            }
            Backend::Gpu(gpu) if len > 0 => {
                let (buffer, bytes) = (storage.on_gpu()?, dtype.bytes(len) as u64);
                let words = flag.as_ref().map(|flag| flag.storage().on_gpu()).transpose()?;
                let download = self.with_room(None, || gpu.start_download(buffer, bytes, words))?;
                Ok(Transfer::Coming(download, flag))
            }
            Backend::Cpu(_) if len > 0 => {
                if let Some(flag) = flag {
                    let words = self.read(flag.storage(), DType::I32, FLAG)?;
                    self.alarm.arrived(&flag, words.bytes())?;
                }
                Ok(Transfer::Arrived(self.read(storage, dtype, len)?))
            }
            _ => Ok(Transfer::Arrived(self.read(storage, dtype, len)?)),
        }
    }

    /// A value that is on its way, if it has arrived, and what its flag says.
    pub fn try_read(&self, transfer: &Transfer, dtype: DType, len: usize) -> Result<Option<(HostData, Result<()>)>> {
        match (transfer, &self.backend) {
            (Transfer::Arrived(_), _) => Ok(None),
            (Transfer::Coming(download, flag), Backend::Gpu(gpu)) => gpu.try_download(download, |bytes, words| {
                (HostData::from_padded(dtype, bytes, len), flag.as_ref().map_or(Ok(()), |flag| self.alarm.arrived(flag, words)))
            }),
            (Transfer::Coming(..), Backend::Cpu(_)) => Err(mixed()),
        }
    }

    /// The value, once it has arrived.
    ///
    /// # Errors
    /// The flag says that an index was out of range.
    pub fn finish_read(&self, transfer: Transfer, dtype: DType, len: usize) -> Result<HostData> {
        match (transfer, &self.backend) {
            (Transfer::Arrived(data), Backend::Gpu(gpu)) if gpu.is_hollow() => gpu.submit().map(|()| data),
            (Transfer::Arrived(data), _) => Ok(data),
            (Transfer::Coming(download, flag), Backend::Gpu(gpu)) => gpu.finish_download(&download, |bytes, words| {
                flag.map_or(Ok(()), |flag| self.alarm.arrived(&flag, words))?;
                Ok(HostData::from_padded(dtype, bytes, len))
            })?,
            (Transfer::Coming(..), Backend::Cpu(_)) => Err(mixed()),
        }
    }
}
