//! All or nothing: a run is loaded part by part, and if anything is wrong with one part, that part and everything loaded with it
//! stay bit for bit as they were.

use crate::common::device;
use crate::rows::{Make, fullest};
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::loss::{Reduction, mse};
use wgrad::nn::transfer::{self, LoadOptions, UnfreezeSchedule};
use wgrad::nn::{BatchNorm1d, Init, Linear, Module, Relu, Sequential};
use wgrad::optim::{Ema, Optimizer};
use wgrad::train::Checkpoint;
use wgrad::{DType, HostData, Param, Result, Shape, Tensor};
#[cfg(target_pointer_width = "64")]
use wgrad::{Device, DeviceOptions};

/// A model, its optimizer and its averages.
pub struct Run {
    pub model: Sequential,
    pub optimizer: Box<dyn Optimizer>,
    pub ema: Ema,
}

impl Run {
    pub fn new(seed: u64, make: Make, steps: usize) -> Self {
        let init = Init::new(device(), seed);
        let model = Sequential::new()
            .push_named("fc1", Linear::new(3, 4, &init).unwrap())
            .push_named("bn", BatchNorm1d::new(4, &init).unwrap())
            .push_named("relu", Relu)
            .push_named("fc2", Linear::new(4, 2, &init).unwrap());
        let params = model.parameters().unwrap();
        let (optimizer, ema) = (make(&params).unwrap(), Ema::new(&params, 0.9).unwrap());
        let mut run = Self { model, optimizer, ema };
        (0..steps).for_each(|_| run.step().unwrap());
        run
    }

    pub fn step(&mut self) -> Result<()> {
        let x: Vec<f32> = (0..15).map(|i| (i * 7 % 11) as f32 * 0.2 - 1.0).collect();
        let x = Tensor::from_slice(&x, [5, 3], device())?;
        let loss = mse(&self.model.forward(&x)?, &Tensor::ones([5, 2], device())?, Reduction::Mean)?;
        self.optimizer.step(loss.backward()?)?;
        self.ema.update()
    }

    /// Everything that a failure must not change.
    pub fn all(&self) -> [StateDict; 3] {
        [self.model.state_dict().unwrap(), self.optimizer.state_dict().unwrap(), self.ema.state_dict().unwrap()]
    }
}

/// A scalar of `param`'s that no device can evaluate: its sum runs over more elements than kernels count, which a shape has only
/// with sizes of 64 bits.
#[cfg(target_pointer_width = "64")]
fn impossible(param: &Param) -> Tensor {
    let n = param.shape().numel();
    param.tensor().reshape([1, n]).expand([1usize << 34, n]).sum()
}

type Edit = Box<dyn Fn(&mut StateDict)>;

fn remove(name: &'static str) -> Edit {
    Box::new(move |d| drop(d.tensors.remove(name).unwrap_or_else(|| panic!("no {name} in {:?}", d.tensors.keys()))))
}

fn put(name: &'static str, tensor: HostTensor) -> Edit {
    Box::new(move |d| drop(d.tensors.insert(name.into(), tensor.clone())))
}

fn floats(dims: &[usize]) -> HostTensor {
    let shape = Shape::new(dims).unwrap();
    HostTensor::new(DType::F32, shape, HostData::F32(vec![0.25; shape.numel()])).unwrap()
}

fn integers(dims: &[usize]) -> HostTensor {
    let shape = Shape::new(dims).unwrap();
    HostTensor::new(DType::I32, shape, HostData::I32(vec![1; shape.numel()])).unwrap()
}

/// Declares more elements than its data has, which the public fields allow.
fn truncated(dims: &[usize]) -> HostTensor {
    HostTensor { data: HostData::F32(vec![0.25; 1]), ..floats(dims) }
}

fn mistyped(dims: &[usize]) -> HostTensor {
    let tensor = floats(dims);
    HostTensor { data: HostData::F64(tensor.data.to_f64()), ..tensor }
}

/// A module that returns a given state as its own.
struct Given(StateDict);

impl Module for Given {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
    fn fields(&self, _: &mut wgrad::nn::Fields) {}
    fn state_dict(&self) -> Result<StateDict> {
        Ok(self.0.clone())
    }
}

/// The part of a run that is loaded.
enum Part {
    /// A checkpoint file, into model and optimizer.
    File,
    /// A checkpoint whose model part is edited in memory, where tensors may contradict themselves.
    Model,
    /// Only the optimizer's part.
    Optimizer,
    /// The averages.
    Ema,
}

