//! What a training step costs the host: the null device takes no time, so a step's time is that of the library and of wgpu,
//! without the driver's part.

use crate::error::Result;
use crate::session::Session;
use std::time::Instant;
use wgrad_catalogue::networks::{Network, Training};

/// Steps before those that are timed.
const WARM: usize = 5;

/// Times `count` steps of one network, or of each.
///
/// # Errors
/// The device's.
pub fn print(session: &Session, only: Option<Network>, count: usize) -> Result<()> {
    println!(
        "{:<16} {:>10} {:>8} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9}  upload, forward, backward, step, read, µs",
        "network", "parameters", "launches", "submits", "pipelines", "first, ms", "least, µs", "median", "per launch"
    );
    for network in Network::ALL.into_iter().filter(|&n| only.is_none_or(|wanted| wanted == n)) {
        time(session, network, count.max(1))?;
    }
    Ok(())
}

fn time(session: &Session, network: Network, count: usize) -> Result<()> {
    let device = &session.device;
    let mut training = Training::new(network, device)?;
    device.flush()?;
    let made = device.counters().pipelines;
    let start = Instant::now();
    training.step()?;
    let first = start.elapsed();
    for _ in 0..WARM {
        training.step()?;
    }
    let before = device.counters();
    let mut times: Vec<f64> = Vec::new();
    let mut phases: [Vec<f64>; 5] = Default::default();
    for _ in 0..count {
        let marks = training.step()?;
        times.push(marks[4]);
        let mut last = 0.0;
        for (phase, mark) in phases.iter_mut().zip(marks) {
            phase.push(mark - last);
            last = mark;
        }
    }
    let after = device.counters();
    let each = |a: u64, b: u64| (a - b) as f64 / count as f64;
    let launches = each(after.dispatches, before.dispatches);
    let middle = median(&mut times);
    println!(
        "{network:<16} {:>10} {launches:>8} {:>8.1} {:>10} {:>9.1} {:>9.0} {middle:>9.0} {:>9.2}  {}",
        training.parameters()?,
        each(after.submissions, before.submissions),
        before.pipelines - made,
        first.as_secs_f64() * 1e3,
        times[0],
        middle / launches.max(1.0),
        phases.map(|mut p| format!("{:.0}", median(&mut p))).join(", ")
    );
    for (what, a, b) in [
        ("pipelines", after.pipelines, before.pipelines),
        ("bind groups", after.bind_groups, before.bind_groups),
        ("buffers", after.buffers, before.buffers),
    ] {
        if a != b {
            println!("  not steady: {} {what} were made", a - b);
        }
    }
    Ok(())
}

/// Sorts, and gives the one in the middle.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
