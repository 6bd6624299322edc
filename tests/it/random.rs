//! Distributions: bit-identical where that is promised, within their bounds, and of the right shape.

use crate::common::{close, device, oracle, upload, values};
use wgrad::{DType, Device, Generator, Result, Tensor};

type Make = fn(&Generator, &Device) -> Result<Tensor>;

#[test]
fn integers_and_uniforms_are_bit_equal_everywhere() {
    let rows: [(&str, Make); 10] = [
        ("uniform", |g, d| Tensor::uniform([1000], -0.3, 2.7, g, d)),
        ("uniform of large", |g, d| Tensor::uniform([1000], 1e6, 1e6 + 3.0, g, d)),
        ("bernoulli", |g, d| Tensor::bernoulli([1000], 0.3, g, d)),
        ("bernoulli 0", |g, d| Tensor::bernoulli([10], 0.0, g, d)),
        ("bernoulli 1", |g, d| Tensor::bernoulli([10], 1.0, g, d)),
        ("randint", |g, d| Tensor::randint([1000], -3, 11, g, d)),
        ("randint of all positives", |g, d| Tensor::randint([1000], 0, i32::MAX, g, d)),
        ("randint of one", |g, d| Tensor::randint([10], i32::MIN, i32::MIN + 1, g, d)),
        ("randint of negatives", |g, d| Tensor::randint([1000], i32::MIN, -1, g, d)),
        ("permutation", |g, d| Tensor::permutation(257, g, d)),
    ];
    for (name, make) in rows {
        let of = |d: &Device| make(&Generator::at(5, 9), d).and_then(|t| t.to_host()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(of(device()), of(&oracle()), "{name}");
    }
}

#[test]
fn integers_are_the_product_of_a_64_bit_word() {
    let (low, high) = (-5, 1_000_000_007);
    let got = Tensor::randint([300], low, high, &Generator::at(42, 7), device()).and_then(|t| t.to_vec::<i32>()).expect("draws");
    let expected: Vec<i32> = (0..300)
        .map(|i| {
            let [first, second] = wgrad::rng::threefry2x32([42, 0], [i, 7]);
            let word = u128::from(first) << 32 | u128::from(second);
            let span = u128::try_from(high - low).expect("positive");
            low + i32::try_from((word * span) >> 64).expect("in range")
        })
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn draws_have_their_range_mean_and_variance() {
    let rows: [(&str, Make, f64, f64, f64, f64); 5] = [
        ("uniform", |g, d| Tensor::uniform([20_000], -1.0, 3.0, g, d), -1.0, 3.0, 1.0, 16.0 / 12.0),
        ("bernoulli", |g, d| Tensor::bernoulli([20_000], 0.2, g, d), 0.0, 1.5, 0.2, 0.16),
        ("randint", |g, d| Tensor::randint([20_000], 1, 7, g, d), 1.0, 7.0, 3.5, 35.0 / 12.0),
        ("normal", |g, d| Tensor::normal([20_000], 2.0, 0.5, g, d), -1.0, 5.0, 2.0, 0.25),
        ("permutation", |g, d| Tensor::permutation(1000, g, d), 0.0, 1000.0, 499.5, (1e6 - 1.0) / 12.0),
    ];
    for (name, make, low, high, mean, variance) in rows {
        let v = values(&make(&Generator::new(11), device()).expect("draws"));
        assert!(v.iter().all(|&x| (low..high).contains(&x)), "{name} leaves {low}..{high}");
        let n = v.len() as f64;
        let got = v.iter().sum::<f64>() / n;
        let spread = v.iter().map(|x| (x - got) * (x - got)).sum::<f64>() / n;
        assert!((got - mean).abs() < 4.0 * (variance / n).sqrt(), "{name}: mean {got}");
        assert!((spread / variance - 1.0).abs() < 0.06, "{name}: variance {spread}");
    }
    let mut order = Tensor::permutation(500, &Generator::new(1), device()).and_then(|t| t.to_vec::<i32>()).expect("draws");
    order.sort_unstable();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
}

#[test]
fn categories_come_by_their_probabilities() {
    let p = [0.1, 0.0, 0.6, 0.3];
    let logits = upload(&p, &[1, 4], DType::F32, device()).log().expand([20_000, 4]);
    let drawn = values(&logits.categorical(1, &Generator::new(2)));
    let shares: Vec<f64> = (0..4).map(|c| drawn.iter().filter(|&&d| d == f64::from(c)).count() as f64 / 20_000.0).collect();
    close("shares", &shares, &p, 0.0, 0.015);
    assert_eq!(shares[1], 0.0);
}

#[test]
fn successive_draws_differ_and_a_generator_resumes() {
    let generator = Generator::new(3);
    let draw = |g: &Generator| Tensor::randint([20], 0, 1000, g, device()).and_then(|t| t.to_vec::<i32>()).expect("draws");
    let (first, second) = (draw(&generator), draw(&generator));
    assert_ne!(first, second);
    assert_eq!(draw(&Generator::at(3, 1)), second);
    let order = |g: &Generator| Tensor::permutation(20, g, device()).and_then(|t| t.to_vec::<i32>()).expect("draws");
    assert_ne!(order(&generator), order(&generator));
}
