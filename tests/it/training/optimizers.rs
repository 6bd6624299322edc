//! Optimizers: 20 steps against PyTorch in f64, groups, frozen and tied parameters, and resuming.

use crate::common::{device, fixture, host, near as close, upload_host as upload, values};
use wgrad::io::StateDict;
use wgrad::optim::{
    AdaGrad, AdaGradConfig, Adam, AdamConfig, AdamW, AdamWConfig, DecayMode, Optimizer, ParamGroup, RmsProp, RmsPropConfig, Sgd,
    SgdConfig,
};
use wgrad::{Error, Param, Result, Tensor};

type Make = fn(&[Param]) -> Result<Box<dyn Optimizer>>;

fn sgd(params: &[Param], config: SgdConfig) -> Result<Box<dyn Optimizer>> {
    Ok(Box::new(Sgd::new(params, SgdConfig { lr: 0.05, ..config })?))
}

fn adam(params: &[Param], config: AdamConfig) -> Result<Box<dyn Optimizer>> {
    Ok(Box::new(Adam::new(params, AdamConfig { lr: 0.01, ..config })?))
}

fn rmsprop(params: &[Param], config: RmsPropConfig) -> Result<Box<dyn Optimizer>> {
    Ok(Box::new(RmsProp::new(params, config)?))
}

fn adagrad(params: &[Param], config: AdaGradConfig) -> Result<Box<dyn Optimizer>> {
    Ok(Box::new(AdaGrad::new(params, AdaGradConfig { lr: 0.05, ..config })?))
}

/// The fixture's name of each configuration, and how to make it here.
const ROWS: [(&str, Make); 15] = [
    ("sgd", |p| sgd(p, SgdConfig::default())),
    ("sgd_momentum", |p| sgd(p, SgdConfig { momentum: 0.9, ..SgdConfig::default() })),
    ("sgd_nesterov", |p| sgd(p, SgdConfig { momentum: 0.9, nesterov: true, ..SgdConfig::default() })),
    ("sgd_l2", |p| sgd(p, SgdConfig { momentum: 0.9, weight_decay: 0.01, ..SgdConfig::default() })),
    ("sgd_dampening", |p| sgd(p, SgdConfig { momentum: 0.9, dampening: 0.5, ..SgdConfig::default() })),
    ("adam", |p| adam(p, AdamConfig::default())),
    ("adam_l2", |p| adam(p, AdamConfig { weight_decay: 0.1, ..AdamConfig::default() })),
    ("adam_amsgrad", |p| adam(p, AdamConfig { amsgrad: true, ..AdamConfig::default() })),
    ("adamw", |p| Ok(Box::new(AdamW::new(p, AdamWConfig { lr: 0.01, weight_decay: 0.1, ..AdamWConfig::default() })?))),
    ("rmsprop", |p| rmsprop(p, RmsPropConfig::default())),
    ("rmsprop_centered", |p| rmsprop(p, RmsPropConfig { centered: true, ..RmsPropConfig::default() })),
    ("rmsprop_momentum", |p| rmsprop(p, RmsPropConfig { momentum: 0.9, ..RmsPropConfig::default() })),
    ("rmsprop_centered_momentum_l2", |p| {
        rmsprop(p, RmsPropConfig { centered: true, momentum: 0.9, weight_decay: 0.1, ..RmsPropConfig::default() })
    }),
    ("adagrad", |p| adagrad(p, AdaGradConfig::default())),
    ("adagrad_decay", |p| {
        adagrad(p, AdaGradConfig { lr_decay: 0.1, weight_decay: 0.1, initial_accumulator_value: 0.1, ..AdaGradConfig::default() })
    }),
];

fn params(dict: &StateDict) -> Vec<Param> {
    (0..3).map(|i| Param::new(&upload(host(dict, &format!("param.{i}")))).unwrap()).collect()
}

