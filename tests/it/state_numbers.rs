//! Every number in a file has a range: one outside it is an error that names it, and changes nothing. Numbers that are valid
//! and differ from the current ones are reported.

use crate::common::device;
use crate::rows::{Entry, Make, entry, fullest};
use crate::state::Run;
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{
    AdaGrad, AdaGradConfig, Adam, AdamConfig, AdamW, AdamWConfig, Ema, LossScaler, LossScalerConfig, Optimizer, ParamGroup,
    PlateauConfig, PlateauMode, ReduceOnPlateau, RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use wgrad::train::{Checkpoint, EarlyStopping, EarlyStoppingConfig, History, Meter};
use wgrad::{DType, Generator, HostData, Param, Result, Shape, Tensor};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;
/// No count, rate, factor or moment of squares may be any of these.
const NEVER: [f64; 5] = [NAN, INF, -INF, -5.0, 1e300];
/// What a count may not be: also fractions, and numbers so large that neighbouring whole numbers are not representable.
const NO_COUNT: [f64; 7] = [NAN, INF, -INF, -5.0, 1e300, 0.5, 1e17];
const NO_FACTOR: [f64; 6] = [NAN, INF, -INF, -5.0, 1e300, 1.0];
const NO_FLAG: [f64; 7] = [NAN, INF, -INF, -5.0, 1e300, 0.5, 2.0];
/// Numbers that may have either sign.
const NOT_FINITE: [f64; 4] = [NAN, INF, -INF, 1e300];
const NOT_FINITE_F32: [f64; 3] = [NAN, INF, -INF];
const NO_SQUARE: [f64; 4] = [NAN, INF, -INF, -5.0];

/// The values that an entry of an optimizer's state must not have, by the last part of its name.
fn wrong_for(name: &str) -> &'static [f64] {
    match entry(name) {
        Entry::Count => &NO_COUNT,
        Entry::Factor => &NO_FACTOR,
        Entry::Flag => &NO_FLAG,
        Entry::Size => &NEVER,
        Entry::Signed => &NOT_FINITE,
        Entry::Mean => &NOT_FINITE_F32,
        Entry::Square => &NO_SQUARE,
    }
}

/// The tensor with its last element replaced.
fn with_last(tensor: &HostTensor, value: f64) -> HostTensor {
    let mut tensor = tensor.clone();
    match &mut tensor.data {
        HostData::F64(v) => *v.last_mut().unwrap() = value,
        HostData::F32(v) => *v.last_mut().unwrap() = value as f32,
        other => panic!("{other:?}"),
    }
    tensor
}

/// Loads a state with each number replaced in turn; returns which ones were accepted, were misreported, or changed something.
fn probe(
    what: &str,
    good: &StateDict,
    wrong: impl Fn(&str) -> &'static [f64],
    mut load: impl FnMut(&StateDict) -> Result<()>,
    mut save: impl FnMut() -> StateDict,
) -> Vec<String> {
    let (before, mut failures) = (save(), Vec::new());
    for (name, tensor) in &good.tensors {
        for &value in wrong(name) {
            let mut dict = good.clone();
            dict.tensors.insert(name.clone(), with_last(tensor, value));
            match load(&dict) {
                Ok(()) => failures.push(format!("{what}: {name} = {value} was accepted")),
                // Messages may omit the common prefix of the names.
                Err(e) if !e.to_string().contains(name.split_once('.').unwrap().1) || !e.to_string().contains("help: ") => {
                    failures.push(format!("{what}: {name} = {value}: {e}"));
                }
                Err(_) => {}
            }
        }
        if save() != before {
            failures.push(format!("{what}: {name} has changed something"));
        }
    }
    failures
}

