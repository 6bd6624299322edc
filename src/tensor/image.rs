//! Resizing and sampling images.

use super::band::{Band, Taps};
use super::{Fault, Tensor, need_float};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::{PerAxis, Shape};
use std::panic::Location;

/// How [`Tensor::interpolate`] and [`nn::Upsample`](crate::nn::Upsample) find values between elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interpolation {
    /// The element below `i · length / new length`. The default, as in PyTorch.
    #[default]
    Nearest,
    /// Straight lines between elements: PyTorch's linear, bilinear or trilinear, by the number of axes. Pixels are areas, and the
    /// outermost values extend to the border.
    Linear,
    /// The same, with PyTorch's `align_corners=True`: pixels are points, and the first and last of them stay first and last.
    LinearAligned,
}

/// What -1 and 1 mean in the grids of [`Tensor::grid_sample`] and [`Tensor::affine_grid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GridOptions {
    /// The centres of the outermost pixels, rather than their outer edges. Defaults to false.
    pub align_corners: bool,
}

/// # Images: resizing and sampling
impl Tensor {
    /// Resizes the axes after the first two of `[n, c, ..]` to `size`, like `torch.nn.functional.interpolate`.
    ///
    /// A value reaches only the results between it and its neighbours, even if it is not finite: a neighbour of weight 0 takes no
    /// part, where PyTorch multiplies it by 0. Work is proportional to the sizes of input and output, forward and backward.
    ///
    /// ```
    /// # use wgrad::{Device, Interpolation, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[0.0f32, 4.0], [1, 1, 2], &Device::cpu()?)?;
    /// let y = x.interpolate(&[3], Interpolation::LinearAligned);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0, 4.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn interpolate(&self, size: &[usize], mode: Interpolation) -> Self {
        Self::guard("interpolate", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            let shape = n[0].shape;
            if size.is_empty() || shape.rank() != size.len() + 2 {
                let reason = format!("{} lengths were given for {shape}", size.len());
                return Err(Fault::shape(reason, "use [n, c, ..] and one length for each axis of .."));
            }
            if size.contains(&0) || shape[2..].contains(&0) {
                let reason = format!("{:?} cannot be resized to {size:?}", &shape[2..]);
                return Err(Fault::attribute(reason, "use lengths of at least 1"));
            }
            // Positions are computed in 32-bit integers.
            if shape[2..].iter().zip(size).any(|(&a, &b)| a.saturating_mul(b) > 1 << 28) {
                return Err(Fault::attribute(format!("{:?} to {size:?} is too large", &shape[2..]), "resize in two steps"));
            }
            let mut out = self.clone();
            for d in (0..size.len()).rev() {
                let (len, new) = (shape[2 + d], size[d]);
                if len == new {
                    continue;
                }
                let lines = |align_corners| Band { taps: Taps::Linear { align_corners }, len, new }.apply(&out, 2 + d);
                out = match mode {
                    Interpolation::Nearest => out.repeat_nearest(2 + d, new),
                    Interpolation::Linear => lines(false),
                    Interpolation::LinearAligned => lines(true),
                }
                .unwrap_or_else(Self::from_error);
            }
            Ok(out)
        })
    }

    /// Nearest neighbours along one axis.
    fn repeat_nearest(&self, axis: usize, new: usize) -> Result<Self> {
        let shape = self.shape()?;
        let len = shape[axis];
        if new.is_multiple_of(len) {
            let mut dims = shape.to_vec();
            dims.insert(axis + 1, new / len);
            let wide = Shape::new(&dims);
            return Ok(match wide {
                Ok(wide) => self.unsqueeze(axis as isize + 1).expand(wide).reshape(shape.with(axis, new)),
                Err(error) => Self::from_error(error),
            });
        }
        if len.is_multiple_of(new) {
            return Ok(self.slice_step(axis as isize, 0, len as isize, (len / new) as isize));
        }
        Band { taps: Taps::Nearest, len, new }.apply(self, axis)
    }

    /// Reads images `[n, c, h, w]` at the points of a grid `[n, oh, ow, 2]` of (x, y): `[n, c, oh, ow]`, bilinear, zeros outside,
    /// like `torch.nn.functional.grid_sample`. -1 and 1 are the outer edges of the outermost pixels, or what [`GridOptions`]
    /// says. Gradients flow to images and grid.
    ///
    /// Source: M. Jaderberg et al., "Spatial transformer networks", 2015.
    ///
    /// ```
    /// # use wgrad::{Device, GridOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[0.0f32, 4.0], [1, 1, 1, 2], &device)?;
    /// let grid = Tensor::from_slice(&[-0.5f32, 0.0, 0.0, 0.0], [1, 1, 2, 2], &device)?; // the left pixel, and the middle
    /// assert_eq!(x.grid_sample(&grid, GridOptions::default()).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn grid_sample(&self, grid: &Self, options: GridOptions) -> Self {
        Self::guard("grid_sample", &[self, grid], Location::caller(), |n| {
            need_float(n[0])?;
            let (x, g) = (n[0].shape, n[1].shape);
            if n[0].dtype != n[1].dtype {
                return Err(Fault::dtype(format!("dtypes {} and {} differ", n[0].dtype, n[1].dtype), "cast one"));
            }
            if x.rank() != 4 || g.rank() != 4 || g[3] != 2 || x[0] != g[0] {
                return Err(Fault::shape("images and grid do not fit", "use images [n, c, h, w] and a grid [n, oh, ow, 2]"));
            }
            if x[2] == 0 || x[3] == 0 {
                return Err(Fault::shape("the images are empty", "give at least one pixel"));
            }
            if x[0].saturating_mul(x[2]).saturating_mul(x[3]) > 1 << 30 {
                return Err(Fault::shape("the images have too many pixels", "use smaller batches"));
            }
            Ok(self.sample(grid, options.align_corners).unwrap_or_else(Self::from_error))
        })
    }

    fn sample(&self, grid: &Self, align_corners: bool) -> Result<Self> {
        let [n, c, h, w] = self.dims::<4>()?;
        let [_, oh, ow, _] = grid.dims::<4>()?;
        let device = self.device()?;
        let points = oh * ow;
        // Pixel coordinates, at most one pixel outside: further out everything is 0.
        let coordinate = |k: isize, len: usize| {
            let g = grid.slice(3, k, k + 1).reshape([n, points]);
            let len = len as f64;
            let pixel = if align_corners { (g + 1.0) * ((len - 1.0) / 2.0) } else { (g + 1.0) * (len / 2.0) - 0.5 };
            pixel.clamp(-1.0, len)
        };
        let (px, py) = (coordinate(0, w), coordinate(1, h));
        let (x0, y0) = (px.floor().detach(), py.floor().detach());
        let (fx, fy) = (px - &x0, py - &y0);
        let table = self.permute(&[0, 2, 3, 1]).reshape([n * h * w, c]);
        let image = Self::iota(n, DType::I32, &device)?.reshape([n, 1]);
        let image = &image * image.scalar_like((h * w) as f64);
        let mut sum: Option<Self> = None;
        for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (x, y) = (&x0 + f64::from(dx), &y0 + f64::from(dy));
            let within = |t: &Self, len: usize| t.ge(&t.scalar_like(0.0)).logical_and(&t.lt(&t.scalar_like(len as f64)));
            let index = |t: &Self, len: usize| t.clamp(0.0, len as f64 - 1.0).cast(DType::I32);
            let row = index(&y, h);
            let flat = &image + &row * row.scalar_like(w as f64) + index(&x, w);
            let weight_x = if dx == 1 { fx.clone() } else { 1.0 - &fx };
            let weight_y = if dy == 1 { fy.clone() } else { 1.0 - &fy };
            let inside = within(&x, w).logical_and(&within(&y, h)).reshape([n * points, 1]);
            let weight = (weight_x * weight_y).reshape([n * points, 1]);
            let value = table.gather_rows_within(&flat.reshape([n * points])) * weight;
            let corner = inside.where_(&value, &value.scalar_like(0.0));
            sum = Some(sum.map_or(corner.clone(), |s| s + corner));
        }
        let sum = sum.ok_or_else(|| Error::internal("a sample without corners"))?;
        Ok(sum.reshape([n, oh, ow, c]).permute(&[0, 3, 1, 2]))
    }

    /// The grid `[n, h, w, 2]` of the points `θ · (x, y, 1)` for affine maps θ (self) `[n, 2, 3]`, for
    /// [`Tensor::grid_sample`] with the same options, like `torch.nn.functional.affine_grid`.
    ///
    /// ```
    /// # use wgrad::{Device, GridOptions, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let plain = GridOptions::default();
    /// let mirror = Tensor::from_slice(&[-1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0], [1, 2, 3], &device)?;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2], &device)?;
    /// let y = x.grid_sample(&mirror.affine_grid(2, plain), plain);
    /// assert_eq!(y.to_vec::<f32>()?, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn affine_grid(&self, size: impl PerAxis<2>, options: GridOptions) -> Self {
        let size = size.per_axis();
        Self::guard("affine_grid", &[self], Location::caller(), |node| {
            need_float(node[0])?;
            let shape = node[0].shape;
            if shape.rank() != 3 || shape[1..] != [2, 3] {
                return Err(Fault::shape("the maps must be [n, 2, 3]", "give two rows of three numbers each"));
            }
            let [h, w] = size;
            if h == 0 || w == 0 {
                return Err(Fault::attribute(format!("the size {size:?} is empty"), "use at least 1 x 1"));
            }
            let axis = |len: usize| {
                let index = Self::iota(len, node[0].dtype, &node[0].device).unwrap_or_else(Self::from_error);
                match (options.align_corners, len) {
                    (true, 1) => index,
                    (true, _) => index * (2.0 / (len as f64 - 1.0)) - 1.0,
                    (false, _) => (index * 2.0 + (1.0 - len as f64)) / len as f64,
                }
            };
            let (x, y) = (axis(w).reshape([1, 1, w, 1]), axis(h).reshape([1, h, 1, 1]));
            let column = |k: isize| self.slice(2, k, k + 1).reshape([shape[0], 1, 1, 2]);
            Ok(column(0) * x + column(1) * y + column(2))
        })
    }
}
