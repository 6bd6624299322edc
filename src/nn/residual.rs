//! Lists of layers and skip connections.

use super::module::Module;
use super::summary::observe;
use crate::error::{Error, Result};
use crate::fields;
use crate::lazy::anomaly;
use crate::tensor::Tensor;
use std::panic::Location;

/// Layers that a model calls as it likes, named `0`, `1` ... as in PyTorch. Any `Vec` of modules is such a list, too.
pub type ModuleList = Vec<Box<dyn Module>>;

/// `body(x) + shortcut(x)`, or `body(x) + x`.
///
/// Source: K. He et al., "Deep residual learning for image recognition", 2015.
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Residual {
    /// The branch that is learned.
    pub body: Box<dyn Module>,
    /// A projection for inputs whose shape is not that of the body's output.
    pub shortcut: Option<Box<dyn Module>>,
}

impl Residual {
    /// A block whose input has its output's shape.
    pub fn new(body: impl Module + 'static) -> Self {
        Self { body: Box::new(body), shortcut: None }
    }

    /// The block with a layer in place of the plain connection.
    pub fn with_shortcut(mut self, shortcut: impl Module + 'static) -> Self {
        self.shortcut = Some(Box::new(shortcut));
        self
    }
}

impl std::fmt::Debug for Residual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Residual").field("shortcut", &self.shortcut.is_some()).finish_non_exhaustive()
    }
}

impl Module for Residual {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _seen = anomaly::seen_from(Location::caller());
        let y = (*self.body).forward(x);
        let skipped = match &self.shortcut {
            Some(shortcut) => (**shortcut).forward(x),
            None => Ok(x.clone()),
        };
        self.sum(y, skipped, Location::caller())
    }
    fields!(body, shortcut);
}

impl Residual {
    // Separate from `forward`, whose frame is on the stack once for each nested block.
    #[inline(never)]
    #[track_caller]
    fn sum(&self, y: Result<Tensor>, skipped: Result<Tensor>, caller: &'static Location<'static>) -> Result<Tensor> {
        let (y, skipped) = y.and_then(|y| Ok((y, skipped?))).map_err(|error| error.seen_from(caller))?;
        if y.shape()? != skipped.shape()? {
            let reason = format!("the body gives {} and the shortcut {}", y.shape()?, skipped.shape()?);
            return Err(Error::argument("Residual", reason, "give the block a shortcut that projects to the body's shape"));
        }
        observe(self, "Residual", y + skipped)
    }
}
