//! Modules: names, modes, saving and loading, layers' values, the summary.

use crate::common::{device, near, values};
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{
    AvgPool2d, BatchNorm2d, Conv2d, ConvOptions, Dropout, Flatten, Init, Linear, LinearConfig, MaxPool2d, Module, Relu,
    Sequential, fields, summary,
};
use wgrad::{DType, Error, HostData, Param, Result, Shape, Tensor};

/// Two layers that share a weight, a list of layers, and settings that `fields!` skips.
struct Net {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    heads: Vec<Linear>,
    dropout: Option<Dropout>,
    scale: f64,
    pause: std::time::Duration,
}

impl Module for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        std::thread::sleep(self.pause);
        let x = self.bn1.forward(&self.conv1.forward(x)?)?.relu() * self.scale;
        let x = self.heads.iter().try_fold(Flatten.forward(&x)?, |x, head| head.forward(&x))?;
        match &self.dropout {
            Some(dropout) => dropout.forward(&x),
            None => Ok(x),
        }
    }
    fields!(conv1, bn1, heads, dropout, scale; skip pause);
}

fn net(seed: u64) -> Net {
    let init = Init::new(device(), seed);
    Net {
        conv1: Conv2d::new(1, 2, 3, &init).unwrap(),
        bn1: BatchNorm2d::new(2, &init).unwrap(),
        heads: vec![Linear::new(8, 8, &init).unwrap(), Linear::with(8, 8, LinearConfig { bias: false }, &init).unwrap()],
        dropout: Some(Dropout::new(0.5, &init).unwrap()),
        scale: 2.0,
        pause: std::time::Duration::ZERO,
    }
}

fn images(n: usize) -> Tensor {
    let values: Vec<f32> = (0..n * 16).map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0).collect();
    Tensor::from_slice(&values, [n, 1, 4, 4], device()).unwrap()
}

#[test]
fn names_are_pytorchs() {
    let net = net(0);
    let names = |list: Vec<(String, wgrad::Param)>| list.into_iter().map(|e| e.0).collect::<Vec<_>>();
    let expected = ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "heads.0.weight", "heads.0.bias", "heads.1.weight"];
    assert_eq!(names(net.named_parameters().unwrap()), expected);
    assert_eq!(names(net.named_buffers().unwrap()), ["bn1.running_mean", "bn1.running_var"]);
    net.freeze();
    assert_eq!(names(net.named_parameters().unwrap()), expected, "a frozen parameter stays a parameter");
    assert!(net.parameters().unwrap().iter().all(|p| !p.is_trainable()));
    net.unfreeze();
    assert!(net.named_buffers().unwrap().iter().all(|(_, b)| !b.is_trainable()), "buffers never train");
}

/// A layer that contains another of its kind, in a box.
struct Chain {
    fc: Linear,
    rest: Option<Box<Chain>>,
}

impl Module for Chain {
    fn forward(&self, x: &Tensor) -> wgrad::Result<Tensor> {
        let y = self.fc.forward(x)?;
        self.rest.as_ref().map_or(Ok(y.clone()), |rest| rest.forward(&y))
    }
    fields!(fc, rest);
}

/// Nested fields.
struct Nested {
    row: [Linear; 2],
    pair: (Linear, Dropout),
    grid: [[Option<Param>; 2]; 1],
    named: Vec<(Linear, f64)>,
    boxed: Box<Linear>,
    any: (Box<dyn Module>, [Box<dyn Module>; 1]),
    chain: Chain,
}

impl Module for Nested {
    fn forward(&self, x: &Tensor) -> wgrad::Result<Tensor> {
        let [first, second] = &self.row;
        let x = self.pair.1.forward(&self.pair.0.forward(&second.forward(&first.forward(x)?)?)?)?;
        let x = self.named.iter().try_fold(x, |x, (fc, by)| Ok::<_, wgrad::Error>(fc.forward(&x)? * *by))?;
        self.chain.forward(&self.any.1[0].forward(&self.any.0.forward(&self.boxed.forward(&x)?)?)?)
    }
    fields!(row, pair, grid, named, boxed, any, chain);
}

