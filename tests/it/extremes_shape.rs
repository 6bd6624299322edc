//! Activations and statistics at the ends of f32, large joins, long scans and sorts.

use crate::common::{Noise, close, device, oracle, upload, values};
use wgrad::{DType, Tensor};

const POINTS: [f64; 12] =
    [0.0, -0.0, 88.72, -88.72, 88.73, -88.73, 3.4e38, -3.4e38, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -13.24];

/// PyTorch's values, except for three where its CPU kernels overflow: gelu at 3.4e38 (inf there) and inf (NaN there), and
/// hardswish at 3.4e38 (inf there). Gradients at finite points are only bounded; PyTorch's are compared in the fixtures.
#[test]
fn activations_at_the_ends_of_f32() {
    type Row = (&'static str, fn(&Tensor) -> Tensor, [f64; 12]);
    let (inf, nan, big) = (f64::INFINITY, f64::NAN, 3.4e38);
    let ln2 = std::f64::consts::LN_2;
    #[rustfmt::skip]
    let rows: [Row; 14] = [
        ("relu6", Tensor::relu6, [0.0, 0.0, 6.0, 0.0, 6.0, 0.0, 6.0, 0.0, 6.0, 0.0, nan, 0.0]),
        ("leaky_relu", |x| x.leaky_relu(0.01), [0.0, 0.0, 88.72, -0.8872, 88.73, -0.8873, big, -3.4e36, inf, -inf, nan, -0.1324]),
        ("elu", |x| x.elu(1.0), [0.0, 0.0, 88.72, -1.0, 88.73, -1.0, big, -1.0, inf, -1.0, nan, -0.999998212]),
        ("selu", Tensor::selu, [0.0, 0.0, 93.2181931, -1.75809932, 93.2287064, -1.75809932, inf, -1.75809932, inf, -1.75809932, nan, -1.75809622]),
        ("gelu", Tensor::gelu, [0.0, 0.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, nan, nan, 0.0]),
        ("gelu_tanh", Tensor::gelu_tanh, [0.0, 0.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, nan, nan, 0.0]),
        ("silu", Tensor::silu, [0.0, 0.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, nan, nan, -2.35411881e-05]),
        ("mish", Tensor::mish, [0.0, 0.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, nan, nan, -2.35412081e-05]),
        ("hardsigmoid", Tensor::hardsigmoid, [0.5, 0.5, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, nan, 0.0]),
        ("hardswish", Tensor::hardswish, [0.0, 0.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, nan, nan, 0.0]),
        ("softplus_with", |x| x.softplus_with(2.0, 20.0), [ln2 / 2.0, ln2 / 2.0, 88.72, 0.0, 88.73, 0.0, big, 0.0, inf, 0.0, nan, 0.0]),
        ("softsign", Tensor::softsign, [0.0, 0.0, 0.988854229, -0.988854229, 0.988855481, -0.988855481, 1.0, -1.0, nan, nan, nan, -0.929775298]),
        ("log_sigmoid", Tensor::log_sigmoid, [-ln2, -ln2, 0.0, -88.72, 0.0, -88.73, 0.0, -big, 0.0, -inf, nan, -13.24]),
        ("hardtanh", |x| x.hardtanh(-1.0, 1.0), [0.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, nan, -1.0]),
    ];
    for (name, f, expected) in rows {
        let x = upload(&POINTS, &[12], DType::F32, device()).variable().expect("float");
        let y = f(&x);
        close(name, &values(&y), &expected, 2e-6, 1e-9);
        let g = y.sum().backward().and_then(|g| g.get(&x)).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (v, g) in POINTS.iter().zip(values(&g)).filter(|(v, _)| v.is_finite()) {
            assert!(g.abs() < 2.0, "{name}: the gradient at {v} is {g}");
        }
    }
}

#[test]
fn statistics_at_the_ends_of_f32() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let x = upload(&[-inf, -inf, 1.0, inf, 1.0, nan, 3e38, 3e38, -3e38, -inf], &[5, 2], DType::F32, device());
    let y = values(&x.logsumexp_dim(1));
    close("logsumexp", &y, &[-inf, inf, nan, f64::from(3e38f32), f64::from(-3e38f32)], 1e-6, 0.0);
    let x = upload(&[-inf, -inf, 0.0, -inf], &[2, 2], DType::F32, device()).variable().expect("float");
    let g = x.logsumexp_dim(1).sum().backward().and_then(|g| g.get(&x)).expect("a gradient");
    close("logsumexp's gradient", &values(&g), &[0.0, 0.0, 1.0, 0.0], 0.0, 0.0);
    for p in [0.5, 1.0, 1.5, 2.0, 3.0, inf] {
        let x = upload(&[0.0, 0.0, 0.0, 2.0], &[2, 2], DType::F32, device()).variable().expect("float");
        let y = x.norm_dim(p, 1);
        close(&format!("norm {p}"), &values(&y), &[0.0, 2.0], 1e-6, 0.0);
        let g = y.sum().backward().and_then(|g| g.get(&x)).expect("a gradient");
        close(&format!("norm {p}'s gradient"), &values(&g), &[0.0, 0.0, 0.0, 1.0], 1e-5, 0.0);
    }
    let x = upload(&[2.0, 2.0, nan, 1.0], &[2, 2], DType::F32, device()).variable().expect("float");
    close("std", &values(&x.std_dim(1)), &[0.0, nan], 0.0, 0.0);
    let g = x.slice(0, 0, 1).std().backward().and_then(|g| g.get(&x)).expect("a gradient");
    close("std's gradient", &values(&g), &[0.0; 4], 0.0, 0.0);
    let x = upload(&[nan, 0.0, -0.0, 0.0], &[2, 2], DType::F32, device());
    assert_eq!(values(&x.norm_dim(0.0, 1)), [1.0, 0.0]);
    assert_eq!(x.any_dim(1).to_vec::<bool>().expect("bools"), [true, false]);
    assert_eq!(x.all_dim(1).to_vec::<bool>().expect("bools"), [false, false]);
}

