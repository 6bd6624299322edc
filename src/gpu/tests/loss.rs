//! Devices that are lost: at every point where a driver may say so, by another thread, under a training loop.

use super::*;
use crate::device::{Device, DeviceKind, DeviceOptions};
use crate::error::{Error, Result};
use crate::faults::{Fault, FaultKind};
use crate::gpu::failure::{Failure, Point, record};
use crate::optim::{Adam, AdamConfig, LossScaler, LossScalerConfig, Optimizer};
use crate::param::Param;
use crate::tensor::Tensor;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const N: usize = 300;

/// What a caller may ask of a device, on handles from before the loss.
struct Work {
    gpu: GpuExecutor,
    plan: Arc<Plan>,
    compiled: crate::gpu::compiled::Compiled,
    x: Buffer,
    y: Buffer,
}

impl Work {
    fn new(adapter: usize) -> Self {
        let gpu = GpuExecutor::open(adapter, Options::default()).expect("opens");
        let shape = Shape::of(&[N]);
        let mut expr = Expr::new(shape);
        let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
        let s = expr.push(Term::Scalar { slot: 0 }, DType::F32);
        let root = expr.push(Term::Binary(BinaryOp::Mul, x, s), DType::F32);
        let plan = Arc::new(one_step(Kernel::Elementwise(expr.finish(root)), &[(DType::F32, N)], (DType::F32, N)));
        let compiled = gpu.compile(plan.clone()).expect("compiles");
        let x = gpu.upload(&HostData::F32(vec![2.0; N])).expect("uploads");
        let y = gpu.alloc(N as u64 * 4).expect("allocates");
        gpu.wait().expect("waits");
        Self { gpu, plan, compiled, x, y }
    }

    /// Each call by name, and its outcome.
    fn calls(&self) -> Vec<(&'static str, Result<()>)> {
        let Self { gpu, plan, compiled, x, y } = self;
        let bindings = |s: f64| Bindings { leaves: vec![leaf(x)], scalars: vec![s], ..Bindings::default() };
        let download = || gpu.start_download(x, 64, None);
        let bytes = N as u64 * 4;
        let mut calls = vec![
            ("upload", gpu.upload(&HostData::F32(vec![1.0; 5 * N])).map(drop)),
            ("large upload", gpu.upload(&HostData::U8(vec![1; 3 << 20])).map(drop)),
            ("alloc", gpu.alloc(bytes * 7).map(drop)),
            ("copy", gpu.copy(x, y)),
            ("copy within", gpu.copy(&y.range(0, 64), &y.range(64, 64))),
            ("submit", gpu.submit()),
            ("compile", gpu.compile(plan.clone()).map(drop)),
            ("run", gpu.run(compiled, &bindings(3.0)).map(drop)),
            ("read", gpu.read(x, DType::F32, N).map(drop)),
            (
                "try_download",
                download().and_then(|d| gpu.submit().and_then(|()| gpu.try_download(&d, |bytes, _| bytes.len()))).map(drop),
            ),
            ("finish_download", download().and_then(|d| gpu.finish_download(&d, |bytes, _| bytes.len())).map(drop)),
            ("run again", gpu.run(compiled, &bindings(4.0)).map(drop)),
            ("wait", gpu.wait()),
        ];
        calls.push(("run timed", gpu.run_timed(compiled, &bindings(5.0)).map(drop)));
        // More submissions than may be under way.
        for _ in 0..12 {
            calls.push(("run on", gpu.run(compiled, &bindings(6.0)).map(drop)));
        }
        calls.push(("wait on", gpu.wait()));
        calls
    }
}

fn is_lost<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::DeviceLost { .. }))
}

