//! An optimizer's state is matched to parameters by their names, or by their positions if they have none.

use crate::common::device;
use wgrad::io::StateDict;
use wgrad::nn::{Init, Linear, Module, fields};
use wgrad::optim::{Adam, AdamConfig, Ema, Optimizer};
use wgrad::{Param, Result, Tensor};

struct Net {
    fc1: Linear,
    fc2: Linear,
}

impl Module for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x)?.tanh())
    }
    fields!(fc1, fc2);
}

impl Net {
    fn new(seed: u64) -> Self {
        let init = Init::new(device(), seed);
        Self { fc1: Linear::new(3, 3, &init).unwrap(), fc2: Linear::new(3, 3, &init).unwrap() }
    }

    fn step(&self, adam: &mut Adam) {
        let x = Tensor::full([2, 3], 0.5, device()).unwrap();
        adam.step(self.forward(&x).unwrap().square().sum().backward().unwrap()).unwrap();
    }
}

fn adam(params: &[Param]) -> Adam {
    Adam::new(params, AdamConfig::default()).unwrap()
}

/// A state in the form that files had before they named parameters.
fn by_place(dict: &StateDict, names: &[&str]) -> StateDict {
    let mut old = StateDict::new();
    for (key, tensor) in &dict.tensors {
        let place = names.iter().position(|name| key.contains(&format!(".param.{name}.")));
        match place {
            Some(_) if key.ends_with(".position") => {}
            Some(i) => {
                let key = key.replace(&format!("param.{}", names[i]), &i.to_string());
                old.insert(key.trim_end_matches(".average"), tensor.clone()).unwrap();
            }
            None => old.insert(key, tensor.clone()).unwrap(),
        }
    }
    old
}

const NAMES: [&str; 4] = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];

/// All layers have the same shape: only names tell their states apart.
#[test]
fn states_follow_names_whatever_the_order() {
    let net = Net::new(1);
    let mut params = net.parameters().unwrap();
    let mut first = adam(&params);
    net.step(&mut first);
    let saved = first.state_dict().unwrap();
    assert!(NAMES.iter().all(|name| saved.tensors.contains_key(&format!("adam.param.{name}.exp_avg"))));
    params.reverse();
    let mut other = adam(&params);
    let report = other.load_state_dict(&saved).unwrap();
    assert!(report.by_position.is_empty(), "{report}");
    let again = other.state_dict().unwrap();
    let moments = |dict: &StateDict| {
        let all = dict.tensors.iter().filter(|(key, _)| key.contains("exp_avg"));
        all.map(|(key, tensor)| (key.clone(), tensor.clone())).collect::<Vec<_>>()
    };
    assert_eq!(moments(&again), moments(&saved));
    // Averages, too.
    let mut ema = Ema::new(&params, 0.9).unwrap();
    ema.update().unwrap();
    let averages = ema.state_dict().unwrap();
    params.reverse();
    let mut other = Ema::new(&params, 0.9).unwrap();
    other.load_state_dict(&averages).unwrap();
    let bits = |dict: &StateDict| dict.tensors["ema.param.fc2.weight.average"].clone();
    assert_eq!(bits(&other.state_dict().unwrap()), bits(&averages));
}

#[test]
fn files_without_names_still_load() {
    let net = Net::new(1);
    let params = net.parameters().unwrap();
    let mut first = adam(&params);
    net.step(&mut first);
    let saved = first.state_dict().unwrap();
    let old = by_place(&saved, &NAMES);
    assert!(old.tensors.contains_key("adam.3.exp_avg_sq") && !old.tensors.keys().any(|key| key.contains("param")));
    let mut other = adam(&params);
    let report = other.load_state_dict(&old).unwrap();
    assert_eq!(report.by_position, NAMES);
    assert!(report.to_string().contains("4 parameters were found by position, not by name, of fc1.weight"), "{report}");
    assert_eq!(other.state_dict().unwrap(), saved);
    let ema = Ema::new(&params, 0.9).unwrap();
    let averages = ema.state_dict().unwrap();
    let mut other = Ema::new(&params, 0.9).unwrap();
    assert_eq!(other.load_state_dict(&by_place(&averages, &NAMES)).unwrap().by_position, NAMES);
    assert_eq!(other.state_dict().unwrap(), averages);
}

#[test]
fn parameters_without_names_are_found_by_position() {
    let make = || -> Vec<Param> { (1..3).map(|n| Param::new(&Tensor::full([n], 0.5, device()).unwrap()).unwrap()).collect() };
    let step = |params: &[Param], adam: &mut Adam| {
        let loss: Tensor = params.iter().map(|p| p.tensor().square().sum()).sum();
        adam.step(loss.backward().unwrap()).unwrap();
    };
    let bare = make();
    let mut first = adam(&bare);
    step(&bare, &mut first);
    let saved = first.state_dict().unwrap();
    assert!(saved.tensors.contains_key("adam.1.exp_avg"));
    // With names in the file and none here, and the other way round.
    let named = make();
    named.iter().zip(["a", "b"]).for_each(|(param, name)| param.set_name(name));
    let mut other = adam(&named);
    assert_eq!(other.load_state_dict(&saved).unwrap().by_position, ["a", "b"]);
    let report = adam(&bare).load_state_dict(&other.state_dict().unwrap()).unwrap();
    assert_eq!(report.by_position, ["0 as a", "1 as b"]);
    // Two parameters with the same name count as unnamed.
    named.iter().for_each(|param| param.set_name("same"));
    assert!(adam(&named).state_dict().unwrap().tensors.contains_key("adam.1.exp_avg"));
}

#[test]
fn a_state_of_other_names_is_refused_in_few_words() {
    let net = Net::new(1);
    let params = net.parameters().unwrap();
    let saved = adam(&params).state_dict().unwrap();
    params.iter().zip(["a", "b", "c"]).for_each(|(param, name)| param.set_name(name));
    let error = adam(&params).load_state_dict(&saved).unwrap_err().to_string();
    let expected =
        "there is no state of 3 of 4 parameters: a, b, c; the file holds state of 4: fc1.bias, fc1.weight, fc2.bias, ...";
    assert!(error.contains(expected), "{error}");
}
