//! Adapters: what GPUs and drivers there are, each GPU once, in the same order for the life of the process.
//!
//! A driver's order says little: laptops often list the slow GPU first, and Windows lists each GPU for Vulkan and for DX12. So
//! adapters are sorted (discrete, integrated, virtual, software; Vulkan before DX12), those of the same GPU share an entry, and
//! the list is kept, so that what was listed is what is opened.

use super::quirks::{self, Quirk};
use crate::error::{Error, Result};
use crate::sync::lock;
use std::fmt;
use std::sync::Mutex;

/// The APIs that this crate drives.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// What an adapter says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterSummary {
    /// Opens it through [`super::context::open`]; the same as long as the process lives.
    pub id: usize,
    /// The adapter under which its GPU is listed: itself, or another through which the same GPU can be reached.
    pub listed_as: usize,
    /// The adapter's name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// What sort of device it is.
    pub kind: AdapterKind,
    /// The driver's name and version.
    pub driver: String,
    /// Limits and features that matter here, as (name, value).
    pub limits: Vec<(&'static str, String)>,
    /// What it lacks or does wrong.
    pub quirks: Vec<Quirk>,
    /// For one that is listed: other backends and drivers through which the same GPU can be reached.
    pub also: Vec<String>,
}

impl AdapterSummary {
    /// Whether its GPU is listed under it.
    pub fn is_listed(&self) -> bool {
        self.listed_as == self.id
    }

    /// Whether it computes on the host's cores.
    pub fn is_software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

/// Sorts of adapters, the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AdapterKind {
    /// A card with memory of its own.
    Discrete,
    /// Shares the host's memory.
    Integrated,
    /// Lent by a virtual machine's host.
    Virtual,
    /// Unknown.
    Other,
    /// Runs on the host's cores (lavapipe, SwiftShader, WARP).
    Software,
}

impl From<wgpu::DeviceType> for AdapterKind {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            wgpu::DeviceType::IntegratedGpu => Self::Integrated,
            wgpu::DeviceType::VirtualGpu => Self::Virtual,
            wgpu::DeviceType::Other => Self::Other,
            wgpu::DeviceType::Cpu => Self::Software,
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "unknown",
            Self::Software => "software",
        })
    }
}

/// An adapter and what it says.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub adapter: wgpu::Adapter,
    pub summary: AdapterSummary,
}

/// The instance and what it found.
#[derive(Debug)]
struct Registry {
    instance: wgpu::Instance,
    found: Vec<Found>,
}

/// What users ask of the choice through wgpu's own variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wishes<'a> {
    /// `WGPU_POWER_PREF=low`: integrated GPUs before discrete ones.
    pub low_power: bool,
    /// `WGPU_ADAPTER_NAME`: adapters with this in their names first.
    pub name: Option<&'a str>,
}

/// Every adapter of this machine, in order, including those that are listed under another one.
pub(crate) fn list() -> Vec<AdapterSummary> {
    with(|registry| registry.found.iter().map(|f| f.summary.clone()).collect())
}

/// The adapter of this number.
pub(super) fn get(id: usize) -> Result<Found> {
    with(|registry| {
        registry.found.get(id).cloned().ok_or_else(|| Error::NoDevice {
            wanted: format!("adapter {id}"),
            reason: format!("{} adapters were found", registry.found.len()),
            help: "install a Vulkan, Metal or DX12 driver (lavapipe works without a GPU), or use the CPU device".into(),
        })
    })
}

/// Looks for one adapter once more, and for no other; `None` if it is gone.
pub(super) fn refresh(id: usize) -> Option<Found> {
    with(|registry| {
        let wanted = registry.found.get(id)?.adapter.get_info();
        // Of equal cards, the n-th is the n-th again.
        let nth = registry.found[..id].iter().filter(|f| identity(&f.adapter.get_info()) == identity(&wanted)).count();
        let now = enumerate(&registry.instance);
        let again = now.into_iter().filter(|a| identity(&a.get_info()) == identity(&wanted)).nth(nth)?;
        registry.found[id].adapter = again;
        Some(registry.found[id].clone())
    })
}

/// What identifies an adapter.
fn identity(info: &wgpu::AdapterInfo) -> (wgpu::Backend, u32, u32, &str, &str, &str) {
    (info.backend, info.vendor, info.device, &info.name, &info.device_pci_bus_id, &info.driver)
}

fn with<T>(work: impl FnOnce(&mut Registry) -> T) -> T {
    static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);
    #[cfg(test)]
    if let Some(pretended) = pretended() {
        return work(&mut pretend(pretended));
    }
    work(lock(&REGISTRY).get_or_insert_with(Registry::new))
}

