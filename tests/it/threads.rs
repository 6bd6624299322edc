//! One model, many threads: reads, evaluations, saves and steps at any time see only whole steps.

use crate::common::open;
use std::any::Any;
use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wgrad::io::StateDict;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{BatchNorm1d, Init, Linear, Module, Relu, Sequential, evaluating};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{Device, Param, Result, Tensor};

/// How long threads disturb each other: 2 seconds, or as many as `WGRAD_TEST_SECONDS` says.
fn duration() -> Duration {
    let seconds = std::env::var("WGRAD_TEST_SECONDS").map_or(2, |s| s.parse().expect("WGRAD_TEST_SECONDS is a number"));
    Duration::from_secs(seconds)
}

/// Runs bodies over and over, each in a thread of its own, until time is up or one fails; returns how often each ran.
fn together(bodies: &[(&str, &(dyn Fn() -> Result<()> + Sync))]) -> Vec<u64> {
    let (stop, counts): (AtomicBool, Vec<AtomicU64>) =
        (AtomicBool::new(false), bodies.iter().map(|_| AtomicU64::new(0)).collect());
    let errors = Mutex::new(Vec::new());
    let end = Instant::now() + duration();
    std::thread::scope(|scope| {
        for ((name, body), count) in bodies.iter().zip(&counts) {
            let (stop, errors) = (&stop, &errors);
            scope.spawn(move || {
                while !stop.load(Relaxed) && Instant::now() < end {
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                    let wrong = match outcome {
                        Ok(Ok(())) => {
                            count.fetch_add(1, Relaxed);
                            continue;
                        }
                        Ok(Err(error)) => format!("{name}: {error}"),
                        Err(_) => format!("{name} panicked"),
                    };
                    errors.lock().unwrap().push(wrong);
                    stop.store(true, Relaxed);
                }
            });
        }
    });
    let errors = errors.into_inner().unwrap();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let counts: Vec<u64> = counts.into_iter().map(AtomicU64::into_inner).collect();
    assert!(counts.iter().all(|&n| n > 0), "a thread never finished a run: {counts:?}");
    counts
}

