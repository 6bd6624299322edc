//! Schedules with PyTorch's defaults: what a variant of [`Schedule`] has beyond the rate and its steps.

use super::schedule::Schedule;

impl Schedule {
    /// [`Schedule::Step`] with PyTorch's default: multiplied by 0.1 every `every` steps.
    ///
    /// ```
    /// # use wgrad::optim::Schedule;
    /// let schedule = Schedule::step(1.0, 30);
    /// assert_eq!([0, 29, 30, 60].map(|t| (schedule.lr(t) * 1e6).round()), [1e6, 1e6, 1e5, 1e4]);
    /// ```
    pub fn step(base: f64, every: usize) -> Self {
        Self::Step { base, every, gamma: 0.1 }
    }

    /// [`Schedule::MultiStep`] with PyTorch's default: multiplied by 0.1 at each milestone.
    ///
    /// ```
    /// # use wgrad::optim::Schedule;
    /// let schedule = Schedule::multi_step(1.0, [10, 25]);
    /// assert_eq!([9, 10, 24, 25].map(|t| (schedule.lr(t) * 1e6).round()), [1e6, 1e5, 1e5, 1e4]);
    /// ```
    pub fn multi_step(base: f64, milestones: impl Into<Vec<usize>>) -> Self {
        Self::MultiStep { base, milestones: milestones.into(), gamma: 0.1 }
    }

    /// [`Schedule::Polynomial`] with PyTorch's default: a straight line to 0 over `steps`.
    ///
    /// ```
    /// assert_eq!(wgrad::optim::Schedule::polynomial(1.0, 4).lr(1), 0.75);
    /// ```
    pub fn polynomial(base: f64, steps: usize) -> Self {
        Self::Polynomial { base, steps, power: 1.0 }
    }

    /// [`Schedule::Cosine`] with PyTorch's default: half a cosine from `base`, without warm-up, to 0 at step `total`.
    ///
    /// ```
    /// # use wgrad::optim::Schedule;
    /// let schedule = Schedule::cosine(1.0, 10);
    /// assert_eq!([0, 5, 10].map(|t| (schedule.lr(t) * 1e6).round()), [1e6, 5e5, 0.0]);
    /// ```
    pub fn cosine(base: f64, total: usize) -> Self {
        Self::Cosine { base, warmup: 0, total, floor: 0.0 }
    }

    /// [`Schedule::CosineRestarts`] with PyTorch's defaults: from `base` to 0 every `period` steps.
    ///
    /// ```
    /// # use wgrad::optim::Schedule;
    /// let schedule = Schedule::cosine_restarts(1.0, 10);
    /// assert_eq!([0, 5, 10, 15].map(|t| (schedule.lr(t) * 1e6).round()), [1e6, 5e5, 1e6, 5e5]);
    /// ```
    pub fn cosine_restarts(base: f64, period: usize) -> Self {
        Self::CosineRestarts { base, period, growth: 1, floor: 0.0 }
    }

    /// [`Schedule::OneCycle`] with PyTorch's defaults: a rise over 0.3 of the run, `div` 25, `final_div` 1e4, cosines, two phases.
    ///
    /// ```
    /// let schedule = wgrad::optim::Schedule::one_cycle(0.1, 100);
    /// assert_eq!(schedule.lr(29), 0.1); // the top, after 0.3 of the run
    /// ```
    pub fn one_cycle(max: f64, total: usize) -> Self {
        Self::OneCycle { max, total, rise: 0.3, div: 25.0, final_div: 1e4, cosine: true, three_phase: false }
    }
}
