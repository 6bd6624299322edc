//! Optimizers step for step against PyTorch and the papers' formulas, skipped steps, groups, frozen and tied parameters, and
//! resuming.

use crate::common::{device, fixture, host, near as close, upload_host as upload, values};
use crate::rows::{Judge, ROWS, Row};
use wgrad::io::StateDict;
use wgrad::optim::{
    AdaGrad, AdaGradConfig, Adam, AdamConfig, DecayMode, Optimizer, ParamGroup, RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use wgrad::{Error, Gradients, Param, Tensor};

pub fn params(dict: &StateDict) -> Vec<Param> {
    (0..3).map(|i| Param::new(&upload(host(dict, &format!("param.{i}")))).unwrap()).collect()
}

/// The fixture's gradients times a factor: the gradients of Σ w · g · factor.
pub fn gradients(params: &[Param], dict: &StateDict, t: usize, factor: f64) -> Gradients {
    let term = |(i, p): (usize, &Param)| (p.tensor() * upload(host(dict, &format!("grad.{t}.{i}"))) * factor).sum();
    params.iter().enumerate().map(term).reduce(|a, b| a + b).unwrap().backward().unwrap()
}

impl Row {
    /// The inputs, and how many steps there are.
    pub fn inputs(&self) -> (StateDict, usize) {
        match self.judge {
            Judge::Trace { file, steps } => (fixture(file), steps),
            Judge::Paper(_) => (fixture("optimizers_more.safetensors"), 25),
        }
    }

    /// Parameter i after step t.
    fn expected(&self, dict: &StateDict, t: usize, i: usize) -> Vec<f64> {
        let Judge::Paper(formula) = self.judge else {
            return host(dict, &format!("{}.after{t}.{i}", self.name)).data.to_f64();
        };
        let mut all = host(dict, &format!("param.{i}")).data.to_f64();
        let mut states = vec![[0.0; 4]; all.len()];
        for t in 1..=t {
            let gradients = host(dict, &format!("grad.{t}.{i}")).data.to_f64();
            for ((p, g), state) in all.iter_mut().zip(gradients).zip(&mut states) {
                *p = formula(t as f64, *p, g, state);
            }
        }
        all
    }
}

/// Steps through the reference's gradients. With `broken`, some that are not finite come in between, and must leave no trace.
fn agree(broken: bool) {
    for row in ROWS {
        let (dict, last) = row.inputs();
        let params = params(&dict);
        let mut optimizer = (row.make)(&params).unwrap();
        for t in 1..=last {
            if broken && matches!(t, 1 | 2 | 4 | 5 | 6 | 7 | 8 | 9 | 20) {
                let mut bad = gradients(&params, &dict, t, if t == 4 { f64::NAN } else { f64::INFINITY });
                bad.skip_non_finite().unwrap();
                optimizer.step(bad).unwrap();
            }
            let mut good = gradients(&params, &dict, t, 1.0);
            if broken {
                good.skip_non_finite().unwrap();
            }
            optimizer.step(good).unwrap();
            if t == 1 || t == last {
                for (i, p) in params.iter().enumerate() {
                    let what = format!("{}, step {t}, parameter {i}", row.name);
                    close(&what, &values(&p.tensor()), &row.expected(&dict, t, i), 2e-5);
                }
            }
        }
        let state = optimizer.state_dict().unwrap();
        let counts: Vec<f64> =
            state.tensors.iter().filter(|(k, _)| k.ends_with(".step")).flat_map(|(_, t)| t.data.to_f64()).collect();
        assert_eq!(counts, [last as f64; 3], "{}", row.name);
    }
}

#[test]
fn all_steps_agree_with_pytorch_and_the_papers() {
    agree(false);
    println!("{} rows", ROWS.len());
    assert!(ROWS.len() >= 43, "only {} rows", ROWS.len());
}

#[test]
fn skipped_steps_leave_no_trace() {
    agree(true);
}

#[test]
fn every_trace_has_a_row() {
    for file in ["optimizers.safetensors", "optimizers_more.safetensors"] {
        let dict = fixture(file);
        let traces = dict.tensors.keys().filter_map(|k| k.strip_suffix(".after1.0"));
        for name in traces.filter(|n| !n.starts_with("clipped_")) {
            let own = |row: &Row| row.name == name && matches!(row.judge, Judge::Trace { file: f, .. } if f == file);
            assert!(ROWS.iter().any(own), "{file} has a trace {name} that no row names");
        }
    }
    for row in ROWS {
        assert!(row.name.starts_with(row.optimizer), "{} is a row of {}", row.name, row.optimizer);
    }
}

#[test]
fn a_resumed_optimizer_continues_bit_for_bit() {
    for row in ROWS {
        let (dict, _) = row.inputs();
        let whole = params(&dict);
        let mut optimizer = (row.make)(&whole).unwrap();
        let mut middle = None;
        for t in 1..=8 {
            optimizer.step(gradients(&whole, &dict, t, 1.0)).unwrap();
            if t == 4 {
                let weights: Vec<Tensor> = whole.iter().map(upload_copy).collect();
                middle = Some((weights, optimizer.state_dict().unwrap()));
            }
        }
        let (weights, state) = middle.unwrap();
        let resumed: Vec<Param> = weights.iter().map(|w| Param::new(w).unwrap()).collect();
        let mut optimizer = (row.make)(&resumed).unwrap();
        optimizer.set_lr(123.0);
        optimizer.load_state_dict(&state).unwrap();
        for t in 5..=8 {
            optimizer.step(gradients(&resumed, &dict, t, 1.0)).unwrap();
        }
        for (a, b) in whole.iter().zip(&resumed) {
            assert_eq!(a.tensor().to_vec::<f32>().unwrap(), b.tensor().to_vec::<f32>().unwrap(), "{}", row.name);
        }
    }
}

/// With a constant gradient the centred variance goes to 0, and rounding makes it negative for some elements: its root
/// must not be NaN.
#[test]
fn a_constant_gradient_keeps_centred_steps_finite() {
    let gradient: Vec<f32> = (1..=256).map(|i| 0.37 * i as f32).collect();
    let gradient = Tensor::from_slice(&gradient, [256], device()).unwrap();
    for momentum in [0.0, 0.9] {
        let w = ones(256);
        let config = RmsPropConfig { centered: true, alpha: 0.5, momentum, lr: 1e-6, ..RmsPropConfig::default() };
        let mut optimizer = RmsProp::new(std::slice::from_ref(&w), config).unwrap();
        for _ in 0..60 {
            optimizer.step((w.tensor() * &gradient).sum().backward().unwrap()).unwrap();
        }
        let after = values(&w.tensor());
        assert!(after.iter().all(|x| x.is_finite() && *x < 1.0), "momentum {momentum}: {after:?}");
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
        let mut loss = a.tensor().sum();
        if use_b {
            loss += b.tensor().sum();
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
fn step_counts_are_kept_per_parameter() {
    let (a, b) = (ones(2), ones(2));
    let mut optimizer = Adam::new(&[a.clone(), b.clone()], AdamConfig { lr: 0.1, ..AdamConfig::default() }).unwrap();
    for _ in 0..5 {
        optimizer.step(a.tensor().sum().backward().unwrap()).unwrap();
    }
    // b's first step must have the bias correction of a first step: it moves by lr.
    optimizer.step((a.tensor() + b.tensor()).sum().backward().unwrap()).unwrap();
    close("first step", &[first(&b)], &[0.9], 1e-5);
}

#[test]
fn groups_have_their_own_settings() {
    let (a, b) = (ones(2), ones(2));
    let group = |p: &Param, lr| ParamGroup::new([p.clone()], SgdConfig { lr, ..SgdConfig::default() });
    let mut optimizer = Sgd::with_groups(vec![group(&a, 0.1), group(&b, 0.01)]).unwrap();
    let loss = || (a.tensor() + b.tensor()).sum().backward().unwrap();
    optimizer.step(loss()).unwrap();
    close("group 0", &[first(&a)], &[0.9], 1e-6);
    close("group 1", &[first(&b)], &[0.99], 1e-6);
    optimizer.set_group_lr(1, 0.5).unwrap();
    optimizer.step(loss()).unwrap();
    close("group 1, new rate", &[first(&b)], &[0.49], 1e-6);
    assert!(optimizer.set_group_lr(2, 0.5).is_err());
    // The factor applies to the rates that the groups were made with.
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
    optimizer.step((a.tensor() * a.tensor()).sum().backward().unwrap()).unwrap();
    close("tied", &[first(&a)], &[0.8], 1e-6);
}

#[test]
fn decoupled_decay_shrinks_the_weight() {
    let a = ones(2);
    let config = SgdConfig { lr: 0.1, weight_decay: 0.5, decay_mode: DecayMode::Decoupled, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(std::slice::from_ref(&a), config).unwrap();
    optimizer.step((a.tensor() * 0.0).sum().backward().unwrap()).unwrap();
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