#[test]
fn forty_tensors_join_whatever_they_hold() {
    let d = device();
    let data: Vec<Vec<f64>> =
        (0..40).map(|i| (0..3).map(|k| if i == 7 { f64::NAN } else { f64::from(3 * i + k) }).collect()).collect();
    let leaves: Vec<Tensor> = data.iter().map(|v| upload(v, &[3], DType::F32, d).variable().expect("float")).collect();
    let all: Vec<&Tensor> = leaves.iter().collect();
    let expected: Vec<f64> = data.concat();
    let joined = Tensor::cat(&all, 0);
    close("cat of 40", &values(&joined), &expected, 0.0, 0.0);
    close("stack of 40", &values(&Tensor::stack(&all, 0)), &expected, 0.0, 0.0);
    let weights: Vec<f64> = (0..120).map(f64::from).collect();
    let g = joined.backward_with(&upload(&weights, &[120], DType::F32, d)).expect("differentiable");
    for (i, leaf) in leaves.iter().enumerate() {
        close("gradient of cat of 40", &values(&g.get(leaf).expect("a gradient")), &weights[3 * i..3 * i + 3], 0.0, 0.0);
    }
    let empty = upload(&[], &[0], DType::F32, d);
    assert_eq!(values(&Tensor::cat(&[&empty, &leaves[0], &empty], 0)), [0.0, 1.0, 2.0]);
    assert_eq!(values(&Tensor::cat(&[&empty, &empty], 0)), [0.0; 0]);
}

#[test]
fn long_axes_are_scanned_and_sorted() {
    let mut noise = Noise(23);
    for n in [64, 65, 1000, 4096, 40_000] {
        let data = noise.values(2 * n, -1.0, 1.0);
        let of = |dtype, device: &wgrad::Device| values(&upload(&data, &[2, n], dtype, device).cumsum(1));
        close(&format!("cumsum of {n}"), &of(DType::F32, device()), &of(DType::F64, &oracle()), 1e-5, 1e-4);
        let mut sum = 0.0;
        let expected: Vec<f64> = data[n..]
            .iter()
            .map(|v| {
                sum += v;
                sum
            })
            .collect();
        close(&format!("cumsum of {n}, f64"), &of(DType::F64, &oracle())[n..], &expected, 1e-12, 1e-12);
    }
    for n in [65, 700, 4097] {
        // Coarse values: many are equal.
        let data: Vec<f64> = noise.values(n, -50.0, 50.0).iter().map(|v| v.round()).collect();
        let x = upload(&data, &[n], DType::F32, device());
        for descending in [false, true] {
            let (sorted, indices) = x.sort(0, descending);
            let mut order: Vec<usize> = (0..n).collect();
            // Adding 0 makes -0 equal to 0.
            let key = |i: usize| data[i] + 0.0;
            order.sort_by(|&a, &b| if descending { key(b).total_cmp(&key(a)) } else { key(a).total_cmp(&key(b)) });
            assert_eq!(values(&indices), order.iter().map(|&i| i as f64).collect::<Vec<_>>(), "indices of {n}, {descending}");
            assert_eq!(values(&sorted), order.iter().map(|&i| data[i]).collect::<Vec<_>>(), "values of {n}, {descending}");
        }
        let (top, _) = x.topk(5, 0);
        assert_eq!(values(&top), values(&x.sort(0, true).0)[..5]);
    }
}

#[test]
fn integers_are_scanned() {
    let x = Tensor::from_slice(&[3i32, -1, 4, 1], [4], device()).expect("valid");
    assert_eq!(x.cumsum(0).to_vec::<i32>().expect("i32"), [3, 2, 6, 7]);
    assert_eq!(x.cumprod(0).to_vec::<i32>().expect("i32"), [3, -3, -12, -12]);
    assert_eq!(x.reshape([2, 2]).tril(0).to_vec::<i32>().expect("i32"), [3, 0, 4, 1]);
}
