//! What happens when something is found, and that nothing else changes.

use super::models::{NETWORKS, Network};
use super::{here, is_here, stopped};
use crate::common::{device, devices, open, oracle, upload};
use wgrad::error::AnomalyKind;
use wgrad::io::StateDict;
use wgrad::nn::{Dropout, Init, Linear, Module, Relu, sequential};
use wgrad::optim::{Adam, AdamConfig, GradientAccumulator, LossScaler, LossScalerConfig, Optimizer, Sgd, SgdConfig};
use wgrad::train::{AnomalyMode, AnomalyPolicy};
use wgrad::{DType, Device, Error, Param, Result, Tensor};

/// A network in training.
struct Training<'n> {
    network: &'n Network,
    model: Box<dyn Module>,
    optimizer: Box<dyn Optimizer>,
    device: Device,
}

fn optimizer(adam: bool, parameters: &[Param]) -> Box<dyn Optimizer> {
    if adam {
        Box::new(Adam::new(parameters, AdamConfig::default()).expect("valid"))
    } else {
        Box::new(Sgd::new(parameters, SgdConfig { momentum: 0.9, lr: 0.1, ..SgdConfig::default() }).expect("valid"))
    }
}

impl<'n> Training<'n> {
    fn new(network: &'n Network, adam: bool, device: &Device) -> Self {
        let model = network.on(device);
        let optimizer = optimizer(adam, &model.parameters().expect("valid"));
        Self { network, model, optimizer, device: device.clone() }
    }

    /// A batch: that of a seed, or one with a NaN.
    fn batch(&self, seed: Option<u64>) -> Vec<f32> {
        let mut values = self.network.values(seed.unwrap_or(1));
        if seed.is_none() {
            values[0] = f32::NAN;
        }
        values
    }

    /// A step's loss.
    fn step(&mut self, values: &[f32]) -> Result<f64> {
        let loss = self.network.loss(&|x| self.model.forward(x), values, &self.device)?;
        self.optimizer.step(loss.backward()?)?;
        loss.item()
    }

    fn state(&self) -> (StateDict, StateDict) {
        (self.model.state_dict().expect("readable"), self.optimizer.state_dict().expect("readable"))
    }
}

/// Those whose input can be NaN.
fn trainings(device: &Device) -> impl Iterator<Item = Training<'static>> {
    static ALL: [Network; 5] = NETWORKS;
    let both = ALL.iter().filter(|network| !network.tokens).flat_map(|network| [(network, false), (network, true)]);
    let device = device.clone();
    both.map(move |(network, adam)| Training::new(network, adam, &device))
}

#[test]
fn stop_changes_nothing_and_training_can_go_on() {
    for mut training in trainings(device()) {
        let what = training.network.name;
        let mode = AnomalyMode::new(AnomalyPolicy::Stop);
        assert_eq!(mode.policy(), AnomalyPolicy::Stop);
        let (first, wrong, second) = (training.batch(Some(1)), training.batch(None), training.batch(Some(2)));
        mode.watch(|| training.step(&first)).expect("finite");
        let before = training.state();
        let Err(Error::NotFinite(found)) = mode.watch(|| training.step(&wrong)) else { panic!("{what}: a step with NaN") };
        assert_eq!(found.kind, AnomalyKind::Input, "{what}: {found}");
        assert!(training.state() == before, "{what}: the state has changed");
        mode.watch(|| training.step(&second)).expect("finite");
        let mut undisturbed = Training::new(training.network, training.optimizer.lr() < 0.01, device());
        undisturbed.step(&first).expect("finite");
        undisturbed.step(&second).expect("finite");
        assert!(training.state() == undisturbed.state(), "{what}: the next step differs");
        assert_eq!((mode.found().len(), mode.skipped()), (1, 0), "{what}");
    }
}

#[test]
fn skip_trains_as_if_the_batch_had_not_been() {
    for mut training in trainings(device()) {
        let what = training.network.name;
        let mode = AnomalyMode::new(AnomalyPolicy::Skip);
        let mut undisturbed = Training::new(training.network, training.optimizer.lr() < 0.01, device());
        for seed in [Some(1), None, Some(2), None, None, Some(3)] {
            let batch = training.batch(seed);
            let loss = mode.watch(|| training.step(&batch)).expect("no error");
            assert_eq!(loss.is_finite(), seed.is_some(), "{what}");
            if seed.is_some() {
                assert_eq!(undisturbed.step(&batch).expect("finite"), loss, "{what}");
            }
            assert!(training.state() == undisturbed.state(), "{what}: after {seed:?}");
        }
        let found = mode.found();
        assert_eq!((found.len(), mode.skipped()), (1, 3), "{what}: {found:?}");
        assert_eq!((found[0].kind, found[0].times >= 3), (AnomalyKind::Input, true), "{what}: {found:?}");
    }
}

