//! One model's values in another.

use crate::common::{device, values};
use wgrad::nn::models::{Gpt, GptConfig, MobileNetConfig, MobileNetV2, ResNet, ResNetConfig, UNet, UNetConfig};
use wgrad::nn::{
    BatchNorm1d, Dropout, Embedding, EmbeddingConfig, Fields, Init, Linear, Lstm, Module, RotaryEncoding, Sequential,
    SinusoidalEncoding, TransformerEncoder, TransformerEncoderLayer, evaluating, fields,
};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::{Device, Param, Result, Tensor};

fn model(seed: u64, device: &Device) -> Sequential {
    let init = Init::new(device, seed);
    Sequential::new().push(Linear::new(3, 4, &init).unwrap()).push(BatchNorm1d::new(4, &init).unwrap())
}

fn trained(seed: u64, device: &Device) -> Sequential {
    let model = model(seed, device);
    let x = Tensor::arange(0.0, 6.0, 1.0, device).unwrap().reshape([2, 3]);
    model.forward(&x).unwrap().eval().unwrap();
    model
}

/// All values in one row, counters among them.
fn all(model: &dyn Module) -> Vec<f64> {
    model.state_dict().unwrap().tensors.values().flat_map(|t| t.data.to_f64()).collect()
}

#[test]
fn a_model_takes_over_another_to_the_bit() {
    let source = trained(1, device());
    for device in [device().clone(), Device::cpu().unwrap()] {
        let target = model(2, &device);
        let handle = target.parameters().unwrap()[0].tensor();
        let old = values(&handle);
        target.copy_from(&source).unwrap();
        assert_eq!(all(&target), all(&source));
        assert_eq!(values(&handle), old, "handles of old values keep them");
    }
    source.copy_from(&source).unwrap();
}

#[test]
fn a_model_moves_towards_another() {
    let (source, target) = (trained(1, device()), model(2, device()));
    let (from, to) = (all(&source), all(&target));
    target.lerp_from(&source, 0.25).unwrap();
    let names: Vec<String> = target.state_dict().unwrap().tensors.into_iter().flat_map(|(n, t)| vec![n; t.data.len()]).collect();
    for (((name, new), from), to) in names.iter().zip(all(&target)).zip(&from).zip(&to) {
        let expected = if name.ends_with("num_batches_tracked") { *from } else { to + 0.25 * (from - to) };
        assert!((new - expected).abs() < 1e-6, "{name}: {new}, not {expected}");
    }
    let before = all(&target);
    target.lerp_from(&source, 0.0).unwrap();
    assert_eq!(all(&target), before);
    target.lerp_from(&source, 1.0).unwrap();
    assert_eq!(all(&target), from);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let init = Init::new(device(), 3);
    let target = model(2, device());
    let before = all(&target);
    let wide = Sequential::new().push(Linear::new(3, 5, &init).unwrap()).push(BatchNorm1d::new(5, &init).unwrap());
    let alone = Sequential::new().push(Linear::new(3, 4, &init).unwrap());
    let cases: [(&dyn Module, f64, &str); 5] = [
        (&wide, 1.0, "0.bias is f32 [4] here and f32 [5] in the other"),
        (&alone, 1.0, "4 (1.bias, 1.running_mean, 1.running_var, ...) only here"),
        (&alone, 0.5, "only here"),
        (&target, 1.5, "the weight is 1.5"),
        (&target, f64::NAN, "the weight is NaN"),
    ];
    for (other, weight, text) in cases {
        let outcome = if weight == 1.0 { target.copy_from(other) } else { target.lerp_from(other, weight) };
        let said = outcome.unwrap_err().to_string();
        assert!(said.contains(text), "{said}");
        assert_eq!(all(&target), before);
    }
}

/// The modules to copy: name, module, and the shape of an input. Inputs with one axis are token ids.
fn originals(init: &Init) -> Vec<(&'static str, Box<dyn Module>, Vec<usize>)> {
    let gpt = GptConfig { vocab_size: 7, block_size: 6, n_layer: 1, n_head: 2, n_embd: 8, ..GptConfig::default() };
    let encoder = (0..2).map(|_| TransformerEncoderLayer::new(8, 2, init).unwrap()).collect();
    vec![
        ("a row of layers", Box::new(model(1, &init.device)), vec![2, 3]),
        ("an LSTM", Box::new(Lstm::new(3, 4, init).unwrap()), vec![5, 2, 3]),
        ("a transformer", Box::new(TransformerEncoder::new(encoder, None)), vec![2, 5, 8]),
        ("positions", Box::new(SinusoidalEncoding::new(4, 9, init).unwrap()), vec![2, 5, 4]),
        ("rotations", Box::new(RotaryEncoding::new(4, 9, init).unwrap()), vec![2, 5, 4]),
        ("GPT", Box::new(Gpt::new(gpt, init).unwrap()), vec![6]),
        (
            "U-Net",
            Box::new(UNet::new(UNetConfig { width: 2, levels: 2, ..UNetConfig::default() }, init).unwrap()),
            vec![1, 3, 8, 8],
        ),
    ]
}

