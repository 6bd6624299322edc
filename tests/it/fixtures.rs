//! Fixtures written by PyTorch, and ops checked against them.

use crate::common::{close, open, values};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use wgrad::{ConvOptions, DType, Device, HostData, PoolOptions, Tensor};

/// A safetensors file in memory.
pub struct Fixture {
    bytes: Vec<u8>,
    arguments: HashMap<String, Value>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        let path = Path::new(crate::common::ROOT).join("tests/fixtures").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, metadata): (usize, Metadata) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let parse = |(k, v): (&String, &String)| Some((k.clone(), serde_json::from_str(v).ok()?));
        let arguments = metadata.metadata().as_ref().map(|m| m.iter().filter_map(parse).collect()).unwrap_or_default();
        Self { bytes, arguments }
    }

    /// The cases, and their arguments.
    pub fn cases(&self) -> Vec<(&str, &Value)> {
        let mut cases: Vec<_> = self.arguments.iter().filter(|c| c.1.is_object()).map(|(k, v)| (k.as_str(), v)).collect();
        cases.sort_by_key(|c| c.0);
        cases
    }

    /// Whether the file has a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).expect("a safetensors file").tensor(name).is_ok()
    }

    /// The names that start with a prefix, without the prefix.
    pub fn under(&self, prefix: &str) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let mut names: Vec<String> = file.names().iter().filter_map(|n| n.strip_prefix(prefix)).map(str::to_owned).collect();
        names.sort();
        names
    }

    pub fn host(&self, name: &str) -> (HostData, DType, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let dtype = if view.dtype() == safetensors::Dtype::I32 { DType::I32 } else { DType::F32 };
        (HostData::from_bytes(dtype, view.data()), dtype, view.shape().to_vec())
    }

    pub fn tensor(&self, name: &str, device: &Device) -> Tensor {
        let (data, dtype, shape) = self.host(name);
        Tensor::from_host(data, dtype, shape, device).expect("a fixture uploads")
    }

    pub fn values(&self, name: &str) -> Vec<f64> {
        self.host(name).0.to_f64()
    }
}

fn pair(v: &Value, default: usize) -> [usize; 2] {
    let one = |v: &Value| usize::try_from(v.as_u64().expect("a count")).expect("small");
    match v {
        Value::Array(a) => [one(&a[0]), one(&a[1])],
        Value::Null => [default; 2],
        v => [one(v); 2],
    }
}

/// What our op computes for a case, from its inputs in the order of PyTorch's arguments.
fn run(op: &str, arguments: &Value, get: &dyn Fn(&str) -> Tensor) -> Option<Tensor> {
    let number = |k: &str| arguments.get(k).and_then(Value::as_f64);
    let of = |k: &str| arguments.get(k).cloned().unwrap_or(Value::Null);
    let x = || get("x");
    Some(match op {
        "conv2d" => {
            let options = ConvOptions {
                stride: pair(&of("stride"), 1),
                padding: pair(&of("padding"), 0),
                dilation: pair(&of("dilation"), 1),
                groups: pair(&of("groups"), 1)[0],
                ..Default::default()
            };
            x().conv2d(&get("weight"), Some(&get("bias")), options)
        }
        "max_pool2d" | "avg_pool2d" => {
            let kernel = pair(&of("kernel_size"), 1);
            let stride = if of("stride").is_null() { None } else { Some(pair(&of("stride"), 1)) };
            let count_include_pad = arguments.get("count_include_pad").and_then(Value::as_bool).unwrap_or(true);
            let options = PoolOptions { stride, padding: pair(&of("padding"), 0), dilation: [1, 1], count_include_pad };
            if op == "max_pool2d" { x().max_pool2d_with(kernel, options) } else { x().avg_pool2d_with(kernel, options) }
        }
        "matmul" => get("a").matmul(&get("b")),
        "softmax" => x().softmax(number("dim")? as isize),
        "log_softmax" => x().log_softmax(number("dim")? as isize),
        "cross_entropy" => get("logits").cross_entropy_rows(&get("labels")).mean(),
        "softplus" => x().softplus_with(number("beta")?, number("threshold")?),
        "gelu" if arguments.get("approximate").and_then(Value::as_str) == Some("tanh") => x().gelu_tanh(),
        "gelu" => x().gelu(),
        "elu" => x().elu(number("alpha")?),
        "silu" => x().silu(),
        "mish" => x().mish(),
        "hardswish" => x().hardswish(),
        "atan2" => get("y").atan2(&get("x")),
        "pow" => match number("exponent") {
            Some(e) => x().powf(e),
            None => x().pow(&get("exponent")),
        },
        "remainder" => match number("divisor") {
            Some(d) => x() % d,
            None => x() % get("divisor"),
        },
        _ => return crate::fixtures_core::elementwise(op, get),
    })
}

/// What our op computes for a case (its name, its arguments, its inputs by name); `None` if another test checks it.
type Run<'a> = &'a dyn Fn(&str, &Value, &dyn Fn(&str) -> Tensor) -> Option<Tensor>;

/// Runs every case of a file that `run` knows, forward and backward; returns how many there were.
pub fn agree(file: &str, run: Run) -> usize {
    let fixture = Fixture::open(file);
    // A device of its own: the driver keeps what it compiles for hundreds of cases until the device is closed.
    let device = &open(false);
    let mut checked = 0;
    for (case, arguments) in fixture.cases() {
        let op = case.split('.').next().expect("op.case");
        let inputs: HashMap<String, Tensor> = fixture
            .under(&format!("{case}.in."))
            .into_iter()
            .map(|n| {
                let t = fixture.tensor(&format!("{case}.in.{n}"), device);
                let t = if t.dtype().expect("valid").is_float() { t.variable().expect("float") } else { t };
                (n, t)
            })
            .collect();
        let get = |n: &str| inputs.get(n).unwrap_or_else(|| panic!("{case} has no input {n}")).clone();
        let Some(y) = run(op, arguments, &get) else { continue };
        close(case, &values(&y), &fixture.values(&format!("{case}.out")), 2e-5, 2e-5);
        checked += 1;
        if !fixture.has(&format!("{case}.ct")) {
            continue;
        }
        let g = y.backward_with(&fixture.tensor(&format!("{case}.ct"), device)).unwrap_or_else(|e| panic!("{case}: {e}"));
        for n in fixture.under(&format!("{case}.grad.")) {
            let got = g.get(&inputs[&n]).unwrap_or_else(|e| panic!("{case}.{n}: {e}"));
            close(&format!("{case}.grad.{n}"), &values(&got), &fixture.values(&format!("{case}.grad.{n}")), 5e-5, 5e-5);
        }
    }
    checked
}

#[test]
fn ops_agree_with_pytorch() {
    let checked = agree("ops.safetensors", &run);
    assert_eq!(checked, Fixture::open("ops.safetensors").cases().len(), "every case of the file is checked");
}
