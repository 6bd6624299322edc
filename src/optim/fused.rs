//! What all optimizers share: parameter groups, learning rates, state, and the fused step.

use super::config::Config;
use super::engine::Stepper;
use super::names::Names;
use super::{Optimizer, PreparedState};
use crate::autodiff::Gradients;
use crate::dtype::{DType, HostData};
use crate::error::{Error, Result};
use crate::graph::optim::{Coefficients, DecayMode, OptimRule, State};
use crate::io::number::{self, Range};
use crate::io::{HostTensor, StateDict, StateReport};
use crate::param::{Param, ParamGroup};
use std::collections::HashSet;

/// One optimizer's formula: its structure, and the numbers of a step. Sealed: the kernels know these rules and no others.
pub trait Formula: Config {
    /// The optimizer's name in messages and checkpoints.
    const NAME: &'static str;
    /// The part of the settings that kernels are compiled for; the same in all groups.
    fn rule(&self) -> OptimRule;
    /// How weight decay is applied.
    fn decay_mode(&self) -> DecayMode;
    /// The numbers of a parameter's step `t`, counted from 1.
    fn coefficients(&self, t: u64) -> Coefficients;
    /// What each element of the first state starts as.
    fn initial_state(&self) -> f64 {
        0.0
    }
    /// Checks the settings for what their ranges do not cover.
    #[track_caller]
    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// Numbers that nearly every rule takes; `decay` is (l2, shrink).
pub(super) fn plain(lr: f64, (l2, shrink): (f64, f64)) -> Coefficients {
    Coefficients { lr: f32_of(lr), l2: f32_of(l2), shrink: f32_of(shrink), ..Coefficients::default() }
}

/// The numbers of optimizers with two running means.
pub(super) fn moments(lr: f64, betas: (f64, f64), eps: f64, decay: (f64, f64)) -> Coefficients {
    Coefficients {
        beta1: f32_of(betas.0),
        beta2: f32_of(betas.1),
        one_minus_beta1: f32_of(1.0 - betas.0),
        one_minus_beta2: f32_of(1.0 - betas.1),
        eps: f32_of(eps),
        ..plain(lr, decay)
    }
}

/// An optimizer that updates all parameters in one fused pass. Used through its aliases: [`Sgd`](super::Sgd),
/// [`Adam`](super::Adam) and the others.
#[derive(Debug)]
#[must_use = "an optimizer changes nothing until it steps"]
pub struct Fused<C: Formula> {
    stepper: Stepper,
    /// The settings of each group.
    configs: Vec<C>,
    /// The learning rate that each group was made with.
    initial_lrs: Vec<f64>,
    /// The group of each registered parameter.
    group_of: Vec<usize>,
    /// The parameters' names in files.
    names: Names,
}

impl<C: Formula> Fused<C> {
    /// An optimizer of parameters that share one group of settings. A parameter that is listed twice counts once.
    ///
    /// # Errors
    /// No parameters; parameters on different devices; settings out of range.
    #[track_caller]
    pub fn new(params: &[Param], config: C) -> Result<Self> {
        Self::with_groups(vec![ParamGroup { params: params.to_vec(), config }])
    }

