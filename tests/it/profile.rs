//! Profiles of steps.

use crate::common::open;
use std::collections::BTreeSet;
use std::time::Duration;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{BatchNorm1d, Dropout, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Error, Pass, Profile, Result, Tensor};

struct Run {
    model: Sequential,
    adam: Adam,
    x: Tensor,
    labels: Tensor,
}

impl Run {
    fn new(device: &Device) -> Self {
        let init = Init::new(device, 2);
        let model = Sequential::new()
            .push(Linear::new(5, 64, &init).unwrap())
            .push(BatchNorm1d::new(64, &init).unwrap())
            .push(Relu)
            .push(Dropout::new(0.5, &init).unwrap())
            .push(Linear::new(64, 3, &init).unwrap());
        let adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).unwrap();
        let data: Vec<f32> = (0..20).map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0).collect();
        let labels = Tensor::from_slice(&[0i32, 2, 1, 0], [4], device).unwrap();
        Self { model, adam, x: Tensor::from_slice(&data, [4, 5], device).unwrap(), labels }
    }

    fn step(&mut self) -> Result<f64> {
        let loss = cross_entropy(&self.model.forward(&self.x)?, &self.labels, Reduction::Mean)?;
        self.adam.step(loss.backward()?)?;
        loss.item()
    }

    /// All bits, including those of running statistics and counts of batches.
    fn state(&self) -> Vec<u64> {
        let dict = self.model.state_dict().unwrap();
        dict.tensors.values().flat_map(|t| t.data.to_f64()).map(f64::to_bits).collect()
    }
}

#[test]
fn a_profiled_step_is_the_same_step() {
    let (one, other) = (open(false), open(false));
    let (mut plain, mut profiled) = (Run::new(&one), Run::new(&other));
    other.ceilings().unwrap();
    let mut last = None;
    for n in 0..4 {
        let before = [one.counters(), other.counters()];
        let loss = plain.step().unwrap();
        let (same, profile) = other.profile(|| profiled.step()).unwrap();
        let after = [one.counters(), other.counters()];
        assert_eq!(loss.to_bits(), same.to_bits());
        assert_eq!(plain.state(), profiled.state(), "step {n}");
        let launched = [0, 1].map(|d| after[d].dispatches - before[d].dispatches);
        assert_eq!(launched[0], launched[1], "every plan runs once");
        assert_eq!(profile.launches.len() as u64, launched[1]);
        assert_eq!(profile.compiled, after[1].plans - before[1].plans);
        assert_eq!(profile.pipelines, after[1].pipelines - before[1].pipelines);
        last = Some(profile);
    }
    let profile = last.unwrap();
    assert_eq!(profile.compiled, 0, "the loop has compiled its plans");
    adds_up(&profile);
    let optimizer = profile.rows().iter().filter(|row| row.kernel == "optim_step").map(|row| row.launches).sum::<usize>();
    assert_eq!(optimizer, 1, "{profile}");
    assert!(profile.rows().iter().any(|row| row.kernel == "matmul 4x64x5" && row.flops >= 2 * 4 * 64 * 5), "{profile}");
}

/// Launches, rows, totals and the table agree.
fn adds_up(profile: &Profile) {
    let rows = profile.rows();
    assert!(!rows.is_empty());
    assert_eq!(rows.iter().map(|r| r.launches).sum::<usize>(), profile.launches.len());
    assert_eq!(rows.iter().map(|r| r.flops).sum::<u64>(), profile.flops());
    assert_eq!(rows.iter().map(|r| r.bytes).sum::<u64>(), profile.bytes());
    assert!(rows.is_sorted_by(|a, b| a.time >= b.time));
    assert_eq!(profile.launches.iter().map(|l| l.run).max(), Some(profile.runs - 1));
    assert_eq!(profile.launches.iter().map(|l| l.plan).max(), Some(profile.plans - 1));
    if let Some(time) = profile.time() {
        assert_eq!(rows.iter().filter_map(|r| r.time).sum::<Duration>(), time);
        assert!(time > Duration::ZERO && time <= profile.wall, "{time:?} of {:?}", profile.wall);
    }
    let layers = profile.layers();
    assert_eq!(layers.iter().map(|r| r.launches).sum::<usize>(), profile.launches.len());
    assert_eq!(layers.iter().map(|r| r.flops).sum::<u64>(), profile.flops());
    assert_eq!(layers.iter().map(|r| r.bytes).sum::<u64>(), profile.bytes());
    assert!(layers.is_sorted_by(|a, b| a.time >= b.time));
    let text = profile.to_string();
    let (kernels, rest) = text.split_once("\n\n").unwrap_or_else(|| panic!("{text}"));
    let (kernels, rest): (Vec<&str>, Vec<&str>) = (kernels.lines().collect(), rest.lines().collect());
    for (table, count) in [(&kernels[..], rows.len()), (&rest[..rest.len().min(layers.len() + 2)], layers.len())] {
        assert_eq!(table.len(), count + 2, "{text}");
        let width = table[0].chars().count();
        assert!(table.iter().all(|line| line.chars().count() == width), "{text}");
        assert!(table[count + 1].starts_with("total"), "{text}");
    }
    assert!(kernels[1].starts_with(&rows[0].kernel), "{text}");
    assert_eq!(rest.len(), layers.len() + 3 + usize::from(profile.ceilings.is_some()), "{text}");
    assert_eq!(text.contains("\nceilings: "), profile.ceilings.is_some(), "{text}");
    assert!(rest[rest.len() - 1].contains(&profile.device), "{text}");
    let trace: serde_json::Value = serde_json::from_str(&profile.to_chrome_trace()).unwrap();
    let events: Vec<_> = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X").collect();
    assert_eq!(events.len(), profile.launches.len());
    for (event, launch) in events.iter().zip(&profile.launches) {
        assert_eq!((event["name"].as_str(), event["args"]["layer"].as_str()), (Some(&*launch.kernel), Some(&*launch.layer)));
    }
    assert!(
        events.is_sorted_by(|a, b| a["ts"].as_f64().unwrap() + a["dur"].as_f64().unwrap() <= b["ts"].as_f64().unwrap() + 1e-3)
    );
}

