//! What handles keep across a step, and what costs nothing.

use crate::common::open;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{ResNet, ResNetConfig};
use wgrad::nn::{BatchNorm1d, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{Device, Param, Result, Tensor};
#[cfg(target_pointer_width = "64")]
use wgrad::{Gradients, no_grad};

struct Run {
    model: Sequential,
    sgd: Sgd,
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
            .push(Linear::new(64, 3, &init).unwrap());
        let sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig { lr: 0.1, momentum: 0.5, ..SgdConfig::default() }).unwrap();
        let data: Vec<f32> = (0..20).map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0).collect();
        let labels = Tensor::from_slice(&[0i32, 2, 1, 0], [4], device).unwrap();
        Self { model, sgd, x: Tensor::from_slice(&data, [4, 5], device).unwrap(), labels }
    }

    fn forward(&self) -> Result<(Tensor, Tensor)> {
        let logits = self.model.forward(&self.x)?;
        let loss = cross_entropy(&logits, &self.labels, Reduction::Mean)?;
        Ok((logits, loss))
    }

    fn state(&self) -> Vec<u64> {
        let dict = self.model.state_dict().unwrap();
        dict.tensors.values().flat_map(|t| t.data.to_f64()).map(f64::to_bits).collect()
    }
}

/// Reading the loss and the outputs before `backward`, after it or after the step gives the same, and so does the step.
#[test]
fn values_are_the_same_wherever_they_are_read() {
    let device = open(false);
    let read = |logits: &Tensor, loss: &Tensor| (logits.to_vec::<f32>().unwrap(), loss.item().unwrap());
    let near = |a: &(Vec<f32>, f64), b: &(Vec<f32>, f64)| {
        (a.1 - b.1).abs() < 1e-5 && a.0.iter().zip(&b.0).all(|(a, b)| (a - b).abs() < 1e-5)
    };
    let mut first = None;
    for place in ["before backward", "after backward", "gradients too", "after the step"] {
        let mut run = Run::new(&device);
        let mut values = Vec::new();
        for _ in 0..3 {
            let (logits, loss) = run.forward().unwrap();
            let early = (place == "before backward").then(|| read(&logits, &loss));
            let gradients = loss.backward().unwrap();
            if place == "gradients too" {
                gradients.eval().unwrap();
            }
            let middle = place.starts_with("after b").then(|| read(&logits, &loss));
            run.sgd.step(gradients).unwrap();
            if place == "after the step" {
                assert_eq!(device.counters().bytes_kept, 0, "the step computes what is read");
                let before = device.counters().dispatches;
                let late = read(&logits, &loss);
                assert!(device.counters().dispatches - before <= 3, "no second forward pass");
                values.push(late);
            } else {
                values.push(early.or(middle).unwrap_or_else(|| read(&logits, &loss)));
            }
        }
        let first = first.get_or_insert_with(|| values.clone());
        assert!(first.iter().zip(&values).all(|(a, b)| near(a, b)), "{place}: {first:?}, {values:?}");
    }
}

/// A value that is in scope and never read costs no memory, and can still be read.
#[test]
fn what_nobody_reads_is_not_computed() {
    let device = open(false);
    let (n, m) = (2048usize, 512usize);
    let x = Tensor::iota(n, wgrad::DType::I32, &device).unwrap().cast(wgrad::DType::F32).eval_now();
    let w = Param::new(&Tensor::full([m], 3.0, &device).unwrap()).unwrap();
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 1e-6, ..SgdConfig::default() }).unwrap();
    let mut step = || {
        let pairs = x.reshape([n, 1]) - w.tensor().unsqueeze(0);
        let loss = pairs.sum();
        sgd.step(loss.backward().unwrap()).unwrap();
        (pairs, loss)
    };
    drop(step());
    let old = w.tensor().to_vec::<f32>().unwrap()[0];
    let before = device.counters();
    let (pairs, loss) = step();
    let after = device.counters();
    assert!(after.bytes_live - before.bytes_live < 1 << 20, "{before:?} {after:?}: the pairs take {} bytes", n * m * 4);
    assert_eq!(after.bytes_kept, 4 * m as u64, "one copy of the old values");
    let values = pairs.to_vec::<f32>().unwrap();
    assert!(values.iter().enumerate().all(|(i, v)| *v == (i / m) as f32 - old), "the values from before the step");
    drop((pairs, loss));
    assert_eq!(device.counters().bytes_kept, 0);
}

trait EvalNow {
    fn eval_now(self) -> Self;
}

impl EvalNow for Tensor {
    fn eval_now(self) -> Self {
        self.eval().unwrap();
        self
    }
}

