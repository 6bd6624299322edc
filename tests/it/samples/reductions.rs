//! Reductions and normalisation.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn reductions() -> Vec<Sample> {
    type Row = (&'static str, &'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let ops: [Row; 6] = [
        ("sum", "", |x, a, k| x.sum(a, k)),
        ("mean", "", |x, a, k| x.mean(a, k)),
        ("prod", "", |x, a, k| x.prod(a, k)),
        ("max", "", |x, a, k| x.max(a, k)),
        ("min", "", |x, a, k| x.min(a, k)),
        ("var", "", |x, a, k| x.var(a, 1, k)),
    ];
    let mut rows = Vec::new();
    for (op, _, f) in ops {
        for (axes, keep) in [(&[0isize][..], false), (&[-1], true), (&[0, 2], false), (&[0, 1, 2], false), (&[1], false)] {
            let run = move |x: &[Tensor]| f(&x[0], axes, keep).square();
            rows.push(Sample::new(op, format!("over {axes:?}"), vec![operand(&[2, 3, 4], 0.3, 2.0)], run).within(4e-6, 2e-6));
        }
    }
    rows.push(Sample::new(
        "sum",
        "of a product, transposed",
        vec![operand(&[3, 4], -1.0, 1.0), operand(&[4, 3], -1.0, 1.0)],
        |x| (&x[0] * x[1].t()).sum(0, false) * 2.0,
    ));
    rows.push(Sample::new("sum", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].sum(1, false) + 1.0).flat());
    rows.push(
        Sample::new("prod", "with zeros", vec![operand(&[2, 3], 0.5, 1.0)], |x| {
            (&x[0] * x[0].gt(&x[0].full_like(0.6)).cast(x[0].dtype().expect("valid"))).prod(1, false)
        })
        .flat(),
    );
    rows.push(Sample::new("argmax", "", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmax(1, false)).flat());
    rows.push(
        Sample::new("normalize", "the last axis", vec![operand(&[3, 5], -1.0, 1.0)], |x| x[0].normalize(&[1], 1e-5).0 * 2.0)
            .within(2e-5, 2e-5),
    );
    rows.push(Sample::new("argmax", "over two axes", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmax([0, 2], true)).flat());
    rows.push(Sample::new("argmin", "over all", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmin((), false)).flat());
    rows.push(Sample::new("argmin", "of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmin(1, false)).flat());
    rows.push(Sample::new("argmin", "", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmin(0, true)).flat());
    rows.push(Sample::new("argmax", "of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmax(1, false)).flat());
    rows.push(
        Sample::new("normalize", "", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].normalize(&[0, 2], 1e-5).0)
            .within(2e-5, 2e-5)
            .smooth(),
    );
    rows.push(
        Sample::new(
            "normalize",
            "batch norm",
            vec![operand(&[4, 3, 2, 2], -1.0, 1.0), operand(&[3], 0.5, 1.5), operand(&[3], -1.0, 1.0)],
            |x| {
                let channel = |t: &Tensor| t.reshape([1, 3, 1, 1]);
                (x[0].normalize(&[0, 2, 3], 1e-5).0 * channel(&x[1]) + channel(&x[2])).tanh()
            },
        )
        .within(2e-5, 2e-5),
    );
    rows
}

/// Shapes and axes that every reduction is tried over: all axes, none, nothing, axes of length 1, many axes.
pub const OVER: [(&[usize], &[isize], bool); 8] = [
    (&[7], &[0], false),
    (&[1], &[0], true),
    (&[33], &[-1], false),
    (&[5, 3], &[1], true),
    (&[0, 3], &[1], false),
    (&[5, 3], &[1, 0], false),
    (&[2, 3, 5], &[-1, 0], true),
    (&[2, 2, 2, 2], &[1, 3], false),
];

/// The reductions over further shapes and axes.
pub fn more() -> Vec<Sample> {
    type Row = (&'static str, bool, fn(&Tensor, &[isize], bool) -> Tensor);
    let ops: [Row; 15] = [
        ("sum", true, |x, a, k| x.sum(a, k)),
        ("mean", true, |x, a, k| x.mean(a, k)),
        ("prod", true, |x, a, k| x.prod(a, k)),
        ("max", true, |x, a, k| x.max(a, k)),
        ("min", true, |x, a, k| x.min(a, k)),
        ("var", true, |x, a, k| x.var(a, 0, k)),
        // One element has no deviation, and the root of 0 no slope.
        ("std", true, |x, a, k| (x + x.sin()).std(a, 0, k)),
        ("logsumexp", true, |x, a, k| x.logsumexp(a, k)),
        ("norm", true, |x, a, k| x.norm(2.0, a, k)),
        ("argmax", false, |x, a, k| x.argmax(a, k)),
        ("argmin", false, |x, a, k| x.argmin(a, k)),
        ("any", false, |x, a, k| x.gt(&x.full_like(1.0)).any(a, k)),
        ("all", false, |x, a, k| x.gt(&x.full_like(0.6)).all(a, k)),
        ("count_nonzero", false, |x, a, k| x.round().count_nonzero(a, k)),
        ("normalize", true, |x, a, _| {
            let rank = x.shape().expect("valid").rank() as isize;
            let axes: Vec<usize> = a.iter().map(|&a| a.rem_euclid(rank) as usize).collect();
            x.normalize(&axes, 1e-2).0
        }),
    ];
    let mut rows = Vec::new();
    for (op, gradient, f) in ops {
        // The last one is over every axis, by name.
        for (shape, axes, keep) in OVER.into_iter().chain([(&[2, 3, 4][..], &[2isize, 1, 0][..], true)]) {
            let run = move |x: &[Tensor]| f(&x[0], axes, keep);
            let row = Sample::new(op, format!("over {axes:?} {keep}"), vec![operand(shape, 0.3, 2.0)], run).brief();
            let kinked = op == "std" && shape == [1];
            let row = row.within(8e-6, 4e-6);
            rows.push(if gradient && !kinked { row } else { row.flat() });
        }
    }
    rows
}
