//! How fast a device is, so that no submission takes longer than a system allows.
//!
//! Windows resets a GPU that is busy with one submission for two seconds, macOS kills the submission, and a desktop stutters long
//! before. What a kernel will take is estimated from its FLOPs and bytes, at rates that are assumed to be low until a few runs
//! have been measured.

use super::context::Context;
use super::watch::Job;
use crate::sync::{lock, remembered};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one submission may take by default.
const SUBMISSION: Duration = Duration::from_millis(200);

/// FLOPs and bytes per second of a middling GPU, in which work is estimated.
const GPU: Rate = Rate { flops: 1e12, bytes: 5e10 };

/// The same for a driver on the host's cores, whose work nothing ends.
const SOFTWARE: Rate = Rate { flops: 5e9, bytes: 2e9 };

/// How many times slower than [`GPU`] a GPU is taken to be before it was measured: 50 GFLOP/s.
const UNKNOWN: f64 = 20.0;

/// How many times slower than [`SOFTWARE`] a software adapter is where other programs use the cores.
const SHARED: f64 = 4.0;

/// How many runs are measured, and how many seconds they must take at the assumed rate.
const RUNS: usize = 3;
const MEASURABLE: f64 = 5e-3;

/// FLOPs and bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rate {
    flops: f64,
    bytes: f64,
}

/// Work, in the seconds that a device takes for it at the nominal rate of its class.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Work(f64);

impl Work {
    /// The sum.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// An equal part of it.
    pub fn over(self, parts: usize) -> Self {
        Self(self.0 / parts.max(1) as f64)
    }
}

/// What is known of a device.
#[derive(Debug)]
pub(super) struct Pace {
    software: bool,
    /// How long one submission may take, in seconds.
    budget: f64,
    /// Whether single launches are split.
    splits: bool,
    known: Arc<Mutex<Known>>,
}

/// What all devices of one adapter know.
#[derive(Debug)]
struct Known {
    /// Seconds per nominal second: the worst of the runs that were measured.
    slowness: f64,
    measured: usize,
}

impl Pace {
    /// The pace of an adapter, as far as this process has measured it.
    pub fn of(context: &Context) -> Self {
        static KNOWN: Mutex<Vec<(String, Arc<Mutex<Known>>)>> = Mutex::new(Vec::new());
        let software = context.caps.software;
        let name = format!("{} {} {software}", context.info.name, context.info.backend);
        let slowness = if software { 1.0 } else { UNKNOWN };
        let known = remembered(&KNOWN, name, || Arc::new(Mutex::new(Known { slowness, measured: 0 })));
        let budget = context.options.submission.unwrap_or(SUBMISSION).as_secs_f64();
        Self { software, budget, splits: !software || context.options.submission.is_some(), known }
    }

    /// A kernel's work.
    pub fn work(&self, flops: u64, bytes: u64) -> Work {
        let rate = if self.software { SOFTWARE } else { GPU };
        Work((flops as f64 / rate.flops).max(bytes as f64 / rate.bytes))
    }

    /// Into how many launches a kernel is split, so that even a slow device takes no longer for one than it may.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a count holds")]
    pub fn launches(&self, work: Work) -> usize {
        let slowness = if self.software { 1.0 } else { UNKNOWN };
        if self.splits { (work.0 * slowness / self.budget).ceil().clamp(1.0, 1e6) as usize } else { 1 }
    }

    /// For each launch, whether a new submission begins with it.
    pub fn cuts(&self, launches: impl Iterator<Item = Work>) -> Vec<bool> {
        let slowness = lock(&self.known).slowness;
        let mut elapsed = 0.0;
        launches
            .map(|work| {
                let seconds = work.0 * slowness;
                let cut = elapsed > 0.0 && elapsed + seconds > self.budget;
                elapsed = if cut { seconds } else { elapsed + seconds };
                cut
            })
            .collect()
    }

    /// A submission of a run of this much work, as it is waited for: as long as a slow device of the class takes, or one that was
    /// found to be slower.
    pub fn job(&self, what: &Arc<str>, work: Work) -> Job {
        Job { what: what.clone(), seconds: work.0 * lock(&self.known).slowness.max(if self.software { SHARED } else { UNKNOWN }) }
    }

