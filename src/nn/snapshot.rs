//! A module as it is between two steps.

use super::fields::Fields;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict};
use crate::lazy::snapshot::Frame;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::panic::Location;

/// How many values are on their way to the host at once.
const WINDOW: usize = 16;

/// A module's parameters, buffers and counters as they were between two optimizer steps, whatever other threads do to it.
///
/// It costs nothing until a step overwrites a parameter: then the old value is copied within the device, once for all snapshots
/// and tensors that need it, and freed with the last of them ([`Counters::bytes_kept`](crate::Counters)).
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let model = Linear::new(2, 1, &Init::new(&device, 0))?;
/// let x = Tensor::ones([1, 2], &device)?;
/// let snapshot = model.snapshot();
/// let before = model.forward(&x)?.item()?;
/// model.weight.set(&Tensor::zeros([1, 2], &device)?)?; // or a step, in this thread or another
/// assert_eq!(snapshot.read(|| model.forward(&x))?.item()?, before);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a snapshot does nothing until it is read"]
pub struct Snapshot {
    frame: Frame,
    entries: Vec<(String, Param)>,
    counters: Vec<(String, u64)>,
    error: Option<Error>,
}

impl Snapshot {
    pub(super) fn of(fields: &Fields) -> Self {
        let entries: Vec<(String, Param)> = fields.parameters.iter().chain(&fields.buffers).cloned().collect();
        let count = || fields.counters.iter().map(|(name, counter)| (name.clone(), counter.get())).collect();
        let (frame, counters) = Frame::take(entries.iter().map(|(_, param)| param.cell()), count);
        Self { frame, entries, counters, error: fields.check().err() }
    }

    /// Runs `f`; meanwhile this thread reads the module as it is in the snapshot. What `f` itself assigns, it reads back.
    pub fn read<R>(&self, f: impl FnOnce() -> R) -> R {
        self.frame.enter(f)
    }

    /// Parameters, buffers and counters in host memory. Waits for the device.
    ///
    /// # Errors
    /// As [`Module::check`](super::Module::check); evaluation errors; a lost device.
    #[track_caller]
    pub fn state_dict(&self) -> Result<StateDict> {
        if let Some(error) = &self.error {
            return Err(error.clone().seen_from(Location::caller()));
        }
        let mut dict = StateDict::new();
        for entries in self.entries.chunks(WINDOW) {
            let read = |(_, param): &(String, Param)| {
                let handle = self.frame.get(param.id()).ok_or_else(|| Error::internal("a snapshot lacks a parameter"))?;
                Tensor::from_handle(handle).read_later()
            };
            let coming = entries.iter().map(read).collect::<Result<Vec<_>>>()?;
            for ((name, param), value) in entries.iter().zip(coming) {
                // The check leaves one case of two entries under one name: one value that is listed twice.
                dict.tensors.insert(name.clone(), HostTensor::new(param.dtype(), param.shape(), value.wait()?)?);
            }
        }
        for (name, count) in &self.counters {
            let count = i32::try_from(*count).unwrap_or(i32::MAX);
            dict.tensors.insert(name.clone(), HostTensor::new(DType::I32, Shape::SCALAR, HostData::I32(vec![count]))?);
        }
        Ok(dict)
    }
}