    /// An optimizer of several groups, each with its own settings.
    ///
    /// # Errors
    /// As [`Fused::new`]; groups that differ in structure, such as one with and one without momentum; a parameter in two
    /// groups.
    #[track_caller]
    pub fn with_groups(groups: Vec<ParamGroup<C>>) -> Result<Self> {
        let mut seen = HashSet::new();
        let (mut params, mut group_of, mut configs) = (Vec::new(), Vec::new(), Vec::new());
        for (g, group) in groups.into_iter().enumerate() {
            check(&group.config)?;
            let mut own = HashSet::new();
            for param in group.params {
                if !own.insert(param.id()) {
                    continue;
                }
                if !seen.insert(param.id()) {
                    let reason = format!("parameter {} is in two groups", param.name());
                    return Err(Error::argument(C::NAME, reason, "put each parameter into one group"));
                }
                params.push(param);
                group_of.push(g);
            }
            configs.push(group.config);
        }
        let (Some(first), Some(param)) = (configs.first(), params.first()) else {
            return Err(Error::argument(C::NAME, "there are no parameters", "give the model's parameters()"));
        };
        let (rule, decay) = (first.rule(), first.decay_mode());
        if configs.iter().any(|c| c.rule() != rule || c.decay_mode() != decay || c.initial_state() != first.initial_state()) {
            return Err(Error::argument(
                C::NAME,
                "the groups differ in structure",
                "give all groups the same kind of momentum, decay and flags, or make an optimizer for each",
            ));
        }
        let initial = first.initial_state();
        let stepper = Stepper::new(param.device(), &params, rule)?;
        if initial != 0.0 {
            for (i, param) in params.iter().enumerate() {
                let n = param.shape().numel();
                let data = if param.dtype() == DType::F64 {
                    HostData::F64(vec![initial; n])
                } else {
                    HostData::F32(vec![f32_of(initial); n])
                };
                stepper.set_states(vec![(i, 0, data)])?;
            }
        }
        let initial_lrs = configs.iter().map(|c| *c.clone().lr()).collect();
        let names = Names::new(&params);
        Ok(Self { stepper, configs, initial_lrs, group_of, names })
    }

    /// The rule's states, under PyTorch's names.
    fn states(&self) -> &'static [State] {
        self.configs.first().map_or(&[], |config| config.rule().facts().states)
    }

    /// How many steps were skipped because of gradients that were not finite (see
    /// [`Gradients::skip_non_finite`](crate::Gradients::skip_non_finite)), since the optimizer was made. Waits for the device.
    ///
    /// # Errors
    /// Errors of earlier steps; a lost device.
    #[track_caller]
    pub fn skipped(&self) -> Result<usize> {
        self.stepper.skipped().map(number::place)
    }

    /// Whether a state of this optimizer has an entry of that name; `keys` are the parameters' names in the file.
    fn knows(&self, name: &str, keys: &[String]) -> bool {
        if let Some((g, setting)) = name.strip_prefix("group.").and_then(|rest| rest.split_once('.')) {
            let group = g.parse().ok().filter(|n: &usize| n.to_string() == g).and_then(|g| self.configs.get(g));
            return group.is_some_and(|config| {
                let mut config = config.clone();
                flags(&config).iter().any(|f| f.0 == setting) || config.settings().iter().any(|s| s.0 == setting)
            });
        }
        Names::knows(keys, name, |field| field == "step" || self.states().iter().any(|s| s.name == field))
    }

    /// The settings of each group.
    pub fn configs(&self) -> &[C] {
        &self.configs
    }

    /// Sets one group's learning rate; values below 0 and NaN count as 0.
    ///
    /// # Errors
    /// There is no such group.
    #[track_caller]
    pub fn set_group_lr(&mut self, group: usize, lr: f64) -> Result<()> {
        let groups = self.configs.len();
        let Some(config) = self.configs.get_mut(group) else {
            return Err(Error::argument("set_group_lr", format!("there is no group {group}"), format!("use one in 0..{groups}")));
        };
        *config.lr() = lr.max(0.0);
        Ok(())
    }
}

const LOAD: &str = "load_state_dict";

/// A checkpoint of another optimizer or model.
#[track_caller]
fn mismatch(reason: String) -> Error {
    Error::argument(LOAD, reason, "resume with the model, the optimizer and the groups that the checkpoint was made with")
}

#[track_caller]
fn check<C: Formula>(config: &C) -> Result<()> {
    match config.clone().settings().into_iter().find(|(_, range, value)| !range.holds(**value)) {
        Some((name, range, value)) => Err(Error::argument(C::NAME, format!("{name} is {value}"), format!("use a value {range}"))),
        None => config.validate(),
    }
}

