//! Memory follows use: memory that handles no longer need is kept within limits, and freed before an evaluation fails.

use crate::common::{Noise, open, this_program, upload, values};
use crate::sweep::in_part;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{BatchNorm2d, Conv2d, ConvOptions, Flatten, GlobalAvgPool, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{CacheLimits, DType, Device, DeviceKind, Param, Tensor};

const MIB: u64 = 1 << 20;

fn full(shape: [usize; 2], device: &Device) -> Tensor {
    Tensor::full(shape, 0.5, device).expect("valid")
}

#[test]
fn shapes_that_do_not_come_again_leave_at_most_the_limit() {
    for limits in [CacheLimits::default(), CacheLimits { bytes: 24 * MIB, plans: 40 }] {
        let device = open(false);
        device.set_cache_limits(limits);
        assert_eq!(device.cache_limits(), limits);
        let shapes = if in_part() { 64 } else { 256 };
        for _ in 0..2 {
            for n in 0..shapes {
                // 2 MB each, of different sizes.
                full([500 + n, 1000], &device).exp().eval().expect("evaluates");
            }
        }
        let counters = device.counters();
        assert!(counters.bytes_cached <= limits.bytes && counters.plans_cached <= limits.plans as u64, "{counters:?}");
        assert_eq!(counters.bytes_live, 0, "{counters:?}");
        assert_eq!(counters.plans, counters.plans_cached + counters.evictions, "{counters:?}");
    }
}

#[test]
fn handles_that_are_dropped_together_leave_at_most_the_limit() {
    let device = open(false);
    let limits = CacheLimits { bytes: 24 * MIB, ..CacheLimits::default() };
    device.set_cache_limits(limits);
    let held: Vec<Tensor> = (0..40).map(|n| full([500 + n, 1000], &device).exp()).collect();
    held.iter().for_each(|t| t.eval().expect("evaluates"));
    let counters = device.counters();
    let bytes = held.iter().map(|t| 4 * t.shape().unwrap().numel() as u64).sum::<u64>();
    assert_eq!(counters.bytes_live, bytes, "rows of 1,000 need no padding");
    assert!(counters.bytes_peak >= bytes);
    drop(held);
    let counters = device.counters();
    assert!(counters.bytes_live == 0 && counters.bytes_cached <= limits.bytes, "{counters:?}");
}

#[test]
fn a_loop_over_64_shapes_lets_nothing_go() {
    let device = open(false);
    let w = Param::new(&full([64, 64], &device)).expect("float");
    let round = || {
        for n in 1..=64 {
            let y = full([n, 64], &device).matmul(&w.tensor()).relu();
            y.mean().item().expect("a scalar");
        }
    };
    round();
    round();
    let before = device.counters();
    round();
    let after = device.counters();
    assert_eq!((after.plans, after.evictions, after.buffers), (before.plans, 0, before.buffers));
    assert_eq!((after.pipelines, after.bind_groups), (before.pipelines, before.bind_groups));
    assert_eq!((after.bytes_live, after.bytes_cached), (before.bytes_live, before.bytes_cached));
}

/// With hardly any room in the cache, a loop with a growing batch runs, gives the right results, and leaves no more memory than
/// its last sizes need.
#[test]
fn a_growing_batch_runs_within_a_small_limit() {
    let device = open(false);
    device.set_cache_limits(CacheLimits { bytes: MIB, plans: 2 });
    let w = Param::new(&full([256, 256], &device)).expect("float");
    let last = if in_part() { 200 } else { 800 };
    for n in (10..=last).step_by(10) {
        let x = upload(&vec![1.0; n * 256], &[n, 256], DType::F32, &device);
        let y = x.matmul(&w.tensor()).sqrt();
        let loss = (y.square() * 2.0).mean();
        let gradient = loss.backward().expect("differentiable").get(&w).expect("of w");
        assert!((loss.item().expect("a scalar") / 256.0 - 1.0).abs() < 1e-4, "{n} rows");
        assert!((values(&gradient)[0] * 128.0 - 1.0).abs() < 1e-3, "{n} rows: {}", values(&gradient)[0]);
    }
    let counters = device.counters();
    // A few values of 800 by 256, the batch among them, staging memory on a GPU, and plans.
    assert!(counters.bytes_cached < 16 * MIB && counters.plans_cached <= 2, "{counters:?}");
}

/// A step that needs many times the limit keeps its working memory.
#[test]
fn a_loop_past_the_limit_is_steady() {
    let device = open(false);
    device.set_cache_limits(CacheLimits { bytes: MIB / 4, plans: 8 });
    let w = Param::new(&full([512, 512], &device)).expect("float");
    let mut optimizer = Adam::new(std::slice::from_ref(&w), AdamConfig::default()).expect("valid");
    let mut step = || {
        let x = upload(&vec![0.1; 300 * 512], &[300, 512], DType::F32, &device);
        let y = x.matmul(&w.tensor()).tanh().matmul(&w.tensor());
        let loss = y.square().mean();
        optimizer.step(loss.backward().expect("differentiable")).expect("steps");
        y.eval().expect("evaluates");
    };
    (0..4).for_each(|_| step());
    device.flush().expect("idle");
    let before = device.counters();
    (0..8).for_each(|_| step());
    let after = device.counters();
    assert!(before.bytes_cached > MIB, "{before:?}");
    assert_eq!((after.plans, after.evictions, after.buffers), (before.plans, before.evictions, before.buffers));
    assert_eq!((after.pipelines, after.bind_groups), (before.pipelines, before.bind_groups));
}

/// The memory of handles, parameters and optimizers counts as live, to the byte on every device.
#[test]
fn live_bytes_are_those_of_handles() {
    let device = open(false);
    let n = 4096;
    let w = Param::new(&full([1, n], &device)).expect("float");
    // Evaluated by now or by the first step.
    w.tensor().eval().expect("evaluates");
    let mut optimizer = Adam::new(std::slice::from_ref(&w), AdamConfig::default()).expect("valid");
    optimizer.step(w.tensor().square().sum().backward().expect("differentiable")).expect("steps");
    device.flush().expect("idle");
    let n = 4 * n as u64;
    // The parameter and two moments; a GPU also has an arena for gradients.
    let arenas = if device.kind() == DeviceKind::Cpu { 3 } else { 4 };
    assert_eq!(device.counters().bytes_live, arenas * n, "{:?}", device.counters());
    let kept = w.tensor();
    optimizer.step(w.tensor().square().sum().backward().expect("differentiable")).expect("steps");
    device.flush().expect("idle");
    assert_eq!(device.counters().bytes_live, (arenas + 1) * n, "a kept version: {:?}", device.counters());
    drop((kept, optimizer, w));
    device.flush().expect("idle");
    assert_eq!(device.counters().bytes_live, 0, "{:?}", device.counters());
    assert!(device.counters().bytes_cached > 0);
}

/// A step reuses the memory of what was kept for its backward pass, even if its loss is read first, or its outputs, or all
/// gradients.
#[test]
fn a_step_that_is_read_takes_little_more_memory() {
    let peak = |read: &str| {
        let device = open(false);
        let init = Init::new(&device, 0);
        let same = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
        let mut model = Sequential::new();
        for n in 0..6 {
            let channels = if n == 0 { 3 } else { 32 };
            model = model
                .push(Conv2d::with(channels, 32, 3, same, &init).unwrap())
                .push(BatchNorm2d::new(32, &init).unwrap())
                .push(Relu);
        }
        let model = model.push(GlobalAvgPool).push(Flatten).push(Linear::new(32, 4, &init).unwrap());
        let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).unwrap();
        let data = Noise(5).values(2 * 3 * 32 * 32, -1.0, 1.0);
        let x = upload(&data, &[2, 3, 32, 32], DType::F32, &device);
        let labels = Tensor::from_slice(&[1i32, 2], [2], &device).unwrap();
        let mut losses = Vec::new();
        for _ in 0..3 {
            let logits = model.forward(&x).unwrap();
            if read == "outputs" {
                values(&logits);
            }
            let loss = cross_entropy(&logits, &labels, Reduction::Mean).unwrap();
            if read == "loss" {
                loss.item().unwrap();
            }
            let gradients = loss.backward().unwrap();
            if read == "gradients" {
                gradients.eval().unwrap();
            }
            adam.step(gradients).unwrap();
            losses.push(loss.item().unwrap());
        }
        (device.counters().bytes_peak as f64, losses)
    };
    let (unread, losses) = peak("nothing");
    for read in ["loss", "outputs", "gradients"] {
        let (bytes, read_losses) = peak(read);
        assert!(bytes <= 1.25 * unread, "{read}: {bytes} bytes, and {unread} if nothing is read");
        assert!(losses.iter().zip(&read_losses).all(|(a, b)| (a - b).abs() < 1e-4), "{read}: {losses:?}, {read_losses:?}");
    }
}