#[test]
fn ignore_only_tells() {
    let mut training = Training::new(&NETWORKS[1], false, device());
    let mode = AnomalyMode::new(AnomalyPolicy::Ignore);
    let wrong = training.batch(None);
    assert!(mode.watch(|| training.step(&wrong)).expect("no error").is_nan());
    let (state, _) = training.state();
    assert!(state.tensors["fc.bias"].data.to_f64().iter().all(|v| v.is_nan()));
    let right = training.batch(Some(1));
    mode.watch(|| training.step(&right)).expect("no error");
    let found = mode.found();
    assert_eq!(found[0].kind, AnomalyKind::Input);
    assert!(found[1..].iter().any(|a| a.kind == AnomalyKind::Parameter && a.op == "conv2d"), "{found:?}");
    assert_eq!(mode.skipped(), 0);
}

#[test]
fn a_value_that_was_read_before_the_step_is_the_same_anomaly() {
    let w = Param::new(&upload(&[2.0, -1.0], &[2], DType::F32, device())).expect("a float");
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig::default()).expect("valid");
    let mode = AnomalyMode::new(AnomalyPolicy::Skip);
    mode.watch(|| {
        let loss = (here(line!(), w.tensor().log()).exp() * 2.0).square().sum();
        assert!(loss.item()?.is_nan());
        sgd.step(loss.backward()?)
    })
    .expect("no error");
    let found = mode.found();
    assert_eq!((found.len(), found[0].op.as_str(), mode.skipped()), (1, "log", 1), "{found:?}");
    assert!(is_here(&found[0], file!()));
    assert_eq!(w.tensor().to_vec::<f32>().expect("reads"), [2.0, -1.0]);
}

#[test]
fn a_loss_that_is_not_finite_stops_a_step_whose_gradients_are() {
    let w = Param::new(&upload(&[1.0, 2.0], &[2], DType::F32, device())).expect("a float");
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig::default()).expect("valid");
    let found = stopped(|| {
        let loss = here(line!(), (w.tensor() * 1e38).sum() * 2.0);
        sgd.step((loss).backward()?)
    });
    let found = found.expect("the loss overflows");
    assert_eq!((found.kind, found.op.as_str()), (AnomalyKind::Value, "mul"), "{found}");
    assert!(is_here(&found, file!()), "{found}");
    // So does an infinite number of the program's own.
    let found = stopped(|| {
        let loss = here(line!(), w.tensor().sum() + f64::INFINITY);
        sgd.step(loss.backward()?)
    });
    assert_eq!(found.map(|found| (found.kind, found.op)), Some((AnomalyKind::Value, "add".into())));
    assert_eq!(w.tensor().to_vec::<f32>().expect("reads"), [1.0, 2.0]);
}

