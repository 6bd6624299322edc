//! Every call of a training step at which a device can fail it, one after the other: each failure is a typed error, a step that
//! failed has changed nothing, and the next one has the bits of an undisturbed run. `WGRAD_TEST_PART=all` takes all of them, and
//! `WGRAD_TEST_DEVICE=cpu` or `software` one device.

mod files;
mod reads;

use super::{Checkpoint, SuperviseConfig, Training, supervise};
use crate::data::{DataLoader, VecDataset};
use crate::device::{Device, DeviceKind, DeviceOptions};
use crate::error::{Error, Result};
use crate::faults::{Fault, FaultKind};
use crate::io::StateDict;
use crate::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Init, Linear, MaxPool2d, Module, Relu, Sequential, TransformerConfig,
    TransformerEncoderLayer, sequential,
};
use crate::optim::{Adam, AdamConfig, LossScaler, LossScalerConfig, Optimizer, Sgd, SgdConfig};
use crate::tensor::Tensor;
use std::time::Duration;

/// How long a wait may take after a loss or a stall.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How long a device that stalls in a test is waited for: longer than a step takes on a machine that does other things as well.
const STALL: Duration = Duration::from_millis(500);

/// The same in a step that compiles: lavapipe finishes its compilation of a kernel when the kernel first runs.
const COLD_STALL: Duration = Duration::from_millis(1500);

/// The subject whose losses are scaled, so that the device decides whether each step is taken.
const SCALED: &str = "scaled perceptron";

/// The subject whose steps are profiled, so that the times of launches are read, too.
const PROFILED: &str = "profiled perceptron";

/// Steps of the undisturbed run.
const STEPS: usize = 3;

fn whole() -> bool {
    std::env::var("WGRAD_TEST_PART").is_ok_and(|part| part == "all")
}

const MLP: Subject = ("MLP", &[4, 6], |init| Ok(sequential![Linear::new(6, 8, init)?, Relu, Linear::new(8, 3, init)?]));

/// A model and its input's shape.
type Subject = (&'static str, &'static [usize], fn(&Init) -> Result<Sequential>);

const SUBJECTS: [Subject; 5] = [
    (SCALED, &[4, 6], |init| Ok(sequential![Linear::new(6, 3, init)?])),
    (PROFILED, &[4, 6], |init| Ok(sequential![Linear::new(6, 3, init)?])),
    MLP,
    ("CNN", &[2, 1, 6, 6], |init| {
        let (conv, norm) = (Conv2d::new(1, 4, 3, init)?, BatchNorm2d::new(4, init)?);
        Ok(sequential![conv, norm, Relu, MaxPool2d::new(2), Flatten, Linear::new(16, 3, init)?])
    }),
    ("transformer", &[2, 3, 8], |init| {
        let config = TransformerConfig { dropout: 0.0, dim_feedforward: 16, ..TransformerConfig::default() };
        Ok(sequential![TransformerEncoderLayer::with(8, 2, config, init)?, Flatten, Linear::new(24, 3, init)?])
    }),
];

/// A run whose steps take nothing from one another but the weights.
struct Run {
    model: Sequential,
    optimizer: Box<dyn Optimizer>,
    scaler: Option<LossScaler>,
    profiled: bool,
    device: Device,
    shape: &'static [usize],
}

impl Run {
    fn new(subject: Subject, adam: bool, device: &Device) -> Result<Self> {
        let model = (subject.2)(&Init::new(device, 5))?;
        let params = model.parameters()?;
        let optimizer: Box<dyn Optimizer> = if adam {
            Box::new(Adam::new(&params, AdamConfig { lr: 0.05, ..AdamConfig::default() })?)
        } else {
            Box::new(Sgd::new(&params, SgdConfig { lr: 0.05, momentum: 0.9, ..SgdConfig::default() })?)
        };
        let scaled = || LossScaler::new(device, LossScalerConfig { init_scale: 16.0, ..LossScalerConfig::default() });
        let scaler = (subject.0 == SCALED).then(scaled).transpose()?;
        let profiled = subject.0 == PROFILED;
        Ok(Self { model, optimizer, scaler, profiled, device: device.clone(), shape: subject.1 })
    }

