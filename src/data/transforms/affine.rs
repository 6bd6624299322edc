//! Random shifts, rotations, scalings and slants of images.

use super::transform::Transform;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::lazy::no_grad;
use crate::rng::Generator;
use crate::shape::{Shape, product};
use crate::tensor::Tensor;

/// How far [`RandomAffine`] moves images, at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffineConfig {
    /// Shift in pixels, in both directions of both axes. Defaults to 2.
    pub shift: f64,
    /// Rotation in degrees, in both directions. Defaults to 10.
    pub rotate: f64,
    /// Scaling by a factor in `1 - scale..1 + scale`. Defaults to 0.1.
    pub scale: f64,
    /// Slant in degrees, in both directions, as of handwriting. Defaults to 0.
    pub shear: f64,
}

impl Default for AffineConfig {
    fn default() -> Self {
        Self { shift: 2.0, rotate: 10.0, scale: 0.1, shear: 0.0 }
    }
}

/// Random shift, rotation, scaling and slant about the centre, drawn for each image, with bilinear sampling; zero outside.
///
/// Everything is computed on the device, from counter-based random numbers: one draw of the generator per batch.
#[derive(Debug, Clone)]
pub struct RandomAffine {
    config: AffineConfig,
    size: [usize; 2],
    /// `[3, h·w]`: each pixel's x and y from the centre, and 1.
    grid: Tensor,
    /// `[1, 2, 3]` each: what cosine, sine, both shifts and 1 contribute to an image's matrix, and cosine and sine times the
    /// slant's tangent.
    basis: [Tensor; 7],
    /// `[4, 1, 1]`: steps to the four neighbours in the padded image, in rows of the table.
    step: Tensor,
    /// `[4, 1, 1]` each: the neighbours' weights are `(a + b·fx)(c + d·fy)`.
    weights: [Tensor; 4],
}

/// A neighbour that is sampled can be one pixel before the image or two after it.
const PAD: (usize, usize) = (1, 2);

impl RandomAffine {
    /// An augmentation of images of one size (height, width).
    ///
    /// # Errors
    /// A limit is negative, not finite, a scale of 1 or more, or a slant of 90 degrees or more; the size is 0.
    #[track_caller]
    pub fn new(config: AffineConfig, size: [usize; 2], device: &Device) -> Result<Self> {
        let AffineConfig { shift, rotate, scale, shear } = config;
        let valid = [shift, rotate, scale, shear].iter().all(|v| v.is_finite() && *v >= 0.0) && scale < 1.0 && shear < 90.0;
        if !valid || size.contains(&0) {
            return Err(Error::argument(
                "RandomAffine::new",
                format!("{config:?} on images of {}x{}", size[0], size[1]),
                "use limits of at least 0, a scale below 1, a shear below 90, and images with pixels",
            ));
        }
        let [h, w] = size;
        Shape::new(&[3, h, w])?;
        let (cx, cy) = ((w as f32 - 1.0) / 2.0, (h as f32 - 1.0) / 2.0);
        let pixels = || (0..h).flat_map(|y| (0..w).map(move |x| (x as f32, y as f32)));
        let mut grid: Vec<f32> = reserved("a grid", product(&[3, h, w]))?;
        grid.extend(pixels().map(|(x, _)| x - cx));
        grid.extend(pixels().map(|(_, y)| y - cy));
        grid.extend(std::iter::repeat_n(1.0, h * w));
        let part = |rows: [f32; 6]| Tensor::from_slice(&rows, [1, 2, 3], device);
        let four = |values: [f32; 4]| Tensor::from_slice(&values, [4, 1, 1], device);
        let Ok(row) = i32::try_from(w + PAD.0 + PAD.1) else {
            return Err(Error::argument("RandomAffine::new", "the images are too wide", "crop them"));
        };
        Ok(Self {
            config,
            size,
            grid: Tensor::from_slice(&grid, [3, h * w], device)?,
            basis: [
                part([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])?,
                part([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])?,
                part([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])?,
                part([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])?,
                part([0.0, 0.0, cx, 0.0, 0.0, cy])?,
                part([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])?,
                part([0.0, 0.0, 0.0, 0.0, -1.0, 0.0])?,
            ],
            step: Tensor::from_slice(&[0, 1, row, row + 1], [4, 1, 1], device)?,
            weights: [
                four([1.0, 0.0, 1.0, 0.0])?,
                four([-1.0, 1.0, -1.0, 1.0])?,
                four([1.0, 1.0, 0.0, 0.0])?,
                four([-1.0, -1.0, 1.0, 1.0])?,
            ],
        })
    }

