//! The steady state of a training loop: nothing is compiled, created or leaked; reruns agree bit for bit.

use crate::common::{Noise, open, upload, values};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{BatchNorm2d, Conv2d, ConvOptions, Dropout, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{DType, Device, DeviceKind, Tensor};

fn model(device: &Device) -> Sequential {
    let init = Init::new(device, 1);
    let same = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
    Sequential::new()
        .push(Conv2d::with(1, 4, 3, same, &init).expect("valid"))
        .push(BatchNorm2d::new(4, &init).expect("valid"))
        .push(Relu)
        .push(MaxPool2d::new(2))
        .push(Conv2d::with(4, 8, 3, same, &init).expect("valid"))
        .push(Relu)
        .push(MaxPool2d::new(2))
        .push(Flatten)
        .push(Dropout::new(0.25, &init).expect("valid"))
        .push(Linear::new(8 * 3 * 3, 10, &init).expect("valid"))
}

struct Loop {
    device: Device,
    model: Sequential,
    optimizer: Adam,
    noise: Noise,
}

impl Loop {
    fn new() -> Self {
        let device = open(false);
        let model = model(&device);
        let optimizer = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).expect("valid");
        Self { device, model, optimizer, noise: Noise(3) }
    }

    /// One step on fresh host data, as a loader gives it.
    fn step(&mut self) -> Tensor {
        let pixels = self.noise.values(6 * 12 * 12, 0.0, 1.0);
        let x = upload(&pixels, &[6, 1, 12, 12], DType::F32, &self.device);
        let y = Tensor::from_slice(&[0i32, 1, 2, 3, 4, 9], [6], &self.device).expect("valid");
        let loss = cross_entropy(&self.model.forward(&x).expect("valid"), &y, Reduction::Mean).expect("valid");
        self.optimizer.step(loss.backward().expect("differentiable")).expect("steps");
        loss
    }
}

#[test]
fn after_the_second_step_nothing_is_compiled_or_created() {
    let mut run = Loop::new();
    for _ in 0..2 {
        let _ = run.step();
    }
    run.device.flush().expect("idle");
    let before = run.device.counters();
    for _ in 0..8 {
        let _ = run.step();
    }
    let after = run.device.counters();
    assert_eq!(after.plans, before.plans, "plans");
    assert_eq!(after.pipelines, before.pipelines, "pipelines");
    assert_eq!(after.bind_groups, before.bind_groups, "bind groups");
    assert_eq!(after.buffers, before.buffers, "buffers");
    if run.device.kind() != DeviceKind::Cpu {
        assert_eq!(after.submissions - before.submissions, 8, "one submission per step");
    }
}

#[test]
fn live_bytes_are_flat_from_step_3_to_step_1000() {
    let mut run = Loop::new();
    let mut at_3 = 0;
    for step in 1..=1000 {
        let _ = run.step();
        if step == 3 {
            at_3 = run.device.counters().bytes_live;
        }
    }
    assert_eq!(run.device.counters().bytes_live, at_3);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let run = || {
        let mut run = Loop::new();
        let losses: Vec<f64> = (0..12).map(|_| run.step().item().expect("a scalar")).collect();
        let weights: Vec<Vec<f64>> = run.model.parameters().unwrap().iter().map(|p| values(&p.tensor())).collect();
        (losses, weights)
    };
    let first = run();
    assert!(first.0[11] < first.0[0], "the loss falls: {:?}", first.0);
    assert_eq!(run(), first);
}

#[test]
fn a_held_loss_and_logits_keep_their_values_across_steps() {
    let mut run = Loop::new();
    let first = run.step();
    let value = first.item().expect("a scalar");
    for _ in 0..3 {
        let _ = run.step();
    }
    assert_eq!(first.item().expect("a scalar"), value);
}