    /// Uploads, forward, backward, update; the loss, which nobody has read.
    fn step(&mut self, n: usize) -> Result<Tensor> {
        if !self.profiled {
            return self.step_by_itself(n);
        }
        let device = self.device.clone();
        device.profile(|| self.step_by_itself(n)).map(|(loss, _)| loss)
    }

    fn step_by_itself(&mut self, n: usize) -> Result<Tensor> {
        let x: Vec<f32> = (0..self.shape.iter().product()).map(|i: usize| ((i * 7 + n * 13) % 11) as f32 / 5.0 - 1.0).collect();
        let labels: Vec<i32> = (0..self.shape[0]).map(|i| ((i + n) % 3) as i32).collect();
        let x = Tensor::from_slice(&x, self.shape, &self.device)?;
        let labels = Tensor::from_slice(&labels, [self.shape[0]], &self.device)?;
        let loss = self.model.forward(&x)?.cross_entropy(&labels);
        let Some(scaler) = &mut self.scaler else {
            self.optimizer.step(loss.backward()?)?;
            return Ok(loss);
        };
        let mut gradients = scaler.scale(&loss).backward()?;
        scaler.unscale(&mut gradients)?;
        self.optimizer.step(gradients)?;
        Ok(loss)
    }

    /// Weights and buffers, the optimizer's memory and its counts.
    fn state(&self) -> Result<(StateDict, StateDict)> {
        Ok((self.model.state_dict()?, self.optimizer.state_dict()?))
    }
}

/// An undisturbed run: the loss of each step, as its bits, and the state before and after each.
struct Undisturbed {
    losses: Vec<u64>,
    states: Vec<(StateDict, StateDict)>,
}

fn undisturbed(subject: Subject, adam: bool, device: &Device) -> Undisturbed {
    let mut run = Run::new(subject, adam, device).expect("builds");
    let (mut losses, mut states) = (Vec::new(), vec![run.state().expect("reads")]);
    for n in 0..STEPS {
        losses.push(run.step(n).and_then(|loss| loss.item()).expect("steps").to_bits());
        states.push(run.state().expect("reads"));
    }
    assert!(losses.windows(2).all(|pair| pair[0] != pair[1]), "steps differ");
    Undisturbed { losses, states }
}

fn is_typed(kind: FaultKind, error: &Error) -> bool {
    match kind {
        FaultKind::Allocation => matches!(error, Error::OutOfMemory { .. }),
        FaultKind::Pipeline => matches!(error, Error::DeviceRefused { what, .. } if what.starts_with("the kernel ")),
        FaultKind::Submission | FaultKind::Map => matches!(error, Error::DeviceRefused { .. }),
        _ => error.is_device_loss(),
    }
}

