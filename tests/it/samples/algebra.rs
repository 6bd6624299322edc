//! Products: named methods, and einsum.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn algebra() -> Vec<Sample> {
    let ab = |a: &[usize], b: &[usize]| vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
    let mut rows = vec![
        Sample::new("bmm", "", ab(&[2, 3, 4], &[2, 4, 5]), |x| x[0].bmm(&x[1])).smooth(),
        Sample::new("bmm", "of transposes", ab(&[3, 4, 2], &[3, 5, 4]), |x| x[0].t().bmm(&x[1].t()).tanh()),
        Sample::new("dot", "", ab(&[7], &[7]), |x| x[0].dot(&x[1])).smooth(),
        Sample::new("dot", "with itself", ab(&[5], &[1]), |x| x[0].dot(&x[0]) * &x[1]),
        Sample::new("outer", "", ab(&[3], &[4]), |x| x[0].outer(&x[1])).smooth(),
        Sample::new("outer", "with itself", ab(&[3], &[3]), |x| x[0].outer(&x[0]) * &x[1]),
        Sample::new("linear", "plain", ab(&[5, 7], &[4, 7]), |x| x[0].linear(&x[1], None)).smooth(),
        Sample::new("linear", "with a bias", ab(&[2, 3, 4], &[4, 4]), |x| x[0].linear(&x[1], Some(&x[1].sum_dim(0))).tanh()),
        Sample::new("cosine_similarity", "rows", ab(&[3, 4], &[3, 4]), |x| x[0].cosine_similarity(&x[1], -1, 1e-8)).smooth(),
        Sample::new("cosine_similarity", "broadcast", ab(&[3, 4, 2], &[4, 1]), |x| x[0].cosine_similarity(&x[1], 1, 0.01)),
    ];
    for (spec, shapes) in [
        ("ij,jk->ik", &[&[3, 4][..], &[4, 5]][..]),
        ("ij,kj", &[&[3, 4], &[5, 4]]),
        ("ii", &[&[4, 4]]),
        ("bii->ib", &[&[2, 3, 3]]),
        ("ijk->ki", &[&[2, 3, 4]]),
        ("i,j->ji", &[&[3], &[4]]),
        ("ij,ij->j", &[&[3, 4], &[3, 4]]),
        ("...ij,...jk->...ik", &[&[2, 1, 3, 4], &[3, 4, 2]]),
        ("bi,oij,bj->bo", &[&[3, 4], &[2, 4, 5], &[3, 5]]),
        ("ij,jk,kl,lm->mi", &[&[2, 4], &[4, 3], &[3, 5], &[5, 2]]),
        ("ij,k->i", &[&[2, 4], &[3]]),
        ("ij,jk->ik", &[&[3, 1], &[4, 2]]),
    ] {
        let operands = shapes.iter().map(|s| operand(s, -1.0, 1.0)).collect();
        let run = move |x: &[Tensor]| Tensor::einsum(spec, &x.iter().collect::<Vec<_>>());
        rows.push(Sample::new("einsum", spec, operands, run).smooth());
    }
    rows.into_iter().map(|s| s.within(4e-6, 4e-6)).collect()
}

/// Products with further shapes.
pub fn more() -> Vec<Sample> {
    let ab = |a: &[usize], b: &[usize]| vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
    let mut rows = Vec::new();
    for (b, m, k, n) in [
        (1, 1, 1, 1),
        (1, 2, 3, 4),
        (2, 1, 3, 1),
        (3, 5, 1, 2),
        (2, 7, 4, 3),
        (0, 2, 3, 4),
        (2, 0, 3, 4),
        (2, 3, 0, 4),
        (4, 2, 9, 2),
        (5, 3, 3, 3),
    ] {
        rows.push(Sample::new("bmm", "", ab(&[b, m, k], &[b, k, n]), |x| x[0].bmm(&x[1]).square()));
        rows.push(Sample::new("linear", "", ab(&[b, m, k], &[n, k]), |x| x[0].linear(&x[1], None).square()));
    }
    for (n, m) in [(1, 1), (0, 3), (2, 5), (5, 2), (6, 7), (9, 1), (4, 9), (33, 3), (3, 33), (16, 16)] {
        rows.push(Sample::new("dot", "", ab(&[n], &[n]), |x| x[0].dot(&x[1]).square()));
        rows.push(Sample::new("dot", "of functions", ab(&[n], &[n]), |x| x[0].sin().dot(&x[1].exp())));
        rows.push(Sample::new("outer", "", ab(&[n], &[m]), |x| x[0].outer(&x[1]).square()));
    }
    let cosines: [(&[usize], &[usize], isize); 10] = [
        (&[5], &[5], 0),
        (&[7], &[1], 0),
        (&[2, 3], &[2, 3], 0),
        (&[2, 3], &[2, 3], 1),
        (&[2, 3], &[3], -1),
        (&[5, 1], &[1, 4], 1),
        (&[0, 3], &[0, 3], 1),
        (&[2, 3, 4], &[2, 3, 4], 1),
        (&[2, 3, 4], &[4], 2),
        (&[2, 2, 2, 2], &[2, 2, 2, 2], -2),
    ];
    for (a, b, axis) in cosines {
        let operands = vec![operand(a, 0.3, 1.0), operand(b, 0.3, 1.0)];
        rows.push(Sample::new("cosine_similarity", format!("{axis}"), operands, move |x| {
            x[0].cosine_similarity(&x[1], axis, 1e-8)
        }));
    }
    rows.into_iter().map(|row| row.within(1e-5, 1e-5).brief()).collect()
}
