//! Shader modules and pipelines: the driver's, with statistics, machine code and labels written down.

use super::driver::{Driver, driver};
use super::log;
use super::state::state;
use crate::event::Event;
use ash::vk::{self, Handle};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::Path;

/// The driver's module, and a copy of its words.
pub unsafe extern "system" fn create_module(
    device: vk::Device,
    info: *const vk::ShaderModuleCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    out: *mut vk::ShaderModule,
) -> vk::Result {
    let Some(driver) = driver() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    // Safety: the caller's.
    unsafe {
        let result = (driver.create_module)(device, info, allocator, out);
        if result == vk::Result::SUCCESS {
            let words = std::slice::from_raw_parts((*info).p_code, (*info).code_size / 4).to_vec();
            state().modules.insert(*out, words);
        }
        result
    }
}

/// The driver's pipelines, asked to keep what the layer wants to know.
pub unsafe extern "system" fn create_pipelines(
    device: vk::Device,
    cache: vk::PipelineCache,
    count: u32,
    infos: *const vk::ComputePipelineCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    out: *mut vk::Pipeline,
) -> vk::Result {
    let Some(driver) = driver() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    // Safety: the caller's.
    let mut infos = unsafe { std::slice::from_raw_parts(infos, count as usize) }.to_vec();
    let keeps = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
    if driver.statistics.is_some() && log::wanted() {
        infos.iter_mut().for_each(|info| info.flags |= keeps);
    }
    // Safety: the caller's.
    let result = unsafe { (driver.create_pipelines)(device, cache, count, infos.as_ptr(), allocator, out) };
    if result == vk::Result::SUCCESS {
        for (n, info) in infos.iter().enumerate() {
            // Safety: the driver has just made it.
            unsafe { describe(driver, device, *out.add(n), info.stage.module) };
        }
    }
    result
}

/// Writes down a pipeline.
unsafe fn describe(driver: &Driver, device: vk::Device, pipeline: vk::Pipeline, module: vk::ShaderModule) {
    let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
    if !log::wanted() {
        state().number(pipeline);
        return;
    }
    // Safety: the pipeline is the driver's, and kept what is asked for.
    let (statistics, code) = unsafe { (statistics(driver, device, &executable), machine_code(driver, device, &executable)) };
    let mut state = state();
    let number = state.number(pipeline);
    let words = state.modules.get(&module).cloned().unwrap_or_default();
    drop(state);
    if let Some(folder) = log::folder() {
        write(&folder, number, &words, code.as_deref());
    }
    log::write(&Event::Pipeline { number, local: local_size(&words), statistics });
}

fn write(folder: &Path, number: usize, words: &[u32], code: Option<&[u8]>) {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let _ = std::fs::create_dir_all(folder);
    let _ = std::fs::write(folder.join(format!("{number:04}.spv")), bytes);
    if let Some(code) = code {
        let _ = std::fs::write(folder.join(format!("{number:04}.s")), code);
    }
}

/// What the driver says about a pipeline, by name.
unsafe fn statistics(
    driver: &Driver,
    device: vk::Device,
    executable: &vk::PipelineExecutableInfoKHR<'_>,
) -> BTreeMap<String, f64> {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    let Some(get) = driver.statistics else { return BTreeMap::new() };
    let mut count = 0;
    // Safety: first their number, then as many.
    let found = unsafe {
        let _ = get(device, executable, &raw mut count, std::ptr::null_mut());
        let mut found = vec![vk::PipelineExecutableStatisticKHR::default(); count as usize];
        let _ = get(device, executable, &raw mut count, found.as_mut_ptr());
        found
    };
    let pairs = found.iter().map(|s| {
        // Safety: the format says which of the union's numbers it is, and names end with a zero.
        unsafe {
            let value = match s.format {
                Format::FLOAT64 => s.value.f64,
                Format::INT64 => s.value.i64 as f64,
                Format::BOOL32 => f64::from(s.value.b32),
                _ => s.value.u64 as f64,
            };
            (CStr::from_ptr(s.name.as_ptr()).to_string_lossy().into_owned(), value)
        }
    });
    pairs.collect()
}

/// A pipeline's disassembly.
unsafe fn machine_code(driver: &Driver, device: vk::Device, executable: &vk::PipelineExecutableInfoKHR<'_>) -> Option<Vec<u8>> {
    let get = driver.representations?;
    let mut count = 0;
    // Safety: first their number, then their sizes, then their texts.
    unsafe {
        let _ = get(device, executable, &raw mut count, std::ptr::null_mut());
        let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        let _ = get(device, executable, &raw mut count, found.as_mut_ptr());
        let mut texts: Vec<Vec<u8>> = found.iter().map(|f| vec![0; f.data_size]).collect();
        for (f, text) in found.iter_mut().zip(&mut texts) {
            f.p_data = text.as_mut_ptr().cast();
        }
        let _ = get(device, executable, &raw mut count, found.as_mut_ptr());
        let at = found.iter().position(|f| CStr::from_ptr(f.name.as_ptr()).to_string_lossy().contains("ssembly"))?;
        let text = texts.swap_remove(at);
        Some(text.split(|&b| b == 0).next().unwrap_or_default().to_vec())
    }
}

/// The workgroup's size, from `OpExecutionMode %main LocalSize x y z`.
fn local_size(words: &[u32]) -> [u32; 3] {
    let mut at = 5;
    while at < words.len() {
        let (length, op) = ((words[at] >> 16) as usize, words[at] & 0xffff);
        if op == 16 && words.get(at + 2) == Some(&17) && at + 5 < words.len() {
            return [words[at + 3], words[at + 4], words[at + 5]];
        }
        at += length.max(1);
    }
    [0; 3]
}

/// The label of an object; what tools such as RenderDoc show.
pub unsafe extern "system" fn set_name(_: vk::Device, info: *const vk::DebugUtilsObjectNameInfoEXT<'_>) -> vk::Result {
    // Safety: the caller's.
    let (info, label) = unsafe {
        let info = &*info;
        if info.p_object_name.is_null() {
            return vk::Result::SUCCESS;
        }
        (info, CStr::from_ptr(info.p_object_name).to_string_lossy().into_owned())
    };
    let mut state = state();
    let pipeline = state.pipelines.get(&vk::Pipeline::from_raw(info.object_handle)).copied();
    if let (Some(pipeline), vk::ObjectType::PIPELINE) = (pipeline, info.object_type) {
        if label == "proof" {
            state.proofs.insert(pipeline);
        }
        log::write(&Event::Label { pipeline, label });
    }
    vk::Result::SUCCESS
}
