//! Elementwise ops of two operands.

use super::{Sample, first_of_each, operand};
use wgrad::{DType, Tensor};

/// Two-operand elementwise ops over two shapes.
pub fn binary_over(a: &[usize], b: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, &'static str, [f64; 2], [f64; 2], fn(&Tensor, &Tensor) -> Tensor);
    let wide = [-2.0, 2.0];
    let smooth: [Row; 6] = [
        ("add", "", wide, wide, |a, b| a + b),
        ("sub", "", wide, wide, |a, b| a - b),
        ("mul", "", wide, wide, |a, b| a * b),
        ("div", "", wide, [0.5, 2.0], |a, b| a / b),
        ("pow", "", [0.2, 2.0], wide, |a, b| a.pow(b)),
        ("atan2", "", [0.5, 2.0], wide, |a, b| a.atan2(b)),
    ];
    let kinked: [Row; 5] = [
        ("rem", "", [0.1, 0.9], [1.0, 2.0], |a, b| a.rem(b)),
        ("minimum", "", [0.0, 1.0], [2.0, 3.0], |a, b| a.minimum(b)),
        ("maximum", "", [0.0, 1.0], [2.0, 3.0], |a, b| a.maximum(b)),
        ("maximum", "of numbers", [0.0, 1.0], [1.5, 3.0], |a, b| a.maximum(-1) + b.minimum(2.5) * a.maximum(0.5)),
        ("where_", "", wide, wide, |a, b| b.gt(&b.full_like(9.0)).where_(a, &(a * b))),
    ];
    let flat: [Row; 14] = [
        ("rem", "mixed", [-9.0, 9.0], [0.5, 2.0], |a, b| a.rem(b)),
        ("minimum", "mixed", wide, wide, |a, b| a.minimum(b)),
        ("eq", "", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().eq(&b.floor())),
        ("ne", "", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().ne(&b.floor())),
        ("lt", "", wide, wide, |a, b| a.lt(b)),
        ("le", "", wide, wide, |a, b| a.le(b)),
        ("gt", "", wide, wide, |a, b| a.gt(b)),
        ("ge", "", wide, wide, |a, b| a.ge(b)),
        ("ge", "numbers", wide, wide, |a, b| a.ge(0.5).logical_and(&b.lt(-1))),
        ("ne", "a number", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().cast(DType::I32).ne(1).logical_and(&b.floor().ne(2))),
        ("logical_and", "", wide, wide, |a, b| a.gt(&a.zeros_like()).logical_and(&b.gt(&b.zeros_like()))),
        ("logical_or", "", wide, wide, |a, b| a.gt(&a.zeros_like()).logical_or(&b.gt(&b.zeros_like()))),
        ("logical_xor", "", wide, wide, |a, b| a.gt(&a.zeros_like()).logical_xor(&b.gt(&b.zeros_like()))),
        ("logical_xor", "of bits", [0.0, 99.0], [0.0, 99.0], |a, b| a.cast(DType::I32).logical_xor(&b.cast(DType::I32))),
    ];
    let make = |&(op, what, ra, rb, f): &Row| {
        let operands = vec![operand(a, ra[0], ra[1]), operand(b, rb[0], rb[1])];
        Sample::new(op, what, operands, move |x| f(&x[0], &x[1]))
    };
    let mut rows: Vec<Sample> = smooth.iter().map(|r| make(r).smooth()).collect();
    rows.extend(kinked.iter().map(make));
    rows.extend(flat.iter().map(|r| make(r).flat()));
    rows
}

pub fn binary() -> Vec<Sample> {
    let shapes: [(&[usize], &[usize]); 5] =
        [(&[3, 4], &[3, 4]), (&[3, 4], &[4]), (&[2, 1, 3], &[4, 1]), (&[], &[2, 2]), (&[5], &[1])];
    let more: [(&[usize], &[usize]); 7] = [
        (&[], &[]),
        (&[1], &[1]),
        (&[0, 3], &[0, 3]),
        (&[0, 3], &[1]),
        (&[2, 3, 5], &[5]),
        (&[2, 3, 5], &[3, 1]),
        (&[4, 1], &[1, 5]),
    ];
    let mut rows: Vec<Sample> = shapes.iter().flat_map(|(a, b)| binary_over(a, b)).collect();
    rows.extend(more.iter().flat_map(|(a, b)| first_of_each(binary_over(a, b))));
    rows
}
