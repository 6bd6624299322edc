//! Batched matrix products.

use super::{Numbers, Value};
use crate::error::Result;
use crate::shape::Shape;

/// `out[b][m][n] = Σ_k a[b][m][k] * c[b][k][n]`; integer products wrap.
pub(super) fn matmul(a: &Value, b: &Value, shape: &Shape) -> Result<Numbers> {
    let rank = shape.rank();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape[rank - 1]);
    Ok(match (&a.data, &b.data) {
        (Numbers::I32(a), Numbers::I32(b)) => {
            Numbers::I32(product(a, b, shape, [m, n, k], |sum, a, b| sum.wrapping_add(a.wrapping_mul(b))))
        }
        (Numbers::U32(a), Numbers::U32(b)) => {
            Numbers::U32(product(a, b, shape, [m, n, k], |sum, a, b| sum.wrapping_add(a.wrapping_mul(b))))
        }
        _ => Numbers::Float(product(a.floats()?, b.floats()?, shape, [m, n, k], |sum, a, b| sum + a * b)),
    })
}

fn product<T: Copy + Default>(a: &[T], b: &[T], shape: &Shape, [m, n, k]: [usize; 3], add: impl Fn(T, T, T) -> T) -> Vec<T> {
    let mut out = vec![T::default(); shape.numel()];
    for (index, slot) in out.iter_mut().enumerate() {
        let (batch, row, col) = (index / (m * n), index / n % m, index % n);
        for i in 0..k {
            *slot = add(*slot, a[(batch * m + row) * k + i], b[(batch * k + i) * n + col]);
        }
    }
    out
}
