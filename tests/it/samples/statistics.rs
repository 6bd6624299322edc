//! Statistics over axes, running sums and products.

use super::{Sample, operand};
use wgrad::{Tensor, VarOptions};

pub fn statistics() -> Vec<Sample> {
    type Row = (&'static str, &'static str, fn(&Tensor, &[isize], bool) -> Tensor);
    let smooth: [Row; 6] = [
        ("std", "", |x, a, k| x.std_with(a, VarOptions { correction: 1, keepdim: k })),
        ("std", "of the population", |x, a, k| x.std_with(a, VarOptions { correction: 0, keepdim: k })),
        ("logsumexp", "", |x, a, k| if k { x.logsumexp_keepdim(a) } else { x.logsumexp_dim(a) }),
        ("norm", "2", |x, a, k| if k { x.norm_keepdim(2.0, a) } else { x.norm_dim(2.0, a) }),
        ("norm", "3", |x, a, k| if k { x.norm_keepdim(3.0, a) } else { x.norm_dim(3.0, a) }),
        ("norm", "1.5", |x, a, k| if k { x.norm_keepdim(1.5, a) } else { x.norm_dim(1.5, a) }),
    ];
    let kinked: [Row; 2] = [
        ("norm", "1", |x, a, k| if k { x.norm_keepdim(1.0, a) } else { x.norm_dim(1.0, a) }),
        ("norm", "of the largest", |x, a, k| if k { x.norm_keepdim(f64::INFINITY, a) } else { x.norm_dim(f64::INFINITY, a) }),
    ];
    let flat: [Row; 4] = [
        ("any", "", |x, a, k| if k { x.gt(&x.full_like(1.0)).any_keepdim(a) } else { x.gt(&x.full_like(1.0)).any_dim(a) }),
        ("all", "", |x, a, k| if k { x.gt(&x.full_like(0.6)).all_keepdim(a) } else { x.gt(&x.full_like(0.6)).all_dim(a) }),
        ("count_nonzero", "", |x, a, k| if k { x.round().count_nonzero_keepdim(a) } else { x.round().count_nonzero_dim(a) }),
        ("norm", "0", |x, a, k| if k { x.trunc().norm_keepdim(0.0, a) } else { x.trunc().norm_dim(0.0, a) }),
    ];
    let mut rows = Vec::new();
    for (axes, keep) in [(&[0isize, 2][..], false), (&[-1], true), (&[1], false)] {
        let make = |r: &Row| {
            let f = r.2;
            let run = move |x: &[Tensor]| f(&x[0], axes, keep);
            Sample::new(r.0, format!("{} over {axes:?}", r.1), vec![operand(&[2, 3, 4], 0.3, 2.0)], run).within(4e-6, 2e-6)
        };
        // The standard deviation of two equal elements, as in the broadcast layout, has a kink.
        rows.extend(smooth.iter().map(|r| if r.0.starts_with("std") && axes == [0, 2] { make(r) } else { make(r).smooth() }));
        rows.extend(kinked.iter().map(make));
        rows.extend(flat.iter().map(|r| make(r).flat()));
    }
    rows.push(Sample::new("logsumexp", "of all", vec![operand(&[5], -60.0, 90.0)], |x| x[0].logsumexp()));
    rows.push(Sample::new("any", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].any_dim(1)).flat());
    rows.push(Sample::new("all", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].all_dim(1)).flat());
    rows.push(Sample::new("logsumexp", "of nothing", vec![operand(&[3, 0], 0.0, 1.0)], |x| x[0].logsumexp_dim(1)).flat());
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
