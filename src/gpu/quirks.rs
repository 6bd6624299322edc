//! What an adapter lacks or is known to do wrong, and what this crate does because of it: one list, which decides and is shown.

/// Something that an adapter lacks or does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quirk {
    /// It is the host's processor.
    Software,
    /// DX12 without DXC.
    OldCompiler,
    /// SwiftShader's compiler.
    SlowCompiler,
    /// Less than WebGPU's defaults for workgroups.
    SmallWorkgroups,
    /// No timestamps.
    NoClock,
    /// Timestamps that may all be 0.
    StandingClock,
    /// Submissions that fail without a word.
    Silent,
}

impl Quirk {
    /// What it is, and what is done instead.
    pub const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Software => {
                ("computes on the processor", "kernels without workgroup memory and barriers, which are loops over threads there")
            }
            Self::OldCompiler => {
                ("DX12 without dxcompiler.dll, so FXC compiles", "short shader texts: at most 32 unrolled multiply-adds")
            }
            Self::SlowCompiler => {
                ("its compiler takes minutes for long texts", "short shader texts: at most 32 unrolled multiply-adds")
            }
            Self::SmallWorkgroups => {
                ("has less than 256 threads or 16 KiB per workgroup", "smaller tiles, or kernels in registers alone")
            }
            Self::NoClock => ("takes no timestamps", "profiles without the kernels' times"),
            Self::StandingClock => ("timestamps may stand still at 0 (macOS 26)", "times are left out where they do"),
            Self::Silent => ("a submission that fails looks finished", "each leaves a proof, which every read checks"),
        }
    }

    /// Whether texts must be short because of it.
    pub const fn shortens_texts(self) -> bool {
        matches!(self, Self::OldCompiler | Self::SlowCompiler)
    }
}

/// The quirks of an adapter.
pub(super) fn of(
    name: &str,
    backend: wgpu::Backend,
    kind: wgpu::DeviceType,
    features: wgpu::Features,
    limits: &wgpu::Limits,
) -> Vec<Quirk> {
    let software = kind == wgpu::DeviceType::Cpu;
    // On DX12 subgroups take shader model 6, which DXC alone compiles.
    let old = backend == wgpu::Backend::Dx12 && (software || !features.contains(wgpu::Features::SUBGROUP));
    let defaults = wgpu::Limits::default();
    let small = limits.max_compute_invocations_per_workgroup < defaults.max_compute_invocations_per_workgroup
        || limits.max_compute_workgroup_storage_size < defaults.max_compute_workgroup_storage_size;
    let clock = features.contains(wgpu::Features::TIMESTAMP_QUERY);
    let metal = backend == wgpu::Backend::Metal;
    let rows = [
        (software, Quirk::Software),
        (old, Quirk::OldCompiler),
        (name.contains("SwiftShader"), Quirk::SlowCompiler),
        (small && !software, Quirk::SmallWorkgroups),
        (!clock, Quirk::NoClock),
        (clock && metal, Quirk::StandingClock),
        (metal, Quirk::Silent),
    ];
    rows.into_iter().filter(|(has, _)| *has).map(|(_, quirk)| quirk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_the_quirks_that_are_known_of_them() {
        use Quirk as Q;
        use wgpu::Backend::{Dx12, Metal, Vulkan};
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let (none, subgroup, clock) = (wgpu::Features::empty(), wgpu::Features::SUBGROUP, wgpu::Features::TIMESTAMP_QUERY);
        let all = subgroup | clock;
        let rows: [(&str, _, _, _, &[Quirk]); 8] = [
            ("NVIDIA GeForce RTX 3060", Dx12, DiscreteGpu, clock, &[Q::OldCompiler]),
            ("NVIDIA GeForce RTX 3060", Dx12, DiscreteGpu, all, &[]),
            ("NVIDIA GeForce RTX 3060", Vulkan, DiscreteGpu, all, &[]),
            ("Microsoft Basic Render Driver", Dx12, Cpu, all, &[Q::Software, Q::OldCompiler]),
            ("SwiftShader Device (Subzero)", Vulkan, Cpu, all, &[Q::Software, Q::SlowCompiler]),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", Vulkan, Cpu, clock, &[Q::Software]),
            ("Adreno (TM) 730", Vulkan, IntegratedGpu, none, &[Q::NoClock]),
            ("Apple M2", Metal, IntegratedGpu, all, &[Q::StandingClock, Q::Silent]),
        ];
        for (name, backend, kind, features, expected) in rows {
            assert_eq!(of(name, backend, kind, features, &wgpu::Limits::default()), expected, "{name} by {backend:?}");
        }
        let small = wgpu::Limits { max_compute_workgroup_storage_size: 8192, ..wgpu::Limits::default() };
        assert_eq!(of("Mali", Vulkan, IntegratedGpu, clock, &small), [Q::SmallWorkgroups]);
    }
}
