//! Everything that a run needs to continue as if it had not stopped.

use crate::error::{Error, Result};
use crate::io::{StateDict, StateReport};
use crate::nn::{LoadOptions, Module};
use crate::optim::Optimizer;
use std::fmt::Display;
use std::panic::Location;
use std::path::Path;
use std::str::FromStr;

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const STATE: &str = "state.";

/// A model, its optimizer's memory, and notes such as the epoch and the generator's offset, in one safetensors file.
///
/// A note or a state whose name is taken is the checkpoint's first error: reading, restoring and saving return it.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    dict: StateDict,
    error: Option<Error>,
}

impl Checkpoint {
    /// Copies a model and its optimizer to host memory. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    pub fn capture(model: &dyn Module, optimizer: &dyn Optimizer) -> Result<Self> {
        let mut dict = StateDict::new();
        dict.insert_all(MODEL, model.state_dict()?)?;
        dict.insert_all(OPTIMIZER, optimizer.state_dict()?)?;
        Ok(Self { dict, error: None })
    }

    /// Adds a note. Keys that begin with `state.` belong to [`Checkpoint::with_state`].
    #[must_use]
    #[track_caller]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        if key.starts_with(STATE) {
            return self.refuse("Checkpoint::with", format!("the key \"{key}\" begins with \"{STATE}\", as those of states do"));
        }
        if self.dict.metadata.contains_key(key) {
            return self.refuse("Checkpoint::with", format!("there is a note \"{key}\" already"));
        }
        self.dict.metadata.insert(key.into(), value.to_string());
        self
    }

    /// Keeps the first error.
    #[track_caller]
    fn refuse(mut self, what: &str, reason: String) -> Self {
        let error = Error::argument(what, reason, "choose another name");
        self.error.get_or_insert(error);
        self
    }

    /// The contents, if everything could be added.
    fn dict(&self) -> Result<&StateDict> {
        self.error.clone().map_or(Ok(&self.dict), Err)
    }

    /// Adds anything else that has a state, such as an [`Ema`](crate::optim::Ema), an
    /// [`EarlyStopping`](super::EarlyStopping) or a [`ReduceOnPlateau`](crate::optim::ReduceOnPlateau), under a name of its own
    /// without dots.
    ///
    /// ```
    /// # use wgrad::nn::{Init, Linear, Module};
    /// # use wgrad::optim::{Ema, Optimizer, Sgd, SgdConfig};
    /// # use wgrad::train::Checkpoint;
    /// # fn main() -> wgrad::Result<()> {
    /// # let model = Linear::new(2, 2, &Init::new(&wgrad::Device::cpu()?, 0))?;
    /// # let mut sgd = Sgd::new(&model.parameters()?, SgdConfig::default())?;
    /// let mut ema = Ema::new(&model.parameters()?, 0.99)?;
    /// let checkpoint = Checkpoint::capture(&model, &sgd)?.with_state("ema", ema.state_dict()?);
    /// checkpoint.restore(&model, &mut sgd)?;
    /// ema.load_state_dict(&checkpoint.state("ema")?)?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with_state(mut self, name: &str, state: StateDict) -> Self {
        const WITH: &str = "Checkpoint::with_state";
        let prefix = format!("{STATE}{name}.");
        if name.is_empty() || name.contains('.') {
            return self.refuse(WITH, format!("the name \"{name}\" is empty or has a dot"));
        }
        if self.dict.tensors.keys().chain(self.dict.metadata.keys()).any(|key| key.starts_with(&prefix)) {
            return self.refuse(WITH, format!("there is a state \"{name}\" already"));
        }
        let StateDict { tensors, metadata, .. } = state;
        self.dict.tensors.extend(tensors.into_iter().map(|(key, tensor)| (format!("{prefix}{key}"), tensor)));
        self.dict.metadata.extend(metadata.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
        self
    }

    /// What [`Checkpoint::with_state`] added under a name.
    ///
    /// # Errors
    /// Nothing was added under that name; the checkpoint's first error.
    #[track_caller]
    pub fn state(&self, name: &str) -> Result<StateDict> {
        let prefix = format!("{STATE}{name}.");
        let mut state = self.dict()?.under(&prefix);
        let notes = self.dict.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.into(), value.clone())));
        state.metadata.extend(notes);
        if state.tensors.is_empty() && state.metadata.is_empty() {
            let names = self.dict.tensors.keys().filter_map(|key| key.strip_prefix(STATE)?.split('.').next());
            let known: std::collections::BTreeSet<&str> = names.collect();
            let reason = format!("there is no state \"{name}\", but {known:?}");
            return Err(Error::argument("Checkpoint::state", reason, "add it by calling with_state before saving"));
        }
        Ok(state)
    }

    /// A note's value.
    ///
    /// # Errors
    /// The note is missing or does not parse; the checkpoint's first error.
    #[track_caller]
    pub fn note<T: FromStr>(&self, key: &str) -> Result<T> {
        self.dict()?.note(key)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; the checkpoint's first error.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.dict()?.save(path)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is malformed or damaged (see [`StateDict::load`]), or is not a checkpoint.
    #[track_caller]
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let dict = StateDict::load(path)?;
        if !dict.tensors.keys().any(|k| k.starts_with(MODEL)) {
            return Err(Error::format(path, "the file holds no checkpoint", "resume from a *.checkpoint.safetensors file"));
        }
        Ok(Self { dict, error: None })
    }

    /// Puts a model and its optimizer into the checkpoint's state: both, or neither. The report says which of the optimizer's
    /// settings were different before (see [`Optimizer::load_state_dict`]).
    ///
    /// # Errors
    /// The checkpoint belongs to another model or optimizer, or a number in it is outside its range; the checkpoint's first
    /// error; the device is out of memory. Neither changes in that case. If the device is lost on the way, what it held is lost
    /// anyway.
    #[track_caller]
    pub fn restore(&self, model: &dyn Module, optimizer: &mut dyn Optimizer) -> Result<StateReport> {
        // Everything is checked and on the device before anything changes; then the model changes whole or not at all, and
        // copies within the device, which need no memory, do the rest.
        let (fields, own) = (model.collect(), self.dict()?.under(MODEL));
        let weights = crate::nn::state::prepare(&fields, &own, &LoadOptions::strict())?.upload()?;
        let at = Location::caller();
        let state = optimizer.prepare_state_dict(&self.dict.under(OPTIMIZER)).map_err(|error| error.seen_from(at))?;
        weights.commit()?;
        state.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::io::HostTensor;
    use crate::nn::{Init, Linear};
    use crate::optim::{PlateauConfig, ReduceOnPlateau, Sgd, SgdConfig};
    use crate::train::{EarlyStopping, EarlyStoppingConfig};

    #[test]
    fn further_states_survive_the_file_apart_from_each_other() {
        let model = Linear::new(2, 3, &Init::new(&Device::cpu().unwrap(), 0)).unwrap();
        let mut sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig { momentum: 0.9, ..SgdConfig::default() }).unwrap();
        let mut stopping = EarlyStopping::new(EarlyStoppingConfig::default()).unwrap();
        stopping.observe(0.5, &model).unwrap();
        let mut plateau = ReduceOnPlateau::new(0.1, PlateauConfig { patience: 0, ..PlateauConfig::default() }).unwrap();
        let _ = (plateau.step(1.0), plateau.step(2.0));
        let mut noted = StateDict::new();
        noted.metadata.insert("seed".into(), "7".into());
        noted.insert("x", HostTensor::scalar(2.0)).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.safetensors");
        let states = [("stopping", stopping.state_dict()), ("plateau", plateau.state_dict()), ("plateau2", noted.clone())];
        let checkpoint = Checkpoint::capture(&model, &sgd).unwrap().with("epoch", 3);
        let checkpoint = states.iter().fold(checkpoint, |all, (name, state)| all.with_state(name, state.clone()));
        checkpoint.save(&path).unwrap();

        let read = Checkpoint::load(&path).unwrap();
        for (name, state) in &states {
            assert_eq!(&read.state(name).unwrap(), state, "{name}");
        }
        read.restore(&model, &mut sgd).unwrap();
        stopping.load_state_dict(&read.state("stopping").unwrap()).unwrap();
        assert_eq!(read.note::<usize>("epoch").unwrap(), 3);
        let message = read.state("ema").unwrap_err().to_string();
        assert!(message.contains("\"ema\"") && message.contains("stopping") && message.contains("with_state"), "{message}");
    }
}
