//! All or nothing: if setting, loading or restoring fails on the way, everything stays as it was.

use crate::common::{device, values};
use wgrad::io::StateDict;
use wgrad::nn::loss::{Reduction, mse};
use wgrad::nn::{BatchNorm1d, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Adam, AdamConfig, Ema, Optimizer};
use wgrad::train::Checkpoint;
use wgrad::{Error, Param, Tensor, no_grad};

fn model(seed: u64) -> Sequential {
    let init = Init::new(device(), seed);
    Sequential::new()
        .push_named("fc1", Linear::new(4, 6, &init).unwrap())
        .push_named("bn", BatchNorm1d::new(6, &init).unwrap())
        .push_named("relu", Relu)
        .push_named("fc2", Linear::new(6, 2, &init).unwrap())
}

/// A model and an optimizer that have taken some steps.
fn trained(seed: u64, steps: usize) -> (Sequential, Adam) {
    let model = model(seed);
    let mut adam = Adam::new(&model.parameters().unwrap(), AdamConfig { lr: 0.05, ..AdamConfig::default() }).unwrap();
    let x = Tensor::from_slice(&(0..20).map(|i| (i * 7 % 11) as f32 * 0.2 - 1.0).collect::<Vec<_>>(), [5, 4], device()).unwrap();
    for _ in 0..steps {
        let loss = mse(&model.forward(&x).unwrap(), &Tensor::ones([5, 2], device()).unwrap(), Reduction::Mean).unwrap();
        adam.step(loss.backward().unwrap()).unwrap();
    }
    (model, adam)
}

/// A lazy scalar that no device can evaluate: its sum runs over more elements than kernels count.
fn impossible() -> Tensor {
    Tensor::ones([1, 1], device()).unwrap().expand([1 << 20, 1 << 14]).sum()
}

#[test]
#[cfg_attr(target_pointer_width = "32", ignore = "with sizes of 32 bits no shape has so many elements")]
fn a_value_that_fails_in_evaluation_leaves_every_parameter() {
    let param = |v: f64| Param::new(&Tensor::full((), v, device()).unwrap()).unwrap();
    let params = [param(1.0), param(2.0), param(3.0)];
    // A pending assignment, such as a running statistic's, is not lost when one after it fails.
    let anchor = Tensor::ones((), device()).unwrap() + 1.0;
    let _ = no_grad(|| params[1].assign_with(&(params[1].tensor() * 10.0), &anchor)).unwrap();
    let value = || Tensor::full((), 7.0, device()).unwrap();
    let (five, broken) = (value(), impossible());
    let now = |params: &[Param]| params.iter().map(|p| values(&p.tensor())[0]).collect::<Vec<_>>();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let all = order.map(|i| (&params[i], if i == 2 { &broken } else { &five }));
        let error = Param::set_all(&all).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
    assert!(matches!(params[2].set(&broken), Err(Error::OutOfMemory { .. })));
    let wrong = Tensor::ones([2], device()).unwrap();
    let error = Param::set_all(&[(&params[0], &five), (&params[1], &wrong)]).unwrap_err();
    assert!(error.to_string().contains("the value is f32 [2] and the parameter f32 []"), "{error}");
    assert_eq!(now(&params), [1.0, 20.0, 3.0]);
    device().flush().unwrap();
    assert_eq!(now(&params), [1.0, 20.0, 3.0], "nothing is pending any more");
    Param::set_all(&[(&params[0], &five), (&params[2], &params[0].tensor())]).unwrap();
    assert_eq!(now(&params), [7.0, 20.0, 1.0], "values are those from before");
    Param::set_all(&[]).unwrap();
}

/// Replaces the tensor with the given name.
fn set(dict: &mut StateDict, name: &str, tensor: wgrad::io::HostTensor) {
    dict.tensors.insert(name.into(), tensor);
}

#[test]
fn a_wrong_tensor_late_in_the_file_leaves_every_bit() {
    let (model, _) = trained(1, 3);
    let before = model.state_dict().unwrap();
    let good = trained(2, 2).0.state_dict().unwrap();
    let last = before.tensors.keys().next_back().unwrap().clone();
    assert_eq!(last, "fc2.weight");
    type Edit = fn(&mut StateDict);
    let edits: [(Edit, &str); 4] = [
        (|d| drop(d.tensors.remove("fc2.weight")), "fc2.weight is missing"),
        (|d| set(d, "fc2.weight", d.tensors["fc1.weight"].clone()), "fc2.weight is f32 [6, 4] in the file"),
        (|d| set(d, "fc2.zzz", d.tensors["fc1.weight"].clone()), "fc2.zzz is unknown"),
        (
            |d| set(d, "bn.num_batches_tracked", wgrad::io::HostTensor::scalar(0.5)),
            "bn.num_batches_tracked is f64 [] in the file and not a whole number",
        ),
    ];
    for (edit, expected) in edits {
        let mut file = good.clone();
        edit(&mut file);
        let message = model.load_state_dict(&file).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(model.state_dict().unwrap(), before, "{expected}");
    }
    model.load_state_dict(&good).unwrap();
    assert_eq!(model.state_dict().unwrap(), good);
}

#[test]
fn a_checkpoint_is_restored_to_model_and_optimizer_or_to_neither() {
    let (source, adam) = trained(3, 4);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.safetensors");
    let broken = |name: &str| {
        Checkpoint::capture(&source, &adam).unwrap().save(&path).unwrap();
        let mut file = StateDict::load(&path).unwrap();
        file.tensors.remove(name).unwrap_or_else(|| panic!("{name} is not in {:?}", file.tensors.keys()));
        file.save(&path).unwrap();
        Checkpoint::load(&path).unwrap()
    };
    let (model, mut other) = trained(4, 2);
    let before = (model.state_dict().unwrap(), other.state_dict().unwrap());
    for name in
        ["model.fc2.weight", "model.bn.running_var", "optimizer.adam.param.fc2.bias.exp_avg_sq", "optimizer.adam.group.0.lr"]
    {
        assert!(broken(name).restore(&model, &mut other).is_err(), "{name}");
        assert!((model.state_dict().unwrap(), other.state_dict().unwrap()) == before, "{name} missing, and something changed");
    }
    Checkpoint::capture(&source, &adam).unwrap().restore(&model, &mut other).unwrap();
    assert!(model.state_dict().unwrap() == source.state_dict().unwrap());
    assert!(other.state_dict().unwrap() == adam.state_dict().unwrap());
}

#[test]
fn averages_and_parameters_change_places() {
    let (model, _) = trained(5, 1);
    let params = model.parameters().unwrap();
    let mut ema = Ema::new(&params, 0.5).unwrap();
    for p in &params {
        p.set(&(p.tensor().detach() + 1.0)).unwrap();
    }
    let of = |params: &[Param]| params.iter().map(|p| values(&p.tensor())).collect::<Vec<_>>();
    let averages = |ema: &Ema| ema.averages().iter().map(values).collect::<Vec<_>>();
    let (own, average) = (of(&params), averages(&ema));
    assert_ne!(own, average);
    ema.swap().unwrap();
    assert_eq!((of(&params), averages(&ema)), (average.clone(), own.clone()));
    ema.swap().unwrap();
    assert_eq!((of(&params), averages(&ema)), (own, average));
}
