//! Which device a text names, and which one is chosen without any.

use crate::error::{Error, Result};
use crate::gpu::adapters::{self, AdapterSummary};
use crate::lazy::DeviceKind;
use std::ffi::OsStr;
use std::fmt;

#[cfg(not(feature = "gpu"))]
const GET_A_GPU: &str = "this build has only the CPU device: build wgrad with its default features";

#[cfg(not(feature = "gpu"))]
const GET_SOFTWARE: &str = GET_A_GPU;

#[cfg(feature = "gpu")]
const GET_A_GPU: &str = "install the GPU vendor's Vulkan driver, or use `software` or `cpu`";

#[cfg(feature = "gpu")]
const GET_SOFTWARE: &str = "install Mesa's Vulkan drivers (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers`), or use `cpu`";

const NAME_ONE: &str = "use best, gpu, software or cpu, an index, part of a name, or an API and one of these (dx12:nvidia), from \
     the list (`cargo run --example devices`)";

/// The APIs that a name may begin with.
const BACKENDS: [&str; 3] = ["vulkan", "metal", "dx12"];

/// What [`Device::list`](crate::Device::list) says about a device, without opening it. `Display` writes all but the limits, in
/// one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Position in the list (that of its GPU, if it is listed for another API); a name that
    /// [`Device::named`](crate::Device::named) takes.
    pub index: usize,
    /// The kind.
    pub kind: DeviceKind,
    /// The adapter's name.
    pub name: String,
    /// The graphics API (`vulkan`, `metal`, `dx12`), or `native`.
    pub backend: String,
    /// Other APIs and drivers through which the same GPU can be reached: [`Device::named`](crate::Device::named) takes `dx12:`
    /// and part of the name.
    pub also: Vec<String>,
    /// The driver and its version.
    pub driver: String,
    /// Limits and features that matter here, as (name, value).
    pub limits: Vec<(&'static str, String)>,
    /// What it lacks or is known to do wrong, and what this crate does because of it.
    pub quirks: Vec<(&'static str, &'static str)>,
    /// Its adapter; none for the CPU device.
    pub(super) adapter: Option<usize>,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, name, backend, driver, .. } = self;
        let driver = if driver.is_empty() { String::new() } else { format!(", {driver}") };
        write!(f, "{index}: {name} ({kind}, {backend}{driver})")
    }
}

/// What [`Device::best`](crate::Device::best) opens, and why. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// The device.
    pub device: DeviceInfo,
    /// Why this one, such as `the first hardware GPU`.
    pub reason: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.device.name, self.device.backend, self.reason)
    }
}

/// The first device of a kind.
pub(super) fn first(kind: DeviceKind) -> Result<DeviceInfo> {
    let list = list();
    let found = list.iter().find(|d| d.kind == kind).cloned();
    found.ok_or_else(|| no_device(&kind.to_string(), &list))
}

/// What the variable names, else the first hardware GPU, else the CPU device.
pub(super) fn best(variable: Option<&OsStr>) -> Result<Choice> {
    let Some(raw) = variable else { return unasked() };
    let Some(wanted) = raw.to_str() else {
        let reason = "the variable WGRAD_DEVICE is not UTF-8".to_owned();
        return Err(Error::NoDevice { wanted: raw.to_string_lossy().into(), reason, help: NAME_ONE.into() });
    };
    if ["", "best"].contains(&&*wanted.trim().to_lowercase()) {
        return unasked();
    }
    match named(wanted) {
        Ok(device) => Ok(Choice { device, reason: format!("WGRAD_DEVICE={wanted} asks for it") }),
        Err(Error::NoDevice { wanted, reason, help }) => {
            Err(Error::NoDevice { wanted, reason: format!("the variable WGRAD_DEVICE asks for it; {reason}"), help })
        }
        Err(other) => Err(other),
    }
}

/// What is chosen when no device is asked for.
fn unasked() -> Result<Choice> {
    let list = list();
    let gpus = list.iter().filter(|d| d.kind == DeviceKind::Gpu).count();
    let software = list.iter().any(|d| d.kind == DeviceKind::Software);
    let (kind, reason) = match gpus {
        0 if software => (DeviceKind::Cpu, "there is no hardware GPU, and software adapters are slower".to_owned()),
        0 => (DeviceKind::Cpu, "there is no GPU".to_owned()),
        1 => (DeviceKind::Gpu, "the only hardware GPU".to_owned()),
        n => (DeviceKind::Gpu, format!("the first of {n} hardware GPUs")),
    };
    let device = list.iter().find(|d| d.kind == kind).cloned();
    let device = device.ok_or_else(|| no_device(&kind.to_string(), &list))?;
    Ok(Choice { device, reason })
}

