//! Profiles: what a stretch of work launched, as data and as a table.

use crate::error::counted;
use crate::graph::layer::Layers;
use crate::plan::{Kernel, Launched, Plan};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which part of a training step a launch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Pass {
    /// The forward pass, and all that is part of neither of the others.
    Forward,
    /// A backward pass.
    Backward,
    /// An optimizer's step.
    Step,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Step => "step",
        })
    }
}

/// What a device reaches: the rates of a large product and of a large sum of two tensors, as
/// [`Device::ceilings`](crate::Device::ceilings) has measured them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Ceilings {
    /// Floating-point operations per second.
    pub flops: f64,
    /// Bytes read and written per second.
    pub bytes: f64,
}

/// One launch of a kernel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Launch {
    /// The kernel, as in [`Tensor::explain`](crate::Tensor::explain): `matmul 64x10x128` is m, n and k, `elementwise[5]` an
    /// expression of 5 terms.
    pub kernel: String,
    /// Which of the device's kernels ran it. On the CPU device a plan with F64 counts as one launch, `f64 graph`.
    pub variant: String,
    /// The layer whose value it computes, by the name of one of its parameters without the last part: `layer2.0.conv1`. Layers
    /// without parameters belong to the one before. Empty if there is none, for an optimizer's step, and for a model whose
    /// parameters nobody has named, as [`Module::named_parameters`](crate::nn::Module::named_parameters) does, and with it
    /// `parameters`.
    pub layer: String,
    /// Which pass it is part of.
    pub pass: Pass,
    /// The run of a plan that it belongs to, from 0.
    pub run: usize,
    /// That run's plan, from 0: runs of the same plan have the same number.
    pub plan: usize,
    /// The kernel's place in the plan. Several launches of one kernel follow each other and have the same place.
    pub step: usize,
    /// Its time: by the GPU's clock, or wall time on the CPU device; `None` if the device takes no timestamps.
    pub time: Option<Duration>,
    /// Floating-point operations, an estimate. If a kernel has several launches, the first one counts them all, unless each does a
    /// part, as each time step of a recurrent layer.
    pub flops: u64,
    /// Bytes read and written, at least. Counted as the operations are.
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

/// All launches of one layer in one pass.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerRow {
    /// See [`Launch::layer`].
    pub layer: String,
    /// See [`Launch::pass`].
    pub pass: Pass,
    /// How many there were.
    pub launches: usize,
    /// Their total time; `None` if the device takes no timestamps.
    pub time: Option<Duration>,
    /// Their floating-point operations in total, an estimate.
    pub flops: u64,
    /// The bytes that they read and wrote, at least.
    pub bytes: u64,
}