impl Registry {
    fn new() -> Self {
        // WGPU_BACKEND, WGPU_DEBUG, WGPU_VALIDATION, WGPU_DX12_COMPILER and their like.
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        if wgpu::Backends::from_env().is_none() {
            descriptor.backends = BACKENDS;
        } else if !BACKENDS.contains(descriptor.backends) {
            log::warn!(target: "wgrad::device", "WGPU_BACKEND: wgrad runs only on vulkan, metal and dx12");
        }
        descriptor.backends &= BACKENDS;
        let compiler = &mut descriptor.backend_options.dx12.shader_compiler;
        *compiler = available(compiler.clone());
        let instance = wgpu::Instance::new(descriptor);
        let low_power = wgpu::PowerPreference::from_env() == Some(wgpu::PowerPreference::LowPower);
        let name = std::env::var("WGPU_ADAPTER_NAME").ok();
        let found = arrange(enumerate(&instance), Wishes { low_power, name: name.as_deref() });
        for Found { summary: a, .. } in &found {
            let what = if a.is_listed() { "found" } else { "found again" };
            log::debug!(target: "wgrad::device", "{what}: {} ({}, {}, {})", a.name, a.kind, a.backend, a.driver);
        }
        Self { instance, found }
    }
}

/// The compiler for DX12: `dxcompiler.dll` where it is found (beside the program, or on the path), else FXC, unless another is
/// asked for that this build has.
fn available(wanted: wgpu::Dx12Compiler) -> wgpu::Dx12Compiler {
    match wanted {
        // wgpu panics where DXC is not linked in, which takes a feature that this crate does not turn on.
        wgpu::Dx12Compiler::StaticDxc => {
            log::warn!(target: "wgrad::device", "WGPU_DX12_COMPILER: DXC is not linked in; taking dxcompiler.dll if it is found, else FXC");
            wgpu::Dx12Compiler::Auto
        }
        other => other,
    }
}

fn enumerate(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
}

/// Sorts adapters and finds out which are the same GPU.
fn arrange(adapters: Vec<wgpu::Adapter>, wishes: Wishes<'_>) -> Vec<Found> {
    let infos: Vec<wgpu::AdapterInfo> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let places = places(&infos, wishes);
    let mut adapters: Vec<Option<wgpu::Adapter>> = adapters.into_iter().map(Some).collect();
    let mut found: Vec<Found> = Vec::with_capacity(adapters.len());
    for (id, place) in places.iter().enumerate() {
        let Some(adapter) = adapters[place.adapter].take() else { continue };
        let mut summary = describe(&adapter, id);
        if let Some(first) = place.same_as {
            summary.listed_as = first;
            let first = &mut found[first].summary;
            let by = if first.backend == summary.backend { summary.driver.clone() } else { summary.backend.clone() };
            first.also.push(by);
        }
        found.push(Found { adapter, summary });
    }
    found
}

/// Where an adapter goes in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its position in the drivers' order.
    pub adapter: usize,
    /// The place in the list of the one under which its GPU is listed.
    pub same_as: Option<usize>,
}

/// The order of adapters, and which of them are the same GPU: those with the same PCI address; else the n-th of a model on one
/// backend and the n-th on another.
pub(super) fn places(infos: &[wgpu::AdapterInfo], wishes: Wishes<'_>) -> Vec<Place> {
    let rank = |info: &wgpu::AdapterInfo| {
        let named = wishes.name.is_some_and(|name| info.name.to_lowercase().contains(&name.to_lowercase()));
        let kind = match AdapterKind::from(info.device_type) {
            AdapterKind::Discrete if wishes.low_power => AdapterKind::Integrated,
            AdapterKind::Integrated if wishes.low_power => AdapterKind::Discrete,
            other => other,
        };
        let backend = match info.backend {
            wgpu::Backend::Vulkan => 0,
            wgpu::Backend::Metal => 1,
            _ => 2,
        };
        (!named, kind, backend)
    };
    let mut order: Vec<usize> = (0..infos.len()).collect();
    order.sort_by_key(|&i| rank(&infos[i]));
    let mut places: Vec<Place> = Vec::with_capacity(order.len());
    for &i in &order {
        let same_as = places.iter().position(|p| p.same_as.is_none() && one_gpu(infos, p.adapter, i));
        places.push(Place { adapter: i, same_as });
    }
    places
}

