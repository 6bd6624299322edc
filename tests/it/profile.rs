//! Profiles of steps.

use crate::common::open;
use std::time::Duration;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{BatchNorm1d, Dropout, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{Device, Error, Profile, Result, Tensor};

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
    let table = profile.to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), rows.len() + 3, "{table}");
    let width = lines[0].chars().count();
    assert!(lines[..rows.len() + 2].iter().all(|line| line.chars().count() == width), "{table}");
    assert!(lines[1].starts_with(&rows[0].kernel), "{table}");
    assert!(lines[rows.len() + 1].starts_with("total"), "{table}");
    assert!(lines[rows.len() + 2].contains(&profile.device), "{table}");
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
