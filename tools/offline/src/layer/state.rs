//! What the layer remembers; there is one driver.

use super::chain::{GetDeviceProcAddr, GetInstanceProcAddr};
use ash::vk;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Everything, behind one lock.
#[derive(Default)]
pub struct State {
    pub instance_proc: Option<GetInstanceProcAddr>,
    pub create_device: Option<vk::PFN_vkCreateDevice>,
    pub device_proc: Option<GetDeviceProcAddr>,
    pub modules: HashMap<vk::ShaderModule, Vec<u32>>,
    pub pipelines: HashMap<vk::Pipeline, usize>,
    numbered: usize,
    /// The kernels that count submissions: see `Proof` in wgrad's `src/gpu/proof.rs`.
    pub proofs: HashSet<usize>,
    pub sets: HashMap<vk::DescriptorSet, BTreeMap<u32, Bound>>,
    pub recordings: HashMap<vk::CommandBuffer, Recording>,
    /// Values of timeline semaphores.
    pub signalled: HashMap<vk::Semaphore, u64>,
    pub buffers: HashMap<vk::Buffer, Place>,
    pub memory: HashMap<vk::DeviceMemory, Block>,
}

/// A buffer's range in a descriptor set.
#[derive(Clone, Copy)]
pub struct Bound {
    pub buffer: vk::Buffer,
    pub offset: u64,
    pub bytes: u64,
    pub uniform: bool,
}

/// What a command buffer does.
#[derive(Default)]
pub struct Recording {
    pub pipeline: usize,
    pub set: vk::DescriptorSet,
    pub commands: Vec<Command>,
}

/// A command that is written down, or done, at submission.
pub enum Command {
    Dispatch { pipeline: usize, set: vk::DescriptorSet, grid: [u32; 3] },
    Copy { from: vk::Buffer, to: vk::Buffer, regions: Vec<vk::BufferCopy> },
    Barrier(u32),
}

/// Where a buffer is.
#[derive(Clone, Copy)]
pub struct Place {
    pub memory: vk::DeviceMemory,
    pub offset: u64,
}

/// Device memory, and the host's memory that stands for it once it is used: the null device maps nothing.
pub struct Block {
    pub bytes: u64,
    pub host: Option<Vec<u64>>,
}

impl Block {
    /// The host's memory, made on first use: zeroed pages that nobody touches take none.
    pub fn host(&mut self) -> *mut u8 {
        let words = usize::try_from(self.bytes.div_ceil(8)).unwrap_or(0);
        self.host.get_or_insert_with(|| vec![0; words]).as_mut_ptr().cast()
    }
}

impl State {
    /// Numbers a new pipeline. Its handle may be that of one that is gone, its number not.
    pub fn number(&mut self, pipeline: vk::Pipeline) -> usize {
        let number = self.numbered;
        self.numbered += 1;
        self.pipelines.insert(pipeline, number);
        number
    }
}

// Safety: the pointers in it are functions' and handles.
unsafe impl Send for State {}

/// The state, locked.
pub fn state() -> MutexGuard<'static, State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    STATE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
