//! Tensors made without operands: constants, counts, random numbers. The first operand only determines the device.

use super::{Sample, operand};
use wgrad::{DType, Device, Generator, Result, Tensor};

type Made = Box<dyn Fn(&Device) -> Result<Tensor> + Send + Sync>;
type Make = fn(&[usize], &Device) -> Result<Tensor>;

pub fn creation() -> Vec<Sample> {
    let generator = || Generator::at(42, 5);
    let of_shape: [(&'static str, Make); 11] = [
        ("zeros", |s, d| Tensor::zeros(s, d)),
        ("ones", |s, d| Tensor::ones(s, d)),
        ("full", |s, d| Tensor::full(s, -2.5, d)),
        ("full_of", |s, d| Tensor::full_of(s, 7.0, DType::I32, d)),
        ("random_bits", |s, d| Tensor::random_bits(s, &Generator::at(42, 5), d)),
        ("rand", |s, d| Tensor::rand(s, &Generator::at(42, 5), d)),
        ("randn", |s, d| Tensor::randn(s, &Generator::at(42, 5), d)),
        ("uniform", |s, d| Tensor::uniform(s, -2.0, 3.0, &Generator::at(42, 5), d)),
        ("normal", |s, d| Tensor::normal(s, 1.0, 2.0, &Generator::at(42, 5), d)),
        ("bernoulli", |s, d| Tensor::bernoulli(s, 0.3, &Generator::at(42, 5), d)),
        ("randint", |s, d| Tensor::randint(s, -5, 90, &Generator::at(42, 5), d)),
    ];
    let shapes: [&[usize]; 12] =
        [&[], &[1], &[0], &[7], &[257], &[3, 4], &[0, 3], &[5, 1], &[2, 3, 5], &[2, 0, 3], &[1, 1, 3], &[2, 2, 2, 2]];
    let mut rows = Vec::new();
    let mut add = |op: &'static str, what: String, make: Made| {
        let run = move |x: &[Tensor]| make(&x[0].device().expect("valid")).expect("a tensor");
        // Normal numbers are made with a logarithm and a cosine, in which devices differ.
        rows.push(Sample::new(op, what, vec![operand(&[1], 0.0, 1.0)], run).within(1e-5, 1e-5).flat().brief());
    };
    for (op, make) in of_shape {
        for shape in shapes {
            add(op, format!("{shape:?}"), Box::new(move |d| make(shape, d)));
        }
    }
    for (n, dtype) in [0, 1, 2, 7, 33, 257].into_iter().flat_map(|n| [(n, DType::I32), (n, DType::F32)]) {
        add("iota", format!("{n} {dtype}"), Box::new(move |d| Tensor::iota(n, dtype, d)));
    }
    for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33] {
        add("eye", format!("{n}"), Box::new(move |d| Tensor::eye(n, d)));
        add("permutation", format!("{n}"), Box::new(move |d| Tensor::permutation(n, &generator(), d)));
        let (stop, step) = (n as f64 / 2.0, if n % 2 == 0 { 0.25 } else { -0.5 });
        add(
            "arange",
            format!("{stop} {step}"),
            Box::new(move |d| Tensor::arange(if step > 0.0 { 0.0 } else { 9.0 }, stop, step, d)),
        );
        let value = n as f64 - 3.5;
        add("scalar", format!("{value}"), Box::new(move |d| Tensor::scalar(value, d)));
    }
    rows
}
