//! A progress bar for one epoch.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Instant;

/// Shows how far along an epoch is, its mean loss and its speed, on standard error; nothing if that is not a terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
    samples: usize,
    unit: &'static str,
}

impl Progress {
    /// A bar over `batches` steps, labelled `label`.
    pub fn new(label: impl Into<String>, batches: usize) -> Self {
        let bar = ProgressBar::new(batches as u64);
        // The template is constant; should it ever be wrong, the default style serves.
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label.into());
        Self { bar, start: Instant::now(), samples: 0, unit: "samples" }
    }

    /// What the speed counts. Defaults to "samples".
    #[must_use]
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Continues from batch `batch`.
    pub fn skip(&self, batch: usize) {
        self.bar.set_position(batch as u64);
    }

    /// Notes a finished batch of `samples`. The loss may be a few steps old.
    pub fn step(&mut self, samples: usize, loss: Option<f64>) {
        self.samples = self.samples.saturating_add(samples);
        let loss = loss.map(|l| format!("loss {l:.4}  ")).unwrap_or_default();
        self.bar.set_message(format!("{loss}{:.0} {}/s", self.rate(), self.unit));
        self.bar.inc(1);
    }

    /// Samples per second so far.
    pub fn rate(&self) -> f64 {
        self.samples as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    /// Removes the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
