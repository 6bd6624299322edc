//! Which parameters decay.

use crate::error::Result;
use crate::nn::Module;
use crate::param::{Param, ParamGroup};
use std::collections::HashSet;

/// The rule `no_decay`: whether weight decay suits a parameter. It does not if the name is `bias` or ends in `.bias`, or if the
/// parameter has fewer than two dimensions, as the scales and shifts of normalisation layers do.
///
/// Source: the usual practice, as in [nanoGPT](https://github.com/karpathy/nanoGPT/blob/master/model.py).
pub fn decays(name: &str, param: &Param) -> bool {
    name.rsplit('.').next() != Some("bias") && param.shape().rank() >= 2
}

/// A model's parameters in two groups, by [`decays`]: the first with `config`, the second, with biases and norms, with
/// `no_decay`. A group without parameters is left out; a tied parameter is in one group only, by its first name.
///
/// ```
/// # use wgrad::nn::{Init, Linear};
/// # use wgrad::optim::{AdamW, AdamWConfig, split_decay};
/// # use wgrad::Device;
/// # fn main() -> wgrad::Result<()> {
/// let model = Linear::new(3, 2, &Init::new(&Device::cpu()?, 0))?;
/// let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
/// let groups = split_decay(&model, config, AdamWConfig { weight_decay: 0.0, ..config })?;
/// assert_eq!(groups.iter().map(|g| g.params.len()).collect::<Vec<_>>(), [1, 1]);
/// let optimizer = AdamW::with_groups(groups)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`Module::check`].
#[track_caller]
pub fn split_decay<C>(model: &dyn Module, config: C, no_decay: C) -> Result<Vec<ParamGroup<C>>> {
    let mut seen = HashSet::new();
    let own = model.named_parameters()?.into_iter().filter(|(_, p)| seen.insert(p.id()));
    let (with, without): (Vec<_>, Vec<_>) = own.partition(|(name, param)| decays(name, param));
    let group = |named: Vec<(String, Param)>, config| ParamGroup::new(named.into_iter().map(|(_, p)| p), config);
    Ok([group(with, config), group(without, no_decay)].into_iter().filter(|g| !g.params.is_empty()).collect())
}
