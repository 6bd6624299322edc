//! The submissions of a device that may be under way, and how long a wait for them puts up with no progress.

use crate::sync::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a device may take without a sign of progress by default, besides what the work is estimated to take.
const LIMIT: Duration = Duration::from_secs(120);

/// What one of the short waits counts for at most, each of which is far shorter.
const MOMENT: Duration = Duration::from_millis(200);

/// What a submission is for, in an error, and how many seconds it may take on a slow device.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub what: Arc<str>,
    pub seconds: f64,
}

impl Job {
    /// Copies between the host and the device, of any size: no estimate.
    pub fn transfer(what: &'static str) -> Self {
        Self { what: what.into(), seconds: 0.0 }
    }
}

/// The submissions of a device that may be under way.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long a wait may see no progress.
    pub limit: Duration,
    made: Mutex<VecDeque<(u64, Job)>>,
    /// The number of the latest that has ended; they end in order.
    ended: Arc<AtomicU64>,
}

impl Watch {
    /// Of a device that was just opened.
    pub fn new(limit: Option<Duration>) -> Self {
        Self { limit: limit.unwrap_or(LIMIT), made: Mutex::default(), ended: Arc::default() }
    }

    /// Notes submission `number`, counted from 1, which has just been made.
    pub fn submitted(&self, queue: &wgpu::Queue, number: u64, job: Job) {
        let ended = self.ended.clone();
        let mut made = lock(&self.made);
        let so_far = ended.load(Ordering::Relaxed);
        while made.front().is_some_and(|(number, _)| *number <= so_far) {
            made.pop_front();
        }
        made.push_back((number, job));
        drop(made);
        queue.on_submitted_work_done(move || {
            ended.fetch_max(number, Ordering::Relaxed);
        });
    }

    /// The oldest that has not ended, and the number of the latest.
    fn oldest(&self) -> Option<(u64, Job, u64)> {
        let (made, ended) = (lock(&self.made), self.ended.load(Ordering::Relaxed));
        let (number, job) = made.iter().find(|(number, _)| *number > ended)?;
        Some((*number, job.clone(), made.back().map_or(*number, |(last, _)| *last)))
    }
}

/// How long a wait has seen no progress.
pub(super) struct Patience {
    ended: u64,
    waited: Duration,
    since: Instant,
}

impl Patience {
    /// Of a wait that begins.
    pub fn new(watch: &Watch) -> Self {
        Self { ended: watch.ended.load(Ordering::Relaxed), waited: Duration::ZERO, since: Instant::now() }
    }

    /// After a short wait in vain: what has no progress, if that has gone on for too long.
    pub fn is_over(&mut self, watch: &Watch) -> Option<String> {
        // A short wait that took long was the host's sleep, in which the device slept, too.
        self.waited += self.since.elapsed().min(MOMENT);
        self.since = Instant::now();
        let ended = watch.ended.load(Ordering::Relaxed);
        if ended != self.ended {
            (self.ended, self.waited) = (ended, Duration::ZERO);
        }
        if self.waited < watch.limit {
            return None;
        }
        let Some((number, job, last)) = watch.oldest() else { return Some("the driver".into()) };
        let allowed = watch.limit.saturating_add(Duration::try_from_secs_f64(job.seconds).unwrap_or(Duration::MAX));
        (self.waited >= allowed).then(|| format!("submission {number} of {last} ({})", job.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limit: Duration, jobs: &[f64]) -> Watch {
        let watch = Watch::new(Some(limit));
        let job = |(n, &seconds): (usize, &f64)| (n as u64 + 1, Job { what: format!("job {n}").into(), seconds });
        lock(&watch.made).extend(jobs.iter().enumerate().map(job));
        watch
    }

    #[test]
    fn patience_ends_without_progress_after_the_limit_and_the_estimate() {
        let watch = watch(Duration::from_millis(250), &[0.0, 0.5]);
        let mut patience = Patience::new(&watch);
        // As if so many milliseconds had passed.
        let after = |patience: &mut Patience, ms: u64| {
            patience.since = Instant::now().checked_sub(Duration::from_millis(ms)).expect("late enough");
            patience.is_over(&watch)
        };
        assert_eq!(after(&mut patience, 100), None);
        watch.ended.store(1, Ordering::Relaxed);
        assert_eq!(after(&mut patience, 200), None, "the first has ended");
        for _ in 0..3 {
            assert_eq!(after(&mut patience, 200), None, "the second may take longer");
        }
        assert_eq!(after(&mut patience, 200), Some("submission 2 of 2 (job 1)".into()));
        watch.ended.store(2, Ordering::Relaxed);
        assert_eq!(after(&mut patience, 10_000), None, "the host was asleep");
        assert_eq!(after(&mut patience, 200), None);
        assert_eq!(after(&mut patience, 200), Some("the driver".into()));
    }
}
