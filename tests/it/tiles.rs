//! Products and convolutions at the edges of the tiles that hardware computes them by, on every device.

use crate::common::{Noise, close, device, oracle, upload, values};
use wgrad::nn::{BatchNorm2d, Init, Module};
use wgrad::optim::{Optimizer, Sgd, SgdConfig};
use wgrad::{ConvOptions, DType, Device, Param, Tensor};

/// Rows, inner dimension and columns: one less and one more than a tile, fewer steps than one, a row or a column, and nothing.
const PRODUCTS: [[usize; 3]; 15] = [
    [31, 7, 33],
    [32, 8, 32],
    [33, 9, 31],
    [63, 17, 65],
    [64, 16, 68],
    [127, 31, 129],
    [128, 40, 124],
    [40, 515, 44],
    [2, 300, 41],
    [1, 257, 130],
    [132, 257, 1],
    [1, 1, 1],
    [0, 5, 3],
    [3, 0, 5],
    // More than 128 tiles of the largest kind.
    [1437, 9, 1501],
];

#[test]
fn products_at_the_edges_of_tiles() {
    for [m, k, n] in PRODUCTS {
        let mut noise = Noise(41);
        // The right side starts after three elements, which forbids vectors, where its rows are odd anyway.
        let skipped = if n % 2 == 1 { 3 } else { 0 };
        let (a, b, c) = (noise.values(m * k, -1.0, 1.0), noise.values(skipped + k * n, -1.0, 1.0), noise.values(n, -1.0, 1.0));
        let layouts =
            if m > 1000 { &[(false, false)][..] } else { &[(false, false), (true, false), (false, true), (true, true)] };
        for &(ta, tb) in layouts {
            let of = |dtype, device: &Device| {
                let x = if ta { upload(&a, &[k, m], dtype, device).t() } else { upload(&a, &[m, k], dtype, device) };
                let flat = upload(&b, &[skipped + k * n], dtype, device).slice(0, skipped as isize, (skipped + k * n) as isize);
                let y = if tb { flat.reshape([n, k]).t() } else { flat.reshape([k, n]) };
                values(&(x.matmul(&y) + upload(&c, &[n], dtype, device)).relu())
            };
            let what = format!("{m}x{k}x{n} {ta} {tb}");
            close(&what, &of(DType::F32, device()), &of(DType::F64, &oracle()), 2e-5, 2e-5);
        }
    }
}

/// Batches that are stretched on either side, and more of them than one dimension of a grid has workgroups.
#[test]
fn batches_of_products_fold_into_the_grid() {
    type Row = (&'static [usize], &'static [usize]);
    let rows: [Row; 3] = [(&[3, 1, 33, 9], &[2, 9, 34]), (&[2, 3, 5, 16], &[16, 40]), (&[65_540, 2, 3], &[65_540, 3, 2])];
    for (x, y) in rows {
        let mut noise = Noise(43);
        let [a, b] = [x, y].map(|s| noise.values(s.iter().product(), -1.0, 1.0));
        let of = |dtype, device: &Device| values(&upload(&a, x, dtype, device).matmul(&upload(&b, y, dtype, device)));
        close(&format!("{x:?} {y:?}"), &of(DType::F32, device()), &of(DType::F64, &oracle()), 2e-5, 2e-5);
    }
}

/// Shapes of images and weights, stride, padding, dilation and groups.
type Convolution = ([usize; 4], [usize; 4], [usize; 2], [usize; 2], [usize; 2], usize);

