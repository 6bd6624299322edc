//! The device under test, the oracle, and comparison.

use approx::abs_diff_eq;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use wgrad::io::{HostTensor, StateDict};
use wgrad::{CacheLimits, DType, Device, DeviceOptions, Error, HostData, Tensor};

/// The repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The device that this process tests, fused and unfused.
pub struct Devices {
    pub fused: Device,
    pub unfused: Device,
}

/// How long a submission may take on a device opened as slow: so short that most kernels are split.
pub const SLOW: Duration = Duration::from_micros(2);

/// Opens the device once. If the device is not available, every test fails: nothing is skipped.
pub fn devices() -> &'static Devices {
    static DEVICES: OnceLock<Devices> = OnceLock::new();
    DEVICES.get_or_init(|| Devices { fused: open(false), unfused: open(true) })
}

/// The device under test opened once more, for tests that count what it does: nobody else uses this one.
pub fn open(unfused: bool) -> Device {
    open_as(|options| options.unfused = unfused)
}

/// As [`open`], with further options.
pub fn open_as(change: impl FnOnce(&mut DeviceOptions)) -> Device {
    let wanted = std::env::var_os("WGRAD_TEST_DEVICE")
        .map_or("cpu".into(), |name| name.into_string().expect("WGRAD_TEST_DEVICE is UTF-8"));
    let (name, suffixes) = wanted.split_once('+').unwrap_or((&wanted, ""));
    let (mut clamped, mut hardware_kernels, mut short_texts, mut submission) = (false, false, false, None);
    for suffix in suffixes.split('+').filter(|s| !s.is_empty()) {
        match suffix {
            "clamped" => clamped = true,
            "hardware" => hardware_kernels = true,
            "short" => short_texts = true,
            "slow" => submission = Some(SLOW),
            other => panic!("WGRAD_TEST_DEVICE={wanted}: +{other} is none of +clamped, +hardware, +short, +slow"),
        }
    }
    let checks = Some(true);
    let mut options = DeviceOptions { clamped, checks, hardware_kernels, short_texts, submission, ..DeviceOptions::default() };
    change(&mut options);
    Device::named_with(name, options).unwrap_or_else(|e| panic!("WGRAD_TEST_DEVICE={wanted}: {e}"))
}

/// Whether the device under test has short texts: that is asked for, or it is SwiftShader.
pub fn has_short_texts() -> bool {
    std::env::var("WGRAD_TEST_DEVICE").is_ok_and(|d| d.contains("+short")) || device().name().contains("SwiftShader")
}

/// As [`open`], with a cache that evicts no plan, for tests that look at the shaders of all plans.
pub fn open_unlimited(unfused: bool) -> Device {
    let device = open(unfused);
    device.set_cache_limits(CacheLimits { bytes: u64::MAX, plans: usize::MAX });
    device
}

/// This program once more, for a test that needs a process of its own. WGRAD_TEST_RUNNER is the command that runs programs of this
/// platform here, if it takes one.
pub fn this_program() -> Command {
    let me = std::env::current_exe().expect("this test is a program");
    let runner = std::env::var("WGRAD_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else { return Command::new(me) };
    let mut command = Command::new(first);
    command.args(words).arg(me);
    command
}

/// How many times the time that a test allows an emulator may take.
pub fn allowance() -> f64 {
    if std::env::var_os("WGRAD_TEST_RUNNER").is_some() { 30.0 } else { 1.0 }
}

/// The device under test.
pub fn device() -> &'static Device {
    &devices().fused
}

/// The CPU device: on f64 tensors it runs the reference executor.
pub fn oracle() -> Device {
    Device::cpu().expect("the CPU device opens")
}

/// A small deterministic generator for test data, independent of the one under test: SplitMix64.
pub struct Noise(pub u64);

impl Noise {
    /// Uniform on [0, 1).
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Values in [lo, hi), exact in f32.
    pub fn values(&mut self, n: usize, lo: f64, hi: f64) -> Vec<f64> {
        (0..n).map(|_| f64::from((lo + (hi - lo) * self.next()) as f32)).collect()
    }
}

/// How a tensor's elements lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Contiguous,
    /// A permuted view with the axes reversed.
    Transposed,
    /// Every other element of a larger tensor, starting with the second.
    Sliced,
    /// A view reversed along the last axis.
    Flipped,
    /// Broadcast along the first axis.
    Broadcast,
    /// A slice of a tensor that is padded with zeros.
    Padded,
}

pub const LAYOUTS: [Layout; 6] =
    [Layout::Contiguous, Layout::Transposed, Layout::Sliced, Layout::Flipped, Layout::Broadcast, Layout::Padded];

