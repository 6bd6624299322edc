//! The table of ops and samples: what each op is, on which inputs it is tried, and how exact it must be.

mod activations;
mod algebra;
mod arrange;
mod binary;
mod contractions;
mod images;
mod indexing;
mod losses;
mod movement;
mod norms;
mod ordering;
mod reductions;
mod rows;
mod statistics;
mod unary;
mod windows;

pub use binary::binary_over;
pub use unary::unary_over;
use wgrad::Tensor;

/// One operand: its shape and the range of its values.
#[derive(Debug, Clone)]
pub struct Operand {
    pub shape: Vec<usize>,
    pub lo: f64,
    pub hi: f64,
}

pub type Run = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

/// One op on operands of given shapes.
pub struct Sample {
    pub name: String,
    pub operands: Vec<Operand>,
    pub run: Run,
    /// Relative error of the forward pass against f64.
    pub relative: f64,
    /// Absolute error of the forward pass against f64.
    pub absolute: f64,
    /// Whether gradients are checked (the op is differentiable at almost every point of the ranges).
    pub gradient: bool,
    /// Whether second derivatives are checked as well.
    pub second: bool,
}

fn operand(shape: &[usize], lo: f64, hi: f64) -> Operand {
    Operand { shape: shape.to_vec(), lo, hi }
}

impl Sample {
    fn new(name: impl Into<String>, operands: Vec<Operand>, run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Self {
        let (relative, absolute) = (2e-6, 1e-6);
        Self { name: name.into(), operands, run: Box::new(run), relative, absolute, gradient: true, second: false }
    }
    fn within(mut self, relative: f64, absolute: f64) -> Self {
        (self.relative, self.absolute) = (relative, absolute);
        self
    }
    fn flat(mut self) -> Self {
        self.gradient = false;
        self
    }
    fn smooth(mut self) -> Self {
        self.second = true;
        self
    }
}

/// Every sample of every op, small enough for finite differences. `scripts/mutants` narrows them to an op's own by naming a part
/// of their names in WGRAD_TEST_SAMPLES.
pub fn samples() -> Vec<Sample> {
    let part = std::env::var("WGRAD_TEST_SAMPLES").unwrap_or_default();
    [
        unary::unary(),
        binary::binary(),
        movement::movement(),
        reductions::reductions(),
        contractions::contractions(),
        windows::windows(),
        rows::rows(),
        indexing::indexing(),
        algebra::algebra(),
        losses::losses(),
        norms::norms(),
        norms::attention(),
        images::images(),
        activations::activations(),
        statistics::statistics(),
        arrange::arrange(),
        ordering::ordering(),
    ]
    .into_iter()
    .flatten()
    .filter(|s| s.name.contains(&part))
    .collect()
}
