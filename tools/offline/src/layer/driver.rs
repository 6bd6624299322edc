//! The driver's functions that the layer calls.

use super::chain::GetDeviceProcAddr;
use ash::vk;
use std::ffi::CStr;
use std::mem::transmute;
use std::sync::OnceLock;

/// A function whose type its name says.
type Function = unsafe extern "system" fn();

/// The functions, the same for each device.
pub struct Driver {
    pub buffer_requirements: vk::PFN_vkGetBufferMemoryRequirements,
    pub buffer_requirements2: vk::PFN_vkGetBufferMemoryRequirements2,
    pub allocate_memory: vk::PFN_vkAllocateMemory,
    pub free_memory: vk::PFN_vkFreeMemory,
    pub bind_buffer: vk::PFN_vkBindBufferMemory,
    pub update_sets: vk::PFN_vkUpdateDescriptorSets,
    pub create_module: vk::PFN_vkCreateShaderModule,
    pub create_pipelines: vk::PFN_vkCreateComputePipelines,
    /// Only where the extension is on.
    pub statistics: Option<vk::PFN_vkGetPipelineExecutableStatisticsKHR>,
    pub representations: Option<vk::PFN_vkGetPipelineExecutableInternalRepresentationsKHR>,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

/// The driver, if a device was made.
pub fn driver() -> Option<&'static Driver> {
    DRIVER.get()
}

/// Finds the functions of a new device; whether all were found.
pub unsafe fn load(device: vk::Device, get: GetDeviceProcAddr) -> bool {
    // Safety: the device is the driver's.
    let find = |name: &CStr| unsafe { get(device, name.as_ptr()) };
    let load = || {
        // Safety: each function has the type that Vulkan gives its name.
        unsafe {
            Some(Driver {
                buffer_requirements: transmute::<Function, vk::PFN_vkGetBufferMemoryRequirements>(find(
                    c"vkGetBufferMemoryRequirements",
                )?),
                buffer_requirements2: transmute::<Function, vk::PFN_vkGetBufferMemoryRequirements2>(find(
                    c"vkGetBufferMemoryRequirements2",
                )?),
                allocate_memory: transmute::<Function, vk::PFN_vkAllocateMemory>(find(c"vkAllocateMemory")?),
                free_memory: transmute::<Function, vk::PFN_vkFreeMemory>(find(c"vkFreeMemory")?),
                bind_buffer: transmute::<Function, vk::PFN_vkBindBufferMemory>(find(c"vkBindBufferMemory")?),
                update_sets: transmute::<Function, vk::PFN_vkUpdateDescriptorSets>(find(c"vkUpdateDescriptorSets")?),
                create_module: transmute::<Function, vk::PFN_vkCreateShaderModule>(find(c"vkCreateShaderModule")?),
                create_pipelines: transmute::<Function, vk::PFN_vkCreateComputePipelines>(find(c"vkCreateComputePipelines")?),
                statistics: find(c"vkGetPipelineExecutableStatisticsKHR")
                    .map(|f| transmute::<Function, vk::PFN_vkGetPipelineExecutableStatisticsKHR>(f)),
                representations: find(c"vkGetPipelineExecutableInternalRepresentationsKHR")
                    .map(|f| transmute::<Function, vk::PFN_vkGetPipelineExecutableInternalRepresentationsKHR>(f)),
            })
        }
    };
    if let Some(driver) = load() {
        let _ = DRIVER.set(driver);
    }
    DRIVER.get().is_some()
}
