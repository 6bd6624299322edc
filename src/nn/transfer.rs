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

use super::fields::Mode;
use super::linear::Linear;
use super::module::Module;
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::io::{HostTensor, StateDict, captures, matches};
use crate::lazy::no_grad;
use crate::optim::ParamGroup;
use crate::param::Param;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::{BTreeMap, HashSet};

/// How [`Module::load_state_dict_with`] fits a file to a module. `*` in patterns stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// Whether missing and unexpected names are errors. Defaults to false; [`LoadOptions::strict`] sets it.
    pub strict: bool,
    /// Whether tensors of another shape are passed over, not refused. Defaults to false.
    pub skip_mismatched: bool,
    /// Patterns of the file's names and what they become; of several that match, the first counts.
    pub rename: Vec<(String, String)>,
    /// Patterns, after renaming, of matrices to transpose.
    pub transpose: Vec<String>,
    /// Patterns of the file's names to leave out.
    pub ignore: Vec<String>,
}

impl LoadOptions {
    /// Every name of the file and of the module must be in the other.
    pub fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }

    /// Missing and unexpected names are reported and left alone.
    pub fn lenient() -> Self {
        Self::default()
    }

    /// Renames what matches `from`: each `*` of `to` takes what the `*` in the same place stands for.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.push((from.into(), to.into()));
        self
    }

    /// Transposes the matrices whose new names match, such as those of Hugging Face's GPT-2, which stores `[in, out]`.
    #[must_use]
    pub fn transpose(mut self, pattern: impl Into<String>) -> Self {
        self.transpose.push(pattern.into());
        self
    }

    /// Leaves out the file's tensors that match.
    #[must_use]
    pub fn ignore(mut self, pattern: impl Into<String>) -> Self {
        self.ignore.push(pattern.into());
        self
    }

    /// Passes over tensors of another shape, such as a head for other classes.
    #[must_use]
    pub fn skip_mismatched(mut self) -> Self {
        self.skip_mismatched = true;
        self
    }

    /// The file's tensors under their new names. Every rule must match something.
    pub(super) fn prepare(&self, dict: &StateDict) -> Result<BTreeMap<String, HostTensor>> {
        let mut unused: HashSet<&str> = self.ignore.iter().chain(self.rename.iter().map(|r| &r.0)).map(String::as_str).collect();
        let mut out: BTreeMap<String, HostTensor> = BTreeMap::new();
        for (name, tensor) in &dict.tensors {
            if let Some(pattern) = self.ignore.iter().find(|p| matches(p, name)) {
                unused.remove(pattern.as_str());
                continue;
            }
            tensor.check("load_state_dict", name)?;
            let mut renamed = name.clone();
            if let Some((from, to, parts)) = self.rename.iter().find_map(|(f, t)| Some((f, t, captures(f, name)?))) {
                unused.remove(from.as_str());
                renamed = fill(from, to, &parts)?;
            }
            if out.insert(renamed.clone(), tensor.clone()).is_some() {
                let reason = format!("two tensors of the file come to be named {renamed}, {name} among them");
                return Err(Error::argument("load_state_dict: rename", reason, "narrow the rules, or ignore one of the tensors"));
            }
        }
        for pattern in &self.transpose {
            let mut found = false;
            for (name, tensor) in out.iter_mut().filter(|(name, _)| matches(pattern, name)) {
                *tensor = transposed(name, tensor)?;
                found = true;
            }
            if !found {
                return Err(nothing("load_state_dict: transpose", pattern, out.keys()));
            }
        }
        if let Some(pattern) = self.ignore.iter().chain(self.rename.iter().map(|r| &r.0)).find(|p| unused.contains(p.as_str())) {
            return Err(nothing("load_state_dict: rules", pattern, dict.tensors.keys()));
        }
        Ok(out)
    }
}

/// `to` with its stars replaced.
fn fill(from: &str, to: &str, parts: &[&str]) -> Result<String> {
    let pieces: Vec<&str> = to.split('*').collect();
    if pieces.len() - 1 > parts.len() {
        let reason = format!("\"{to}\" has more stars than \"{from}\"");
        return Err(Error::argument("load_state_dict: rename", reason, "give each * of the new name one in the old"));
    }
    let mut out = pieces[0].to_owned();
    for (part, piece) in parts.iter().zip(&pieces[1..]) {
        out.push_str(part);
        out.push_str(piece);
    }
    Ok(out)
}

