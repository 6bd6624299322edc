//! The WGSL functions that expressions call: which op needs which, and their text.

use super::snippets::SNIPPETS;
use crate::dtype::DType;
use crate::graph::op::{BinaryOp, UnaryOp};
use crate::plan::expr::{Expr, Term};

/// The snippets that several expressions call, each once, plus `extra` ones by name.
pub(crate) fn snippets(exprs: &[&Expr], extra: &[&str]) -> String {
    let mut wanted: Vec<&str> = extra.to_vec();
    for expr in exprs {
        for (term, dtype) in &expr.terms {
            wanted.extend(needed(expr, term, *dtype));
        }
    }
    let mut marked = vec![false; SNIPPETS.len()];
    // Needs point backwards in the table, so one pass from the end closes the set.
    for (i, snippet) in SNIPPETS.iter().enumerate().rev() {
        if wanted.contains(&snippet.name) {
            marked[i] = true;
            wanted.extend(snippet.needs);
        }
    }
    let mut text = String::new();
    for (snippet, _) in SNIPPETS.iter().zip(marked).filter(|(_, m)| *m) {
        text.push_str(snippet.source);
        text.push('\n');
    }
    text
}

/// The snippet that a term calls, if any.
fn needed(expr: &Expr, term: &Term, dtype: DType) -> Option<&'static str> {
    match *term {
        Term::Random { .. } => Some("threefry"),
        Term::Cast(a) if expr.terms[a].1 == DType::F16 || dtype == DType::F16 => Some("half"),
        Term::Cast(a) => (expr.terms[a].1.is_float() && dtype.is_int()).then_some("convert"),
        Term::Unary(op, a) if expr.terms[a].1.is_float() => match op {
            UnaryOp::Exp | UnaryOp::Expm1 => Some("exp"),
            UnaryOp::Log | UnaryOp::Log1p => Some("log"),
            UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan => Some("trig"),
            UnaryOp::Asin | UnaryOp::Acos | UnaryOp::Atan => Some("inverse_trig"),
            UnaryOp::Sinh | UnaryOp::Cosh | UnaryOp::Tanh => Some("hyperbolic"),
            UnaryOp::Erf => Some("erf"),
            UnaryOp::Sigmoid | UnaryOp::Softplus => Some("activation"),
            UnaryOp::IsNan | UnaryOp::IsFinite => Some("bits"),
            _ => None,
        },
        Term::Binary(op, a, _) => match (op, expr.terms[a].1.is_float()) {
            (BinaryOp::Pow, true) => Some("pow"),
            (BinaryOp::Rem, true) => Some("rem"),
            (BinaryOp::Atan2, true) => Some("inverse_trig"),
            (BinaryOp::Minimum | BinaryOp::Maximum, true) => Some("order"),
            (BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow, false) => Some("integer"),
            _ => None,
        },
        _ => None,
    }
}

/// WGSL for a unary op applied to the text `x` of dtype `dtype`; the result is Bool (u32) for `Not`, `IsNan`, `IsFinite`.
pub(crate) fn unary(op: UnaryOp, dtype: DType, x: &str) -> String {
    if !dtype.is_float() {
        return unary_int(op, dtype, x);
    }
    match op {
        UnaryOp::Neg => format!("-{x}"),
        UnaryOp::Abs => format!("abs({x})"),
        UnaryOp::Sign => format!("select(select(0f, 1f, {x} > 0f), -1f, {x} < 0f)"),
        UnaryOp::Sqrt => format!("sqrt({x})"),
        UnaryOp::Rsqrt => format!("1f / sqrt({x})"),
        UnaryOp::Reciprocal => format!("1f / {x}"),
        UnaryOp::Square => format!("{x} * {x}"),
        UnaryOp::Floor => format!("floor({x})"),
        UnaryOp::Ceil => format!("ceil({x})"),
        UnaryOp::Round => format!("round({x})"),
        UnaryOp::Trunc => format!("trunc({x})"),
        // A comparison with NaN is false, so NaN passes through.
        UnaryOp::Relu => format!("select({x}, 0f, {x} <= 0f)"),
        UnaryOp::Not => format!("select(0u, 1u, {x} == 0f)"),
        UnaryOp::IsNan => format!("select(0u, 1u, is_nan_f32({x}))"),
        UnaryOp::IsFinite => format!("select(0u, 1u, is_finite_f32({x}))"),
        UnaryOp::Exp => format!("exp_f32({x})"),
        UnaryOp::Expm1 => format!("expm1_f32({x})"),
        UnaryOp::Log => format!("log_f32({x})"),
        UnaryOp::Log1p => format!("log1p_f32({x})"),
        UnaryOp::Sin => format!("sin_f32({x})"),
        UnaryOp::Cos => format!("cos_f32({x})"),
        UnaryOp::Tan => format!("tan_f32({x})"),
        UnaryOp::Asin => format!("asin_f32({x})"),
        UnaryOp::Acos => format!("acos_f32({x})"),
        UnaryOp::Atan => format!("atan_f32({x})"),
        UnaryOp::Sinh => format!("sinh_f32({x})"),
        UnaryOp::Cosh => format!("cosh_f32({x})"),
        UnaryOp::Tanh => format!("tanh_f32({x})"),
        UnaryOp::Erf => format!("erf_f32({x})"),
        UnaryOp::Sigmoid => format!("sigmoid_f32({x})"),
        UnaryOp::Softplus => format!("softplus_f32({x})"),
    }
}

