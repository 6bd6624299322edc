//! Pooling over images, and flattening.

use super::module::Module;
use super::summary::observe;
use crate::error::Result;
use crate::fields;
use crate::tensor::{PoolOptions, Tensor};

/// The largest value of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
#[derive(Debug, Clone)]
pub struct MaxPool2d {
    options: PoolOptions,
}

impl MaxPool2d {
    /// Windows of `kernel` x `kernel` side by side.
    pub fn new(kernel: usize) -> Self {
        Self::with(PoolOptions::square(kernel))
    }

    /// Windows with a stride, padding or dilation of their own.
    pub fn with(options: PoolOptions) -> Self {
        Self { options }
    }
}

impl Module for MaxPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "MaxPool2d", x.max_pool2d(self.options))
    }
    fields!(; skip options);
}

/// The mean of each window: `[n, c, h, w]` to `[n, c, oh, ow]`.
#[derive(Debug, Clone)]
pub struct AvgPool2d {
    options: PoolOptions,
}

impl AvgPool2d {
    /// Windows of `kernel` x `kernel` side by side.
    pub fn new(kernel: usize) -> Self {
        Self::with(PoolOptions::square(kernel))
    }

    /// Windows with a stride or padding of their own.
    pub fn with(options: PoolOptions) -> Self {
        Self { options }
    }
}

impl Module for AvgPool2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "AvgPool2d", x.avg_pool2d(self.options))
    }
    fields!(; skip options);
}

/// Merges all axes but the first: `[n, ...]` to `[n, product]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flatten;

impl Module for Flatten {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape()?;
        let n = shape.first().copied().unwrap_or(1);
        let rest: usize = shape.iter().skip(1).product();
        observe(self, "Flatten", x.reshape([n, rest]))
    }
    fields!();
}
