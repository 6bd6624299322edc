//! Modules to and from named tensors in host memory.

use super::fields::Fields;
use super::transfer::LoadOptions;
use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict};
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// PyTorch counts the batches that a BatchNorm has seen. Nothing here depends on it, so files may or may not have it.
const IGNORED: &str = "num_batches_tracked";

/// What a load has done and what it left alone. `Display` prints it for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Parameters and buffers that have a new value, by the module's names.
    pub loaded: Vec<String>,
    /// Parameters and buffers that the file does not have.
    pub missing: Vec<String>,
    /// Tensors that the module does not have, after renaming.
    pub unexpected: Vec<String>,
    /// Names, with the shape in the file and the one in the module, that were passed over because they differ.
    pub mismatched: Vec<(String, Shape, Shape)>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mismatched: Vec<String> =
            self.mismatched.iter().map(|(name, file, own)| format!("{name} (file {file}, module {own})")).collect();
        write!(f, "loaded {} tensors", self.loaded.len())?;
        let rows = [("missing", &self.missing), ("unexpected", &self.unexpected), ("of another shape", &mismatched)];
        for (what, names) in rows.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n{} {what}:", names.len())?;
            names.iter().try_for_each(|name| write!(f, "\n  {name}"))?;
        }
        Ok(())
    }
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

/// Renames, checks everything, uploads everything, then assigns.
pub(super) fn load(fields: &Fields, dict: &StateDict, options: &LoadOptions) -> Result<LoadReport> {
    let entries: Vec<&(String, Param)> = fields.parameters.iter().chain(&fields.buffers).collect();
    let known: HashSet<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let tensors = options.prepare(dict)?;
    let ignored = |name: &str| name.rsplit('.').next() == Some(IGNORED);
    let mut report = LoadReport {
        unexpected: tensors.keys().filter(|k| !known.contains(k.as_str()) && !ignored(k)).cloned().collect(),
        ..LoadReport::default()
    };
    let mut problems = Vec::new();
    let mut values: Vec<(&Param, HostTensor)> = Vec::new();
    // A tied parameter has several names, and a file may know it under one alone.
    let mut given: HashMap<u64, (&str, &HostTensor)> = HashMap::new();
    for (name, param) in &entries {
        let Some(tensor) = tensors.get(name) else { continue };
        let first = given.entry(param.id()).or_insert((name.as_str(), tensor));
        if first.0 != name && first.1.data != tensor.data {
            problems.push(format!("{} and {name} are one parameter of the module, and their values differ in the file", first.0));
        }
    }
    for (name, param) in &entries {
        let Some(tensor) = tensors.get(name) else {
            if !given.contains_key(&param.id()) {
                report.missing.push(name.clone());
            }
            continue;
        };
        match tensor.to_dtype(param.dtype()) {
            Some(value) if value.shape == param.shape() => {
                report.loaded.push(name.clone());
                values.push((param, value));
            }
            Some(_) if options.skip_mismatched => report.mismatched.push((name.clone(), tensor.shape, param.shape())),
            _ => problems.push(mismatch(name, tensor, param)),
        }
    }
    if options.strict {
        problems.extend(report.missing.iter().map(|name| format!("{name} is missing")));
        problems.extend(report.unexpected.iter().map(|name| format!("{name} is unknown to the module")));
    }
    if !problems.is_empty() {
        let help =
            "load the file that belongs to this model; LoadOptions rename and transpose tensors, or pass over what differs";
        return Err(Error::argument("load_state_dict", problems.join("; "), help));
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

/// Says how a tensor differs from the parameter of its name.
fn mismatch(name: &str, tensor: &HostTensor, param: &Param) -> String {
    let (file, own) = (tensor.shape, param.shape());
    let turned: Vec<usize> = file.iter().rev().copied().collect();
    let hint = if file != own && turned == own.dims() { ": it is transposed" } else { "" };
    format!("{name} is {} {file} in the file and {} {own} in the module{hint}", tensor.dtype, param.dtype())
}
