//! Ready-made models against PyTorch: state names, logits, the losses of ten training steps, and files that PyTorch wrote.

use super::formula::{floats, integers, state};
use crate::common::{device, fixture, host, near, values};
use std::path::Path;
use wgrad::io::StateDict;
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::models::{
    Gpt, GptConfig, LeNet, LstmTagger, M5, M5Config, Mlp, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, ResNetDepth,
    TaggerConfig, UNet, UNetConfig,
};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::{Result, Tensor};

fn boxed<M: Module + 'static>(model: Result<M>) -> Box<dyn Module> {
    Box::new(model.unwrap())
}

fn resnet(depth: ResNetDepth, width: usize, small_images: bool, init: &Init) -> Box<dyn Module> {
    boxed(ResNet::new(ResNetConfig { depth, classes: 5, width, small_images, ..ResNetConfig::default() }, init))
}

/// Name, input shape, size of the vocabulary if the input is tokens, shape of the labels, classes.
type Row<'a> = (&'a str, &'a [usize], Option<usize>, &'a [usize], usize);

fn check((name, shape, tokens, labels, classes): Row<'_>, model: &dyn Module) {
    let dict = fixture("models.safetensors");
    model.load_state_dict(&state(&dict.metadata[name])).unwrap_or_else(|e| panic!("{name}: {e}"));
    let x = |t: usize| match tokens {
        Some(k) => integers(&format!("x{t}"), shape, k),
        None => floats(&format!("x{t}"), shape),
    };
    model.eval();
    let logits = host(&dict, &format!("{name}.logits"));
    let found = model.forward(&x(0)).unwrap();
    assert_eq!(found.shape().unwrap(), logits.shape, "{name}");
    near(&format!("{name}, logits"), &values(&found), &logits.data.to_f64(), 1e-4);
    model.train();
    let mut sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig { lr: 0.01, ..SgdConfig::default() }).unwrap();
    for (t, &expected) in host(&dict, &format!("{name}.loss")).data.to_f64().iter().enumerate() {
        let mut y = model.forward(&x(t)).unwrap();
        if name == "unet" {
            y = y.permute(&[0, 2, 3, 1]);
        }
        let n: usize = labels.iter().product();
        let y = y.reshape([n, classes]);
        let loss = cross_entropy(&y, &integers(&format!("y{t}"), labels, classes).reshape([n]), Reduction::Mean).unwrap();
        sgd.step(loss.backward().unwrap()).unwrap();
        let found = values(&loss)[0];
        assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{name}, loss {t}: {found}, expected {expected}");
    }
}

/// Loads a file that PyTorch wrote strictly, and compares names and logits.
fn check_file((name, shape, tokens, _, _): Row<'_>, model: &dyn Module) {
    let path = Path::new(crate::common::ROOT).join(format!("tests/fixtures/files/{name}.safetensors"));
    StateDict::load(&path).and_then(|dict| model.load_state_dict(&dict)).unwrap_or_else(|e| panic!("{name}: {e}"));
    model.eval();
    let x = match tokens {
        Some(k) => integers("x0", shape, k),
        None => floats("x0", shape),
    };
    let expected = fixture("files.safetensors");
    let expected = host(&expected, &format!("{name}.logits"));
    let found = model.forward(&x).unwrap();
    assert_eq!(found.shape().unwrap(), expected.shape, "{name}");
    near(&format!("{name}, logits"), &values(&found), &expected.data.to_f64(), 1e-4);
    let (theirs, ours) = (StateDict::load(&path).unwrap(), model.state_dict().unwrap());
    for (key, tensor) in &ours.tensors {
        // PyTorch saves a tied weight under one of its names.
        let Some(given) = theirs.tensors.get(key) else {
            assert_eq!(key, "transformer.wte.weight", "{name}");
            continue;
        };
        assert_eq!(given.shape, tensor.shape, "{name}, {key}");
        assert!(given.data.to_f64() == tensor.data.to_f64(), "{name}, {key}: values differ from the file");
        assert!(!key.ends_with("num_batches_tracked") || given.data.to_f64() == [2.0], "{name}, {key}");
    }
    assert!(theirs.tensors.keys().all(|key| ours.tensors.contains_key(key)), "{name}");
}

