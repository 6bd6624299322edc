//! Elementwise ops, one row each: what the tests, the PyTorch fixtures and the numerics report know about them.
//!
//! `scripts/fixtures` reads the rows of this file as text, from `row("name", ...)` to `.pytorch(low, high)`.

use wgrad::Tensor;

/// The unit of an error: the spacing of f32 numbers (one ULP) at some magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the result.
    Result,
    /// At the larger of the result and 1: for formulas that end in a difference from 1.
    One,
    /// At the larger of the result and the first operand: for formulas that multiply x by such a difference.
    Operand,
}

/// How a device divides, and takes square roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// Rounded correctly.
    Exact,
    /// As WGSL allows: quotients within 2.5 ULP, roots within what 1 divided by a reciprocal root within 2 ULP comes to.
    Rough,
}

/// How far off an op may be.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// ULPs on devices that divide exactly.
    ulps: f64,
    /// ULPs on others.
    rough: f64,
    /// Where they are counted.
    pub at: At,
    /// Below this magnitude the result may be lost: an intermediate value is subnormal, which devices may flush.
    pub lost: f64,
}

/// The smallest normal f32.
pub const TINY: f64 = f32::MIN_POSITIVE as f64;

/// `|x|·TINY` where sigmoid(x) becomes subnormal, at x = -87.3.
const TAIL: f64 = 1.1e-36;
/// 2⁻¹⁰²: remainders by anything smaller may be subnormal before the divisor is added.
const DIVISOR: f64 = 1.98e-31;

const EXACT: Budget = ulps(0.0);
const FOUR: Budget = ulps(4.0);

const fn ulps(ulps: f64) -> Budget {
    Budget { ulps, rough: ulps, at: At::Result, lost: TINY }
}

impl Budget {
    /// ULPs on devices that divide so.
    pub const fn ulps(self, division: Division) -> f64 {
        match division {
            Division::Exact => self.ulps,
            Division::Rough => self.rough,
        }
    }

    /// More on devices that divide roughly.
    const fn rough(self, ulps: f64) -> Self {
        Self { rough: ulps, ..self }
    }

    const fn at(self, at: At) -> Self {
        Self { at, ..self }
    }

    const fn lost(self, lost: f64) -> Self {
        Self { lost, ..self }
    }
}

/// Which gradients of an op are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// First and second derivatives are checked.
    Smooth,
    /// First derivatives are checked; the op has kinks, or is made of ops whose second derivatives are checked.
    Once,
    /// The mark "no gradient": integers, booleans, steps, constants.
    NoGradient,
}

/// Operands that an op takes; it refuses all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the report measures only what takes floats")]
pub enum Takes {
    Floats,
    Numbers,
    Truths,
}

type One = fn(&Tensor) -> Tensor;
type Two = fn(&Tensor, &Tensor) -> Tensor;

/// An op of one operand.
#[allow(dead_code, reason = "the report reads a part of what the tests read")]
pub struct UnaryRow {
    /// The method's name.
    pub name: &'static str,
    pub run: One,
    pub mark: Mark,
    pub takes: Takes,
    /// Whether it can leave its operand unchanged: `no_grad::identities` checks it under `no_grad` then.
    pub identity: bool,
    /// Samples: what is special, the operand's range, and whether gradients are left out because there are none.
    pub samples: Vec<(&'static str, [f64; 2], bool)>,
    /// How samples and fixtures convert their floats first.
    pub of: One,
    /// The range of the dense sweep, and how far off it may be. It must be correct everywhere.
    pub sweep: Option<([f64; 2], Budget)>,
    /// The range of the PyTorch cases in `core.safetensors`; without it, the op has cases in another file, or known values.
    pub pytorch: Option<[f64; 2]>,
    /// Known values: x, y and dy/dx.
    pub known: &'static [(f64, f64, f64)],
}

fn row(name: &'static str, mark: Mark, run: One) -> UnaryRow {
    UnaryRow {
        name,
        run,
        mark,
        takes: Takes::Floats,
        identity: false,
        samples: vec![],
        of: Tensor::clone,
        sweep: None,
        pytorch: None,
        known: &[],
    }
}

impl UnaryRow {
    fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }
    /// Marks an op that can leave its operand unchanged.
    fn identity(self) -> Self {
        Self { identity: true, ..self }
    }
    /// A sample with this range.
    fn on(self, low: f64, high: f64) -> Self {
        self.case("", low, high)
    }
    fn case(mut self, what: &'static str, low: f64, high: f64) -> Self {
        self.samples.push((what, [low, high], self.mark == Mark::NoGradient));
        self
    }
    /// A sample over a kink: no gradients.
    fn flat(mut self, what: &'static str, low: f64, high: f64) -> Self {
        self.samples.push((what, [low, high], true));
        self
    }
    fn of(self, of: One) -> Self {
        Self { of, ..self }
    }
    fn sweep(self, range: [f64; 2], budget: Budget) -> Self {
        Self { sweep: Some((range, budget)), ..self }
    }
    fn pytorch(self, low: f64, high: f64) -> Self {
        Self { pytorch: Some([low, high]), ..self }
    }
    #[allow(dead_code, reason = "for ops that PyTorch does not have, or until its fixtures are made again")]
    fn known(self, known: &'static [(f64, f64, f64)]) -> Self {
        Self { known, ..self }
    }
}

