//! Optimizers against 20 steps of PyTorch in f64 (see `scripts/fixtures/optimizers.py`), groups, freezing, tying.

use crate::common::{close, device, upload, values};
use crate::fixtures::Fixture;
use serde_json::Value;
use wgrad::optim::{
    AdaGrad, AdaGradConfig, Adam, AdamConfig, AdamW, AdamWConfig, Optimizer, ParamGroup, RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use wgrad::{DType, Param, Tensor};

/// Our optimizer for a PyTorch configuration, or `None` if there is none.
fn build(params: &[Param], c: &Value) -> Option<Box<dyn Optimizer>> {
    let n = |k: &str| c[k].as_f64().unwrap_or_else(|| panic!("{k} in {c}"));
    let flag = |k: &str| c[k].as_bool().unwrap_or(false);
    let betas = || (c["betas"][0].as_f64().expect("β₁"), c["betas"][1].as_f64().expect("β₂"));
    let (lr, weight_decay) = (n("lr"), n("weight_decay"));
    Some(match c["optimizer"].as_str()? {
        "SGD" => {
            let config = SgdConfig {
                lr,
                momentum: n("momentum"),
                dampening: n("dampening"),
                nesterov: flag("nesterov"),
                weight_decay,
                ..SgdConfig::default()
            };
            Box::new(Sgd::new(params, config).expect("valid"))
        }
        "Adam" => {
            let config =
                AdamConfig { lr, betas: betas(), eps: n("eps"), weight_decay, amsgrad: flag("amsgrad"), maximize: false };
            Box::new(Adam::new(params, config).expect("valid"))
        }
        "AdamW" => {
            let config =
                AdamWConfig { lr, betas: betas(), eps: n("eps"), weight_decay, amsgrad: flag("amsgrad"), maximize: false };
            Box::new(AdamW::new(params, config).expect("valid"))
        }
        "RMSprop" => {
            let (alpha, eps, momentum, centered) = (n("alpha"), n("eps"), n("momentum"), flag("centered"));
            Box::new(
                RmsProp::new(
                    params,
                    RmsPropConfig { lr, alpha, eps, weight_decay, momentum, centered, ..RmsPropConfig::default() },
                )
                .expect("valid"),
            )
        }
        "Adagrad" => {
            let (lr_decay, initial_accumulator_value, eps) = (n("lr_decay"), n("initial_accumulator_value"), n("eps"));
            Box::new(
                AdaGrad::new(
                    params,
                    AdaGradConfig { lr, lr_decay, weight_decay, initial_accumulator_value, eps, ..AdaGradConfig::default() },
                )
                .expect("valid"),
            )
        }
        _ => return None,
    })
}

/// Steps with given gradients: the loss `Σ g · w` has exactly these.
fn step(optimizer: &mut dyn Optimizer, params: &[Param], gradients: &[Tensor]) {
    let loss = params.iter().zip(gradients).map(|(p, g)| (p.tensor() * g).sum()).reduce(|a, b| a + b).expect("a parameter");
    optimizer.step(loss.backward().expect("differentiable")).expect("steps");
}

#[test]
fn twenty_steps_agree_with_pytorch() {
    let fixture = Fixture::open("optimizers.safetensors");
    let mut checked = 0;
    for (name, config) in fixture.cases() {
        let params: Vec<Param> =
            (0..3).map(|i| Param::new(&fixture.tensor(&format!("param.{i}"), device())).expect("float")).collect();
        let Some(mut optimizer) = build(&params, config) else { continue };
        for t in 1..=20 {
            let gradients: Vec<Tensor> = (0..3).map(|i| fixture.tensor(&format!("grad.{t}.{i}"), device())).collect();
            step(optimizer.as_mut(), &params, &gradients);
            for (i, param) in params.iter().enumerate().filter(|_| t == 1 || t == 20) {
                let key = format!("{name}.after{t}.{i}");
                close(&key, &values(&param.tensor()), &fixture.values(&key), 1e-5, 2e-6);
            }
        }
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} configurations were checked");
}

fn param(v: &[f64]) -> Param {
    Param::new(&upload(v, &[v.len()], DType::F32, device())).expect("float")
}

fn sgd(lr: f64) -> SgdConfig {
    SgdConfig { lr, ..SgdConfig::default() }
}

#[test]
fn groups_have_their_own_settings() {
    let (a, b) = (param(&[1.0]), param(&[1.0]));
    let groups =
        vec![ParamGroup::new([a.clone()], sgd(0.5)), ParamGroup::new([b.clone()], SgdConfig { weight_decay: 1.0, ..sgd(0.1) })];
    let mut optimizer = Sgd::with_groups(groups).expect("valid");
    let g = upload(&[1.0], &[1], DType::F32, device());
    step(&mut optimizer, &[a.clone(), b.clone()], &[g.clone(), g]);
    close("a", &values(&a.tensor()), &[0.5], 1e-6, 0.0);
    close("b", &values(&b.tensor()), &[0.8], 1e-6, 0.0);
}

#[test]
fn frozen_and_unused_parameters_do_not_move_or_count() {
    let (a, b, c) = (param(&[1.0]), param(&[1.0]), param(&[1.0]));
    let config = AdamConfig { lr: 0.1, weight_decay: 0.5, ..AdamConfig::default() };
    let mut optimizer = Adam::new(&[a.clone(), b.clone(), c.clone()], config).expect("valid");
    b.freeze();
    let g = upload(&[1.0], &[1], DType::F32, device());
    for _ in 0..3 {
        step(&mut optimizer, &[a.clone(), b.clone()], &[g.clone(), g.clone()]);
    }
    assert_ne!(values(&a.tensor()), [1.0]);
    assert_eq!((values(&b.tensor()), values(&c.tensor())), (vec![1.0], vec![1.0]));
    // Its first own step is a first step: Adam moves by the learning rate.
    b.unfreeze();
    step(&mut optimizer, std::slice::from_ref(&b), &[g]);
    close("b", &values(&b.tensor()), &[0.9], 1e-4, 0.0);
}

#[test]
fn tied_parameters_step_once() {
    let a = param(&[1.0]);
    let mut optimizer = Sgd::new(&[a.clone(), a.clone()], sgd(0.5)).expect("valid");
    let g = upload(&[1.0], &[1], DType::F32, device());
    let loss = (a.tensor() * &g + a.tensor() * &g).sum();
    optimizer.step(loss.backward().expect("differentiable")).expect("steps");
    assert_eq!(values(&a.tensor()), [0.0]);
}

#[test]
fn two_optimizers_can_share_a_parameter() {
    let (a, b) = (param(&[1.0]), param(&[2.0]));
    let mut first = Sgd::new(&[a.clone(), b.clone()], SgdConfig { momentum: 0.5, ..sgd(0.5) }).expect("valid");
    let mut second = Sgd::new(std::slice::from_ref(&a), sgd(0.25)).expect("valid");
    let g = upload(&[1.0], &[1], DType::F32, device());
    step(&mut first, &[a.clone(), b.clone()], &[g.clone(), g.clone()]);
    step(&mut second, std::slice::from_ref(&a), std::slice::from_ref(&g));
    step(&mut first, &[a.clone(), b.clone()], &[g.clone(), g]);
    close("a", &values(&a.tensor()), &[1.0 - 0.5 - 0.25 - 0.75], 1e-6, 1e-6);
    close("b", &values(&b.tensor()), &[2.0 - 0.5 - 0.75], 1e-6, 1e-6);
}

#[test]
fn a_step_that_fails_changes_nothing() {
    let a = param(&[1.0, 2.0]);
    let mut optimizer = Sgd::new(std::slice::from_ref(&a), sgd(0.5)).expect("valid");
    let mut gradients = a.tensor().square().sum().backward().expect("differentiable");
    gradients.map(|g| g.reshape([1, 2]));
    assert!(optimizer.step(gradients).unwrap_err().to_string().contains("[1, 2]"));
    assert_eq!(values(&a.tensor()), [1.0, 2.0]);
}

#[test]
fn gradients_accumulate() {
    let a = param(&[1.0, 2.0]);
    let mut optimizer = Sgd::new(std::slice::from_ref(&a), sgd(0.5)).expect("valid");
    let mut sum = (a.tensor() * 1.0).sum().backward().expect("differentiable");
    sum.accumulate(&(a.tensor() * 3.0).sum().backward().expect("differentiable"));
    optimizer.step(sum).expect("steps");
    assert_eq!(values(&a.tensor()), [-1.0, 0.0]);
}

#[test]
fn gradients_that_are_views_or_constants_reach_the_optimizer() {
    let a = Param::new(&upload(&[1.0; 6], &[2, 3], DType::F32, device())).expect("float");
    let b = Param::new(&upload(&[1.0; 6], &[3, 2], DType::F32, device())).expect("float");
    let mut optimizer = Sgd::new(&[a.clone(), b.clone()], sgd(1.0)).expect("valid");
    let loss = a.tensor().sum() + (b.tensor().t() * 2.0).sum();
    optimizer.step(loss.backward().expect("differentiable")).expect("steps");
    assert_eq!((values(&a.tensor()), values(&b.tensor())), (vec![0.0; 6], vec![-1.0; 6]));
    // One gradient for two parameters of one shape.
    let c = param(&[1.0]);
    let d = param(&[1.0]);
    let mut optimizer = Sgd::new(&[c.clone(), d.clone()], sgd(1.0)).expect("valid");
    let loss = (c.tensor() + d.tensor()).square().sum();
    optimizer.step(loss.backward().expect("differentiable")).expect("steps");
    assert_eq!((values(&c.tensor()), values(&d.tensor())), (vec![-3.0], vec![-3.0]));
}