    /// Whether a run of this much work is to be timed, alone on the device.
    pub fn wants(&self, work: Work) -> bool {
        let known = lock(&self.known);
        !self.software && known.measured < RUNS && work.0 * known.slowness >= MEASURABLE
    }

    /// Notes how long a run of this much work took.
    pub fn measured(&self, work: Work, took: Duration) {
        let slowness = took.as_secs_f64() / work.0;
        let mut known = lock(&self.known);
        known.slowness = if known.measured == 0 { slowness } else { known.slowness.max(slowness) }.clamp(1e-3, 1e4);
        known.measured += 1;
        let per_second = GPU.flops / known.slowness / 1e9;
        log::debug!(target: "wgrad::submit", "a run took {took:?}: submissions are cut for {per_second:.0} GFLOP/s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(software: bool, budget: f64, slowness: f64) -> Pace {
        Pace { software, budget, splits: true, known: Arc::new(Mutex::new(Known { slowness, measured: 0 })) }
    }

    #[test]
    fn submissions_are_cut_by_what_was_measured() {
        let gpu = pace(false, 0.2, UNKNOWN);
        let launches = [gpu.work(4_000_000_000, 0), gpu.work(0, 200_000_000), gpu.work(8_000_000_000, 0), gpu.work(1000, 1000)];
        // 80 + 80 + 160 ms and nearly nothing, at 50 GFLOP/s and 2.5 GB/s.
        assert_eq!(gpu.cuts(launches.into_iter()), [false, false, true, false]);
        let whole = launches.into_iter().fold(Work::default(), Work::and);
        assert!(gpu.wants(whole) && !gpu.wants(gpu.work(1000, 1000)));
        // Ten times as fast: all in one; the slowest run counts.
        gpu.measured(whole, Duration::from_secs_f64(whole.0 * 2.0));
        assert_eq!(gpu.cuts(launches.into_iter()), [false; 4]);
        gpu.measured(whole, Duration::from_secs_f64(whole.0 * 40.0));
        gpu.measured(whole, Duration::from_secs_f64(whole.0));
        assert_eq!(gpu.cuts(launches.into_iter()), [false, true, true, true]);
        assert!(!gpu.wants(whole), "three runs are enough");
    }

    #[test]
    fn a_step_is_one_submission_on_a_fast_gpu() {
        // As GPT-2 small at 8 x 256: 1.5 TFLOP in 768 launches, the longest of them split.
        let fast = pace(false, 0.2, UNKNOWN);
        let mut launches = vec![fast.work(2_000_000_000, 0); 744];
        launches.extend(vec![fast.work(10_000_000_000, 0); 3 * 16]);
        let whole = launches.iter().copied().fold(Work::default(), Work::and);
        let cut = |pace: &Pace| pace.cuts(launches.iter().copied()).iter().filter(|&&cut| cut).count();
        assert!(cut(&fast) > 100, "unmeasured, it is cut for a slow one");
        for _ in 0..RUNS {
            assert!(fast.wants(whole));
            // 17 TFLOP/s.
            fast.measured(whole, Duration::from_millis(116));
        }
        assert_eq!((cut(&fast), fast.wants(whole)), (0, false));
    }

    #[test]
    fn long_kernels_are_split() {
        // A product of 4,096: 137 GFLOP, 2.7 s at 50 GFLOP/s.
        let product = 2 * 4096u64.pow(3);
        assert_eq!(pace(false, 0.2, 1.0).launches(gpu_work(product)), 14);
        assert_eq!(pace(false, 0.2, 1.0).launches(Work::default()), 1);
        assert_eq!(pace(false, f64::INFINITY, 1.0).launches(gpu_work(product)), 1);
        assert_eq!(Pace { splits: false, ..pace(true, 0.2, 1.0) }.launches(gpu_work(product)), 1);
        assert!(pace(true, 1e-6, 1.0).launches(Work(1.0)) == 1_000_000);
    }

    fn gpu_work(flops: u64) -> Work {
        pace(false, 0.2, 1.0).work(flops, 0)
    }
}
