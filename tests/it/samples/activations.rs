//! Activation functions and blends.

use super::unary::MORE_SHAPES;
use super::{Sample, first_of_each, operand};
use wgrad::Tensor;

pub fn activations() -> Vec<Sample> {
    type Row = (&'static str, &'static str, f64, f64, fn(&Tensor) -> Tensor);
    let smooth: [Row; 13] = [
        ("gelu", "", -4.0, 4.0, Tensor::gelu),
        ("gelu", "far", -14.0, -6.0, Tensor::gelu),
        ("gelu_tanh", "", -4.0, 4.0, Tensor::gelu_tanh),
        ("gelu_tanh", "far", 6.0, 14.0, Tensor::gelu_tanh),
        ("silu", "", -6.0, 6.0, Tensor::silu),
        ("mish", "", -6.0, 6.0, Tensor::mish),
        ("softplus_with", "1", -6.0, 6.0, |x| x.softplus_with(1.0, 20.0)),
        ("softplus_with", "2.5", -6.0, 6.0, |x| x.softplus_with(2.5, 20.0)),
        ("softsign", "", 0.1, 4.0, Tensor::softsign),
        ("log_sigmoid", "", -6.0, 6.0, Tensor::log_sigmoid),
        ("log_sigmoid", "far", -60.0, -20.0, Tensor::log_sigmoid),
        ("selu", "", -3.0, -0.1, Tensor::selu),
        ("elu", "of 0.4", -3.0, -0.1, |x| x.elu(0.4)),
    ];
    let kinked: [Row; 13] = [
        ("relu6", "", 0.1, 5.9, Tensor::relu6),
        ("relu6", "above", 6.1, 9.0, Tensor::relu6),
        ("leaky_relu", "", 0.1, 3.0, |x| x.leaky_relu(0.01)),
        ("leaky_relu", "negative", -3.0, -0.1, |x| x.leaky_relu(0.2)),
        ("elu", "", 0.1, 3.0, |x| x.elu(1.0)),
        ("selu", "positive", 0.1, 3.0, Tensor::selu),
        ("softsign", "negative", -4.0, -0.1, Tensor::softsign),
        ("softplus_with", "threshold", 2.0, 4.0, |x| x.softplus_with(2.0, 3.0)),
        ("hardsigmoid", "", -2.9, 2.9, Tensor::hardsigmoid),
        ("hardswish", "", -2.9, 2.9, Tensor::hardswish),
        ("hardswish", "above", 3.1, 5.0, Tensor::hardswish),
        ("hardtanh", "", -0.9, 0.9, |x| x.hardtanh(-1.0, 1.0)),
        ("hardtanh", "below", -3.0, -1.1, |x| x.hardtanh(-1.0, 0.5)),
    ];
    let flat: [Row; 5] = [
        ("relu6", "mixed", -9.0, 9.0, Tensor::relu6),
        ("leaky_relu", "mixed", -9.0, 9.0, |x| x.leaky_relu(0.1)),
        ("elu", "mixed", -9.0, 9.0, |x| x.elu(1.3)),
        ("hardsigmoid", "mixed", -9.0, 9.0, Tensor::hardsigmoid),
        ("hardtanh", "mixed", -9.0, 9.0, |x| x.hardtanh(-2.0, 3.0)),
    ];
    let mut rows = Vec::new();
    for shape in [&[3, 4][..], &[7]].iter().chain(&MORE_SHAPES) {
        let make =
            |&(op, what, lo, hi, f): &Row| Sample::new(op, what, vec![operand(shape, lo, hi)], move |x: &[Tensor]| f(&x[0]));
        if MORE_SHAPES.contains(shape) {
            rows.extend(first_of_each(smooth.iter().chain(&kinked).map(make).collect()));
            continue;
        }
        rows.extend(smooth.iter().map(|r| make(r).smooth()));
        rows.extend(kinked.iter().map(make));
        rows.extend(flat.iter().map(|r| make(r).flat()));
    }
    let pair = |a: &[usize], b: &[usize]| vec![operand(a, -2.0, 2.0), operand(b, -2.0, 2.0)];
    rows.push(Sample::new("lerp", "0.25", pair(&[3, 4], &[3, 4]), |x| x[0].lerp(&x[1], 0.25).square()).smooth());
    rows.push(Sample::new("lerp", "0.9, broadcast", pair(&[2, 1, 3], &[4, 1]), |x| x[0].lerp(&x[1], 0.9).square()).smooth());
    let masked = |x: &[Tensor]| x[0].square().masked_fill(&x[1].gt(&x[1].zeros_like()), -1.5);
    rows.push(Sample::new("masked_fill", "", vec![operand(&[3, 4], -2.0, 2.0)], |x| {
        let row = x[0].slice(0, 0, 1).detach();
        x[0].square().masked_fill(&row.gt(&row.full_like(9.0)), 3.0)
    }));
    rows.push(Sample::new("masked_fill", "broadcast", pair(&[3, 4], &[4]), masked).flat());
    rows
}

/// Blends and fills with further shapes, powers and casts.
pub fn more() -> Vec<Sample> {
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[1], &[1]),
        (&[7], &[7]),
        (&[0, 3], &[0, 3]),
        (&[2, 3], &[3]),
        (&[2, 3], &[2, 1]),
        (&[5, 1], &[1]),
        (&[2, 3, 5], &[3, 1]),
        (&[2, 3, 5], &[2, 3, 5]),
        (&[2, 2, 2, 2], &[2, 2]),
    ];
    let mut rows = Vec::new();
    for (a, b) in shapes {
        let pair = || vec![operand(a, 0.2, 2.0), operand(b, -2.0, 2.0)];
        rows.push(Sample::new("lerp", "", pair(), |x| x[0].lerp(&x[1], -0.75).square()));
        rows.push(Sample::new("masked_fill", "", pair(), |x| x[0].square().masked_fill(&x[1].gt(&x[1].zeros_like()), 2.5)));
        let exponents: &[f64] = if a == b { &[-1.5, 0.5, 2.0] } else { &[] };
        for &exponent in exponents {
            rows.push(Sample::new("powf", format!("{exponent}"), vec![operand(a, 0.2, 2.0)], move |x| x[0].powf(exponent)));
        }
        rows.push(Sample::new("zeros_like", "", pair(), |x| x[0].zeros_like() + 1.0).flat());
        rows.push(Sample::new("ones_like", "", pair(), |x| x[0].ones_like() + 1.0).flat());
        rows.push(Sample::new("full_like", "", pair(), |x| x[0].full_like(-3.5) * 2.0).flat());
    }
    for shape in [&[3, 4][..], &[9]] {
        let x = || vec![operand(shape, 0.0, 1.0)];
        rows.push(Sample::new("zeros_like", "", x(), |x| x[0].zeros_like()).flat());
        rows.push(Sample::new("ones_like", "", x(), |x| x[0].ones_like()).flat());
        rows.push(Sample::new("full_like", "", x(), |x| x[0].full_like(7.0)).flat());
    }
    rows.into_iter().map(|row| row.within(4e-6, 2e-6).brief()).collect()
}
