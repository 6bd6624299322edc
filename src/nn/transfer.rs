//! Starting from trained weights: loading with renaming, freezing by name, new heads, features computed once.
//!
//! ```
//! use wgrad::nn::transfer::{self, LoadOptions};
//! use wgrad::nn::{Init, Linear, Module, Relu, Sequential};
//! use wgrad::{Device, Result};
//!
//! # fn main() -> Result<()> {
//! let init = Init::new(&Device::cpu()?, 0);
//! let trained = Sequential::new().push_named("body", Linear::new(4, 8, &init)?).push_named("head", Linear::new(8, 10, &init)?);
//! let file = trained.state_dict()?;
//!
//! let model = Sequential::new().push_named("trunk", Linear::new(4, 8, &init)?).push_named("head", Linear::new(8, 2, &init)?);
//! let options = LoadOptions::lenient().rename("body.*", "trunk.*").skip_mismatched();
//! let report = model.load_state_dict_with(&file, &options)?;
//! assert_eq!(report.loaded, ["trunk.weight", "trunk.bias"]);
//! assert_eq!(transfer::freeze(&model, "trunk.*")?, ["trunk.weight", "trunk.bias"]);
//! # Ok(()) }
//! ```

use super::linear::Linear;
pub use super::load::LoadOptions;
use super::load::nothing;
use super::module::Module;
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::io::{HostTensor, matches};
use crate::lazy::no_grad;
use crate::param::{Param, ParamGroup};
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::HashSet;

/// The parameters whose names match, in the module's order.
#[track_caller]
fn select(what: &str, module: &dyn Module, pattern: &str) -> Result<Vec<(String, Param)>> {
    let all = module.named_parameters()?;
    let found: Vec<(String, Param)> = all.iter().filter(|(name, _)| matches(pattern, name)).cloned().collect();
    if found.is_empty() {
        return Err(nothing(what, pattern, all.iter().map(|e| &e.0)));
    }
    Ok(found)
}

/// Takes the parameters whose names match out of training, and returns their names.
///
/// # Errors
/// The pattern matches no parameter.
#[track_caller]
pub fn freeze(module: &dyn Module, pattern: &str) -> Result<Vec<String>> {
    let found = select("freeze", module, pattern)?;
    Ok(found.into_iter().inspect(|(_, p)| p.freeze()).map(|(name, _)| name).collect())
}

/// Puts the parameters whose names match back into training, and returns their names.
///
/// # Errors
/// The pattern matches no parameter.
#[track_caller]
pub fn unfreeze(module: &dyn Module, pattern: &str) -> Result<Vec<String>> {
    let found = select("unfreeze", module, pattern)?;
    Ok(found.into_iter().inspect(|(_, p)| p.unfreeze()).map(|(name, _)| name).collect())
}

/// One optimizer group per pattern, for discriminative learning rates. A parameter belongs to the first pattern that matches
/// it; `"*"` at the end takes the rest.
///
/// ```
/// # use wgrad::nn::{Init, Linear, Module, Sequential, transfer};
/// # use wgrad::optim::{Adam, AdamConfig};
/// # fn main() -> wgrad::Result<()> {
/// # let init = Init::new(&wgrad::Device::cpu()?, 0);
/// # let model = Sequential::new().push(Linear::new(4, 8, &init)?).push(Linear::new(8, 2, &init)?);
/// let rate = |lr| AdamConfig { lr, ..AdamConfig::default() };
/// let adam = Adam::with_groups(transfer::param_groups(&model, [("1.*", rate(1e-3)), ("*", rate(1e-4))])?)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// A pattern that takes no parameter; a parameter that no pattern takes.
#[track_caller]
pub fn param_groups<'a, C>(module: &dyn Module, rules: impl IntoIterator<Item = (&'a str, C)>) -> Result<Vec<ParamGroup<C>>> {
    let mut rest = module.named_parameters()?;
    let mut seen = HashSet::new();
    rest.retain(|(_, p)| seen.insert(p.id()));
    let mut groups = Vec::new();
    for (pattern, config) in rules {
        let (taken, left): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(name, _)| matches(pattern, name));
        rest = left;
        if taken.is_empty() {
            return Err(nothing("param_groups", pattern, rest.iter().map(|e| &e.0)));
        }
        groups.push(ParamGroup::new(taken.into_iter().map(|e| e.1), config));
    }
    if let Some((name, _)) = rest.first() {
        let reason = format!("{} parameters match no pattern, {name} first", rest.len());
        return Err(Error::argument("param_groups", reason, "end with a rule for \"*\", or freeze and list them"));
    }
    Ok(groups)
}

/// Which parameters begin to train at which epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnfreezeSchedule {
    rules: Vec<(usize, String)>,
}