/// Whether two adapters are the same GPU.
fn one_gpu(infos: &[wgpu::AdapterInfo], a: usize, b: usize) -> bool {
    let (first, second) = (&infos[a], &infos[b]);
    let (here, there) = (&first.device_pci_bus_id, &second.device_pci_bus_id);
    if !here.is_empty() && !there.is_empty() {
        return here == there;
    }
    let model = |x: &wgpu::AdapterInfo, y: &wgpu::AdapterInfo| {
        x.name == y.name || (x.device != 0 && (x.vendor, x.device) == (y.vendor, y.device))
    };
    // How many of the model the backend listed before.
    let nth = |i: usize| infos[..i].iter().filter(|x| x.backend == infos[i].backend && model(x, &infos[i])).count();
    first.backend != second.backend && model(first, second) && nth(a) == nth(b)
}

fn describe(adapter: &wgpu::Adapter, id: usize) -> AdapterSummary {
    let (info, offered, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let has = |f: wgpu::Features| if features.contains(f) { "yes" } else { "no" }.to_owned();
    let limits = vec![
        ("storage buffers per kernel", offered.max_storage_buffers_per_shader_stage.to_string()),
        ("bytes per binding", offered.max_storage_buffer_binding_size.to_string()),
        ("bytes per buffer", offered.max_buffer_size.to_string()),
        ("invocations per workgroup", offered.max_compute_invocations_per_workgroup.to_string()),
        ("workgroup memory, bytes", offered.max_compute_workgroup_storage_size.to_string()),
        ("workgroups per dimension", offered.max_compute_workgroups_per_dimension.to_string()),
        ("binding alignment, bytes", offered.min_storage_buffer_offset_alignment.to_string()),
        ("uniform alignment, bytes", offered.min_uniform_buffer_offset_alignment.to_string()),
        ("subgroup sizes", format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size)),
        ("timestamps", has(wgpu::Features::TIMESTAMP_QUERY)),
        ("f16 arithmetic", has(wgpu::Features::SHADER_F16)),
    ];
    let quirks = quirks::of(&info.name, info.backend, info.device_type, features, &offered);
    AdapterSummary {
        id,
        listed_as: id,
        backend: info.backend.to_string(),
        kind: info.device_type.into(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        name: info.name,
        limits,
        quirks,
        also: Vec::new(),
    }
}

/// The adapter that a text names: `best` (the first hardware GPU, else the first software adapter), `gpu`, `software`, a position
/// in the list of GPUs, or part of a name, in any case.
///
/// # Errors
/// Nothing matches.
#[cfg(feature = "lab")]
pub(crate) fn find(wanted: &str) -> Result<usize> {
    let lower = wanted.trim().to_lowercase();
    let list: Vec<AdapterSummary> = list().into_iter().filter(AdapterSummary::is_listed).collect();
    let of = |software: bool| list.iter().find(|a| a.is_software() == software);
    let found = match lower.as_str() {
        "best" => of(false).or(of(true)),
        "gpu" => of(false),
        "software" => of(true),
        text => match text.parse::<usize>() {
            Ok(index) => list.get(index),
            Err(_) => list.iter().find(|a| !text.is_empty() && a.name.to_lowercase().contains(text)),
        },
    };
    found.map(|a| a.id).ok_or_else(|| Error::NoDevice {
        wanted: wanted.into(),
        reason: format!("the adapters are {:?}", list.iter().map(|a| &a.name).collect::<Vec<_>>()),
        help: "use best, gpu, software, a number, or part of a name".into(),
    })
}

/// What tests see in place of this machine's adapters: wgpu's `noop` backend, which validates everything and computes nothing.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pretended {
    /// What sort of device it says it is.
    pub kind: AdapterKind,
    /// Whether it refuses to open.
    pub refuses: bool,
}

