//! Pooling over sequences, images and volumes, to given sizes and over everything; flattening.

use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::shape::{PerAxis, product};
use crate::tensor::{PoolOptions, Tensor};

macro_rules! pool {
    ($($(#[$doc:meta])* $name:ident, $axes:literal, $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            kernel: [usize; $axes],
            options: PoolOptions<$axes>,
        }

        impl $name {
            /// Windows of `kernel`, one number or one per axis, side by side.
            pub fn new(kernel: impl PerAxis<$axes>) -> Self {
                Self::with(kernel, PoolOptions::default())
            }

            /// Windows with their own settings.
            pub fn with(kernel: impl PerAxis<$axes>, options: PoolOptions<$axes>) -> Self {
                Self { kernel: kernel.per_axis(), options }
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), x.$method(self.kernel, self.options))
            }
            fields!(; skip kernel, options);
        }
    )*};
}

pool! {
    /// The largest value of each window: `[n, c, l]` to `[n, c, ol]`.
    MaxPool1d, 1, max_pool1d_with;
    /// The largest value of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
    ///
    /// ```
    /// # use wgrad::nn::{MaxPool2d, Module, PoolOptions};
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::ones([1, 4, 8, 8], &Device::cpu()?)?;
    /// assert_eq!(MaxPool2d::new(2).forward(&x)?.shape()?, [1, 4, 4, 4]);
    /// let pool = MaxPool2d::with(3, PoolOptions { stride: Some([2, 2]), padding: [1, 1], ..Default::default() });
    /// assert_eq!(pool.forward(&x)?.shape()?, [1, 4, 4, 4]);
    /// # Ok(()) }
    /// ```
    MaxPool2d, 2, max_pool2d_with;
    /// The largest value of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`.
    MaxPool3d, 3, max_pool3d_with;
    /// The mean of each window: `[n, c, l]` to `[n, c, ol]`.
    AvgPool1d, 1, avg_pool1d_with;
    /// The mean of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
    AvgPool2d, 2, avg_pool2d_with;
    /// The mean of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`.
    AvgPool3d, 3, avg_pool3d_with;
}

macro_rules! adaptive {
    ($($(#[$doc:meta])* $name:ident, $axes:literal, $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[must_use = "a layer computes nothing until its forward is called"]
        pub struct $name {
            size: [usize; $axes],
        }

        impl $name {
            /// A layer that pools to this size: one number, or one per axis.
            pub fn new(size: impl PerAxis<$axes>) -> Self {
                Self { size: size.per_axis() }
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), x.$method(self.size))
            }
            fields!(; skip size);
        }
    )*};
}

adaptive! {
    /// Means over as many windows as the size says: `[n, c, l]` to `[n, c, size]`.
    AdaptiveAvgPool1d, 1, adaptive_avg_pool1d;
    /// Means over as many windows as the size says: `[n, c, h, w]` to `[n, c, size..]`.
    AdaptiveAvgPool2d, 2, adaptive_avg_pool2d;
    /// Means over as many windows as the size says: `[n, c, d, h, w]` to `[n, c, size..]`.
    AdaptiveAvgPool3d, 3, adaptive_avg_pool3d;
    /// Largest values over as many windows as the size says: `[n, c, l]` to `[n, c, size]`.
    AdaptiveMaxPool1d, 1, adaptive_max_pool1d;
    /// Largest values over as many windows as the size says: `[n, c, h, w]` to `[n, c, size..]`.
    AdaptiveMaxPool2d, 2, adaptive_max_pool2d;
    /// Largest values over as many windows as the size says: `[n, c, d, h, w]` to `[n, c, size..]`.
    AdaptiveMaxPool3d, 3, adaptive_max_pool3d;
}

/// The mean over all positions: `[n, c, ..]` to `[n, c, 1, ..]`.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct GlobalAvgPool;

impl Module for GlobalAvgPool {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "GlobalAvgPool", x.global_avg_pool())
    }
    fields!();
}

/// The largest value over all positions: `[n, c, ..]` to `[n, c, 1, ..]`.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct GlobalMaxPool;

impl Module for GlobalMaxPool {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "GlobalMaxPool", x.global_max_pool())
    }
    fields!();
}

/// Merges all axes but the first: `[n, ...]` to `[n, product]`.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Flatten;

impl Module for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape()?;
        let n = shape.first().copied().unwrap_or(1);
        let rest: usize = shape.iter().skip(1).product();
        observe(self, "Flatten", x.reshape([n, rest]))
    }
    fields!();
}

/// Splits an axis into several: `Unflatten::new(1, [c, h, w])` turns `[n, c·h·w]` into `[n, c, h, w]`.
#[derive(Debug, Clone)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Unflatten {
    axis: isize,
    lengths: Vec<usize>,
}

impl Unflatten {
    /// Splits `axis` into axes of these lengths, whose product is its length.
    pub fn new(axis: isize, lengths: impl Into<Vec<usize>>) -> Self {
        Self { axis, lengths: lengths.into() }
    }
}

impl Module for Unflatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (len, rank) = (x.dim(self.axis)?, x.shape()?.rank());
        if product(&self.lengths) != len {
            let reason = format!("{:?} does not fill axis {} of {}", self.lengths, self.axis, x.shape()?);
            return Err(Error::argument("Unflatten", reason, "give lengths whose product is the axis' length"));
        }
        let axis = if self.axis < 0 { rank - self.axis.unsigned_abs() } else { self.axis.unsigned_abs() };
        let mut dims = x.shape()?.to_vec();
        dims.splice(axis..=axis, self.lengths.iter().copied());
        observe(self, "Unflatten", x.reshape(dims))
    }
    fields!(; skip axis, lengths);
}
