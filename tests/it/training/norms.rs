//! Batch and instance normalisation layers against PyTorch, with default and other settings: outputs, gradients, running
//! statistics and state over three batches of training and one of evaluation.

use super::formula::{floats, state};
use crate::common::{device, fixture, host, near, values};
use serde_json::Value;
use wgrad::nn::{
    BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormConfig, Init, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d,
    InstanceNormConfig, Module,
};
use wgrad::{Gradients, Result, Tensor};

fn boxed<M: Module + 'static>(module: Result<M>) -> Box<dyn Module> {
    Box::new(module.unwrap())
}

/// The layer that a fixture's note describes; settings that it does not name have our defaults.
fn layer(note: &Value, init: &Init) -> Box<dyn Module> {
    let channels = usize::try_from(note["channels"].as_u64().unwrap()).unwrap();
    let args = &note["args"];
    let flag = |name: &str, default: bool| args.get(name).map_or(default, |v| v.as_bool().unwrap());
    let number = |name: &str, default: f64| args.get(name).map_or(default, |v| v.as_f64().unwrap());
    let momentum = |default: Option<f64>| args.get("momentum").map_or(default, Value::as_f64);
    let batch = BatchNormConfig::default();
    let batch = BatchNormConfig {
        eps: number("eps", batch.eps),
        momentum: momentum(batch.momentum),
        affine: flag("affine", batch.affine),
        track_running_stats: flag("track_running_stats", batch.track_running_stats),
    };
    let instance = InstanceNormConfig::default();
    let instance = InstanceNormConfig {
        eps: number("eps", instance.eps),
        momentum: momentum(instance.momentum),
        affine: flag("affine", instance.affine),
        track_running_stats: flag("track_running_stats", instance.track_running_stats),
    };
    match note["kind"].as_str().unwrap() {
        "BatchNorm1d" => boxed(BatchNorm1d::with(channels, batch, init)),
        "BatchNorm2d" => boxed(BatchNorm2d::with(channels, batch, init)),
        "BatchNorm3d" => boxed(BatchNorm3d::with(channels, batch, init)),
        "InstanceNorm1d" => boxed(InstanceNorm1d::with(channels, instance, init)),
        "InstanceNorm2d" => boxed(InstanceNorm2d::with(channels, instance, init)),
        "InstanceNorm3d" => boxed(InstanceNorm3d::with(channels, instance, init)),
        other => panic!("no layer is called {other}"),
    }
}

#[test]
fn norms_agree_with_pytorch() {
    let dict = fixture("norms.safetensors");
    let init = Init::new(device(), 0);
    let mut checked = 0;
    for (case, note) in dict.metadata.iter().filter(|(name, _)| *name != "torch") {
        let note: Value = serde_json::from_str(note).unwrap();
        let layer = layer(&note, &init);
        layer.load_state_dict(&state(note["state"].as_str().unwrap())).unwrap_or_else(|e| panic!("{case}: {e}"));
        let shape: Vec<usize> =
            note["shape"].as_array().unwrap().iter().map(|d| usize::try_from(d.as_u64().unwrap()).unwrap()).collect();
        let ct = floats("ct", &shape);
        let run = |t: usize, key: &str| -> (Tensor, Gradients) {
            let x = (floats(&format!("x{t}"), &shape) * (t as f64 + 1.0) + t as f64).variable().unwrap();
            let y = layer.forward(&x).unwrap_or_else(|e| panic!("{case}: {e}"));
            near(&format!("{case}, {key}"), &values(&y), &host(&dict, &format!("{case}.{key}")).data.to_f64(), 2e-5);
            (x, (y * &ct).sum().backward().unwrap())
        };
        let compare = |(x, gradients): &(Tensor, Gradients), prefix: &str| {
            let mut found = vec![("x".to_owned(), gradients.get(x).unwrap())];
            found.extend(layer.named_parameters().unwrap().into_iter().map(|(name, p)| (name, gradients.get(&p).unwrap())));
            for (name, gradient) in found {
                let key = format!("{case}.{prefix}.{name}");
                near(&key, &values(&gradient), &host(&dict, &key).data.to_f64(), 1e-4);
            }
        };
        for t in 0..2 {
            let _ = run(t, &format!("out.{t}"));
        }
        compare(&run(2, "out.2"), "grad");
        layer.eval();
        compare(&run(3, "eval"), "eval.grad");
        let (found, expected) = (layer.state_dict().unwrap(), dict.under(&format!("{case}.state.")));
        assert_eq!(found.tensors.keys().collect::<Vec<_>>(), expected.tensors.keys().collect::<Vec<_>>(), "{case}");
        for (key, expected) in &expected.tensors {
            let found = host(&found, key);
            assert_eq!((found.dtype, found.shape), (expected.dtype, expected.shape), "{case}, {key}");
            near(&format!("{case}, {key}"), &found.data.to_f64(), &expected.data.to_f64(), 1e-5);
        }
        checked += 1;
    }
    assert_eq!(checked, 62);
}

