//! Weights and inputs of `scripts/fixtures/formula.py`: SplitMix64 from the FNV-1a hash of a name.

use crate::common::device;
use wgrad::io::{HostTensor, StateDict};
use wgrad::{DType, HostData, Shape, Tensor};

fn uniform(name: &str, n: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    (1..=n as u64).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}

fn host(name: &str, shape: &[usize], center: f64, spread: f64) -> HostTensor {
    let data = uniform(name, shape.iter().product()).map(|u| (center + spread * (2.0 * u - 1.0)) as f32).collect();
    HostTensor::new(DType::F32, Shape::new(shape).unwrap(), HostData::F32(data)).unwrap()
}

/// Values in ±1.
pub fn floats(name: &str, shape: &[usize]) -> Tensor {
    crate::common::upload_host(&host(name, shape, 0.0, 1.0))
}

/// Integers below `k`.
pub fn integers(name: &str, shape: &[usize], k: usize) -> Tensor {
    let data: Vec<i32> = uniform(name, shape.iter().product()).map(|u| (u * k as f64).floor() as i32).collect();
    Tensor::from_slice(&data, shape, device()).unwrap()
}

/// The state dict that a fixture's note describes.
pub fn state(note: &str) -> StateDict {
    let mut dict = StateDict::new();
    for (name, shape) in note.split(';').filter(|e| !e.is_empty()).map(|e| e.split_once(':').unwrap()) {
        let shape: Vec<usize> = shape.split(',').map(|d| d.parse().unwrap()).collect();
        // PyTorch's tied weight has the same value under both of its names.
        let seed = if name == "lm_head.weight" { "transformer.wte.weight" } else { name };
        let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
        let batch_norm = !name.ends_with("running_mean") && note.contains(&format!("{layer}.running_mean:"));
        let (center, spread) = if name.ends_with("running_var") {
            (1.0, 0.2)
        } else if batch_norm {
            // Few channels are dead; near dead ones rounding errors grow fast.
            (if name.ends_with("weight") { 0.4 } else { 0.8 }, 0.1)
        } else if shape.len() >= 2 {
            (0.0, (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt())
        } else {
            (if name.ends_with("weight") { 1.0 } else { 0.0 }, 0.1)
        };
        dict.insert(name, host(seed, &shape, center, spread)).unwrap();
    }
    dict
}