/// The rows: the part that is loaded, words of the error, and what is wrong.
fn failures() -> Vec<(Part, &'static str, Edit)> {
    use Part::{Ema, File, Model, Optimizer};
    vec![
        (File, "fc2.weight is missing", remove("model.fc2.weight")),
        (File, "fc1.bias is missing", remove("model.fc1.bias")),
        (File, "bn.running_var is missing", remove("model.bn.running_var")),
        (File, "fc2.weight is f32 [4, 2]", put("model.fc2.weight", floats(&[4, 2]))),
        (File, "fc1.bias is f32 [5]", put("model.fc1.bias", floats(&[5]))),
        (File, "fc2.bias is i32 [2]", put("model.fc2.bias", integers(&[2]))),
        (File, "fc3.weight is unknown", put("model.fc3.weight", floats(&[4, 2]))),
        (File, "bn.num_batches_tracked", put("model.bn.num_batches_tracked", HostTensor::scalar(-3.0))),
        (File, "bn.num_batches_tracked", put("model.bn.num_batches_tracked", HostTensor::scalar(1e300))),
        (File, "bn.num_batches_tracked", put("model.bn.num_batches_tracked", floats(&[2]))),
        (File, "fc2.bias.exp_avg_sq is missing", remove("optimizer.adam.param.fc2.bias.exp_avg_sq")),
        (File, "fc1.weight.exp_avg is missing", remove("optimizer.adam.param.fc1.weight.exp_avg")),
        (File, "bn.bias.max_exp_avg_sq is missing", remove("optimizer.adam.param.bn.bias.max_exp_avg_sq")),
        (File, "bn.weight.step is missing", remove("optimizer.adam.param.bn.weight.step")),
        (File, "group.0.lr is missing", remove("optimizer.adam.group.0.lr")),
        (File, "fc1.bias.exp_avg is f32 [3]", put("optimizer.adam.param.fc1.bias.exp_avg", floats(&[3]))),
        (File, "fc1.bias.exp_avg_sq is i32 [4]", put("optimizer.adam.param.fc1.bias.exp_avg_sq", integers(&[4]))),
        (File, "6.step", put("optimizer.adam.6.step", HostTensor::scalar(3.0))),
        (File, "6.exp_avg", put("optimizer.adam.6.exp_avg", floats(&[2]))),
        (File, "group.1.lr", put("optimizer.adam.group.1.lr", HostTensor::scalar(0.1))),
        (File, "fc1.weight.velocity", put("optimizer.adam.param.fc1.weight.velocity", floats(&[4, 3]))),
        (File, "fc2.bias.step", put("optimizer.adam.param.fc2.bias.step", HostTensor::scalar(f64::NAN))),
        (File, "fc2.bias.step", put("optimizer.adam.param.fc2.bias.step", floats(&[2]))),
        (File, "group.0.lr", put("optimizer.adam.group.0.lr", HostTensor::scalar(-5.0))),
        (File, "group.0.lr", put("optimizer.adam.group.0.lr", floats(&[2]))),
        (
            File,
            "fc2.weight.exp_avg_sq",
            put("optimizer.adam.param.fc2.weight.exp_avg_sq", {
                let tensor = floats(&[2, 4]);
                HostTensor { data: HostData::F32(vec![-1.0; 8]), ..tensor }
            }),
        ),
        (Model, "fc2.weight", put("fc2.weight", truncated(&[2, 4]))),
        (Model, "fc1.weight", put("fc1.weight", truncated(&[4, 3]))),
        (Model, "bn.running_mean", put("bn.running_mean", truncated(&[4]))),
        (Model, "fc2.weight", put("fc2.weight", mistyped(&[2, 4]))),
        (Model, "bn.bias", put("bn.bias", mistyped(&[4]))),
        (Optimizer, "fc2.bias.exp_avg_sq", put("adam.param.fc2.bias.exp_avg_sq", truncated(&[2]))),
        (Optimizer, "fc1.weight.exp_avg", put("adam.param.fc1.weight.exp_avg", truncated(&[4, 3]))),
        (Optimizer, "fc1.weight.exp_avg", put("adam.param.fc1.weight.exp_avg", mistyped(&[4, 3]))),
        (
            Optimizer,
            "fc1.weight.step",
            put("adam.param.fc1.weight.step", HostTensor { data: HostData::F64(vec![]), ..HostTensor::scalar(0.0) }),
        ),
        (Ema, "average param.bn.bias is missing", remove("ema.param.bn.bias.average")),
        (Ema, "averages", put("ema.6", floats(&[2]))),
        (Ema, "average param.fc2.bias is f32 [3]", put("ema.param.fc2.bias.average", floats(&[3]))),
        (Ema, "average param.fc2.bias is i32 [2]", put("ema.param.fc2.bias.average", integers(&[2]))),
        (Ema, "average param.fc2.bias", put("ema.param.fc2.bias.average", truncated(&[2]))),
        (Ema, "average param.fc1.weight", put("ema.param.fc1.weight.average", mistyped(&[4, 3]))),
        (Ema, "decay", remove("ema.decay")),
        (Ema, "decay", put("ema.decay", HostTensor::scalar(f64::NAN))),
        (Ema, "decay", put("ema.decay", floats(&[2]))),
    ]
}