#[test]
fn a_step_that_would_spoil_parameters_or_state_is_not_taken() {
    let both = devices();
    for (device, dtype, huge) in
        [(&both.fused, DType::F32, 3e38), (&both.unfused, DType::F32, 3e38), (&oracle(), DType::F64, 1e300)]
    {
        let names = ["a.weight", "b.weight"];
        let parameters: Vec<Param> = names
            .into_iter()
            .map(|name| {
                let w = Param::new(&upload(&[1.0, -2.0], &[2], dtype, device)).expect("a float");
                w.set_name(name);
                w
            })
            .collect();
        // A rate at which the second parameter overflows: coefficients are f32.
        let mut sgd = Sgd::new(&parameters, SgdConfig { lr: 3e38, ..SgdConfig::default() }).expect("valid");
        let slope = if dtype == DType::F64 { huge } else { 100.0 };
        let found = stopped(|| {
            let loss = parameters[0].tensor().sum() * 1e-3 + parameters[1].tensor().sum() * slope;
            here(line!(), sgd.step(loss.backward()?))
        });
        let found = found.expect("it overflows");
        assert_eq!((found.kind, found.op.as_str(), found.part.as_deref()), (AnomalyKind::Update, "sgd", None), "{found}");
        assert_eq!((found.parameter.as_deref(), found.layer.as_deref()), (Some("b.weight"), Some("b")), "{found}");
        assert!(is_here(&found, file!()), "{found}");
        let mut adam = Adam::new(&parameters, AdamConfig::default()).expect("valid");
        let found = stopped(|| {
            let loss = parameters[0].tensor().sum() + parameters[1].tensor().sum() * (huge / 10.0);
            adam.step(loss.backward()?)
        });
        let found = found.expect("the squares overflow");
        assert_eq!((found.kind, found.op.as_str()), (AnomalyKind::Update, "adam"), "{found}");
        assert_eq!((found.parameter.as_deref(), found.part.is_some()), (Some("b.weight"), true), "{found}");
        for w in &parameters {
            assert_eq!(w.tensor().to_host().expect("reads").to_f64(), [1.0, -2.0]);
        }
        // The same optimizer goes on.
        let loss = parameters[1].tensor().sum();
        adam.step(loss.backward().expect("a loss")).expect("steps");
        let moved = parameters[1].tensor().to_host().expect("reads").to_f64();
        assert!((moved[0] - 0.999).abs() < 1e-5 && (moved[1] + 2.001).abs() < 1e-5, "{moved:?}");
    }
}

/// A few steps of everything that a training loop may do; all bits that come of it.
fn run(device: &Device, network: &Network, watched: bool) -> Result<(Vec<u64>, Vec<StateDict>)> {
    let mode = AnomalyMode::new(AnomalyPolicy::Stop);
    let mut bits = Vec::new();
    let init = Init::new(device, 3);
    let (model, dropout) = (network.on(device), Dropout::new(0.25, &init)?);
    let mut optimizer = optimizer(true, &model.parameters()?);
    let mut scaler = LossScaler::new(device, LossScalerConfig { growth_interval: 2, ..LossScalerConfig::default() })?;
    let mut sum = GradientAccumulator::new();
    for i in 0..6 {
        let mut step = || {
            let loss = network.loss(&|x| dropout.forward(&model.forward(x)?), &network.values(i), device)?;
            match i % 3 {
                0 => {
                    bits.push(loss.item()?.to_bits());
                    let mut gradients = loss.backward()?;
                    let norm = gradients.clip_by_norm(0.5)?;
                    optimizer.step(gradients)?;
                    bits.push(norm.item()?.to_bits());
                }
                1 => {
                    let mut gradients = scaler.scale(&loss).backward()?;
                    scaler.unscale(&mut gradients)?;
                    let _ = gradients.clip_by_norm(0.5)?;
                    optimizer.step(gradients)?;
                    scaler.update()?;
                    bits.push(loss.item()?.to_bits());
                }
                _ => {
                    sum.add(&loss.backward()?)?;
                    sum.add(&loss.backward()?)?;
                    optimizer.step(sum.mean()?)?;
                    bits.push(loss.item()?.to_bits());
                }
            }
            Ok::<_, Error>(())
        };
        if watched { mode.watch(step)? } else { step()? }
    }
    bits.push(scaler.current()?.to_bits());
    assert!(mode.found().is_empty(), "{:?}", mode.found());
    Ok((bits, vec![model.state_dict()?, optimizer.state_dict()?]))
}

#[test]
fn without_an_anomaly_every_bit_is_the_same() {
    let both = devices();
    for network in NETWORKS {
        for device in [&both.fused, &both.unfused] {
            let (plain, watched) = (run(device, &network, false), run(device, &network, true));
            assert!(plain.expect("trains") == watched.expect("trains"), "{}", network.name);
        }
    }
}