const WIDE: [f64; 2] = [-1e3, 1e3];
const NEAR: [f64; 2] = [-20.0, 20.0];
/// Where exponentials go from nothing to infinity.
const EXPS: [f64; 2] = [-90.0, 90.0];

/// Every op of one operand that is a function of numbers by itself. Each is called here, so that errors name this file.
pub fn unary_ops() -> Vec<UnaryRow> {
    use Mark::{NoGradient, Once, Smooth};
    vec![
        row("neg", Smooth, |x| x.neg()).takes(Takes::Numbers).on(-3.0, 3.0).sweep(WIDE, EXACT).pytorch(-3.0, 3.0),
        row("sqrt", Smooth, |x| x.sqrt()).on(0.1, 4.0).sweep([0.0, 1e3], FOUR.rough(5.0)).pytorch(0.1, 9.0),
        row("rsqrt", Smooth, |x| x.rsqrt()).on(0.1, 4.0).sweep([0.0, 1e3], FOUR.rough(12.0)).pytorch(0.1, 9.0),
        row("reciprocal", Smooth, |x| x.reciprocal()).on(0.2, 3.0).sweep(WIDE, FOUR).pytorch(0.2, 4.0),
        row("square", Smooth, |x| x.square()).takes(Takes::Numbers).on(-3.0, 3.0).sweep(WIDE, FOUR).pytorch(-3.0, 3.0),
        row("exp", Smooth, |x| x.exp()).on(-3.0, 3.0).sweep(EXPS, FOUR).pytorch(-4.0, 4.0),
        row("expm1", Smooth, |x| x.expm1()).on(-1.0, 2.0).sweep([-20.0, 90.0], FOUR),
        row("log", Smooth, |x| x.log()).on(0.1, 4.0).sweep([0.0, 1e3], FOUR).pytorch(0.1, 9.0),
        row("log1p", Smooth, |x| x.log1p()).on(-0.5, 3.0).sweep([-1.0, 1e3], FOUR),
        row("sin", Smooth, |x| x.sin()).on(-6.0, 6.0).sweep(WIDE, FOUR).pytorch(-9.0, 9.0),
        row("cos", Smooth, |x| x.cos()).on(-6.0, 6.0).sweep(WIDE, FOUR).pytorch(-9.0, 9.0),
        row("tan", Smooth, |x| x.tan()).on(-1.2, 1.2).sweep(WIDE, ulps(5.0).rough(8.0)).pytorch(-1.3, 1.3),
        row("asin", Smooth, |x| x.asin()).on(-0.9, 0.9).sweep([-1.0, 1.0], FOUR.rough(12.0)).pytorch(-0.95, 0.95),
        row("acos", Smooth, |x| x.acos()).on(-0.9, 0.9).sweep([-1.0, 1.0], FOUR.rough(12.0)).pytorch(-0.95, 0.95),
        row("atan", Smooth, |x| x.atan()).on(-3.0, 3.0).sweep(NEAR, FOUR.rough(8.0)).pytorch(-9.0, 9.0),
        row("sinh", Smooth, |x| x.sinh()).on(-2.0, 2.0).sweep(EXPS, FOUR.rough(6.0)).pytorch(-3.0, 3.0),
        row("cosh", Smooth, |x| x.cosh()).on(-2.0, 2.0).sweep(EXPS, FOUR).pytorch(-3.0, 3.0),
        row("tanh", Smooth, |x| x.tanh()).on(-3.0, 3.0).sweep(NEAR, FOUR.rough(6.0)),
        row("erf", Smooth, |x| x.erf()).on(-3.0, 3.0).sweep([-5.0, 5.0], FOUR),
        row("sigmoid", Smooth, |x| x.sigmoid()).on(-5.0, 5.0).sweep(EXPS, FOUR.rough(6.0)),
        row("softplus", Smooth, |x| x.softplus()).on(-5.0, 5.0).sweep(EXPS, FOUR),
        row("abs", Once, |x| x.abs())
            .identity()
            .takes(Takes::Numbers)
            .on(0.2, 3.0)
            .case("negative", -3.0, -0.2)
            .sweep(WIDE, EXACT)
            .pytorch(-3.0, 3.0),
        row("relu", Once, |x| x.relu())
            .identity()
            .takes(Takes::Numbers)
            .on(0.2, 3.0)
            .case("negative", -3.0, -0.2)
            .flat("mixed", -3.0, 3.0)
            .sweep(WIDE, EXACT),
        row("sign", NoGradient, |x| x.sign()).takes(Takes::Numbers).on(-2.0, 2.0).sweep(WIDE, EXACT).pytorch(-3.0, 3.0),
        row("floor", NoGradient, |x| x.floor()).on(-4.0, 4.0).sweep(WIDE, EXACT).pytorch(-9.0, 9.0),
        row("ceil", NoGradient, |x| x.ceil()).on(-4.0, 4.0).sweep(WIDE, EXACT).pytorch(-9.0, 9.0),
        row("round", NoGradient, |x| x.round()).on(-4.0, 4.0).sweep(WIDE, EXACT).pytorch(-9.0, 9.0),
        row("trunc", NoGradient, |x| x.trunc()).on(-4.0, 4.0).sweep(WIDE, EXACT).pytorch(-9.0, 9.0),
        row("is_nan", NoGradient, |x| x.is_nan()).of(Tensor::log).on(-1.0, 1.0).sweep(WIDE, EXACT),
        row("is_finite", NoGradient, |x| x.is_finite()).of(Tensor::log).on(-1.0, 1.0).sweep(WIDE, EXACT),
        row("logical_not", NoGradient, |x| x.logical_not()).takes(Takes::Truths).of(|x| x.gt(&x.zeros_like())).on(-1.0, 1.0),
    ]
}

