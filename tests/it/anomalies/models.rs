//! Networks: each parameter in turn, inputs, numbers that grow.

use super::{here, is_here, stopped};
use crate::common::{Noise, device, devices};
use wgrad::error::AnomalyKind;
use wgrad::nn::models::{Gpt, GptConfig};
use wgrad::nn::{
    BatchNorm2d, Conv2d, ConvOptions, Embedding, Flatten, GlobalAvgPool, Init, Linear, Lstm, Module, Relu, Residual, Sequential,
    TransformerConfig, TransformerEncoderLayer,
};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::{Device, DeviceKind, Param, Result, Tensor};

/// A network's name, its input's shape (tokens below 7 if it takes those), and how it is made.
pub struct Network {
    pub name: &'static str,
    pub shape: &'static [usize],
    pub tokens: bool,
    pub make: fn(&Init) -> Result<Box<dyn Module>>,
}

pub const NETWORKS: [Network; 5] = [
    Network {
        name: "perceptron",
        shape: &[6, 8],
        tokens: false,
        make: |init| {
            let model = Sequential::new().push_named("fc1", Linear::new(8, 12, init)?).push(Relu);
            Ok(Box::new(model.push_named("fc2", Linear::new(12, 5, init)?)))
        },
    },
    Network {
        name: "convolutions",
        shape: &[4, 3, 6, 6],
        tokens: false,
        make: |init| {
            let same = ConvOptions::default().padding(1);
            let model = Sequential::new().push_named("conv", Conv2d::with(3, 6, 3, same, init)?);
            let model = model.push_named("bn", BatchNorm2d::new(6, init)?).push(Relu);
            let model = model.push_named("block", Residual::new(Conv2d::with(6, 6, 3, same, init)?));
            Ok(Box::new(model.push(GlobalAvgPool).push(Flatten).push_named("fc", Linear::new(6, 5, init)?)))
        },
    },
    Network {
        name: "transformer",
        shape: &[4, 6, 8],
        tokens: false,
        make: |init| {
            let config = TransformerConfig { dim_feedforward: 12, dropout: 0.0, ..TransformerConfig::default() };
            let model = Sequential::new().push_named("layer", TransformerEncoderLayer::with(8, 2, config, init)?);
            Ok(Box::new(model.push(Flatten).push_named("fc", Linear::new(48, 5, init)?)))
        },
    },
    Network {
        name: "lstm",
        shape: &[4, 6, 3],
        tokens: false,
        make: |init| {
            let config = wgrad::nn::RecurrentConfig { batch_first: true, num_layers: 2, ..Default::default() };
            let model = Sequential::new().push_named("lstm", Lstm::with(3, 5, config, init)?);
            Ok(Box::new(model.push(Flatten).push_named("fc", Linear::new(30, 5, init)?)))
        },
    },
    Network {
        name: "tokens",
        shape: &[4, 6],
        tokens: true,
        make: |init| {
            let model = Sequential::new().push_named("embed", Embedding::new(7, 4, init)?);
            Ok(Box::new(model.push(Flatten).push_named("fc", Linear::new(24, 5, init)?)))
        },
    },
];

impl Network {
    /// The network with names.
    pub fn on(&self, device: &Device) -> Box<dyn Module> {
        let model = (self.make)(&Init::new(device, 3)).expect("valid");
        model.parameters().expect("valid");
        model
    }

    /// An input's values.
    pub fn values(&self, seed: u64) -> Vec<f32> {
        let n = self.shape.iter().product();
        Noise(seed).values(n, -1.0, 1.0).into_iter().map(|v| v as f32).collect()
    }

    /// The loss of an input.
    pub fn loss(&self, model: &dyn Fn(&Tensor) -> Result<Tensor>, values: &[f32], device: &Device) -> Result<Tensor> {
        let x = if self.tokens {
            let tokens: Vec<i32> = values.iter().map(|v| ((v.abs() * 100.0) as i32) % 7).collect();
            Tensor::from_slice(&tokens, self.shape, device)?
        } else {
            Tensor::from_slice(values, self.shape, device)?
        };
        let labels: Vec<i32> = (0..self.shape[0] as i32).map(|i| i % 5).collect();
        Ok(model(&x)?.cross_entropy(&Tensor::from_slice(&labels, [labels.len()], device)?))
    }
}

/// Sets every element of a parameter.
fn fill(param: &Param, value: f64) {
    param.set(&param.tensor().full_like(value)).expect("it fits");
}

