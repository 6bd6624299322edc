//! Elementwise ops of one operand.

use super::{Sample, first_of_each, operand};
use wgrad::{DType, Tensor};

/// Shapes that every op of one operand is tried on: a scalar, nothing, axes of length 1, odd lengths, many axes.
pub const MORE_SHAPES: [&[usize]; 10] =
    [&[], &[0, 3], &[2, 0, 3], &[9], &[33], &[5, 1], &[1, 1, 3], &[2, 3, 5], &[1, 4, 1, 2], &[2, 2, 2, 2]];

/// One-operand elementwise ops over a shape.
pub fn unary_over(shape: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, &'static str, f64, f64, fn(&Tensor) -> Tensor);
    let smooth: [Row; 24] = [
        ("neg", "", -3.0, 3.0, Tensor::neg),
        ("sqrt", "", 0.1, 4.0, Tensor::sqrt),
        ("rsqrt", "", 0.1, 4.0, Tensor::rsqrt),
        ("reciprocal", "", 0.2, 3.0, Tensor::reciprocal),
        ("square", "", -3.0, 3.0, Tensor::square),
        ("exp", "", -3.0, 3.0, Tensor::exp),
        ("expm1", "", -1.0, 2.0, Tensor::expm1),
        ("log", "", 0.1, 4.0, Tensor::log),
        ("log1p", "", -0.5, 3.0, Tensor::log1p),
        ("sin", "", -6.0, 6.0, Tensor::sin),
        ("cos", "", -6.0, 6.0, Tensor::cos),
        ("tan", "", -1.2, 1.2, Tensor::tan),
        ("asin", "", -0.9, 0.9, Tensor::asin),
        ("acos", "", -0.9, 0.9, Tensor::acos),
        ("atan", "", -3.0, 3.0, Tensor::atan),
        ("sinh", "", -2.0, 2.0, Tensor::sinh),
        ("cosh", "", -2.0, 2.0, Tensor::cosh),
        ("tanh", "", -3.0, 3.0, Tensor::tanh),
        ("erf", "", -3.0, 3.0, Tensor::erf),
        ("sigmoid", "", -5.0, 5.0, Tensor::sigmoid),
        ("softplus", "", -5.0, 5.0, Tensor::softplus),
        ("powf", "3", -2.0, 2.0, |x| x.powf(3.0)),
        ("sub", "of a scale", -2.0, 2.0, |x| 1.5 - x * 3.0 / 7.0),
        ("detach", "", -2.0, 2.0, |x| x * x.detach()),
    ];
    let kinked: [Row; 6] = [
        ("abs", "", 0.2, 3.0, Tensor::abs),
        ("abs", "negative", -3.0, -0.2, Tensor::abs),
        ("relu", "", 0.2, 3.0, Tensor::relu),
        ("relu", "negative", -3.0, -0.2, Tensor::relu),
        ("clamp", "", -3.0, 3.0, |x| x.clamp(-4.0, 4.0)),
        ("clamp", "outside", -3.0, 3.0, |x| x.clamp(4.0, 5.0)),
    ];
    let flat: [Row; 13] = [
        ("sign", "", -2.0, 2.0, Tensor::sign),
        ("floor", "", -4.0, 4.0, Tensor::floor),
        ("ceil", "", -4.0, 4.0, Tensor::ceil),
        ("round", "", -4.0, 4.0, Tensor::round),
        ("trunc", "", -4.0, 4.0, Tensor::trunc),
        ("is_nan", "", -1.0, 1.0, |x| x.log().is_nan()),
        ("is_finite", "", -1.0, 1.0, |x| x.log().is_finite()),
        ("logical_not", "", -1.0, 1.0, |x| x.gt(&x.zeros_like()).logical_not()),
        ("cast", "i32", -5.0, 5.0, |x| x.cast(DType::I32)),
        ("cast", "u32", -5.0, 5.0, |x| x.cast(DType::U32)),
        ("cast", "bool", -5.0, 5.0, |x| x.trunc().cast(DType::Bool)),
        ("rem", "of integers, with others", -50.0, 50.0, |x| {
            let i = x.cast(DType::I32);
            &i * 3 - (&i % 7) + &i / 5
        }),
        ("relu", "mixed", -3.0, 3.0, Tensor::relu),
    ];
    let make = |&(op, what, lo, hi, f): &Row| Sample::new(op, what, vec![operand(shape, lo, hi)], move |x| f(&x[0]));
    let mut rows: Vec<Sample> = smooth.iter().map(|r| if r.0 == "detach" { make(r).flat() } else { make(r).smooth() }).collect();
    rows.extend(kinked.iter().map(make));
    rows.extend(flat.iter().map(|r| make(r).flat()));
    rows
}

pub fn unary() -> Vec<Sample> {
    let mut rows = unary_over(&[3, 4]);
    rows.extend(unary_over(&[1]));
    rows.extend(MORE_SHAPES.iter().flat_map(|shape| first_of_each(unary_over(shape))));
    rows
}