impl<C: Formula> Optimizer for Fused<C> {
    #[track_caller]
    fn step(&mut self, gradients: Gradients) -> Result<()> {
        let (configs, group_of) = (&self.configs, &self.group_of);
        // Parameters of a group are nearly always at the same step.
        let mut last: Option<(usize, u64, Coefficients)> = None;
        self.stepper.step(gradients, &mut |entry, t| {
            let group = group_of[entry];
            match last {
                Some((g, at, numbers)) if (g, at) == (group, t) => numbers,
                _ => {
                    let mut numbers = configs[group].coefficients(t);
                    numbers.grad_scale = if configs[group].maximize() { -1.0 } else { 1.0 };
                    last = Some((group, t, numbers));
                    numbers
                }
            }
        })
    }

    fn lr(&self) -> f64 {
        self.configs.first().map_or(0.0, |c| *c.clone().lr())
    }

    fn set_lr(&mut self, lr: f64) {
        for config in &mut self.configs {
            *config.lr() = lr.max(0.0);
        }
    }

    fn scale_lr(&mut self, factor: f64) {
        for (config, initial) in self.configs.iter_mut().zip(&self.initial_lrs) {
            *config.lr() = (initial * factor).max(0.0);
        }
    }

    fn state_dict(&self) -> Result<StateDict> {
        let mut dict = StateDict::new();
        for (i, param) in self.stepper.params().iter().enumerate() {
            let key = self.names.key(i);
            for (s, State { name: state, .. }) in self.states().iter().enumerate() {
                let tensor = HostTensor::new(param.dtype(), param.shape(), self.stepper.state(i, s)?)?;
                dict.insert(format!("{}.{key}.{state}", C::NAME), tensor)?;
            }
            // Exact: 2⁵³ steps take longer than any run.
            dict.insert(format!("{}.{key}.step", C::NAME), HostTensor::scalar(self.stepper.steps(i)? as f64))?;
            self.names.write_position(i, &format!("{}.", C::NAME), &mut dict)?;
        }
        for (g, config) in self.configs.iter().enumerate() {
            for (name, _, value) in config.clone().settings() {
                dict.insert(format!("{}.group.{g}.{name}", C::NAME), HostTensor::scalar(*value))?;
            }
            for (name, value) in flags(config) {
                dict.insert(format!("{}.group.{g}.{name}", C::NAME), HostTensor::scalar(f64::from(u8::from(value))))?;
            }
        }
        Ok(dict)
    }

    #[track_caller]
    fn prepare_state_dict(&mut self, dict: &StateDict) -> Result<PreparedState<'_>> {
        let own = dict.under(&format!("{}.", C::NAME));
        if own.tensors.is_empty() {
            let kinds: HashSet<&str> = dict.tensors.keys().filter_map(|k| k.split('.').next()).collect();
            return Err(mismatch(format!("there is no state of {}; the file holds state of {kinds:?}", C::NAME)));
        }
        let mut report = StateReport::default();
        let mut configs = Vec::with_capacity(self.configs.len());
        for (g, running) in self.configs.iter().enumerate() {
            configs.push(config_in(&own, g, running, &mut report)?);
        }
        let keys = self.names.find(LOAD, &own, &mut report, mismatch)?;
        let (mut states, mut steps) = (Vec::new(), Vec::new());
        for (i, (param, key)) in self.stepper.params().iter().zip(&keys).enumerate() {
            steps.push(own.count(LOAD, &format!("{key}.step"))?);
            for (s, &state) in self.states().iter().enumerate() {
                states.push((i, s, state_in(&own, &format!("{key}.{}", state.name), state, param)?));
            }
        }
        let known = |name: &str| self.knows(name, &keys);
        if let Some(name) = own.unknown(known) {
            let (params, groups) = (self.stepper.params().len(), self.configs.len());
            let reason =
                format!("the file holds {}.{name}, and the optimizer has {params} parameters in {groups} groups", C::NAME);
            let states: Vec<&str> = self.states().iter().map(|s| s.name).collect();
            return Err(mismatch(format!("{reason} with state {states:?}")));
        }
        let staged = self.stepper.stage(states, steps)?;
        Ok(PreparedState::new(report, move || {
            self.stepper.restore(staged)?;
            self.configs = configs;
            Ok(())
        }))
    }
}

