//! One model's values in another.

use crate::common::{device, values};
use wgrad::nn::{BatchNorm1d, Init, Linear, Module, Sequential};
use wgrad::{Device, Tensor};

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