#[test]
fn fields_are_arrays_tuples_and_boxes() {
    let init = Init::new(device(), 5);
    let fc = || Linear::with(3, 3, LinearConfig { bias: false }, &init).unwrap();
    let param = || Some(Param::new(&init.constant(2, 1.0).unwrap()).unwrap());
    let model = Nested {
        row: [fc(), fc()],
        pair: (fc(), Dropout::new(0.5, &init).unwrap()),
        grid: [[param(), None]],
        named: vec![(fc(), 2.0)],
        boxed: Box::new(fc()),
        any: (Box::new(fc()), [Box::new(Relu)]),
        chain: Chain { fc: fc(), rest: Some(Box::new(Chain { fc: fc(), rest: None })) },
    };
    let names: Vec<String> = model.named_parameters().unwrap().into_iter().map(|(name, _)| name).collect();
    let expected = "row.0.weight row.1.weight pair.0.weight grid.0.0 named.0.0.weight boxed.weight any.0.weight chain.fc.weight \
        chain.rest.fc.weight";
    assert_eq!(names, expected.split(' ').collect::<Vec<_>>());
    // `train` and `eval` reach all layers, and a summary names each layer by its path.
    model.eval();
    assert!(!model.pair.1.forward(&Tensor::ones([64], device()).unwrap()).unwrap().eq(0.0).any().to_vec::<bool>().unwrap()[0]);
    let rows = wgrad::nn::summary(&model, [1, 3]).unwrap().rows;
    let labels: Vec<&str> = rows[..8].iter().map(|row| row.name.as_str()).collect();
    assert_eq!(labels, ["row.0", "row.1", "pair.0", "pair.1", "named.0.0", "boxed", "any.0", "any.1.0"]);
    // A box may be a layer of a list, too.
    let model = Sequential::new().push(Box::new(fc())).push(Box::new(Relu) as Box<dyn Module>);
    assert_eq!(model.named_parameters().unwrap()[0].0, "0.weight");
}

#[test]
fn evaluation_is_deterministic_and_training_is_not() {
    let net = net(1);
    let x = images(3);
    let before = values(&net.bn1.running_mean.as_ref().unwrap().tensor());
    net.eval();
    let (a, b) = (values(&net.forward(&x).unwrap()), values(&net.forward(&x).unwrap()));
    assert_eq!(a, b);
    assert_eq!(values(&net.bn1.running_mean.as_ref().unwrap().tensor()), before, "evaluation only reads");
    net.train();
    let (a, b) = (values(&net.forward(&x).unwrap()), values(&net.forward(&x).unwrap()));
    assert_ne!(a, b, "two draws of dropout");
    assert_ne!(values(&net.bn1.running_mean.as_ref().unwrap().tensor()), before);
    let dropped = a.iter().filter(|&&v| v == 0.0).count();
    assert!(dropped > 2 && dropped < 22, "{dropped} of 24 dropped");
}

