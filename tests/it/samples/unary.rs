//! Elementwise ops of one operand.

use super::{Sample, first_of_each, operand};
use crate::numerics::elementwise::{Mark, UnaryRow, unary_ops};
use wgrad::{DType, Tensor};

/// Shapes that every op of one operand is tried on: a scalar, no elements, axes of length 1, odd lengths, many axes.
pub const MORE_SHAPES: [&[usize]; 10] =
    [&[], &[0, 3], &[2, 0, 3], &[9], &[33], &[5, 1], &[1, 1, 3], &[2, 3, 5], &[1, 4, 1, 2], &[2, 2, 2, 2]];

/// One-operand elementwise ops over a shape.
pub fn unary_over(shape: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, &'static str, f64, f64, fn(&Tensor) -> Tensor);
    let smooth: [Row; 3] = [
        ("powf", "3", -2.0, 2.0, |x| x.powf(3.0)),
        ("sub", "of a scale", -2.0, 2.0, |x| 1.5 - x * 3.0 / 7.0),
        ("detach", "", -2.0, 2.0, |x| x * x.detach()),
    ];
    let kinked: [Row; 2] =
        [("clamp", "", -3.0, 3.0, |x| x.clamp(-4.0, 4.0)), ("clamp", "outside", -3.0, 3.0, |x| x.clamp(4.0, 5.0))];
    let flat: [Row; 4] = [
        ("cast", "i32", -5.0, 5.0, |x| x.cast(DType::I32)),
        ("cast", "u32", -5.0, 5.0, |x| x.cast(DType::U32)),
        ("cast", "bool", -5.0, 5.0, |x| x.trunc().cast(DType::Bool)),
        ("rem", "of integers, with others", -50.0, 50.0, |x| {
            let i = x.cast(DType::I32);
            &i * 3 - (&i % 7) + &i / 5
        }),
    ];
    let make = |&(op, what, lo, hi, f): &Row| Sample::new(op, what, vec![operand(shape, lo, hi)], move |x| f(&x[0]));
    let mut rows = Vec::new();
    for UnaryRow { name, run, mark, samples, of, .. } in unary_ops() {
        for (what, [lo, hi], flat) in samples {
            let sample = Sample::new(name, what, vec![operand(shape, lo, hi)], move |x| run(&of(&x[0])));
            rows.push(match mark {
                _ if flat => sample.flat(),
                Mark::Smooth => sample.smooth(),
                Mark::Once | Mark::NoGradient => sample,
            });
        }
    }
    rows.extend(smooth.iter().map(|r| if r.0 == "detach" { make(r).flat() } else { make(r).smooth() }));
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