/// Steps of two optimizers that subtract 1 from every element: between two steps all elements are equal.
#[test]
fn two_steppers_four_readers_a_saver_and_an_evaluator_share_a_model() {
    let device = open(false);
    let filled = |n: usize| Param::new(&Tensor::full([n], 0.0, &device).unwrap()).unwrap();
    struct Row([Param; 4]);
    impl Module for Row {
        fn forward(&self, x: &Tensor) -> Result<Tensor> {
            let sums = self.0.iter().map(|p| p.tensor().max());
            Ok(sums.fold(x.clone(), |all, largest| all + largest))
        }
        fn fields(&self, fields: &mut wgrad::nn::Fields) {
            self.0.iter().enumerate().for_each(|(i, p)| fields.parameter(&i.to_string(), p));
        }
    }
    let model = Row([filled(5), filled(64), filled(1000), filled(3)]);
    let zero = Tensor::full([], 0.0, &device).unwrap();
    let sum = |p: &Param| p.tensor().sum();
    let optimizers: Vec<Mutex<Sgd>> =
        (0..2).map(|_| Mutex::new(Sgd::new(&model.0, SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap())).collect();
    let step = |n: usize, read_first: bool| {
        let loss = model.0.iter().map(sum).reduce(|a, b| a + b).unwrap();
        if read_first {
            loss.item()?;
        }
        let gradients = loss.backward()?;
        optimizers[n].lock().unwrap().step(gradients)
    };
    let same = |values: &[f32], what: &str| {
        assert!(values.iter().all(|v| v.to_bits() == values[0].to_bits()) && values[0] <= 0.0, "{what}: {values:?}");
        Ok(())
    };
    let read = || same(&model.0[2].tensor().to_vec::<f32>()?, "a read");
    let derived = || same(&(model.0[1].tensor() * 2.0).to_vec::<f32>()?, "a result");
    let forward = || model.forward(&zero)?.item().map(drop);
    let snapshot = || {
        let snapshot = model.snapshot();
        let largest = || model.0.iter().map(|p| p.tensor().max().item().map(|v| v as f32)).collect::<Result<Vec<f32>>>();
        same(&snapshot.read(largest)?, "a snapshot")?;
        same(&snapshot.read(largest)?, "the same snapshot, later")
    };
    let save = || {
        let dict = model.state_dict()?;
        let all: Vec<f32> = dict.tensors.values().flat_map(|t| t.data.to_f64()).map(|v| v as f32).collect();
        same(&all, "a state dict")
    };
    let evaluate = || {
        let sum = evaluating(&model, || model.forward(&zero))?.item()?;
        assert_eq!(sum % 4.0, 0.0, "an evaluation");
        Ok(())
    };
    let counts = together(&[
        ("stepper", &|| step(0, false)),
        ("stepper that reads its loss", &|| step(1, true)),
        ("reader", &read),
        ("reader of a result", &derived),
        ("reader of a forward pass", &forward),
        ("reader of a snapshot", &snapshot),
        ("saver", &save),
        ("evaluator", &evaluate),
    ]);
    let steps = (counts[0] + counts[1]) as f32;
    device.flush().unwrap();
    println!("{counts:?}, {:?}", device.counters());
    assert_eq!(model.0[0].tensor().to_vec::<f32>().unwrap(), [-steps; 5], "every step of both counts, once");
    drop(optimizers);
    assert_eq!(device.counters().bytes_kept, 0, "old contents are freed with their last reader");
}

fn network(device: &Device) -> Sequential {
    let init = Init::new(device, 3);
    Sequential::new()
        .push(Linear::new(6, 8, &init).unwrap())
        .push(BatchNorm1d::new(8, &init).unwrap())
        .push(Relu)
        .push(Linear::new(8, 3, &init).unwrap())
}

struct Training {
    model: Sequential,
    adam: Mutex<(Adam, usize)>,
    x: Tensor,
    labels: Tensor,
}

impl Training {
    fn new(device: &Device) -> Self {
        let model = network(device);
        let adam = Adam::new(&model.parameters().unwrap(), AdamConfig { lr: 0.01, ..AdamConfig::default() }).unwrap();
        let data: Vec<f32> = (0..4 * 6).map(|i| (i * 37 % 17) as f32 / 8.0 - 1.0).collect();
        let x = Tensor::from_slice(&data, [4, 6], device).unwrap();
        let labels = Tensor::from_slice(&[0i32, 1, 2, 0], [4], device).unwrap();
        Self { model, adam: Mutex::new((adam, 0)), x, labels }
    }

    fn step(&self) -> Result<()> {
        let mut adam = self.adam.lock().unwrap();
        let x = &self.x * (1.0 + adam.1 as f64 / 16.0);
        let loss = cross_entropy(&self.model.forward(&x)?, &self.labels, Reduction::Mean)?;
        if adam.1.is_multiple_of(3) {
            loss.item()?;
        }
        adam.0.step(loss.backward()?)?;
        adam.1 += 1;
        Ok(())
    }

    fn bits(&self, dict: &StateDict) -> Vec<u64> {
        dict.tensors.values().flat_map(|t| t.data.to_f64()).map(f64::to_bits).collect()
    }

    fn output(&self) -> Result<Vec<f32>> {
        evaluating(&self.model, || self.model.forward(&self.x))?.to_vec()
    }
}

/// Running statistics and the count of batches are part of a step: savers and evaluators see, to the bit, the state after some
/// step of a run without them.
#[test]
fn what_is_saved_beside_training_is_the_state_after_some_step() {
    const STEPS: usize = 60;
    let device = open(false);
    let alone = Training::new(&device);
    let (mut states, mut outputs) = (Vec::new(), Vec::new());
    for n in 0..=STEPS {
        if n > 0 {
            alone.step().unwrap();
        }
        states.push(alone.bits(&alone.model.state_dict().unwrap()));
        outputs.push(alone.output().unwrap());
    }
    let run = Training::new(&device);
    let step = || {
        if run.adam.lock().unwrap().1 < STEPS {
            run.step()?;
        }
        std::thread::yield_now();
        Ok(())
    };
    let save = || {
        assert!(states.contains(&run.bits(&run.model.state_dict()?)), "a state between two steps");
        Ok(())
    };
    let evaluate = || {
        assert!(outputs.contains(&run.output()?), "an output between two steps");
        Ok(())
    };
    together(&[("stepper", &step), ("saver", &save), ("saver", &save), ("evaluator", &evaluate), ("evaluator", &evaluate)]);
    while run.adam.lock().unwrap().1 < STEPS {
        run.step().unwrap();
    }
    assert_eq!(run.bits(&run.model.state_dict().unwrap()), states[STEPS], "nobody disturbed the run");
}

thread_local! {
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Variables of a thread that hold the last of a device are dropped after those of the driver's library, which it has used later.
#[test]
fn a_thread_may_end_with_the_last_of_a_device() {
    type Keep = fn(&Device) -> Box<dyn Any>;
    let keeps: [(&str, Keep); 5] = [
        ("a device", |device| Box::new(device.clone())),
        ("a value", |device| {
            let x = Tensor::ones([300], device).expect("uploads");
            x.eval().expect("runs");
            Box::new(x)
        }),
        ("what is not computed", |device| Box::new(Tensor::ones([300], device).expect("uploads") * 2.0)),
        ("a value on its way", |device| Box::new(Tensor::ones([300], device).expect("uploads").read_later().expect("starts"))),
        ("a parameter with an assignment", |device| {
            let param = Param::new(&Tensor::ones([300], device).expect("uploads")).expect("valid");
            param.set(&(param.tensor() * 2.0)).expect("assigns");
            Box::new(param)
        }),
    ];
    for (what, keep) in keeps {
        let ended = std::thread::spawn(move || {
            // From here on the variable has to be dropped.
            KEPT.with(|kept| assert!(kept.borrow().is_none()));
            let device = open(false);
            assert_eq!(Tensor::ones([4], &device).expect("uploads").sum().item().expect("runs"), 4.0);
            KEPT.set(Some(keep(&device)));
        });
        ended.join().unwrap_or_else(|_| panic!("{what}"));
    }
}
