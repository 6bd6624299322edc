//! Memory before a run: what a stand-in counts is what a device takes, to the byte, and a batch that is said to fit does.

use crate::common::{open, open_as};
use crate::sweep::in_whole;
use std::any::Any;
use wgrad::nn::models::Mlp;
use wgrad::nn::{
    BatchNorm2d, Conv2d, ConvOptions, Dropout, Flatten, GlobalAvgPool, Init, Linear, Lstm, MaxPool2d, Module, Relu,
    TransformerConfig, TransformerEncoderLayer, sequential,
};
use wgrad::optim::{Adam, AdamConfig, LossScaler, LossScalerConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{DType, Device, DeviceKind, DeviceOptions, Error, GpuModel, MemoryEstimate, Param, Result, Tensor, no_grad};

/// What a program keeps to its end.
type Kept = Result<Box<dyn Any>>;

/// A program: its name, and what it does on a device with batches of a size.
type Program = (&'static str, fn(&Device, usize) -> Kept);

fn labels(n: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&(0..n as i32).map(|i| i % 5).collect::<Vec<_>>(), [n], device)
}

/// Steps of a network on inputs of a shape, which begins with the batch.
fn train(device: &Device, shape: &[usize], adam: bool, model: Box<dyn Module>) -> Kept {
    let params = model.parameters()?;
    let mut optimizer: Box<dyn Optimizer> = if adam {
        Box::new(Adam::new(&params, AdamConfig::default())?)
    } else {
        Box::new(Sgd::new(&params, SgdConfig { momentum: 0.9, ..SgdConfig::default() })?)
    };
    let mut losses = Vec::new();
    for _ in 0..3 {
        let x = Tensor::from_slice(&vec![0.5f32; shape.iter().product()], shape, device)?;
        let loss = model.forward(&x)?.cross_entropy(&labels(shape[0], device)?);
        optimizer.step(loss.backward()?)?;
        loss.item()?;
        losses.push(loss);
    }
    Ok(Box::new((model, optimizer, losses)))
}

fn convolutions(init: &Init) -> Result<Box<dyn Module>> {
    let same = ConvOptions::default().padding(1);
    Ok(Box::new(sequential![
        Conv2d::with(3, 8, 3, same, init)?,
        BatchNorm2d::new(8, init)?,
        Relu,
        MaxPool2d::new(2),
        Conv2d::with(8, 12, 3, same.stride(2), init)?,
        Relu,
        Dropout::new(0.1, init)?,
        GlobalAvgPool,
        Flatten,
        Linear::new(12, 5, init)?,
    ]))
}

const PROGRAMS: &[Program] = &[
    ("perceptron, SGD", |device, n| train(device, &[n, 20], false, Box::new(Mlp::new(&[20, 64, 5], &Init::new(device, 0))?))),
    ("perceptron, Adam", |device, n| train(device, &[n, 20], true, Box::new(Mlp::new(&[20, 64, 5], &Init::new(device, 0))?))),
    ("convolutions, SGD", |device, n| train(device, &[n, 3, 12, 12], false, convolutions(&Init::new(device, 0))?)),
    ("convolutions, Adam", |device, n| train(device, &[n, 3, 12, 12], true, convolutions(&Init::new(device, 0))?)),
    ("transformer, Adam", |device, n| {
        let init = Init::new(device, 0);
        let config = TransformerConfig { dim_feedforward: 32, ..TransformerConfig::default() };
        let layer = TransformerEncoderLayer::with(16, 2, config, &init)?;
        train(device, &[n, 6, 16], true, Box::new(sequential![layer, Flatten, Linear::new(96, 5, &init)?]))
    }),
    ("LSTM, Adam", |device, n| {
        let init = Init::new(device, 0);
        let lstm = Lstm::new(8, 16, &init)?;
        let head = Linear::new(16, 5, &init)?;
        let params = [lstm.parameters()?, head.parameters()?].concat();
        let mut adam = Adam::new(&params, AdamConfig::default())?;
        for _ in 0..2 {
            let x = Tensor::from_slice(&vec![0.5f32; 7 * n * 8], [7, n, 8], device)?;
            let loss = head.forward(&lstm.forward(&x)?.select(0, -1))?.cross_entropy(&labels(n, device)?);
            adam.step(loss.backward()?)?;
        }
        Ok(Box::new((lstm, head, adam)))
    }),
    ("a loss that is read before backward", |device, n| {
        let model = Mlp::new(&[20, 64, 5], &Init::new(device, 0))?;
        let mut sgd = Sgd::new(&model.parameters()?, SgdConfig::default())?;
        for _ in 0..2 {
            let x = Tensor::from_slice(&vec![0.5f32; n * 20], [n, 20], device)?;
            let loss = model.forward(&x)?.cross_entropy(&labels(n, device)?);
            loss.item()?;
            sgd.step(loss.backward()?)?;
        }
        Ok(Box::new((model, sgd)))
    }),
    ("scaled losses", |device, n| {
        let model = Mlp::new(&[20, 64, 5], &Init::new(device, 0))?;
        let mut adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
        let mut scaler = LossScaler::new(device, LossScalerConfig::default())?;
        for _ in 0..3 {
            let x = Tensor::from_slice(&vec![0.5f32; n * 20], [n, 20], device)?;
            let loss = model.forward(&x)?.cross_entropy(&labels(n, device)?);
            let mut gradients = scaler.scale(&loss).backward()?;
            scaler.unscale(&mut gradients)?;
            adam.step(gradients)?;
        }
        Ok(Box::new((model, adam, scaler)))
    }),
    ("use without gradients", |device, n| {
        let model = convolutions(&Init::new(device, 0))?;
        model.eval();
        let x = Tensor::from_slice(&vec![0.5f32; n * 3 * 144], [n, 3, 12, 12], device)?;
        let outputs = no_grad(|| model.forward(&x))?;
        outputs.to_vec::<f32>()?;
        Ok(Box::new((model, outputs)))
    }),
    ("old values that handles need", |device, n| {
        let weights = Param::new(&Tensor::ones([n, 64], device)?)?;
        let old = weights.tensor();
        let later = &old * 2.0;
        let mut sgd = Sgd::new(std::slice::from_ref(&weights), SgdConfig::default())?;
        sgd.step((&weights.tensor() * &weights.tensor()).sum().backward()?)?;
        later.eval()?;
        Ok(Box::new((weights, old, later, sgd)))
    }),
    ("labels that a device computes", |device, n| {
        let model = Mlp::new(&[20, 64, 5], &Init::new(device, 0))?;
        let mut sgd = Sgd::new(&model.parameters()?, SgdConfig::default())?;
        for _ in 0..3 {
            let x = Tensor::from_slice(&vec![0.5f32; n * 20], [n, 20], device)?;
            let labels = (x.sum_dim(1) * 0.25).cast(DType::I32);
            let loss = model.forward(&x)?.cross_entropy(&labels);
            sgd.step(loss.backward()?)?;
            loss.read_later()?.wait()?;
        }
        Ok(Box::new((model, sgd)))
    }),
    ("integers, bytes and truth values", |device, n| {
        let bytes = Tensor::from_slice(&vec![3u8; n * 7], [n, 7], device)?;
        let words = bytes.cast(DType::I32) * 2;
        let chosen = words.gt(&Tensor::scalar(2.0, device)?.cast(DType::I32)).where_(&words, &words.neg());
        let rows = Tensor::ones([9, 5], device)?.index_select(0, &labels(n, device)?);
        Tensor::eval_all(&[&words, &chosen, &rows])?;
        Ok(Box::new((bytes, words, chosen, rows)))
    }),
];

fn peak_of(program: Program, n: usize, device: &Device) -> u64 {
    let kept = (program.1)(device, n).unwrap_or_else(|e| panic!("{}: {e}", program.0));
    device.flush().expect("idle");
    drop(kept);
    device.counters().bytes_peak
}

fn estimate(program: Program, n: usize, device: &Device) -> MemoryEstimate {
    device.memory_estimate(|device| (program.1)(device, n)).unwrap_or_else(|e| panic!("{}: {e}", program.0))
}

#[test]
fn estimates_are_what_a_device_takes() {
    let (mut equal, mut compared) = (0, 0);
    for (number, &program) in PROGRAMS.iter().enumerate() {
        for unfused in [false, true] {
            for n in [1, 6, 33] {
                // Each is compiled anew.
                if !in_whole() && (n != 6 || unfused != number.is_multiple_of(2)) {
                    continue;
                }
                let device = open(unfused);
                let estimate = estimate(program, n, &device);
                assert_eq!(device.counters().bytes_peak, 0, "{}: an estimate takes nothing", program.0);
                let (peak, what) = (peak_of(program, n, &device), format!("{} with {n}, unfused: {unfused}", program.0));
                // SwiftShader takes less than its stand-in for some programs, not the same in each run; why is not known.
                if device.name().contains("SwiftShader") {
                    assert!(estimate.peak >= peak, "{what}: {} for {peak}", estimate.peak);
                } else {
                    assert_eq!(estimate.peak, peak, "{what}");
                }
                equal += usize::from(estimate.peak == peak);
                assert_eq!(estimate.by_use.total(), estimate.peak, "{}: {estimate}", program.0);
                assert!(estimate.held >= estimate.peak, "{}: {estimate:?}", program.0);
                compared += 1;
            }
        }
    }
    println!("{equal} of {compared} peaks are as estimated");
}

#[test]
fn the_reference_of_f64_is_estimated_too() {
    let device = open(false);
    if device.kind() != DeviceKind::Cpu {
        return;
    }
    let program: Program = ("f64", |device, n| {
        let weights = Param::new(&Tensor::ones([n, 64], device)?.cast(DType::F64))?;
        let mut sgd = Sgd::new(std::slice::from_ref(&weights), SgdConfig { momentum: 0.5, ..SgdConfig::default() })?;
        let loss = (&weights.tensor() * &weights.tensor()).sum();
        sgd.step(loss.backward()?)?;
        let halves = weights.tensor().cast(DType::F16);
        halves.eval()?;
        Ok(Box::new((weights, sgd, loss, halves)))
    });
    assert_eq!(estimate(program, 9, &device).peak, peak_of(program, 9, &device));
}

#[test]
fn families_are_told_apart() {
    let device = open(false);
    let read_before = PROGRAMS.iter().find(|p| p.0.starts_with("a loss that is read")).expect("there");
    let by_use = estimate(*read_before, 64, &device).by_use;
    let parameters = 4 * (20 * 64 + 64 + 64 * 5 + 5);
    assert!(by_use.parameters == parameters && by_use.saved >= 4 * 64 * 5, "{by_use}");
    let adam = estimate(PROGRAMS[1], 6, &device).by_use;
    assert!(adam.parameters == parameters && adam.state == 2 * parameters && adam.working > 0, "{adam}");
    let old = PROGRAMS.iter().find(|p| p.0.starts_with("old values")).expect("there");
    assert!(estimate(*old, 8, &device).by_use.kept > 0);
}

#[test]
fn a_batch_that_is_said_to_fit_does() {
    for program in [PROGRAMS[1], PROGRAMS[3]] {
        // Pipelines count on GPUs.
        let limit = if open(false).kind() == DeviceKind::Cpu { 1 << 20 } else { 40 << 20 };
        let device = open_as(|options| options.memory = Some(limit));
        // What is held already is not there for the batch.
        let held = Tensor::ones([64, 256], &device).expect("valid");
        held.eval().expect("evaluates");
        let largest = device.largest_batch(1 << 20, program.1).unwrap_or_else(|e| panic!("{}: {e}", program.0));
        let try_with = |n: usize| {
            let device = open_as(|options| options.memory = Some(limit));
            let held = Tensor::ones([64, 256], &device).expect("valid");
            held.eval().expect("evaluates");
            (program.1)(&device, n).map(drop)
        };
        assert!(largest > 1, "{}", program.0);
        try_with(largest).unwrap_or_else(|e| panic!("{} with {largest}: {e}", program.0));
        // A stand-in for the CPU device counts what kernels may work in for each thread, of which not every one takes it.
        let more = largest + if device.kind() == DeviceKind::Cpu { largest / 4 + 1 } else { 1 };
        let outcome = try_with(more);
        assert!(matches!(outcome, Err(Error::OutOfMemory { .. })), "{}: {largest} fit, and so do {more}: {outcome:?}", program.0);
    }
}

#[test]
fn wrong_questions_are_answered_with_errors() {
    let device = open(false);
    let nothing = |_: &Device, _: usize| Ok(());
    assert!(matches!(device.largest_batch(0, nothing), Err(Error::Argument { .. })));
    device.set_memory_limit(u64::MAX);
    let error = device.largest_batch(9, nothing).unwrap_err();
    assert!(error.to_string().contains("set_memory_limit"), "{error}");
    device.set_memory_limit(1 << 10);
    let too_large = |device: &Device, n: usize| Tensor::ones([n, 1 << 16], device)?.exp().eval();
    let error = device.largest_batch(9, too_large).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { limit: Some(1024), .. }), "{error}");
    let error = device.memory_estimate(|_| Err::<(), _>(Error::other("my own"))).unwrap_err();
    assert_eq!(error.to_string(), "my own");
    assert_eq!(device.largest_batch(7, nothing).unwrap(), 7);
}

