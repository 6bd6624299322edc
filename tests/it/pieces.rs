//! Kernels that take longer than a submission may.

use crate::common::{SLOW, device};
use wgrad::nn::loss::{Reduction, cross_entropy};
use wgrad::nn::{Init, Module};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{ConvOptions, Device, DeviceKind, DeviceOptions, Generator, Result, Tensor};

/// The device under test, opened as slow; on the CPU device that changes nothing.
fn slow() -> Device {
    let options = DeviceOptions { submission: Some(SLOW), checks: Some(true), ..DeviceOptions::default() };
    Device::named_with(device().name(), options).expect("opens")
}

/// The same with the default limit.
fn usual() -> Device {
    let options = DeviceOptions { checks: Some(true), ..DeviceOptions::default() };
    Device::named_with(device().name(), options).expect("opens")
}

type Case = (&'static str, fn(&Device) -> Result<Vec<f32>>);

fn noise<const N: usize>(shape: [usize; N], device: &Device) -> Result<Tensor> {
    Tensor::randn(shape, &Generator::new(7), device)
}

#[test]
fn long_kernels_are_split_and_give_the_same_bits() {
    let (slow, usual) = (slow(), usual());
    let rows: [Case; 8] = [
        ("elementwise", |d| noise([300_001], d)?.exp().to_vec()),
        ("product", |d| noise([257, 300], d)?.matmul(&noise([300, 129], d)?).to_vec()),
        ("products", |d| noise([3, 70, 65], d)?.matmul(&noise([3, 65, 80], d)?).relu().to_vec()),
        ("reduction of rows", |d| noise([999, 301], d)?.sum_dim(1).to_vec()),
        ("reduction of columns", |d| noise([999, 301], d)?.max_dim(0).to_vec()),
        ("softmax", |d| noise([500, 129], d)?.softmax(1).to_vec()),
        ("convolution", |d| {
            let (x, w) = (noise([3, 8, 33, 31], d)?, noise([16, 8, 3, 3], d)?);
            x.conv2d(&w, None, ConvOptions { padding: [1, 1], ..ConvOptions::default() }).to_vec()
        }),
        ("embedding", |d| {
            let index = (noise([4000], d)?.abs() * 10.0).cast(wgrad::DType::I32).clamp(0.0, 49.0);
            noise([50, 33], d)?.index_select(0, &index).to_vec()
        }),
    ];
    for (what, case) in rows {
        let before = (slow.counters(), usual.counters());
        let (split, whole) = (case(&slow).expect(what), case(&usual).expect(what));
        assert!(split.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()) && split.len() == whole.len(), "{what}");
        let launches = slow.counters().dispatches - before.0.dispatches;
        let submissions = slow.counters().submissions - before.0.submissions;
        let usual = usual.counters().dispatches - before.1.dispatches;
        let split = if slow.kind() == DeviceKind::Cpu { launches == usual } else { launches > usual && submissions > 2 };
        assert!(split, "{what}: {launches} launches, {submissions} submissions; usually {usual}");
    }
}

/// Weights after three steps of training.
fn trained(device: &Device) -> Result<Vec<f32>> {
    let init = Init::new(device, 3);
    let model = wgrad::nn::Sequential::new()
        .push(wgrad::nn::Conv2d::new(1, 6, 3, &init)?)
        .push(wgrad::nn::Relu)
        .push(wgrad::nn::Flatten)
        .push(wgrad::nn::Linear::new(6 * 10 * 10, 10, &init)?);
    let mut adam = Adam::new(&model.parameters()?, AdamConfig::default())?;
    let labels = Tensor::from_slice(&[3, 1, 4, 1, 5], [5], device)?;
    for _ in 0..3 {
        let logits = model.forward(&noise([5, 1, 12, 12], device)?)?;
        adam.step(cross_entropy(&logits, &labels, Reduction::Mean)?.backward()?)?;
    }
    let weights: Vec<Vec<f32>> = model.parameters()?.iter().map(|p| p.tensor().to_vec::<f32>()).collect::<Result<_>>()?;
    Ok(weights.concat())
}

#[test]
fn training_is_the_same_on_a_slow_device() {
    let (split, whole) = (trained(&slow()).expect("trains"), trained(&usual()).expect("trains"));
    assert!(split.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()) && split.len() == whole.len());
}
