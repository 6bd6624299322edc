//! A row's figures: times of steps, and memory.

use crate::rows::{Batch, Row};
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, DeviceKind, Result, Tensor, no_grad};

/// Batches in host memory, which steps take in turn.
const BATCHES: usize = 8;
/// Profiled steps, of which the least time of the host counts.
const PROFILED: usize = 5;
/// A run ends after this long even if steps are left, with at least [`FEW`] steps.
const LONG: Duration = Duration::from_secs(10);
const FEW: usize = 5;

/// What a row took in this process. Times are in milliseconds, memory in MiB.
#[derive(Debug)]
pub struct Figures {
    device: String,
    parameters: usize,
    steps: usize,
    /// Up to the first value that was read; the model was built before.
    first: f64,
    median: f64,
    least: f64,
    /// To record, plan and submit a step, without its kernels.
    host: f64,
    /// The process before the model was built, and at its peak; where the system reports it.
    start_memory: Option<f64>,
    peak_memory: Option<f64>,
    /// What the device held at its peak.
    device_memory: f64,
    /// The last loss, or an output.
    value: f64,
}

impl Figures {
    pub fn take(row: &'static Row, device: &str, steps: u32) -> Result<Self> {
        let device = Device::named(device)?;
        let start_memory = memory("VmRSS:");
        let mut work = Work::new(row, &device)?;
        let parameters = work.model.parameters()?.iter().map(|p| p.shape().numel()).sum();
        let first = work.step()?.total;
        let (mut totals, mut submits, mut value) = (Vec::new(), Vec::new(), f64::NAN);
        let start = Instant::now();
        while totals.len() < steps as usize && (totals.len() < FEW || start.elapsed() < LONG) {
            let step = work.step()?;
            totals.push(step.total);
            submits.push(step.submit);
            value = step.value;
        }
        let (peak_memory, device_memory) = (memory("VmHWM:"), device.counters().bytes_peak as f64 / MIB);
        submits.sort_by(f64::total_cmp);
        totals.sort_by(f64::total_cmp);
        // The CPU device computes while a step is submitted, an adapter after that.
        let host = if device.kind() == DeviceKind::Cpu { work.host()? } else { submits[submits.len() / 2] };
        Ok(Self {
            device: device.to_string(),
            parameters,
            steps: totals.len(),
            first,
            median: totals[totals.len() / 2],
            least: totals[0],
            host,
            start_memory,
            peak_memory,
            device_memory,
            value,
        })
    }

    pub fn json(&self, row: &Row) -> Value {
        json!({
            "row": row.name, "program": "wgrad", "device": self.device, "parameters": self.parameters, "steps": self.steps,
            "first_ms": self.first, "median_ms": self.median, "least_ms": self.least, "host_ms": self.host,
            "start_mib": self.start_memory, "peak_mib": self.peak_memory, "device_peak_mib": self.device_memory,
            "value": self.value,
        })
    }

    pub fn line(&self, row: &Row) -> String {
        let Self { first, median, least, host, device_memory, .. } = self;
        let peak = self.peak_memory.map_or("-".into(), |mib| format!("{mib:.0}"));
        format!(
            "{:20} first {first:.2} median {median:.3} least {least:.3} host {host:.3} ms, peak {peak} MiB, on the device \
             {device_memory:.0}",
            row.name
        )
    }
}

const MIB: f64 = 1024.0 * 1024.0;

/// A line of the system's report on this process's memory, in MiB. Linux only.
fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: f64 = status.lines().find_map(|text| text.strip_prefix(line))?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// A row's network and its batches.
struct Work {
    row: &'static Row,
    device: Device,
    model: Box<dyn Module>,
    adam: Option<Adam>,
    batches: Vec<Batch>,
    next: usize,
}

/// What one step took, in milliseconds.
struct Step {
    /// Until it was submitted.
    submit: f64,
    /// Until its value had been read.
    total: f64,
    value: f64,
}

impl Work {
    fn new(row: &'static Row, device: &Device) -> Result<Self> {
        let model = row.network.build(&Init::new(device, 0))?;
        let params = model.parameters()?;
        let adam = if row.is_training() {
            Some(Adam::new(&params, AdamConfig::default())?)
        } else {
            model.eval();
            None
        };
        let values: Vec<Tensor> = params.iter().map(|p| p.tensor().detach()).collect();
        Tensor::eval_all(&values.iter().collect::<Vec<_>>())?;
        device.flush()?;
        let mut rng = Rng::with_seed(0);
        let batches = (0..BATCHES).map(|_| row.batch(&mut rng)).collect();
        Ok(Self { row, device: device.clone(), model, adam, batches, next: 0 })
    }

    /// One step: a batch is uploaded, and the loss or the outputs are read.
    fn step(&mut self) -> Result<Step> {
        let batch = &self.batches[self.next % self.batches.len()];
        self.next += 1;
        let start = Instant::now();
        let milliseconds = || start.elapsed().as_secs_f64() * 1e3;
        let x = self.row.input(batch, &self.device)?;
        if let Some(adam) = &mut self.adam {
            let loss = self.row.loss(&self.model.forward(&x)?, batch, &self.device)?;
            adam.step(loss.backward()?)?;
            let submit = milliseconds();
            let value = loss.item()?;
            Ok(Step { submit, total: milliseconds(), value })
        } else {
            let y = no_grad(|| self.model.forward(&x))?;
            y.eval()?;
            let submit = milliseconds();
            let outputs = y.to_vec::<f32>()?;
            Ok(Step { submit, total: milliseconds(), value: f64::from(outputs[0]) })
        }
    }

    /// The host's part of a step whose kernels run in this thread: all but the launches.
    fn host(&mut self) -> Result<f64> {
        let mut least = f64::INFINITY;
        let device = self.device.clone();
        for _ in 0..PROFILED {
            let (step, profile) = device.profile(|| self.step())?;
            least = least.min(step.total - profile.time().unwrap_or_default().as_secs_f64() * 1e3);
        }
        Ok(least)
    }
}
