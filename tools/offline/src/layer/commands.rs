//! Commands and submissions: recorded, and done or written down when they are submitted.

use super::driver::driver;
use super::log;
use super::state::{Bound, Command, Recording, State, state};
use crate::event::{Binding, Dispatch, Event};
use ash::vk::{self, Handle};
use std::sync::atomic::{AtomicU64, Ordering};

/// A uniform buffer of more words is not a kernel's record.
const LONGEST_RECORD: u64 = 64 << 10;

/// For commands that need not be done. The caller clears the stack: one function serves for all signatures.
pub extern "system" fn nothing() {}

/// For functions that wait for the device, or prepare something of it.
pub extern "system" fn done() -> vk::Result {
    vk::Result::SUCCESS
}

/// A semaphore or a fence: a number that nothing else has.
pub unsafe extern "system" fn create_sync(
    _: vk::Device,
    _: *const std::ffi::c_void,
    _: *const vk::AllocationCallbacks<'_>,
    out: *mut u64,
) -> vk::Result {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Safety: the caller's.
    unsafe { *out = NEXT.fetch_add(1, Ordering::Relaxed) };
    vk::Result::SUCCESS
}

/// The value of a timeline semaphore.
pub unsafe extern "system" fn counter(_: vk::Device, semaphore: vk::Semaphore, out: *mut u64) -> vk::Result {
    // Safety: the caller's.
    unsafe { *out = state().signalled.get(&semaphore).copied().unwrap_or(0) };
    vk::Result::SUCCESS
}

/// A new recording.
pub unsafe extern "system" fn begin(buffer: vk::CommandBuffer, _: *const vk::CommandBufferBeginInfo<'_>) -> vk::Result {
    state().recordings.insert(buffer, Recording::default());
    vk::Result::SUCCESS
}

/// The pipeline of the dispatches that follow.
pub unsafe extern "system" fn bind_pipeline(buffer: vk::CommandBuffer, _: vk::PipelineBindPoint, pipeline: vk::Pipeline) {
    let mut state = state();
    let number = state.pipelines.get(&pipeline).copied().unwrap_or(usize::MAX);
    state.recordings.entry(buffer).or_default().pipeline = number;
}

/// The descriptor set of the dispatches that follow.
pub unsafe extern "system" fn bind_sets(
    buffer: vk::CommandBuffer,
    _: vk::PipelineBindPoint,
    _: vk::PipelineLayout,
    first: u32,
    count: u32,
    sets: *const vk::DescriptorSet,
    _: u32,
    _: *const u32,
) {
    if first == 0 && count > 0 {
        // Safety: the caller's.
        state().recordings.entry(buffer).or_default().set = unsafe { *sets };
    }
}

/// What a descriptor set is bound to.
pub unsafe extern "system" fn update_sets(
    device: vk::Device,
    count: u32,
    writes: *const vk::WriteDescriptorSet<'_>,
    copies: u32,
    copied: *const vk::CopyDescriptorSet<'_>,
) {
    // Safety: the caller's.
    let list = unsafe { slice(writes, count) };
    let mut guard = state();
    for write in list {
        let uniform = write.descriptor_type == vk::DescriptorType::UNIFORM_BUFFER;
        if !uniform && write.descriptor_type != vk::DescriptorType::STORAGE_BUFFER {
            continue;
        }
        // Safety: the caller's.
        let infos = unsafe { slice(write.p_buffer_info, write.descriptor_count) };
        for (n, info) in (0..).zip(infos) {
            let bound = Bound { buffer: info.buffer, offset: info.offset, bytes: info.range, uniform };
            guard.sets.entry(write.dst_set).or_default().insert(write.dst_binding + n, bound);
        }
    }
    drop(guard);
    if let Some(driver) = driver() {
        // Safety: the caller's.
        unsafe { (driver.update_sets)(device, count, writes, copies, copied) };
    }
}

/// A dispatch.
pub unsafe extern "system" fn dispatch(buffer: vk::CommandBuffer, x: u32, y: u32, z: u32) {
    let mut state = state();
    let recording = state.recordings.entry(buffer).or_default();
    let (pipeline, set) = (recording.pipeline, recording.set);
    recording.commands.push(Command::Dispatch { pipeline, set, grid: [x, y, z] });
}

