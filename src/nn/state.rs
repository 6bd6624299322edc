//! Modules to and from named tensors in host memory.

use super::fields::Fields;
use super::load::LoadOptions;
use super::misfit::Misfit;
use super::mode::Counter;
use crate::dtype::DType;
use crate::error::{Result, counted};
use crate::io::number::{self, Range};
use crate::io::{HostTensor, Origin, StateDict};
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The most names of a kind that a printed report lists.
const LISTED: usize = 5;

/// What a load has done and what it left alone. `Display` gives the counts and a few names of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Parameters and buffers that have a new value, by the module's names.
    pub loaded: Vec<String>,
    /// Parameters and buffers that are not in the file.
    pub missing: Vec<String>,
    /// Tensors that are not in the module, after renaming.
    pub unexpected: Vec<String>,
    /// Names, with the shape in the file and the one in the module, that were skipped because they differ.
    pub mismatched: Vec<(String, Shape, Shape)>,
    /// Where the tensors come from: a file whose checksums fit, one without any, or memory.
    pub origin: Origin,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mismatched: Vec<String> =
            self.mismatched.iter().map(|(name, file, own)| format!("{name} (file {file}, module {own})")).collect();
        write!(f, "loaded {}", counted(self.loaded.len(), "tensor"))?;
        let rows = [("missing", &self.missing), ("unexpected", &self.unexpected), ("of another shape", &mismatched)];
        for (what, names) in rows.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "\n{} {what}:", names.len())?;
            names.iter().take(LISTED).try_for_each(|name| write!(f, "\n  {name}"))?;
            if names.len() > LISTED {
                write!(f, "\n  and {} more", names.len() - LISTED)?;
            }
        }
        match self.origin {
            Origin::Unchecked => f.write_str("\nthe file has no checksums: damage to it would go unnoticed"),
            Origin::Memory | Origin::Checked => Ok(()),
        }
    }
}

/// What a file would change in a module.
pub(crate) struct Prepared<'f> {
    values: Vec<(&'f Param, HostTensor)>,
    counts: Vec<(&'f Counter, u64)>,
    report: LoadReport,
}

impl<'f> Prepared<'f> {
    /// Brings the values to their devices.
    #[track_caller]
    pub fn upload(self) -> Result<Uploaded<'f>> {
        let Self { values, counts, report } = self;
        let upload = |(param, value): (&'f Param, HostTensor)| Ok((param, value.into_tensor(param.device())?));
        Ok(Uploaded { values: values.into_iter().map(upload).collect::<Result<_>>()?, counts, report })
    }
}

/// The same, with the values on their devices.
pub(crate) struct Uploaded<'f> {
    values: Vec<(&'f Param, Tensor)>,
    counts: Vec<(&'f Counter, u64)>,
    report: LoadReport,
}

impl Uploaded<'_> {
    /// Assigns: all parameters and counters change, or none does.
    #[track_caller]
    pub fn commit(self) -> Result<LoadReport> {
        Param::set_all(&self.values.iter().map(|(param, value)| (*param, value)).collect::<Vec<_>>())?;
        self.counts.into_iter().for_each(|(counter, count)| counter.set(count));
        Ok(self.report)
    }
}

/// Renames, checks everything, uploads everything, then assigns.
#[track_caller]
pub(super) fn load(fields: &Fields, dict: &StateDict, options: &LoadOptions) -> Result<LoadReport> {
    prepare(fields, dict, options)?.upload()?.commit()
}

/// Renames and checks everything; changes nothing.
#[track_caller]
pub(crate) fn prepare<'f>(fields: &'f Fields, dict: &StateDict, options: &LoadOptions) -> Result<Prepared<'f>> {
    fields.check()?;
    let entries: Vec<&'f (String, Param)> = fields.parameters.iter().chain(&fields.buffers).collect();
    let counters = fields.counters.iter().map(|(name, _)| name);
    let known: HashSet<&str> = entries.iter().map(|(name, _)| name).chain(counters).map(String::as_str).collect();
    let tensors = options.prepare(dict)?;
    let mut report = LoadReport {
        unexpected: tensors.keys().filter(|k| !known.contains(k.as_str())).cloned().collect(),
        origin: dict.origin,
        ..LoadReport::default()
    };
    let mut misfit = Misfit { file: tensors.len(), module: known.len(), ..Misfit::default() };
    let mut values: Vec<(&'f Param, HostTensor)> = Vec::new();
    // A tied parameter has several names, and a file may have it under only one of them.
    let mut given: HashMap<u64, (&str, &HostTensor)> = HashMap::new();
    for (name, param) in &entries {
        let Some(tensor) = tensors.get(name) else { continue };
        let first = given.entry(param.id()).or_insert((name.as_str(), tensor));
        if first.0 != name && first.1.data != tensor.data {
            let reason = format!("{} and {name} are one parameter of the module, and their values differ in the file", first.0);
            misfit.differing.push(reason);
        }
    }
    for (name, param) in &entries {
        let Some(tensor) = tensors.get(name) else {
            if !given.contains_key(&param.id()) {
                report.missing.push(name.clone());
                misfit.missing.push((name, param.shape()));
            }
            continue;
        };
        match tensor.to_dtype(param.dtype()) {
            Some(value) if value.shape == param.shape() => {
                report.loaded.push(name.clone());
                values.push((param, value));
            }
            Some(_) if options.skip_mismatched => report.mismatched.push((name.clone(), tensor.shape, param.shape())),
            _ => misfit.differing.push(mismatch(name, tensor, param)),
        }
    }
    let mut counts = Vec::new();
    for (name, counter) in &fields.counters {
        // Files older than PyTorch 0.4.1 do not have the number.
        let Some(tensor) = tensors.get(name) else { continue };
        match count_in(tensor) {
            Some(count) => {
                report.loaded.push(name.clone());
                counts.push((counter, count));
            }
            None => {
                let (dtype, shape) = (tensor.dtype, tensor.shape);
                misfit.differing.push(format!("{name} is {dtype} {shape} in the file and not a whole number from 0 to 2^53"));
            }
        }
    }
    if options.strict {
        let unknown = tensors.iter().filter(|(name, _)| !known.contains(name.as_str()));
        misfit.unexpected = unknown.map(|(name, tensor)| (name.as_str(), tensor.shape)).collect();
    } else {
        misfit.missing.clear();
    }
    misfit.fitting = report.loaded.iter().map(String::as_str).collect();
    match misfit.error() {
        Some(error) => Err(error),
        None => Ok(Prepared { values, counts, report }),
    }
}

/// The number in a tensor of one element.
fn count_in(tensor: &HostTensor) -> Option<u64> {
    let [value] = tensor.data.to_f64()[..] else { return None };
    Range::Count.holds(value).then(|| number::count(value))
}

/// Says how a tensor differs from the parameter of its name.
fn mismatch(name: &str, tensor: &HostTensor, param: &Param) -> String {
    let (file, own) = (tensor.shape, param.shape());
    let turned: Vec<usize> = file.iter().rev().copied().collect();
    let hint = match () {
        () if file != own && turned == own.dims() => ": it is transposed",
        () if file == own && tensor.dtype == DType::F64 && param.dtype() == DType::F32 => ": it holds numbers that f32 cannot",
        () => "",
    };
    format!("{name} is {} {file} in the file and {} {own} in the module{hint}", tensor.dtype, param.dtype())
}
