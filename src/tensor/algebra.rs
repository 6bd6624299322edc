//! Products of vectors, of batches of matrices, and with a layer's weight; the angle between vectors.

use super::{Fault, Tensor, need_axis, need_float};
use crate::lazy::Node;
use std::panic::Location;

/// # Products of vectors and batches
impl Tensor {
    /// The products of two batches of matrices: `[b, m, k] · [b, k, n]` gives `[b, m, n]`. [`Tensor::matmul`] takes any
    /// leading axes, and broadcasts them.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 1, 2], &device)?;
    /// assert_eq!(a.bmm(&a.transpose(1, 2)).to_vec::<f32>()?, [1.0 + 4.0, 9.0 + 16.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn bmm(&self, other: &Self) -> Self {
        Self::guard("bmm", &[self, other], Location::caller(), |n| {
            need_float(n[0])?;
            need_same_dtype(n[0], n[1])?;
            let (a, b) = (n[0].shape, n[1].shape);
            if a.rank() != 3 || b.rank() != 3 {
                return Err(Fault::shape("both operands must have 3 axes", "use [b, m, k] and [b, k, n], or matmul"));
            }
            if a[0] != b[0] {
                return Err(Fault::shape(format!("batches of {} and {} differ", a[0], b[0]), "use matmul, which broadcasts 1"));
            }
            if a[2] != b[1] {
                let reason = format!("inner dimensions {} and {} differ", a[2], b[1]);
                return Err(Fault::shape(reason, "make lhs's last and rhs's middle axis agree"));
            }
            Ok(self.matmul(other))
        })
    }

    /// `Σ a·b` of two vectors of equal length: a scalar.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let a = Tensor::arange(0.0, 3.0, 1.0, &Device::cpu()?)?;
    /// assert_eq!(a.dot(&a).item()?, 5.0);
    /// assert_eq!(a.outer(&a).to_vec::<f32>()?, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn dot(&self, other: &Self) -> Self {
        Self::guard("dot", &[self, other], Location::caller(), |n| {
            need_vectors(n[0], n[1])?;
            if n[0].shape != n[1].shape {
                let reason = format!("lengths {} and {} differ", n[0].shape[0], n[1].shape[0]);
                return Err(Fault::shape(reason, "use vectors of equal length"));
            }
            Ok((self * other).sum_dim(0))
        })
    }

    /// `out[i][j] = a[i]·b[j]` of two vectors: `[m]` and `[n]` give `[m, n]`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// let b = Tensor::from_slice(&[3.0f32, 4.0, 5.0], [3], &device)?;
    /// assert_eq!(a.outer(&b).to_vec::<f32>()?, [3.0, 4.0, 5.0, 6.0, 8.0, 10.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn outer(&self, other: &Self) -> Self {
        Self::guard("outer", &[self, other], Location::caller(), |n| {
            need_vectors(n[0], n[1])?;
            Ok(self.unsqueeze(1) * other.unsqueeze(0))
        })
    }

    /// `x·weightᵀ + bias` over the last axis: `[.., in]`, a weight `[out, in]` and a bias `[out]` give `[.., out]`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 2], &device)?;
    /// let weight = Tensor::from_slice(&[1.0f32, 1.0, 1.0, -1.0], [2, 2], &device)?;
    /// let bias = Tensor::from_slice(&[10.0f32, 20.0], [2], &device)?;
    /// assert_eq!(x.linear(&weight, Some(&bias)).to_vec::<f32>()?, [13.0, 19.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Self {
        let mut operands = vec![self, weight];
        operands.extend(bias);
        Self::guard("linear", &operands, Location::caller(), |n| {
            need_float(n[0])?;
            for other in &n[1..] {
                need_same_dtype(n[0], other)?;
            }
            let (x, w) = (n[0].shape, n[1].shape);
            if w.rank() != 2 || x.rank() == 0 || x[x.rank() - 1] != w[1] {
                let help = "use x [.., in] and a weight [out, in]";
                return Err(Fault::shape("the weight does not fit x's last axis", help));
            }
            let out = self.matmul(&weight.t());
            let Some(bias) = bias else { return Ok(out) };
            if n[2].shape != [w[0]] {
                return Err(Fault::shape(format!("the bias must have shape [{}]", w[0]), "give one value per output"));
            }
            Ok(out + bias)
        })
    }

    /// `Σ a·b / (max(|a|, eps)·max(|b|, eps))` along an axis, broadcast: the cosine of the angle between vectors. PyTorch's
    /// default `eps` is 1e-8.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let a = Tensor::from_slice(&[3.0f32, 4.0, 1.0, 0.0], [2, 2], &device)?;
    /// let b = Tensor::from_slice(&[4.0f32, 3.0, 0.0, 2.0], [2, 2], &device)?;
    /// assert_eq!(format!("{:.4?}", a.cosine_similarity(&b, 1, 1e-8).to_vec::<f32>()?), "[0.9600, 0.0000]");
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Self, axis: isize, eps: f64) -> Self {
        Self::guard("cosine_similarity", &[self, other], Location::caller(), |n| {
            need_float(n[0])?;
            need_same_dtype(n[0], n[1])?;
            let Some(shape) = n[0].shape.broadcast(&n[1].shape) else {
                let help = "sizes must agree or be 1, aligned at the last axis";
                return Err(Fault::shape(format!("shapes {} and {} do not broadcast", n[0].shape, n[1].shape), help));
            };
            let axis = need_axis(&shape, axis)? as isize;
            if eps.is_nan() || eps < 0.0 {
                return Err(Fault::attribute(format!("eps = {eps} is not a bound"), "use eps >= 0"));
            }
            let (a, b) = (self.broadcast_to(shape), other.broadcast_to(shape));
            let length = |x: &Self| x.norm_keepdim(2.0, axis).maximum(&x.scalar_like(eps));
            // Each divided first: the product of two long vectors overflows.
            Ok(((&a / length(&a)) * (&b / length(&b))).sum_dim(axis))
        })
    }
}

fn need_same_dtype(a: &Node, b: &Node) -> Result<(), Fault> {
    if a.dtype == b.dtype {
        return Ok(());
    }
    Err(Fault::dtype(format!("dtypes {} and {} differ", a.dtype, b.dtype), "cast one"))
}

fn need_vectors(a: &Node, b: &Node) -> Result<(), Fault> {
    need_same_dtype(a, b)?;
    if a.dtype == crate::dtype::DType::Bool {
        return Err(Fault::dtype("bool has no arithmetic", "cast it to f32 or i32 first"));
    }
    if a.shape.rank() == 1 && b.shape.rank() == 1 {
        return Ok(());
    }
    Err(Fault::shape("both operands must be vectors", "flatten them, or use matmul"))
}