#[test]
fn a_loss_at_any_point_is_one_typed_error() {
    let Some(adapter) = software() else { return };
    let mut struck = BTreeSet::new();
    for n in 1.. {
        let work = Work::new(adapter);
        work.gpu.context.faults.set(Fault::new(FaultKind::Loss, n));
        let calls = work.calls();
        let Some(first) = calls.iter().position(|(_, result)| result.is_err()) else {
            assert!(n > 57, "only {n} points were met");
            break;
        };
        struck.insert(calls[first].0);
        for (name, result) in &calls[first..] {
            assert!(is_lost(result), "loss at point {n}, seen by {}: {name} gives {result:?}", calls[first].0);
        }
        for (name, result) in work.calls() {
            assert!(is_lost(&result), "after a loss at point {n}: {name} gives {result:?}");
        }
        drop(work);
    }
    for name in ["upload", "large upload", "alloc", "copy within", "submit", "run", "read", "finish_download"] {
        assert!(struck.contains(name), "no loss was seen by {name}, only by {struck:?}");
    }
    // How many points there are before this one depends on how often the calls before it polled.
    let work = Work::new(adapter);
    work.gpu.context.faults.set(Fault::new(FaultKind::Loss, 1));
    assert!(is_lost(&work.gpu.wait()), "no loss was seen by wait");
    drop(work);
    // A device that was opened afterwards works.
    assert!(Work::new(adapter).calls().iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn a_poll_that_panics_says_why_and_nothing_else() {
    let Some(adapter) = software() else { return };
    let gpu = GpuExecutor::open(adapter, Options::default()).expect("opens");
    gpu.context.faults.set(Fault::new(FaultKind::Loss, 1));
    match gpu.wait() {
        Err(Error::DeviceLost { device, reason }) => {
            assert_eq!((device.as_str(), reason.as_str()), (gpu.context.info.name.as_str(), "Parent device is lost"));
        }
        other => panic!("{other:?}"),
    }
    // Others' panics are others' business.
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    assert_eq!(caught.expect_err("panics").downcast_ref::<&str>(), Some(&"on purpose"));
    gpu.context.at(Point::Poll);
}

#[test]
fn a_loss_by_another_thread_ends_a_wait() {
    let Some(adapter) = software() else { return };
    let work = Work::new(adapter);
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        if let Some((name, error)) = work.calls().into_iter().find_map(|(name, r)| Some((name, r.err()?))) {
                            return Some((name, error));
                        }
                    }
                    None
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        record(&work.gpu.context.failure, Failure::Lost("by another thread".into()));
        work.gpu.context.device.destroy();
        for one in loops {
            let (name, error) = one.join().expect("no panic").expect("the loss is seen");
            assert!(matches!(error, Error::DeviceLost { .. }), "{name}: {error}");
        }
    });
}

/// Waits that are over before anything has come to an end, between submissions and waits of others.
#[test]
fn waits_of_many_threads_are_no_loss() {
    let Some(adapter) = software() else { return };
    let work = Work::new(adapter);
    let Work { gpu, compiled, x, .. } = &work;
    let end = Instant::now() + Duration::from_secs(1);
    std::thread::scope(|scope| {
        for reads in [false, false, true] {
            scope.spawn(move || {
                while Instant::now() < end {
                    let bindings = Bindings { leaves: vec![leaf(x)], scalars: vec![3.0], ..Bindings::default() };
                    gpu.run(compiled, &bindings).expect("runs");
                    gpu.submit().expect("submits");
                    if reads {
                        gpu.read(x, DType::F32, N).expect("reads");
                    } else {
                        let poll = wgpu::PollType::Wait { submission_index: None, timeout: Some(Duration::ZERO) };
                        gpu.context.poll(poll, false).expect("polls");
                    }
                }
            });
        }
    });
}

#[test]
fn a_wait_without_an_end_ends_with_a_loss() {
    let Some(adapter) = software() else { return };
    let work = Work::new(adapter);
    work.gpu.context.faults.set(Fault::new(FaultKind::Stall, 1));
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let since = Instant::now();
            (work.gpu.read(&work.x, DType::F32, N), since.elapsed())
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!read.is_finished(), "nothing comes to an end");
        record(&work.gpu.context.failure, Failure::Lost("by another thread".into()));
        let (outcome, took) = read.join().expect("no panic");
        assert!(is_lost(&outcome) && took.as_secs() < 2, "{outcome:?} after {took:?}");
    });
}