/// One step with given gradients: those of Σ w · g.
fn step(optimizer: &mut dyn Optimizer, params: &[Param], dict: &StateDict, t: usize) {
    let term = |(i, p): (usize, &Param)| (p.tensor() * upload(host(dict, &format!("grad.{t}.{i}")))).sum((), false);
    let loss = params.iter().enumerate().map(term).reduce(|a, b| a + b).unwrap();
    optimizer.step(loss.backward().unwrap()).unwrap();
}

#[test]
fn twenty_steps_agree_with_pytorch() {
    let dict = fixture("optimizers.safetensors");
    for (name, make) in ROWS {
        let params = params(&dict);
        let mut optimizer = make(&params).unwrap();
        for t in 1..=20 {
            step(&mut *optimizer, &params, &dict, t);
            if t == 1 || t == 20 {
                for (i, p) in params.iter().enumerate() {
                    let expected = host(&dict, &format!("{name}.after{t}.{i}")).data.to_f64();
                    close(&format!("{name}, step {t}, parameter {i}"), &values(&p.tensor()), &expected, 2e-5);
                }
            }
        }
    }
}

#[test]
fn a_resumed_optimizer_continues_bit_for_bit() {
    let dict = fixture("optimizers.safetensors");
    for (name, make) in ROWS {
        let whole = params(&dict);
        let mut optimizer = make(&whole).unwrap();
        let mut middle = None;
        for t in 1..=8 {
            step(&mut *optimizer, &whole, &dict, t);
            if t == 4 {
                let weights: Vec<Tensor> = whole.iter().map(upload_copy).collect();
                middle = Some((weights, optimizer.state_dict().unwrap()));
            }
        }
        let (weights, state) = middle.unwrap();
        let resumed: Vec<Param> = weights.iter().map(|w| Param::new(w).unwrap()).collect();
        let mut optimizer = make(&resumed).unwrap();
        optimizer.set_lr(123.0);
        optimizer.load_state_dict(&state).unwrap();
        for t in 5..=8 {
            step(&mut *optimizer, &resumed, &dict, t);
        }
        for (a, b) in whole.iter().zip(&resumed) {
            assert_eq!(a.tensor().to_vec::<f32>().unwrap(), b.tensor().to_vec::<f32>().unwrap(), "{name}");
        }
    }
}

fn upload_copy(param: &Param) -> Tensor {
    Tensor::from_host(param.tensor().to_host().unwrap(), param.dtype(), param.shape(), device()).unwrap()
}

fn ones(n: usize) -> Param {
    Param::new(&Tensor::ones(n, device()).unwrap()).unwrap()
}

fn first(param: &Param) -> f64 {
    values(&param.tensor())[0]
}

