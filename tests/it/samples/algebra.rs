//! Products: named ones, and einsum.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn algebra() -> Vec<Sample> {
    let ab = |a: &[usize], b: &[usize]| vec![operand(a, -1.0, 1.0), operand(b, -1.0, 1.0)];
    let mut rows = vec![
        Sample::new("bmm", ab(&[2, 3, 4], &[2, 4, 5]), |x| x[0].bmm(&x[1])).smooth(),
        Sample::new("bmm of transposes", ab(&[3, 4, 2], &[3, 5, 4]), |x| x[0].t().bmm(&x[1].t()).tanh()),
        Sample::new("dot", ab(&[7], &[7]), |x| x[0].dot(&x[1])).smooth(),
        Sample::new("dot with itself", ab(&[5], &[1]), |x| x[0].dot(&x[0]) * &x[1]),
        Sample::new("outer", ab(&[3], &[4]), |x| x[0].outer(&x[1])).smooth(),
        Sample::new("outer with itself", ab(&[3], &[3]), |x| x[0].outer(&x[0]) * &x[1]),
        Sample::new("linear plain", ab(&[5, 7], &[4, 7]), |x| x[0].linear(&x[1], None)).smooth(),
        Sample::new("linear with a bias", ab(&[2, 3, 4], &[4, 4]), |x| x[0].linear(&x[1], Some(&x[1].sum(0, false))).tanh()),
        Sample::new("cosine_similarity rows", ab(&[3, 4], &[3, 4]), |x| x[0].cosine_similarity(&x[1], -1, 1e-8)).smooth(),
        Sample::new("cosine_similarity broadcast", ab(&[3, 4, 2], &[4, 1]), |x| x[0].cosine_similarity(&x[1], 1, 0.01)),
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
        rows.push(Sample::new(format!("einsum {spec} {shapes:?}"), operands, run).smooth());
    }
    rows.into_iter().map(|s| s.within(4e-6, 4e-6)).collect()
}