#[test]
fn a_parameter_that_is_nan_is_named_with_its_layer() {
    let all = device().kind() == DeviceKind::Cpu;
    for network in NETWORKS {
        let model = network.on(device());
        let parameters = model.named_parameters().expect("valid");
        let kept = parameters.len().div_ceil(4);
        for (name, param) in parameters.iter().step_by(if all { 1 } else { kept }) {
            let before = param.tensor().to_host().expect("reads");
            fill(param, f64::NAN);
            let found = stopped(|| {
                let loss = network.loss(&|x| here(line!(), model.forward(x)), &network.values(5), device())?;
                loss.backward()?.eval()?;
                loss.item()
            });
            let what = format!("{}, {name}", network.name);
            let found = found.unwrap_or_else(|| panic!("{what}: nothing was found"));
            assert_eq!(found.kind, AnomalyKind::Parameter, "{what}: {found}");
            assert_eq!(found.parameter.as_ref(), Some(name), "{what}: {found}");
            assert_eq!(found.layer.as_deref(), name.rsplit_once('.').map(|(layer, _)| layer), "{what}: {found}");
            assert!(found.value.is_nan() && found.shape == param.shape(), "{what}: {found}");
            assert!(is_here(&found, file!()), "{what}: {found}");
            param.set(&Tensor::from_host(before, param.dtype(), param.shape(), device()).expect("uploads")).expect("it fits");
        }
        let clean = stopped(|| network.loss(&|x| model.forward(x), &network.values(5), device())?.item());
        assert!(clean.is_none(), "{}: {}", network.name, clean.expect("found"));
    }
}

/// What is done to a network or its input, and what is named: kind, op, layer.
type Poison = (&'static str, fn(&dyn Module, &mut [f32]), AnomalyKind, &'static str, &'static str);

fn set(model: &dyn Module, name: &str, value: f64) {
    let all = model.named_parameters().expect("valid");
    fill(&all.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1, value);
}

const POISONS: [(usize, Poison); 11] = [
    (0, ("NaN in the batch", |_, x| x[9] = f32::NAN, AnomalyKind::Input, "matmul", "fc1")),
    (0, ("an infinity in the batch", |_, x| x[9] = f32::INFINITY, AnomalyKind::Input, "matmul", "fc1")),
    (0, ("weights that have grown", |m, _| set(m, "fc2.weight", 3e38), AnomalyKind::Value, "matmul", "fc2")),
    (
        0,
        (
            "a bias that has grown",
            |m, x| {
                set(m, "fc2.bias", 3.3e38);
                set(m, "fc1.bias", 1e37);
                set(m, "fc2.weight", 1.0);
                x.fill(0.0);
            },
            AnomalyKind::Value,
            "add",
            "fc2",
        ),
    ),
    (1, ("NaN in an image", |_, x| x[9] = f32::NAN, AnomalyKind::Input, "conv2d", "conv")),
    (1, ("images that have grown", |_, x| x.iter_mut().for_each(|v| *v *= 1e30), AnomalyKind::Value, "batch_norm", "bn")),
    (1, ("a kernel that has grown", |m, _| set(m, "block.body.weight", 3e38), AnomalyKind::Value, "conv2d", "block.body")),
    (2, ("NaN in a sequence", |_, x| x[9] = f32::NAN, AnomalyKind::Input, "matmul", "layer.self_attn")),
    (2, ("weights that have grown", |m, _| set(m, "layer.linear1.weight", 3e38), AnomalyKind::Value, "matmul", "layer.linear1")),
    (3, ("NaN in a sequence", |_, x| x[9] = f32::NAN, AnomalyKind::Input, "Lstm", "lstm")),
    (
        3,
        (
            "a head that has grown",
            |m, _| {
                set(m, "lstm.bias_ih_l1", 10.0);
                set(m, "fc.weight", 3e38);
            },
            AnomalyKind::Value,
            "matmul",
            "fc",
        ),
    ),
];

#[test]
fn what_spoils_a_network_is_named() {
    let both = devices();
    for device in [&both.fused, &both.unfused] {
        for (network, (what, poison, kind, op, layer)) in POISONS {
            let network = &NETWORKS[network];
            let what = format!("{}: {what}", network.name);
            let model = network.on(device);
            let mut values = network.values(5);
            poison(&*model, &mut values);
            let mut sgd = Sgd::new(&model.parameters().expect("valid"), SgdConfig::default()).expect("valid");
            let found = stopped(|| {
                let loss = network.loss(&|x| here(line!(), model.forward(x)), &values, device)?;
                loss.item()?;
                sgd.step(loss.backward()?)
            });
            let found = found.unwrap_or_else(|| panic!("{what}: nothing was found"));
            assert_eq!((found.kind, found.op.as_str(), found.layer.as_deref()), (kind, op, Some(layer)), "{what}: {found}");
            assert!(is_here(&found, file!()), "{what}: {found}");
        }
    }
}

#[test]
fn a_language_model_names_the_line_that_calls_it() {
    let config =
        GptConfig { vocab_size: 7, block_size: 6, n_layer: 2, n_head: 2, n_embd: 8, dropout: 0.0, ..GptConfig::default() };
    let model = Gpt::new(config, &Init::new(device(), 1)).expect("valid");
    let tokens = Tensor::from_slice(&[1, 2, 3, 4], [1, 4], device()).expect("uploads");
    for (name, param) in model.named_parameters().expect("valid").into_iter().step_by(5) {
        let before = param.tensor() * 1.0;
        before.eval().expect("copies");
        fill(&param, f64::NAN);
        let found = stopped(|| here(line!(), model.forward(&tokens))?.sum().item());
        let found = found.unwrap_or_else(|| panic!("{name}: nothing was found"));
        assert_eq!((found.kind, found.parameter.as_ref()), (AnomalyKind::Parameter, Some(&name)), "{found}");
        assert!(is_here(&found, file!()), "{found}");
        param.set(&before).expect("it fits");
    }
}