/// What ran on a device during [`Device::profile`](crate::Device::profile). `Display` is two tables, one of kernels and one of
/// layers, those that took longest first.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The device's name.
    pub device: String,
    /// What the device reaches; `None` if that could not be measured.
    pub ceilings: Option<Ceilings>,
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

    /// The launches by layer and pass, those that took longest first; without times, those that moved most bytes.
    pub fn layers(&self) -> Vec<LayerRow> {
        let mut rows: BTreeMap<(&str, Pass), LayerRow> = BTreeMap::new();
        for launch in &self.launches {
            let row = rows.entry((&launch.layer, launch.pass)).or_insert_with(|| LayerRow {
                layer: launch.layer.clone(),
                pass: launch.pass,
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
        let mut rows: Vec<LayerRow> = rows.into_values().collect();
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

/// What a row of either table sums up.
struct Sums {
    names: [String; 2],
    launches: usize,
    time: Option<Duration>,
    flops: u64,
    bytes: u64,
}

impl Profile {
    /// The share of the ceiling that is nearer, in percent: that of arithmetic or that of memory.
    fn share(&self, time: Option<Duration>, flops: u64, bytes: u64) -> Option<f64> {
        let (ceilings, seconds) = (self.ceilings?, time?.as_secs_f64());
        let share = (flops as f64 / ceilings.flops).max(bytes as f64 / ceilings.bytes);
        (seconds > 0.0).then(|| 100.0 * share / seconds)
    }

    fn table(&self, f: &mut fmt::Formatter<'_>, heads: [&str; 2], rows: Vec<Sums>) -> fmt::Result {
        let total = self.time();
        let line = |Sums { names: [one, other], launches, time, flops, bytes }: Sums| {
            let seconds = time.map(|t| t.as_secs_f64());
            let number = |n: Option<f64>, digits: usize| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.digits$}"));
            let of_all = |s: f64| total.map_or(0.0, |t| 100.0 * s / t.as_secs_f64().max(f64::MIN_POSITIVE));
            let rate = |amount: u64| seconds.filter(|&s| s > 0.0).map(|s| amount as f64 / s / 1e9);
            [
                one,
                other,
                launches.to_string(),
                number(seconds.map(|s| s * 1e6), 1),
                number(seconds.map(of_all), 1),
                flops.to_string(),
                number(rate(flops), 2),
                bytes.to_string(),
                number(rate(bytes), 2),
                number(self.share(time, flops, bytes), 0),
            ]
        };
        let heads = [heads[0], heads[1], "launches", "µs", "%", "FLOP", "GFLOP/s", "bytes", "GB/s", "% of ceiling"];
        let total = Sums {
            names: ["total".into(), String::new()],
            launches: self.launches.len(),
            time: total,
            flops: self.flops(),
            bytes: self.bytes(),
        };
        let table: Vec<_> = std::iter::once(heads.map(str::to_owned)).chain(rows.into_iter().chain([total]).map(line)).collect();
        let mut widths = [0; 10];
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
        Ok(())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = self.rows().into_iter().map(|ProfileRow { kernel, variant, launches, time, flops, bytes }| Sums {
            names: [kernel, variant],
            launches,
            time,
            flops,
            bytes,
        });
        self.table(f, ["kernel", "variant"], kernels.collect())?;
        writeln!(f)?;
        let layers = self.layers().into_iter().map(|LayerRow { layer, pass, launches, time, flops, bytes }| Sums {
            names: [if layer.is_empty() { "-".into() } else { layer }, pass.to_string()],
            launches,
            time,
            flops,
            bytes,
        });
        self.table(f, ["layer", "pass"], layers.collect())?;
        if let Some(Ceilings { flops, bytes }) = self.ceilings {
            writeln!(f, "ceilings: {:.1} GFLOP/s of a large product, {:.1} GB/s of a large sum", flops / 1e9, bytes / 1e9)?;
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
    /// Cells' names.
    names: FxHashMap<u64, String>,
}

impl<C> Default for Record<C> {
    fn default() -> Self {
        Self { launches: Vec::new(), runs: 0, plans: Vec::new(), names: FxHashMap::default() }
    }
}

impl<C> Record<C> {
    /// Adds a run of a plan.
    pub fn add(&mut self, compiled: &Arc<C>, plan: &Plan, layers: &Layers, launched: &[Launched]) {
        self.names.extend(layers.names.iter().cloned());
        let number = self.plans.iter().position(|known| Arc::ptr_eq(known, compiled)).unwrap_or_else(|| {
            self.plans.push(compiled.clone());
            self.plans.len() - 1
        });
        let mut counts = vec![0u64; plan.steps.len()];
        launched.iter().for_each(|l| counts.iter_mut().skip(l.step).take(1).for_each(|count| *count += 1));
        let mut before = None;
        for Launched { step, name, time } in launched {
            let (step, time) = (*step, *time);
            let first = before.replace(step) != Some(step);
            let planned = plan.steps.get(step);
            let layer = planned.and_then(|step| layers.nodes.get(step.node)).copied().unwrap_or_default();
            let parameter = layer.cell().and_then(|cell| self.names.get(&cell)).map_or("", String::as_str);
            let (layer, pass) = match planned.map(|step| &step.kernel) {
                Some(Kernel::OptimStep { .. }) => ("", Pass::Step),
                _ => (
                    parameter.rsplit_once('.').map_or("", |(layer, _)| layer),
                    if layer.is_backward() { Pass::Backward } else { Pass::Forward },
                ),
            };
            // The first launch stands for all, unless each does a part.
            let parts = planned.filter(|step| step.kernel.rounds() > 1).map_or(1, |_| counts[step]);
            let amount = |of: fn(&crate::plan::Step) -> u64| match (planned.map_or(0, of), first) {
                (all, true) => all / parts + all % parts,
                (all, false) if parts > 1 => all / parts,
                (_, false) => 0,
            };
            self.launches.push(Launch {
                kernel: planned.map_or_else(|| name.clone(), |step| step.kernel.label()),
                layer: layer.to_owned(),
                pass,
                run: self.runs,
                plan: number,
                step,
                time,
                flops: amount(|step| step.flops),
                bytes: amount(|step| step.bytes),
                variant: name.clone(),
            });
        }
        self.runs += 1;
    }
}
