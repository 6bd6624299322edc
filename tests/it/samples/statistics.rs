//! Statistics over axes, running sums and products.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn statistics() -> Vec<Sample> {
    type Row = (&'static str, &'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let smooth: [Row; 6] = [
        ("std", "", |x, a, k| x.std(a, 1, k)),
        ("std", "of the population", |x, a, k| x.std(a, 0, k)),
        ("logsumexp", "", |x, a, k| x.logsumexp(a, k)),
        ("norm", "2", |x, a, k| x.norm(2.0, a, k)),
        ("norm", "3", |x, a, k| x.norm(3.0, a, k)),
        ("norm", "1.5", |x, a, k| x.norm(1.5, a, k)),
    ];
    let kinked: [Row; 2] =
        [("norm", "1", |x, a, k| x.norm(1.0, a, k)), ("norm", "of the largest", |x, a, k| x.norm(f64::INFINITY, a, k))];
    let flat: [Row; 4] = [
        ("any", "", |x, a, k| x.gt(&x.full_like(1.0)).any(a, k)),
        ("all", "", |x, a, k| x.gt(&x.full_like(0.6)).all(a, k)),
        ("count_nonzero", "", |x, a, k| x.round().count_nonzero(a, k)),
        ("norm", "0", |x, a, k| x.trunc().norm(0.0, a, k)),
    ];
    let mut rows = Vec::new();
    for (axes, keep) in [(&[0isize, 2][..], false), (&[-1], true), (&[1], false)] {
        let make = |r: &Row| {
            let f = r.2;
            let run = move |x: &[Tensor]| f(&x[0], axes, keep);
            Sample::new(r.0, format!("{} over {axes:?}", r.1), vec![operand(&[2, 3, 4], 0.3, 2.0)], run).within(4e-6, 2e-6)
        };
        // The deviation of two equal elements, as the broadcast layout has, has a kink.
        rows.extend(smooth.iter().map(|r| if r.0.starts_with("std") && axes == [0, 2] { make(r) } else { make(r).smooth() }));
        rows.extend(kinked.iter().map(make));
        rows.extend(flat.iter().map(|r| make(r).flat()));
    }
    rows.push(Sample::new("logsumexp", "of all", vec![operand(&[5], -60.0, 90.0)], |x| x[0].logsumexp((), false)));
    rows.push(Sample::new("any", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].any(1, false)).flat());
    rows.push(Sample::new("all", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].all(1, false)).flat());
    rows.push(Sample::new("logsumexp", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].logsumexp(1, false)).flat());
    for (shape, axis) in [(&[7][..], 0isize), (&[3, 4], 0), (&[2, 3, 4], -1), (&[2, 5, 3], 1)] {
        let x = vec![operand(shape, 0.5, 1.5)];
        rows.push(Sample::new("cumsum", format!("{axis}"), x.clone(), move |x| x[0].cumsum(axis).square()).smooth());
        let run = move |x: &[Tensor]| x[0].cumprod(axis).square();
        rows.push(Sample::new("cumprod", format!("{axis}"), x, run).within(8e-6, 2e-6));
    }
    rows.push(Sample::new("cumsum", "over blocks", vec![operand(&[2, 70], 0.0, 1.0)], |x| x[0].cumsum(1)).within(4e-6, 1e-5));
    rows.push(Sample::new("cumprod", "over blocks", vec![operand(&[70, 2], 0.8, 1.2)], |x| x[0].cumprod(0)).within(4e-5, 1e-5));
    rows
}