#[test]
fn launches_name_their_layers_and_passes() {
    let device = open(false);
    let mut run = Run::new(&device);
    run.step().unwrap();
    let (_, profile) = device.profile(|| run.step()).unwrap();
    let found: BTreeSet<(String, Pass)> = profile.layers().into_iter().map(|row| (row.layer, row.pass)).collect();
    for layer in ["0", "1", "4"] {
        assert!(found.contains(&(layer.into(), Pass::Forward)), "{profile}");
        assert!(found.contains(&(layer.into(), Pass::Backward)), "{profile}");
    }
    assert!(found.iter().all(|(layer, _)| ["", "0", "1", "4"].contains(&&**layer)), "{profile}");
    let of = |kernel: &str| -> BTreeSet<(&str, Pass)> {
        profile.launches.iter().filter(|l| l.kernel == kernel).map(|l| (&*l.layer, l.pass)).collect()
    };
    assert_eq!(of("matmul 4x64x5"), [("0", Pass::Forward)].into(), "{profile}");
    assert_eq!(of("matmul 4x3x64"), [("4", Pass::Forward)].into(), "{profile}");
    assert_eq!(of("matmul 4x64x3"), [("4", Pass::Backward)].into(), "{profile}");
    assert_eq!(of("matmul 64x5x4"), [("0", Pass::Backward)].into(), "{profile}");
    assert_eq!(of("optim_step"), [("", Pass::Step)].into(), "{profile}");
}

#[test]
fn passes_of_separate_evaluations_are_told_apart() {
    let device = open(true);
    let layer = Linear::new(3, 2, &Init::new(&device, 0)).unwrap();
    layer.named_parameters().unwrap();
    let outer = Sequential::new().push_named("inner", layer).push(Relu);
    outer.named_parameters().unwrap();
    let x = Tensor::ones([4, 3], &device).unwrap();
    x.eval().unwrap();
    let work = || {
        let loss = outer.forward(&x)?.sum();
        loss.eval()?;
        loss.backward()?.eval()
    };
    let ((), profile) = device.profile(work).unwrap();
    let passes: Vec<(usize, Pass)> = profile.launches.iter().map(|l| (l.run, l.pass)).collect();
    assert!(passes.iter().all(|&(run, pass)| pass == if run == 0 { Pass::Forward } else { Pass::Backward }), "{profile}");
    assert!(profile.launches.iter().all(|l| l.layer == "inner"), "{profile}");
}

#[test]
fn ceilings_are_measured_once() {
    let device = open(false);
    let first = device.ceilings().unwrap();
    let plans = device.counters().plans;
    assert_eq!(device.ceilings().unwrap(), first);
    let (_, profile) = device.profile(|| Tensor::ones([2], &device)?.eval()).unwrap();
    assert_eq!(profile.ceilings, first);
    assert!(device.counters().plans <= plans + 1);
    if let Some(ceilings) = first {
        assert!(ceilings.flops > 1e6 && ceilings.bytes > 1e6, "{ceilings:?}");
    }
}

#[test]
fn a_profile_ends_with_its_closure_however_that_ends() {
    let device = open(false);
    let x = Tensor::ones([8, 8], &device).unwrap();
    let twice = device.profile(|| device.profile(|| Ok(())).map(drop));
    let message = twice.unwrap_err().to_string();
    let expected = format!("the device is being profiled already; help: end one profile before the next begins (at {}:", file!());
    assert!(message.starts_with(&format!("[profile] {expected}")), "{message}");
    let failed = device.profile(|| x.matmul(&x.reshape([4, 16])).eval());
    assert!(matches!(failed, Err(Error::Op(_))), "{failed:?}");
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.profile(|| -> Result<()> { panic!("on purpose") })));
    assert!(panicked.is_err());
    (&x + 1.0).eval().unwrap();
    let (sum, profile) = device.profile(|| x.matmul(&x).sum().item()).unwrap();
    assert_eq!(sum, 512.0);
    assert_eq!(profile.runs, 1);
    assert!(profile.to_string().contains("\n1 run of 1 plan ("), "{profile}");
    adds_up(&profile);
    let (_, idle) = device.profile(|| Ok(())).unwrap();
    assert_eq!((idle.launches.len(), idle.runs, idle.time()), (0, 0, None));
    assert!(idle.to_string().contains("0 runs of 0 plans"), "{idle}");
}
