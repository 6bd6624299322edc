//! The table of ops and samples: what each op is, on which inputs it is tried, and how exact it must be.

mod activations;
mod algebra;
mod arrange;
mod binary;
mod contractions;
mod creation;
mod graphs;
mod images;
mod indexing;
mod kernel_ops;
mod losses;
mod movement;
mod norms;
mod ordering;
mod reductions;
mod rows;
mod statistics;
mod unary;
mod windows;

use crate::common::{LAYOUTS, Layout, oracle, upload};
pub use binary::binary_over;
pub use kernel_ops::{KernelOp, Known, kernel_ops};
pub use unary::unary_over;
use wgrad::{DType, Tensor};

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
    /// The op, by the name of the method that is called.
    pub op: &'static str,
    /// The op, what is special about this sample, the operands' shapes.
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
    /// Whether it is tried in every layout, or only in the first two.
    pub full: bool,
}

fn operand(shape: &[usize], lo: f64, hi: f64) -> Operand {
    Operand { shape: shape.to_vec(), lo, hi }
}

impl Sample {
    fn new(
        op: &'static str,
        what: impl AsRef<str>,
        operands: Vec<Operand>,
        run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    ) -> Self {
        let (relative, absolute) = (2e-6, 1e-6);
        let shapes: Vec<&[usize]> = operands.iter().map(|o| &o.shape[..]).collect();
        let name = format!("{op} {} {shapes:?}", what.as_ref());
        Self { op, name, operands, run: Box::new(run), relative, absolute, gradient: true, second: false, full: true }
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
    /// For one more shape of an op whose other samples cover every layout.
    fn brief(mut self) -> Self {
        (self.full, self.second) = (false, false);
        // An empty operand or result: there is no gradient to compare.
        let leaf = |o: &Operand| upload(&vec![1.0; o.shape.iter().product()], &o.shape, DType::F64, &oracle());
        let empty = || (self.run)(&self.operands.iter().map(leaf).collect::<Vec<_>>()).shape().is_ok_and(|s| s.numel() == 0);
        self.gradient = self.gradient && self.operands.iter().all(|o| !o.shape.contains(&0)) && !empty();
        self
    }
    /// The layouts that its operands are tried in.
    pub fn layouts(&self) -> &'static [Layout] {
        if self.full { &LAYOUTS } else { &LAYOUTS[..2] }
    }
}

/// The first sample of each op, in two layouts, which families add for further shapes.
fn first_of_each(rows: Vec<Sample>) -> Vec<Sample> {
    let mut seen = Vec::new();
    rows.into_iter()
        .filter(|s| {
            let new = !seen.contains(&s.op);
            seen.push(s.op);
            new
        })
        .map(Sample::brief)
        .collect()
}

/// Every sample of every op, small enough for finite differences. `scripts/mutants` narrows them to an op's own by naming a part
/// of their names in WGRAD_TEST_SAMPLES.
pub fn samples() -> Vec<Sample> {
    let part = std::env::var_os("WGRAD_TEST_SAMPLES").unwrap_or_default().into_string().expect("WGRAD_TEST_SAMPLES is UTF-8");
    let all: Vec<Sample> = [
        unary::unary(),
        binary::binary(),
        movement::movement(),
        movement::arguments(),
        reductions::reductions(),
        reductions::more(),
        contractions::contractions(),
        creation::creation(),
        windows::windows(),
        kernel_ops().into_iter().flat_map(|op| (op.samples)()).collect(),
        rows::rows(),
        rows::more(),
        indexing::indexing(),
        indexing::more(),
        algebra::algebra(),
        algebra::more(),
        losses::losses(),
        losses::more(),
        norms::norms(),
        norms::more(),
        norms::attention(),
        images::images(),
        images::arguments(),
        activations::activations(),
        activations::more(),
        statistics::statistics(),
        arrange::arrange(),
        ordering::ordering(),
        graphs::graphs(),
    ]
    .into_iter()
    .flatten()
    .filter(|s| s.name.contains(&part))
    .collect();
    // A test without samples would pass.
    assert!(!all.is_empty(), "WGRAD_TEST_SAMPLES={part}: no sample has that in its name");
    all
}