const CONVOLUTIONS: [Convolution; 17] = [
    ([2, 8, 9, 9], [16, 8, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([2, 64, 8, 8], [64, 64, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([2, 16, 17, 15], [24, 16, 3, 3], [2, 2], [1, 1], [1, 1], 1),
    ([3, 8, 10, 12], [40, 8, 2, 2], [2, 2], [0, 0], [1, 1], 1),
    ([1, 3, 20, 21], [64, 3, 7, 7], [2, 2], [3, 3], [1, 1], 1),
    ([2, 12, 9, 8], [20, 12, 3, 3], [1, 1], [2, 2], [2, 2], 1),
    ([2, 32, 8, 8], [48, 16, 3, 3], [1, 1], [1, 1], [1, 1], 2),
    ([2, 16, 9, 9], [32, 16, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([2, 24, 8, 8], [12, 24, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    // Pixels that no tap meets, and rows unlike columns.
    ([2, 16, 11, 8], [16, 16, 1, 2], [3, 2], [0, 1], [1, 1], 1),
    ([2, 10, 7, 13], [9, 10, 3, 2], [2, 3], [2, 0], [1, 2], 1),
    // One channel, whose steps are one more than a tile's, and one image of a pixel.
    ([4, 1, 12, 12], [16, 1, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([1, 8, 1, 1], [32, 8, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    // 96 channels, whose tile has more threads than columns: forward, input gradient, and with pixels and channels left over.
    ([4, 16, 12, 12], [96, 16, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ([4, 96, 12, 12], [24, 96, 1, 1], [1, 1], [0, 0], [1, 1], 1),
    ([3, 96, 13, 9], [93, 96, 3, 3], [2, 2], [1, 1], [1, 1], 1),
    // Sound: an image of one row.
    ([2, 16, 1, 65], [20, 16, 1, 5], [1, 2], [0, 2], [1, 1], 1),
];

#[test]
fn convolutions_at_the_edges_of_tiles() {
    for (x, w, stride, padding, dilation, groups) in CONVOLUTIONS {
        let options = ConvOptions { stride, padding, dilation, groups, ..ConvOptions::default() };
        let mut noise = Noise(47);
        let [xs, ws, bias] = [&x[..], &w[..], &[w[0]][..]].map(|s| noise.values(s.iter().product(), -1.0, 1.0));
        let of = |dtype, device: &Device| {
            let x = upload(&xs, &x, dtype, device).variable().expect("float");
            let w = upload(&ws, &w, dtype, device).variable().expect("float");
            let y = x.conv2d(&w, Some(&upload(&bias, &[w.shape().expect("valid")[0]], dtype, device)), options);
            let g = y.backward_with(&(&y * 0.5).detach()).expect("differentiable");
            [values(&y.relu()), values(&g.get(&x).expect("dx")), values(&g.get(&w).expect("dw"))]
        };
        let (got, expected) = (of(DType::F32, device()), of(DType::F64, &oracle()));
        for (part, (g, e)) in ["y", "dx", "dw"].iter().zip(got.iter().zip(&expected)) {
            close(&format!("{part} of {x:?} {w:?} {stride:?}"), g, e, 2e-4, 2e-4);
        }
    }
}

/// More of them than one launch packs weights for, with steps in between.
#[test]
fn convolutions_in_a_row() {
    const CHANNELS: [usize; 10] = [8, 24, 16, 16, 32, 8, 40, 16, 24, 8];
    let mut noise = Noise(48);
    let image = [2, CHANNELS[0], 9, 11];
    let xs = noise.values(image.iter().product(), -1.0, 1.0);
    let weights: Vec<([usize; 4], Vec<f64>)> = CHANNELS
        .windows(2)
        .map(|c| [c[1], c[0], 3, if c[0] == 16 { 2 } else { 3 }])
        .map(|w| (w, noise.values(w.iter().product(), -0.2, 0.2)))
        .collect();
    let of = |dtype, device: &Device| {
        let x = upload(&xs, &image, dtype, device).variable().expect("float");
        let leaf = |(w, values): &([usize; 4], Vec<f64>)| upload(values, w, dtype, device).variable().expect("float");
        let leaves: Vec<Tensor> = weights.iter().map(leaf).collect();
        let mut y = x.clone();
        for (n, w) in leaves.iter().enumerate() {
            let options = ConvOptions { padding: [1, 1], stride: [1, 1 + usize::from(n == 2)], ..ConvOptions::default() };
            y = y.conv2d(w, None, options).tanh();
        }
        let g = y.backward_with(&(&y * 0.5).detach()).expect("differentiable");
        let gradients = [&x].into_iter().chain(&leaves).map(|t| values(&g.get(t).expect("a gradient")));
        std::iter::once(values(&y)).chain(gradients).collect::<Vec<_>>()
    };
    for (n, (g, e)) in of(DType::F32, device()).iter().zip(&of(DType::F64, &oracle())).enumerate() {
        close(&format!("result {n}"), g, e, 2e-4, 2e-4);
    }
}

/// Batch normalisation of what a convolution writes, with its running statistics: results of many terms, whose sums are split, of few,
/// and of planes that are not made of vectors; twice, so that the statistics run.
#[test]
fn convolutions_before_norms() {
    for (image, kernel) in [([2, 256, 4, 4], [32, 256, 3, 3]), ([2, 8, 16, 12], [24, 8, 1, 1]), ([3, 72, 5, 3], [20, 72, 3, 3])] {
        let mut noise = Noise(59);
        let [xs, ws] = [&image, &kernel].map(|shape| noise.values(shape.iter().product(), -1.0, 1.0));
        let ct = noise.values(image[0] * kernel[0] * image[2] * image[3], -1.0, 1.0);
        let of = |dtype, device: &Device| {
            let norm = BatchNorm2d::new(kernel[0], &Init::new(device, 3).with_dtype(dtype)).expect("valid");
            let w = upload(&ws, &kernel, dtype, device).variable().expect("float");
            let options = ConvOptions { padding: [kernel[2] / 2; 2], ..ConvOptions::default() };
            let mut results = Vec::new();
            for scale in [1.0, 0.5] {
                let x = (upload(&xs, &image, dtype, device) * scale).variable().expect("float");
                let y = norm.forward(&x.conv2d(&w, None, options)).expect("runs");
                let ct = upload(&ct, &y.shape().expect("valid"), dtype, device);
                let g = y.backward_with(&ct).expect("differentiable");
                let gradients = [&x, &w].map(|t| g.get(t).expect("a gradient"));
                results.extend(std::iter::once(&y).chain(&gradients).map(values));
            }
            // In a step nothing is read before all of it runs.
            let w = Param::new(&w).expect("float");
            let params: Vec<Param> = norm.parameters().expect("a module").into_iter().chain([w.clone()]).collect();
            let mut sgd = Sgd::new(&params, SgdConfig { lr: 0.1, ..SgdConfig::default() }).expect("float");
            for _ in 0..2 {
                let x = upload(&xs, &image, dtype, device);
                let y = norm.forward(&x.conv2d(&w.tensor(), None, options)).expect("runs");
                let ct = upload(&ct, &y.shape().expect("valid"), dtype, device);
                sgd.step((y * ct).mean().backward().expect("differentiable")).expect("steps");
            }
            results.push(values(&w.tensor()));
            results.extend(norm.state_dict().expect("a module").tensors.values().map(|value| value.data.to_f64()));
            results
        };
        for (n, (g, e)) in of(DType::F32, device()).iter().zip(&of(DType::F64, &oracle())).enumerate() {
            close(&format!("{kernel:?}, result {n}"), g, e, 2e-4, 2e-4);
        }
    }
}

/// Operands that begin a longer buffer, as gradients of norms do: kernels that take them as they are look no further.
#[test]
fn operands_that_begin_a_longer_buffer() {
    let start = |values: &[f64], shape: &[usize], longer: bool, dtype, device: &Device| {
        let len: usize = shape.iter().product();
        let whole = upload(values, &[values.len()], dtype, device);
        let x = if longer { whole.slice(0, 0, len as isize) } else { whole.slice(0, 0, len as isize) + 0.0 };
        x.reshape(shape).variable().expect("float")
    };
    let mut noise = Noise(53);
    let [xs, ws, ys] = [2 * 8 * 6 * 6 + 40, 12 * 8 * 3 * 3 + 7, 4000].map(|len| noise.values(len, -1.0, 1.0));
    let all = |longer: bool, dtype, device: &Device| -> Vec<Vec<f64>> {
        let x = start(&xs, &[2, 8, 6, 6], longer, dtype, device);
        let w = start(&ws, &[12, 8, 3, 3], longer, dtype, device);
        let results = [
            x.conv2d(&w, None, ConvOptions::default().padding(1)),
            x.max_pool2d(2),
            x.avg_pool2d(2),
            x.layer_norm([6], None, None, 1e-5),
            x.softmax(-1),
            x.group_norm(2, None, None, 1e-5),
        ];
        let mut found = Vec::new();
        for y in results {
            let shape = y.shape().expect("valid");
            let ct = start(&ys, shape.dims(), longer, dtype, device).detach();
            let g = y.backward_with(&ct).expect("differentiable");
            found.extend([values(&y), values(&g.get(&x).expect("dx"))]);
            found.extend(g.get(&w).ok().map(|dw| values(&dw)));
        }
        found
    };
    let expected = all(false, DType::F64, &oracle());
    for longer in [false, true] {
        for (part, (got, expected)) in all(longer, DType::F32, device()).iter().zip(&expected).enumerate() {
            close(&format!("part {part}, longer {longer}"), got, expected, 2e-4, 2e-4);
        }
    }
}

/// A NaN or an infinity spreads to the results that it is a term of, and to no others: padding is not multiplied.
#[test]
fn what_is_not_finite_stays_where_it_belongs() {
    let of = |device: &Device| -> [Vec<f64>; 2] {
        let mut data = vec![1.0; 2 * 9 * 6 * 6];
        data[0] = f64::INFINITY;
        let x = upload(&data, &[2, 9, 6, 6], DType::F32, device);
        let y = x.conv2d(&Tensor::ones([16, 9, 3, 3], device).expect("valid"), None, ConvOptions::default().padding(1));
        let a = upload(&[vec![f64::NAN; 9], vec![1.0; 9 * 40]].concat(), &[41, 9], DType::F32, device);
        [values(&y), values(&a.matmul(&Tensor::ones([9, 33], device).expect("valid")))]
    };
    for (got, expected) in of(device()).iter().zip(&of(&Device::cpu().expect("opens"))) {
        let kind = |v: &f64| (v.is_nan(), v.is_infinite());
        assert!(got.iter().zip(expected).all(|(g, e)| kind(g) == kind(e)), "{got:?}");
        assert!(got.iter().filter(|v| !v.is_finite()).count() < got.len() / 8);
    }
}
