//! `with_gradient`, and `grad` with respect to parameters.

use crate::common::device;
use wgrad::nn::{Init, Linear, Module, Sequential, Tanh};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::{DType, Generator, Param, Tensor, grad, no_grad};

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_slice(values, [values.len()], device()).unwrap()
}

fn floats(t: &Tensor) -> Vec<f32> {
    t.to_vec().unwrap()
}

/// `xy²`, with a rule that gives twice the true gradient of x.
fn doubled(x: &Tensor, y: &Tensor) -> Tensor {
    (x * y.square()).with_gradient([x, y], |ct, [x, y]| [ct * y.square() * 2, ct * x * y * 2])
}

#[test]
fn a_rule_replaces_the_derivatives_by_its_inputs() {
    let (x, y) = (tensor(&[2.0, 3.0]).variable().unwrap(), tensor(&[-1.0, 4.0]).variable().unwrap());
    let z = doubled(&(&x * 3), &y);
    assert_eq!(floats(&z), [6.0, 144.0]);
    let ct = tensor(&[1.0, 10.0]);
    let gradients = z.backward_with(&ct).unwrap();
    assert_eq!(floats(&gradients.get(&x).unwrap()), [6.0, 960.0]);
    assert_eq!(floats(&gradients.get(&y).unwrap()), [-12.0, 720.0]);
    // The rule alone says which inputs have a gradient, whatever the value was computed from.
    let by_rule = z.detach().with_gradient([&x], |ct, _| [ct.ones_like()]);
    assert_eq!(floats(&grad(&by_rule, &[&x]).unwrap()[0]), [1.0, 1.0]);
    assert_eq!(floats(&grad(&by_rule, &[&y]).unwrap()[0]), [0.0, 0.0]);
}

#[test]
fn a_rule_is_differentiated_again_by_its_inputs_and_what_it_holds() {
    let (x, y) = (tensor(&[2.0]).variable().unwrap(), tensor(&[5.0]).variable().unwrap());
    let held = y.clone();
    let z = x.powf(3.0).with_gradient([&x], move |ct, [x]| [ct * x.square() * &held]);
    let first = grad(&z, [&x]).unwrap().remove(0); // x²y
    assert_eq!(first.item().unwrap(), 20.0);
    let second = grad(&first, [&x, &y]).unwrap();
    assert_eq!((second[0].item().unwrap(), second[1].item().unwrap()), (20.0, 4.0));
}

#[test]
fn a_rule_trains_within_steps() {
    let w = Param::new(&tensor(&[0.9, 0.1])).unwrap();
    let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 0.1, ..SgdConfig::default() }).unwrap();
    for _ in 0..5 {
        let soft = w.tensor();
        let hard = soft.gt(0.5).cast(DType::F32).with_gradient([&soft], |ct, _| [ct.clone()]);
        sgd.step((hard * tensor(&[1.0, -1.0])).sum().backward().unwrap()).unwrap();
    }
    let after = floats(&w.tensor());
    assert!((after[0] - 0.4).abs() < 1e-6 && (after[1] - 0.6).abs() < 1e-6, "{after:?}");
}

#[test]
fn without_gradients_a_rule_is_not_asked() {
    let x = tensor(&[1.0]).variable().unwrap();
    let never = |_: &Tensor, _: [&Tensor; 1]| -> [Tensor; 1] { panic!("the rule was called") };
    assert!(!no_grad(|| x.with_gradient([&x], never)).requires_grad());
    assert!(!x.with_gradient([&x.detach()], never).requires_grad());
    assert!(!x.with_gradient([], |_, []| []).requires_grad());
}

#[test]
fn wrong_rules_and_values_are_refused() {
    let x = tensor(&[1.0, 2.0]).variable().unwrap();
    let says = |result: wgrad::Result<Vec<Tensor>>, text: &str| {
        let message = result.expect_err(text).to_string();
        assert!(message.contains(text) && message.contains(file!()), "{message}");
    };
    let wide = x.with_gradient([&x], |ct, _| [ct.sum()]);
    says(
        grad(&wide, [&x]),
        "[with_gradient] the rule's gradient 0 is f32 [], and input 0 is f32 [2]; help: return one gradient per",
    );
    let whole = x.with_gradient([&x], |ct, _| [ct.cast(DType::I32)]);
    says(grad(&whole, [&x]), "the rule's gradient 0 is i32 [2]");
    let broken = x.with_gradient([&x], |ct, _| [ct.reshape([3])]);
    says(grad(&broken, [&x]), "[reshape]");
    let mask = x.gt(0).with_gradient([&x], |ct, _| [ct.clone()]).check().unwrap_err().to_string();
    assert!(mask.contains("[with_gradient] bool [2], f32 [2]: bool is not a floating-point dtype"), "{mask}");
}

#[test]
fn derivatives_by_parameters_are_those_of_backward() {
    let init = Init::new(device(), 0);
    let net = Sequential::new().push(Linear::new(3, 4, &init).unwrap()).push(Tanh).push(Linear::new(4, 1, &init).unwrap());
    let x = Tensor::randn([5, 3], &Generator::new(1), device()).unwrap();
    let loss = net.forward(&x).unwrap().square().mean();
    let parameters = net.parameters().unwrap();
    let (gradients, derivatives) = (loss.backward().unwrap(), grad(&loss, &parameters).unwrap());
    assert_eq!(derivatives.len(), 4);
    for (parameter, derivative) in parameters.iter().zip(&derivatives) {
        assert_eq!(floats(&gradients.get(parameter).unwrap()), floats(derivative));
    }
    // One that the loss does not depend on, and one that is frozen.
    let apart = Param::new(&x).unwrap();
    assert_eq!(grad(&loss, [&apart]).unwrap()[0].abs().max().item().unwrap(), 0.0);
    apart.freeze();
    let message = grad(&loss, &[apart]).unwrap_err().to_string();
    assert!(message.contains("requires no gradient: it is frozen; help"), "{message}");
    let buffer = Param::buffer(&x).unwrap();
    let message = grad(&loss, &[buffer]).unwrap_err().to_string();
    assert!(message.contains("requires no gradient: it is a buffer; help"), "{message}");
}
