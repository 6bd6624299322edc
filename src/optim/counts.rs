//! The step counts of an optimizer, some of which the device reports later.

use crate::error::Result;
use crate::graph::optim::WINDOW;
use crate::tensor::{PendingValue, Tensor};
use std::collections::VecDeque;

/// How many steps each parameter has taken. The device decides whether a gated step is taken, so the host counts it as taken
/// and takes that back when it hears otherwise, at most [`WINDOW`] steps later.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub steps: Vec<u64>,
    /// On the device: how many steps have been skipped, one f32. Exact below 2²⁴.
    pub skipped: Option<Tensor>,
    /// How many of them the host knows of.
    pub known: u64,
    /// The number after each later step, on its way to the host, or why it is not.
    coming: VecDeque<Result<PendingValue>>,
    /// The parameters of the steps in `coming`, the same for all of them.
    active: Vec<usize>,
}

impl Counts {
    /// No steps yet, of `params` parameters.
    pub fn new(params: usize) -> Self {
        Self { steps: vec![0; params], ..Self::default() }
    }

    /// Learns the outcome of steps until at most `left` are unknown. Waits for the device if it has to.
    #[track_caller]
    pub fn settle(&mut self, left: usize) -> Result<()> {
        while self.coming.len() > left {
            let Some(value) = self.coming.pop_front() else { break };
            let read = value.and_then(PendingValue::wait).map(|data| data.to_f64().first().copied().unwrap_or(0.0));
            let read = match (read, &self.skipped) {
                // What a driver refused once it may do now, and the latest number covers all steps before.
                (Err(error), Some(latest)) if !error.is_device_loss() => latest.item(),
                (read, _) => read,
            };
            let total = read.inspect_err(|error| self.coming.push_front(Err(error.clone())))?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let total = total as u64;
            let new = total.saturating_sub(self.known);
            for &i in &self.active {
                self.steps[i] = self.steps[i].saturating_sub(new);
            }
            self.known = self.known.max(total);
        }
        Ok(())
    }

    /// Learns the outcome of as many steps as it takes to count one more step of the parameters `stepped`.
    #[track_caller]
    pub fn settle_for(&mut self, stepped: &[usize], gated: bool) -> Result<()> {
        if !gated || stepped != self.active {
            self.settle(0)?;
            self.active = stepped.to_vec();
        }
        self.settle(WINDOW - 1)
    }

    /// Counts a step that was queued; if it was gated, `after` is how many steps have been skipped after it.
    #[track_caller]
    pub fn add(&mut self, stepped: &[usize], after: Option<Tensor>) -> Result<()> {
        for &i in stepped {
            self.steps[i] += 1;
        }
        if let Some(after) = after {
            self.skipped = Some(after.clone());
            // The step is queued: it does not fail because its count cannot be read yet.
            self.coming.push_back(after.read_later());
        }
        Ok(())
    }
}
