//! Ten training steps of four models against PyTorch in f64: losses, final weights and running statistics.

use crate::common::{device, fixture, host, near as close, upload_host as upload, values};
use wgrad::io::StateDict;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{
    BatchNorm2d, Conv2d, ConvOptions, Flatten, Init, LayerNorm, Linear, Lstm, MaxPool2d, Module, RecurrentConfig, Relu,
    Sequential, TransformerConfig, TransformerEncoder, TransformerEncoderLayer,
};
use wgrad::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{Result, Tensor, fields};

fn mlp(init: &Init) -> Sequential {
    Sequential::new()
        .push_named("fc1", Linear::new(20, 16, init).unwrap())
        .push_named("relu1", Relu)
        .push_named("fc2", Linear::new(16, 5, init).unwrap())
}

fn cnn(init: &Init) -> Sequential {
    let same = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
    Sequential::new()
        .push_named("conv1", Conv2d::with(1, 4, 3, same, init).unwrap())
        .push_named("bn1", BatchNorm2d::new(4, init).unwrap())
        .push_named("relu1", Relu)
        .push_named("pool1", MaxPool2d::new(2))
        .push_named("conv2", Conv2d::with(4, 6, 3, same, init).unwrap())
        .push_named("bn2", BatchNorm2d::new(6, init).unwrap())
        .push_named("relu2", Relu)
        .push_named("flatten", Flatten)
        .push_named("fc", Linear::new(96, 5, init).unwrap())
}

/// The last step of `[n, t, h]`.
struct Last;

impl Module for Last {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let end = x.dim(1)? as isize;
        Ok(x.slice(1, end - 1, end).squeeze(1))
    }
    fields!();
}

/// The mean over the steps of `[n, t, h]`.
struct Mean;

impl Module for Mean {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.mean_dim(1))
    }
    fields!();
}

fn lstm(init: &Init) -> Sequential {
    let config = RecurrentConfig { num_layers: 2, batch_first: true, ..RecurrentConfig::default() };
    Sequential::new()
        .push_named("lstm", Lstm::with(5, 8, config, init).unwrap())
        .push_named("last", Last)
        .push_named("fc", Linear::new(8, 4, init).unwrap())
}

fn transformer(init: &Init) -> Sequential {
    let config = TransformerConfig { dim_feedforward: 16, dropout: 0.0, norm_first: true, ..TransformerConfig::default() };
    let layers = (0..2).map(|_| TransformerEncoderLayer::with(8, 2, config, init).unwrap()).collect();
    Sequential::new()
        .push_named("embed", Linear::new(5, 8, init).unwrap())
        .push_named("encoder", TransformerEncoder::new(layers, Some(LayerNorm::new([8], init).unwrap())))
        .push_named("mean", Mean)
        .push_named("fc", Linear::new(8, 4, init).unwrap())
}

fn follow(name: &str, model: &Sequential, optimizer: &mut dyn Optimizer, dict: &StateDict) {
    model.load_state_dict(&dict.under(&format!("{name}.init."))).unwrap();
    let expected = host(dict, &format!("{name}.loss")).data.to_f64();
    for (t, &expected) in expected.iter().enumerate() {
        let logits = model.forward(&upload(host(dict, &format!("{name}.x.{t}")))).unwrap();
        let loss = cross_entropy(&logits, &upload(host(dict, &format!("{name}.y.{t}"))), Reduction::Mean).unwrap();
        optimizer.step(loss.backward().unwrap()).unwrap();
        let found = values(&loss)[0];
        assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{name}, loss {t}: {found}, expected {expected}");
    }
    let end = model.state_dict().unwrap();
    for (key, expected) in dict.under(&format!("{name}.final.")).tensors {
        close(&format!("{name}, {key}"), &host(&end, &key).data.to_f64(), &expected.data.to_f64(), 5e-4);
    }
}

#[test]
fn ten_steps_agree_with_pytorch() {
    let dict = fixture("traces.safetensors");
    let init = Init::new(device(), 0);
    let model = mlp(&init);
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig { lr: 0.01, ..AdamConfig::default() }).unwrap();
    follow("mlp", &model, &mut adam, &dict);
    let model = cnn(&init);
    let mut sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig { lr: 0.05, momentum: 0.9, ..SgdConfig::default() }).unwrap();
    follow("cnn", &model, &mut sgd, &dict);
    let model = lstm(&init);
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig { lr: 0.02, ..AdamConfig::default() }).unwrap();
    follow("lstm", &model, &mut adam, &dict);
    let model = transformer(&init);
    let mut sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig { lr: 0.1, momentum: 0.9, ..SgdConfig::default() }).unwrap();
    follow("transformer", &model, &mut sgd, &dict);
}
