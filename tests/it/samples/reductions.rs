//! Reductions and normalisation.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn reductions() -> Vec<Sample> {
    type Row = (&'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let ops: [Row; 6] = [
        ("sum", |x, a, k| x.sum(a, k)),
        ("mean", |x, a, k| x.mean(a, k)),
        ("prod", |x, a, k| x.prod(a, k)),
        ("max", |x, a, k| x.max(a, k)),
        ("min", |x, a, k| x.min(a, k)),
        ("var", |x, a, k| x.var(a, 1, k)),
    ];
    let mut rows = Vec::new();
    for (name, f) in ops {
        for (axes, keep) in [(&[0isize][..], false), (&[-1], true), (&[0, 2], false), (&[0, 1, 2], false), (&[1], false)] {
            let run = move |x: &[Tensor]| f(&x[0], axes, keep).square();
            rows.push(Sample::new(format!("{name} over {axes:?}"), vec![operand(&[2, 3, 4], 0.3, 2.0)], run).within(4e-6, 2e-6));
        }
    }
    rows.push(Sample::new("sum of a product, transposed", vec![operand(&[3, 4], -1.0, 1.0), operand(&[4, 3], -1.0, 1.0)], |x| {
        (&x[0] * x[1].t()).sum(0, false) * 2.0
    }));
    rows.push(Sample::new("sum of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].sum(1, false) + 1.0).flat());
    rows.push(
        Sample::new("prod with zeros", vec![operand(&[2, 3], 0.5, 1.0)], |x| {
            (&x[0] * x[0].gt(&x[0].full_like(0.6)).cast(x[0].dtype().expect("valid"))).prod(1, false)
        })
        .flat(),
    );
    rows.push(Sample::new("argmax", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmax(1, false)).flat());
    rows.push(
        Sample::new("normalize the last axis", vec![operand(&[3, 5], -1.0, 1.0)], |x| x[0].normalize(&[1], 1e-5).0 * 2.0)
            .within(2e-5, 2e-5),
    );
    rows.push(Sample::new("argmax over two axes", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmax([0, 2], true)).flat());
    rows.push(Sample::new("argmin over all", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].argmin((), false)).flat());
    rows.push(Sample::new("argmin", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].argmin(0, true)).flat());
    rows.push(Sample::new("argmax of equals", vec![operand(&[4, 5], -1.0, 1.0)], |x| x[0].round().argmax(1, false)).flat());
    rows.push(
        Sample::new("normalize", vec![operand(&[3, 4, 2], -1.0, 1.0)], |x| x[0].normalize(&[0, 2], 1e-5).0)
            .within(2e-5, 2e-5)
            .smooth(),
    );
    rows.push(
        Sample::new(
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
