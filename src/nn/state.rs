//! Modules to and from named tensors in host memory.

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict};
use crate::param::Param;
use crate::tensor::Tensor;
use std::collections::HashSet;

/// PyTorch counts the batches that a BatchNorm has seen. Nothing here depends on it, so files may or may not have it.
const IGNORED: &str = "num_batches_tracked";

/// What a partial load left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Parameters and buffers that the file does not have.
    pub missing: Vec<String>,
    /// Tensors that the module does not have.
    pub unexpected: Vec<String>,
}

/// Copies parameters and buffers to the host.
pub(super) fn state_dict(fields: &Fields) -> Result<StateDict> {
    let entries = || fields.parameters.iter().chain(&fields.buffers);
    let tensors: Vec<Tensor> = entries().map(|(_, p)| p.tensor()).collect();
    let mut dict = StateDict::new();
    for ((name, param), tensor) in entries().zip(&tensors) {
        dict.insert(name, HostTensor::new(param.dtype(), param.shape(), tensor.to_host()?)?);
    }
    Ok(dict)
}

/// Checks everything, uploads everything, then assigns.
pub(super) fn load(fields: &Fields, dict: &StateDict, strict: bool) -> Result<LoadReport> {
    let entries: Vec<&(String, Param)> = fields.parameters.iter().chain(&fields.buffers).collect();
    let known: HashSet<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let ignored = |name: &str| name.rsplit('.').next() == Some(IGNORED);
    let report = LoadReport {
        missing: known_order(&entries, |name| !dict.tensors.contains_key(name)),
        unexpected: dict.tensors.keys().filter(|k| !known.contains(k.as_str()) && !ignored(k)).cloned().collect(),
    };
    let mut problems = Vec::new();
    if strict {
        problems.extend(report.missing.iter().map(|name| format!("{name} is missing")));
        problems.extend(report.unexpected.iter().map(|name| format!("{name} is unknown to the module")));
    }
    let mut values = Vec::new();
    for (name, param) in entries {
        let Some(tensor) = dict.tensors.get(name) else { continue };
        match tensor.to_dtype(param.dtype()) {
            Some(value) if value.shape == param.shape() => values.push((param, value)),
            _ => problems.push(format!(
                "{name} is {} {} in the file and {} {} in the module",
                tensor.dtype,
                tensor.shape,
                param.dtype(),
                param.shape()
            )),
        }
    }
    if !problems.is_empty() {
        return Err(Error::argument("load_state_dict", problems.join("; "), "load the file that belongs to this model"));
    }
    let uploaded: Vec<(&Param, Tensor)> = values
        .into_iter()
        .map(|(param, value)| Ok((param, Tensor::from_host(value.data, value.dtype, value.shape, param.device())?)))
        .collect::<Result<_>>()?;
    Tensor::eval_all(&uploaded.iter().map(|(_, t)| t).collect::<Vec<_>>())?;
    for (param, value) in &uploaded {
        param.set(value)?;
    }
    Ok(report)
}

fn known_order(entries: &[&(String, Param)], keep: impl Fn(&str) -> bool) -> Vec<String> {
    entries.iter().map(|(name, _)| name.clone()).filter(|name| keep(name)).collect()
}
