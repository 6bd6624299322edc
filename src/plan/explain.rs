//! Plans as text: one line per kernel.

use super::{Kernel, Place, Plan};
use std::fmt::Write;

/// How long a launch took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LaunchTime {
    /// The plan's step that it belongs to.
    pub step: usize,
    /// The kernel variant's name.
    pub name: String,
    /// Workgroups.
    pub grid: [u32; 3],
    /// Time on the device.
    pub seconds: f64,
}

impl Plan {
    /// The launches as a table: kernel, result, level, place, arithmetic, traffic.
    pub fn explain(&self) -> String {
        let mut out =
            format!("{:>3} {:>5}  {:<20} {:<14} {:>12} {:>10}  {}\n", "#", "level", "kernel", "writes", "FLOP", "bytes", "reads");
        let place = |b: usize| match self.buffers[b].place {
            Place::Leaf(n) => format!("leaf {n}"),
            Place::Slot(n) => format!("slot {n}"),
            Place::Output(n) => format!("output {n}"),
            Place::Gradient { entry, .. } => format!("gradient {entry}"),
        };
        for (i, step) in self.steps.iter().enumerate() {
            let reads: Vec<String> = step.reads.iter().map(|&b| place(b)).collect();
            let write = step.write.map_or_else(|| "parameters".into(), place);
            let name = match &step.kernel {
                Kernel::Elementwise(e) => format!("elementwise[{}]", e.terms.len()),
                Kernel::MatMul(m) => format!("matmul {}x{}x{}", m.m, m.n, m.k),
                k => k.name().to_owned(),
            };
            let line = (i, step.level, name, write, step.flops, step.bytes, reads.join(", "));
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{:>3} {:>5}  {:<20} {:<14} {:>12} {:>10}  {}",
                line.0, line.1, line.2, line.3, line.4, line.5, line.6
            );
        }
        let slots: usize = self.slots.iter().sum();
        let _ = writeln!(out, "{} kernels, {} slots, {slots} bytes of slots", self.steps.len(), self.slots.len());
        out
    }
}

/// Measured launches as a table: time, share of the whole, and rates by the plan's estimates.
pub(crate) fn times(plan: &Plan, launches: &[LaunchTime]) -> String {
    let total: f64 = launches.iter().map(|l| l.seconds).sum();
    let mut out =
        format!("{:>3}  {:<24} {:>14} {:>10} {:>6} {:>9} {:>8}\n", "#", "launch", "workgroups", "µs", "%", "GFLOP/s", "GB/s");
    for launch in launches {
        let step = &plan.steps[launch.step];
        let rate = |amount: u64| amount as f64 / launch.seconds / 1e9;
        let [x, y, z] = launch.grid;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:>3}  {:<24} {:>14} {:>10.1} {:>6.1} {:>9.2} {:>8.2}",
            launch.step,
            launch.name,
            format!("{x}x{y}x{z}"),
            launch.seconds * 1e6,
            100.0 * launch.seconds / total,
            rate(step.flops),
            rate(step.bytes)
        );
    }
    let _ = writeln!(out, "{:.3} ms on the device", total * 1e3);
    out
}