/// Fails one call of a step after the other, on one device: with everything that is only cached released before, so that the step
/// allocates and compiles. Returns how many calls were failed, and how many of them were errors.
fn walk(subject: Subject, adam: bool, device: &Device, fault: Fault, stride: u64) -> (u64, u64) {
    let kind = fault.kind;
    let expected = undisturbed(subject, adam, device);
    let mut run = Run::new(subject, adam, device).expect("builds");
    let first = Checkpoint::capture(&run.model, &*run.optimizer).expect("captures");
    let (mut n, mut at, mut struck, mut failed) = (0, 1, 0, 0);
    loop {
        let told = format!("{} with {}, {kind:?} {at}", subject.0, if adam { "Adam" } else { "SGD" });
        device.executor().forget().unwrap_or_else(|e| panic!("{told}: {e}"));
        device.inject(Fault { at, ..fault });
        let mut heal = |error: Error| {
            failed += 1;
            assert!(is_typed(kind, &error), "{told}: {error}");
            device.inject(Fault::new(kind, 0));
        };
        let mut stepped = run.step(n);
        let mut calls = device.fault_calls(kind);
        if let Err(error) = stepped {
            heal(error);
            assert!(run.state().expect(&told) == expected.states[n], "{told}: a step that failed has changed something");
            stepped = run.step(n);
        }
        let loss = stepped.expect(&told);
        let read = || if at % 2 == 1 { loss.item() } else { Ok(loss.read_later()?.wait()?.to_f64()[0]) };
        let value = read().or_else(|error| {
            calls = device.fault_calls(kind);
            heal(error);
            read()
        });
        assert_eq!(value.expect(&told).to_bits(), expected.losses[n], "{told}: the loss");
        calls = calls.max(device.fault_calls(kind));
        device.inject(Fault::new(kind, 0));
        n += 1;
        assert!(run.state().expect(&told) == expected.states[n], "{told}: the state after the step");
        if n == STEPS {
            first.restore(&run.model, &mut *run.optimizer).expect(&told);
            n = 0;
        }
        if calls < at {
            return (struck, failed);
        }
        struck += 1;
        at += stride;
    }
}

/// Loses a device, or has it stall, at one call of a step after the other; each on a device of its own. A cold step is the first
/// on its device, which compiles everything. Returns how many.
fn walk_to_the_end(subject: Subject, adam: bool, kind: FaultKind, cold: bool, stride: u64) -> u64 {
    let stall = if cold { COLD_STALL } else { STALL };
    let options = DeviceOptions { stall: Some(stall), ..DeviceOptions::default() };
    let (mut at, mut struck) = (1, 0);
    loop {
        let step = if cold { "cold" } else { "warm" };
        let told = format!("{} with {}, {step}, {kind:?} {at}", subject.0, if adam { "Adam" } else { "SGD" });
        let device = Device::first(DeviceKind::Software, options).expect("opens");
        let mut run = Run::new(subject, adam, &device).expect("builds");
        if !cold {
            run.step(0).and_then(|loss| loss.item()).expect("steps");
        }
        device.inject(Fault::new(kind, at));
        let outcome = run.step(1).and_then(|loss| loss.item());
        // A step that compiles takes a while until the fault.
        let took = device.executor().faults().struck().map_or(Duration::ZERO, |since| since.elapsed());
        if device.fault_calls(kind) < at {
            assert!(outcome.is_ok(), "{told}: {outcome:?}");
            return struck;
        }
        let later = [outcome.map(drop), run.step(2).map(drop), run.state().map(drop), device.flush()];
        for (call, outcome) in later.into_iter().enumerate() {
            match outcome {
                Err(error) => assert!(is_typed(kind, &error), "{told}, call {call}: {error}"),
                // The fault may have come after the last wait.
                Ok(()) => assert!(call == 0, "{told}: call {call} works"),
            }
        }
        // A device that stalls still compiles the kernels that are left: that is no wait.
        let most = if cold && kind == FaultKind::Stall { stall + 5 * AT_ONCE } else { AT_ONCE };
        assert!(took < most, "{told}: it took {took:?}");
        drop((run, device));
        struck += 1;
        at += stride;
    }
}

/// Which devices this process tests.
fn kinds() -> Vec<DeviceKind> {
    let wanted = std::env::var("WGRAD_TEST_DEVICE").unwrap_or_default();
    let kinds = [("cpu", DeviceKind::Cpu), ("software", DeviceKind::Software)];
    let kinds = kinds.into_iter().filter(|(name, _)| wanted.is_empty() || wanted == *name);
    kinds.map(|(_, kind)| kind).filter(|kind| Device::first(*kind, DeviceOptions::default()).is_ok()).collect()
}

