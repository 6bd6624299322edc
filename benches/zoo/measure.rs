//! Steps with this library.

use crate::shared::figures::{Expected, Figures, data, milliseconds, most_data, resident, time};
use crate::shared::rows::Row;
use crate::work::Work;
use std::time::Instant;
use wgrad::{Device, DeviceKind, Result};

/// Steps that measure the host's part; the median counts.
const HOST_STEPS: usize = 7;
const MIB: f64 = 1024.0 * 1024.0;

/// A row's figures, from this process.
pub fn take(row: &'static Row, device: &str, steps: u32) -> Result<Figures> {
    let device = Device::named(device)?;
    let batches = Box::new(row.batches());
    let (start_memory, start_data) = (resident(), data());
    let mut work = Work::with(row, &device, batches)?;
    let parameters = work.model.parameters()?.iter().map(|p| p.shape().numel()).sum();
    let times = time(steps, || step(&mut work))?;
    let grown = most_data().zip(start_data).map(|(most, start)| most - start);
    let device_memory = Some(device.counters().bytes_peak as f64 / MIB);
    let mut host = (0..HOST_STEPS).map(|_| host(&mut work)).collect::<Result<Vec<_>>>()?;
    host.sort_by(f64::total_cmp);
    let host = Some(host[HOST_STEPS / 2]);
    drop(work);
    let expected = Some(Expected { grown, ..expected(row, &device)? });
    Ok(Figures { program: "wgrad", device: device.to_string(), parameters, times, host, start_memory, device_memory, expected })
}

/// A step, and what it reads.
fn step(work: &mut Work) -> Result<f64> {
    let value = work.submit()?;
    if work.is_training() { value.item() } else { Ok(f64::from(value.to_vec::<f32>()?[0])) }
}

/// What the row would take, from a stand-in for the device.
fn expected(row: &'static Row, device: &Device) -> Result<Expected> {
    let start = Instant::now();
    let estimate = device.memory_estimate(|device| {
        let mut work = Work::new(row, device)?;
        step(&mut work)?;
        step(&mut work)
    })?;
    Ok(Expected { peak: estimate.peak as f64 / MIB, held: estimate.held as f64 / MIB, time: milliseconds(start), grown: None })
}

/// What a step costs the host, in milliseconds. The CPU device computes while a step is submitted, in launches that a profile
/// knows. An adapter computes in parallel; the host waits for it where a step has several submissions, which is not counted
/// where the system reports the processor time of a thread.
fn host(work: &mut Work) -> Result<f64> {
    let device = work.device.clone();
    device.flush()?;
    if device.kind() == DeviceKind::Cpu {
        let (_, profile) = device.profile(|| work.submit())?;
        return Ok(profile.wall.saturating_sub(profile.time().unwrap_or_default()).as_secs_f64() * 1e3);
    }
    let (start, before) = (Instant::now(), processor_time());
    drop(work.submit()?);
    let wall = milliseconds(start);
    Ok(before.zip(processor_time()).map_or(wall, |(before, after)| after - before))
}

/// The processor time of this thread, in milliseconds. Linux only.
fn processor_time() -> Option<f64> {
    // The scheduler counts a thread's time when it may take another.
    std::thread::yield_now();
    let nanoseconds: f64 =
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}
