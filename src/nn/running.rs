//! Running statistics, as batch and instance normalisation keep them.

use super::fields::Counter;
use super::init::Init;
use crate::error::{Error, Result};
use crate::lazy::no_grad;
use crate::param::Param;
use crate::tensor::Tensor;

/// `running_mean`, `running_var` and `num_batches_tracked`, or none of them.
pub(super) type Running = (Option<Param>, Option<Param>, Option<Counter>);

/// Means of 0, variances of 1 and no batch, if wanted.
pub(super) fn running(channels: usize, wanted: bool, init: &Init) -> Result<Running> {
    if !wanted {
        return Ok((None, None, None));
    }
    let buffer = |name: &str, value: f64| {
        let buffer = Param::buffer(&init.constant(channels, value)?)?;
        buffer.set_name(name);
        Ok::<_, Error>(buffer)
    };
    Ok((Some(buffer("running_mean", 0.0)?), Some(buffer("running_var", 1.0)?), Some(Counter::default())))
}

/// Refuses settings that make no average.
pub(super) fn check_settings(kind: &'static str, eps: f64, momentum: Option<f64>) -> Result<()> {
    if let Some(momentum) = momentum.filter(|m| !(0.0..=1.0).contains(m)) {
        let reason = format!("a momentum of {momentum} was given");
        return Err(Error::argument(kind, reason, "use one in 0..=1, such as 0.1, or None"));
    }
    if eps.is_finite() && eps >= 0.0 {
        return Ok(());
    }
    Err(Error::argument(kind, format!("eps is {eps}"), "use a small positive number, such as 1e-5"))
}

/// Hangs `running = (1 - momentum) · running + momentum · batch` on the output.
pub(super) fn track(running: &Param, batch: &Tensor, momentum: f64, y: &Tensor) -> Result<Tensor> {
    let batch = batch.detach();
    let value = no_grad(|| running.tensor() * (1.0 - momentum) + batch * momentum);
    running.assign_with(&value, y)
}
