//! Tests of modules, optimizers, data and training parts through the public interface, on the device that
//! `WGRAD_TEST_DEVICE` names (`cpu` by default; a suffix `+clamped` opens it with WebGPU's default limits).

mod atomic;
mod augment;
mod augmentations;
mod formula;
mod half;
mod layers;
mod layers_more;
mod mistakes;
mod models;
mod modules;
mod norms;
mod optimizers;
mod optimizers_more;
mod padding;
mod regularize;
#[path = "../rows/optimizers.rs"]
mod rows;
mod steady;
mod traces;
mod transfer;

use std::path::PathBuf;
use std::sync::OnceLock;
use wgrad::io::{HostTensor, StateDict};
use wgrad::{Device, DeviceOptions, Tensor};

/// The device under test. One that cannot be had fails every test: nothing is skipped.
fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(open)
}

/// A device of a test's own, for those that look at its counters.
fn open() -> Device {
    let wanted = std::env::var_os("WGRAD_TEST_DEVICE")
        .map_or("cpu".into(), |name| name.into_string().expect("WGRAD_TEST_DEVICE is UTF-8"));
    let (name, clamped) = wanted.strip_suffix("+clamped").map_or((wanted.as_str(), false), |n| (n, true));
    let options = DeviceOptions { clamped, checks: Some(true), ..DeviceOptions::default() };
    Device::named_with(name, options).unwrap_or_else(|e| panic!("WGRAD_TEST_DEVICE={wanted}: {e}"))
}

/// One of the files that `scripts/fixtures.py` has written.
fn fixture(name: &str) -> StateDict {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    StateDict::load(&path).unwrap_or_else(|e| panic!("{e}"))
}

/// A fixture's tensor.
fn host<'a>(dict: &'a StateDict, name: &str) -> &'a HostTensor {
    dict.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
}

/// A fixture's tensor on the device under test.
fn upload(tensor: &HostTensor) -> Tensor {
    Tensor::from_host(tensor.data.clone(), tensor.dtype, tensor.shape, device()).unwrap()
}

/// Asserts that values agree within `tolerance · (1 + |expected|)`.
fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * (1.0 + e.abs()), "{what}[{i}]: {f}, expected {e}");
    }
}

/// A tensor's values.
fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_host().unwrap().to_f64()
}
