//! Medians over warm runs, with the devices taking turns.

use crate::cases::{Case, Job};
use std::time::{Duration, Instant};
use wgrad::{Device, Result};

/// How often measurements are repeated.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Timed samples of a case on a device.
    pub samples: usize,
    /// Fresh processes for a first step.
    pub processes: usize,
}

impl Effort {
    pub const FULL: Self = Self { samples: 25, processes: 5 };
    pub const QUICK: Self = Self { samples: 5, processes: 1 };
}

/// Runs before the first sample: the first two compile the plan and make buffers.
const WARM_UP: usize = 3;
/// A sample repeats its work for about this long and waits once, so that the wait matters little if runs are short.
const SAMPLE: Duration = Duration::from_millis(20);
const MOST_RUNS: usize = 100;

/// What one case took on one device, in milliseconds per run.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub median: f64,
    pub fastest: f64,
}

/// Times a case on every device, one sample each in turn.
pub fn interleaved(case: &Case, devices: &[Device], effort: Effort) -> Result<Vec<Timing>> {
    let mut lanes = devices.iter().map(|device| Lane::warm(case, device)).collect::<Result<Vec<_>>>()?;
    for _ in 0..effort.samples {
        for lane in &mut lanes {
            lane.sample()?;
        }
    }
    Ok(lanes.iter().map(|lane| Timing { median: median(&lane.samples), fastest: fastest(&lane.samples) }).collect())
}

/// One device's job and its samples so far.
struct Lane {
    device: Device,
    job: Job,
    /// Runs per sample.
    runs: usize,
    samples: Vec<f64>,
}

impl Lane {
    #[allow(clippy::cast_possible_truncation, reason = "a number of repetitions")]
    fn warm(case: &Case, device: &Device) -> Result<Self> {
        let mut lane = Self { device: device.clone(), job: (case.prepare)(device)?, runs: WARM_UP, samples: Vec::new() };
        lane.sample()?;
        lane.runs = 1;
        lane.sample()?;
        let once = lane.samples.pop().unwrap_or_default().max(1e-6);
        // The quotient is small and positive.
        lane.runs = ((SAMPLE.as_secs_f64() * 1e3 / once) as usize).clamp(1, MOST_RUNS);
        lane.samples.clear();
        Ok(lane)
    }

    fn sample(&mut self) -> Result<()> {
        let start = Instant::now();
        for _ in 0..self.runs {
            (self.job)()?;
        }
        self.device.flush()?;
        self.samples.push(milliseconds(start) / self.runs as f64);
        Ok(())
    }
}

/// Milliseconds since an instant.
pub fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The median; NaN if there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn fastest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