/// On integers and truth values; what only floats have leaves them as they are.
fn unary_int(op: UnaryOp, dtype: DType, x: &str) -> String {
    let signed = dtype == DType::I32;
    match op {
        UnaryOp::Neg if signed => format!("0i - {x}"),
        UnaryOp::Neg => format!("0u - {x}"),
        UnaryOp::Abs if signed => format!("abs({x})"),
        UnaryOp::Sign if signed => format!("sign({x})"),
        UnaryOp::Sign => format!("min({x}, 1u)"),
        UnaryOp::Square => format!("{x} * {x}"),
        UnaryOp::Relu if signed => format!("max({x}, 0i)"),
        UnaryOp::Not => format!("select(0u, 1u, {x} == {})", zero(dtype)),
        UnaryOp::IsNan => "0u".into(),
        UnaryOp::IsFinite => "1u".into(),
        _ => x.into(),
    }
}

/// WGSL for a binary op on two texts of dtype `dtype`; comparisons give Bool (u32).
pub(crate) fn binary(op: BinaryOp, dtype: DType, a: &str, b: &str) -> String {
    let name = wgsl_type(dtype);
    let float = dtype.is_float();
    match op {
        BinaryOp::Add => format!("{a} + {b}"),
        BinaryOp::Sub => format!("{a} - {b}"),
        BinaryOp::Mul => format!("{a} * {b}"),
        BinaryOp::Div if float => format!("{a} / {b}"),
        BinaryOp::Rem if float => format!("rem_f32({a}, {b})"),
        BinaryOp::Div => format!("div_{name}({a}, {b})"),
        BinaryOp::Rem => format!("rem_{name}({a}, {b})"),
        BinaryOp::Pow => format!("pow_{name}({a}, {b})"),
        BinaryOp::Atan2 => format!("atan2_f32({a}, {b})"),
        BinaryOp::Minimum if float => format!("minimum_f32({a}, {b})"),
        BinaryOp::Maximum if float => format!("maximum_f32({a}, {b})"),
        BinaryOp::Minimum => format!("min({a}, {b})"),
        BinaryOp::Maximum => format!("max({a}, {b})"),
        BinaryOp::Eq => format!("select(0u, 1u, {a} == {b})"),
        // naga's `!=` is false for NaN.
        BinaryOp::Ne => format!("select(1u, 0u, {a} == {b})"),
        BinaryOp::Lt => format!("select(0u, 1u, {a} < {b})"),
        BinaryOp::Le => format!("select(0u, 1u, {a} <= {b})"),
        BinaryOp::Gt => format!("select(0u, 1u, {a} > {b})"),
        BinaryOp::Ge => format!("select(0u, 1u, {a} >= {b})"),
        BinaryOp::And => format!("{a} & {b}"),
        BinaryOp::Or => format!("{a} | {b}"),
        BinaryOp::Xor => format!("{a} ^ {b}"),
    }
}

/// WGSL that converts the text `x` from one dtype to another.
pub(crate) fn cast(from: DType, to: DType, x: &str) -> String {
    match (from, to) {
        _ if from == to => x.into(),
        // By bits, so that a subnormal is true whatever a driver does to it.
        (DType::F16, DType::Bool) => format!("min({x} & 0x7fffu, 1u)"),
        (DType::F16, _) => cast(DType::F32, to, &format!("half_to_f32({x})")),
        (_, DType::F16) => format!("f32_to_half({})", cast(from, DType::F32, x)),
        (DType::Bool, DType::U8) => x.into(),
        (DType::F32 | DType::F64, DType::U8) => format!("min(f32_to_u32({x}), 255u)"),
        (_, DType::U8) => format!("{} & 255u", cast(from, DType::U32, x)),
        // Not `!=`, which naga makes false for NaN.
        (_, DType::Bool) => format!("select(1u, 0u, {x} == {})", zero(from)),
        (DType::F32 | DType::F64, DType::I32) => format!("f32_to_i32({x})"),
        (DType::F32 | DType::F64, DType::U32) => format!("f32_to_u32({x})"),
        _ if wgsl_type(from) == wgsl_type(to) => x.into(),
        _ => format!("{}({x})", wgsl_type(to)),
    }
}

/// The WGSL type that holds a dtype: of F16, the bits. F64 does not reach a GPU; executors reject it before.
pub(crate) const fn wgsl_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F64 => "f32",
        DType::I32 => "i32",
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => "u32",
    }
}

/// The literal 0 of a dtype.
pub(crate) const fn zero(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F64 => "0f",
        DType::I32 => "0i",
        DType::U32 | DType::Bool | DType::U8 | DType::F16 => "0u",
    }
}