#[test]
fn a_step_that_fails_changes_nothing_and_the_next_one_works() {
    let once = |kind| Fault::new(kind, 1);
    let on_gpus = [once(FaultKind::Pipeline).times(u64::MAX), once(FaultKind::Submission), once(FaultKind::Map)];
    let memory = [once(FaultKind::Allocation), once(FaultKind::Allocation).times(u64::MAX)];
    for kind in kinds() {
        let device = Device::first(kind, DeviceOptions::default()).expect("opens");
        let faults = memory.iter().chain(on_gpus.iter().filter(|_| kind != DeviceKind::Cpu));
        for (subject, adam) in SUBJECTS.into_iter().flat_map(|subject| [(subject, false), (subject, true)]) {
            if !whole() && (!["MLP", SCALED, PROFILED].contains(&subject.0) || !adam) {
                continue;
            }
            for &fault in faults.clone() {
                // The sample: some of the calls.
                let few = [FaultKind::Submission, FaultKind::Map].contains(&fault.kind);
                let stride = if whole() || few { 1 } else { 5 };
                let (struck, failed) = walk(subject, adam, &device, fault, stride);
                println!("{kind} {} adam={adam} {fault:?}: {struck} calls failed, {failed} errors", subject.0);
                assert!(struck > 0, "{fault:?} was never met");
                // Memory that is refused once is asked for again.
                let recovers = fault.kind == FaultKind::Allocation && fault.times == 1;
                assert!(recovers || failed > 0, "{fault:?} was never an error");
            }
        }
    }
}

#[test]
fn a_loss_or_a_stall_at_any_call_of_a_step_ends_it_at_once() {
    walk_all_to_the_end(false);
}

#[test]
fn a_loss_or_a_stall_at_any_call_of_a_step_that_compiles_ends_it_at_once() {
    walk_all_to_the_end(true);
}

fn walk_all_to_the_end(cold: bool) {
    if !kinds().contains(&DeviceKind::Software) {
        return;
    }
    for (subject, adam) in SUBJECTS.into_iter().flat_map(|subject| [(subject, false), (subject, true)]) {
        if !whole() && (subject.0 != "MLP" || !adam) {
            continue;
        }
        let stride = match (whole(), cold) {
            (true, _) => 1,
            (false, false) => 5,
            (false, true) => 16,
        };
        // The first profile of a device measures its rates, which takes longer than a stall here.
        for kind in [FaultKind::Loss, FaultKind::Stall].into_iter().filter(|_| subject.0 != PROFILED) {
            let struck = walk_to_the_end(subject, adam, kind, cold, stride);
            println!("software {} adam={adam} cold={cold} {kind:?}: {struck} calls", subject.0);
            assert!(struck > 1, "{kind:?} was met {struck} times");
        }
    }
}

#[test]
fn a_run_that_is_refused_half_way_is_a_loss() {
    if !kinds().contains(&DeviceKind::Software) {
        return;
    }
    let options = DeviceOptions { submission: Some(Duration::from_micros(1)), ..DeviceOptions::default() };
    let open = || Device::first(DeviceKind::Software, options).expect("opens");
    let expected = undisturbed(MLP, true, &open());
    let (mut refused, mut lost) = (0, 0);
    for at in 1.. {
        let device = open();
        let mut run = Run::new(MLP, true, &device).expect("builds");
        run.step(0).and_then(|loss| loss.item()).expect("steps");
        device.inject(Fault::new(FaultKind::Submission, at));
        match run.step(1).map(drop) {
            Ok(()) => break,
            Err(Error::DeviceRefused { what, .. }) => {
                refused += 1;
                assert!(what == "a submission" && run.state().expect("reads") == expected.states[1], "{at}: {what}");
            }
            Err(Error::DeviceLost { reason, .. }) => {
                lost += 1;
                assert!(reason.contains("of a run's submissions"), "{at}: {reason}");
            }
            Err(other) => panic!("{at}: {other}"),
        }
    }
    assert!(refused > 0 && lost > 0, "{refused} refused, {lost} lost");
}