/// Operands that an op of two takes; it refuses all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "the report measures only what takes floats")]
pub enum Pairs {
    Numbers,
    Truths,
}

/// An op of two operands.
#[allow(dead_code, reason = "the report reads a part of what the tests read")]
pub struct BinaryRow {
    /// The method's name.
    pub name: &'static str,
    pub run: Two,
    pub mark: Mark,
    pub pairs: Pairs,
    /// Whether it can leave an operand unchanged: `no_grad::identities` checks it under `no_grad` then.
    pub identity: bool,
    /// Samples: what is special, the operands' ranges, and whether gradients are left out because there are none.
    pub samples: Vec<(&'static str, [[f64; 2]; 2], bool)>,
    /// How samples convert their floats first.
    pub of: One,
    /// The range of the dense sweep, and how far off it may be. It must be correct everywhere.
    pub sweep: Option<([[f64; 2]; 2], Budget)>,
}

fn pair(name: &'static str, mark: Mark, run: Two) -> BinaryRow {
    BinaryRow { name, run, mark, pairs: Pairs::Numbers, identity: false, samples: vec![], of: Tensor::clone, sweep: None }
}

impl BinaryRow {
    /// Marks an op that can leave an operand unchanged.
    fn identity(self) -> Self {
        Self { identity: true, ..self }
    }
    /// Samples with these ranges.
    fn on(mut self, a: [f64; 2], b: [f64; 2]) -> Self {
        self.samples.push(("", [a, b], self.mark == Mark::NoGradient));
        self
    }
    /// A sample over a kink: no gradients.
    fn flat(mut self, what: &'static str, a: [f64; 2], b: [f64; 2]) -> Self {
        self.samples.push((what, [a, b], true));
        self
    }
    fn of(self, of: One) -> Self {
        Self { of, ..self }
    }
    /// Logic: samples compare their floats with 0 first.
    fn truths(self) -> Self {
        Self { pairs: Pairs::Truths, ..self }.of(|x| x.gt(&x.zeros_like()))
    }
    fn sweep(self, a: [f64; 2], b: [f64; 2], budget: Budget) -> Self {
        Self { sweep: Some(([a, b], budget)), ..self }
    }
}

/// Every op of two operands that is a function of numbers by itself.
pub fn binary_ops() -> Vec<BinaryRow> {
    use Mark::{NoGradient, Once, Smooth};
    let some = [-2.0, 2.0];
    let (low, high) = ([0.0, 1.0], [2.0, 3.0]);
    // Whole numbers, so that some are equal.
    let few = [0.0, 3.0];
    vec![
        pair("add", Smooth, |a, b| a + b).identity().on(some, some).sweep(WIDE, WIDE, FOUR),
        pair("sub", Smooth, |a, b| a - b).identity().on(some, some).sweep(WIDE, WIDE, FOUR),
        pair("mul", Smooth, |a, b| a * b).identity().on(some, some).sweep(WIDE, WIDE, FOUR),
        pair("div", Smooth, |a, b| a / b).identity().on(some, [0.5, 2.0]).sweep(WIDE, WIDE, FOUR),
        pair("pow", Smooth, |a, b| a.pow(b)).identity().on([0.2, 2.0], some).sweep([0.0, 30.0], [-25.0, 25.0], FOUR),
        pair("atan2", Smooth, |a, b| a.atan2(b)).on([0.5, 2.0], some).sweep(WIDE, WIDE, FOUR.rough(8.0)),
        pair("rem", Once, |a, b| a.rem(b)).on([0.1, 0.9], [1.0, 2.0]).flat("mixed", [-9.0, 9.0], [0.5, 2.0]).sweep(
            WIDE,
            NEAR,
            FOUR.lost(DIVISOR),
        ),
        pair("minimum", Once, |a, b| a.minimum(b)).identity().on(low, high).flat("mixed", some, some).sweep(WIDE, WIDE, EXACT),
        pair("maximum", Once, |a, b| a.maximum(b)).identity().on(low, high).sweep(WIDE, WIDE, EXACT),
        pair("eq", NoGradient, |a, b| a.eq(b)).of(Tensor::floor).on(few, few).sweep(WIDE, WIDE, EXACT),
        pair("ne", NoGradient, |a, b| a.ne(b)).of(Tensor::floor).on(few, few).sweep(WIDE, WIDE, EXACT),
        pair("lt", NoGradient, |a, b| a.lt(b)).on(some, some).sweep(WIDE, WIDE, EXACT),
        pair("le", NoGradient, |a, b| a.le(b)).on(some, some).sweep(WIDE, WIDE, EXACT),
        pair("gt", NoGradient, |a, b| a.gt(b)).on(some, some).sweep(WIDE, WIDE, EXACT),
        pair("ge", NoGradient, |a, b| a.ge(b)).on(some, some).sweep(WIDE, WIDE, EXACT),
        pair("logical_and", NoGradient, |a, b| a.logical_and(b)).truths().on(some, some),
        pair("logical_or", NoGradient, |a, b| a.logical_or(b)).truths().on(some, some),
        pair("logical_xor", NoGradient, |a, b| a.logical_xor(b)).truths().on(some, some),
    ]
}

/// What the report measures for an op or activation of one operand.
pub struct Unary {
    pub name: &'static str,
    pub run: One,
    /// The range of the dense sweep. It must be correct everywhere.
    pub range: [f64; 2],
    pub budget: Budget,
}

/// What the report measures for an op of two operands.
pub struct Binary {
    pub name: &'static str,
    pub run: Two,
    pub a: [f64; 2],
    pub b: [f64; 2],
    pub budget: Budget,
}

/// Every op and activation of one operand.
pub fn unary() -> Vec<Unary> {
    type Row = (&'static str, One, [f64; 2], Budget);
    let made_of_ops: [Row; 16] = [
        ("log_sigmoid", Tensor::log_sigmoid, EXPS, FOUR),
        ("softplus_with(2, 20)", |x| x.softplus_with(2.0, 20.0), [-45.0, 45.0], FOUR.rough(6.0)),
        ("relu6", Tensor::relu6, NEAR, EXACT),
        ("hardtanh(-1, 1)", |x| x.hardtanh(-1.0, 1.0), NEAR, EXACT),
        ("clamp(-1, 1)", |x| x.clamp(-1.0, 1.0), NEAR, EXACT),
        ("leaky_relu(0.01)", |x| x.leaky_relu(0.01), NEAR, FOUR),
        ("elu(1)", |x| x.elu(1.0), NEAR, FOUR),
        ("selu", Tensor::selu, NEAR, FOUR),
        ("silu", Tensor::silu, EXPS, FOUR.rough(8.0).lost(TAIL)),
        ("mish", Tensor::mish, EXPS, ulps(6.0).rough(8.0).lost(TAIL)),
        ("gelu", Tensor::gelu, NEAR, FOUR.at(At::Operand)),
        ("gelu_tanh", Tensor::gelu_tanh, NEAR, FOUR.at(At::Operand)),
        ("hardsigmoid", Tensor::hardsigmoid, NEAR, FOUR.at(At::One)),
        ("hardswish", Tensor::hardswish, NEAR, FOUR.at(At::Operand)),
        ("softsign", Tensor::softsign, WIDE, FOUR.rough(6.0)),
        ("powf(3)", |x| x.powf(3.0), NEAR, FOUR),
    ];
    let ops = unary_ops().into_iter().filter_map(|op| op.sweep.map(|(range, budget)| (op.name, op.run, range, budget)));
    ops.chain(made_of_ops).map(|(name, run, range, budget)| Unary { name, run, range, budget }).collect()
}

/// Every op of two operands, and a choice between them.
pub fn binary() -> Vec<Binary> {
    let measured = |op: BinaryRow| {
        let ([a, b], budget) = op.sweep?;
        Some(Binary { name: op.name, run: op.run, a, b, budget })
    };
    let choice = Binary { name: "where", run: |a, b| a.lt(b).where_(a, b), a: WIDE, b: WIDE, budget: EXACT };
    binary_ops().into_iter().filter_map(measured).chain([choice]).collect()
}