/// A value that the step does not store, made from one that was saved for backward: the saved one is kept for it.
#[test]
fn what_a_handle_is_made_of_outlives_the_step() {
    let device = open(false);
    let (n, m) = (80usize, 64usize);
    let x = Tensor::full([n, 4], 0.5, &device).unwrap();
    let w = Param::new(&Tensor::full([4, m], 1.0, &device).unwrap()).unwrap();
    for read_first in [false, true] {
        w.set(&Tensor::full([4, m], 1.0, &device).unwrap()).unwrap();
        let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
        let product = x.matmul(&w.tensor());
        let hidden = &product + 1.0;
        drop(product);
        let loss = hidden.square().sum();
        if read_first {
            loss.item().unwrap();
        }
        sgd.step(loss.backward().unwrap()).unwrap();
        let close = |t: &Tensor, value: f32| t.to_vec::<f32>().unwrap().iter().all(|v| (v - value).abs() < 1e-5);
        assert!(close(&hidden, 3.0), "read first: {read_first}");
    }
}

/// A step reuses the memory of values that were kept for its backward pass, except of those that somebody holds, or has a view
/// of, or can differentiate again.
#[test]
fn a_step_works_in_nobodys_memory() {
    let device = open(false);
    let side = 64;
    let w: Vec<Param> = (0..4).map(|_| Param::new(&Tensor::full([side, side], 0.02, &device).unwrap()).unwrap()).collect();
    let mut sgd = Sgd::new(&w, SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
    for round in 0..3 {
        let x = Tensor::full([side, side], 0.5 + f64::from(round), &device).unwrap();
        let hidden: Vec<Tensor> = w
            .iter()
            .scan(x, |x, w| {
                *x = x.matmul(&w.tensor()).tanh();
                Some(x.clone())
            })
            .collect();
        let loss = hidden[3].square().mean();
        let value = loss.item().unwrap();
        let expected: Vec<Vec<f32>> = hidden.iter().map(|h| h.to_vec().unwrap()).collect();
        // The first is held, the second is seen through a view, the third is computed again, nobody holds the last.
        let (held, seen) = (hidden[0].clone(), hidden[1].reshape([side * side]));
        seen.eval().unwrap();
        let made = hidden[2].detach() * 1.0;
        let gradients = loss.backward().unwrap();
        drop(hidden);
        sgd.step(gradients).unwrap();
        assert_eq!(held.to_vec::<f32>().unwrap(), expected[0], "round {round}");
        assert_eq!(seen.to_vec::<f32>().unwrap(), expected[1], "round {round}");
        assert_eq!(made.to_vec::<f32>().unwrap(), expected[2], "round {round}");
        assert_eq!(loss.item().unwrap(), value, "round {round}");
    }
}

#[test]
fn a_thousand_old_handles_keep_a_thousand_values() {
    let device = open(false);
    let w = Param::new(&Tensor::full([3], 0.0, &device).unwrap()).unwrap();
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap();
    let mut held = Vec::new();
    for _ in 0..1000 {
        // Two handles, and a result, share one copy.
        held.push((w.tensor(), w.tensor(), w.tensor() + 1.0));
        sgd.step(w.tensor().sum().backward().unwrap()).unwrap();
    }
    assert!(device.counters().bytes_kept <= 1000 * 12, "{:?}", device.counters());
    for (i, (a, b, c)) in held.iter().enumerate() {
        let expected = -(i as f32);
        assert_eq!(
            (a.to_vec().unwrap(), b.to_vec().unwrap(), c.to_vec().unwrap()),
            (vec![expected; 3], vec![expected; 3], vec![expected + 1.0; 3])
        );
    }
    drop(held);
    assert_eq!(device.counters().bytes_kept, 0);
}

/// A handle that cannot be computed is an error for its reader, not for the step, whatever the two have in common. With sizes of
/// 32 bits, no shape has more elements than kernels count.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_handle_that_cannot_be_computed_fails_its_own_reader() {
    let device = open(false);
    let w = Param::new(&Tensor::full([3], 1.0, &device).unwrap()).unwrap();
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 1.0, ..SgdConfig::default() }).unwrap();
    let square = w.tensor().square();
    let impossible = square.reshape([1, 3]).expand([1usize << 34, 3]).sum();
    let loss = square.sum();
    sgd.step(loss.backward().unwrap()).unwrap();
    assert_eq!(w.tensor().to_vec::<f32>().unwrap(), [-1.0; 3]);
    let error = impossible.item().unwrap_err().to_string();
    assert!(!error.contains("internal"), "{error}");
    assert_eq!((loss.item().unwrap(), square.to_vec::<f32>().unwrap()), (3.0, vec![1.0; 3]));
}