/// Uploads f64 values in a dtype.
pub fn upload(values: &[f64], shape: &[usize], dtype: DType, device: &Device) -> Tensor {
    let data = match dtype {
        DType::F64 => HostData::F64(values.to_vec()),
        DType::F32 => HostData::F32(values.iter().map(|&v| v as f32).collect()),
        DType::I32 => HostData::I32(values.iter().map(|&v| v as i32).collect()),
        // Booleans are uploaded as numbers.
        DType::U32 | DType::Bool => HostData::U32(values.iter().map(|&v| v as u32).collect()),
        other => panic!("{other} is not uploaded from numbers: cast to it"),
    };
    Tensor::from_host(data, dtype, shape, device).expect("test data uploads")
}

/// One of the files that `scripts/fixtures` has written.
pub fn fixture(name: &str) -> StateDict {
    let path = Path::new(ROOT).join("tests/fixtures").join(name);
    StateDict::load(&path).unwrap_or_else(|e| panic!("{e}"))
}

/// A fixture's tensor.
pub fn host<'a>(dict: &'a StateDict, name: &str) -> &'a HostTensor {
    dict.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
}

/// A fixture's tensor on the device under test.
pub fn upload_host(tensor: &HostTensor) -> Tensor {
    Tensor::from_host(tensor.data.clone(), tensor.dtype, tensor.shape, device()).expect("a fixture uploads")
}

/// A tensor with these elements in row-major order, whatever the layout. `Broadcast` repeats the first slice.
pub fn arrange(leaf: &Tensor, layout: Layout) -> Tensor {
    let shape = leaf.shape().expect("a valid leaf");
    let rank = shape.rank();
    if rank == 0 || shape.numel() == 0 {
        return leaf.clone();
    }
    let last = rank as isize - 1;
    let len = shape[rank - 1] as isize;
    match layout {
        Layout::Contiguous => leaf.clone(),
        Layout::Transposed => {
            let order: Vec<usize> = (0..rank).rev().collect();
            // Materialise the reversed copy, then view it back.
            let reversed = leaf.permute(&order) * 1.0;
            reversed.eval().expect("a copy evaluates");
            reversed.permute(&order)
        }
        Layout::Sliced => {
            let spaced = leaf.unsqueeze(last + 1).pad(&{
                let mut p = vec![(0, 0); rank + 1];
                p[rank] = (1, 0);
                p
            });
            let mut wide = shape.to_vec();
            wide[rank - 1] *= 2;
            spaced.reshape(wide).slice_step(last, 1, 2 * len, 2)
        }
        Layout::Flipped => (leaf.flip(last) * 1.0).flip(last),
        Layout::Broadcast => {
            let mut one = shape.to_vec();
            one[0] = 1;
            leaf.slice(0, 0, 1).reshape(one).expand(shape)
        }
        Layout::Padded => {
            let around: Vec<(usize, usize)> = shape.iter().map(|_| (1, 2)).collect();
            let mut t = leaf.pad(&around);
            for d in 0..rank {
                t = t.slice(d as isize, 1, 1 + shape[d] as isize);
            }
            t
        }
    }
}

/// Checks values against the oracle: each within `absolute + relative · |expected|`.
pub fn close(what: &str, got: &[f64], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: length");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let same = g == e || (g.is_nan() && e.is_nan());
        // A tolerance relative to infinity is infinite: any number would pass.
        let near = e.is_finite() && abs_diff_eq!(g, e, epsilon = absolute + relative * e.abs());
        assert!(same || near, "{what}: element {i} is {g:e}, expected {e:e}");
    }
}

/// `close` with one tolerance, which counts as absolute below 1 and as relative above.
pub fn near(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    close(what, got, expected, tolerance, tolerance);
}

/// Whether an error is of a kind that a wrong call may give.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Op(_) | Error::Index { .. } | Error::Argument { .. } | Error::Unsupported { .. } | Error::OutOfMemory { .. }
    )
}

/// The file that a wrong call's error names.
pub fn file_of(error: &Error) -> Option<&'static str> {
    match error {
        Error::Op(error) => Some(error.at.file()),
        Error::Argument { at, .. } | Error::Index { at, .. } | Error::Gradient { at, .. } => Some(at.file()),
        _ => None,
    }
}

/// A tensor's elements as f64.
pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_host().unwrap_or_else(|e| panic!("{e}")).to_f64()
}

/// A case that an adapter cannot pass, and the reason.
pub struct Exception {
    /// Part of the adapter's name.
    pub adapter: &'static str,
    /// Whether this applies only to the kernels for hardware GPUs.
    pub hardware_kernels: bool,
    pub op: &'static str,
    pub reason: &'static str,
}

/// Every exception there is.
const EXCEPTIONS: [Exception; 0] = [];

/// Whether the device under test is excused from an op; says so in the output.
pub fn excepted(op: &str) -> bool {
    let hardware = std::env::var("WGRAD_TEST_DEVICE").is_ok_and(|d| d.contains("+hardware"));
    let name = device().name();
    let found = EXCEPTIONS.iter().find(|e| e.op == op && name.contains(e.adapter) && (hardware || !e.hardware_kernels));
    if let Some(e) = found {
        // Directly to standard error: the harness would swallow what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nEXCEPTION: {op} on {name}: {}", e.reason);
    }
    found.is_some()
}