// ---- resident memory ----

/// Runs a training loop of this file in a separate process; returns its resident memory in KiB after the warm-up and at the end.
fn resident(kind: &str, steps: usize) -> (f64, f64) {
    let output = this_program()
        .args(["--exact", "memory::a_loop_in_a_process_of_its_own", "--ignored", "--nocapture", "--test-threads=1"])
        .env("WGRAD_TEST_LOOP", format!("{kind} {steps}"))
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|l| l.split_once("resident: ")).map(|(_, line)| line.to_owned());
    let line = line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    println!("{kind}, {steps} steps: {line}");
    let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (figures[0], figures[1])
}

/// What allocators of several threads may come to keep, in KiB: much beside the 28 MiB of a process on the CPU device.
const ARENAS: f64 = 4096.0;

fn is_flat(kind: &str, steps: usize) {
    let (warm, end) = resident(kind, steps);
    assert!(end <= 1.1 * warm + ARENAS, "{kind}: {warm} KiB after the warm-up, {end} KiB after {steps} more steps");
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "resident memory is read from /proc")]
fn resident_memory_is_flat_over_batch_sizes() {
    let (cpu, gpu) = if in_part() { (100, 20) } else { (300, 40) };
    is_flat("batches", if open(false).kind() == DeviceKind::Cpu { cpu } else { gpu });
}

