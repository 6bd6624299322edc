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
        Term::Cast(a) if expr.terms[a].1.is_float() && dtype == DType::Bool => Some("order"),
        Term::Cast(a) => (expr.terms[a].1.is_float() && dtype.is_int()).then_some("convert"),
        Term::Unary(op, a) if expr.terms[a].1.is_float() => Some(unary_float(op).0).filter(|name| !name.is_empty()),
        Term::Binary(op, a, _) => Some(binary_text(op, expr.terms[a].1).0).filter(|name| !name.is_empty()),
        _ => None,
    }
}

/// WGSL for a unary op applied to the text `x` of dtype `dtype`; the result has the dtype that the op gives.
pub(crate) fn unary(op: UnaryOp, dtype: DType, x: &str) -> String {
    if dtype.is_float() { unary_float(op).1.replace("{x}", x) } else { unary_int(op, dtype, x) }
}

/// On floats: the snippet that the text calls, if any, and the text.
const fn unary_float(op: UnaryOp) -> (&'static str, &'static str) {
    match op {
        UnaryOp::Neg => ("", "-{x}"),
        UnaryOp::Abs => ("", "abs({x})"),
        UnaryOp::Sign => ("order", "sign_f32({x})"),
        UnaryOp::Sqrt => ("", "sqrt({x})"),
        UnaryOp::Rsqrt => ("", "1f / sqrt({x})"),
        UnaryOp::Reciprocal => ("", "1f / {x}"),
        UnaryOp::Square => ("", "{x} * {x}"),
        UnaryOp::Exp => ("exp", "exp_f32({x})"),
        UnaryOp::Expm1 => ("exp", "expm1_f32({x})"),
        UnaryOp::Log => ("log", "log_f32({x})"),
        UnaryOp::Log1p => ("log", "log1p_f32({x})"),
        UnaryOp::Sin => ("trig", "sin_f32({x})"),
        UnaryOp::Cos => ("trig", "cos_f32({x})"),
        UnaryOp::Tan => ("trig", "tan_f32({x})"),
        UnaryOp::Asin => ("inverse_trig", "asin_f32({x})"),
        UnaryOp::Acos => ("inverse_trig", "acos_f32({x})"),
        UnaryOp::Atan => ("inverse_trig", "atan_f32({x})"),
        UnaryOp::Sinh => ("hyperbolic", "sinh_f32({x})"),
        UnaryOp::Cosh => ("hyperbolic", "cosh_f32({x})"),
        UnaryOp::Tanh => ("hyperbolic", "tanh_f32({x})"),
        UnaryOp::Erf => ("erf", "erf_f32({x})"),
        UnaryOp::Floor => ("", "floor({x})"),
        UnaryOp::Ceil => ("", "ceil({x})"),
        UnaryOp::Round => ("", "round({x})"),
        UnaryOp::Trunc => ("", "trunc({x})"),
        UnaryOp::Sigmoid => ("activation", "sigmoid_f32({x})"),
        // From -0 to -∞ by bits, so that NaN passes through.
        UnaryOp::Relu => ("", "select({x}, 0f, bitcast<u32>({x}) - 0x80000000u <= 0x7f800000u)"),
        UnaryOp::Softplus => ("activation", "softplus_f32({x})"),
        UnaryOp::Not => ("order", "select(0u, 1u, ordered_f32({x}, 0f) && {x} == 0f)"),
        UnaryOp::IsNan => ("bits", "select(0u, 1u, is_nan_f32({x}))"),
        UnaryOp::IsFinite => ("bits", "select(0u, 1u, is_finite_f32({x}))"),
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
    // `{b}` is not among the texts of terms, so that the second replacement meets only the template's own.
    binary_text(op, dtype).1.replace("{a}", a).replace("{b}", b)
}

/// The snippet that the text calls, if any, and the text.
const fn binary_text(op: BinaryOp, dtype: DType) -> (&'static str, &'static str) {
    let float = dtype.is_float();
    match op {
        BinaryOp::Add => ("", "{a} + {b}"),
        BinaryOp::Sub => ("", "{a} - {b}"),
        BinaryOp::Mul => ("", "{a} * {b}"),
        BinaryOp::Div if float => ("", "{a} / {b}"),
        BinaryOp::Rem if float => ("rem", "rem_f32({a}, {b})"),
        BinaryOp::Pow if float => ("pow", "pow_f32({a}, {b})"),
        BinaryOp::Div if matches!(dtype, DType::I32) => ("integer", "div_i32({a}, {b})"),
        BinaryOp::Rem if matches!(dtype, DType::I32) => ("integer", "rem_i32({a}, {b})"),
        BinaryOp::Pow if matches!(dtype, DType::I32) => ("integer", "pow_i32({a}, {b})"),
        BinaryOp::Div => ("integer", "div_u32({a}, {b})"),
        BinaryOp::Rem => ("integer", "rem_u32({a}, {b})"),
        BinaryOp::Pow => ("integer", "pow_u32({a}, {b})"),
        BinaryOp::Atan2 => ("inverse_trig", "atan2_f32({a}, {b})"),
        BinaryOp::Minimum if float => ("order", "minimum_f32({a}, {b})"),
        BinaryOp::Maximum if float => ("order", "maximum_f32({a}, {b})"),
        BinaryOp::Minimum => ("", "min({a}, {b})"),
        BinaryOp::Maximum => ("", "max({a}, {b})"),
        // Comparisons of floats may come out as they like for NaN.
        BinaryOp::Eq if float => ("order", "select(0u, 1u, ordered_f32({a}, {b}) && {a} == {b})"),
        BinaryOp::Ne if float => ("order", "select(1u, 0u, ordered_f32({a}, {b}) && {a} == {b})"),
        BinaryOp::Lt if float => ("order", "select(0u, 1u, ordered_f32({a}, {b}) && {a} < {b})"),
        BinaryOp::Le if float => ("order", "select(0u, 1u, ordered_f32({a}, {b}) && {a} <= {b})"),
        BinaryOp::Gt if float => ("order", "select(0u, 1u, ordered_f32({a}, {b}) && {a} > {b})"),
        BinaryOp::Ge if float => ("order", "select(0u, 1u, ordered_f32({a}, {b}) && {a} >= {b})"),
        BinaryOp::Eq => ("", "select(0u, 1u, {a} == {b})"),
        BinaryOp::Ne => ("", "select(1u, 0u, {a} == {b})"),
        BinaryOp::Lt => ("", "select(0u, 1u, {a} < {b})"),
        BinaryOp::Le => ("", "select(0u, 1u, {a} <= {b})"),
        BinaryOp::Gt => ("", "select(0u, 1u, {a} > {b})"),
        BinaryOp::Ge => ("", "select(0u, 1u, {a} >= {b})"),
        BinaryOp::And => ("", "{a} & {b}"),
        BinaryOp::Or => ("", "{a} | {b}"),
        BinaryOp::Xor => ("", "{a} ^ {b}"),
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
        // NaN is true.
        (DType::F32 | DType::F64, DType::Bool) => format!("select(1u, 0u, ordered_f32({x}, 0f) && {x} == 0f)"),
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
