//! Training with activations stored in f16: gradients that overflow skip a step and halve the loss scale, and small ones are
//! saved by it.

use super::formula::{floats, integers};
use crate::common::{device, values};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{Init, Linear, Module};
use wgrad::optim::{LossScaler, LossScalerConfig, Optimizer, Sgd, SgdConfig};
use wgrad::{DType, Result, Tensor, fields};

/// Two layers with the hidden activations in `storage` between them.
struct Net {
    fc1: Linear,
    fc2: Linear,
    storage: DType,
}

impl Module for Net {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.fc1.forward(x)?.relu().cast(self.storage);
        assert_eq!(hidden.dtype()?, self.storage);
        self.fc2.forward(&hidden)
    }
    fields!(fc1, fc2; skip storage);
}

fn net(storage: DType) -> Net {
    let init = Init::new(device(), 3);
    Net { fc1: Linear::new(12, 32, &init).unwrap(), fc2: Linear::new(32, 4, &init).unwrap(), storage }
}

fn loss(net: &Net) -> Tensor {
    let y = net.forward(&floats("x", &[16, 12])).unwrap();
    cross_entropy(&y, &integers("y", &[16], 4), Reduction::Mean).unwrap()
}

fn weights(net: &Net) -> Vec<Vec<f64>> {
    net.parameters().unwrap().iter().map(|p| values(&p.tensor())).collect()
}

#[test]
fn f16_activations_train_under_a_scale_that_halves_and_recovers() {
    let net = net(DType::F16);
    let mut sgd = Sgd::new(&net.parameters().unwrap(), SgdConfig { lr: 0.2, momentum: 0.9, ..SgdConfig::default() }).unwrap();
    let config = LossScalerConfig { init_scale: 2f64.powi(26), growth_interval: 8, ..LossScalerConfig::default() };
    let mut scaler = LossScaler::new(device(), config).unwrap();
    let first = values(&loss(&net))[0];
    let (mut scale, mut skipped, mut grown, mut good) = (config.init_scale, 0, 0, 0);
    for step in 0..60 {
        let before = weights(&net);
        let mut gradients = scaler.scale(&loss(&net)).backward().unwrap();
        scaler.unscale(&mut gradients).unwrap();
        sgd.step(gradients).unwrap();
        scaler.update().unwrap();
        let (after, now) = (weights(&net), scaler.current().unwrap());
        if after == before {
            assert_eq!(now, scale / 2.0, "step {step} was skipped");
            (skipped, good) = (skipped + 1, 0);
        } else {
            good += 1;
            let expected = if good == config.growth_interval { scale * 2.0 } else { scale };
            assert_eq!(now, expected, "step {step} was taken");
            if good == config.growth_interval {
                (grown, good) = (grown + 1, 0);
            }
        }
        assert!(after.iter().flatten().all(|v| v.is_finite()), "step {step}");
        scale = now;
    }
    // The largest f16 is 65504, and gradients of these activations are a few hundredths: 2²⁶ is too much at first.
    assert!(skipped >= 3 && grown >= 2, "{skipped} steps were skipped, and the scale grew {grown} times");
    assert_eq!(sgd.skipped().unwrap(), skipped);
    let last = values(&loss(&net))[0];
    assert!(last < 0.2 * first, "the loss went from {first} to {last}");
}

#[test]
fn a_scale_saves_gradients_below_the_smallest_f16() {
    let faint = 1e-9;
    let gradient = |storage, scale: f64| {
        let net = net(storage);
        let gradients = (loss(&net) * (faint * scale)).backward().unwrap();
        let of_fc1 = gradients.get(&net.fc1.weight).unwrap();
        values(&of_fc1).into_iter().map(|g| g / (faint * scale)).collect::<Vec<_>>()
    };
    let wide = gradient(DType::F32, 1.0);
    let largest = wide.iter().fold(0.0f64, |m, g| m.max(g.abs()));
    assert!(gradient(DType::F16, 1.0).iter().all(|&g| g == 0.0), "f16 has nothing between 0 and 6e-8");
    for (found, expected) in gradient(DType::F16, 2f64.powi(32)).iter().zip(&wide) {
        assert!((found - expected).abs() <= 4e-3 * largest, "{found}, expected {expected}");
    }
}