#[test]
fn a_cumulative_average_resumes_where_it_was() {
    let init = Init::new(device(), 0);
    let make = || BatchNorm1d::with(3, BatchNormConfig { momentum: None, ..BatchNormConfig::default() }, &init).unwrap();
    let (whole, first, second) = (make(), make(), make());
    let run = |layer: &BatchNorm1d, t: usize| layer.forward(&floats(&format!("x{t}"), &[4, 3])).unwrap().eval().unwrap();
    (0..5).for_each(|t| run(&whole, t));
    (0..3).for_each(|t| run(&first, t));
    second.load_state_dict(&first.state_dict().unwrap()).unwrap();
    assert_eq!(second.num_batches_tracked.as_ref().unwrap().get(), 3);
    (3..5).for_each(|t| run(&second, t));
    assert_eq!(second.state_dict().unwrap(), whole.state_dict().unwrap());
    let mean = whole.running_mean.as_ref().unwrap();
    let batches = (0..5).map(|t| floats(&format!("x{t}"), &[4, 3]).mean_dim(0)).reduce(|a, b| a + b).unwrap();
    near("the mean of all batches' means", &values(&mean.tensor()), &values(&(batches / 5.0)), 1e-6);
}

#[test]
fn wrong_settings_and_inputs_name_the_layer_and_a_remedy() {
    let init = Init::new(device(), 0);
    let batch = |momentum| BatchNormConfig { momentum: Some(momentum), ..BatchNormConfig::default() };
    let tracked = InstanceNormConfig { track_running_stats: true, ..InstanceNormConfig::default() };
    let bare = BatchNorm2d::with(3, BatchNormConfig { track_running_stats: false, ..BatchNormConfig::default() }, &init).unwrap();
    bare.eval();
    let x = |shape: &[usize]| floats("x", shape);
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    let rows = [
        (BatchNorm2d::with(3, batch(1.5), &init).unwrap_err().to_string(), "BatchNorm2d::with", "momentum of 1.5"),
        (BatchNorm1d::with(3, batch(f64::NAN), &init).unwrap_err().to_string(), "BatchNorm1d::with", "momentum of NaN"),
        (
            InstanceNorm2d::with(3, InstanceNormConfig { eps: -1.0, ..tracked }, &init).unwrap_err().to_string(),
            "InstanceNorm2d::with",
            "eps is -1",
        ),
        (error(bare.forward(&x(&[1, 3, 1, 1]))), "BatchNorm2d", "track running statistics"),
        (
            error(InstanceNorm1d::new(3, &init).unwrap().forward(&x(&[2, 4, 5]))),
            "InstanceNorm1d",
            "4 channels, and the layer takes 3",
        ),
        (error(InstanceNorm1d::new(3, &init).unwrap().forward(&x(&[2, 3, 4, 5]))), "InstanceNorm1d", "[n, channels, l]"),
        (error(InstanceNorm3d::with(3, tracked, &init).unwrap().forward(&x(&[2, 3, 1, 1, 1]))), "InstanceNorm3d", "call eval()"),
        (error(InstanceNorm3d::new(3, &init).unwrap().forward(&x(&[2, 3, 1, 1, 1]))), "instance_norm", "more than one position"),
    ];
    for (message, layer, reason) in rows {
        assert!(message.contains(layer) && message.contains(reason) && message.contains("help: "), "{message}");
    }
}