/// The settings of a group as a file has them. Files of earlier versions have only the learning rate.
#[track_caller]
fn config_in<C: Formula>(own: &StateDict, g: usize, running: &C, report: &mut StateReport) -> Result<C> {
    let mut config = running.clone();
    for (name, range, value) in config.settings() {
        let key = format!("group.{g}.{name}");
        if name != "lr" && !own.tensors.contains_key(&key) {
            report.kept.push(key);
            continue;
        }
        let found = own.number(LOAD, &key, range)?;
        report.note(&key, *value, found);
        *value = found;
    }
    for (name, here) in flags(running) {
        let key = format!("group.{g}.{name}");
        if own.tensors.contains_key(&key) && (own.number(LOAD, &key, Range::Flag)? != 0.0) != here {
            return Err(mismatch(format!("{key} is {} in the file and {here} in the optimizer", !here)));
        }
    }
    check(&config)?;
    if config.rule() != running.rule() {
        let reason = format!("group {g} of the file is {:?} and of the optimizer {:?}", config.rule(), running.rule());
        return Err(mismatch(reason));
    }
    Ok(config)
}

/// A state array of a file, if it fits its parameter. A moment that is not finite spoils its weight for good, and a negative one
/// of squares makes it NaN.
#[track_caller]
fn state_in(own: &StateDict, key: &str, state: State, param: &Param) -> Result<HostData> {
    let Some(tensor) = own.tensors.get(key) else {
        return Err(mismatch(format!("{key} is missing")));
    };
    if tensor.shape != param.shape() || tensor.dtype != param.dtype() {
        let (dtype, shape) = (tensor.dtype, tensor.shape);
        let (name, own_dtype, own_shape) = (param.name(), param.dtype(), param.shape());
        return Err(mismatch(format!("{key} is {dtype} {shape}, and parameter {name} is {own_dtype} {own_shape}")));
    }
    tensor.check(LOAD, key)?;
    let range = if state.signed { Range::Finite } else { Range::AtLeastZero };
    match tensor.first_outside(range) {
        None => Ok(tensor.data.clone()),
        Some((at, value)) => {
            let help = format!("load a state in which it is {range}, such as an earlier one of the run");
            Err(Error::argument(LOAD, format!("element {at} of {key} is {value}"), help))
        }
    }
}

/// Settings that a running optimizer cannot change: kernels and state are made for them. What a number of the same name decides,
/// such as whether there is momentum, is not among them.
fn flags<C: Formula>(config: &C) -> Vec<(&'static str, bool)> {
    let decoupled = config.decay_mode() == DecayMode::Decoupled;
    let mut config = config.clone();
    let own = config.rule().facts().flags;
    let numbers: Vec<&str> = config.settings().iter().map(|s| s.0).collect();
    let own = own.into_iter().filter(|(name, _)| !numbers.contains(name));
    [("maximize", config.maximize()), ("decoupled", decoupled)].into_iter().chain(own).collect()
}

/// `1 - lr · decay` if decay is decoupled; the decay to add to the gradient otherwise: the pair (l2, shrink).
pub(super) fn decay(mode: DecayMode, lr: f64, weight_decay: f64) -> (f64, f64) {
    match mode {
        DecayMode::L2 => (weight_decay, 1.0),
        DecayMode::Decoupled => (0.0, 1.0 - lr * weight_decay),
    }
}

/// Rounds a coefficient to what kernels compute in.
#[allow(clippy::cast_possible_truncation, reason = "kernels compute in single precision")]
pub(super) fn f32_of(x: f64) -> f32 {
    x as f32
}
