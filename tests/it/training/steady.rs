//! The loop of the `mnist` example: augmentation, dropout, metrics and Adam in one plan and one submission per step.

use crate::common::open;
use wgrad::DeviceKind;
use wgrad::data::transforms::{AffineConfig, Compose, Normalize, RandomAffine, Transform};
use wgrad::data::{DataLoader, LabelledImages};
use wgrad::nn::loss::{Reduction, accuracy, cross_entropy};
use wgrad::nn::{Conv2d, ConvOptions, Dropout, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Schedule};
use wgrad::train::Meter;

const STEPS: u64 = 10;

#[test]
fn a_step_with_augmentation_and_metrics_is_one_submission() {
    steady(false);
}

/// Each batch has a generator of its own, which makes no new plan, since draws are data.
#[test]
fn a_step_with_augmentation_in_the_loader_is_one_submission() {
    steady(true);
}

fn steady(in_loader: bool) {
    let device = open(false);
    let pixels = (0..40 * 64).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect();
    let data = LabelledImages::new([1, 8, 8], pixels, (0..40).map(|i| i % 3).collect()).unwrap();
    let init = Init::new(&device, 1);
    let model = Sequential::new()
        .push(Conv2d::with(1, 4, 3, ConvOptions { padding: [1, 1], ..ConvOptions::default() }, &init).unwrap())
        .push(Relu)
        .push(MaxPool2d::new(2))
        .push(Flatten)
        .push(Dropout::new(0.3, &init).unwrap())
        .push(Linear::new(64, 3, &init).unwrap());
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).unwrap();
    let normalize = Normalize::new(&[0.5], &[0.3], &device).unwrap();
    let augment = RandomAffine::new(AffineConfig::default(), [8, 8], &device).unwrap();
    let augment = Compose::new().push(augment).push(normalize);
    let schedule = Schedule::Cosine { base: 1e-2, warmup: 2, total: 20, floor: 0.1 };
    let loader = DataLoader::new(data, 8, &device).unwrap().shuffle(true).seed(3).drop_last(true);
    let loader = if in_loader { loader.with_transform(augment.clone()) } else { loader };
    let (mut loss, mut hits) = (Meter::new(), Meter::new());
    let mut before = None;
    for (step, batch) in (0..4).flat_map(|_| &loader).take(STEPS as usize + 2).enumerate() {
        if step == 2 {
            device.flush().unwrap();
            before = Some(device.counters());
        }
        let (x, y) = batch.unwrap();
        let x = if in_loader { x } else { augment.apply(&x, &init.generator).unwrap() };
        let logits = model.forward(&x).unwrap();
        let batch_loss = cross_entropy(&logits, &y, Reduction::Mean).unwrap();
        loss.push(&batch_loss, 8.0).unwrap();
        hits.push(&accuracy(&logits, &y).unwrap(), 8.0).unwrap();
        adam.set_lr(schedule.lr(step));
        adam.step(batch_loss.backward().unwrap()).unwrap();
    }
    let (before, after) = (before.unwrap(), device.counters());
    assert_eq!(after.plans, before.plans, "plans");
    assert_eq!(after.pipelines, before.pipelines, "pipelines");
    if device.kind() != DeviceKind::Cpu {
        assert_eq!(after.submissions - before.submissions, STEPS, "submissions");
    }
    assert!(loss.mean().unwrap().is_finite() && hits.mean().unwrap() <= 1.0);
    assert_eq!(device.counters().plans, after.plans, "reading metrics compiles nothing");
}