#[test]
fn every_number_of_every_optimizer_has_its_range() {
    let mut failures = Vec::new();
    for (name, make) in fullest() {
        let source = Run::new(1, make, 2);
        let good = source.optimizer.state_dict().unwrap();
        let settings = good.tensors.keys().filter(|k| k.contains(".group.0.")).count();
        assert!(settings >= 6, "{name}: only {settings} settings are saved");
        let run = std::cell::RefCell::new(Run::new(2, make, 1));
        failures.extend(probe(
            name,
            &good,
            |key| wrong_for(key.rsplit('.').next().unwrap()),
            |dict| run.borrow_mut().optimizer.load_state_dict(dict).map(drop),
            || run.borrow().optimizer.state_dict().unwrap(),
        ));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_number_beside_the_optimizer_has_its_range() {
    let model = Linear::new(2, 1, &Init::new(device(), 0)).unwrap();
    let params = model.parameters().unwrap();
    let mut failures = Vec::new();

    let ema = std::cell::RefCell::new(Ema::new(&params, 0.5).unwrap());
    let good = Ema::new(&params, 0.75).unwrap().state_dict().unwrap();
    let wrong = |key: &str| if key == "ema.decay" { &NO_FACTOR[..] } else { &[] };
    let load = |d: &StateDict| ema.borrow_mut().load_state_dict(d).map(drop);
    failures.extend(probe("ema", &good, wrong, load, || ema.borrow().state_dict().unwrap()));

    let make = || LossScaler::new(device(), LossScalerConfig::default()).unwrap();
    let (scaler, good) = (std::cell::RefCell::new(make()), make().state_dict().unwrap());
    let wrong = |key: &str| if key == "scaler.good" { &NO_COUNT[..] } else { &[NAN, INF, -INF, -5.0, 1e300, 0.0][..] };
    let load = |d: &StateDict| scaler.borrow_mut().load_state_dict(d);
    failures.extend(probe("scaler", &good, wrong, load, || scaler.borrow().state_dict().unwrap()));

    for mode in [PlateauMode::Min, PlateauMode::Max] {
        let make = |lr| ReduceOnPlateau::new(lr, PlateauConfig { mode, ..PlateauConfig::default() }).unwrap();
        let (mut stepped, plateau) = (make(0.1), std::cell::RefCell::new(make(0.2)));
        let _ = (stepped.step(1.0), stepped.step(1.0));
        let wrong = |key: &str| match key {
            "plateau.lr" => &NEVER[..],
            "plateau.best" if mode == PlateauMode::Min => &[NAN, -INF],
            "plateau.best" => &[NAN, INF],
            _ => &NO_COUNT,
        };
        let load = |d: &StateDict| plateau.borrow_mut().load_state_dict(d);
        failures.extend(probe("plateau", &stepped.state_dict(), wrong, load, || plateau.borrow().state_dict()));

        let make = || EarlyStopping::new(EarlyStoppingConfig { mode, ..EarlyStoppingConfig::default() }).unwrap();
        let (mut observed, stopping) = (make(), std::cell::RefCell::new(make()));
        assert!(!observed.observe(1.0, &model).unwrap());
        assert!(!observed.observe(NAN, &model).unwrap());
        let wrong = |key: &str| match key {
            "stopping.best" => &[NAN, INF, -INF][..],
            "stopping.epoch" | "stopping.best_epoch" => &NO_COUNT,
            _ => &[],
        };
        let load = |d: &StateDict| stopping.borrow_mut().load_state_dict(d);
        failures.extend(probe("stopping", &observed.state_dict(), wrong, load, || stopping.borrow().state_dict()));
        stopping.borrow_mut().load_state_dict(&make().state_dict()).unwrap();
        // A best epoch in the future, or none although there are weights.
        for (name, value) in [("stopping.best_epoch", 3.0), ("stopping.best_epoch", 0.0), ("stopping.epoch", 0.0)] {
            let mut dict = observed.state_dict();
            dict.tensors.insert(name.into(), HostTensor::scalar(value));
            let loaded = stopping.borrow_mut().load_state_dict(&dict);
            failures.extend(loaded.is_ok().then(|| format!("{name} = {value} was accepted")));
        }
    }
    for value in NO_COUNT {
        let model = wgrad::nn::BatchNorm1d::new(2, &Init::new(device(), 0)).unwrap();
        let mut dict = model.state_dict().unwrap();
        dict.tensors.insert("num_batches_tracked".into(), HostTensor::scalar(value));
        let error = model.load_state_dict(&dict).err().map(|e| e.to_string()).unwrap_or_default();
        failures.extend((!error.contains("num_batches_tracked")).then(|| format!("num_batches_tracked = {value}: {error}")));
    }
    for weight in [NAN, INF, -INF, -5.0] {
        failures.extend(Meter::from_parts(1.0, weight).is_ok().then(|| format!("a meter's weight of {weight} was accepted")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Weights may be any numbers that their dtype can represent, but none that would become infinite in the conversion.
#[test]
fn weights_that_f32_cannot_hold_are_refused() {
    let model = Linear::new(2, 1, &Init::new(device(), 0)).unwrap();
    let before = model.state_dict().unwrap();
    let wide =
        |values: [f64; 2]| HostTensor::new(DType::F64, Shape::new(&[1, 2]).unwrap(), HostData::F64(values.to_vec())).unwrap();
    let mut dict = before.clone();
    dict.tensors.insert("weight".into(), wide([1.0, 1e300]));
    let message = model.load_state_dict(&dict).unwrap_err().to_string();
    assert!(message.contains("weight") && message.contains("f32 cannot"), "{message}");
    assert!(model.state_dict().unwrap() == before);
    dict.tensors.insert("weight".into(), wide([1.0, INF]));
    model.load_state_dict(&dict).unwrap();
    assert_eq!(model.weight.tensor().to_vec::<f32>().unwrap(), [1.0, f32::INFINITY]);
}

#[test]
fn histories_and_notes_have_their_ranges() {
    // Epoch, training loss and accuracy, test loss and accuracy, learning rate, seconds.
    let rows = [
        ("0 1 0.5 1 0.5 0.1 2", "epoch 0"),
        ("-5 1 0.5 1 0.5 0.1 2", "-5"),
        ("1e300 1 0.5 1 0.5 0.1 2", "1e300"),
        ("0.5 1 0.5 1 0.5 0.1 2", "0.5"),
        ("NaN 1 0.5 1 0.5 0.1 2", "NaN"),
        ("2 1 0.5 1 0.5 0.1 2\n2 1 0.5 1 0.5 0.1 2", "epoch 2"),
        ("2 1 0.5 1 0.5 0.1 2\n1 1 0.5 1 0.5 0.1 2", "epoch 1"),
        ("1 1 1.5 1 0.5 0.1 2", "train_accuracy is 1.5"),
        ("1 1 inf 1 0.5 0.1 2", "train_accuracy is inf"),
        ("1 1 0.5 1 -5 0.1 2", "test_accuracy is -5"),
        ("1 1 0.5 1 0.5 NaN 2", "lr is NaN"),
        ("1 1 0.5 1 0.5 -5 2", "lr is -5"),
        ("1 1 0.5 1 0.5 inf 2", "lr is inf"),
        ("1 1 0.5 1 0.5 0.1 -5", "seconds is -5"),
        ("1 1 0.5 1 0.5 0.1 NaN", "seconds is NaN"),
        ("1 1 0.5 1 0.5 0.1 inf", "seconds is inf"),
    ];
    for (text, expected) in rows {
        let message = History::from_text(text).expect_err(text).to_string();
        assert!(message.contains(expected) && message.contains("help: "), "{text}: {message}");
    }
    assert_eq!(History::from_text("1 NaN NaN inf NaN 0 0\n5 1 1 1 0 0.1 2").unwrap().records.len(), 2);

    let run = Run::new(1, fullest()[0].1, 1);
    let generator = Generator::at(7, 11);
    let capture = || Checkpoint::capture(&run.model, &*run.optimizer).unwrap();
    for text in ["NaN", "-5", "0.5", "1e300", "inf", "", "18446744073709551616"] {
        let checkpoint = capture().with("offset", text).with("epoch", text);
        let message = checkpoint.note::<u64>("offset").map(|n| generator.set_offset(n)).expect_err(text).to_string();
        assert!(message.contains("offset") && message.contains(text), "{message}");
        assert!(checkpoint.note::<usize>("epoch").is_err(), "{text}");
    }
    assert_eq!(generator.offset(), 11);
    assert_eq!(capture().with("offset", u64::MAX).note::<u64>("offset").unwrap(), u64::MAX);
    assert!(capture().note::<u64>("offset").is_err());
}

fn params() -> [Param; 1] {
    [Param::new(&Tensor::ones([3], device()).unwrap()).unwrap()]
}

/// As in PyTorch, a load takes the file's settings; the report says what they were before.
#[test]
fn settings_come_from_the_file_and_differences_are_told() {
    let p = params();
    let there = AdamConfig { lr: 0.02, betas: (0.8, 0.99), eps: 1e-6, weight_decay: 0.1, ..AdamConfig::default() };
    let here = AdamConfig { lr: 0.01, betas: (0.9, 0.99), ..AdamConfig::default() };
    let saved = Adam::new(&p, there).unwrap().state_dict().unwrap();
    let mut adam = Adam::new(&p, here).unwrap();
    let report = adam.load_state_dict(&saved).unwrap();
    let changed: Vec<(&str, f64, f64)> = report.changed.iter().map(|c| (c.name.as_str(), c.before, c.after)).collect();
    let expected = [
        ("group.0.lr", 0.01, 0.02),
        ("group.0.beta1", 0.9, 0.8),
        ("group.0.eps", 1e-8, 1e-6),
        ("group.0.weight_decay", 0.0, 0.1),
    ];
    assert_eq!((changed, report.kept.len()), (expected.to_vec(), 0));
    assert!(report.to_string().contains("group.0.beta1 was 0.9 and is 0.8"), "{report}");
    assert_eq!(adam.configs(), [there]);
    assert_eq!(adam.load_state_dict(&saved).unwrap(), Default::default());

    // A file from an earlier version has only learning rates.
    let mut old = saved.clone();
    old.tensors.retain(|name, _| !name.contains(".group.") || name.ends_with(".lr"));
    let mut adam = Adam::new(&p, here).unwrap();
    let report = adam.load_state_dict(&old).unwrap();
    assert_eq!((report.changed.len(), report.kept.len()), (1, 4), "{report}");
    assert_eq!(adam.configs(), [AdamConfig { lr: 0.02, ..here }]);

    // A checkpoint reports the same, and so do averages.
    let run = Run::new(1, fullest()[1].1, 1);
    let mut other = Run::new(2, fullest()[1].1, 1);
    other.optimizer.set_lr(0.5);
    let checkpoint = Checkpoint::capture(&run.model, &*run.optimizer).unwrap();
    let report = checkpoint.restore(&other.model, &mut *other.optimizer).unwrap();
    assert_eq!(report.changed.iter().map(|c| (c.before, c.after)).collect::<Vec<_>>(), [(0.5, 0.01)]);
    let mut ema = Ema::new(&p, 0.5).unwrap();
    let report = ema.load_state_dict(&Ema::new(&p, 0.75).unwrap().state_dict().unwrap()).unwrap();
    assert_eq!(report.changed.iter().map(|c| (c.before, c.after)).collect::<Vec<_>>(), [(0.5, 0.75)]);
}

/// Settings that determine kernels and state do not change in an existing optimizer.
#[test]
fn another_structure_is_refused() {
    macro_rules! row {
        ($name:ident, $config:ident { $($a:ident: $x:expr),* } into { $($b:ident: $y:expr),* }, $expected:expr) => {
            (
                $expected,
                (|p| Ok(Box::new($name::new(p, $config { $($a: $x,)* ..$config::default() })?))) as Make,
                (|p| Ok(Box::new($name::new(p, $config { $($b: $y,)* ..$config::default() })?))) as Make,
            )
        };
    }
    let rows: [(&str, Make, Make); 12] = [
        row!(Sgd, SgdConfig { momentum: 0.9 } into {}, "momentum"),
        row!(Sgd, SgdConfig {} into { momentum: 0.9 }, "momentum"),
        row!(Sgd, SgdConfig { momentum: 0.9, nesterov: true } into { momentum: 0.9 }, "nesterov"),
        row!(Sgd, SgdConfig { maximize: true } into {}, "maximize"),
        row!(Sgd, SgdConfig { decay_mode: wgrad::optim::DecayMode::Decoupled } into {}, "decoupled"),
        row!(Sgd, SgdConfig { momentum: 0.9, dampening: 0.1 } into { momentum: 0.9, nesterov: true }, "nesterov"),
        row!(Adam, AdamConfig { amsgrad: true } into {}, "amsgrad"),
        row!(Adam, AdamConfig {} into { amsgrad: true }, "amsgrad"),
        row!(AdamW, AdamWConfig { amsgrad: true } into {}, "amsgrad"),
        row!(RmsProp, RmsPropConfig { centered: true } into {}, "centered"),
        row!(RmsProp, RmsPropConfig { momentum: 0.9 } into {}, "momentum"),
        row!(AdaGrad, AdaGradConfig { maximize: true } into {}, "maximize"),
    ];
    for (i, (expected, there, here)) in rows.into_iter().enumerate() {
        let p = params();
        let saved = there(&p).unwrap().state_dict().unwrap();
        let mut optimizer = here(&p).unwrap();
        let before = optimizer.state_dict().unwrap();
        let message = optimizer.load_state_dict(&saved).expect_err(expected).to_string();
        assert!(message.contains(expected) && message.contains("help: "), "row {i}: {message}");
        assert!(optimizer.state_dict().unwrap() == before, "row {i}");
    }
    // Another number of groups.
    let (a, b) = (params(), params());
    let group = |p: &[Param]| ParamGroup::new(p.to_vec(), SgdConfig::default());
    let two = Sgd::with_groups(vec![group(&a), group(&b)]).unwrap().state_dict().unwrap();
    let mut one = Sgd::new(&[a[0].clone(), b[0].clone()], SgdConfig::default()).unwrap();
    assert!(one.load_state_dict(&two).unwrap_err().to_string().contains("group.1"));
    let saved = one.state_dict().unwrap();
    assert!(Sgd::with_groups(vec![group(&a), group(&b)]).unwrap().load_state_dict(&saved).is_err());
}

/// Settings outside the range of single precision would reach the kernels as infinity.
#[test]
fn settings_past_single_precision_are_refused() {
    let p = params();
    for lr in NEVER {
        assert!(Sgd::new(&p, SgdConfig { lr, ..SgdConfig::default() }).is_err(), "{lr}");
    }
    for dampening in NOT_FINITE {
        assert!(Sgd::new(&p, SgdConfig { momentum: 0.9, dampening, ..SgdConfig::default() }).is_err(), "{dampening}");
    }
    for beta in NO_FACTOR {
        assert!(Adam::new(&p, AdamConfig { betas: (beta, 0.9), ..AdamConfig::default() }).is_err(), "{beta}");
    }
}
