//! How devices are opened.

use crate::gpu::context;
use crate::host;
use std::time::Duration;

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceOptions {
    /// Use only WebGPU's default limits, as the weakest adapter would offer. Defaults to false.
    pub clamped: bool,
    /// Compile shaders with wgpu's bounds and loop checks. Defaults to false in release builds, true in debug builds.
    pub checks: Option<bool>,
    /// Run every op as its own kernel. For tests. Defaults to false.
    pub unfused: bool,
    /// Use the kernels that are chosen for hardware GPUs on a software adapter, too. For tests. Defaults to false.
    pub hardware_kernels: bool,
    /// Use the short kernels of devices whose compiler is slow with long texts or refuses them, as on DX12 without DXC: at most 32
    /// multiply-adds unrolled, and no arrays filled with zeros in loops. For tests. Defaults to false, and to true on such devices.
    pub short_texts: bool,
    /// Test each kernel family against the reference before its first use, in a few milliseconds each, and use a plainer form of
    /// it where a driver refuses or miscompiles it. Defaults to true on hardware GPUs, false on software adapters.
    pub self_test: Option<bool>,
    /// How long the work of one submission may take, on a GPU. A kernel that takes longer is split into launches over parts of
    /// its output, with the same results. Defaults to 200 ms on a hardware GPU: Windows and macOS end work that takes seconds.
    pub submission: Option<Duration>,
    /// The most bytes that the device may hold, caches included, which make room before an allocation fails with
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory). A few kilobytes of bookkeeping per plan and tensor are not counted, nor are
    /// rows that kernels copy. Defaults on the CPU device and on software adapters to nine tenths of the memory that the machine, the control group or
    /// `ulimit -v` has left when the device is opened; on a GPU its driver decides.
    pub memory: Option<u64>,
    /// How long a wait for a GPU may see no work come to an end, besides what the work is estimated to take on a slow one; after
    /// that the device counts as lost ([`Error::DeviceStalled`](crate::Error::DeviceStalled)). Defaults to two minutes;
    /// `Duration::MAX` waits for ever.
    pub stall: Option<Duration>,
}

/// How a GPU's context is opened.
pub(super) fn context_options(options: DeviceOptions) -> context::Options {
    let checks = options.checks.unwrap_or(cfg!(debug_assertions));
    let DeviceOptions { clamped, hardware_kernels, short_texts, self_test, submission, stall, .. } = options;
    context::Options { clamped, checks, hardware_kernels, short_texts, self_test, submission, stall }
}

/// What a device takes of the host's memory at most.
pub(super) fn host_memory() -> Option<u64> {
    host::available().map(|bytes| bytes / 10 * 9)
}
