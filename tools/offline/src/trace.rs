//! A whole training step: launches, barriers, submissions, and how deep its data flow is.

use crate::error::Result;
use crate::floors::{Floors, STEP};
use crate::report;
use crate::session::{Launch, Session, Submitted};
use crate::spirv::Access;
use std::collections::HashMap;
use wgrad_catalogue::networks::{Network, Training};
use wgrad_catalogue::zoo::{ROWS, Row, Work};

/// A step and the level of each of its launches.
pub struct Trace {
    /// What was submitted.
    pub submitted: Submitted,
    /// Counted from 1: one more than the highest level among the launches that wrote what it reads.
    pub levels: Vec<usize>,
    /// The bytes that the plan says all launches read and write.
    bytes: u64,
    /// And their floating-point operations.
    flops: u64,
}

impl Trace {
    /// Of a network in training.
    ///
    /// # Errors
    /// The device's.
    pub fn of(session: &mut Session, network: Network) -> Result<Self> {
        let mut training = Training::new(network, &session.device)?;
        Self::of_steps(session, || training.step().map(drop))
    }

    /// Of a row of the benchmark of networks.
    fn of_row(session: &mut Session, row: &'static Row) -> Result<Self> {
        let mut work = Work::new(row, &session.device)?;
        Self::of_steps(session, || work.submit()?.to_vec::<f32>().map(drop))
    }

    /// The sixth step: it makes nothing that stays, and is not among the runs that a slow device has timed, which submit their copies
    /// apart. The seventh is profiled.
    fn of_steps(session: &mut Session, mut step: impl FnMut() -> wgrad::Result<()>) -> Result<Self> {
        for _ in 0..5 {
            step()?;
        }
        session.device.flush()?;
        session.take()?;
        step()?;
        session.device.flush()?;
        let submitted = session.take()?;
        let levels = levels(&submitted.launches);
        let ((), profile) = session.device.profile(step)?;
        session.take()?;
        Ok(Self { submitted, levels, bytes: profile.bytes(), flops: profile.flops() })
    }

    /// How many levels there are.
    pub fn depth(&self) -> usize {
        self.levels.iter().copied().max().unwrap_or(0)
    }

    /// The numbers that have floors.
    fn row(&self) -> [Option<f64>; 6] {
        let s = &self.submitted;
        let [launches, barriers, depth, submissions] =
            [s.launches.len(), s.barriers, self.depth(), s.submissions].map(|n| n as f64);
        [launches, barriers, depth, submissions, self.bytes as f64 / 1e6, self.flops as f64 / 1e6].map(Some)
    }
}

/// What a launch does with a range of a buffer.
struct Use {
    buffer: u64,
    from: u64,
    to: u64,
    access: Access,
}

fn uses(launch: &Launch) -> Vec<Use> {
    let known = launch.kernel.module.as_ref().ok().map(|module| module.access());
    let used = launch.dispatch.bindings.iter().filter(|b| b.uniform.is_empty()).map(|b| {
        let access = match known {
            Some(known) => known.get(&b.binding).copied().unwrap_or_default(),
            None => Access { reads: true, writes: true },
        };
        Use { buffer: b.buffer, from: b.offset, to: b.offset.saturating_add(b.bytes), access }
    });
    used.collect()
}

/// The levels of launches by their data flow: memory that is only used again makes none.
fn levels(launches: &[Launch]) -> Vec<usize> {
    flow(launches.iter().map(uses))
}

fn flow(launches: impl Iterator<Item = Vec<Use>>) -> Vec<usize> {
    let mut written: HashMap<u64, Vec<(u64, u64, usize)>> = HashMap::new();
    let levels = launches.map(|uses| {
        let read = uses.iter().filter(|u| u.access.reads);
        let before = read.flat_map(|u| {
            let ranges = written.get(&u.buffer).into_iter().flatten();
            ranges.filter(|(from, to, _)| *from < u.to && u.from < *to).map(|(.., level)| *level)
        });
        let level = 1 + before.max().unwrap_or(0);
        for u in uses.iter().filter(|u| u.access.writes) {
            let ranges = written.entry(u.buffer).or_default();
            ranges.retain(|(from, to, _)| *from < u.from || u.to < *to);
            ranges.push((u.from, u.to, level));
        }
        level
    });
    levels.collect()
}

/// Prints every launch of a step.
///
/// # Errors
/// The device's.
pub fn print(session: &mut Session, network: Network) -> Result<()> {
    let trace = Trace::of(session, network)?;
    report::header();
    trace.submitted.launches.iter().for_each(report::row);
    summary(network.name(), &trace);
    Ok(())
}

fn summary(network: &str, trace: &Trace) {
    let s = &trace.submitted;
    println!(
        "{network}: {} launches, {} barriers, {} levels, {} copies, {} submissions, {:.1} MB, {:.1} MFLOP",
        s.launches.len(),
        s.barriers,
        trace.depth(),
        s.copies,
        s.submissions,
        trace.bytes as f64 / 1e6,
        trace.flops as f64 / 1e6
    );
}

/// Measures the steps of all networks, the benchmark's among them.
///
/// # Errors
/// The device's.
pub fn measure(session: &mut Session, measured: &mut Floors) -> Result<()> {
    for network in Network::ALL {
        let trace = Trace::of(session, network)?;
        summary(network.name(), &trace);
        measured.measure(STEP, network.name(), &trace.row());
    }
    for row in &ROWS {
        let trace = Trace::of_row(session, row)?;
        let name = format!("zoo-{}", row.name);
        summary(&name, &trace);
        measured.measure(STEP, &name, &trace.row());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_data_and_not_memory() {
        let part = |buffer, from, to, reads, writes| Use { buffer, from, to, access: Access { reads, writes } };
        let launches = vec![
            // Two that write different ranges, one that reads both, one that reuses the memory, one that reads what was reused.
            vec![part(1, 0, 8, true, false), part(2, 0, 4, false, true)],
            vec![part(1, 0, 8, true, false), part(2, 4, 8, false, true)],
            vec![part(2, 0, 8, true, false), part(3, 0, 8, false, true)],
            vec![part(1, 0, 8, true, false), part(3, 0, 8, false, true)],
            vec![part(3, 2, 3, true, false), part(4, 0, 8, true, true)],
            vec![part(4, 0, 8, true, true)],
        ];
        assert_eq!(flow(launches.into_iter()), [1, 1, 2, 1, 2, 3]);
    }
}
