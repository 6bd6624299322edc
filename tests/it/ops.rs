//! Forward passes: every sample, layout and size, fused and unfused, against f64 on the reference.

use crate::common::{Layout, Noise, arrange, close, devices, excepted, oracle, upload, values};
use crate::samples::{Sample, binary_over, samples, unary_over};
use crate::sweep::sweep;
use wgrad::{DType, Device, Generator, Tensor};

/// Runs a sample on a device from the given values.
fn run(sample: &Sample, data: &[Vec<f64>], layout: Layout, dtype: DType, device: &Device) -> Tensor {
    let leaves = sample.operands.iter().zip(data).map(|(o, v)| arrange(&upload(v, &o.shape, dtype, device), layout));
    (sample.run)(&leaves.collect::<Vec<_>>())
}

/// The values that a sample is tried with.
fn data(sample: &Sample) -> Vec<Vec<f64>> {
    let mut noise = Noise(7);
    sample.operands.iter().map(|o| noise.values(o.shape.iter().product(), o.lo, o.hi)).collect()
}

/// Runs a sample in a layout, whatever comes of it.
pub fn run_alone(sample: &Sample, layout: Layout, devices: &[(&'static str, &Device)]) {
    for (_, device) in devices {
        run(sample, &data(sample), layout, DType::F32, device).eval().unwrap_or_else(|e| panic!("{}: {e}", sample.name));
    }
}

/// Compares a sample in a layout with f64 on the reference.
fn check(sample: &Sample, layout: Layout, devices: &[(&'static str, &Device)]) {
    let data = data(sample);
    let expected = values(&run(sample, &data, layout, DType::F64, &oracle()));
    for (mode, device) in devices {
        let what = format!("{} {layout:?} {mode} on {device}", sample.name);
        let got = run(sample, &data, layout, DType::F32, device);
        let got = got.to_host().unwrap_or_else(|e| panic!("{what}: {e}")).to_f64();
        close(&what, &got, &expected, sample.relative, sample.absolute);
    }
}

#[test]
fn samples_agree_with_f64() {
    let samples = samples();
    let samples: Vec<&Sample> = samples.iter().filter(|s| !excepted(s.op)).collect();
    sweep(&samples, Sample::layouts, check);
}

#[test]
fn elementwise_sizes() {
    let both = [("fused", &devices().fused), ("unfused", &devices().unfused)];
    for n in [255, 256, 257, 65_537] {
        for sample in unary_over(&[n]) {
            check(&sample, Layout::Contiguous, &both);
        }
    }
    for sample in binary_over(&[257, 65], &[65]).iter().chain(&binary_over(&[65_537], &[65_537])) {
        check(sample, Layout::Contiguous, &both);
    }
}

#[test]
fn reductions_of_many_sizes() {
    for (shape, axis) in
        [([1, 65_537], 1), ([65_537, 1], 0), ([257, 300], 0), ([300, 257], 1), ([3, 100_000], 1), ([100_000, 3], 0)]
    {
        let mut noise = Noise(3);
        let data = noise.values(shape[0] * shape[1], -1.0, 1.0);
        let of = |dtype, device: &Device| {
            let x = upload(&data, &shape, dtype, device);
            let parts = [x.sum_dim(axis), x.square().mean_dim(axis), x.max_dim(axis), x.min_dim(axis)];
            let index = x.argmax_dim(axis);
            (parts.iter().map(values).collect::<Vec<_>>(), values(&index))
        };
        let (expected, expected_index) = of(DType::F64, &oracle());
        let (got, index) = of(DType::F32, &devices().fused);
        for (k, (g, e)) in got.iter().zip(&expected).enumerate() {
            // A sum's error grows with the square root of its length, and cancellation hides its size.
            close(&format!("reduction {k} of {shape:?} over {axis}"), g, e, 1e-5, 1e-3);
        }
        assert_eq!(index, expected_index, "argmax of {shape:?} over {axis}");
    }
}

#[test]
pub fn larger_products_agree() {
    let shapes = [(65, 33, 129), (128, 128, 128), (64, 1568, 128), (10, 3000, 7), (1, 700, 300), (130, 70, 1)];
    for (m, k, n) in shapes {
        let mut noise = Noise(11);
        let (a, b) = (noise.values(m * k, -1.0, 1.0), noise.values(k * n, -1.0, 1.0));
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let of = |dtype, device: &Device| {
                let x = if ta { upload(&a, &[k, m], dtype, device).t() } else { upload(&a, &[m, k], dtype, device) };
                let y = if tb { upload(&b, &[n, k], dtype, device).t() } else { upload(&b, &[k, n], dtype, device) };
                values(&(x.matmul(&y).relu() + 1.0))
            };
            let what = format!("matmul {m}x{k}x{n} {ta} {tb}");
            normalised(&what, &of(DType::F32, &devices().fused), &of(DType::F64, &oracle()), 1e-12);
        }
    }
}

/// Checks `Σ(g - e)² / Σe²`.
fn normalised(what: &str, got: &[f64], expected: &[f64], limit: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let error: f64 = got.iter().zip(expected).map(|(g, e)| (g - e) * (g - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    assert!(error <= limit * norm, "{what}: normalised squared error {}", error / norm);
}

#[test]
pub fn larger_convolutions_agree() {
    for (x, w, padding, stride, groups) in [
        ([8, 1, 28, 28], [16, 1, 3, 3], 1, 1, 1),
        ([8, 16, 14, 14], [32, 16, 3, 3], 1, 1, 1),
        ([3, 16, 15, 13], [24, 8, 5, 5], 2, 2, 2),
        ([2, 32, 17, 17], [32, 1, 3, 3], 1, 1, 32),
        ([2, 3, 33, 33], [8, 3, 7, 7], 3, 2, 1),
    ] {
        let options =
            wgrad::ConvOptions { stride: [stride; 2], padding: [padding; 2], dilation: [1, 1], groups, ..Default::default() };
        let mut noise = Noise(13);
        let (xs, ws) = (noise.values(x.iter().product(), -1.0, 1.0), noise.values(w.iter().product(), -1.0, 1.0));
        let of = |dtype, device: &Device| {
            let x = upload(&xs, &x, dtype, device).variable().expect("float");
            let w = upload(&ws, &w, dtype, device).variable().expect("float");
            let y = x.conv2d(&w, None, options);
            let ct = (&y * 0.5).detach();
            let g = y.backward_with(&ct).expect("differentiable");
            [values(&y), values(&g.get(&x).expect("dx")), values(&g.get(&w).expect("dw"))]
        };
        let (got, expected) = (of(DType::F32, &devices().fused), of(DType::F64, &oracle()));
        for (part, (g, e)) in ["y", "dx", "dw"].iter().zip(got.iter().zip(&expected)) {
            normalised(&format!("conv2d {x:?} {w:?} {part}"), g, e, 1e-11);
        }
    }
}

#[test]
fn random_numbers_are_bit_equal_everywhere() {
    let device = &devices().fused;
    let bits =
        |d: &Device| Tensor::random_bits([257, 3], &Generator::at(42, 5), d).and_then(|t| t.to_vec::<u32>()).expect("bits");
    let expected: Vec<u32> = (0..257 * 3).map(|i| wgrad::rng::threefry2x32([42, 0], [i, 5])[0]).collect();
    assert_eq!(bits(device), expected);
    assert_eq!(bits(&oracle()), expected);
    let uniform = |d: &Device| Tensor::rand([1000], &Generator::new(1), d).and_then(|t| t.to_vec::<f32>()).expect("floats");
    assert_eq!(uniform(device), uniform(&oracle()));
    assert!(uniform(device).iter().all(|u| (0.0..1.0).contains(u)));
    let normal = |d: &Device| values(&Tensor::randn([10_000], &Generator::new(1), d).expect("normals"));
    let (got, expected) = (normal(device), normal(&oracle()));
    close("normals", &got, &expected, 1e-5, 1e-5);
    let mean = got.iter().sum::<f64>() / 1e4;
    let variance = got.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 1e4;
    assert!(mean.abs() < 0.04 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
}

#[test]
fn slices_and_transposes_of_random_tensors_keep_their_numbers() {
    let device = &devices().fused;
    let generator = || Generator::new(9);
    let whole = Tensor::rand([6, 8], &generator(), device).expect("valid");
    let part = Tensor::rand([6, 8], &generator(), device).expect("valid").slice(0, 2, 4).t() * 1.0;
    let whole = values(&whole);
    let expected: Vec<f64> = (0..8).flat_map(|c| [whole[16 + c], whole[24 + c]]).collect();
    assert_eq!(values(&part), expected);
}

#[test]
fn creation() {
    let d = &devices().fused;
    let get = |t: wgrad::Result<Tensor>| values(&t.expect("valid"));
    assert_eq!(get(Tensor::zeros([2, 2], d)), [0.0; 4]);
    assert_eq!(get(Tensor::full([3], 2.5, d)), [2.5; 3]);
    assert_eq!(get(Tensor::arange(1.0, 4.0, 1.0, d)), [1.0, 2.0, 3.0]);
    assert_eq!(get(Tensor::arange(5.0, 0.0, -2.0, d)), [5.0, 3.0, 1.0]);
    assert_eq!(get(Tensor::arange(1.0, 1.0, 1.0, d)), [0.0; 0]);
    assert_eq!(get(Tensor::eye(3, d)), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(Tensor::from_slice(&[true, false], [2], d).and_then(|t| t.to_vec::<bool>()).expect("bools"), [true, false]);
    assert_eq!(Tensor::from_slice(&[7u32], [1], d).and_then(|t| t.to_vec::<u32>()).expect("u32"), [7]);
    assert_eq!(get(Tensor::from_slice(&[0f32; 0], [0, 4], d)), [0.0; 0]);
}

#[test]
fn loops_past_65_535_iterations_are_right() {
    let d = &devices().fused;
    let n = 150_000;
    let ones = Tensor::ones([n, 1], d).expect("valid");
    let index = Tensor::iota(n, DType::I32, d).expect("valid") % 3;
    assert_eq!(values(&ones.scatter_add_rows(3, &index)), [50_000.0; 3]);
    let row = Tensor::ones([1, n], d).expect("valid");
    close("softmax", &values(&row.softmax(1).slice(1, 0, 2)), &[1.0 / n as f64; 2], 1e-4, 0.0);
    let label = Tensor::from_slice(&[7i32], [1], d).expect("valid");
    close("cross_entropy", &values(&row.cross_entropy_rows(&label)), &[(n as f64).ln()], 1e-4, 0.0);
    close(
        "matmul",
        &values(&Tensor::ones([1, 600_000], d).expect("valid").matmul(&Tensor::ones([600_000, 1], d).expect("valid"))),
        &[600_000.0],
        1e-6,
        0.0,
    );
    assert_eq!(values(&row.argmax_dim(1)), [0.0]);
}

#[test]
fn long_divisions_in_a_reduction_keep_to_the_loop_limit() {
    // Every element takes a few iterations: together they are more than a software adapter allows a thread.
    let n = 300_000;
    let x = Tensor::iota(n, DType::F32, &devices().fused).expect("valid") * 64.0 + 2048.0;
    let odd = &x % 3.0;
    let expected: f64 = (0..n).map(|i| ((i * 64 + 2048) % 3) as f64).sum();
    assert_eq!(values(&odd.sum()), [expected]);
    assert_eq!(values(&(&odd + 0.0).max()), [2.0]);
    let two = (0..n).find(|i| (i * 64 + 2048) % 3 == 2).expect("some remainder is 2") as f64;
    assert_eq!(values(&odd.argmax()), [two]);
}
