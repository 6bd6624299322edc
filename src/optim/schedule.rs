//! Learning rates over a run, as pure functions of the step.

/// How the learning rate changes over the steps of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Always `base`.
    Constant {
        /// The learning rate.
        base: f64,
    },
    /// Rises linearly to `base` over `warmup` steps, then falls along half a cosine to `base · floor` at step `total`.
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
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        match *self {
            Self::Constant { base } => base,
            Self::Cosine { base, warmup, .. } if step < warmup => base * (step + 1) as f64 / warmup as f64,
            Self::Cosine { base, warmup, total, floor } => {
                let length = total.saturating_sub(warmup).max(1) as f64;
                let done = ((step - warmup) as f64 / length).min(1.0);
                base * (floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
            }
        }
    }
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
        let none = Schedule::Cosine { base: 1.0, warmup: 0, total: 0, floor: 0.0 };
        assert!(none.lr(0).is_finite() && none.lr(5).is_finite());
        assert_eq!(Schedule::Constant { base: 0.5 }.lr(9), 0.5);
    }
}