/// Whether a text names the CPU device by its kind. That needs no list of adapters, which takes Vulkan's loader 25 ms and 60 MiB.
pub(super) fn is_cpu(wanted: &str) -> bool {
    wanted.trim().eq_ignore_ascii_case("cpu")
}

/// What a text names: see [`Device::named`](crate::Device::named).
pub(super) fn named(wanted: &str) -> Result<DeviceInfo> {
    let lower = wanted.trim().to_lowercase();
    let list = list();
    let missing = || no_device(wanted, &list);
    let kind = |text: &str| match text {
        "gpu" => Some(DeviceKind::Gpu),
        "software" => Some(DeviceKind::Software),
        "cpu" => Some(DeviceKind::Cpu),
        _ => None,
    };
    if lower == "best" {
        return unasked().map(|choice| choice.device);
    }
    if let Some(kind) = kind(&lower) {
        return list.iter().find(|d| d.kind == kind).cloned().ok_or_else(missing);
    }
    // Every name contains the empty text, which is not an index either; digits in names are a model or a count of threads.
    if lower.chars().all(|c| c.is_ascii_digit()) {
        return lower.parse().ok().and_then(|i: usize| list.get(i)).cloned().ok_or_else(missing);
    }
    let index = |a: &AdapterSummary| list.iter().position(|d| d.adapter == Some(a.listed_as)).unwrap_or(list.len());
    let all: Vec<DeviceInfo> = adapters::list().into_iter().map(|a| (index(&a), a)).map(|(index, a)| info(a, index)).collect();
    let (api, rest) = lower.split_once(':').unwrap_or((&lower, ""));
    let found = if BACKENDS.contains(&api) {
        let rest = rest.trim();
        let fits = |d: &DeviceInfo| match kind(rest) {
            Some(kind) => d.kind == kind,
            None => d.name.to_lowercase().contains(rest),
        };
        all.into_iter().find(|d| d.backend == api && fits(d))
    } else {
        let by_driver = |d: &DeviceInfo| d.driver.to_lowercase().contains(&lower);
        list.iter().find(|d| d.name.to_lowercase().contains(&lower)).cloned().or_else(|| all.into_iter().find(by_driver))
    };
    found.ok_or_else(missing)
}

/// The devices of this machine, each once.
pub(super) fn list() -> Vec<DeviceInfo> {
    let primary = adapters::list().into_iter().filter(AdapterSummary::is_listed);
    let mut list: Vec<DeviceInfo> = primary.enumerate().map(|(index, a)| info(a, index)).collect();
    list.push(DeviceInfo {
        index: list.len(),
        kind: DeviceKind::Cpu,
        name: cpu_name(),
        backend: "native".into(),
        also: Vec::new(),
        driver: String::new(),
        limits: Vec::new(),
        quirks: Vec::new(),
        adapter: None,
    });
    list
}

fn info(a: AdapterSummary, index: usize) -> DeviceInfo {
    let kind = if a.is_software() { DeviceKind::Software } else { DeviceKind::Gpu };
    let AdapterSummary { name, backend, also, driver, mut limits, .. } = a;
    limits.insert(0, ("sort", a.kind.to_string()));
    let quirks = a.quirks.iter().map(|quirk| quirk.text()).collect();
    DeviceInfo { index, kind, name, backend, also, driver, limits, quirks, adapter: Some(a.id) }
}

pub(super) fn cpu_name() -> String {
    format!("CPU, {} threads", std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// The most devices that an error lists.
const SHOWN: usize = 5;

fn no_device(wanted: &str, list: &[DeviceInfo]) -> Error {
    let found = list.iter().take(SHOWN).map(|d| format!("{}: {} ({})", d.index, d.name, d.kind));
    let mut found = found.collect::<Vec<_>>().join("; ");
    if list.len() > SHOWN {
        found += &format!("; and {} more", list.len() - SHOWN);
    }
    let help = match wanted.trim().to_lowercase().as_str() {
        "gpu" => GET_A_GPU,
        "software" => GET_SOFTWARE,
        _ => NAME_ONE,
    };
    Error::NoDevice { wanted: wanted.into(), reason: format!("there is {found}"), help: help.into() }
}