#[test]
fn weights_travel_through_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.safetensors");
    let (a, b) = (net(2), net(3));
    a.forward(&images(3)).unwrap().eval().unwrap();
    a.save(&path).unwrap();
    b.load(&path).unwrap();
    assert_eq!(a.state_dict().unwrap(), b.state_dict().unwrap());
    a.eval();
    b.eval();
    assert_eq!(values(&a.forward(&images(2)).unwrap()), values(&b.forward(&images(2)).unwrap()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn wrong_files_name_every_problem_and_change_nothing() {
    let net = net(4);
    let before = net.state_dict().unwrap();
    let mut dict = before.clone();
    dict.tensors.remove("conv1.bias");
    dict.insert("extra", HostTensor::scalar(1.0)).unwrap();
    let wide = HostTensor::new(DType::F32, Shape::new(&[9, 8]).unwrap(), HostData::F32(vec![0.5; 72])).unwrap();
    dict.tensors.insert("heads.0.weight".into(), wide);
    // PyTorch's counter may be there.
    dict.tensors.insert("bn1.num_batches_tracked".into(), HostTensor::scalar(7.0));
    let error = net.load_state_dict(&dict).unwrap_err();
    let text = error.to_string();
    for expected in ["conv1.bias is missing", "extra is unknown", "heads.0.weight is f32 [9, 8] in the file and f32 [8, 8]"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("num_batches_tracked"), "{text}");
    assert!(matches!(error, Error::Argument { .. }));
    assert!(net.load_state_dict_partial(&dict).is_err(), "a wrong shape is always an error");
    assert_eq!(net.state_dict().unwrap(), before);
    dict.tensors.remove("heads.0.weight");
    let report = net.load_state_dict_partial(&dict).unwrap();
    assert_eq!((report.missing, report.unexpected), (vec!["conv1.bias".into(), "heads.0.weight".into()], vec!["extra".into()]));
    assert!(net.load_state_dict(&StateDict::new()).is_err());
}

#[test]
fn batch_norm_follows_its_formula() {
    let init = Init::new(device(), 5);
    let bn = BatchNorm2d::new(2, &init).unwrap();
    let data: Vec<f32> = (0..24).map(|i| ((i * 7 % 13) as f32) * 0.5 - 2.0).collect();
    let x = Tensor::from_slice(&data, [3, 2, 2, 2], device()).unwrap();
    let channel = |c: usize| -> Vec<f64> { (0..24).filter(|i| i / 4 % 2 == c).map(|i| f64::from(data[i])).collect() };
    let found = values(&bn.forward(&x).unwrap());
    let (mut means, mut vars) = (vec![], vec![]);
    for c in 0..2 {
        let v = channel(c);
        let mean = v.iter().sum::<f64>() / 12.0;
        let var = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 12.0;
        let expected: Vec<f64> = v.iter().map(|x| (x - mean) / (var + 1e-5).sqrt()).collect();
        let own: Vec<f64> = (0..24).filter(|i| i / 4 % 2 == c).map(|i| found[i]).collect();
        near("normalised", &own, &expected, 1e-4);
        means.push(0.1 * mean);
        vars.push(0.9 + 0.1 * var * 12.0 / 11.0);
    }
    near("running mean", &values(&bn.running_mean.as_ref().unwrap().tensor()), &means, 1e-5);
    near("running variance", &values(&bn.running_var.as_ref().unwrap().tensor()), &vars, 1e-5);
    bn.eval();
    let evaluated = values(&bn.forward(&x).unwrap());
    let expected: Vec<f64> = (0..24).map(|i| (f64::from(data[i]) - means[i / 4 % 2]) / (vars[i / 4 % 2] + 1e-5).sqrt()).collect();
    near("evaluated", &evaluated, &expected, 1e-4);
}

#[test]
fn summary_lists_layers_and_counts_each_parameter_once() {
    let net = net(6);
    let table = summary(&net, [5, 1, 4, 4]).unwrap();
    let rows: Vec<(&str, &str, Vec<usize>, usize)> =
        table.rows.iter().map(|r| (r.name.as_str(), r.kind, r.output.to_vec(), r.parameters)).collect();
    let expected = [
        ("conv1", "Conv2d", vec![5, 2, 2, 2], 20),
        ("bn1", "BatchNorm2d", vec![5, 2, 2, 2], 4),
        ("", "Flatten", vec![5, 8], 0),
        ("heads.0", "Linear", vec![5, 8], 72),
        ("heads.1", "Linear", vec![5, 8], 64),
        ("dropout", "Dropout", vec![5, 8], 0),
    ];
    assert_eq!(rows, expected);
    assert_eq!((table.parameters, table.trainable), (160, 160));
    assert!(table.to_string().contains("heads.1 (Linear)"));
    assert!(summary(&net, [5, 3, 4, 4]).is_err(), "3 channels do not fit");
    assert!(summary(&Sequential::new().push(Relu), [1]).is_err());
}

#[test]
fn wrong_input_is_an_error_at_the_modules_border() {
    let init = Init::new(device(), 7);
    let x = images(2);
    let rows: [(&str, Result<Tensor>); 5] = [
        ("linear", Linear::new(3, 2, &init).unwrap().forward(&x)),
        ("conv", Conv2d::new(2, 2, 3, &init).unwrap().forward(&x)),
        ("batch norm", BatchNorm2d::new(3, &init).unwrap().forward(&x)),
        ("max pool", MaxPool2d::new(9).forward(&x)),
        ("average pool", AvgPool2d::new(9).forward(&x)),
    ];
    for (name, result) in rows {
        assert!(result.is_err(), "{name}");
    }
    assert!(Dropout::new(1.5, &init).is_err());
    assert!(Conv2d::with(3, 4, 1, ConvOptions { groups: 2, ..ConvOptions::default() }, &init).is_err());
}