#[test]
fn every_failed_load_leaves_the_run_as_it_was() {
    let (adam, make) = fullest()[1];
    assert_eq!(adam, "adam");
    let source = Run::new(1, make, 3);
    let (mut run, mut twin) = (Run::new(2, make, 2), Run::new(2, make, 2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let rows = failures();
    assert!(rows.len() >= 37, "{}", rows.len());
    let mut wrong = Vec::new();
    for (i, (part, expected, edit)) in rows.into_iter().enumerate() {
        let before = run.all();
        let Run { model, optimizer, ema } = &mut run;
        let error = match part {
            Part::File => {
                Checkpoint::capture(&source.model, &*source.optimizer).unwrap().save(&path).unwrap();
                let mut file = StateDict::load(&path).unwrap();
                edit(&mut file);
                file.save(&path).unwrap();
                Checkpoint::load(&path).and_then(|c| c.restore(&*model, &mut **optimizer).map(drop))
            }
            Part::Model => {
                let mut dict = source.model.state_dict().unwrap();
                edit(&mut dict);
                let checkpoint = Checkpoint::capture(&Given(dict), &*source.optimizer).unwrap();
                checkpoint.restore(&*model, &mut **optimizer).map(drop)
            }
            Part::Optimizer => {
                let mut dict = source.optimizer.state_dict().unwrap();
                edit(&mut dict);
                optimizer.load_state_dict(&dict).map(drop)
            }
            Part::Ema => {
                let mut dict = source.ema.state_dict().unwrap();
                edit(&mut dict);
                ema.load_state_dict(&dict).map(drop)
            }
        };
        match error {
            Ok(()) => wrong.push(format!("row {i}, {expected}: accepted")),
            Err(e) if !e.to_string().contains(expected) => wrong.push(format!("row {i}, {expected}: {e}")),
            Err(e) if e.to_string().contains("internal") => wrong.push(format!("row {i}: {e}")),
            Err(_) => {}
        }
        if run.all() != before {
            wrong.push(format!("row {i}, {expected}: something changed"));
            (run, twin) = (Run::new(2, make, 2), Run::new(2, make, 2));
        }
        run.step().unwrap();
        twin.step().unwrap();
        if run.all() != twin.all() {
            wrong.push(format!("row {i}, {expected}: the next step is another one"));
            (run, twin) = (Run::new(2, make, 2), Run::new(2, make, 2));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Checkpoint::capture(&source.model, &*source.optimizer).unwrap().restore(&run.model, &mut *run.optimizer).unwrap();
    assert!(run.all()[..2] == source.all()[..2]);
}

/// A handle that cannot be computed is an error only for its reader: loads, steps and averages are the same as without it.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_handle_that_cannot_be_computed_stands_in_nobodys_way() {
    // Of one to three state arrays.
    for (name, make) in fullest().into_iter().step_by(3) {
        let source = Run::new(1, make, 2);
        let (mut run, mut twin) = (Run::new(2, make, 2), Run::new(2, make, 2));
        let checkpoint = Checkpoint::capture(&source.model, &*source.optimizer).unwrap();
        let held = [impossible(&run.model.parameters().unwrap()[4]), impossible_average(&run.ema)];
        for run in [&mut run, &mut twin] {
            run.ema.swap().unwrap();
            run.ema.swap().unwrap();
            checkpoint.restore(&run.model, &mut *run.optimizer).unwrap();
            run.ema.load_state_dict(&source.ema.state_dict().unwrap()).unwrap();
            run.step().unwrap();
            run.ema.update().unwrap();
        }
        assert!(run.all() == twin.all(), "{name}");
        assert!(held.iter().all(|h| h.to_vec::<f32>().is_err()), "{name}");
        run.step().unwrap();
        twin.step().unwrap();
        assert!(run.all() == twin.all(), "{name}: the next step differs");
    }
}

#[cfg(target_pointer_width = "64")]
fn impossible_average(ema: &Ema) -> Tensor {
    let average = ema.averages().remove(2);
    let n = average.shape().unwrap().numel();
    average.reshape([1, n]).expand([1usize << 34, n]).sum()
}

/// Parameters on several devices are set one device after the other; a failure on the last one undoes the others.
#[test]
#[cfg(target_pointer_width = "64")]
fn parameters_of_several_devices_are_set_together() {
    let other = Device::cpu_with(DeviceOptions::default()).unwrap();
    let on = |device: &Device, v: f64| Param::new(&Tensor::full([3], v, device).unwrap()).unwrap();
    let params = [on(device(), 1.0), on(&other, 2.0), on(device(), 3.0), on(&other, 4.0)];
    let now = || params.iter().map(|p| p.tensor().to_vec::<f32>().unwrap()[0]).collect::<Vec<_>>();
    let values: Vec<Tensor> = params.iter().map(|p| Tensor::full([3], 7.0, p.device()).unwrap()).collect();
    let pairs: Vec<(&Param, &Tensor)> = params.iter().zip(&values).collect();
    for (at, param) in params.iter().enumerate() {
        let mut pairs = pairs.clone();
        let bad = impossible(param).expand([3]);
        pairs[at].1 = &bad;
        assert!(Param::set_all(&pairs).is_err(), "{at}");
        assert_eq!(now(), [1.0, 2.0, 3.0, 4.0], "{at}");
    }
    Param::set_all(&pairs).unwrap();
    assert_eq!(now(), [7.0; 4]);
}

/// Loading rules that match nothing or conflict, and tensors that are inconsistent, which are found late.
#[test]
fn rules_that_fail_change_nothing() {
    let run = Run::new(3, fullest()[0].1, 1);
    let model = &run.model;
    let (before, file) = (model.state_dict().unwrap(), Run::new(4, fullest()[0].1, 1).model.state_dict().unwrap());
    let mut torn = file.clone();
    torn.tensors.insert("fc2.weight".into(), truncated(&[2, 4]));
    let rows: [(&str, Result<()>); 6] = [
        ("transpose", model.load_state_dict_with(&file, &LoadOptions::lenient().transpose("fc9.*")).map(drop)),
        ("rename", model.load_state_dict_with(&file, &LoadOptions::lenient().rename("fc1.*", "fc2.*")).map(drop)),
        ("rules", model.load_state_dict_with(&file, &LoadOptions::strict().ignore("fc9.*")).map(drop)),
        ("fc2.weight", model.load_state_dict_with(&torn, &LoadOptions::lenient().transpose("fc2.weight")).map(drop)),
        ("fc2.weight", model.load_state_dict_partial(&torn).map(drop)),
        ("fc2.weight", torn.save(tempfile::tempdir().unwrap().path().join("x"))),
    ];
    for (i, (expected, result)) in rows.into_iter().enumerate() {
        let message = result.expect_err(expected).to_string();
        assert!(message.contains(expected) && !message.contains("internal"), "row {i}: {message}");
        assert!(model.state_dict().unwrap() == before, "row {i}: {message}");
    }
    let trains = || model.parameters().unwrap().iter().map(Param::is_trainable).collect::<Vec<_>>();
    assert!(transfer::freeze(model, "fc9.*").is_err());
    assert!(UnfreezeSchedule::new([(0, "fc1.*"), (3, "fc2.*"), (4, "fc9.*")]).apply(model, 0).is_err());
    assert_eq!(trains(), [true; 6]);
}

/// While averages are swapped in, their cells hold the parameters' own values, which a load would overwrite.
#[test]
fn averages_that_are_swapped_in_are_not_loaded() {
    let mut run = Run::new(5, fullest()[0].1, 2);
    let saved = run.ema.state_dict().unwrap();
    let before = run.all();
    run.ema.swap().unwrap();
    let error = run.ema.load_state_dict(&saved).expect_err("refused").to_string();
    assert!(error.contains("swapped in"), "{error}");
    run.ema.swap().unwrap();
    assert!(run.all() == before);
}
