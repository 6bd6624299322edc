//! GPUs that need not be there.

/// What a GPU offers, wherever it is: [`Device::stand_in_for`](crate::Device::stand_in_for) computes what a program would take
/// of its memory. [`DeviceInfo::limits`](crate::device::DeviceInfo::limits) of the machine that has it lists the numbers. Defaults to
/// a hardware GPU with WebGPU's default limits, which every GPU has at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuModel {
    /// A name for messages.
    pub name: String,
    /// Whether it computes on the host's cores, for which other kernels are chosen. Defaults to false.
    pub software: bool,
    /// The most bytes that the device may hold. Defaults to `None`: no limit.
    pub memory: Option<u64>,
    /// `bytes per binding`. Defaults to 128 MiB.
    pub bytes_per_binding: u64,
    /// `bytes per buffer`. Defaults to 256 MiB.
    pub bytes_per_buffer: u64,
    /// `storage buffers per kernel`. Defaults to 8.
    pub storage_buffers: u32,
    /// `invocations per workgroup`. Defaults to 256.
    pub invocations: u32,
    /// `workgroup memory, bytes`. Defaults to 16 KiB.
    pub workgroup_memory: u32,
    /// `workgroups per dimension`. Defaults to 65,535.
    pub workgroups: u32,
    /// `uniform alignment, bytes`. Defaults to 256.
    pub uniform_alignment: u32,
}

impl Default for GpuModel {
    fn default() -> Self {
        Self {
            name: "a GPU".into(),
            software: false,
            memory: None,
            bytes_per_binding: 128 << 20,
            bytes_per_buffer: 256 << 20,
            storage_buffers: 8,
            invocations: 256,
            workgroup_memory: 16 << 10,
            workgroups: 65_535,
            uniform_alignment: 256,
        }
    }
}
