//! Augmentations of image batches `[n, c, h, w]`, with a draw of its own for each image.

use super::transform::{Transform, need_probability, per_sample};
use crate::error::{Error, Result, counted};
use crate::rng::Generator;
use crate::shape::MAX_PIECES;
use crate::tensor::{Interpolation, Tensor};

/// Mirrors each image with probability `p`, left to right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomHorizontalFlip {
    p: f64,
}

/// Mirrors each image with probability `p`, top to bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomVerticalFlip {
    p: f64,
}

impl RandomHorizontalFlip {
    /// A flip with probability `p`.
    ///
    /// # Errors
    /// `p` is not in 0..=1.
    #[track_caller]
    pub fn new(p: f64) -> Result<Self> {
        Ok(Self { p: need_probability("RandomHorizontalFlip::new", p)? })
    }
}

impl RandomVerticalFlip {
    /// A flip with probability `p`.
    ///
    /// # Errors
    /// `p` is not in 0..=1.
    #[track_caller]
    pub fn new(p: f64) -> Result<Self> {
        Ok(Self { p: need_probability("RandomVerticalFlip::new", p)? })
    }
}

impl Transform for RandomHorizontalFlip {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        Ok(chance(x, self.p, generator)?.where_(&x.flip(3), x))
    }
}

impl Transform for RandomVerticalFlip {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        Ok(chance(x, self.p, generator)?.where_(&x.flip(2), x))
    }
}

/// Cuts a part of a given size out of each image at a random place, after padding the image with zeros on all sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomCrop {
    size: [usize; 2],
    padding: usize,
}

impl RandomCrop {
    /// Parts of `size`, height and width, without padding.
    pub fn new(size: [usize; 2]) -> Self {
        Self { size, padding: 0 }
    }

    /// Pads by `padding` pixels on each side. Defaults to 0.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }
}

impl Transform for RandomCrop {
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        x.dims::<4>()?;
        let p = self.padding;
        let padded = x.pad(&[(0, 0), (0, 0), (p, p), (p, p)]);
        let [n, c, h, w] = padded.dims::<4>()?;
        let [rows, columns] = self.size;
        let (Some(down), Some(right)) = (h.checked_sub(rows), w.checked_sub(columns)) else {
            let reason = format!("a part of {rows}x{columns} does not fit into {h}x{w} pixels, padding included");
            return Err(Error::argument("RandomCrop", reason, "use a smaller size, or more padding"));
        };
        let random = Tensor::rand([2, n, 1, 1, 1], generator, &x.device()?)?;
        // How far each image's part begins from the top and from the left, and its places along that axis.
        let places = |k: isize, most: usize, len: usize| -> Result<Tensor> {
            let first = (random.slice(0, k, k + 1) * (most + 1) as f64).cast(crate::DType::I32).clamp(0.0, most as f64);
            let along = Tensor::iota(len, crate::DType::I32, &x.device()?)?;
            Ok(first.reshape([n, 1, 1]) + along.reshape([1, 1, len]))
        };
        let down = places(0, down, rows)?.reshape([n, 1, rows, 1]);
        let right = places(1, right, columns)?.reshape([n, 1, 1, columns]);
        let cut = padded.gather_within(2, &down.expand([n, c, rows, w]));
        Ok(cut.gather_within(3, &right.expand([n, c, rows, columns])))
    }
}

/// Scales images to a given size by bilinear interpolation, without antialiasing; nothing about it is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// Height and width in pixels.
    pub size: [usize; 2],
}

impl Transform for Resize {
    fn apply(&self, x: &Tensor, _: &Generator) -> Result<Tensor> {
        Ok(x.interpolate(&self.size, Interpolation::Linear))
    }
}

/// Changes brightness, contrast and saturation of images in 0..1, in this order, each by a factor in `1 - limit..1 + limit`
/// drawn for each image; the result is cut to 0..1. Saturation needs three channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorJitter {
    limits: [f64; 3],
}

impl ColorJitter {
    /// The limits of brightness, contrast and saturation.
    ///
    /// # Errors
    /// A limit is not in 0..=1.
    #[track_caller]
    pub fn new(brightness: f64, contrast: f64, saturation: f64) -> Result<Self> {
        let limits = [brightness, contrast, saturation];
        for limit in limits {
            need_probability("ColorJitter::new", limit)?;
        }
        Ok(Self { limits })
    }
}

impl Transform for ColorJitter {
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let [n, c, _, _] = x.dims::<4>()?;
        let random = Tensor::rand([3, n, 1, 1, 1], generator, &x.device()?)? * 2.0 - 1.0;
        let factor = |k: usize| {
            let k = k as isize;
            random.slice(0, k, k + 1).reshape([n, 1, 1, 1]) * self.limits[k as usize] + 1.0
        };
        let x = (x * factor(0)).clamp(0.0, 1.0);
        // As in torchvision, contrast is about the mean of the grey image.
        let grey = if c == 3 { grey(&x) } else { x.mean_keepdim(1) };
        let middle = grey.mean_keepdim([1, 2, 3]);
        let x = ((&x - &middle) * factor(1) + middle).clamp(0.0, 1.0);
        if self.limits[2] == 0.0 {
            return Ok(x);
        }
        need_colours("ColorJitter", c)?;
        let grey = self::grey(&x);
        Ok(((&x - &grey) * factor(2) + grey).clamp(0.0, 1.0))
    }
}

