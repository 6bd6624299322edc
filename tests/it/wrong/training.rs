//! Wrong calls of optimizers, schedules, scaled losses, averages, metrics and checkpoints.

use super::{IMPROBABLE, Table, f, far};
use crate::common::device;
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{
    AdaDelta, AdaDeltaConfig, AdaGrad, AdaGradConfig, Adam, AdamConfig, AdamW, AdamWConfig, Adamax, AdamaxConfig, Ema,
    GradientAccumulator, Lamb, LambConfig, Lion, LionConfig, LossScaler, LossScalerConfig, NAdam, NAdamConfig, Optimizer,
    PlateauConfig, RAdam, RAdamConfig, ReduceOnPlateau, RmsProp, RmsPropConfig, Schedule, Sgd, SgdConfig, Threshold,
};
use wgrad::param::ParamGroup;
use wgrad::train::{Checkpoint, ConfusionMatrix, EarlyStopping, EarlyStoppingConfig, History, Meter};
use wgrad::{DType, Param, Result, Tensor};

pub fn rows(t: &mut Table) {
    optimizers(t);
    states(t);
    schedules(t);
    rest(t);
}

/// What no rate is.
const RATES: [f64; 4] = [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// What no decay of a mean is.
const BETAS: [f64; 5] = [-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY];

fn params() -> Vec<Param> {
    vec![Param::new(&f(&[2])).expect("a parameter")]
}

fn optimizers(t: &mut Table) {
    macro_rules! settings {
        ($($type:ident $config:ident: $($field:ident),*;)*) => {$($(
            t.each(concat!(stringify!($type), "::new, ", stringify!($field)), &RATES, |n| {
                $type::new(&params(), $config { $field: n, ..$config::default() }).map(drop)
            });
        )*)*};
    }
    settings! {
        Sgd SgdConfig: lr, momentum, weight_decay;
        Adam AdamConfig: lr, eps, weight_decay;
        AdamW AdamWConfig: lr, eps, weight_decay;
        RmsProp RmsPropConfig: lr, eps, weight_decay, momentum, alpha;
        AdaGrad AdaGradConfig: lr, eps, weight_decay, lr_decay, initial_accumulator_value;
        NAdam NAdamConfig: lr, eps, weight_decay, momentum_decay;
        RAdam RAdamConfig: lr, eps, weight_decay;
        Adamax AdamaxConfig: lr, eps, weight_decay;
        AdaDelta AdaDeltaConfig: lr, eps, weight_decay, rho;
        Lamb LambConfig: lr, eps, weight_decay;
        Lion LionConfig: lr, weight_decay;
    }
    macro_rules! betas {
        ($($type:ident $config:ident;)*) => {$(
            t.each(concat!(stringify!($type), "::new, first beta"), &BETAS, |n| {
                $type::new(&params(), $config { betas: (n, 0.9), ..$config::default() }).map(drop)
            });
            t.each(concat!(stringify!($type), "::new, second beta"), &BETAS, |n| {
                $type::new(&params(), $config { betas: (0.9, n), ..$config::default() }).map(drop)
            });
        )*};
    }
    betas! {
        Adam AdamConfig; AdamW AdamWConfig; NAdam NAdamConfig; RAdam RAdamConfig; Adamax AdamaxConfig; Lamb LambConfig;
        Lion LionConfig;
    }
    macro_rules! each {
        ($($type:ident $config:ident;)*) => {$(
            t.each(concat!(stringify!($type), "::new of nothing"), &[0], |_| $type::new(&[], $config::default()).map(drop));
            t.each(concat!(stringify!($type), "::with_groups of one parameter"), &[0], |_| {
                let group = ParamGroup { params: params(), config: $config::default() };
                $type::with_groups(vec![group.clone(), group]).map(drop)
            });
            t.each(concat!(stringify!($type), "::set_group_lr"), &[1usize, 2, usize::MAX], |n| {
                $type::new(&params(), $config::default())?.set_group_lr(n, 0.1)
            });
            t.each(concat!(stringify!($type), "::with_groups of none"), &[0], |_| $type::with_groups(vec![]).map(drop));
            t.each(concat!(stringify!($type), "::load_state_dict of nothing"), &[0], |_| {
                $type::new(&params(), $config::default())?.load_state_dict(&StateDict::new()).map(drop)
            });
        )*};
    }
    each! {
        Sgd SgdConfig; Adam AdamConfig; AdamW AdamWConfig; RmsProp RmsPropConfig; AdaGrad AdaGradConfig; NAdam NAdamConfig;
        RAdam RAdamConfig; Adamax AdamaxConfig; AdaDelta AdaDeltaConfig; Lamb LambConfig; Lion LionConfig;
    }
}

/// An optimizer's state with one number or one note replaced.
fn changed(optimizer: &dyn Optimizer, n: usize) -> Result<StateDict> {
    let mut dict = optimizer.state_dict()?;
    let keys: Vec<String> = dict.tensors.keys().cloned().collect();
    let key = &keys[n % keys.len()];
    match n / keys.len() {
        0 => drop(dict.tensors.remove(key)),
        1 => drop(dict.tensors.insert(key.clone(), HostTensor::from_slice(&[0.5f32; 7], [7])?)),
        _ => drop(dict.tensors.insert(key.clone(), HostTensor::scalar(f64::NAN))),
    }
    Ok(dict)
}

fn states(t: &mut Table) {
    fn stepped() -> Result<Adam> {
        let params = params();
        let mut adam = Adam::new(&params, AdamConfig::default())?;
        adam.step(params[0].tensor().square().sum().backward()?)?;
        Ok(adam)
    }
    let keys = stepped().and_then(|adam| adam.state_dict()).map_or(0, |dict| dict.tensors.len());
    // Settings that are missing are kept.
    let numbers: Vec<usize> = (keys..3 * keys).collect();
    t.each("Adam::load_state_dict, changed", &numbers, |n| {
        let mut adam = stepped()?;
        let dict = changed(&adam, n)?;
        adam.load_state_dict(&dict).map(drop)
    });
    t.each("Adam::load_state_dict of another optimizer", &[0], |_| {
        let other = Sgd::new(&params(), SgdConfig { momentum: 0.9, ..SgdConfig::default() })?.state_dict()?;
        stepped()?.load_state_dict(&other).map(drop)
    });
    t.each("Ema::load_state_dict of nothing", &[0], |_| Ema::new(&params(), 0.9)?.load_state_dict(&StateDict::new()).map(drop));
    t.each("LossScaler::load_state_dict of an optimizer's", &[0], |_| {
        LossScaler::new(device(), LossScalerConfig::default())?.load_state_dict(&stepped()?.state_dict()?)
    });
    t.each("Checkpoint::note", &["", "epoch", "step"], |key| {
        let model = Linear::new(2, 2, &Init::new(device(), 0))?;
        Checkpoint::capture(&model, &Sgd::new(&model.parameters()?, SgdConfig::default())?)?.note::<usize>(key).map(drop)
    });
    t.each("Checkpoint::state", &["", "loader", "model"], |key| {
        let model = Linear::new(2, 2, &Init::new(device(), 0))?;
        Checkpoint::capture(&model, &Sgd::new(&model.parameters()?, SgdConfig::default())?)?.state(key).map(drop)
    });
    t.each("Checkpoint::restore of another model", &[1usize, 3], |n| {
        let [one, other] = [2, n].map(|n| Linear::new(n, 2, &Init::new(device(), 0)));
        let (one, other) = (one?, other?);
        let saved = Checkpoint::capture(&one, &Sgd::new(&one.parameters()?, SgdConfig::default())?)?;
        saved.restore(&other, &mut Sgd::new(&other.parameters()?, SgdConfig::default())?).map(drop)
    });
}

fn schedules(t: &mut Table) {
    macro_rules! rates {
        ($($name:literal, $make:expr;)*) => {$(
            t.each(concat!("Schedule, ", $name), &RATES, |n| { let make: fn(f64) -> Schedule = $make; make(n).validate().map(drop) });
        )*};
    }
    rates! {
        "constant", |base| Schedule::Constant { base };
        "step, base", |base| Schedule::Step { base, every: 2, gamma: 0.5 };
        "step, gamma", |gamma| Schedule::Step { base: 0.1, every: 2, gamma };
        "milestones", |gamma| Schedule::MultiStep { base: 0.1, milestones: vec![2], gamma };
        "exponential, base", |base| Schedule::Exponential { base, gamma: 0.5 };
        "exponential, gamma", |gamma| Schedule::Exponential { base: 0.1, gamma };
        "linear, start", |start| Schedule::Linear { base: 0.1, start, end: 1.0, steps: 3 };
        "linear, end", |end| Schedule::Linear { base: 0.1, start: 0.5, end, steps: 3 };
        "polynomial, power", |power| Schedule::Polynomial { base: 0.1, steps: 3, power };
        "cosine, floor", |floor| Schedule::Cosine { base: 0.1, warmup: 0, total: 3, floor };
        "restarts, floor", |floor| Schedule::CosineRestarts { base: 0.1, period: 3, growth: 1, floor };
        "one cycle", |max| Schedule::one_cycle(max, 3);
        "a schedule within", |base| Schedule::Warmup { steps: 2, then: Box::new(Schedule::Constant { base }) };
        "a part", |base| Schedule::Joined { parts: vec![(2, Schedule::Constant { base: 0.1 }), (2, Schedule::Constant { base })] };
    }
    let none: [(&str, Schedule); 8] = [
        ("step", Schedule::step(0.1, 0)),
        ("linear", Schedule::Linear { base: 0.1, start: 0.5, end: 1.0, steps: 0 }),
        ("polynomial", Schedule::polynomial(0.1, 0)),
        ("cosine", Schedule::cosine(0.1, 0)),
        ("restarts", Schedule::cosine_restarts(0.1, 0)),
        ("one cycle", Schedule::one_cycle(0.1, 0)),
        ("warm-up", Schedule::Cosine { base: 0.1, warmup: 4, total: 3, floor: 0.0 }),
        ("parts", Schedule::Joined { parts: vec![] }),
    ];
    t.each("Schedule of no steps", &none, |(_, schedule)| schedule.validate().map(drop));
    t.each("Schedule, past its end", &[3usize, 4, usize::MAX], |n| Schedule::one_cycle(0.1, 3).lr_within(n).map(drop));
}

fn rest(t: &mut Table) {
    t.each("Ema::new", &[-0.1, 1.0, 1.5, f64::NAN, f64::INFINITY], |d| Ema::new(&params(), d).map(drop));
    t.each("Ema::new of nothing", &[0], |_| Ema::new(&[], 0.9).map(drop));
    t.each("Ema::update, swapped", &[0], |_| {
        let mut ema = Ema::new(&params(), 0.9)?;
        ema.swap()?;
        ema.update()
    });
    t.each("LossScaler::new, scale", &[0.0, -1.0, f64::NAN, f64::INFINITY], |init_scale| {
        LossScaler::new(device(), LossScalerConfig { init_scale, ..LossScalerConfig::default() }).map(drop)
    });
    t.each("LossScaler::new, growth", &[0.0, 0.5, -1.0, f64::NAN, f64::INFINITY], |growth_factor| {
        LossScaler::new(device(), LossScalerConfig { growth_factor, ..LossScalerConfig::default() }).map(drop)
    });
    t.each("LossScaler::new, backoff", &[0.0, 1.5, -1.0, f64::NAN, f64::INFINITY], |backoff_factor| {
        LossScaler::new(device(), LossScalerConfig { backoff_factor, ..LossScalerConfig::default() }).map(drop)
    });
    t.each("LossScaler::new, interval", &[0usize], |growth_interval| {
        LossScaler::new(device(), LossScalerConfig { growth_interval, ..LossScalerConfig::default() }).map(drop)
    });
    t.each("LossScaler::update without gradients", &[0], |_| LossScaler::new(device(), LossScalerConfig::default())?.update());
    t.each("LossScaler::scale, shape", &[vec![2usize], vec![2, 2]], |s| {
        LossScaler::new(device(), LossScalerConfig::default())?.scale(&f(&s).variable()?).backward().map(drop)
    });
    t.each("LossScaler::scale, another device", &[0], |_| {
        LossScaler::new(device(), LossScalerConfig::default())?.scale(&far(&[])).check()
    });
    t.each("ReduceOnPlateau::new, rate", &RATES, |lr| ReduceOnPlateau::new(lr, PlateauConfig::default()).map(drop));
    t.each("ReduceOnPlateau::new, factor", &[1.0, 2.0, -1.0, f64::NAN], |factor| {
        ReduceOnPlateau::new(0.1, PlateauConfig { factor, ..PlateauConfig::default() }).map(drop)
    });
    t.each("ReduceOnPlateau::new, threshold", &[-1.0, f64::NAN], |n| {
        ReduceOnPlateau::new(0.1, PlateauConfig { threshold: Threshold::Absolute(n), ..PlateauConfig::default() }).map(drop)
    });
    t.each("ReduceOnPlateau::new, floor", &RATES, |min_lr| {
        ReduceOnPlateau::new(0.1, PlateauConfig { min_lr, ..PlateauConfig::default() }).map(drop)
    });
    t.each("GradientAccumulator::mean of none", &[0], |_| GradientAccumulator::new().mean().map(drop));
    t.each("GradientAccumulator::sum of none", &[0], |_| GradientAccumulator::new().sum().map(drop));
    t.each("EarlyStopping::new", &[-1.0, f64::NAN, f64::INFINITY], |min_delta| {
        EarlyStopping::new(EarlyStoppingConfig { min_delta, ..EarlyStoppingConfig::default() }).map(drop)
    });
    t.each("EarlyStopping::restore of nothing", &[0], |_| {
        EarlyStopping::new(EarlyStoppingConfig::default())?.restore(&Linear::new(2, 2, &Init::new(device(), 0))?)
    });
    t.each("Meter::from_parts", &[-1.0, f64::NAN, f64::INFINITY], |weight| Meter::from_parts(1.0, weight).map(drop));
    t.each("Meter::push, shape", &[vec![2usize], vec![0], vec![2, 2]], |s| Meter::new().push(&f(&s), 1.0));
    t.each("Meter::push, weight", &[-1.0, f64::NAN, f64::INFINITY], |n| Meter::new().push(&f(&[]), n));
    t.each("ConfusionMatrix::new", &[usize::MAX, usize::MAX / 2 + 1, 1 << (usize::BITS / 2)], |n| {
        ConfusionMatrix::new(n).map(drop)
    });
    t.each("ConfusionMatrix::update, label", &[2, -1, i32::MAX, i32::MIN], |n| ConfusionMatrix::new(2)?.update(&[n], &[0]));
    t.each("ConfusionMatrix::update, prediction", &[2, -1, i32::MAX, i32::MIN], |n| ConfusionMatrix::new(2)?.update(&[0], &[n]));
    t.each("ConfusionMatrix::update, lengths", &[vec![], vec![0, 0]], |n: Vec<i32>| ConfusionMatrix::new(2)?.update(&[0], &n));
    t.each("History::from_text", &["x", "1", "1 2", "-1 0 0 0 0 0 0", "nan", "1 1 1 1 1 1 1 1"], |text| {
        History::from_text(text).map(drop)
    });
    t.each("gradients of a number", &[DType::I32, DType::U32], |d| Tensor::full_of([2], 1.0, d, device())?.variable().map(drop));
    t.each("improbable decays of Ema", &IMPROBABLE[1..], |d| Ema::new(&params(), d).map(drop));
}