#[test]
fn what_overflows_because_of_a_loss_scale_is_the_scalers_affair() {
    let train = |watched: bool, accumulates: bool| -> Result<_> {
        let model = sequential![Linear::new(4, 8, &Init::new(device(), 1))?, Relu, Linear::new(8, 1, &Init::new(device(), 2))?];
        let mut adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
        // The first scales are too large.
        let config = LossScalerConfig { init_scale: 3e38, backoff_factor: 1e-3, ..LossScalerConfig::default() };
        let mut scaler = LossScaler::new(device(), config)?;
        let x = upload(&(0..32).map(|i| f64::from(i % 7) - 3.0).collect::<Vec<_>>(), &[8, 4], DType::F32, device());
        let mode = AnomalyMode::new(AnomalyPolicy::Stop);
        let mut step = || {
            let loss = (model.forward(&x)? * 10.0).square().mean();
            let mut gradients = scaler.scale(&loss).backward()?;
            scaler.unscale(&mut gradients)?;
            if accumulates {
                let mut sum = GradientAccumulator::new();
                sum.add(&gradients)?;
                sum.add(&gradients)?;
                gradients = sum.mean()?;
            }
            adam.step(gradients)?;
            scaler.update()?;
            loss.item()
        };
        let mut losses = Vec::new();
        for _ in 0..5 {
            losses.push(if watched { mode.watch(&mut step)? } else { step()? }.to_bits());
        }
        assert!(mode.found().is_empty(), "{:?}", mode.found());
        Ok((losses, scaler.current()?.to_bits(), adam.skipped()?, model.state_dict()?))
    };
    for accumulates in [false, true] {
        let [plain, watched] = [false, true].map(|watched| train(watched, accumulates).expect("trains"));
        assert!(plain == watched, "accumulates: {accumulates}");
        assert!((1..5).contains(&plain.2), "{} steps skipped", plain.2);
    }
}

#[test]
fn a_gradient_that_no_scale_would_mend_is_found_under_a_scaler() {
    let w = Param::new(&upload(&[4.0, 0.0], &[2], DType::F32, device())).expect("a float");
    w.set_name("layer.w");
    for policy in [AnomalyPolicy::Stop, AnomalyPolicy::Skip] {
        let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig::default()).expect("valid");
        let mut scaler = LossScaler::new(device(), LossScalerConfig::default()).expect("valid");
        let mode = AnomalyMode::new(policy);
        let mut step = || {
            let loss = here(line!(), w.tensor().sqrt()).sum();
            let mut gradients = scaler.scale(&loss).backward()?;
            scaler.unscale(&mut gradients)?;
            sgd.step(gradients)?;
            scaler.update()
        };
        for _ in 0..3 {
            let outcome = mode.watch(&mut step);
            assert_eq!(outcome.is_err(), policy == AnomalyPolicy::Stop);
        }
        let found = mode.found();
        assert_eq!((found.len(), found[0].kind, found[0].op.as_str()), (1, AnomalyKind::Gradient, "sqrt"), "{found:?}");
        assert_eq!(found[0].times, 3);
        assert!(is_here(&found[0], file!()));
        assert_eq!(mode.skipped(), if policy == AnomalyPolicy::Skip { 3 } else { 0 });
        assert_eq!(w.tensor().to_vec::<f32>().expect("reads"), [4.0, 0.0]);
    }
}

#[test]
fn a_mode_is_of_its_thread_and_costs_nothing_once_it_is_off() {
    let device = open(false);
    let mut training = Training::new(&NETWORKS[1], true, &device);
    let batch = training.batch(Some(1));
    let counts = |training: &mut Training<'_>| {
        let before = device.counters();
        training.step(&batch).expect("finite");
        let after = device.counters();
        let kept = device.memory_use();
        (
            [after.dispatches - before.dispatches, after.submissions - before.submissions, after.plans - before.plans],
            kept.parameters + kept.state + kept.tensors + kept.kept,
        )
    };
    for _ in 0..2 {
        training.step(&batch).expect("finite");
    }
    let plain = counts(&mut training);
    assert_eq!(plain.0[2], 0, "a plan is compiled in each step");
    let mode = AnomalyMode::new(AnomalyPolicy::Stop);
    let watched = mode.watch(|| counts(&mut training));
    assert!(watched.0[0] > plain.0[0], "{watched:?}");
    assert_eq!(counts(&mut training), plain);
    let nan = || Tensor::full([2], f64::NAN, &device)?.exp().sum().item();
    mode.watch(|| std::thread::scope(|scope| scope.spawn(nan).join().expect("ends"))).expect("another thread's");
    assert!(mode.watch(nan).is_err());
    assert!(nan().expect("the mode is off").is_nan());
    // A panic leaves the mode, too.
    let mode = std::panic::AssertUnwindSafe(&mode);
    assert!(std::panic::catch_unwind(|| mode.watch(|| panic!("on purpose"))).is_err());
    assert!(nan().expect("the mode is off").is_nan());
}
