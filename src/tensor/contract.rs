//! Matrix products.

use super::{Fault, Tensor, need_float};
use crate::graph::Op;
use crate::shape::Shape;
use std::panic::Location;

/// # Matrix products
impl Tensor {
    /// The matrix product over the last two axes, `out[i][j] = Σ_k a[i][k]·b[k][j]`; leading axes broadcast. A vector on the left
    /// is a row, one on the right a column, and the result loses that axis again, as in NumPy.
    ///
    /// `[.., m, k] · [.., k, n]` gives `[.., m, n]`. Transposes and broadcasts are read in place, without a copy.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
    /// let swap = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0], [2, 2], &device)?;
    /// assert_eq!(a.matmul(&swap).to_vec::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// assert_eq!(a.matmul(&Tensor::ones([2], &device)?).to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Self {
        self.matmul_at(other, Location::caller())
    }

    fn matmul_at(&self, other: &Self, at: &'static Location<'static>) -> Self {
        Self::guard("matmul", &[self, other], at, |n| {
            let (a, b) = (n[0], n[1]);
            need_float(a)?;
            if a.dtype.arithmetic() != b.dtype.arithmetic() {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", a.dtype, b.dtype), "cast one"));
            }
            if a.shape.rank() == 0 || b.shape.rank() == 0 {
                return Err(Fault::shape("a scalar is not a matrix", "multiply with * instead"));
            }
            if a.shape.rank() == 1 {
                return Ok(self.unsqueeze(0).matmul_at(other, at).squeeze(if b.shape.rank() == 1 { 0 } else { -2 }));
            }
            if b.shape.rank() == 1 {
                return Ok(self.matmul_at(&other.unsqueeze(1), at).squeeze(-1));
            }
            let (ra, rb) = (a.shape.rank(), b.shape.rank());
            let (m, k, k2, cols) = (a.shape[ra - 2], a.shape[ra - 1], b.shape[rb - 2], b.shape[rb - 1]);
            if k != k2 {
                let help = if k == cols {
                    "transpose rhs: .matmul(&rhs.t())"
                } else {
                    "make lhs's last and rhs's second-to-last axis agree"
                };
                return Err(Fault::shape(format!("inner dimensions {k} and {k2} differ"), help));
            }
            let (batch_a, batch_b) = (Shape::of(&a.shape[..ra - 2]), Shape::of(&b.shape[..rb - 2]));
            let Some(batch) = batch_a.broadcast(&batch_b) else {
                return Err(Fault::shape(
                    format!("batch dimensions {batch_a} and {batch_b} do not broadcast"),
                    "sizes must agree or be 1",
                ));
            };
            let full = |r: usize, c: usize| {
                let mut dims = batch.to_vec();
                dims.extend([r, c]);
                Shape::of(&dims)
            };
            // [.., m, k] · [k, n] is one tall product.
            if rb == 2 && ra > 2 {
                let rows: usize = a.shape[..ra - 1].iter().product();
                return Ok(self.reshape([rows, k]).matmul(other).reshape(full(m, cols)));
            }
            let lhs = self.broadcast_to(full(m, k));
            let rhs = other.broadcast_to(full(k, cols));
            Ok(Self::build(Op::MatMul, &[&lhs, &rhs], full(m, cols), a.dtype))
        })
    }
}
