//! A table of vectors.

use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::fields;
use crate::param::Param;
use crate::tensor::Tensor;
use std::panic::Location;

/// Settings of an [`Embedding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbeddingConfig {
    /// The row for padding: it starts at 0 and gets no gradient. Defaults to `None`.
    pub padding_idx: Option<usize>,
}

/// Rows of a learned table by an i32 or u32 index of any shape: `[..]` to `[.., d]`.
///
/// ```
/// # use wgrad::nn::{Embedding, Init, Module};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let words = Embedding::new(10, 4, &Init::new(&device, 0))?;
/// assert_eq!(words.forward(&Tensor::from_slice(&[7, 7, 1], [3], &device)?)?.shape()?, [3, 4]);
/// assert!(words.forward(&Tensor::from_slice(&[10], [1], &device)?).is_err());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct Embedding {
    /// `[rows, d]`; standard normal.
    pub weight: Param,
    padding_idx: Option<usize>,
}

impl Embedding {
    /// A table of `rows` vectors of `d` elements.
    ///
    /// # Errors
    /// An impossible shape; the device is out of memory.
    #[track_caller]
    pub fn new(rows: usize, d: usize, init: &Init) -> Result<Self> {
        Self::with(rows, d, EmbeddingConfig::default(), init)
    }

    /// A table with its own settings.
    ///
    /// # Errors
    /// As [`Embedding::new`]; `padding_idx` is not a row.
    #[track_caller]
    pub fn with(rows: usize, d: usize, config: EmbeddingConfig, init: &Init) -> Result<Self> {
        let EmbeddingConfig { padding_idx } = config;
        let mut table = init.normal([rows, d], 1.0)?;
        if let Some(row) = padding_idx {
            if row >= rows {
                let reason = format!("padding_idx {row} is outside 0..{rows}");
                return Err(Error::argument("Embedding::with", reason, "use a row of the table"));
            }
            let position = Tensor::iota(rows, DType::I32, &init.device)?.unsqueeze(1);
            table = position.eq(&position.full_like(row as f64)).where_(&table.zeros_like(), &table);
        }
        let weight = Param::new(&table)?;
        weight.set_name("weight");
        Ok(Self { weight, padding_idx })
    }

    /// A table that is shared with another layer, such as an output layer's weight `[rows, d]`.
    ///
    /// # Errors
    /// The weight is not a matrix; `padding_idx` is not a row.
    #[track_caller]
    pub fn tied(weight: &Param, config: EmbeddingConfig) -> Result<Self> {
        let EmbeddingConfig { padding_idx } = config;
        let shape = weight.shape();
        if shape.rank() != 2 || padding_idx.is_some_and(|row| row >= shape[0]) {
            let reason = format!("a weight of shape {shape} was given, and padding_idx {padding_idx:?}");
            return Err(Error::argument("Embedding::tied", reason, "give a matrix [rows, d], and a row of it"));
        }
        Ok(Self { weight: weight.clone(), padding_idx })
    }
}

impl Module for Embedding {
    #[track_caller]
    fn forward(&self, index: &Tensor) -> Result<Tensor> {
        let rows = self.weight.shape()[0];
        let help = "use tokens below the number of the layer's rows, or make the layer with more rows";
        let y = self.weight.tensor().embedding_as("Embedding", help, index, self.padding_idx, Location::caller());
        let y = observe(self, "Embedding", y);
        y.map_err(|error| match error {
            Error::Index { index, position, len, at, .. } => Error::Index {
                at,
                op: "Embedding",
                index,
                position,
                len,
                help: format!(
                    "the layer's vocabulary has {rows} tokens: use tokens below {rows}, or make the layer with more rows"
                ),
            },
            other => other,
        })
    }
    fields!(weight; skip padding_idx);
}
