//! Learning rates over a run, as pure functions of the step.

use crate::error::{Error, Result};
use crate::math::portable::{cos, pow};
use std::f64::consts::PI;

/// How the learning rate changes over the steps of a run.
///
/// Plain data: [`Schedule::lr`] has no state, so resuming needs only the step's number. A schedule that ends keeps its last
/// rate from there on; [`Schedule::lr_within`] makes that an error. [`Schedule::validate`] finds settings that make no sense;
/// `lr` gives a number all the same.
///
/// A rate that reacts to results is [`ReduceOnPlateau`](super::ReduceOnPlateau).
///
/// ```
/// # use wgrad::optim::Schedule;
/// # fn main() -> wgrad::Result<()> {
/// let step = Schedule::Step { base: 0.1, every: 10, gamma: 0.5 };
/// let schedule = Schedule::Warmup { steps: 4, then: Box::new(step) }.validate()?;
/// assert_eq!([0, 3, 4, 14].map(|step| schedule.lr(step)), [0.025, 0.1, 0.1, 0.05]);
/// # Ok(()) }
/// ```
/// Source: [PyTorch](https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate), whose values these are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Always `base`.
    Constant {
        /// The learning rate.
        base: f64,
    },
    /// Multiplied by `gamma` every `every` steps. `StepLR`.
    Step {
        /// The first learning rate.
        base: f64,
        /// Steps from one change to the next, at least 1.
        every: usize,
        /// The factor.
        gamma: f64,
    },
    /// Multiplied by `gamma` at each milestone; one that is listed twice counts twice. `MultiStepLR`.
    MultiStep {
        /// The first learning rate.
        base: f64,
        /// At which steps, in any order.
        milestones: Vec<usize>,
        /// The factor.
        gamma: f64,
    },
    /// `base · gammaᵗ`. `ExponentialLR`.
    Exponential {
        /// The first learning rate.
        base: f64,
        /// The factor per step.
        gamma: f64,
    },
    /// From `base · start` to `base · end` in a straight line. `LinearLR`.
    Linear {
        /// What the shares refer to.
        base: f64,
        /// The first share.
        start: f64,
        /// The last share, reached at step `steps`.
        end: f64,
        /// Steps of the change, at least 1.
        steps: usize,
    },
    /// `base · (1 - t / steps)^power`, then 0. `PolynomialLR`.
    Polynomial {
        /// The first learning rate.
        base: f64,
        /// Steps until 0, at least 1.
        steps: usize,
        /// The power; 1 is a straight line.
        power: f64,
    },
    /// Rises linearly to `base` over `warmup` steps, then falls along half a cosine to `base · floor` at step `total`.
    /// `CosineAnnealingLR`, if `warmup` is 0, up to its `T_max`.
    ///
    /// Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    Cosine {
        /// The highest learning rate.
        base: f64,
        /// Steps of the rise.
        warmup: usize,
        /// Steps of the whole run.
        total: usize,
        /// The last learning rate as a share of the highest.
        floor: f64,
    },
    /// Half a cosine from `base` to `base · floor` again and again, each `growth` times as long as the one before.
    /// `CosineAnnealingWarmRestarts`. Has no end.
    CosineRestarts {
        /// The highest learning rate.
        base: f64,
        /// Steps of the first fall, at least 1.
        period: usize,
        /// How many times longer each fall is, at least 1.
        growth: usize,
        /// The lowest learning rate as a share of the highest.
        floor: f64,
    },
    /// Rises from `max / div` to `max`, and falls to `max / div / final_div` at the last step. `OneCycleLR`.
    ///
    /// Source: L. Smith, N. Topin, "Super-convergence", 2018.
    OneCycle {
        /// The highest learning rate.
        max: f64,
        /// Steps of the whole run, at least 1.
        total: usize,
        /// The share of the run that the rise takes, in 0..1; PyTorch's default is 0.3.
        rise: f64,
        /// How many times lower the first rate is than the highest; PyTorch's default is 25.
        div: f64,
        /// How many times lower the last rate is than the first; PyTorch's default is 1e4.
        final_div: f64,
        /// Along half a cosine (PyTorch's default) rather than a straight line.
        cosine: bool,
        /// Whether to come down to the first rate as fast as it rose, and only then to the last.
        three_phase: bool,
    },
    /// Rises linearly to the first rate of another schedule, `lr(0) · (t + 1) / steps`, which then begins.
    Warmup {
        /// Steps of the rise.
        steps: usize,
        /// What follows, its steps counted from 0.
        then: Box<Self>,
    },
    /// One schedule after the other, each for its number of steps and each counted from 0; the last goes on. `SequentialLR`.
    Joined {
        /// Steps and schedule of each part, at least one.
        parts: Vec<(usize, Self)>,
    },
}

