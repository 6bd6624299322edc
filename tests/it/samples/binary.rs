//! Elementwise ops of two operands.

use super::{Sample, first_of_each, operand};
use crate::numerics::elementwise::{BinaryRow, Mark, binary_ops};
use wgrad::{DType, Tensor};

/// Two-operand elementwise ops over two shapes.
pub fn binary_over(a: &[usize], b: &[usize]) -> Vec<Sample> {
    type Row = (&'static str, &'static str, [f64; 2], [f64; 2], fn(&Tensor, &Tensor) -> Tensor);
    let wide = [-2.0, 2.0];
    let kinked: [Row; 2] = [
        ("maximum", "of numbers", [0.0, 1.0], [1.5, 3.0], |a, b| a.maximum(-1) + b.minimum(2.5) * a.maximum(0.5)),
        ("where_", "", wide, wide, |a, b| b.gt(&b.full_like(9.0)).where_(a, &(a * b))),
    ];
    let flat: [Row; 3] = [
        ("ge", "numbers", wide, wide, |a, b| a.ge(0.5).logical_and(&b.lt(-1))),
        ("ne", "a number", [0.0, 3.0], [0.0, 3.0], |a, b| a.floor().cast(DType::I32).ne(1).logical_and(&b.floor().ne(2))),
        ("logical_xor", "of bits", [0.0, 99.0], [0.0, 99.0], |a, b| a.cast(DType::I32).logical_xor(&b.cast(DType::I32))),
    ];
    let mut rows = Vec::new();
    for BinaryRow { name, run, mark, samples, of, .. } in binary_ops() {
        for (what, [ra, rb], flat) in samples {
            let operands = vec![operand(a, ra[0], ra[1]), operand(b, rb[0], rb[1])];
            let sample = Sample::new(name, what, operands, move |x| run(&of(&x[0]), &of(&x[1])));
            rows.push(match mark {
                _ if flat => sample.flat(),
                Mark::Smooth => sample.smooth(),
                Mark::Once | Mark::NoGradient => sample,
            });
        }
    }
    let make = |&(op, what, ra, rb, f): &Row| {
        let operands = vec![operand(a, ra[0], ra[1]), operand(b, rb[0], rb[1])];
        Sample::new(op, what, operands, move |x| f(&x[0], &x[1]))
    };
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