/// Takes the colour out of each image with probability `p`: `0.299·R + 0.587·G + 0.114·B` in all three channels (ITU-R
/// BT.601).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomGrayscale {
    p: f64,
}

impl RandomGrayscale {
    /// # Errors
    /// `p` is not in 0..=1.
    #[track_caller]
    pub fn new(p: f64) -> Result<Self> {
        Ok(Self { p: need_probability("RandomGrayscale::new", p)? })
    }
}

impl Transform for RandomGrayscale {
    #[track_caller]
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        need_colours("RandomGrayscale", x.dims::<4>()?[1])?;
        let chosen = chance(x, self.p, generator)?;
        Ok(chosen.where_(&grey(x).broadcast_to(x.shape()?), x))
    }
}

/// Blurs by a Gaussian whose width is drawn for each image; with zeros outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianBlur {
    radius: usize,
    sigma: (f64, f64),
}

impl GaussianBlur {
    /// A kernel of `2·radius + 1` pixels, with a standard deviation in a range, in pixels.
    ///
    /// # Errors
    /// The range is out of order or not above 0.
    #[track_caller]
    pub fn new(radius: usize, sigma: (f64, f64)) -> Result<Self> {
        if !(sigma.0 > 0.0 && sigma.0 <= sigma.1 && sigma.1.is_finite()) {
            let reason = format!("the range of sigma is {sigma:?}");
            return Err(Error::argument("GaussianBlur::new", reason, "give (low, high) with 0 < low <= high"));
        }
        if radius > MAX_PIECES / 2 - 1 {
            let reason = format!("a radius of {radius} pixels was given");
            return Err(Error::argument("GaussianBlur::new", reason, format!("use at most {}", MAX_PIECES / 2 - 1)));
        }
        Ok(Self { radius, sigma })
    }
}

impl Transform for GaussianBlur {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let [n, _, h, w] = x.dims::<4>()?;
        let sigma = per_sample(x, generator)? * (self.sigma.1 - self.sigma.0) + self.sigma.0;
        let scale = sigma.square().reciprocal() * -0.5;
        let distances = (0..=2 * self.radius).map(|k| k as f64 - self.radius as f64);
        let taps: Vec<Tensor> = distances.map(|d| (&scale * (d * d)).exp()).collect();
        let total = taps.iter().skip(1).fold(taps[0].clone(), |sum, t| sum + t).reshape([n, 1, 1, 1]);
        let along = |x: &Tensor, axis: usize, len: usize| {
            let mut amounts = [(0, 0); 4];
            amounts[axis] = (self.radius, self.radius);
            let padded = x.pad(&amounts);
            let tap = |k: usize| padded.slice(axis as isize, k as isize, (k + len) as isize) * &taps[k];
            (1..taps.len()).fold(tap(0), |sum, k| sum + tap(k)) / &total
        };
        Ok(along(&along(x, 3, w), 2, h))
    }
}

/// Adds normal noise of a standard deviation to every element of any batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianNoise {
    std: f64,
}

impl GaussianNoise {
    /// # Errors
    /// The standard deviation is negative or not finite.
    #[track_caller]
    pub fn new(std: f64) -> Result<Self> {
        if !(std.is_finite() && std >= 0.0) {
            return Err(Error::argument(
                "GaussianNoise::new",
                format!("a deviation of {std} was given"),
                "use one of at least 0",
            ));
        }
        Ok(Self { std })
    }
}

impl Transform for GaussianNoise {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        Ok(x + Tensor::randn(x.shape()?, generator, &x.device()?)? * self.std)
    }
}

/// Sets a square of each image to 0, centred on any pixel, so that it may extend over the edge.
///
/// Source: T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutout {
    /// The square's side in pixels.
    pub size: usize,
}

impl Transform for Cutout {
    fn apply(&self, x: &Tensor, generator: &Generator) -> Result<Tensor> {
        let [n, _, h, w] = x.dims::<4>()?;
        let random = Tensor::rand([2, n, 1, 1, 1], generator, &x.device()?)?;
        let inside = |k: isize, len: usize, shape: [usize; 4]| -> Result<Tensor> {
            let first = (random.slice(0, k, k + 1).reshape([n, 1, 1, 1]) * len as f64).floor() - (self.size / 2) as f64;
            let at = Tensor::iota(len, crate::DType::F32, &x.device()?)?.reshape(shape) - first;
            Ok(at.ge(&at.full_like(0.0)).logical_and(&at.lt(&at.full_like(self.size as f64))))
        };
        let hole = inside(0, h, [1, 1, h, 1])?.logical_and(&inside(1, w, [1, 1, 1, w])?);
        Ok(x.masked_fill(&hole, 0.0))
    }
}

/// Bool `[n, 1, 1, 1]`: true with probability `p`.
#[track_caller]
fn chance(x: &Tensor, p: f64, generator: &Generator) -> Result<Tensor> {
    x.dims::<4>()?;
    let random = per_sample(x, generator)?;
    Ok(random.lt(&random.full_like(p)))
}

fn grey(x: &Tensor) -> Tensor {
    x.slice(1, 0, 1) * 0.299 + x.slice(1, 1, 2) * 0.587 + x.slice(1, 2, 3) * 0.114
}

#[track_caller]
fn need_colours(what: &str, channels: usize) -> Result<()> {
    if channels == 3 {
        return Ok(());
    }
    Err(Error::argument(
        what,
        format!("the images have {}, not 3", counted(channels, "channel")),
        "use images with red, green and blue",
    ))
}
