//! Row-wise ops, dropout.

use super::kernel_ops::AXES;
use super::{Sample, operand};
use wgrad::Tensor;

pub fn rows() -> Vec<Sample> {
    let labels = |t: &Tensor, v: &[i32]| Tensor::from_slice(v, [v.len()], &t.device().expect("valid")).expect("labels upload");
    let x = |shape: &[usize]| vec![operand(shape, -3.0, 3.0)];
    vec![
        Sample::new("cross_entropy_rows", "", x(&[4, 5]), move |x| x[0].cross_entropy_rows(&labels(&x[0], &[0, 4, 2, 2])))
            .smooth(),
        Sample::new("cross_entropy_rows", "one class", x(&[3, 1]), move |x| x[0].cross_entropy_rows(&labels(&x[0], &[0, 0, 0]))),
        Sample::new("cross_entropy_rows", "mean", x(&[4, 5]), move |x| {
            x[0].cross_entropy_rows(&labels(&x[0], &[1, 4, 0, 2])).mean()
        }),
        Sample::new("gather_rows", "", x(&[4, 3]), move |x| x[0].gather_rows(&labels(&x[0], &[3, 0, 3, 1, 3])).square()).smooth(),
        Sample::new("scatter_add_rows", "", x(&[4, 3]), move |x| {
            x[0].scatter_add_rows(6, &labels(&x[0], &[5, 0, 5, 2])).square()
        }),
        Sample::new("dropout", "", x(&[6, 6]), |x| x[0].dropout(0.4, &wgrad::Generator::new(5))),
        Sample::new("dropout", "of nothing", x(&[3]), |x| x[0].dropout(0.0, &wgrad::Generator::new(5))),
        Sample::new("dropout", "of all", x(&[3]), |x| x[0].dropout(1.0, &wgrad::Generator::new(5))).flat(),
    ]
}

/// Row-wise ops of further shapes.
pub fn more() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (shape, axis) in AXES {
        let x = || vec![operand(shape, -3.0, 3.0)];
        rows.push(Sample::new("argsort", format!("{axis}"), x(), move |x| x[0].argsort(axis, axis == 1)).flat());
        for p in [0.1, 0.7] {
            rows.push(Sample::new("dropout", format!("{p}, drawn for axis {axis}"), x(), move |x| {
                x[0].dropout(p, &wgrad::Generator::at(5, 2))
            }));
        }
        for seed in [1, 2] {
            let run = move |x: &[Tensor]| x[0].categorical(axis, &wgrad::Generator::new(seed));
            rows.push(Sample::new("categorical", format!("{axis}, seed {seed}"), x(), run).flat());
        }
    }
    let labels = |like: &Tensor, n: usize, below: usize| {
        let values: Vec<i32> = (0..n).map(|i| ((i * 7 + 3) % below) as i32).collect();
        Tensor::from_slice(&values, [n], &like.device().expect("valid")).expect("labels upload")
    };
    for [n, d] in [[1, 1], [1, 5], [5, 1], [2, 3], [3, 2], [7, 4], [5, 3], [4, 9], [9, 2], [0, 3], [8, 8], [3, 33]] {
        let x = || vec![operand(&[n, d], -3.0, 3.0)];
        rows.push(Sample::new("cross_entropy_rows", "", x(), move |x| x[0].cross_entropy_rows(&labels(&x[0], n, d)).square()));
        let taken = if n == 0 { 0 } else { n + 2 };
        rows.push(Sample::new("gather_rows", "", x(), move |x| x[0].gather_rows(&labels(&x[0], taken, n.max(1))).square()));
        let run = move |x: &[Tensor]| x[0].scatter_add_rows(n + 1, &labels(&x[0], n, n + 1)).square();
        rows.push(Sample::new("scatter_add_rows", "", x(), run));
        let run = move |x: &[Tensor]| x[0].embedding(&labels(&x[0], taken, n.max(1)), None).square();
        rows.push(Sample::new("embedding", "", x(), run));
    }
    for shape in [&[][..], &[1], &[0], &[7], &[33], &[2, 3], &[5, 1], &[0, 3], &[2, 3, 5], &[1, 4, 1, 2]] {
        let run = move |x: &[Tensor]| x[0].cast(wgrad::DType::I32).one_hot(4);
        rows.push(Sample::new("one_hot", "", vec![operand(shape, 0.0, 3.9)], run).flat());
    }
    rows.into_iter().map(|row| row.within(8e-6, 8e-6).brief()).collect()
}