impl UnfreezeSchedule {
    /// Patterns of names, each with the epoch, counted from 0, at which its parameters begin to train.
    pub fn new<'a>(rules: impl IntoIterator<Item = (usize, &'a str)>) -> Self {
        Self { rules: rules.into_iter().map(|(epoch, pattern)| (epoch, pattern.to_owned())).collect() }
    }

    /// Sets what trains in `epoch`: parameters of rules that are due train, those of rules that are not yet due do not, others
    /// stay as they are. Where several rules name a parameter, the earliest counts. Returns the names in training. Call it at
    /// every epoch's start; it also puts a resumed run into the right state.
    ///
    /// # Errors
    /// A pattern that matches no parameter; nothing changes in that case.
    #[track_caller]
    pub fn apply(&self, module: &dyn Module, epoch: usize) -> Result<Vec<String>> {
        let mut rules: Vec<&(usize, String)> = self.rules.iter().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.0));
        let mut found = Vec::with_capacity(rules.len());
        for (at, pattern) in rules {
            found.push((*at, select("UnfreezeSchedule", module, pattern)?));
        }
        for (at, params) in found {
            params.iter().for_each(|(_, p)| if at <= epoch { p.unfreeze() } else { p.freeze() });
        }
        Ok(module.named_parameters()?.into_iter().filter(|(_, p)| p.is_trainable()).map(|e| e.0).collect())
    }
}

/// Replaces `head` with a new head, which must take as many features.
///
/// # Errors
/// The new head takes a different number of features; nothing changes in that case.
#[track_caller]
pub fn replace_head(head: &mut Linear, new: Linear) -> Result<()> {
    let (old, given) = (head.weight.shape(), new.weight.shape());
    if old[1] != given[1] {
        let reason = format!("the new head takes {} features (weight {given}) and the model gives {}", given[1], old[1]);
        return Err(Error::argument("replace_head", reason, format!("make it with Linear::new({}, classes, init)", old[1])));
    }
    *head = new;
    Ok(())
}

/// Runs a frozen part of a model once over batches, in evaluation mode and without gradients, and returns all its outputs
/// joined along the first axis, in host memory: features to train a head on. Every layer is back in its own mode afterwards.
///
/// ```
/// # use wgrad::nn::{Init, Linear, transfer};
/// # use wgrad::{Device, Tensor};
/// # fn main() -> wgrad::Result<()> {
/// # let device = Device::cpu()?;
/// let body = Linear::new(4, 8, &Init::new(&device, 0))?;
/// let batches = [Tensor::ones([3, 4], &device)?, Tensor::ones([2, 4], &device)?];
/// let features = transfer::extract_features(&body, batches.into_iter().map(Ok), |x| wgrad::nn::Module::forward(&body, x))?;
/// assert_eq!(features.shape, [5, 8]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// An error of a batch or of `features`; no batches; outputs that differ in more than their first axis.
#[track_caller]
pub fn extract_features(
    module: &dyn Module,
    batches: impl IntoIterator<Item = Result<Tensor>>,
    features: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<HostTensor> {
    let _modes = module.collect().keep_modes();
    module.eval();
    let mut joined: Option<(Vec<usize>, HostData)> = None;
    let mut dtype = None;
    for batch in batches {
        let x = batch?;
        let y = no_grad(|| features(&x))?;
        let (shape, data) = (y.shape()?.to_vec(), y.to_host()?);
        if shape.is_empty() {
            return Err(Error::argument("extract_features", "an output is a scalar", "give features [n, ..]"));
        }
        dtype = Some(y.dtype()?);
        let Some((whole, all)) = &mut joined else {
            joined = Some((shape, data));
            continue;
        };
        let appended = whole[1..] == shape[1..] && append(all, data);
        if !appended {
            let reason = format!("one batch gives {whole:?} and another {shape:?}");
            return Err(Error::argument("extract_features", reason, "give batches that differ only in their first axis"));
        }
        whole[0] += shape[0];
    }
    let (Some((shape, data)), Some(dtype)) = (joined, dtype) else {
        return Err(Error::argument("extract_features", "there are no batches", "give at least one"));
    };
    HostTensor::new(dtype, Shape::new(&shape)?, data)
}

/// Whether both were of one type.
fn append(all: &mut HostData, more: HostData) -> bool {
    match (all, more) {
        (HostData::F32(a), HostData::F32(b)) => a.extend(b),
        (HostData::F64(a), HostData::F64(b)) => a.extend(b),
        (HostData::I32(a), HostData::I32(b)) => a.extend(b),
        (HostData::U32(a), HostData::U32(b)) => a.extend(b),
        _ => return false,
    }
    true
}
