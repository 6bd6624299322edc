//! Plans as text: one line per kernel.

use super::{Place, Plan};
use std::fmt::Write;

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
            let writes: Vec<String> = step.writes().map(place).collect();
            let write = if writes.is_empty() { "parameters".into() } else { writes.join(" + ") };
            let name = step.kernel.label();
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