fn transposed(name: &str, tensor: &HostTensor) -> Result<HostTensor> {
    let &[rows, cols] = tensor.shape.dims() else {
        let reason = format!("{name} is {} and no matrix", tensor.shape);
        return Err(Error::argument("load_state_dict: transpose", reason, "narrow the pattern to matrices"));
    };
    let order = || (0..cols).flat_map(|c| (0..rows).map(move |r| r * cols + c));
    let data = match &tensor.data {
        HostData::F32(v) => HostData::F32(order().map(|i| v[i]).collect()),
        HostData::F64(v) => HostData::F64(order().map(|i| v[i]).collect()),
        HostData::I32(v) => HostData::I32(order().map(|i| v[i]).collect()),
        HostData::U32(v) => HostData::U32(order().map(|i| v[i]).collect()),
        HostData::F16(v) => HostData::F16(order().map(|i| v[i]).collect()),
        HostData::U8(v) => HostData::U8(order().map(|i| v[i]).collect()),
    };
    HostTensor::new(tensor.dtype, Shape::new(&[cols, rows])?, data)
}

/// A pattern that matches nothing, with the nearest names there are.
fn nothing<'a>(what: &str, pattern: &str, names: impl Iterator<Item = &'a String>) -> Error {
    let common = |name: &str| name.chars().zip(pattern.chars()).take_while(|(a, b)| a == b).count();
    let mut names: Vec<&String> = names.collect();
    names.sort_by_key(|name| std::cmp::Reverse(common(name)));
    let near: Vec<&str> = names.iter().take(3).map(|n| n.as_str()).collect();
    let help = format!("* stands for any characters; there are {} names, such as {}", names.len(), near.join(", "));
    Error::argument(what, format!("the pattern \"{pattern}\" matches no name"), help)
}

/// The parameters whose names match, in the module's order.
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
pub fn freeze(module: &dyn Module, pattern: &str) -> Result<Vec<String>> {
    let found = select("freeze", module, pattern)?;
    Ok(found.into_iter().inspect(|(_, p)| p.freeze()).map(|(name, _)| name).collect())
}

/// Puts the parameters whose names match back into training, and returns their names.
///
/// # Errors
/// The pattern matches no parameter.
pub fn unfreeze(module: &dyn Module, pattern: &str) -> Result<Vec<String>> {
    let found = select("unfreeze", module, pattern)?;
    Ok(found.into_iter().inspect(|(_, p)| p.unfreeze()).map(|(name, _)| name).collect())
}

/// One optimizer group a pattern, for discriminative learning rates. A parameter belongs to the first pattern that matches
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

/// Which parameters come into training at which epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnfreezeSchedule {
    rules: Vec<(usize, String)>,
}

impl UnfreezeSchedule {
    /// Patterns of names, each with the epoch, counted from 0, at which its parameters begin to train.
    pub fn new<'a>(rules: impl IntoIterator<Item = (usize, &'a str)>) -> Self {
        Self { rules: rules.into_iter().map(|(epoch, pattern)| (epoch, pattern.to_owned())).collect() }
    }

    /// Sets what trains in `epoch`: parameters of rules that are due train, those of rules that are not do not, others stay.
    /// Where several rules name a parameter, the earliest counts. Returns the names in training. Call it at every epoch's
    /// start; it also puts a resumed run right.
    ///
    /// # Errors
    /// A pattern that matches no parameter; nothing has changed then.
    pub fn apply(&self, module: &dyn Module, epoch: usize) -> Result<Vec<String>> {
        let mut rules: Vec<&(usize, String)> = self.rules.iter().collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.0));
        let found: Vec<(usize, Vec<(String, Param)>)> = rules
            .into_iter()
            .map(|(at, pattern)| Ok((*at, select("UnfreezeSchedule", module, pattern)?)))
            .collect::<Result<_>>()?;
        for (at, params) in found {
            params.iter().for_each(|(_, p)| if at <= epoch { p.unfreeze() } else { p.freeze() });
        }
        Ok(module.named_parameters()?.into_iter().filter(|(_, p)| p.is_trainable()).map(|e| e.0).collect())
    }
}

/// Puts a new head in the place of `head`, which must take as many features.
///
/// # Errors
/// The new head takes another number of features; nothing has changed then.
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
pub fn extract_features(
    module: &dyn Module,
    batches: impl IntoIterator<Item = Result<Tensor>>,
    features: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<HostTensor> {
    struct Restore(Vec<(Mode, bool)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.iter().for_each(|(mode, training)| mode.set_training(*training));
        }
    }
    let _restore = Restore(module.collect().modes.into_iter().map(|m| (m.clone(), m.is_training())).collect());
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
            return Err(Error::argument("extract_features", reason, "give batches that differ in their first axis alone"));
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