/// From `from` to `to` along half a cosine, at share `x` of the way.
fn half_cosine(from: f64, to: f64, x: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + cos(PI * x))
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        let (mut schedule, mut step) = (self, step);
        // Rises that lead to the first rate of a schedule, outermost first: t + 1, and the steps that they take.
        let mut rises: Vec<(f64, f64)> = Vec::new();
        loop {
            (schedule, step) = match schedule {
                Self::Warmup { steps, then } if step < *steps => {
                    rises.push((step as f64 + 1.0, *steps as f64));
                    (&**then, 0)
                }
                Self::Warmup { steps, then } => (&**then, step - steps),
                Self::Joined { parts } => {
                    let mut left = step;
                    let part = parts.iter().enumerate().find_map(|(i, (steps, part))| {
                        if left < *steps || i + 1 == parts.len() {
                            return Some(part);
                        }
                        left -= steps;
                        None
                    });
                    match part {
                        Some(part) => (part, left),
                        None => return 0.0,
                    }
                }
                plain => {
                    let rate = plain.plain(step);
                    return rises.iter().rev().fold(rate, |rate, (done, steps)| rate * done / steps);
                }
            }
        }
    }

    /// [`Schedule::lr`] of a schedule that contains no other.
    fn plain(&self, step: usize) -> f64 {
        let t = step as f64;
        match self {
            Self::Constant { base } => *base,
            Self::Step { base, every, gamma } => base * pow(*gamma, (step / every.max(&1)) as f64),
            Self::MultiStep { base, milestones, gamma } => {
                base * pow(*gamma, milestones.iter().filter(|&&m| m <= step).count() as f64)
            }
            Self::Exponential { base, gamma } => base * pow(*gamma, t),
            Self::Linear { base, start, end, steps } => base * (start + (end - start) * done(t, *steps)),
            Self::Polynomial { base, steps, power } => base * pow(1.0 - done(t, *steps), *power),
            Self::Cosine { base, warmup, .. } if step < *warmup => base * (t + 1.0) / *warmup as f64,
            Self::Cosine { base, warmup, total, floor } => {
                half_cosine(*base, base * floor, done((step - warmup) as f64, total.saturating_sub(*warmup)))
            }
            Self::CosineRestarts { base, period, growth, floor } => {
                let (mut left, mut length) = (step, (*period).max(1));
                if *growth <= 1 {
                    left %= length;
                }
                while left >= length {
                    left -= length;
                    length = length.saturating_mul(*growth);
                }
                half_cosine(*base, base * floor, left as f64 / length as f64)
            }
            Self::OneCycle { max, total, rise, div, final_div, cosine, three_phase } => {
                let (first, last) = (max / div, max / div / final_div);
                let (top, end) = (rise * *total as f64 - 1.0, *total as f64 - 1.0);
                let phases = if *three_phase {
                    vec![(top, first, *max), (2.0 * top, *max, first), (end, first, last)]
                } else {
                    vec![(top, first, *max), (end, *max, last)]
                };
                let mut begin = 0.0;
                for (until, from, to) in phases {
                    if t <= until {
                        let x = if until > begin { (t - begin) / (until - begin) } else { 1.0 };
                        return if *cosine { half_cosine(from, to, x) } else { from + (to - from) * x };
                    }
                    begin = until;
                }
                last
            }
            // `lr` looks into these.
            Self::Warmup { .. } | Self::Joined { .. } => 0.0,
        }
    }

    /// How many steps the schedule was made for; none if it goes on forever. Past them [`Schedule::lr`] stays at the last rate.
    pub fn steps(&self) -> Option<usize> {
        let (mut schedule, mut before) = (self, 0usize);
        loop {
            schedule = match schedule {
                Self::Cosine { total, .. } | Self::OneCycle { total, .. } => return Some(before.saturating_add(*total)),
                Self::Polynomial { steps, .. } => return Some(before.saturating_add(*steps)),
                Self::Warmup { steps, then } => {
                    before = before.saturating_add(*steps);
                    then
                }
                Self::Joined { parts } => {
                    let (last, others) = parts.split_last()?;
                    before = others.iter().fold(before, |sum, (steps, _)| sum.saturating_add(*steps));
                    &last.1
                }
                Self::Constant { .. }
                | Self::Step { .. }
                | Self::MultiStep { .. }
                | Self::Exponential { .. }
                | Self::Linear { .. }
                | Self::CosineRestarts { .. } => return None,
            }
        }
    }

    /// As [`Schedule::lr`], for a run that must not outlast its schedule.
    ///
    /// ```
    /// let schedule = wgrad::optim::Schedule::one_cycle(0.1, 100);
    /// assert_eq!(schedule.lr_within(99)?, schedule.lr(99));
    /// assert!(schedule.lr_within(100).unwrap_err().to_string().contains("step 100 is past the end"));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The step, counted from 0, is past the end of a schedule that has one.
    #[track_caller]
    pub fn lr_within(&self, step: usize) -> Result<f64> {
        match self.steps() {
            Some(steps) if step >= steps => Err(Error::argument(
                "Schedule::lr_within",
                format!("step {step} is past the end of a schedule of {steps} steps"),
                "make the schedule as long as the run, or use lr, which stays at the last rate",
            )),
            _ => Ok(self.lr(step)),
        }
    }

    /// The schedule itself, if its settings make sense.
    ///
    /// # Errors
    /// A rate, factor or share that is negative or not finite; a length of 0; a rise outside 0..1; no parts. The message names
    /// the schedule, the setting and the remedy.
    #[track_caller]
    pub fn validate(self) -> Result<Self> {
        let mut left: Vec<&Self> = vec![&self];
        while let Some(schedule) = left.pop() {
            match schedule {
                Self::Warmup { then, .. } => left.push(then),
                Self::Joined { parts } => left.extend(parts.iter().rev().map(|(_, part)| part)),
                _ => {}
            }
            schedule.check()?;
        }
        Ok(self)
    }

    /// Whether its own settings make sense, apart from those of schedules within.
    #[track_caller]
    fn check(&self) -> Result<()> {
        type Named<T> = Vec<(&'static str, T)>;
        let (name, numbers, lengths): (_, Named<f64>, Named<usize>) = match self {
            Self::Constant { base } => ("Constant", vec![("base", *base)], vec![]),
            Self::Step { base, every, gamma } => ("Step", vec![("base", *base), ("gamma", *gamma)], vec![("every", *every)]),
            Self::MultiStep { base, gamma, .. } => ("MultiStep", vec![("base", *base), ("gamma", *gamma)], vec![]),
            Self::Exponential { base, gamma } => ("Exponential", vec![("base", *base), ("gamma", *gamma)], vec![]),
            Self::Linear { base, start, end, steps } => {
                ("Linear", vec![("base", *base), ("start", *start), ("end", *end)], vec![("steps", *steps)])
            }
            Self::Polynomial { base, steps, power } => {
                ("Polynomial", vec![("base", *base), ("power", *power)], vec![("steps", *steps)])
            }
            Self::Cosine { base, floor, total, warmup } => {
                if warmup > total {
                    let reason = format!("the warm-up of {warmup} steps is longer than the run of {total}");
                    return Err(Error::argument("Schedule::Cosine", reason, "use a warmup of at most total"));
                }
                ("Cosine", vec![("base", *base), ("floor", *floor)], vec![("total", *total)])
            }
            Self::CosineRestarts { base, period, growth, floor } => {
                ("CosineRestarts", vec![("base", *base), ("floor", *floor)], vec![("period", *period), ("growth", *growth)])
            }
            Self::OneCycle { max, total, rise, div, final_div, .. } => {
                if !(0.0..1.0).contains(rise) {
                    return Err(Error::argument("Schedule::OneCycle", format!("rise is {rise}"), "use a share in 0..1, say 0.3"));
                }
                let zero = [("div", div), ("final_div", final_div)].into_iter().find(|d| *d.1 == 0.0);
                if let Some((setting, _)) = zero {
                    return Err(Error::argument("Schedule::OneCycle", format!("{setting} is 0"), "use a value above 0"));
                }
                ("OneCycle", vec![("max", *max), ("div", *div), ("final_div", *final_div)], vec![("total", *total)])
            }
            Self::Joined { parts } if parts.is_empty() => {
                return Err(Error::argument("Schedule::Joined", "there are no parts", "give at least one"));
            }
            Self::Warmup { .. } | Self::Joined { .. } => return Ok(()),
        };
        let op = format!("Schedule::{name}");
        if let Some((setting, value)) = numbers.into_iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return Err(Error::argument(op, format!("{setting} is {value}"), "use a finite value, at least 0"));
        }
        match lengths.into_iter().find(|l| l.1 == 0) {
            Some((setting, _)) => Err(Error::argument(op, format!("{setting} is 0"), "use at least 1")),
            None => Ok(()),
        }
    }
}

