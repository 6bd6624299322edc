//! Settings out of range, clipping, loss scaling.

use super::optimizers::{gradients, params};
use crate::common::{device, fixture, host, near as close, values};
use crate::rows::{Make, ROWS};
use wgrad::nn::models::Mlp;
use wgrad::nn::{Init, Module};
use wgrad::optim::{
    AdaDelta, AdaDeltaConfig, Adam, AdamConfig, Adamax, AdamaxConfig, Lamb, LambConfig, Lion, LionConfig, LossScaler,
    LossScalerConfig, NAdam, NAdamConfig, Optimizer, RAdam, RAdamConfig, Sgd, SgdConfig,
};
use wgrad::{Gradients, Param, Tensor};

const LAST: usize = 25;

#[test]
fn settings_out_of_range_are_named() {
    let p = [Param::new(&Tensor::ones(2, device()).unwrap()).unwrap()];
    let scaler = |config| LossScaler::new(device(), config).err();
    let rows = [
        ("beta2", Lion::new(&p, LionConfig { betas: (0.9, 1.0), ..LionConfig::default() }).err()),
        ("rho", AdaDelta::new(&p, AdaDeltaConfig { rho: 1.0, ..AdaDeltaConfig::default() }).err()),
        ("eps", Adamax::new(&p, AdamaxConfig { eps: -1.0, ..AdamaxConfig::default() }).err()),
        ("momentum_decay", NAdam::new(&p, NAdamConfig { momentum_decay: f64::NAN, ..NAdamConfig::default() }).err()),
        ("beta1", RAdam::new(&p, RAdamConfig { betas: (-0.1, 0.9), ..RAdamConfig::default() }).err()),
        ("weight_decay", Lamb::new(&p, LambConfig { weight_decay: f64::INFINITY, ..LambConfig::default() }).err()),
        ("init_scale", scaler(LossScalerConfig { init_scale: 0.0, ..LossScalerConfig::default() })),
        ("growth_factor", scaler(LossScalerConfig { growth_factor: 0.5, ..LossScalerConfig::default() })),
        ("backoff_factor", scaler(LossScalerConfig { backoff_factor: 0.0, ..LossScalerConfig::default() })),
        ("growth_interval", scaler(LossScalerConfig { growth_interval: 0, ..LossScalerConfig::default() })),
    ];
    for (expected, error) in rows {
        let text = error.unwrap_or_else(|| panic!("{expected} was accepted")).to_string();
        assert!(text.contains(expected), "{text}");
    }
    let mut none = Gradients::default();
    assert!(none.clip_by_norm(1.0).is_err() && none.skip_non_finite().is_err());
    for limit in [0.0, -1.0, f64::NAN] {
        let mut some = p[0].tensor().sum().backward().unwrap();
        assert!(some.clip_by_norm(limit).is_err() && some.clip_by_value(limit).is_err(), "{limit}");
    }
}

#[test]
fn gradients_are_clipped_by_value_and_by_their_common_norm() {
    let param = |v: &[f32]| Param::new(&Tensor::from_slice(v, v.len(), device()).unwrap()).unwrap();
    let (a, b) = (param(&[3.0, -4.0]), param(&[12.0]));
    let fresh = || ((a.tensor().square().sum() + b.tensor().square().sum()) * 0.5).backward().unwrap();
    let of = |g: &Gradients| [values(&g.get(&a).unwrap()), values(&g.get(&b).unwrap())].concat();
    let mut g = fresh();
    assert_eq!(g.clip_by_norm(6.5).unwrap().item().unwrap(), 13.0);
    close("clipped", &of(&g), &[1.5, -2.0, 6.0], 1e-6);
    let mut g = fresh();
    g.clip_by_norm(100.0).unwrap();
    assert_eq!(of(&g), [3.0, -4.0, 12.0]);
    g.clip_by_value(3.5).unwrap();
    assert_eq!(of(&g), [3.0, -3.5, 3.5]);
    // Clipped gradients are clipped for every reader, and for whatever is done with them next.
    let mut g = fresh();
    g.clip_by_norm(6.5).unwrap();
    close("norm", &values(&g.global_norm().unwrap()), &[6.5], 1e-6);
    g.eval().unwrap();
    close("evaluated", &of(&g), &[1.5, -2.0, 6.0], 1e-6);
    let mut sum = g.clone();
    sum.accumulate(&g);
    close("both clipped", &of(&sum), &[3.0, -4.0, 12.0], 1e-6);
    let mut sum = fresh();
    sum.accumulate(&g);
    close("one clipped", &of(&sum), &[4.5, -6.0, 18.0], 1e-6);
    close("norm", &values(&g.clip_by_norm(3.25).unwrap()), &[6.5], 1e-6);
    close("clipped twice", &of(&g), &[0.75, -1.0, 3.0], 1e-6);
    g.map(|g| g * 2.0);
    close("doubled", &of(&g), &[1.5, -2.0, 6.0], 1e-6);
    g.clip_by_value(1.5).unwrap();
    close("limited", &of(&g), &[1.5, -1.5, 1.5], 1e-6);
}

