//! Running sums and products, by blocks: each block's own prefixes, and the same again over the blocks' totals.

use super::{At, Fault, Tensor, need_axis};
use crate::dtype::DType;
use crate::error::Result;
use std::panic::Location;

/// Elements whose prefixes are found by comparing positions, in one reduction.
const BLOCK: usize = 32;

/// What a scan accumulates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Sum,
    Prod,
}

/// # Scans
impl Tensor {
    /// `out[i] = x[0] + .. + x[i]` along an axis.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::cpu()?)?;
    /// assert_eq!(x.cumsum(1).to_vec::<f32>()?, [1.0, 3.0, 3.0, 7.0]);
    /// assert_eq!(x.cumprod(0).to_vec::<f32>()?, [1.0, 2.0, 3.0, 8.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Self {
        self.scan("cumsum", Scan::Sum, axis, Location::caller())
    }

    /// `out[i] = x[0] · .. · x[i]` along an axis. The gradient is correct where elements are 0, too.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [4], &device)?;
    /// assert_eq!(x.cumprod(0).to_vec::<f32>()?, [1.0, 2.0, 6.0, 24.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Self {
        self.scan("cumprod", Scan::Prod, axis, Location::caller())
    }

    fn scan(&self, name: &'static str, scan: Scan, axis: isize, at: At) -> Self {
        Self::guard(name, &[self], at, |n| {
            let shape = n[0].shape;
            let axis = need_axis(&shape, axis)?;
            if n[0].dtype == DType::Bool {
                return Err(Fault::dtype("bool has no arithmetic", "cast it to f32 or i32 first"));
            }
            if shape.numel() == 0 || shape[axis] == 1 {
                return Ok(self.clone());
            }
            let mut order: Vec<usize> = (0..shape.rank()).collect();
            order.swap(axis, shape.rank() - 1);
            let lines = self.permute(&order);
            let (wide, len) = (lines.shape(), shape[axis]);
            let prefixes = wide.and_then(|wide| {
                let flat = lines.reshape([shape.numel() / len, len]);
                Ok(prefixes(&flat, scan, shape.numel() / len, len)?.reshape(wide).permute(&order))
            });
            Ok(prefixes.unwrap_or_else(Self::from_error))
        })
    }
}

/// Prefixes along the last axis of `[rows, n]`.
fn prefixes(x: &Tensor, scan: Scan, rows: usize, n: usize) -> Result<Tensor> {
    if n <= 2 * BLOCK {
        return short(x, scan, n);
    }
    let blocks = n.div_ceil(BLOCK);
    let whole = x.pad(&[(0, 0), (0, blocks * BLOCK - n)]).reshape([rows * blocks, BLOCK]);
    let own = short(&whole, scan, BLOCK)?;
    let totals = own.slice(1, BLOCK as isize - 1, BLOCK as isize).reshape([rows, blocks]);
    // What comes before each block; nothing before the first.
    let before = prefixes(&totals, scan, rows, blocks)?.slice(1, 0, blocks as isize - 1).pad(&[(0, 0), (1, 0)]);
    let own = own.reshape([rows, blocks, BLOCK]);
    let joined = match scan {
        Scan::Sum => own + before.unsqueeze(2),
        Scan::Prod => {
            let block = Tensor::iota(blocks, DType::I32, &x.device()?)?;
            let first = block.eq(&block.scalar_like(0.0));
            own * first.where_(&x.scalar_like(1.0), &before).unsqueeze(2)
        }
    };
    Ok(joined.reshape([rows, blocks * BLOCK]).slice(1, 0, n as isize))
}

/// Prefixes of `[rows, n]` as one reduction of `[rows, n, n]`, which is never in memory.
fn short(x: &Tensor, scan: Scan, n: usize) -> Result<Tensor> {
    let index = Tensor::iota(n, DType::I32, &x.device()?)?;
    let within = index.reshape([1, 1, n]).le(&index.reshape([1, n, 1]));
    let of = |neutral: f64| within.where_(&x.unsqueeze(1), &x.scalar_like(neutral));
    Ok(match scan {
        Scan::Sum => of(0.0).sum_dim(2),
        Scan::Prod => of(1.0).prod_dim(2),
    })
}
