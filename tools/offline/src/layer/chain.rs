//! The chain of layers: how the loader calls this one, and how it calls the next.

use super::state::state;
use super::{commands, driver, log, memory, pipelines};
use ash::vk;
use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;

pub type GetInstanceProcAddr = unsafe extern "system" fn(vk::Instance, *const c_char) -> vk::PFN_vkVoidFunction;
pub type GetDeviceProcAddr = unsafe extern "system" fn(vk::Device, *const c_char) -> vk::PFN_vkVoidFunction;

/// The loader's side of the layer interface, version 2.
#[repr(C)]
pub struct Negotiation {
    kind: i32,
    next: *mut c_void,
    version: u32,
    instance_proc: Option<GetInstanceProcAddr>,
    device_proc: Option<GetDeviceProcAddr>,
    physical_proc: Option<GetInstanceProcAddr>,
}

/// `VkLayerInstanceCreateInfo` and `VkLayerDeviceCreateInfo`, as far as they are used here.
#[repr(C)]
struct CreateInfo {
    kind: i32,
    next: *const c_void,
    function: i32,
    link: *mut Link,
}

/// The next element of the chain of layers.
#[repr(C)]
struct Link {
    next: *mut Link,
    instance_proc: GetInstanceProcAddr,
    /// For a device: its `vkGetDeviceProcAddr`.
    second: *const c_void,
}

const LOADER_INSTANCE: i32 = 47;
const LOADER_DEVICE: i32 = 48;

/// Where the loader comes in.
///
/// # Safety
/// `negotiation` is the loader's.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(negotiation: *mut Negotiation) -> vk::Result {
    // Safety: the loader's.
    let n = unsafe { &mut *negotiation };
    n.version = n.version.min(2);
    n.instance_proc = Some(instance_proc);
    n.device_proc = Some(device_proc);
    n.physical_proc = None;
    vk::Result::SUCCESS
}

unsafe extern "system" fn instance_proc(instance: vk::Instance, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // Safety: the loader's.
    let own = own(unsafe { CStr::from_ptr(name) });
    if own.is_some() {
        return own;
    }
    let next = state().instance_proc;
    // Safety: the next layer's.
    next.and_then(|get| unsafe { get(instance, name) })
}

unsafe extern "system" fn device_proc(device: vk::Device, name: *const c_char) -> vk::PFN_vkVoidFunction {
    // Safety: the loader's.
    let own = own(unsafe { CStr::from_ptr(name) });
    if own.is_some() {
        return own;
    }
    let next = state().device_proc;
    // Safety: the next layer's.
    next.and_then(|get| unsafe { get(device, name) })
}

/// The layer's own functions.
fn own(name: &CStr) -> vk::PFN_vkVoidFunction {
    let function = match name.to_bytes() {
        b"vkGetInstanceProcAddr" => instance_proc as *const (),
        b"vkGetDeviceProcAddr" => device_proc as *const (),
        b"vkCreateInstance" => create_instance as *const (),
        b"vkCreateDevice" => create_device as *const (),
        b"vkGetPhysicalDeviceMemoryProperties" => memory::properties as *const (),
        b"vkGetPhysicalDeviceMemoryProperties2" | b"vkGetPhysicalDeviceMemoryProperties2KHR" => memory::properties2 as *const (),
        b"vkGetBufferMemoryRequirements" => memory::requirements as *const (),
        b"vkGetBufferMemoryRequirements2" | b"vkGetBufferMemoryRequirements2KHR" => memory::requirements2 as *const (),
        b"vkAllocateMemory" => memory::allocate as *const (),
        b"vkFreeMemory" => memory::free as *const (),
        b"vkMapMemory" => memory::map as *const (),
        b"vkBindBufferMemory" => memory::bind_buffer as *const (),
        b"vkBeginCommandBuffer" => commands::begin as *const (),
        b"vkEndCommandBuffer" | b"vkResetCommandBuffer" | b"vkResetCommandPool" => commands::done as *const (),
        b"vkQueueWaitIdle" | b"vkDeviceWaitIdle" | b"vkFlushMappedMemoryRanges" => commands::done as *const (),
        b"vkInvalidateMappedMemoryRanges" | b"vkResetFences" | b"vkGetFenceStatus" => commands::done as *const (),
        b"vkWaitForFences" | b"vkWaitSemaphores" | b"vkWaitSemaphoresKHR" => commands::done as *const (),
        b"vkCreateSemaphore" | b"vkCreateFence" => commands::create_sync as *const (),
        b"vkGetSemaphoreCounterValue" | b"vkGetSemaphoreCounterValueKHR" => commands::counter as *const (),
        b"vkQueueSubmit" => commands::submit as *const (),
        b"vkUnmapMemory" | b"vkDestroySemaphore" | b"vkDestroyFence" => commands::nothing as *const (),
        b"vkCmdBindPipeline" => commands::bind_pipeline as *const (),
        b"vkCmdBindDescriptorSets" => commands::bind_sets as *const (),
        b"vkCmdDispatch" => commands::dispatch as *const (),
        b"vkCmdPipelineBarrier" if log::wanted() => commands::barrier as *const (),
        b"vkCmdCopyBuffer" => commands::copy as *const (),
        b"vkUpdateDescriptorSets" => commands::update_sets as *const (),
        b"vkCreateShaderModule" => pipelines::create_module as *const (),
        b"vkCreateComputePipelines" => pipelines::create_pipelines as *const (),
        b"vkSetDebugUtilsObjectNameEXT" => pipelines::set_name as *const (),
        name if name.starts_with(b"vkCmd") => commands::nothing as *const (),
        _ => return None,
    };
    // Safety: Vulkan gives functions without their types.
    Some(unsafe { transmute::<*const (), unsafe extern "system" fn()>(function) })
}