/// A barrier.
pub unsafe extern "system" fn barrier(
    buffer: vk::CommandBuffer,
    _: vk::PipelineStageFlags,
    _: vk::PipelineStageFlags,
    _: vk::DependencyFlags,
    memories: u32,
    _: *const vk::MemoryBarrier<'_>,
    buffers: u32,
    _: *const vk::BufferMemoryBarrier<'_>,
    _: u32,
    _: *const vk::ImageMemoryBarrier<'_>,
) {
    state().recordings.entry(buffer).or_default().commands.push(Command::Barrier(memories + buffers));
}

/// A copy.
pub unsafe extern "system" fn copy(
    buffer: vk::CommandBuffer,
    from: vk::Buffer,
    to: vk::Buffer,
    count: u32,
    regions: *const vk::BufferCopy,
) {
    // Safety: the caller's.
    let regions = unsafe { slice(regions, count) }.to_vec();
    state().recordings.entry(buffer).or_default().commands.push(Command::Copy { from, to, regions });
}

/// Does what was recorded, and signals that it is done.
pub unsafe extern "system" fn submit(_: vk::Queue, count: u32, infos: *const vk::SubmitInfo<'_>, _: vk::Fence) -> vk::Result {
    let mut state = state();
    let mut buffers = 0;
    // Safety: the caller's.
    for info in unsafe { slice(infos, count) } {
        buffers += info.command_buffer_count;
        // Safety: the caller's.
        let list = unsafe { slice(info.p_command_buffers, info.command_buffer_count) };
        list.iter().for_each(|buffer| run(&mut state, *buffer));
        let mut at = info.p_next.cast::<vk::BaseInStructure<'_>>();
        while !at.is_null() {
            // Safety: a chain of the caller's.
            unsafe {
                if (*at).s_type == vk::StructureType::TIMELINE_SEMAPHORE_SUBMIT_INFO {
                    let values = &*at.cast::<vk::TimelineSemaphoreSubmitInfo<'_>>();
                    let count = values.signal_semaphore_value_count.min(info.signal_semaphore_count);
                    let semaphores = slice(info.p_signal_semaphores, count);
                    let pairs = semaphores.iter().zip(slice(values.p_signal_semaphore_values, count));
                    state.signalled.extend(pairs.map(|(&semaphore, &value)| (semaphore, value)));
                }
                at = (*at).p_next;
            }
        }
    }
    drop(state);
    log::write(&Event::Submission(buffers));
    vk::Result::SUCCESS
}

/// Makes a command buffer's copies and writes down what else it does, in order.
fn run(state: &mut State, buffer: vk::CommandBuffer) {
    let Some(recording) = state.recordings.remove(&buffer) else { return };
    for command in recording.commands {
        match command {
            Command::Barrier(count) => log::write(&Event::Barrier(count)),
            Command::Copy { from, to, regions } => {
                regions.iter().for_each(|region| state.copy(from, to, region));
                log::write(&Event::Copy(regions.iter().map(|r| r.size).sum()));
            }
            Command::Dispatch { pipeline, set, .. } if state.proofs.contains(&pipeline) => {
                let counter = state.sets.get(&set).and_then(|bound| bound.values().next().copied());
                counter.into_iter().for_each(|b| state.increment(b.buffer, b.offset));
            }
            Command::Dispatch { .. } if !log::wanted() => {}
            Command::Dispatch { pipeline, set, grid } => {
                let bound = state.sets.get(&set).cloned().unwrap_or_default();
                let bindings = bound.into_iter().map(|(binding, b)| {
                    let known = b.uniform && b.bytes <= LONGEST_RECORD;
                    let uniform = if known { state.words(b.buffer, b.offset, b.bytes) } else { Vec::new() };
                    Binding { binding, buffer: b.buffer.as_raw(), offset: b.offset, bytes: b.bytes, uniform }
                });
                let bindings = bindings.collect();
                log::write(&Event::Dispatch(Dispatch { pipeline, grid, bindings }));
            }
        }
    }
}

/// A C array; empty where the pointer is null.
unsafe fn slice<'a, T>(first: *const T, count: u32) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // Safety: the caller's.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}
