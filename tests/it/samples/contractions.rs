//! Matrix products.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn contractions() -> Vec<Sample> {
    let shapes: [(&[usize], &[usize]); 13] = [
        (&[1, 1], &[1, 1]),
        (&[2, 3], &[3, 4]),
        (&[5, 7], &[7, 3]),
        (&[1, 9], &[9, 5]),
        (&[9, 4], &[4, 1]),
        (&[4], &[4]),
        (&[4], &[4, 3]),
        (&[3, 4], &[4]),
        (&[2, 3, 4], &[2, 4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[2, 1, 3, 4], &[3, 4, 2]),
        (&[3, 0], &[0, 2]),
        (&[8, 16], &[16, 12]),
    ];
    let mut rows = Vec::new();
    for (a, b) in shapes {
        let operands = vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
        let run = |x: &[Tensor]| x[0].matmul(&x[1]);
        let sample = Sample::new("matmul", "", operands, run).within(4e-6, 4e-6).smooth();
        rows.push(if a.contains(&0) { sample.flat() } else { sample });
    }
    let ab = |a: &[usize], b: &[usize]| vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
    rows.push(Sample::new("matmul", "of transposes", ab(&[4, 3], &[5, 4]), |x| x[0].t().matmul(&x[1].t())).within(4e-6, 4e-6));
    rows.push(Sample::new("matmul", "with itself", ab(&[3, 3], &[1]), |x| x[0].matmul(&x[0]) * &x[1]).within(4e-6, 4e-6));
    rows.push(
        Sample::new("matmul", "linear, tanh", ab(&[5, 7], &[4, 7]), |x| {
            (x[0].matmul(&x[1].t()) + x[0].slice(1, 0, 4)).tanh() * 2.0
        })
        .within(4e-6, 4e-6),
    );
    rows.push(
        Sample::new("matmul", "of a slice", ab(&[6, 8], &[4, 5]), |x| x[0].slice(1, 2, 6).matmul(&x[1])).within(4e-6, 4e-6),
    );
    rows.push(
        Sample::new("matmul", "of a function", ab(&[6, 8], &[8, 5]), |x| x[0].exp().matmul(&x[1].sin())).within(1e-5, 1e-5),
    );
    rows
}
