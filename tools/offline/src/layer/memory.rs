//! Memory, which is the host's.

use super::driver::driver;
use super::state::{Block, Place, State, state};
use ash::vk;
use std::ffi::c_void;

/// Larger copies are not made: they carry data, and data is not looked at.
const LARGEST_COPY: u64 = 4 << 20;

/// The null device has no memory types: here are one of the device's and one that the host sees.
pub unsafe extern "system" fn properties(_: vk::PhysicalDevice, out: *mut vk::PhysicalDeviceMemoryProperties) {
    // Safety: the caller's.
    let out = unsafe { &mut *out };
    *out = vk::PhysicalDeviceMemoryProperties::default();
    let heap = |flags| vk::MemoryHeap { size: 16 << 30, flags };
    out.memory_heap_count = 2;
    out.memory_heaps[0] = heap(vk::MemoryHeapFlags::DEVICE_LOCAL);
    out.memory_heaps[1] = heap(vk::MemoryHeapFlags::empty());
    out.memory_type_count = 2;
    out.memory_types[0] = vk::MemoryType { property_flags: vk::MemoryPropertyFlags::DEVICE_LOCAL, heap_index: 0 };
    let host =
        vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT | vk::MemoryPropertyFlags::HOST_CACHED;
    out.memory_types[1] = vk::MemoryType { property_flags: host, heap_index: 1 };
}

/// As [`properties`].
pub unsafe extern "system" fn properties2(device: vk::PhysicalDevice, out: *mut vk::PhysicalDeviceMemoryProperties2<'_>) {
    // Safety: the caller's.
    unsafe { properties(device, &raw mut (*out).memory_properties) };
}

/// What a buffer needs, of either memory type.
pub unsafe extern "system" fn requirements(device: vk::Device, buffer: vk::Buffer, out: *mut vk::MemoryRequirements) {
    let Some(driver) = driver() else { return };
    // Safety: the caller's.
    unsafe {
        (driver.buffer_requirements)(device, buffer, out);
        (*out).memory_type_bits = 3;
    }
}

/// As [`requirements`].
pub unsafe extern "system" fn requirements2(
    device: vk::Device,
    info: *const vk::BufferMemoryRequirementsInfo2<'_>,
    out: *mut vk::MemoryRequirements2<'_>,
) {
    let Some(driver) = driver() else { return };
    // Safety: the caller's.
    unsafe {
        (driver.buffer_requirements2)(device, info, out);
        (*out).memory_requirements.memory_type_bits = 3;
    }
}

/// The driver's memory, and a note of its size.
pub unsafe extern "system" fn allocate(
    device: vk::Device,
    info: *const vk::MemoryAllocateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    out: *mut vk::DeviceMemory,
) -> vk::Result {
    let Some(driver) = driver() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    // Safety: the caller's.
    unsafe {
        let mut ours = *info;
        ours.memory_type_index = 0;
        let result = (driver.allocate_memory)(device, &raw const ours, allocator, out);
        if result == vk::Result::SUCCESS {
            state().memory.insert(*out, Block { bytes: (*info).allocation_size, host: None });
        }
        result
    }
}

/// Frees both.
pub unsafe extern "system" fn free(device: vk::Device, memory: vk::DeviceMemory, allocator: *const vk::AllocationCallbacks<'_>) {
    state().memory.remove(&memory);
    if let Some(driver) = driver() {
        // Safety: the caller's.
        unsafe { (driver.free_memory)(device, memory, allocator) };
    }
}

/// The host's memory.
pub unsafe extern "system" fn map(
    _: vk::Device,
    memory: vk::DeviceMemory,
    offset: vk::DeviceSize,
    _: vk::DeviceSize,
    _: vk::MemoryMapFlags,
    out: *mut *mut c_void,
) -> vk::Result {
    let mut state = state();
    let Some(block) = state.memory.get_mut(&memory) else { return vk::Result::ERROR_MEMORY_MAP_FAILED };
    let Ok(at) = usize::try_from(offset) else { return vk::Result::ERROR_MEMORY_MAP_FAILED };
    // Safety: the range is the caller's, within the memory.
    unsafe { *out = block.host().add(at).cast() };
    vk::Result::SUCCESS
}

/// A note of where a buffer is.
pub unsafe extern "system" fn bind_buffer(
    device: vk::Device,
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    offset: vk::DeviceSize,
) -> vk::Result {
    state().buffers.insert(buffer, Place { memory, offset });
    let Some(driver) = driver() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    // Safety: the caller's.
    unsafe { (driver.bind_buffer)(device, buffer, memory, offset) }
}

impl State {
    /// The host's memory of a buffer's range, if it lies within the buffer's memory.
    fn range(&mut self, buffer: vk::Buffer, offset: u64, bytes: u64) -> Option<*mut u8> {
        let place = *self.buffers.get(&buffer)?;
        let block = self.memory.get_mut(&place.memory)?;
        let at = place.offset.checked_add(offset)?;
        if at.checked_add(bytes)? > block.bytes {
            return None;
        }
        // Safety: within the block.
        Some(unsafe { block.host().add(usize::try_from(at).ok()?) })
    }

    /// Makes a small copy.
    pub fn copy(&mut self, from: vk::Buffer, to: vk::Buffer, region: &vk::BufferCopy) {
        let Ok(bytes) = usize::try_from(region.size) else { return };
        if region.size > LARGEST_COPY {
            return;
        }
        let source = self.range(from, region.src_offset, region.size);
        let target = self.range(to, region.dst_offset, region.size);
        if let (Some(source), Some(target)) = (source, target) {
            // Safety: both ranges lie within memory of the host's.
            unsafe { std::ptr::copy(source, target, bytes) };
        }
    }

    /// Adds 1 to a word of a buffer.
    pub fn increment(&mut self, buffer: vk::Buffer, offset: u64) {
        if let Some(at) = self.range(buffer, offset, 4) {
            let at = at.cast::<[u8; 4]>();
            // Safety: within the range.
            unsafe { at.write_unaligned(u32::from_le_bytes(at.read_unaligned()).wrapping_add(1).to_le_bytes()) };
        }
    }

    /// The words of a buffer's range; none if nothing of its memory was ever written.
    pub fn words(&mut self, buffer: vk::Buffer, offset: u64, bytes: u64) -> Vec<u32> {
        let written = self.buffers.get(&buffer).and_then(|p| self.memory.get(&p.memory)).is_some_and(|b| b.host.is_some());
        let Some(at) = self.range(buffer, offset, bytes).filter(|_| written) else { return Vec::new() };
        let read = |n: usize| {
            // Safety: within the range.
            u32::from_le_bytes(unsafe { at.add(4 * n).cast::<[u8; 4]>().read_unaligned() })
        };
        (0..usize::try_from(bytes / 4).unwrap_or(0)).map(read).collect()
    }
}
