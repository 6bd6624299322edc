//! Pooling over sequences, images and volumes, to given sizes and over everything; flattening.

use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::shape::product;
use crate::tensor::{PoolNdOptions, PoolOptions, Tensor};

macro_rules! pool {
    ($($(#[$doc:meta])* $name:ident, $options:ty, $make:path, $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            options: $options,
        }

        impl $name {
            /// Windows of `kernel` elements along every axis, side by side.
            pub fn new(kernel: usize) -> Self {
                Self::with($make(kernel))
            }

            /// Windows with a stride, padding or dilation of their own.
            pub fn with(options: $options) -> Self {
                Self { options }
            }
        }

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), x.$method(self.options))
            }
            fields!(; skip options);
        }
    )*};
}

pool! {
    /// The largest value of each window: `[n, c, l]` to `[n, c, ol]`.
    MaxPool1d, PoolNdOptions<1>, PoolNdOptions::cube, max_pool1d;
    /// The largest value of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
    MaxPool2d, PoolOptions, PoolOptions::square, max_pool2d;
    /// The largest value of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`.
    MaxPool3d, PoolNdOptions<3>, PoolNdOptions::cube, max_pool3d;
    /// The mean of each window: `[n, c, l]` to `[n, c, ol]`.
    AvgPool1d, PoolNdOptions<1>, PoolNdOptions::cube, avg_pool1d;
    /// The mean of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
    AvgPool2d, PoolOptions, PoolOptions::square, avg_pool2d;
    /// The mean of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`.
    AvgPool3d, PoolNdOptions<3>, PoolNdOptions::cube, avg_pool3d;
}

macro_rules! adaptive {
    ($($(#[$doc:meta])* $name:ident, $size:ty, $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(pub $size);

        impl Module for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Result<Tensor> {
                observe(self, stringify!($name), x.$method(self.0))
            }
            fn fields(&self, _: &mut super::Fields) {}
        }
    )*};
}

adaptive! {
    /// Means over as many windows as the size says: `[n, c, l]` to `[n, c, size]`.
    AdaptiveAvgPool1d, usize, adaptive_avg_pool1d;
    /// Means over as many windows as the size says: `[n, c, h, w]` to `[n, c, size..]`.
    AdaptiveAvgPool2d, [usize; 2], adaptive_avg_pool2d;
    /// Means over as many windows as the size says: `[n, c, d, h, w]` to `[n, c, size..]`.
    AdaptiveAvgPool3d, [usize; 3], adaptive_avg_pool3d;
    /// Largest values over as many windows as the size says: `[n, c, l]` to `[n, c, size]`.
    AdaptiveMaxPool1d, usize, adaptive_max_pool1d;
    /// Largest values over as many windows as the size says: `[n, c, h, w]` to `[n, c, size..]`.
    AdaptiveMaxPool2d, [usize; 2], adaptive_max_pool2d;
    /// Largest values over as many windows as the size says: `[n, c, d, h, w]` to `[n, c, size..]`.
    AdaptiveMaxPool3d, [usize; 3], adaptive_max_pool3d;
}

/// The mean over all positions: `[n, c, ..]` to `[n, c, 1, ..]`.
#[derive(Debug, Clone, Copy, Default)]
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

/// Splits an axis into several: `Unflatten(1, vec![c, h, w])` turns `[n, c·h·w]` into `[n, c, h, w]`.
#[derive(Debug, Clone)]
pub struct Unflatten(pub isize, pub Vec<usize>);

impl Module for Unflatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (len, rank) = (x.dim(self.0)?, x.shape()?.rank());
        if product(&self.1) != len {
            let reason = format!("{:?} does not fill axis {} of {}", self.1, self.0, x.shape()?);
            return Err(Error::argument("Unflatten", reason, "give lengths whose product is the axis'"));
        }
        let axis = if self.0 < 0 { rank - self.0.unsigned_abs() } else { self.0.unsigned_abs() };
        let mut dims = x.shape()?.to_vec();
        dims.splice(axis..=axis, self.1.iter().copied());
        observe(self, "Unflatten", x.reshape(dims))
    }
    fn fields(&self, _: &mut super::Fields) {}
}