#[test]
fn clipped_steps_agree_with_pytorch() {
    let dict = fixture("optimizers_more.safetensors");
    let rows: [(&str, Make); 2] = [
        ("clipped_sgd", |p| Ok(Box::new(Sgd::new(p, SgdConfig { lr: 0.05, momentum: 0.9, ..SgdConfig::default() })?))),
        ("clipped_adam", |p| Ok(Box::new(Adam::new(p, AdamConfig { lr: 0.01, weight_decay: 0.1, ..AdamConfig::default() })?))),
    ];
    for (name, make) in rows {
        let params = params(&dict);
        let mut optimizer = make(&params).unwrap();
        for t in 1..=LAST {
            let mut g = gradients(&params, &dict, t, 1.0);
            g.clip_by_norm(5.0).unwrap();
            optimizer.step(g).unwrap();
            if t == 1 || t == LAST {
                for (i, p) in params.iter().enumerate() {
                    let expected = host(&dict, &format!("{name}.after{t}.{i}")).data.to_f64();
                    close(&format!("{name}, step {t}, parameter {i}"), &values(&p.tensor()), &expected, 2e-5);
                }
            }
        }
    }
}

#[test]
fn a_step_that_clips_by_itself_agrees_with_clipped_gradients() {
    for row in ROWS {
        let (dict, _) = row.inputs();
        for gated in [false, true] {
            let sets = [params(&dict), params(&dict)];
            for (apart, params) in sets.iter().enumerate() {
                let mut optimizer = (row.make)(params).unwrap();
                for t in 1..=5 {
                    let mut g = gradients(params, &dict, t, if gated && t == 3 { f64::INFINITY } else { 1.0 });
                    if gated {
                        g.skip_non_finite().unwrap();
                    }
                    g.clip_by_norm(2.0).unwrap();
                    if apart == 1 {
                        g.map(Tensor::clone);
                    }
                    optimizer.step(g).unwrap();
                }
                assert_eq!(optimizer.lr(), (row.make)(params).unwrap().lr());
            }
            for (a, b) in sets[0].iter().zip(&sets[1]) {
                close(&format!("{}, gated {gated}", row.name), &values(&a.tensor()), &values(&b.tensor()), 2e-6);
            }
        }
    }
    // Gradients of another parameter, or of none: the gradients are clipped outside the step.
    let param = |v: f64| Param::new(&Tensor::full(2, v, device()).unwrap()).unwrap();
    let (a, b) = (param(3.0), param(4.0));
    let mut sgd = Sgd::new(std::slice::from_ref(&a), SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap();
    let mut g = ((a.tensor().square() + b.tensor().square()).sum() * 0.5).backward().unwrap();
    let norm = g.clip_by_norm(1.0).unwrap();
    sgd.step(g).unwrap();
    close("norm", &values(&norm), &[50f64.sqrt()], 1e-6);
    close("one of two", &values(&a.tensor()), &[3.0 - 3.0 / 50f64.sqrt(); 2], 1e-6);
}

#[test]
fn clipping_by_norm_takes_two_launches() {
    let device = crate::common::open(false);
    let init = Init::new(&device, 1);
    let model = Mlp::new(&[8; 20], &init).unwrap();
    let params = model.parameters().unwrap();
    let mut sgd = Sgd::new(&params, SgdConfig::default()).unwrap();
    let x = Tensor::ones([4, 8], &device).unwrap();
    let mut launches = |clip: bool| {
        let mut counts = Vec::new();
        for _ in 0..3 {
            let before = device.counters().dispatches;
            let mut g = model.forward(&x).unwrap().square().mean().backward().unwrap();
            if clip {
                g.clip_by_norm(0.1).unwrap();
            }
            sgd.step(g).unwrap();
            device.flush().unwrap();
            counts.push(device.counters().dispatches - before);
        }
        counts[2]
    };
    let (plain, clipped) = (launches(false), launches(true));
    println!("{} parameters: {plain} launches a step, {clipped} with clipping", params.len());
    if device.kind() != wgrad::DeviceKind::Cpu {
        assert_eq!(clipped, plain + 2);
    }
}

#[test]
fn the_loss_scale_adapts_and_skips() {
    let w = Param::new(&Tensor::ones(2, device()).unwrap()).unwrap();
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 0.125, ..SgdConfig::default() }).unwrap();
    let config = LossScalerConfig { init_scale: 8.0, growth_interval: 2, ..LossScalerConfig::default() };
    let mut scaler = LossScaler::new(device(), config).unwrap();
    assert!(scaler.update().is_err());
    // Per step: the loss's factor, the weight and the scale afterwards.
    let rows = [(1.0, 0.875, 8.0), (1.0, 0.75, 16.0), (f64::INFINITY, 0.75, 8.0), (1.0, 0.625, 8.0), (1.0, 0.5, 16.0)];
    for (i, (factor, weight, scale)) in rows.into_iter().enumerate() {
        let mut gradients = scaler.scale(&(w.tensor() * factor).sum()).backward().unwrap();
        scaler.unscale(&mut gradients).unwrap();
        sgd.step(gradients).unwrap();
        scaler.update().unwrap();
        assert_eq!((values(&w.tensor()), scaler.current().unwrap()), (vec![weight; 2], scale), "step {i}");
        // A restored scaler continues from here.
        let mut other = LossScaler::new(device(), config).unwrap();
        other.load_state_dict(&scaler.state_dict().unwrap()).unwrap();
        scaler = other;
    }
    assert_eq!(sgd.skipped().unwrap(), 1);
}
