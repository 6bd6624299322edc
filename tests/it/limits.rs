//! Devices with a limit on memory: a step for which there is no room is an error that says what the memory is used for, changes
//! nothing, and the next step goes on as if it had not been.

use crate::common::{Noise, open, open_as, this_program};
use crate::sweep::{in_part, in_whole};
use wgrad::io::StateDict;
use wgrad::nn::models::Mlp;
use wgrad::nn::{
    BatchNorm2d, Conv2d, ConvOptions, Flatten, GlobalAvgPool, Init, Linear, Module, Relu, TransformerConfig,
    TransformerEncoderLayer, sequential,
};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{CacheLimits, Device, DeviceKind, Error, Param, Result, Tensor};

/// A network's name, its input, and how it is made.
type Case = (&'static str, &'static [usize], fn(&Init) -> Result<Box<dyn Module>>);

const CASES: [Case; 3] = [
    ("perceptron", &[16, 20], |init| Ok(Box::new(Mlp::new(&[20, 64, 5], init)?))),
    ("convolutions", &[4, 3, 10, 10], |init| {
        let same = ConvOptions::default().padding(1);
        Ok(Box::new(sequential![
            Conv2d::with(3, 8, 3, same, init)?,
            BatchNorm2d::new(8, init)?,
            Relu,
            Conv2d::with(8, 8, 3, same, init)?,
            GlobalAvgPool,
            Flatten,
            Linear::new(8, 5, init)?,
        ]))
    }),
    ("transformer", &[2, 6, 16], |init| {
        let config = TransformerConfig { dim_feedforward: 32, dropout: 0.0, ..TransformerConfig::default() };
        Ok(Box::new(sequential![TransformerEncoderLayer::with(16, 2, config, init)?, Flatten, Linear::new(96, 5, init)?]))
    }),
];

/// A network in training on a device.
struct Training {
    device: Device,
    model: Box<dyn Module>,
    optimizer: Box<dyn Optimizer>,
    input: Vec<f32>,
    shape: &'static [usize],
}

impl Training {
    fn new(case: Case, adam: bool, device: &Device) -> Self {
        let (_, shape, make) = case;
        let model = make(&Init::new(device, 3)).expect("valid");
        let params = model.parameters().expect("some");
        let optimizer: Box<dyn Optimizer> = if adam {
            Box::new(Adam::new(&params, AdamConfig::default()).expect("valid"))
        } else {
            Box::new(Sgd::new(&params, SgdConfig { momentum: 0.9, ..SgdConfig::default() }).expect("valid"))
        };
        let input = Noise(5).values(shape.iter().product(), -1.0, 1.0).into_iter().map(|x| x as f32).collect();
        Self { device: device.clone(), model, optimizer, input, shape }
    }

    /// A step's loss.
    fn step(&mut self) -> Result<f64> {
        let x = Tensor::from_slice(&self.input, self.shape, &self.device)?;
        let labels: Vec<i32> = (0..self.shape[0] as i32).map(|i| i % 5).collect();
        let loss = self.model.forward(&x)?.cross_entropy(&Tensor::from_slice(&labels, [labels.len()], &self.device)?);
        self.optimizer.step(loss.backward()?)?;
        loss.item()
    }

    /// Everything that a step changes.
    fn state(&self) -> (StateDict, StateDict) {
        (self.model.state_dict().expect("readable"), self.optimizer.state_dict().expect("readable"))
    }
}

/// Frees all that is only kept for later, so that a step allocates all that it needs.
fn forget(device: &Device) {
    device.set_cache_limits(CacheLimits { bytes: 0, plans: 0 });
    device.set_cache_limits(CacheLimits::default());
}

#[test]
fn a_step_without_room_changes_nothing() {
    let parts: u32 = if in_part() {
        3
    } else if in_whole() {
        12
    } else {
        6
    };
    let (mut refused, mut tried) = (0, 0);
    for case in CASES {
        for adam in [false, true] {
            let what = format!("{}, {}", case.0, if adam { "Adam" } else { "SGD" });
            let device = open(false);
            let mut undisturbed = Training::new(case, adam, &device);
            let expected: Vec<f64> = (0..parts + 2).map(|_| undisturbed.step().expect("steps")).collect();
            drop(undisturbed);
            let device = open(false);
            let mut training = Training::new(case, adam, &device);
            assert_eq!(training.step().expect("steps"), expected[0], "{what}");
            forget(&device);
            assert_eq!(training.step().expect("steps"), expected[1], "{what}");
            let most = device.memory_use().total();
            for part in 0..parts {
                let before = training.state();
                forget(&device);
                let held = device.memory_use().total();
                // A fraction each time, of 12 parts a quarter: plans and pipelines take much more than values, or much less.
                let room = (2 * (most - held)).checked_shr(24 / parts * (parts - 1 - part)).unwrap_or(0);
                device.set_memory_limit(held + room);
                let outcome = training.step();
                device.set_memory_limit(u64::MAX);
                tried += 1;
                let loss = match outcome {
                    Ok(loss) => loss,
                    Err(error) => {
                        refused += 1;
                        let Error::OutOfMemory { wanted, in_use, limit: Some(limit), by_use: Some(by_use), .. } = &error else {
                            panic!("{what}, part {part}: {error}")
                        };
                        assert!(in_use + wanted > *limit && by_use.parameters > 0, "{what}, part {part}: {error}");
                        assert_eq!(by_use.total(), *in_use, "{error}");
                        assert!(training.state() == before, "{what}, part {part}: the state has changed");
                        training.step().unwrap_or_else(|e| panic!("{what}, part {part}: the next step: {e}"))
                    }
                };
                assert_eq!(loss, expected[part as usize + 2], "{what}, part {part}");
            }
        }
    }
    println!("{refused} of {tried} steps were refused");
    assert!(refused >= tried / 12 && refused < tried, "{refused} of {tried} steps were refused");
}

