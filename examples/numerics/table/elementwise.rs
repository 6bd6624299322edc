//! Elementwise ops: their ranges and budgets.

use wgrad::Tensor;

/// What an error is counted in: the spacing of f32 numbers (one ULP) at some magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the result.
    Result,
    /// At the larger of the result and 1: where a formula ends in a difference from 1.
    One,
    /// At the larger of the result and the first operand: where x is multiplied by such a difference.
    Operand,
}

/// How far off an op may be.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// ULPs.
    pub ulps: f64,
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
    Budget { ulps, at: At::Result, lost: TINY }
}

impl Budget {
    const fn at(self, at: At) -> Self {
        Self { at, ..self }
    }

    const fn lost(self, lost: f64) -> Self {
        Self { lost, ..self }
    }
}

/// An elementwise op of one operand.
pub struct Unary {
    pub name: &'static str,
    pub run: fn(&Tensor) -> Tensor,
    /// Where it is swept densely. It must be right everywhere.
    pub range: [f64; 2],
    pub budget: Budget,
}

/// An elementwise op of two operands.
pub struct Binary {
    pub name: &'static str,
    pub run: fn(&Tensor, &Tensor) -> Tensor,
    pub a: [f64; 2],
    pub b: [f64; 2],
    pub budget: Budget,
}

/// Every op and activation of one operand.
pub fn unary() -> Vec<Unary> {
    type Row = (&'static str, fn(&Tensor) -> Tensor, [f64; 2], Budget);
    let wide = [-1e3, 1e3];
    let near = [-20.0, 20.0];
    let rows: [Row; 46] = [
        ("neg", Tensor::neg, wide, EXACT),
        ("abs", Tensor::abs, wide, EXACT),
        ("sign", Tensor::sign, wide, EXACT),
        ("floor", Tensor::floor, wide, EXACT),
        ("ceil", Tensor::ceil, wide, EXACT),
        ("round", Tensor::round, wide, EXACT),
        ("trunc", Tensor::trunc, wide, EXACT),
        ("relu", Tensor::relu, wide, EXACT),
        ("is_nan", Tensor::is_nan, wide, EXACT),
        ("is_finite", Tensor::is_finite, wide, EXACT),
        ("sqrt", Tensor::sqrt, [0.0, 1e3], FOUR),
        ("rsqrt", Tensor::rsqrt, [0.0, 1e3], FOUR),
        ("reciprocal", Tensor::reciprocal, wide, FOUR),
        ("square", Tensor::square, wide, FOUR),
        ("exp", Tensor::exp, [-90.0, 90.0], FOUR),
        ("expm1", Tensor::expm1, [-20.0, 90.0], FOUR),
        ("log", Tensor::log, [0.0, 1e3], FOUR),
        ("log1p", Tensor::log1p, [-1.0, 1e3], FOUR),
        ("sin", Tensor::sin, wide, FOUR),
        ("cos", Tensor::cos, wide, FOUR),
        ("tan", Tensor::tan, wide, ulps(5.0)),
        ("asin", Tensor::asin, [-1.0, 1.0], FOUR),
        ("acos", Tensor::acos, [-1.0, 1.0], FOUR),
        ("atan", Tensor::atan, near, FOUR),
        ("sinh", Tensor::sinh, [-90.0, 90.0], FOUR),
        ("cosh", Tensor::cosh, [-90.0, 90.0], FOUR),
        ("tanh", Tensor::tanh, near, FOUR),
        ("erf", Tensor::erf, [-5.0, 5.0], FOUR),
        ("sigmoid", Tensor::sigmoid, [-90.0, 90.0], FOUR),
        ("softplus", Tensor::softplus, [-90.0, 90.0], FOUR),
        ("log_sigmoid", Tensor::log_sigmoid, [-90.0, 90.0], FOUR),
        ("softplus_with(2, 20)", |x| x.softplus_with(2.0, 20.0), [-45.0, 45.0], FOUR),
        ("relu6", Tensor::relu6, near, EXACT),
        ("hardtanh(-1, 1)", |x| x.hardtanh(-1.0, 1.0), near, EXACT),
        ("clamp(-1, 1)", |x| x.clamp(-1.0, 1.0), near, EXACT),
        ("leaky_relu(0.01)", |x| x.leaky_relu(0.01), near, FOUR),
        ("elu(1)", |x| x.elu(1.0), near, FOUR),
        ("selu", Tensor::selu, near, FOUR),
        ("silu", Tensor::silu, [-90.0, 90.0], FOUR.lost(TAIL)),
        ("mish", Tensor::mish, [-90.0, 90.0], ulps(6.0).lost(TAIL)),
        ("gelu", Tensor::gelu, near, FOUR.at(At::Operand)),
        ("gelu_tanh", Tensor::gelu_tanh, near, FOUR.at(At::Operand)),
        ("hardsigmoid", Tensor::hardsigmoid, near, FOUR.at(At::One)),
        ("hardswish", Tensor::hardswish, near, FOUR.at(At::Operand)),
        ("softsign", Tensor::softsign, wide, FOUR),
        ("powf(3)", |x| x.powf(3.0), near, FOUR),
    ];
    rows.into_iter().map(|(name, run, range, budget)| Unary { name, run, range, budget }).collect()
}

/// Every op of two operands.
pub fn binary() -> Vec<Binary> {
    type Row = (&'static str, fn(&Tensor, &Tensor) -> Tensor, [f64; 2], [f64; 2], Budget);
    let wide = [-1e3, 1e3];
    let rows: [Row; 16] = [
        ("add", |a, b| a + b, wide, wide, FOUR),
        ("sub", |a, b| a - b, wide, wide, FOUR),
        ("mul", |a, b| a * b, wide, wide, FOUR),
        ("div", |a, b| a / b, wide, wide, FOUR),
        ("rem", |a, b| a.rem(b), wide, [-20.0, 20.0], FOUR.lost(DIVISOR)),
        ("pow", |a, b| a.pow(b), [0.0, 30.0], [-25.0, 25.0], FOUR),
        ("atan2", |a, b| a.atan2(b), wide, wide, FOUR),
        ("minimum", |a, b| a.minimum(b), wide, wide, EXACT),
        ("maximum", |a, b| a.maximum(b), wide, wide, EXACT),
        ("eq", |a, b| a.eq(b), wide, wide, EXACT),
        ("ne", |a, b| a.ne(b), wide, wide, EXACT),
        ("lt", |a, b| a.lt(b), wide, wide, EXACT),
        ("le", |a, b| a.le(b), wide, wide, EXACT),
        ("gt", |a, b| a.gt(b), wide, wide, EXACT),
        ("ge", |a, b| a.ge(b), wide, wide, EXACT),
        ("where", |a, b| a.lt(b).where_(a, b), wide, wide, EXACT),
    ];
    rows.into_iter().map(|(name, run, a, b, budget)| Binary { name, run, a, b, budget }).collect()
}