fn input(shape: &[usize], device: &Device) -> Tensor {
    match shape {
        [n] => Tensor::iota(*n, wgrad::DType::I32, device).unwrap().reshape([1, *n]),
        _ => {
            let n: usize = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|i| (i * 7 % 11) as f32 / 5.0 - 1.0).collect();
            Tensor::from_slice(&values, shape, device).unwrap()
        }
    }
}

#[test]
fn copies_compute_what_the_original_does_on_any_device() {
    let init = Init::new(device(), 4);
    for (name, original, shape) in originals(&init) {
        let expected = values(&evaluating(&original, || original.forward(&input(&shape, device()))).unwrap());
        for target in [device().clone(), Device::cpu().unwrap()] {
            let copy = original.to(&target).unwrap();
            assert_eq!(copy.state_dict().unwrap(), original.state_dict().unwrap(), "{name}");
            assert!(copy.parameters().unwrap().iter().all(|p| p.device() == &target), "{name}");
            let found = values(&evaluating(&copy, || copy.forward(&input(&shape, &target))).unwrap());
            let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(near && found.len() == expected.len(), "{name}: {found:?}, {expected:?}");
        }
    }
    // The large ready-made models, only by their state.
    let small = ResNetConfig { classes: 2, small_images: true, ..ResNetConfig::default() };
    let resnet = ResNet::new(small, &init).unwrap();
    assert_eq!(resnet.duplicate().unwrap().state_dict().unwrap(), resnet.state_dict().unwrap());
    let mobile = MobileNetV2::new(MobileNetConfig { classes: 2, width: 0.25, ..MobileNetConfig::default() }, &init).unwrap();
    assert_eq!(mobile.duplicate().unwrap().state_dict().unwrap(), mobile.state_dict().unwrap());
}

struct Tied {
    embedding: Embedding,
    again: [Embedding; 2],
    dropout: (Dropout,),
    head: Option<Linear>,
    note: String,
    table: Tensor,
}

impl Module for Tied {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.embedding.forward(x)
    }
    fields!(embedding, again, dropout, head; skip note, table);
}

#[test]
fn what_is_tied_frozen_or_in_evaluation_is_so_in_the_copy() {
    let init = Init::new(device(), 5);
    let embedding = Embedding::new(3, 2, &init).unwrap();
    let tied = || Embedding::tied(&embedding.weight, EmbeddingConfig::default()).unwrap();
    let again = [tied(), tied()];
    let head = Some(Linear::new(2, 2, &init).unwrap());
    let table = Tensor::ones([2], device()).unwrap();
    let dropout = (Dropout::new(0.5, &init).unwrap(),);
    let original = Tied { embedding, again, dropout, head, note: "kept".into(), table };
    original.head.as_ref().unwrap().weight.freeze();
    original.dropout.0.eval();
    let before = all(&original);
    let copy = original.duplicate().unwrap();
    assert_eq!((all(&copy), copy.note.as_str()), (before.clone(), "kept"));
    assert_eq!(copy.embedding.weight.id(), copy.again[1].weight.id());
    assert_ne!(copy.embedding.weight.id(), original.embedding.weight.id());
    let head = copy.head.as_ref().unwrap();
    assert!(!head.weight.is_trainable() && head.bias.as_ref().unwrap().is_trainable());
    assert_eq!(copy.collect().modes.iter().map(|m| m.is_training()).collect::<Vec<_>>(), [false]);
    // From here on they are independent.
    let mut sgd = Sgd::new(&copy.parameters().unwrap(), SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
    sgd.step(copy.embedding.weight.tensor().square().sum().backward().unwrap()).unwrap();
    copy.dropout.0.train();
    assert_eq!(all(&original), before);
    assert_ne!(all(&copy), before);
    assert!(!original.collect().modes[0].is_training());
    let elsewhere = original.to(&Device::cpu().unwrap()).unwrap();
    assert_eq!(elsewhere.table.device().unwrap(), *elsewhere.embedding.weight.device());
}

struct ByHand(Param);

impl Module for ByHand {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x * self.0.tensor())
    }
    fn fields(&self, fields: &mut Fields) {
        fields.parameter("weight", &self.0);
    }
}

struct NotClone;

struct Skipping {
    fc: Linear,
    settings: NotClone,
}

impl Module for Skipping {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let NotClone = self.settings;
        self.fc.forward(x)
    }
    fields!(fc; skip settings);
}

#[test]
fn what_cannot_be_copied_says_so() {
    let init = Init::new(device(), 6);
    let by_hand = ByHand(Param::new(&Tensor::ones([1], device()).unwrap()).unwrap());
    let boxed = Sequential::new().push(by_hand);
    let said = boxed.duplicate().unwrap_err().to_string();
    assert!(said.contains("lists its fields by hand") && said.contains("fields!"), "{said}");
    let skipping = Skipping { fc: Linear::new(2, 2, &init).unwrap(), settings: NotClone };
    let said = skipping.duplicate().map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("a skipped field of type NotClone is not Clone"), "{said}");
}
