//! Schedules against PyTorch's, accumulation, averages, early stopping, splits, and which parameters decay.

use crate::common::{device, fixture, host, near, values};
use wgrad::io::StateDict;
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{
    AdamWConfig, Ema, GradientAccumulator, PlateauConfig, PlateauMode, ReduceOnPlateau, Schedule, Threshold, split_decay,
};
use wgrad::train::{EarlyStopping, EarlyStoppingConfig};
use wgrad::{Param, Tensor, data};

#[test]
fn schedules_agree_with_pytorch() {
    let dict = fixture("schedules.safetensors");
    let base = 0.1;
    let one = |total, rise, div, final_div, linear: bool| Schedule::OneCycle {
        max: 0.5,
        total,
        rise,
        div,
        final_div,
        cosine: !linear,
        three_phase: linear,
    };
    let rows = [
        ("constant", Schedule::Constant { base }),
        ("step", Schedule::Step { base, every: 4, gamma: 0.5 }),
        ("multi_step", Schedule::MultiStep { base, milestones: vec![8, 3, 3], gamma: 0.5 }),
        ("exponential", Schedule::Exponential { base, gamma: 0.9 }),
        ("linear", Schedule::Linear { base, start: 0.25, end: 0.75, steps: 8 }),
        ("polynomial", Schedule::Polynomial { base, steps: 8, power: 2.0 }),
        ("cosine", Schedule::Cosine { base, warmup: 0, total: 15, floor: 0.1 }),
        ("restarts", Schedule::CosineRestarts { base, period: 5, growth: 1, floor: 0.1 }),
        ("restarts_growing", Schedule::CosineRestarts { base, period: 3, growth: 2, floor: 0.0 }),
        ("one_cycle", one(20, 0.3, 25.0, 1e4, false)),
        ("one_cycle_linear", one(25, 0.4, 10.0, 100.0, true)),
        (
            "joined",
            Schedule::Joined {
                parts: vec![
                    (5, Schedule::Linear { base, start: 0.1, end: 1.0, steps: 5 }),
                    (7, Schedule::Exponential { base, gamma: 0.9 }),
                    (0, Schedule::Step { base, every: 2, gamma: 0.5 }),
                ],
            },
        ),
    ];
    for (name, schedule) in rows {
        let schedule = schedule.validate().unwrap();
        let expected = host(&dict, name).data.to_f64();
        let found: Vec<f64> = (0..expected.len()).map(|t| schedule.lr(t)).collect();
        near(name, &found, &expected, 1e-9);
    }
}