/// A module with two tests per model.
macro_rules! models {
    ($($model:ident: $row:expr, $make:expr;)*) => {$(
        mod $model {
            use super::*;

            pub fn run(check: fn(Row<'_>, &dyn Module)) {
                let make: fn(&Init) -> Box<dyn Module> = $make;
                let (name, shape, tokens, labels, classes) = $row;
                check((name, &shape, tokens, &labels, classes), make(&Init::new(device(), 0)).as_ref());
            }

            #[test]
            fn trains_as_in_pytorch() {
                run(check);
            }

            #[test]
            fn loads_a_file_of_pytorchs() {
                run(check_file);
            }
        }
    )*

    /// Trains each of them for some steps.
    pub fn train_all() {
        $($model::run(check);)*
    }
    };
}

models! {
    mlp: ("mlp", [6, 12], None, [6], 5), |i| boxed(Mlp::new(&[12, 16, 5], i));
    lenet: ("lenet", [4, 1, 28, 28], None, [4], 10), |i| boxed(LeNet::new(1, 10, i));
    resnet18: ("resnet18", [4, 3, 16, 16], None, [4], 5), |i| resnet(ResNetDepth::R18, 4, true, i);
    resnet34: ("resnet34", [4, 3, 64, 64], None, [4], 5), |i| resnet(ResNetDepth::R34, 4, false, i);
    resnet50: ("resnet50", [4, 3, 16, 16], None, [4], 5), |i| resnet(ResNetDepth::R50, 2, true, i);
    mobilenet: ("mobilenet", [4, 3, 16, 16], None, [4], 5), |i| {
        let config = MobileNetConfig { classes: 5, width: 0.25, dropout: 0.0, small_images: true, ..MobileNetConfig::default() };
        boxed(MobileNetV2::new(config, i))
    };
    unet: ("unet", [2, 3, 14, 12], None, [2, 14, 12], 2), |i| {
        boxed(UNet::new(UNetConfig { width: 4, levels: 2, ..UNetConfig::default() }, i))
    };
    gpt: ("gpt", [3, 6], Some(11), [3, 6], 11), |i| {
        let config = GptConfig { vocab_size: 11, block_size: 6, n_layer: 2, n_head: 2, n_embd: 8, ..GptConfig::default() };
        boxed(Gpt::new(config, i))
    };
    tagger: ("tagger", [3, 6], Some(11), [3, 6], 4), |i| {
        boxed(LstmTagger::new(
            TaggerConfig {
                vocab_size: 11,
                tags: 4,
                embedding_dim: 6,
                hidden_dim: 5,
                num_layers: 2,
                bidirectional: true,
                padding_idx: Some(0),
                ..TaggerConfig::default()
            },
            i,
        ))
    };
    m5: ("m5", [4, 1, 2000], None, [4], 5), |i| boxed(M5::new(M5Config { classes: 5, stride: 4, width: 4, ..M5Config::default() }, i));
}

#[test]
fn too_large_inputs_name_layer_and_remedy() {
    let config = GptConfig { vocab_size: 11, block_size: 6, n_layer: 1, n_head: 2, n_embd: 8, ..GptConfig::default() };
    let gpt = Gpt::new(config, &Init::new(device(), 0)).unwrap();
    let rows = [(vec![1, 11, 2], "Embedding", "below 11"), (vec![1; 7], "Gpt", "block_size")];
    for (tokens, layer, remedy) in rows {
        let x = Tensor::from_slice(&tokens, [1, tokens.len()], device()).unwrap();
        let message = gpt.forward(&x).unwrap_err().to_string();
        assert!(message.contains(layer) && message.contains(remedy), "{message}");
    }
}