/// The share of `steps` that is done, at most 1.
fn done(t: f64, steps: usize) -> f64 {
    (t / steps.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_and_falls() {
        let s = Schedule::Cosine { base: 1.0, warmup: 4, total: 104, floor: 0.1 };
        for (step, lr) in [(0, 0.25), (3, 1.0), (4, 1.0), (54, 0.55), (104, 0.1), (1000, 0.1)] {
            assert!((s.lr(step) - lr).abs() < 1e-9, "step {step}: {}", s.lr(step));
        }
    }

    #[test]
    fn a_step_past_the_end_is_an_error_where_there_is_an_end() {
        let cosine = || Schedule::Cosine { base: 1.0, warmup: 1, total: 10, floor: 0.0 };
        let rows = [
            (cosine(), Some(10)),
            (Schedule::one_cycle(1.0, 7), Some(7)),
            (Schedule::Polynomial { base: 1.0, steps: 5, power: 1.0 }, Some(5)),
            (Schedule::Warmup { steps: 3, then: Box::new(cosine()) }, Some(13)),
            (Schedule::Joined { parts: vec![(4, Schedule::Constant { base: 1.0 }), (0, cosine())] }, Some(14)),
            (Schedule::Joined { parts: vec![(4, cosine()), (2, Schedule::Constant { base: 1.0 })] }, None),
            (Schedule::Joined { parts: vec![] }, None),
            (Schedule::Step { base: 1.0, every: 1, gamma: 0.5 }, None),
        ];
        for (schedule, steps) in rows {
            assert_eq!(schedule.steps(), steps, "{schedule:?}");
            let Some(steps) = steps else {
                assert!(schedule.lr_within(usize::MAX).is_ok());
                continue;
            };
            assert_eq!(schedule.lr_within(steps - 1).unwrap(), schedule.lr(steps - 1));
            let error = schedule.lr_within(steps).unwrap_err().to_string();
            assert!(error.contains(&format!("{steps} steps")) && error.contains("help"), "{error}");
        }
    }

    #[test]
    fn settings_without_sense_are_errors_and_still_give_numbers() {
        let constant = || Box::new(Schedule::Constant { base: 1.0 });
        let one = |rise, div, total| Schedule::OneCycle {
            max: 1.0,
            total,
            rise,
            div,
            final_div: 1e4,
            cosine: true,
            three_phase: false,
        };
        let rows = [
            ("base is -1", Schedule::Constant { base: -1.0 }),
            ("base is NaN", Schedule::Constant { base: f64::NAN }),
            ("every is 0", Schedule::Step { base: 1.0, every: 0, gamma: 0.5 }),
            ("gamma is inf", Schedule::MultiStep { base: 1.0, milestones: vec![], gamma: f64::INFINITY }),
            ("gamma is -1", Schedule::Exponential { base: 1.0, gamma: -1.0 }),
            ("steps is 0", Schedule::Linear { base: 1.0, start: 0.5, end: 1.0, steps: 0 }),
            ("power is NaN", Schedule::Polynomial { base: 1.0, steps: 3, power: f64::NAN }),
            ("total is 0", Schedule::Cosine { base: 1.0, warmup: 0, total: 0, floor: 0.0 }),
            ("longer than the run", Schedule::Cosine { base: 1.0, warmup: 5, total: 4, floor: 0.0 }),
            ("period is 0", Schedule::CosineRestarts { base: 1.0, period: 0, growth: 1, floor: 0.0 }),
            ("growth is 0", Schedule::CosineRestarts { base: 1.0, period: 1, growth: 0, floor: 0.0 }),
            ("rise is 1", one(1.0, 25.0, 10)),
            ("div is 0", one(0.3, 0.0, 10)),
            ("total is 0", one(0.3, 25.0, 0)),
            ("base is -1", Schedule::Warmup { steps: 2, then: Box::new(Schedule::Constant { base: -1.0 }) }),
            ("no parts", Schedule::Joined { parts: vec![] }),
            (
                "every is 0",
                Schedule::Joined { parts: vec![(1, *constant()), (1, Schedule::Step { base: 1.0, every: 0, gamma: 1.0 })] },
            ),
        ];
        for (expected, schedule) in rows {
            // No setting makes it panic or hang.
            let _ = [0, 1, 7, usize::MAX].map(|step| schedule.lr(step));
            let error = schedule.clone().validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{schedule:?}: {error}");
        }
        let zero_steps = Schedule::Warmup { steps: 0, then: constant() }.validate().unwrap();
        assert_eq!(zero_steps.lr(0), 1.0);
    }
}