#[cfg(test)]
thread_local! {
    static PRETENDED: std::cell::Cell<Option<Pretended>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn pretended() -> Option<Pretended> {
    PRETENDED.get()
}

/// Whether the only adapter of this thread is one that refuses to open.
#[cfg(test)]
pub(super) fn refuses() -> bool {
    pretended().is_some_and(|p| p.refuses)
}

#[cfg(test)]
fn pretend(pretended: Pretended) -> Registry {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.backend_options.noop.enable = true;
    descriptor.backend_options.noop.limits = Some(wgpu::Limits::default());
    let instance = wgpu::Instance::new(descriptor);
    let mut found = arrange(enumerate(&instance), Wishes::default());
    found.iter_mut().for_each(|f| f.summary.kind = pretended.kind);
    Registry { instance, found }
}

/// What `open` returns when the `noop` backend, with WebGPU's default limits, is the only adapter and counts as a software
/// adapter.
#[cfg(test)]
pub(crate) fn with_noop<T>(open: impl FnOnce() -> T) -> T {
    with_pretended(Pretended { kind: AdapterKind::Software, refuses: false }, open)
}

/// What `work` returns when this is the only adapter.
#[cfg(test)]
pub(crate) fn with_pretended<T>(pretended: Pretended, work: impl FnOnce() -> T) -> T {
    PRETENDED.set(Some(pretended));
    let done = work();
    PRETENDED.set(None);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::{Backend, DeviceType};

    fn adapter(name: &str, kind: DeviceType, backend: Backend, device: u32, bus: &str) -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(kind, backend);
        (info.name, info.vendor, info.device, info.device_pci_bus_id) = (name.into(), 0x10de, device, bus.into());
        info
    }

    #[test]
    fn dx12_compiles_by_dxc_where_there_is_one() {
        use wgpu::Dx12Compiler::{Auto, DynamicDxc, Fxc, StaticDxc};
        // What is taken without a variable: the library where it is found, else FXC.
        assert!(matches!(available(wgpu::Dx12BackendOptions::default().shader_compiler), Auto));
        assert!(matches!(available("fxc".parse().unwrap()), Fxc));
        assert!(matches!(available("dxc".parse().unwrap()), DynamicDxc { .. }));
        assert!(matches!(available("staticdxc".parse().unwrap()), Auto), "{StaticDxc:?} is not linked in");
    }

    #[test]
    fn adapters_are_sorted_and_each_gpu_is_listed_once() {
        use Backend::{Dx12, Metal, Vulkan};
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, VirtualGpu};
        let laptop = || {
            vec![
                adapter("Intel", IntegratedGpu, Vulkan, 1, ""),
                adapter("llvmpipe", Cpu, Vulkan, 0, ""),
                adapter("GeForce", DiscreteGpu, Vulkan, 2, ""),
            ]
        };
        let windows = vec![
            adapter("Radeon RX", DiscreteGpu, Dx12, 7, ""),
            adapter("Basic Render Driver", Cpu, Dx12, 140, ""),
            adapter("AMD Radeon RX", DiscreteGpu, Vulkan, 7, ""),
        ];
        let twins = vec![
            adapter("A", DiscreteGpu, Vulkan, 5, ""),
            adapter("A", DiscreteGpu, Vulkan, 5, ""),
            adapter("A", DiscreteGpu, Dx12, 5, ""),
            adapter("A", DiscreteGpu, Dx12, 5, ""),
        ];
        let drivers = vec![
            adapter("RX (RADV)", DiscreteGpu, Vulkan, 7, "0000:01:00.0"),
            adapter("RX", DiscreteGpu, Vulkan, 7, "0000:01:00.0"),
            adapter("RX", DiscreteGpu, Vulkan, 7, "0000:02:00.0"),
        ];
        let software = vec![
            adapter("llvmpipe", Cpu, Dx12, 0, ""),
            adapter("llvmpipe", Cpu, Vulkan, 0, ""),
            adapter("SwiftShader", Cpu, Vulkan, 0, ""),
            adapter("Venus", VirtualGpu, Vulkan, 0, ""),
        ];
        let low = Wishes { low_power: true, ..Wishes::default() };
        let named = Wishes { name: Some("LLVM"), ..low };
        type Row<'a> = (&'a str, Vec<wgpu::AdapterInfo>, Wishes<'a>, &'a [(usize, Option<usize>)]);
        let rows: [Row<'_>; 9] = [
            ("no adapter", vec![], Wishes::default(), &[]),
            ("one adapter", vec![adapter("M3", IntegratedGpu, Metal, 0, "")], Wishes::default(), &[(0, None)]),
            ("a laptop", laptop(), Wishes::default(), &[(2, None), (0, None), (1, None)]),
            ("a laptop on low power", laptop(), low, &[(0, None), (2, None), (1, None)]),
            ("a laptop, by name", laptop(), named, &[(1, None), (0, None), (2, None)]),
            ("Windows", windows, Wishes::default(), &[(2, None), (0, Some(0)), (1, None)]),
            ("two equal cards", twins, Wishes::default(), &[(0, None), (1, None), (2, Some(0)), (3, Some(1))]),
            ("two drivers", drivers, Wishes::default(), &[(0, None), (1, Some(0)), (2, None)]),
            ("software", software, Wishes::default(), &[(3, None), (1, None), (2, None), (0, Some(1))]),
        ];
        for (what, infos, wishes, expected) in rows {
            let got: Vec<_> = places(&infos, wishes).iter().map(|p| (p.adapter, p.same_as)).collect();
            assert_eq!(got, expected, "{what}");
        }
    }

    #[test]
    fn adapters_keep_their_numbers() {
        let before = list();
        for (n, adapter) in before.iter().enumerate() {
            assert!(adapter.id == n && adapter.listed_as <= n, "{adapter:?}");
            assert_eq!(refresh(n).map(|found| found.summary).as_ref(), Some(adapter));
        }
        assert_eq!(list(), before);
        assert!(refresh(before.len()).is_none() && get(before.len()).is_err());
    }
}