#[test]
fn a_training_loop_ends_with_the_loss() {
    if software().is_none() {
        return;
    }
    let train = |device: &Device, after: u64| -> Vec<Error> {
        let gpu = device.executor().as_gpu().expect("a GPU");
        let w = Param::new(&Tensor::ones([40], device).expect("ones")).expect("a parameter");
        let mut adam = Adam::new(std::slice::from_ref(&w), AdamConfig::default()).expect("an optimizer");
        let mut scaler = LossScaler::new(device, LossScalerConfig::default()).expect("a scaler");
        gpu.context.faults.set(Fault::new(FaultKind::Loss, after));
        let mut errors = Vec::new();
        for _ in 0..10 {
            let mut step = || -> Result<()> {
                let x = Tensor::from_slice(&[0.5f32; 40], [40], device)?;
                let loss = (w.tensor() * x).square().sum();
                let mut gradients = scaler.scale(&loss).backward()?;
                scaler.unscale(&mut gradients)?;
                adam.step(gradients)?;
                scaler.update()?;
                loss.item().map(drop)
            };
            errors.extend(step().err());
        }
        errors.extend(adam.state_dict().err());
        errors.extend(w.tensor().to_vec::<f32>().err());
        errors.extend(device.flush().err());
        errors
    };
    // A device that all share is opened anew after a loss.
    let shared = || Device::software().expect("opens");
    let first = shared();
    assert!(first == shared());
    first.executor().as_gpu().expect("a GPU").context.faults.set(Fault::new(FaultKind::Loss, 1));
    assert!(matches!(Tensor::ones([3], &first).and_then(|x| x.to_vec::<f32>()), Err(Error::DeviceLost { .. })));
    assert!(first != shared() && shared() == shared());
    let open = || Device::first(DeviceKind::Software, DeviceOptions::default()).expect("opens");
    for after in (1..80).step_by(13) {
        let errors = train(&open(), after);
        let lost = errors.iter().filter(|e| matches!(e, Error::DeviceLost { .. })).count();
        assert!(lost == errors.len() && lost >= 1, "point {after}: {errors:?}");
    }
    assert!(train(&open(), u64::MAX).is_empty());
}

fn floats32(data: HostData) -> Vec<f32> {
    match data {
        HostData::F32(values) => values,
        other => panic!("{other:?}"),
    }
}

/// What a few steps of training read, in order: losses at once and later, a value twice, the weights.
fn readings(device: &Device) -> Vec<Result<Vec<f32>>> {
    let mut read = Vec::new();
    let mut work = || -> Result<()> {
        let w = Param::new(&Tensor::ones([40], device)?)?;
        let mut adam = Adam::new(std::slice::from_ref(&w), AdamConfig::default())?;
        let mut step = |read: &mut Vec<Result<Vec<f32>>>, later: bool| -> Result<()> {
            let x = Tensor::from_slice(&[0.5f32; 40], [40], device)?;
            let loss = (w.tensor() * x).square().sum();
            adam.step(loss.backward()?)?;
            read.push(if later { loss.read_later()?.wait().map(floats32) } else { loss.to_vec() });
            Ok(())
        };
        for later in [false, true, false, true] {
            step(&mut read, later)?;
        }
        let fixed = Tensor::arange(0.0, 5.0, 1.0, device)?.exp();
        for _ in 0..3 {
            read.push(fixed.to_vec());
        }
        for _ in 0..2 {
            read.push(fixed.read_later()?.wait().map(floats32));
        }
        read.push(w.tensor().to_vec());
        Ok(())
    };
    let outcome = work();
    read.extend(outcome.err().map(Err));
    read
}

#[test]
fn a_submission_that_is_killed_without_a_word_is_found_by_the_next_read() {
    if software().is_none() {
        return;
    }
    let open = || Device::first(DeviceKind::Software, DeviceOptions::default()).expect("opens");
    let device = open();
    let expected: Vec<Vec<f32>> = readings(&device).into_iter().map(|r| r.expect("reads")).collect();
    let submissions = usize::try_from(device.counters().submissions).expect("few");
    assert!(expected.len() == 10 && submissions >= expected.len());
    for killed in 1..=submissions {
        let device = open();
        device.executor().as_gpu().expect("a GPU").context.faults.set(Fault::new(FaultKind::Kill, killed as u64));
        let got = readings(&device);
        let first = got.iter().position(Result::is_err).unwrap_or_else(|| panic!("{killed}: nobody noticed: {got:?}"));
        for (n, result) in got.iter().enumerate() {
            match result {
                Ok(value) => assert!(n < first && *value == expected[n], "{killed}: reading {n} is {value:?}"),
                Err(Error::DeviceLost { reason, .. }) => assert!(reason.contains("did not run to their end"), "{reason}"),
                Err(other) => panic!("{killed}: {other}"),
            }
        }
        assert!(device.executor().is_lost());
    }
}
