//! The first training step of a fresh process: opening the device, compiling the plan, creating pipelines.

use crate::measure::{Effort, median, milliseconds};
use crate::networks::{Network, Training};
use crate::{Failure, Target};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Instant;
use wgrad::{Device, DeviceKind};

/// Keeps drivers from reading or writing compiled shaders on disk: Mesa's switch and NVIDIA's.
const NO_SHADER_CACHE: [(&str, &str); 2] = [("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")];

/// What a process measures, under the names in its report.
const FIGURES: [&str; 5] = ["open_ms", "build_ms", "first_ms", "second_ms", "peak_rss_mib"];

/// Medians over processes.
#[derive(Debug)]
pub struct FirstStep {
    pub network: Network,
    /// Index of the device.
    pub target: usize,
    /// Whether the driver could load shaders that an earlier process compiled.
    pub warm_cache: bool,
    /// Opening the device, in ms.
    pub open: f64,
    /// Making the model and the optimizer, in ms.
    pub build: f64,
    /// The first step and the second, each with its loss read, in ms.
    pub first: f64,
    pub second: f64,
    /// The peak memory of the process, in MiB; NaN if the system does not report it.
    pub peak_rss: f64,
}

/// The child process: runs two steps and prints the figures as JSON.
pub fn take(network: Network, selector: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let device = Device::named(selector)?;
    let open = milliseconds(start);
    let start = Instant::now();
    let mut training = Training::new(network, &device)?;
    device.flush()?;
    let build = milliseconds(start);
    let start = Instant::now();
    training.step()?;
    let first = milliseconds(start);
    let start = Instant::now();
    training.step()?;
    let second = milliseconds(start);
    let figures = [Some(open), Some(build), Some(first), Some(second), peak_rss()];
    println!("{}", FIGURES.iter().zip(figures).map(|(name, figure)| (*name, json!(figure))).collect::<Value>());
    Ok(())
}

/// The peak resident set of this process, in MiB. Linux only.
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Each network on each device, without and with the driver's cache of shaders.
pub fn all(targets: &[Target], effort: Effort) -> Result<Vec<FirstStep>, Failure> {
    let mut rows = Vec::new();
    for network in Network::ALL {
        for (index, target) in targets.iter().enumerate() {
            // The CPU device compiles no shaders.
            let caches: &[bool] = if target.device.kind() == DeviceKind::Cpu { &[true] } else { &[false, true] };
            for &warm_cache in caches {
                eprintln!("first step: {network}, {}, shader cache {}", target.device, if warm_cache { "warm" } else { "off" });
                if warm_cache {
                    spawn(network, &target.selector, true)?;
                }
                let runs =
                    (0..effort.processes).map(|_| spawn(network, &target.selector, warm_cache)).collect::<Result<Vec<_>, _>>()?;
                let [open, build, first, second, peak_rss] =
                    std::array::from_fn(|i| median(&runs.iter().map(|run| run[i]).collect::<Vec<_>>()));
                rows.push(FirstStep { network, target: index, warm_cache, open, build, first, second, peak_rss });
            }
        }
    }
    Ok(rows)
}

/// One process's figures, in the order of [`FIGURES`].
fn spawn(network: Network, selector: &str, warm_cache: bool) -> Result<[f64; 5], Failure> {
    let failed = |reason: String| Failure::Run(format!("first step of {network} on device {selector}: {reason}"));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--first-step", network.argument(), "--device", selector]);
    for (name, value) in NO_SHADER_CACHE {
        if warm_cache {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let figures: Value = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(FIGURES.map(|name| figures[name].as_f64().unwrap_or(f64::NAN)))
}
