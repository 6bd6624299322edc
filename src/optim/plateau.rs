//! A learning rate that falls when progress stops.

use crate::error::{Error, Result};
use crate::io::number::{Range, place};
use crate::io::{HostTensor, StateDict};

/// What counts as better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlateauMode {
    /// Less, as for a loss.
    #[default]
    Min,
    /// More, as for an accuracy.
    Max,
}

/// How much better a value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// By this share of the best value.
    Relative(f64),
    /// By this much.
    Absolute(f64),
}

impl Default for Threshold {
    /// `Relative(1e-4)`, as in PyTorch.
    fn default() -> Self {
        Self::Relative(1e-4)
    }
}

impl PlateauMode {
    /// Whether `value` is better than `best` by a threshold. NaN is never better.
    pub(crate) fn better(self, value: f64, best: f64, threshold: Threshold) -> bool {
        match (self, threshold) {
            (Self::Min, Threshold::Relative(t)) => value < best * (1.0 - t),
            (Self::Min, Threshold::Absolute(t)) => value < best - t,
            (Self::Max, Threshold::Relative(t)) => value > best * (1.0 + t),
            (Self::Max, Threshold::Absolute(t)) => value > best + t,
        }
    }

    /// Worse than any value.
    pub(crate) fn worst(self) -> f64 {
        match self {
            Self::Min => f64::INFINITY,
            Self::Max => f64::NEG_INFINITY,
        }
    }
}

/// Settings of [`ReduceOnPlateau`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlateauConfig {
    /// What counts as better. Defaults to `Min`.
    pub mode: PlateauMode,
    /// What the learning rate is multiplied by. Defaults to 0.1.
    pub factor: f64,
    /// How many epochs in a row may pass without progress. Defaults to 10.
    pub patience: usize,
    /// How much better counts as progress. Defaults to `Relative(1e-4)`.
    pub threshold: Threshold,
    /// How many epochs after a reduction are ignored. Defaults to 0.
    pub cooldown: usize,
    /// The lowest learning rate. Defaults to 0.
    pub min_lr: f64,
    /// Reductions by no more than this are skipped. Defaults to 1e-8.
    pub eps: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self {
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: Threshold::Relative(1e-4),
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// Multiplies the learning rate by a factor when a metric has not improved for more than `patience` epochs.
///
/// Source: [PyTorch](https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html).
///
/// ```
/// # use wgrad::optim::{PlateauConfig, ReduceOnPlateau};
/// # fn main() -> wgrad::Result<()> {
/// let mut schedule = ReduceOnPlateau::new(0.1, PlateauConfig { patience: 1, ..PlateauConfig::default() })?;
/// let rates: Vec<f64> = [1.0, 1.0, 1.0].iter().map(|&loss| schedule.step(loss)).collect();
/// assert!((rates[1] - 0.1).abs() < 1e-12 && (rates[2] - 0.01).abs() < 1e-12);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a schedule changes nothing until it is asked for a rate"]
pub struct ReduceOnPlateau {
    config: PlateauConfig,
    lr: f64,
    best: f64,
    bad: usize,
    cooling: usize,
}

const NAMES: [&str; 4] = ["plateau.lr", "plateau.best", "plateau.bad", "plateau.cooling"];

impl ReduceOnPlateau {
    /// A schedule that starts at `lr`.
    ///
    /// # Errors
    /// A factor outside 0..1; a learning rate, threshold or another setting that is negative or not finite.
    #[track_caller]
    pub fn new(lr: f64, config: PlateauConfig) -> Result<Self> {
        let (Threshold::Relative(threshold) | Threshold::Absolute(threshold)) = config.threshold;
        let rows = [("lr", lr), ("threshold", threshold), ("min_lr", config.min_lr), ("eps", config.eps)];
        if let Some((name, value)) = rows.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            let help = "use a finite value, at least 0";
            return Err(Error::argument("ReduceOnPlateau", format!("{name} is {value}"), help));
        }
        if !(0.0..1.0).contains(&config.factor) {
            let help = "use a value in 0..1, such as 0.1";
            return Err(Error::argument("ReduceOnPlateau", format!("factor is {}", config.factor), help));
        }
        Ok(Self { config, lr, best: config.mode.worst(), bad: 0, cooling: 0 })
    }

    /// Takes an epoch's metric and returns the learning rate from here on. NaN counts as no progress.
    pub fn step(&mut self, metric: f64) -> f64 {
        if self.config.mode.better(metric, self.best, self.config.threshold) {
            self.best = metric;
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > self.config.patience {
            let next = (self.lr * self.config.factor).max(self.config.min_lr);
            if self.lr - next > self.config.eps {
                self.lr = next;
            }
            self.cooling = self.config.cooldown;
            self.bad = 0;
        }
        self.lr
    }

    /// The learning rate now.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// What a checkpoint needs.
    pub fn state_dict(&self) -> StateDict {
        let mut dict = StateDict::new();
        for (name, value) in NAMES.into_iter().zip([self.lr, self.best, self.bad as f64, self.cooling as f64]) {
            dict.tensors.insert(name.into(), HostTensor::scalar(value));
        }
        dict
    }

    /// Restores what [`ReduceOnPlateau::state_dict`] gave.
    ///
    /// # Errors
    /// An entry is missing or out of range; nothing changes in that case.
    #[track_caller]
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<()> {
        const LOAD: &str = "ReduceOnPlateau::load_state_dict";
        let lr = dict.number(LOAD, NAMES[0], Range::AtLeastZero)?;
        // Infinite before the first epoch that brings progress.
        let best = dict.number(LOAD, NAMES[1], Range::Number)?;
        if best == -self.config.mode.worst() {
            let help = "load the state of a ReduceOnPlateau with the same mode";
            return Err(Error::argument(LOAD, format!("{} is {best}, which nothing is better than", NAMES[1]), help));
        }
        let (bad, cooling) = (place(dict.count(LOAD, NAMES[2])?), place(dict.count(LOAD, NAMES[3])?));
        (self.lr, self.best, self.bad, self.cooling) = (lr, best, bad, cooling);
        Ok(())
    }
}
