//! A row's figures: times of steps, and memory.

use super::rows::Row;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A run ends after this long even if steps are left, with at least [`FEW`] steps.
const LONG: Duration = Duration::from_secs(10);
const FEW: usize = 5;

/// What a row took in this process. Times are in milliseconds, memory in MiB.
#[derive(Debug)]
pub struct Figures {
    pub program: &'static str,
    pub device: String,
    pub parameters: usize,
    pub times: Times,
    /// To record, plan and submit a step, without its kernels, if that is known.
    pub host: Option<f64>,
    /// The process before the model was built, where the system reports it.
    pub start_memory: Option<f64>,
    /// What the device held at its peak, if that is known.
    pub device_memory: Option<f64>,
    /// What was to be expected, if the program knows beforehand.
    pub expected: Option<Expected>,
}

/// Memory that was estimated without running, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// What is in use at the peak.
    pub peak: f64,
    /// What is held at most, caches included.
    pub held: f64,
    /// How long the estimate took, with the model that is made for it, in milliseconds.
    pub time: f64,
    /// What the process then grew by, code apart, where the system reports it.
    pub grown: Option<f64>,
}

#[derive(Debug)]
pub struct Times {
    /// Up to the first value that was read; the model was built before.
    first: f64,
    median: f64,
    least: f64,
    steps: usize,
    /// The process at its peak, where the system reports it.
    peak_memory: Option<f64>,
    /// The last loss, or an output.
    value: f64,
}

/// Times a step, which returns the value that it reads, with the given number of steps after the first.
pub fn time<E>(steps: u32, mut step: impl FnMut() -> Result<f64, E>) -> Result<Times, E> {
    let mut timed = || {
        let start = Instant::now();
        let value = step()?;
        Ok((milliseconds(start), value))
    };
    let (first, mut value) = timed()?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < steps as usize && (times.len() < FEW || start.elapsed() < LONG) {
        let (time, last) = timed()?;
        times.push(time);
        value = last;
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    Ok(Times { first, median, least, steps: times.len(), peak_memory: memory("VmHWM:"), value })
}

/// Milliseconds since an instant.
pub fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// What this process holds in memory, in MiB. Linux only.
pub fn resident() -> Option<f64> {
    memory("VmRSS:")
}

/// The part of [`resident`] that is not code.
pub fn data() -> Option<f64> {
    memory("RssAnon:")
}

/// The most that [`data`] has been, if all code that has been used is still there.
pub fn most_data() -> Option<f64> {
    Some(memory("VmHWM:")? - memory("RssFile:")?)
}

/// A line of the system's report on this process's memory.
fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: f64 = status.lines().find_map(|text| text.strip_prefix(line))?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

impl Figures {
    pub fn json(&self, row: &Row) -> Value {
        let Times { first, median, least, steps, peak_memory, value } = self.times;
        json!({
            "row": row.name, "program": self.program, "device": self.device, "parameters": self.parameters, "steps": steps,
            "first_ms": first, "median_ms": median, "least_ms": least, "host_ms": self.host, "start_mib": self.start_memory,
            "peak_mib": peak_memory, "device_peak_mib": self.device_memory, "value": value,
            "expected_peak_mib": self.expected.map(|e| e.peak), "expected_held_mib": self.expected.map(|e| e.held),
            "grown_mib": self.expected.and_then(|e| e.grown),
        })
    }

    pub fn line(&self, row: &Row) -> String {
        let Times { first, median, least, peak_memory, .. } = self.times;
        let known = |figure: Option<f64>, digits: usize| figure.map_or("-".into(), |figure| format!("{figure:.digits$}"));
        let (host, peak, device) = (known(self.host, 3), known(peak_memory, 0), known(self.device_memory, 0));
        let expected = self.expected.map_or(String::new(), |Expected { peak, held, time, grown }| {
            let exact = if self.device_memory == Some(peak) { "to the byte" } else { "NOT WHAT IT TOOK" };
            let grown = known(grown, 1);
            format!(", estimated {peak:.2} {exact} and {held:.1} with caches in {time:.0} ms, the process grew by {grown}")
        });
        format!(
            "{:20} first {first:.2} median {median:.3} least {least:.3} host {host} ms, peak {peak} MiB, on the device {device}{expected}",
            row.name
        )
    }
}
