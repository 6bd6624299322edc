//! Reductions and normalisation.

use super::{Sample, operand};
use wgrad::{Tensor, VarOptions};

pub fn reductions() -> Vec<Sample> {
    type Row = (&'static str, &'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let ops: [Row; 6] = [
        ("sum", "", |x, a, k| if k { x.sum_keepdim(a) } else { x.sum_dim(a) }),
        ("mean", "", |x, a, k| if k { x.mean_keepdim(a) } else { x.mean_dim(a) }),
        ("prod", "", |x, a, k| if k { x.prod_keepdim(a) } else { x.prod_dim(a) }),
        ("max", "", |x, a, k| if k { x.max_keepdim(a) } else { x.max_dim(a) }),
        ("min", "", |x, a, k| if k { x.min_keepdim(a) } else { x.min_dim(a) }),
        ("var", "", |x, a, k| x.var_with(a, VarOptions { correction: 1, keepdim: k })),
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
        |x| (&x[0] * x[1].t()).sum_dim(0) * 2.0,
    ));
    rows.push(Sample::new("sum", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].sum_dim(1) + 1.0).flat());
    rows.push(
        Sample::new("prod", "with zeros", vec![operand(&[2, 3], 0.5, 1.0)], |x| {
            (&x[0] * x[0].gt(&x[0].full_like(0.6)).cast(x[0].dtype().expect("valid"))).prod_dim(1)
        })
        .flat(),
    );
    rows.push(Sample::new("argmax", "", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmax_dim(1)).flat());
    rows.push(
        Sample::new("standardize", "the last axis", vec![operand(&[3, 5], -1.0, 1.0)], |x| x[0].standardize(&[1], 1e-5).0 * 2.0)
            .within(2e-5, 2e-5),
    );
    rows.push(
        Sample::new("argmax", "over two axes", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmax_keepdim([0, 2])).flat(),
    );
    for (p, axes) in [(1.0, &[1isize][..]), (3.0, &[0, 2]), (f64::INFINITY, &[-1])] {
        let run = move |x: &[Tensor]| x[0].normalize(p, axes).square();
        let row = Sample::new("normalize", format!("by the {p}-norm over {axes:?}"), vec![operand(&[2, 3, 4], 0.3, 2.0)], run);
        rows.push(if p.is_finite() { row.smooth() } else { row });
    }
    rows.push(Sample::new("argmin", "over all", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmin()).flat());
    rows.push(Sample::new("argmin", "of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmin_dim(1)).flat());
    rows.push(Sample::new("argmin", "", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmin_keepdim(0)).flat());
    rows.push(Sample::new("argmax", "of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmax_dim(1)).flat());
    rows.push(
        Sample::new("standardize", "", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].standardize(&[0, 2], 1e-5).0)
            .within(2e-5, 2e-5)
            .smooth(),
    );
    rows.push(
        Sample::new(
            "standardize",
            "batch norm",
            vec![operand(&[4, 3, 2, 2], -1.0, 1.0), operand(&[3], 0.5, 1.5), operand(&[3], -1.0, 1.0)],
            |x| {
                let channel = |t: &Tensor| t.reshape([1, 3, 1, 1]);
                (x[0].standardize(&[0, 2, 3], 1e-5).0 * channel(&x[1]) + channel(&x[2])).tanh()
            },
        )
        .within(2e-5, 2e-5),
    );
    rows
}

/// Shapes and axes that every reduction is tried on: all axes, no axes, no elements, axes of length 1, many axes.
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
    let ops: [Row; 16] = [
        ("sum", true, |x, a, k| if k { x.sum_keepdim(a) } else { x.sum_dim(a) }),
        ("mean", true, |x, a, k| if k { x.mean_keepdim(a) } else { x.mean_dim(a) }),
        ("prod", true, |x, a, k| if k { x.prod_keepdim(a) } else { x.prod_dim(a) }),
        ("max", true, |x, a, k| if k { x.max_keepdim(a) } else { x.max_dim(a) }),
        ("min", true, |x, a, k| if k { x.min_keepdim(a) } else { x.min_dim(a) }),
        ("var", true, |x, a, k| x.var_with(a, VarOptions { correction: 0, keepdim: k })),
        // One element has no standard deviation, and the root of 0 has no slope.
        ("std", true, |x, a, k| (x + x.sin()).std_with(a, VarOptions { correction: 0, keepdim: k })),
        ("logsumexp", true, |x, a, k| if k { x.logsumexp_keepdim(a) } else { x.logsumexp_dim(a) }),
        ("norm", true, |x, a, k| if k { x.norm_keepdim(2.0, a) } else { x.norm_dim(2.0, a) }),
        ("argmax", false, |x, a, k| if k { x.argmax_keepdim(a) } else { x.argmax_dim(a) }),
        ("argmin", false, |x, a, k| if k { x.argmin_keepdim(a) } else { x.argmin_dim(a) }),
        ("any", false, |x, a, k| if k { x.gt(&x.full_like(1.0)).any_keepdim(a) } else { x.gt(&x.full_like(1.0)).any_dim(a) }),
        ("all", false, |x, a, k| if k { x.gt(&x.full_like(0.6)).all_keepdim(a) } else { x.gt(&x.full_like(0.6)).all_dim(a) }),
        ("count_nonzero", false, |x, a, k| if k { x.round().count_nonzero_keepdim(a) } else { x.round().count_nonzero_dim(a) }),
        ("normalize", true, |x, a, _| x.normalize(2.0, a)),
        ("standardize", true, |x, a, _| {
            let rank = x.shape().expect("valid").rank() as isize;
            let axes: Vec<usize> = a.iter().map(|&a| a.rem_euclid(rank) as usize).collect();
            x.standardize(&axes, 1e-2).0
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