#[test]
fn a_stall_says_what_was_waited_for() {
    if !kinds().contains(&DeviceKind::Software) {
        return;
    }
    let options = DeviceOptions { stall: Some(STALL), ..DeviceOptions::default() };
    let device = Device::first(DeviceKind::Software, options).expect("opens");
    let x = Tensor::ones([8, 8], &device).expect("ones");
    device.flush().expect("idle");
    device.inject(Fault::new(FaultKind::Stall, 1));
    let error = x.matmul(&x).to_vec::<f32>().expect_err("stalls");
    let Error::DeviceStalled { waited_for, limit, .. } = &error else { panic!("{error}") };
    // The adapter itself goes on: how many submissions have ended is not certain.
    assert!(*limit == STALL && waited_for.starts_with("a read of 256 bytes, behind "), "{waited_for}");
    assert!(device.executor().is_lost() && device.flush().is_err_and(|again| again.to_string() == error.to_string()));
}

type Samples = VecDataset<([f32; 4], i32)>;

/// A model whose every part has a state: dropout draws, batches are shuffled, Adam counts.
fn training(device: &Device) -> Result<Training<Sequential, Adam, Samples>> {
    let init = Init::new(device, 11);
    let model = sequential![Linear::new(4, 8, &init)?, Relu, Dropout::new(0.2, &init)?, Linear::new(8, 2, &init)?];
    let optimizer = Adam::new(&model.parameters()?, AdamConfig::default())?;
    let sample = |i: u8| ([f32::from(i), f32::from(i % 3), f32::from(i % 5), 1.0].map(|x| x / 9.0), i32::from(i % 2));
    let loader = DataLoader::new(VecDataset((0..64).map(sample).collect()), 1, device)?.shuffle(true).seed(3);
    Ok(Training { model, optimizer, loader, generator: init.generator })
}

/// One epoch of 64 steps, in the first `losses` of which the device is lost or stalls once; the losses of all steps, as their
/// bits, the weights, and the number of restarts.
fn epoch(losses: usize) -> (Vec<u32>, StateDict, usize) {
    let options = DeviceOptions { stall: Some(STALL), ..DeviceOptions::default() };
    let config = SuperviseConfig { every: 1, pause: Duration::ZERO, ..SuperviseConfig::default() };
    let device = || Device::first(DeviceKind::Software, options);
    let (mut read, mut next) = (vec![0; 64], 0);
    let outcome = supervise(config, device, training, |run, keeper| {
        for batch in &run.loader {
            let n = keeper.steps();
            if n == next && next < losses {
                next += 1;
                let kind = if n % 4 == 3 { FaultKind::Stall } else { FaultKind::Loss };
                run.model.parameters()?[0].tensor().device()?.inject(Fault::new(kind, 1 + n as u64 * 5 % 17));
            }
            let (x, label) = batch?;
            let loss = run.model.forward(&x)?.cross_entropy(&label);
            run.optimizer.step(loss.backward()?)?;
            read[n] = loss.to_vec::<f32>()?[0].to_bits();
            keeper.step(run)?;
        }
        Ok((run.model.state_dict()?, keeper.restarts()))
    });
    let (weights, restarts) = outcome.expect("goes on");
    (read, weights, restarts)
}

#[test]
fn a_run_goes_on_after_losses_with_the_bits_of_an_unbroken_one() {
    if !kinds().contains(&DeviceKind::Software) {
        return;
    }
    let losses = if whole() { 60 } else { 6 };
    let (unbroken, broken) = (epoch(0), epoch(losses));
    println!("{} restarts in an epoch of 64 steps", broken.2);
    assert_eq!((unbroken.2, broken.2), (0, losses));
    assert!(unbroken.0 == broken.0, "the losses of steps");
    assert!(unbroken.1 == broken.1, "the weights");
}
