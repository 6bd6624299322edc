//! Profiles: what a stretch of work launched, as data and as a table.

use crate::error::counted;
use crate::plan::{Launched, Plan};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One launch of a kernel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Launch {
    /// The kernel, as in [`Tensor::explain`](crate::Tensor::explain): `matmul 64x10x128` is m, n and k, `elementwise[5]` an
    /// expression of 5 terms.
    pub kernel: String,
    /// Which of the device's kernels ran it. On the CPU device a plan with F64 counts as one launch, `f64 graph`.
    pub variant: String,
    /// The run of a plan that it belongs to, from 0.
    pub run: usize,
    /// That run's plan, from 0: runs of the same plan have the same number.
    pub plan: usize,
    /// The kernel's place in the plan. Several launches of one kernel follow each other and have the same place.
    pub step: usize,
    /// Its time: by the GPU's clock, or wall time on the CPU device; `None` if the device takes no timestamps.
    pub time: Option<Duration>,
    /// Floating-point operations, an estimate. If a kernel has several launches, the first one counts them all.
    pub flops: u64,
    /// Bytes read and written, at least. If a kernel has several launches, the first one counts them all.
    pub bytes: u64,
}

/// All launches of one kernel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProfileRow {
    /// See [`Launch::kernel`].
    pub kernel: String,
    /// See [`Launch::variant`].
    pub variant: String,
    /// How many there were.
    pub launches: usize,
    /// Their total time; `None` if the device takes no timestamps.
    pub time: Option<Duration>,
    /// Their floating-point operations in total, an estimate.
    pub flops: u64,
    /// The bytes that they read and wrote, at least.
    pub bytes: u64,
}

/// What ran on a device during [`Device::profile`](crate::Device::profile). `Display` is a table, the kernels that took longest
/// first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The device's name.
    pub device: String,
    /// Every launch, in order.
    pub launches: Vec<Launch>,
    /// The time from beginning to end, including the host's work.
    pub wall: Duration,
    /// How many times a plan was run.
    pub runs: usize,
    /// How many different plans were run.
    pub plans: usize,
    /// Plans compiled meanwhile: 0 in a loop that has seen all its shapes.
    pub compiled: u64,
    /// Pipelines compiled meanwhile (GPU).
    pub pipelines: u64,
}

impl Profile {
    /// The launches by kernel, those that took longest first; without times, those that moved most bytes.
    pub fn rows(&self) -> Vec<ProfileRow> {
        let mut rows: BTreeMap<(&str, &str), ProfileRow> = BTreeMap::new();
        for launch in &self.launches {
            let row = rows.entry((&launch.kernel, &launch.variant)).or_insert_with(|| ProfileRow {
                kernel: launch.kernel.clone(),
                variant: launch.variant.clone(),
                launches: 0,
                time: None,
                flops: 0,
                bytes: 0,
            });
            row.launches += 1;
            row.time = sum(row.time, launch.time);
            row.flops += launch.flops;
            row.bytes += launch.bytes;
        }
        let mut rows: Vec<ProfileRow> = rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.time, row.bytes)));
        rows
    }

    /// The total time of all launches; `None` if the device takes no timestamps.
    pub fn time(&self) -> Option<Duration> {
        self.launches.iter().fold(None, |time, launch| sum(time, launch.time))
    }

    /// The floating-point operations of all launches, an estimate.
    pub fn flops(&self) -> u64 {
        self.launches.iter().map(|launch| launch.flops).sum()
    }

    /// The bytes that all launches read and wrote, at least.
    pub fn bytes(&self) -> u64 {
        self.launches.iter().map(|launch| launch.bytes).sum()
    }
}

fn sum(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.time();
        let line = |name: &str, variant: &str, launches: usize, time: Option<Duration>, flops: u64, bytes: u64| {
            let seconds = time.map(|t| t.as_secs_f64());
            let of = |f: &dyn Fn(f64) -> String| seconds.map_or_else(|| "-".to_owned(), f);
            let share = |s: f64| total.map_or(0.0, |t| 100.0 * s / t.as_secs_f64().max(f64::MIN_POSITIVE));
            let rate = |amount: u64| of(&|s: f64| if s > 0.0 { format!("{:.2}", amount as f64 / s / 1e9) } else { "-".into() });
            [
                name.to_owned(),
                variant.to_owned(),
                launches.to_string(),
                of(&|s| format!("{:.1}", s * 1e6)),
                of(&|s| format!("{:.1}", share(s))),
                flops.to_string(),
                rate(flops),
                bytes.to_string(),
                rate(bytes),
            ]
        };
        let mut table = vec![["kernel", "variant", "launches", "µs", "%", "FLOP", "GFLOP/s", "bytes", "GB/s"].map(str::to_owned)];
        for row in self.rows() {
            table.push(line(&row.kernel, &row.variant, row.launches, row.time, row.flops, row.bytes));
        }
        table.push(line("total", "", self.launches.len(), total, self.flops(), self.bytes()));
        let mut widths = [0; 9];
        for cells in &table {
            widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
        }
        for cells in &table {
            for (n, (cell, width)) in cells.iter().zip(widths).enumerate() {
                match n {
                    0 => write!(f, "{cell:<width$}")?,
                    1 => write!(f, "  {cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        let (wall, device) = (self.wall.as_secs_f64() * 1e3, &self.device);
        write!(
            f,
            "{} of {} ({} compiled, {}), {wall:.3} ms in all, on {device}",
            counted(self.runs, "run"),
            counted(self.plans, "plan"),
            self.compiled,
            counted(usize::try_from(self.pipelines).unwrap_or(usize::MAX), "pipeline")
        )
    }
}

/// A profile in the making. `C` is what a device makes of a plan.
#[derive(Debug)]
pub(super) struct Record<C> {
    pub launches: Vec<Launch>,
    pub runs: usize,
    /// The plans so far. They are kept alive, so that no other plan can take the address of one.
    pub plans: Vec<Arc<C>>,
}

impl<C> Default for Record<C> {
    fn default() -> Self {
        Self { launches: Vec::new(), runs: 0, plans: Vec::new() }
    }
}

impl<C> Record<C> {
    /// Adds a run of a plan.
    pub fn add(&mut self, compiled: &Arc<C>, plan: &Plan, launched: Vec<Launched>) {
        let number = self.plans.iter().position(|known| Arc::ptr_eq(known, compiled)).unwrap_or_else(|| {
            self.plans.push(compiled.clone());
            self.plans.len() - 1
        });
        let mut counts = vec![0u64; plan.steps.len()];
        launched.iter().for_each(|l| counts.iter_mut().skip(l.step).take(1).for_each(|count| *count += 1));
        let mut before = None;
        for Launched { step, name, time } in launched {
            let first = before.replace(step) != Some(step);
            let planned = plan.steps.get(step);
            // The first launch stands for all, unless each does a part.
            let parts = planned.filter(|step| step.kernel.rounds() > 1).map_or(1, |_| counts[step]);
            let amount = |of: fn(&crate::plan::Step) -> u64| match (planned.map_or(0, of), first) {
                (all, true) => all / parts + all % parts,
                (all, false) if parts > 1 => all / parts,
                (_, false) => 0,
            };
            self.launches.push(Launch {
                kernel: planned.map_or_else(|| name.clone(), |step| step.kernel.label()),
                run: self.runs,
                plan: number,
                step,
                time,
                flops: amount(|step| step.flops),
                bytes: amount(|step| step.bytes),
                variant: name,
            });
        }
        self.runs += 1;
    }
}