#[test]
fn plateaus_agree_with_pytorch_and_resume() {
    let dict = fixture("schedules.safetensors");
    let max = PlateauConfig {
        mode: PlateauMode::Max,
        patience: 0,
        factor: 0.3,
        threshold: Threshold::Absolute(0.01),
        cooldown: 2,
        min_lr: 0.002,
        ..PlateauConfig::default()
    };
    let metrics = host(&dict, "plateau.metrics").data.to_f64();
    for (name, config) in [("min", PlateauConfig { patience: 1, factor: 0.5, ..PlateauConfig::default() }), ("max", max)] {
        let mut schedule = ReduceOnPlateau::new(0.1, config).unwrap();
        let mut found = Vec::new();
        for &metric in &metrics {
            found.push(schedule.step(metric));
            let mut resumed = ReduceOnPlateau::new(0.7, config).unwrap();
            resumed.load_state_dict(&schedule.state_dict()).unwrap();
            schedule = resumed;
        }
        near(name, &found, &host(&dict, &format!("plateau.{name}")).data.to_f64(), 1e-9);
    }
    let rows = [
        ("factor is 1", PlateauConfig { factor: 1.0, ..max }),
        ("threshold is -1", PlateauConfig { threshold: Threshold::Relative(-1.0), ..max }),
        ("min_lr is NaN", PlateauConfig { min_lr: f64::NAN, ..max }),
    ];
    for (expected, config) in rows {
        let error = ReduceOnPlateau::new(0.1, config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(ReduceOnPlateau::new(0.1, max).unwrap().load_state_dict(&StateDict::new()).is_err());
}

#[test]
fn accumulated_batches_give_the_whole_batchs_gradient() {
    let w = Param::new(&Tensor::ones(3, device()).unwrap()).unwrap();
    let mut sum = GradientAccumulator::new();
    assert!(sum.mean().is_err());
    for factor in [1.0, 2.0, 6.0] {
        sum.add(&(w.tensor() * factor).sum().backward().unwrap()).unwrap();
    }
    assert_eq!(sum.batches(), 3);
    assert_eq!(values(&sum.mean().unwrap().get(&w).unwrap()), [3.0; 3]);
    assert_eq!(sum.batches(), 0);
}

#[test]
fn averages_follow_swap_and_resume() {
    let w = Param::new(&Tensor::ones(2, device()).unwrap()).unwrap();
    let mut ema = Ema::new(std::slice::from_ref(&w), 0.75).unwrap();
    w.set(&Tensor::full(2, 5.0, device()).unwrap()).unwrap();
    ema.update().unwrap();
    assert_eq!(values(&ema.averages()[0]), [2.0; 2]);
    let saved = ema.state_dict().unwrap();
    ema.swap().unwrap();
    assert_eq!((values(&w.tensor()), values(&ema.averages()[0])), (vec![2.0; 2], vec![5.0; 2]));
    assert!(ema.update().is_err() && ema.state_dict().is_err());
    ema.swap().unwrap();
    assert_eq!(values(&w.tensor()), [5.0; 2]);
    let mut other = Ema::new(std::slice::from_ref(&w), 0.5).unwrap();
    other.load_state_dict(&saved).unwrap();
    ema.update().unwrap();
    other.update().unwrap();
    assert_eq!(values(&other.averages()[0]), [2.75; 2]);
    assert_eq!(values(&ema.averages()[0]), [2.75; 2]);
    for decay in [-0.1, 1.0, f64::NAN] {
        assert!(Ema::new(std::slice::from_ref(&w), decay).is_err(), "{decay}");
    }
    assert!(Ema::new(&[], 0.5).is_err() && other.load_state_dict(&StateDict::new()).is_err());
}

#[test]
fn stopping_keeps_the_best_weights() {
    let model = Linear::new(2, 1, &Init::new(device(), 0)).unwrap();
    let config = EarlyStoppingConfig { patience: 1, min_delta: 0.1, ..EarlyStoppingConfig::default() };
    let mut stopping = EarlyStopping::new(config).unwrap();
    assert!(stopping.restore(&model).is_err());
    let first = model.parameters().unwrap().remove(0);
    let put = |value: f64| first.set(&Tensor::full([1, 2], value, device()).unwrap()).unwrap();
    // Per epoch: the metric, and whether to stop.
    for (epoch, (metric, stop)) in [(1.0, false), (0.5, false), (0.45, false), (f64::NAN, true)].into_iter().enumerate() {
        put(epoch as f64);
        assert_eq!(stopping.observe(metric, &model).unwrap(), stop, "epoch {epoch}");
        let mut resumed = EarlyStopping::new(config).unwrap();
        resumed.load_state_dict(&stopping.state_dict()).unwrap();
        assert_eq!(resumed, stopping);
    }
    assert_eq!(stopping.best(), Some((2, 0.5)));
    stopping.restore(&model).unwrap();
    assert_eq!(values(&first.tensor()), [1.0; 2]);
    assert!(EarlyStopping::new(EarlyStoppingConfig { min_delta: -1.0, ..config }).is_err());
    assert!(stopping.load_state_dict(&StateDict::new()).is_err());
}

#[test]
fn few_samples_of_each_class_are_drawn() {
    let labels: Vec<i32> = (0..60).map(|i| [4, -1, 7][i % 3]).collect();
    let drawn = data::draw_per_class(&labels, 5, 3).unwrap();
    for class in [4, -1, 7] {
        assert_eq!(drawn.iter().filter(|&&i| labels[i] == class).count(), 5, "class {class}");
    }
    assert!(drawn.is_sorted_by(|a, b| a < b), "{drawn:?}");
    assert_eq!(data::draw_per_class(&labels, 5, 3).unwrap(), drawn);
    assert_ne!(data::draw_per_class(&labels, 5, 4).unwrap(), drawn);
    assert_eq!(data::draw_per_class(&labels, 20, 0).unwrap(), (0..60).collect::<Vec<_>>());
    let rows = [(0, "at least 1"), (21, "class -1 has 20 samples and 21 were asked for")];
    for (count, expected) in rows {
        let error = data::draw_per_class(&labels, count, 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn biases_do_not_decay() {
    let model = Linear::new(3, 2, &Init::new(device(), 0)).unwrap();
    let config = AdamWConfig::default();
    let groups = split_decay(&model, config, AdamWConfig { weight_decay: 0.0, ..config }).unwrap();
    let shapes: Vec<Vec<usize>> = groups.iter().flat_map(|g| &g.params).map(|p| p.shape().to_vec()).collect();
    assert_eq!(shapes, [vec![2, 3], vec![2]]);
    assert_eq!(groups[1].config.weight_decay, 0.0);
}