/// This layer's link in the chain, taken out for the next one.
unsafe fn take_link(mut at: *const c_void, kind: i32) -> Option<(GetInstanceProcAddr, *const c_void)> {
    while !at.is_null() {
        let info = at.cast::<CreateInfo>().cast_mut();
        // Safety: a chain of the loader's.
        unsafe {
            if (*info).kind == kind && (*info).function == 0 {
                let link = (*info).link;
                let found = ((*link).instance_proc, (*link).second);
                (*info).link = (*link).next;
                return Some(found);
            }
            at = (*info).next;
        }
    }
    None
}

unsafe extern "system" fn create_instance(
    info: *const vk::InstanceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    out: *mut vk::Instance,
) -> vk::Result {
    // Safety: the loader's.
    unsafe {
        let Some((get, _)) = take_link((*info).p_next, LOADER_INSTANCE) else { return vk::Result::ERROR_INITIALIZATION_FAILED };
        let create = get(vk::Instance::null(), c"vkCreateInstance".as_ptr());
        let Some(create) = create.map(|f| transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateInstance>(f)) else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let result = create(info, allocator, out);
        if result == vk::Result::SUCCESS {
            let mut state = state();
            state.instance_proc = Some(get);
            // Now: once the loader has its table, it answers with this layer's own.
            state.create_device =
                transmute::<vk::PFN_vkVoidFunction, Option<vk::PFN_vkCreateDevice>>(get(*out, c"vkCreateDevice".as_ptr()));
        }
        result
    }
}

unsafe extern "system" fn create_device(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    out: *mut vk::Device,
) -> vk::Result {
    let create = state().create_device;
    // On a driver that can do things, the layer would have them undone.
    if std::env::var_os("RADV_FORCE_FAMILY").is_none() {
        return vk::Result::ERROR_INITIALIZATION_FAILED;
    }
    // Safety: the loader's.
    unsafe {
        let link = take_link((*info).p_next, LOADER_DEVICE);
        let (Some((_, device_get)), Some(create)) = (link, create) else { return vk::Result::ERROR_INITIALIZATION_FAILED };
        let mut info = *info;
        let mut extensions: Vec<*const c_char> = Vec::new();
        if info.enabled_extension_count > 0 {
            let asked = std::slice::from_raw_parts(info.pp_enabled_extension_names, info.enabled_extension_count as usize);
            extensions.extend(asked);
        }
        let mut wanted = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        if log::wanted() {
            extensions.push(ash::khr::pipeline_executable_properties::NAME.as_ptr());
            wanted.p_next = info.p_next.cast_mut();
            info.p_next = (&raw const wanted).cast();
            info.pp_enabled_extension_names = extensions.as_ptr();
            info.enabled_extension_count = extensions.len() as u32;
        }
        let result = create(physical, &raw const info, allocator, out);
        if result == vk::Result::SUCCESS {
            let get = transmute::<*const c_void, GetDeviceProcAddr>(device_get);
            state().device_proc = Some(get);
            if !driver::load(*out, get) {
                return vk::Result::ERROR_INITIALIZATION_FAILED;
            }
        }
        result
    }
}
