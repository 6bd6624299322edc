//! Everything that a run needs to continue as if it had not stopped.

use crate::error::{Error, Result};
use crate::io::StateDict;
use crate::nn::{LoadOptions, Module};
use crate::optim::Optimizer;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

/// A model, its optimizer's memory, and notes such as the epoch and the generator's offset, in one safetensors file.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    dict: StateDict,
}

impl Checkpoint {
    /// Copies a model and its optimizer to host memory. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    pub fn capture(model: &dyn Module, optimizer: &dyn Optimizer) -> Result<Self> {
        let mut dict = StateDict::new();
        dict.insert_all(MODEL, model.state_dict()?);
        dict.insert_all(OPTIMIZER, optimizer.state_dict()?);
        Ok(Self { dict })
    }

    /// Adds a note.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.dict.metadata.insert(key.into(), value.to_string());
        self
    }

    /// A note's value.
    ///
    /// # Errors
    /// The note is missing or does not parse.
    pub fn note<T: FromStr>(&self, key: &str) -> Result<T> {
        self.dict.note(key)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.dict.save(path)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or is no checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let dict = StateDict::load(path)?;
        if !dict.tensors.keys().any(|k| k.starts_with(MODEL)) {
            return Err(Error::format(path, "the file holds no checkpoint", "resume from a *.checkpoint.safetensors file"));
        }
        Ok(Self { dict })
    }

    /// Puts a model and its optimizer into the checkpoint's state.
    ///
    /// # Errors
    /// The checkpoint belongs to another model or optimizer; neither has changed then.
    pub fn restore(&self, model: &dyn Module, optimizer: &mut dyn Optimizer) -> Result<()> {
        // Both are checked before either changes.
        let (fields, own) = (model.collect(), self.dict.under(MODEL));
        let prepared = crate::nn::state::prepare(&fields, &own, &LoadOptions::strict())?;
        optimizer.load_state_dict(&self.dict.under(OPTIMIZER))?;
        prepared.commit().map(|_| ())
    }
}