    /// Each image's matrix `[n, 2, 3]` from centred pixels to where they come from, given four or five numbers in -1..1 per image.
    fn matrices(&self, random: &Tensor, images: usize) -> Tensor {
        let AffineConfig { shift, rotate, scale, shear } = self.config;
        let one = |k: isize| random.slice(0, k, k + 1).reshape([images, 1, 1]);
        let angle = one(0) * rotate.to_radians();
        let factor = (one(1) * scale + 1.0).reciprocal();
        let [cosine, sine, right, down, centre, slanted_cosine, slanted_sine] = &self.basis;
        let (cos, sin) = (angle.cos() * &factor, angle.sin() * &factor);
        let moved = &cos * cosine + &sin * sine + one(2) * (right * shift) + one(3) * (down * shift) + centre;
        if shear == 0.0 {
            return moved;
        }
        let slant = (one(4) * shear.to_radians()).tan();
        moved + (cos * &slant) * slanted_cosine + (sin * slant) * slanted_sine
    }

    /// Samples each image at its matrix times the grid.
    #[track_caller]
    fn sample(&self, x: &Tensor, matrices: &Tensor) -> Result<Tensor> {
        let [n, c, h, w] = x.dims::<4>()?;
        let (pixels, rows, columns) = (h * w, h + PAD.0 + PAD.1, w + PAD.0 + PAD.1);
        let source = matrices.reshape([2 * n, 3]).matmul(&self.grid).reshape([n, 2, pixels]);
        // One pixel outside the image everything is zero, so clamping there changes nothing.
        let coordinate = |axis: isize, len: usize| {
            let at = source.slice(1, axis, axis + 1).reshape([1, n, pixels]).clamp(-1.0, len as f64) + 1.0;
            let whole = at.floor();
            (&at - &whole, whole.cast(DType::I32))
        };
        let ((fx, x0), (fy, y0)) = (coordinate(0, w), coordinate(1, h));
        let (image, all) = (rows * columns, product(&[n, rows, columns]));
        if i32::try_from(all).is_err() {
            return Err(Error::argument("RandomAffine::apply", format!("a batch of {n} images is too large"), "split it"));
        }
        let first = Tensor::iota(n, DType::I32, &x.device()?)?.reshape([1, n, 1]) * image as f64;
        let index = (y0 * columns as f64 + x0 + first + &self.step).reshape(4 * n * pixels);
        let table = x.pad(&[(0, 0), (0, 0), PAD, PAD]).permute(&[0, 2, 3, 1]).reshape([all, c]);
        let taps = table.gather_rows_within(&index).reshape([4, n * pixels, c]);
        let [a, b, d, e] = &self.weights;
        let weights = ((&fx * b + a) * (&fy * e + d)).reshape([4, n * pixels, 1]);
        Ok((taps * weights).sum_dim(0).reshape([n, pixels, c]).permute(&[0, 2, 1]).reshape([n, c, h, w]))
    }
}

impl Transform for RandomAffine {
    /// F32 `[n, c, h, w]` of the size that this was made for. No gradient flows.
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let [n, _, h, w] = x.dims::<4>()?;
        if [h, w] != self.size || x.dtype()? != DType::F32 {
            return Err(Error::argument(
                "RandomAffine::apply",
                format!("the batch is {} {} and images of {:?} are expected", x.dtype()?, x.shape()?, self.size),
                "make a RandomAffine for this size, and use f32",
            ));
        }
        // Uniform in -1..1: rotation, scale, both shifts, and slant of each image.
        let rows = if self.config.shear > 0.0 { 5 } else { 4 };
        let random = Tensor::rand([rows, n, 1, 1], generator, &x.device()?)? * 2.0 - 1.0;
        no_grad(|| self.sample(x, &self.matrices(&random, n)))
    }
}
