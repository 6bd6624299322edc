//! When to stop, and the best weights so far.

use crate::error::{Error, Result};
use crate::io::number::{Range, place};
use crate::io::{HostTensor, StateDict};
use crate::nn::Module;
use crate::optim::{PlateauMode, Threshold};

/// Settings of [`EarlyStopping`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStoppingConfig {
    /// What counts as better. Defaults to `Min`, for a loss.
    pub mode: PlateauMode,
    /// How many epochs in a row may pass without progress; one more stops. Defaults to 5.
    pub patience: usize,
    /// By how much a metric must be better to count as progress. Defaults to 0.
    pub min_delta: f64,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self { mode: PlateauMode::Min, patience: 5, min_delta: 0.0 }
    }
}

/// Watches a metric on a validation split, keeps the weights of the best epoch in host memory, and says when to stop.
///
/// Source: L. Prechelt, "Early stopping - but when?", 1998.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStopping {
    config: EarlyStoppingConfig,
    best: f64,
    best_epoch: usize,
    epoch: usize,
    weights: Option<StateDict>,
}

impl EarlyStopping {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// A `min_delta` that is negative or not finite.
    #[track_caller]
    pub fn new(config: EarlyStoppingConfig) -> Result<Self> {
        if !(config.min_delta.is_finite() && config.min_delta >= 0.0) {
            let reason = format!("min_delta is {}", config.min_delta);
            return Err(Error::argument("EarlyStopping", reason, "use a finite value, at least 0"));
        }
        Ok(Self { best: config.mode.worst(), config, best_epoch: 0, epoch: 0, weights: None })
    }

    /// Takes an epoch's metric and keeps the model's weights if it is the best. Returns whether to stop. NaN is not progress.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    pub fn observe(&mut self, metric: f64, model: &dyn Module) -> Result<bool> {
        let better = self.config.mode.better(metric, self.best, Threshold::Absolute(self.config.min_delta));
        if better {
            self.weights = Some(model.state_dict()?);
            self.best = metric;
        }
        self.epoch = self.epoch.saturating_add(1);
        if better {
            self.best_epoch = self.epoch;
        }
        Ok(self.should_stop())
    }

    /// Whether more than `patience` epochs in a row brought no progress.
    pub fn should_stop(&self) -> bool {
        self.epoch - self.best_epoch > self.config.patience
    }

    /// The best epoch, counted from 1, and its metric; `None` if no epoch brought progress.
    pub fn best(&self) -> Option<(usize, f64)> {
        (self.best_epoch > 0).then_some((self.best_epoch, self.best))
    }

    /// Puts the best weights back into the model.
    ///
    /// # Errors
    /// No epoch brought progress; a different model.
    #[track_caller]
    pub fn restore(&self, model: &dyn Module) -> Result<()> {
        let Some(weights) = &self.weights else {
            let help = "call observe with a metric that is a number first";
            return Err(Error::argument("EarlyStopping::restore", "no weights are kept", help));
        };
        model.load_state_dict(weights)
    }

    /// Counts and best weights, for a checkpoint.
    pub fn state_dict(&self) -> StateDict {
        let mut dict = StateDict::new();
        let numbers = [("best", self.best), ("best_epoch", self.best_epoch as f64), ("epoch", self.epoch as f64)];
        for (name, value) in numbers {
            dict.tensors.insert(format!("stopping.{name}"), HostTensor::scalar(value));
        }
        if let Some(weights) = &self.weights {
            let named = weights.tensors.iter().map(|(name, tensor)| (format!("stopping.weights.{name}"), tensor.clone()));
            dict.tensors.extend(named);
        }
        dict
    }

    /// Restores what [`EarlyStopping::state_dict`] gave.
    ///
    /// # Errors
    /// An entry is missing or out of range; nothing changes in that case.
    #[track_caller]
    pub fn load_state_dict(&mut self, dict: &StateDict) -> Result<()> {
        const LOAD: &str = "EarlyStopping::load_state_dict";
        #[track_caller]
        fn bad(reason: String) -> Error {
            Error::argument(LOAD, reason, "load the state of an EarlyStopping with the same mode")
        }
        let epoch = place(dict.count(LOAD, "stopping.epoch")?);
        let best_epoch = place(dict.count(LOAD, "stopping.best_epoch")?);
        if best_epoch > epoch {
            return Err(bad(format!("stopping.best_epoch is {best_epoch}, after the last epoch, {epoch}")));
        }
        // Before the first progress the best is worse than any number.
        let best = dict.number(LOAD, "stopping.best", Range::Number)?;
        if (best_epoch == 0) != (best == self.config.mode.worst()) || best == -self.config.mode.worst() {
            return Err(bad(format!("stopping.best is {best}, and the best epoch {best_epoch}")));
        }
        let weights = dict.under("stopping.weights.");
        if (best_epoch > 0) == weights.tensors.is_empty() {
            let reason = format!("there are {} stopping.weights, and the best epoch is {best_epoch}", weights.tensors.len());
            return Err(bad(reason));
        }
        for (name, tensor) in &weights.tensors {
            tensor.check(LOAD, &format!("stopping.weights.{name}"))?;
        }
        (self.best, self.best_epoch, self.epoch) = (best, best_epoch, epoch);
        self.weights = (!weights.tensors.is_empty()).then_some(weights);
        Ok(())
    }
}