/// The first read of a gradient computes all of its backward pass.
#[test]
fn reading_every_gradient_takes_one_backward_pass() {
    let device = open(false);
    let config = ResNetConfig { classes: 4, width: 4, small_images: true, ..ResNetConfig::default() };
    let model = ResNet::new(config, &Init::new(&device, 0)).unwrap();
    let params = model.parameters().unwrap();
    let x = Tensor::ones([2, 3, 8, 8], &device).unwrap();
    let labels = Tensor::from_slice(&[0i32, 3], [2], &device).unwrap();
    let gradients = || cross_entropy(&model.forward(&x).unwrap(), &labels, Reduction::Mean).unwrap().backward().unwrap();
    let mut adam = Adam::new(&params, AdamConfig::default()).unwrap();
    for round in 0..2 {
        let gradients = gradients();
        let before = device.counters();
        let first = gradients.get(&params[7]).unwrap().to_vec::<f32>().unwrap();
        let one = device.counters().dispatches - before.dispatches;
        let all: Vec<Vec<f32>> = params.iter().map(|p| gradients.get(p).unwrap().to_vec().unwrap()).collect();
        let after = device.counters();
        assert_eq!(after.dispatches - before.dispatches, one, "{} gradients are one backward pass", params.len());
        assert_eq!(after.plans - before.plans, u64::from(round == 0), "one plan");
        assert_eq!(all[7], first);
        adam.step(gradients).unwrap();
        assert_eq!(device.counters().plans - after.plans, u64::from(round == 0), "and one for the step");
    }
}

/// A forward pass whose step is skipped or fails leaves no trace in a normalisation layer's statistics.
#[test]
#[cfg(target_pointer_width = "64")]
fn statistics_go_with_the_step_or_not_at_all() {
    let device = open(false);
    let mut run = Run::new(&device);
    let step = |run: &mut Run, bad: f64, read: bool, fail: bool| {
        let logits = run.model.forward(&(&run.x * bad)).unwrap();
        let mut loss = cross_entropy(&logits, &run.labels, Reduction::Mean).unwrap();
        if fail {
            let w = run.model.parameters().unwrap()[1].tensor();
            loss += w.reshape([1, 64]).expand([1usize << 34, 64]).sum();
        }
        if read {
            let _ = loss.item();
        }
        let mut gradients: Gradients = loss.backward().unwrap();
        if fail {
            gradients.map(|g| g * &loss);
        } else {
            gradients.skip_non_finite().unwrap();
        }
        run.sgd.step(gradients)
    };
    let counted = |run: &Run| run.model.state_dict().unwrap().tensors["1.num_batches_tracked"].data.to_f64()[0];
    let mut taken = 0.0;
    for (bad, read, fail) in [
        (1.0, false, false),
        (f64::NAN, false, false),
        (f64::NAN, true, false),
        (1.0, true, false),
        (1.0, false, true),
        (1.0, true, true),
        (1.0, false, false),
    ] {
        let before = run.state();
        let outcome = step(&mut run, bad, read, fail);
        assert_eq!(outcome.is_err(), fail, "{outcome:?}");
        let is_taken = bad.is_finite() && !fail;
        taken += f64::from(u8::from(is_taken));
        assert_eq!(run.state() == before, !is_taken, "({bad}, {read}, {fail}): statistics and parameters change together");
        assert_eq!(counted(&run), taken, "({bad}, {read}, {fail})");
    }
    // Without a step they are visible to every reader, as in PyTorch.
    let before = run.state();
    for _ in 0..2 {
        no_grad(|| run.model.forward(&run.x)).unwrap().eval().unwrap();
        run.model.forward(&run.x).unwrap().eval().unwrap();
    }
    assert_eq!(counted(&run), taken + 4.0);
    assert!(run.state() != before);
}

/// A thread that panics leaves nothing behind: neither what it held nor the statistics it tracked.
#[test]
fn a_panic_in_the_middle_of_a_step_leaves_the_model_as_it_was() {
    let device = open(false);
    let mut run = Run::new(&device);
    let before = run.state();
    let panicked = std::thread::scope(|scope| {
        let run = &run;
        let thread = scope.spawn(move || {
            let (_logits, loss) = run.forward().unwrap();
            let _held = (run.model.parameters().unwrap()[0].tensor(), loss.backward().unwrap());
            panic!("on purpose");
        });
        thread.join()
    });
    assert!(panicked.is_err());
    assert!(run.state() == before, "an unfinished step changes nothing");
    let (_, loss) = run.forward().unwrap();
    run.sgd.step(loss.backward().unwrap()).unwrap();
    assert!(run.state() != before);
}

/// An optimizer keeps working when another thread drops the model in the middle of its steps.
#[test]
fn a_model_may_be_dropped_while_another_thread_steps() {
    let device = open(false);
    let Run { model, mut sgd, x, labels } = Run::new(&device);
    let (logits, params) = (model.forward(&x).unwrap(), model.parameters().unwrap());
    let loss = cross_entropy(&logits, &labels, Reduction::Mean).unwrap();
    let stepper = std::thread::spawn(move || {
        for _ in 0..50 {
            let loss = params.iter().map(|p| p.tensor().square().sum()).reduce(|a, b| a + b).unwrap();
            sgd.step(loss.backward()?)?;
        }
        Ok::<_, wgrad::Error>(())
    });
    drop(model);
    assert!(loss.item().unwrap().is_finite());
    drop((logits, loss));
    stepper.join().unwrap().unwrap();
    device.flush().unwrap();
}
