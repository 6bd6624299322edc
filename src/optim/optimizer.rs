//! What all optimizers can do, whatever their formula.

use crate::autodiff::Gradients;
use crate::error::Result;
use crate::io::{StateDict, StateReport};
use std::panic::Location;

/// Changes parameters by their gradients.
pub trait Optimizer {
    /// Updates every registered parameter that has a gradient and is not frozen. Evaluates what the gradients need; does not
    /// wait for the device.
    ///
    /// # Errors
    /// Evaluation errors; no parameter changes in that case.
    #[track_caller]
    fn step(&mut self, gradients: Gradients) -> Result<()>;

    /// The first group's learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate of all groups; values below 0 and NaN count as 0.
    fn set_lr(&mut self, lr: f64);

    /// Sets each group's learning rate to `factor` times the one it was made with, so that a schedule keeps the groups'
    /// proportions: give [`Schedule`](super::Schedule) a base of 1. Values below 0 and NaN count as 0.
    ///
    /// Source: PyTorch's [`LambdaLR`](https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html).
    fn scale_lr(&mut self, factor: f64);

    /// State, step counts and settings in host memory. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    fn state_dict(&self) -> Result<StateDict>;

    /// Checks a state and brings it to the device; [`PreparedState::commit`] then applies it. Until then nothing changes,
    /// so that a state can be loaded together with other things, or not at all.
    ///
    /// # Errors
    /// The state belongs to another optimizer, or to other parameters; a number is outside its range; the device is out of
    /// memory or lost.
    #[track_caller]
    fn prepare_state_dict(&mut self, dict: &StateDict) -> Result<PreparedState<'_>>;

    /// Restores what [`Optimizer::state_dict`] gave, whole or not at all. As in PyTorch, the settings (learning rate, betas and
    /// so on) become the file's; the report says which of them were different before. What the kernels are compiled for (momentum
    /// or none, AMSGrad, the kind of decay) has to agree.
    ///
    /// # Errors
    /// As [`Optimizer::prepare_state_dict`]; nothing changes in that case.
    #[track_caller]
    fn load_state_dict(&mut self, dict: &StateDict) -> Result<StateReport> {
        let at = Location::caller();
        self.prepare_state_dict(dict).map_err(|error| error.seen_from(at))?.commit()
    }
}

/// A state that has been checked and only has to be applied.
pub struct PreparedState<'a> {
    report: StateReport,
    commit: Box<dyn FnOnce() -> Result<()> + 'a>,
}

impl<'a> PreparedState<'a> {
    /// For optimizers of your own: `commit` may fail only if the device is lost.
    #[track_caller]
    pub fn new(report: StateReport, commit: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self { report, commit: Box::new(commit) }
    }

    /// What the state will change in the settings.
    pub fn report(&self) -> &StateReport {
        &self.report
    }

    /// Applies the state.
    ///
    /// # Errors
    /// The device has been lost since.
    #[track_caller]
    pub fn commit(self) -> Result<StateReport> {
        (self.commit)()?;
        Ok(self.report)
    }
}

impl std::fmt::Debug for PreparedState<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedState({})", self.report)
    }
}