#[test]
fn uses_add_up_to_what_is_held() {
    let device = open(false);
    assert_eq!(device.memory_use().to_string(), "nothing");
    let mut training = Training::new(CASES[0], true, &device);
    let count: usize = training.model.parameters().expect("some").iter().map(|p| p.shape().numel()).sum();
    for _ in 0..3 {
        training.step().expect("steps");
        device.flush().expect("idle");
        let (now, counters) = (device.memory_use(), device.counters());
        assert_eq!((now.parameters, now.state, now.kept), (4 * count as u64, 8 * count as u64, 0), "{now}");
        assert_eq!(now.parameters + now.state + now.tensors + now.saved + now.kept, counters.bytes_live, "{now}");
        assert_eq!(now.working + now.cached, counters.bytes_cached, "{now}");
        assert_eq!(now.total(), counters.bytes_live + counters.bytes_cached);
    }
    let x = Tensor::ones([256, 4], &device).expect("valid");
    x.eval().expect("evaluates");
    let (before, _copy) = (device.memory_use(), (x * 2.0).eval());
    drop(training);
    let after = device.memory_use();
    assert_eq!((after.parameters, after.state), (0, 0));
    assert!(after.tensors <= before.tensors, "{after}");
}

#[test]
fn data_for_which_there_is_no_room_is_refused_before_it_is_copied() {
    let device = open_as(|options| options.memory = Some(1 << 20));
    assert_eq!(device.memory_limit(), Some(1 << 20));
    let data = vec![0.5f32; 1 << 18];
    let first = Tensor::from_slice(&data[..1 << 17], [1 << 17], &device).expect("half of it");
    for error in [
        Tensor::from_slice(&data, [1 << 18], &device).expect_err("more than is left"),
        Tensor::zeros([1 << 18], &device).expect("lazy").eval().expect_err("more than is left"),
        first.exp().eval().expect_err("as much again, and a plan"),
    ] {
        assert!(matches!(error, Error::OutOfMemory { limit: Some(0x10_0000), .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("are in use: tensors 524288") && text.contains("help: use smaller batches"), "{text}");
    }
    drop(first);
    let _ = Tensor::from_slice(&data[..200_000], [200_000], &device).expect("there is room again");
}

#[test]
fn the_host_sets_a_limit_where_its_memory_is_used() {
    let device = open(false);
    match device.kind() {
        DeviceKind::Cpu | DeviceKind::Software => {
            let limit = device.memory_limit().expect("the system says how much memory there is");
            assert!((1 << 24..1 << 50).contains(&limit), "{limit}");
        }
        _ => assert_eq!(device.memory_limit(), None),
    }
}

/// Doubles a batch until memory runs out, then trains on with a small one.
#[test]
#[ignore = "runs in a process of its own, with little address space"]
fn a_batch_that_doubles() {
    let device = open(false);
    let w = Param::new(&Tensor::full([64, 64], 0.01, &device).expect("lazy")).expect("room for it");
    let mut adam = Adam::new(std::slice::from_ref(&w), AdamConfig::default()).expect("room for it");
    let mut step = |rows: usize| -> Result<f64> {
        let data = vec![0.5f32; 64 * 64];
        let x = Tensor::from_slice(&data, [64, 64], &device)?.repeat(&[rows.div_ceil(64), 1]).exp();
        let loss = x.matmul(&w.tensor()).tanh().square().mean();
        adam.step(loss.backward()?)?;
        loss.item()
    };
    let mut rows = 64;
    let error = loop {
        match step(rows) {
            Ok(_) => rows *= 2,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OutOfMemory { .. }), "{rows} rows: {error}");
    step(64).expect("a small batch");
    println!("refused at {rows} rows: {error}");
}

/// Of the CPU device, whichever is under test. Not for emulators, which have an address space of their own.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux limits the address space of a process")]
fn too_little_address_space_is_an_error_and_not_the_end() {
    let me = this_program().get_program().to_owned();
    for mebibytes in [600, 900] {
        let limit =
            format!("ulimit -v {}; exec \"$0\" --exact limits::a_batch_that_doubles --ignored --nocapture", mebibytes << 10);
        let run = std::process::Command::new("sh")
            .arg("-c")
            .arg(limit)
            .arg(&me)
            .env("WGRAD_TEST_DEVICE", "cpu")
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && text.contains("refused at"), "{mebibytes} MiB: {run:?}");
    }
}