#[test]
#[ignore = "takes minutes: scripts/sweep memory"]
fn resident_memory_is_flat_over_many_sizes() {
    let (batches, images) = if open(false).kind() == DeviceKind::Cpu { (20_000, 2_000) } else { (300, 300) };
    is_flat("batches", batches);
    is_flat("images", images);
}

/// This process's resident memory in KiB.
fn resident_now() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Trains a small convolutional network: 100 steps of warm-up, then more; prints resident memory after each, and counters.
#[test]
#[ignore = "a part of the tests of resident memory, which run it in a process of its own"]
fn a_loop_in_a_process_of_its_own() {
    let Ok(wanted) = std::env::var("WGRAD_TEST_LOOP") else { return };
    let (kind, steps) = wanted.split_once(' ').expect("a kind and steps");
    let steps: usize = steps.parse().expect("a number");
    let device = open(false);
    // As many plans as the warm-up fills, twice over on a device where reading a loss takes none.
    device.set_cache_limits(CacheLimits { plans: 64, ..CacheLimits::default() });
    let init = Init::new(&device, 1);
    let same = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
    let model = Sequential::new()
        .push(Conv2d::with(1, 8, 3, same, &init).expect("valid"))
        .push(Relu)
        .push(Conv2d::with(8, 8, 3, same, &init).expect("valid"))
        .push(Relu)
        .push(GlobalAvgPool)
        .push(Flatten)
        .push(Linear::new(8, 10, &init).expect("valid"));
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig::default()).expect("valid");
    let mut noise = Noise(5);
    let mut step = |n: usize| {
        // A new batch size or image size in each step; batch sizes repeat once all have occurred.
        let [batch, h, w] = match kind {
            "batches" => [1 + n * 89 % 256, 16, 16],
            "images" => [2, 8 + n * 1009 % 2100 % 50, 8 + n * 1009 % 2100 / 50],
            other => panic!("{other}: neither batches nor images"),
        };
        let x = upload(&noise.values(batch * h * w, 0.0, 1.0), &[batch, 1, h, w], DType::F32, &device);
        let y: Vec<f64> = (0..batch).map(|i| (i % 10) as f64).collect();
        let loss = cross_entropy(&model.forward(&x).expect("valid"), &upload(&y, &[batch], DType::I32, &device), Reduction::Mean);
        let loss = loss.expect("valid");
        adam.step(loss.backward().expect("differentiable")).expect("steps");
        assert!(loss.item().expect("a scalar").is_finite());
    };
    const WARM_UP: usize = 100;
    (0..WARM_UP).for_each(&mut step);
    let warm = resident_now();
    (WARM_UP..WARM_UP + steps).for_each(&mut step);
    println!("resident: {warm} KiB, then {} KiB; {:?}", resident_now(), device.counters());
}