#[test]
fn a_stand_in_reads_zeros_and_is_one_of_its_own() {
    let device = open(false);
    assert!(!device.is_stand_in());
    let stand_in = device.stand_in().expect("opens");
    assert!(stand_in.is_stand_in() && stand_in.kind() == device.kind() && stand_in != device);
    assert_eq!(stand_in.memory_limit(), device.memory_limit());
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &stand_in).expect("valid");
    assert_eq!((&x + 1.0).to_vec::<f32>().expect("readable"), [0.0; 2]);
    assert_eq!(x.exp().sum().item().expect("readable"), 0.0);
    let pending = x.exp().sum().read_later().expect("starts");
    assert_eq!(pending.wait().expect("arrives").to_f64(), [0.0]);
    let other = Tensor::ones([2], &device).expect("valid");
    assert!((&x + &other).eval().is_err(), "tensors of another device");
    let (_, profile) = stand_in.profile(|| x.exp().eval()).expect("is counted");
    assert_eq!(profile.time(), None);
    assert_eq!(stand_in.self_test().expect("has nothing to test"), Vec::<&str>::new());
}

/// A GPU of which only the limits are known is estimated as the one that is there.
#[test]
fn limits_stand_for_an_adapter() {
    let device = open(false);
    if device.kind() == DeviceKind::Cpu {
        return;
    }
    let name = std::env::var("WGRAD_TEST_DEVICE").unwrap_or_default();
    if name.contains('+') {
        return;
    }
    let info = Device::list().into_iter().find(|info| info.name == device.name()).expect("listed");
    let limit = |wanted: &str| {
        let (_, value) = info.limits.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("{wanted} is listed"));
        value.parse::<u64>().expect("a number")
    };
    let of_32 = |wanted| u32::try_from(limit(wanted)).expect("of 32 bits");
    let model = GpuModel {
        name: "one like it".into(),
        software: true,
        memory: None,
        bytes_per_binding: limit("bytes per binding"),
        bytes_per_buffer: limit("bytes per buffer"),
        storage_buffers: of_32("storage buffers per kernel"),
        invocations: of_32("invocations per workgroup"),
        workgroup_memory: of_32("workgroup memory, bytes"),
        workgroups: of_32("workgroups per dimension"),
        uniform_alignment: of_32("uniform alignment, bytes"),
    };
    let options = DeviceOptions { short_texts: crate::common::has_short_texts(), ..DeviceOptions::default() };
    let like_it = Device::stand_in_for(&model, options).expect("opens");
    for &program in PROGRAMS {
        assert_eq!(estimate(program, 6, &like_it), estimate(program, 6, &device), "{}", program.0);
    }
}