#[test]
fn frozen_and_unused_parameters_are_left_alone() {
    let (a, b) = (ones(3), ones(5));
    // Momentum and decay would move a parameter even without a gradient.
    let config = SgdConfig { lr: 0.1, momentum: 0.9, weight_decay: 0.1, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(&[a.clone(), b.clone()], config).unwrap();
    let mut go = |use_b: bool| {
        let mut loss = a.tensor().sum((), false);
        if use_b {
            loss = loss + b.tensor().sum((), false);
        }
        optimizer.step(loss.backward().unwrap()).unwrap();
        (first(&a), first(&b))
    };
    let (_, b1) = go(true);
    let (_, b2) = go(false);
    assert_eq!(b1, b2);
    b.freeze();
    assert_eq!(go(true).1, b1);
    b.unfreeze();
    assert!(go(true).1 < b1);
}

#[test]
fn step_counts_are_kept_a_parameter() {
    let (a, b) = (ones(2), ones(2));
    let mut optimizer = Adam::new(&[a.clone(), b.clone()], AdamConfig { lr: 0.1, ..AdamConfig::default() }).unwrap();
    for _ in 0..5 {
        optimizer.step(a.tensor().sum((), false).backward().unwrap()).unwrap();
    }
    // b's first step must have the bias correction of a first step: it moves by lr.
    optimizer.step((a.tensor() + b.tensor()).sum((), false).backward().unwrap()).unwrap();
    close("first step", &[first(&b)], &[0.9], 1e-5);
}

#[test]
fn groups_have_their_own_settings() {
    let (a, b) = (ones(2), ones(2));
    let group = |p: &Param, lr| ParamGroup::new([p.clone()], SgdConfig { lr, ..SgdConfig::default() });
    let mut optimizer = Sgd::with_groups(vec![group(&a, 0.1), group(&b, 0.01)]).unwrap();
    let loss = || (a.tensor() + b.tensor()).sum((), false).backward().unwrap();
    optimizer.step(loss()).unwrap();
    close("group 0", &[first(&a)], &[0.9], 1e-6);
    close("group 1", &[first(&b)], &[0.99], 1e-6);
    optimizer.set_group_lr(1, 0.5).unwrap();
    optimizer.step(loss()).unwrap();
    close("group 1, new rate", &[first(&b)], &[0.49], 1e-6);
    assert!(optimizer.set_group_lr(2, 0.5).is_err());
    // A factor is of the rates that the groups were made with.
    for (factor, expected) in [(0.5, [0.05, 0.005]), (0.0, [0.0, 0.0]), (-1.0, [0.0, 0.0]), (1.0, [0.1, 0.01])] {
        optimizer.scale_lr(factor);
        close("scaled", &optimizer.configs().iter().map(|c| c.lr).collect::<Vec<_>>(), &expected, 1e-12);
    }
    optimizer.scale_lr(f64::NAN);
    assert_eq!(optimizer.lr(), 0.0);
}

#[test]
fn a_tied_parameter_is_updated_once() {
    let a = ones(2);
    let mut optimizer = Sgd::new(&[a.clone(), a.clone()], SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
    optimizer.step((a.tensor() * a.tensor()).sum((), false).backward().unwrap()).unwrap();
    close("tied", &[first(&a)], &[0.8], 1e-6);
}

#[test]
fn decoupled_decay_shrinks_the_weight() {
    let a = ones(2);
    let config = SgdConfig { lr: 0.1, weight_decay: 0.5, decay_mode: DecayMode::Decoupled, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(std::slice::from_ref(&a), config).unwrap();
    optimizer.step((a.tensor() * 0.0).sum((), false).backward().unwrap()).unwrap();
    close("decay", &[first(&a)], &[0.95], 1e-6);
}

#[test]
fn bad_settings_and_states_are_typed_errors() {
    let p = [ones(2)];
    let sgd = |config| Sgd::new(&p, config).err();
    let rows = [
        ("lr", sgd(SgdConfig { lr: -1.0, ..SgdConfig::default() })),
        ("lr", sgd(SgdConfig { lr: f64::NAN, ..SgdConfig::default() })),
        ("nesterov", sgd(SgdConfig { nesterov: true, ..SgdConfig::default() })),
        ("beta2", Adam::new(&p, AdamConfig { betas: (0.9, 1.0), ..AdamConfig::default() }).err()),
        ("alpha", RmsProp::new(&p, RmsPropConfig { alpha: 1.5, ..RmsPropConfig::default() }).err()),
        ("no parameters", AdaGrad::new(&[], AdaGradConfig::default()).err()),
        (
            "two groups",
            Sgd::with_groups(vec![
                ParamGroup::new(p.clone(), SgdConfig::default()),
                ParamGroup::new(p.clone(), SgdConfig::default()),
            ])
            .err(),
        ),
    ];
    for (expected, error) in rows {
        match error {
            Some(Error::Argument { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let state = Sgd::new(&p, SgdConfig::default()).unwrap().state_dict().unwrap();
    let mut adam = Adam::new(&p, AdamConfig::default()).unwrap();
    let error = adam.load_state_dict(&state).unwrap_err().to_string();
    assert!(error.contains("sgd") && error.contains("adam"), "{error}");
    let other = Adam::new(&[ones(3)], AdamConfig::default()).unwrap().state_dict().unwrap();
    let error = adam.load_state_dict(&other).unwrap_err().to_string();
    assert!(error.contains("[3]") && error.contains("[2]"), "{error}");
}
