//! Cases that `scripts/mutants` found missing: each notices a mistake that the rest of the suite misses.

use crate::common::{Noise, close, device, open, oracle, upload, values};
use wgrad::optim::{Adam, AdamConfig, Optimizer};
use wgrad::{ConvOptions, DType, Device, Generator, Param, PoolOptions, Tensor, grad};

/// Runs a function of tensors on the device and in f64 on the reference, and compares every result.
fn agrees(what: &str, operands: &[&[usize]], f: impl Fn(&[Tensor]) -> Vec<Tensor>) {
    let mut noise = Noise(23);
    let data: Vec<Vec<f64>> = operands.iter().map(|s| noise.values(s.iter().product(), -1.0, 1.0)).collect();
    let of = |dtype, device: &Device| {
        let leaf = |(s, v): (&&[usize], &Vec<f64>)| upload(v, s, dtype, device).variable().expect("float");
        f(&operands.iter().zip(&data).map(leaf).collect::<Vec<_>>()).iter().map(values).collect::<Vec<_>>()
    };
    for (k, (got, expected)) in of(DType::F32, device()).iter().zip(&of(DType::F64, &oracle())).enumerate() {
        close(&format!("{what}, result {k}"), got, expected, 1e-4, 1e-4);
    }
}

/// Several images per thread, and more weights than one piece of the sum over threads.
#[test]
fn weight_gradients_of_many_images_and_channels() {
    let options = ConvOptions { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1, ..Default::default() };
    for sizes in [[&[40, 40, 3, 3], &[56, 40, 3, 3]], [&[36, 3, 11, 12], &[7, 3, 3, 3]]] {
        agrees("dw", &[sizes[0], sizes[1]], |t| {
            let y = t[0].conv2d(&t[1], None, options);
            let g = y.backward_with(&(&y * 0.5).detach()).expect("differentiable");
            vec![g.get(&t[1]).expect("dw")]
        });
    }
}

/// More terms than are added up at once, and a kernel per channel.
#[test]
fn convolutions_of_many_channels() {
    for (sizes, groups) in
        [([&[2, 70, 6, 5], &[9, 70, 3, 3]], 1), ([&[3, 60, 3, 3], &[50, 60, 3, 3]], 1), ([&[2, 6, 9, 7], &[6, 1, 3, 3]], 6)]
    {
        let options = ConvOptions { stride: [2, 1], padding: [1; 2], dilation: [1; 2], groups, ..Default::default() };
        agrees("many channels", &[sizes[0], sizes[1]], |t| {
            let y = t[0].conv2d(&t[1], None, options);
            let g = y.backward_with(&(&y * 0.5).detach()).expect("differentiable");
            vec![y, g.get(&t[0]).expect("dx"), g.get(&t[1]).expect("dw")]
        });
    }
}

#[test]
fn wide_products_are_written_in_pieces() {
    agrees("a wide product", &[&[64, 80], &[300, 80]], |t| vec![t[0].matmul(&t[1].t())]);
}

#[test]
fn dropout_keeps_the_mean() {
    let ones = Tensor::ones([1000], device()).expect("valid");
    let kept: Vec<f64> = values(&ones.dropout(0.2, &Generator::new(3))).into_iter().filter(|&v| v != 0.0).collect();
    assert!((750..850).contains(&kept.len()), "{} of 1000 are kept", kept.len());
    close("kept", &kept, &vec![1.25; kept.len()], 1e-6, 0.0);
}

/// Gradients at the points where a rule has a case of its own.
#[test]
fn gradients_at_corners() {
    type Case = (&'static str, &'static [f64], &'static [f64], fn(&Tensor) -> Tensor);
    let rows: [Case; 6] = [
        ("max with a tie", &[1.0, 3.0, 3.0, 2.0], &[0.0, 1.0, 1.0, 0.0], |x| x.max() * 2.0),
        ("min with a tie", &[1.0, 1.0, 3.0, 1.0], &[1.0, 1.0, 0.0, 1.0], |x| x.min() * 3.0),
        ("maximum with a tie", &[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0, 2.0, 2.0], |x| x.maximum(&x.full_like(2.0)).sum() * 2.0),
        ("prod of one zero", &[2.0, 0.0, 3.0, 0.5], &[0.0, 6.0, 0.0, 0.0], |x| x.prod() * 2.0),
        ("prod of two zeros", &[2.0, 0.0, 0.0, 0.5], &[0.0; 4], |x| x.prod()),
        ("0 to a power", &[0.0, 0.5, 1.0, 2.0], &[0.0; 4], |x| x.zeros_like().pow(x).sum()),
    ];
    for (what, x, expected, f) in rows {
        let x = upload(x, &[4], DType::F32, device()).variable().expect("float");
        let g = f(&x).backward().and_then(|g| g.get(&x)).unwrap_or_else(|e| panic!("{what}: {e}"));
        close(what, &values(&g), expected, 1e-6, 1e-6);
    }
}

/// `Σ c · ∂f/∂x` for every operand x, with fixed c: a function whose gradient involves all second derivatives.
fn slope(f: &dyn Fn(&[Tensor]) -> Tensor, x: &[Tensor]) -> Tensor {
    let first = grad(&f(x), &x.iter().collect::<Vec<_>>()).expect("differentiable");
    let weigh = |g: &Tensor| {
        let shape = g.shape().expect("valid");
        (g * upload(&Noise(31).values(shape.numel(), -1.0, 1.0), &shape, DType::F64, &g.device().expect("valid"))).sum()
    };
    first.iter().map(weigh).reduce(|a, b| a + b).expect("an operand")
}

/// Second derivatives of losses that are not linear in the op's result, against central differences.
#[test]
fn second_derivatives_through_squares() {
    type Case = (&'static str, &'static [&'static [usize]], Box<dyn Fn(&[Tensor]) -> Tensor>);
    let conv = ConvOptions { stride: [2, 1], padding: [1, 0], dilation: [1; 2], groups: 1, ..Default::default() };
    let pool = PoolOptions::default().stride(2).padding(1);
    let cpu = oracle();
    let labels = Tensor::from_slice(&[0, 3, 1], [3], &cpu).expect("valid");
    let rows: [Case; 3] = [
        ("conv2d", &[&[1, 2, 4, 4], &[2, 2, 2, 3]], Box::new(move |t| t[0].conv2d(&t[1], None, conv).square().sum())),
        ("max_pool2d", &[&[1, 1, 6, 6]], Box::new(move |t| t[0].max_pool2d_with(3, pool).square().sum())),
        ("cross_entropy_rows", &[&[3, 4]], Box::new(move |t| t[0].cross_entropy_rows(&labels).square().sum())),
    ];
    for (what, shapes, f) in rows {
        let mut noise = Noise(29);
        let mut data: Vec<Vec<f64>> = shapes.iter().map(|s| noise.values(s.iter().product(), -1.0, 1.0)).collect();
        let leaves = |data: &[Vec<f64>]| -> Vec<Tensor> {
            shapes.iter().zip(data).map(|(s, v)| upload(v, s, DType::F64, &cpu).variable().expect("float")).collect()
        };
        let x = leaves(&data);
        let second = grad(&slope(&*f, &x), &x.iter().collect::<Vec<_>>()).expect("twice");
        for (k, got) in second.iter().map(values).enumerate() {
            let mut expected = Vec::new();
            for i in 0..got.len() {
                let at = data[k][i];
                let [up, down] = [1e-6, -1e-6].map(|by| {
                    data[k][i] = at + by;
                    slope(&*f, &leaves(&data)).item().expect("a scalar")
                });
                data[k][i] = at;
                expected.push((up - down) / 2e-6);
            }
            close(&format!("second derivative {k} of {what}"), &got, &expected, 1e-5, 1e-5);
        }
    }
}

/// The first of equal maxima gets the gradient; NaN is a maximum.
#[test]
fn pools_of_equals() {
    let same = upload(&[1.0; 36], &[1, 1, 6, 6], DType::F32, device()).variable().expect("float");
    let plain = PoolOptions::default();
    for (kernel, options, taken) in [
        (2, plain, vec![0, 2, 4, 12, 14, 16, 24, 26, 28]),
        (3, plain, vec![0, 3, 18, 21]),
        (2, plain.stride(4), vec![0, 4, 24, 28]),
    ] {
        let g = same.max_pool2d_with(kernel, options).sum().backward().and_then(|g| g.get(&same)).expect("a gradient");
        let expected: Vec<f64> = (0..36).map(|i| f64::from(u8::from(taken.contains(&i)))).collect();
        close(&format!("{kernel} {options:?}"), &values(&g), &expected, 0.0, 0.0);
    }
}

/// Strides, padding and dilation that differ along the two axes.
#[test]
fn windows_are_not_square() {
    let conv = ConvOptions { stride: [3, 1], padding: [2, 1], dilation: [1, 2], groups: 1, ..Default::default() };
    agrees("conv2d", &[&[2, 3, 9, 7], &[4, 3, 3, 2]], |t| {
        let y = t[0].conv2d(&t[1], None, conv);
        let g = y.backward_with(&(&y * 0.5).detach()).expect("differentiable");
        vec![y, g.get(&t[0]).expect("dx"), g.get(&t[1]).expect("dw")]
    });
    let pool = PoolOptions { stride: Some([2, 1]), padding: [0, 2], count_include_pad: false, dilation: [1, 1] };
    agrees("pools", &[&[2, 3, 9, 7]], |t| vec![t[0].max_pool2d_with([3, 4], pool), t[0].avg_pool2d_with([3, 4], pool)]);
}

#[test]
fn remainders_take_the_divisors_sign() {
    let (x, y) = ([7.5, -7.5, 7.5, -7.5], [2.0, 2.0, -2.0, -2.0]);
    for (dtype, d) in [(DType::F32, device().clone()), (DType::F64, oracle())] {
        let (a, b) = (upload(&x, &[4], dtype, &d), upload(&y, &[4], dtype, &d).variable().expect("float"));
        let r = &a % &b;
        close("remainder", &values(&r), &[1.5, 0.5, -0.5, -1.5], 1e-6, 0.0);
        let g = r.sum().backward().and_then(|g| g.get(&b)).expect("a gradient");
        close("-floor(a / b)", &values(&g), &[-3.0, 4.0, 4.0, -3.0], 1e-6, 0.0);
    }
}

/// Padded views, read with steps, in products and in expressions.
#[test]
fn padded_views_are_zero_outside() {
    agrees("every third of a padded row", &[&[3, 7]], |t| {
        (0..5).map(|start| t[0].pad(&[(1, 0), (2, 3)]).slice_step(1, start, 12, 3) * 1.0).collect()
    });
    agrees("a padded operand", &[&[5, 6], &[8, 4]], |t| vec![t[0].pad(&[(1, 2), (1, 1)]).matmul(&t[1])]);
    agrees("a padded expression", &[&[5, 6]], |t| vec![(&t[0] + 2.0).pad(&[(1, 2), (1, 1)]) * 3.0]);
}

/// A product, or a view of it, is evaluated together with its activation.
#[test]
fn a_product_and_its_activation_are_both_kept() {
    agrees("a product and relu", &[&[8, 12], &[12, 4]], |t| {
        let y = t[0].matmul(&t[1]);
        let both = [y.relu(), y];
        Tensor::eval_all(&[&both[0], &both[1]]).expect("evaluates");
        both.to_vec()
    });
    agrees("a reshaped product and relu", &[&[8, 12], &[12, 4]], |t| {
        let y = t[0].matmul(&t[1]).reshape([4, 8]);
        let both = [y.relu(), y];
        Tensor::eval_all(&[&both[0], &both[1]]).expect("evaluates");
        both.to_vec()
    });
}

/// The largest second moment is kept when gradients shrink.
#[test]
fn amsgrad_remembers() {
    let p = Param::new(&Tensor::zeros([4], device()).expect("valid")).expect("valid");
    let config = AdamConfig { lr: 0.1, betas: (0.0, 0.5), eps: 0.0, weight_decay: 0.0, amsgrad: true, ..AdamConfig::default() };
    let mut optimizer = Adam::new(std::slice::from_ref(&p), config).expect("valid");
    for gradient in [4.0, 1.0] {
        let loss = (p.tensor() * gradient).sum();
        optimizer.step(loss.backward().expect("differentiable")).expect("steps");
    }
    // v = 8, then 4.5, corrected by 1 - 0.5²: the second step divides by √(8 / 0.75).
    let expected = -0.1 - 0.1 / (8.0f64 / 0.75).sqrt();
    close("p", &values(&p.tensor()), &[expected; 4], 1e-5, 0.0);
}

#[test]
fn rows_of_large_and_of_tiny_numbers() {
    let x = upload(&[1000.0, 1001.0, -1000.0, 1e-4, 2e-4, -1e-4], &[2, 3], DType::F32, device());
    let e = std::f64::consts::E;
    close("softmax", &values(&x.softmax(-1))[..3], &[1.0 / (1.0 + e), e / (1.0 + e), 0.0], 1e-5, 1e-7);
    // The mean square is 2e-8, and eps 1e-5.
    let scale = 1.0 / (2e-8f64 + 1e-5).sqrt();
    close("rms_norm", &values(&x.rms_norm([3], None, Some(1e-5)))[3..], &[1e-4 * scale, 2e-4 * scale, -1e-4 * scale], 1e-4, 0.0);
}

/// A row too long for a kernel of its own, all of it far below eps.
#[test]
fn a_long_row_is_normalised_with_eps() {
    let n = (1 << 15) + 1;
    let x = upload(&vec![1e-4; n], &[1, n], DType::F32, device());
    close("rms_norm", &values(&x.rms_norm([n], None, Some(1e-5))), &vec![1e-4 / (1e-8f64 + 1e-5).sqrt(); n], 1e-5, 0.0);
}

/// Neighbours are alike, so that most of the variance is between parts of the row.
#[test]
fn moments_of_rows_that_rise() {
    let n = 5000;
    let rising: Vec<f64> = (0..2 * n).map(|i| f64::from(i % n)).collect();
    let (_, mean, variance) = upload(&rising, &[2, n as usize], DType::F32, device()).standardize(&[1], 1e-5);
    close("mean", &values(&mean), &[f64::from(n - 1) / 2.0; 2], 1e-6, 0.0);
    close("variance", &values(&variance), &[f64::from(n * n - 1) / 12.0; 2], 1e-5, 0.0);
}

/// Several rows, each long enough for a workgroup of its own.
#[test]
fn rows_shared_by_a_workgroup() {
    for cols in [130, 1000] {
        agrees("long rows", &[&[70, cols]], |t| vec![t[0].softmax(-1), t[0].log_softmax(-1), t[0].sum_dim(1), t[0].max_dim(1)]);
    }
}

/// One large number per row, at each position in turn: a softmax whose maximum misses it overflows.
#[test]
fn a_rows_maximum_is_found_wherever_it_is() {
    let data: Vec<f64> = (0..128 * 128).map(|i| if i % 128 == i / 128 { 500.0 } else { 0.0 }).collect();
    let x = upload(&data, &[128, 128], DType::F32, device());
    let expected: Vec<f64> = data.iter().map(|v| v / 500.0).collect();
    close("softmax", &values(&x.softmax(-1)), &expected, 1e-6, 1e-6);
}

/// Slices whose offset is not a multiple of 4 and whose length is.
#[test]
fn slices_at_odd_places() {
    agrees("slices", &[&[67]], |t| (1..4).map(|start| t[0].slice(0, start, start + 64) * 2.0).collect());
}

#[test]
fn the_first_of_equals_and_the_last_element_are_found() {
    let x = upload(&[2.0, 5.0, 5.0, 1.0, 1.0, 7.0], &[2, 3], DType::F32, device());
    assert_eq!(values(&x.argmax_dim(1)), [1.0, 2.0]);
    assert_eq!(values(&x.argmin_dim(1)), [0.0, 0.0]);
    let rising = Tensor::arange(0.0, 2000.0, 1.0, device()).expect("valid");
    assert_eq!(values(&rising.argmax_dim(0)), [1999.0]);
}

/// An index that the device computed is clamped into range, whatever its value.
#[test]
fn device_indices_past_the_end_take_the_last() {
    let own = open(false);
    let table = upload(&[1.0, 2.0, 3.0], &[3, 1], DType::F32, &own);
    let computed = |v: &[f64]| (upload(v, &[v.len()], DType::F32, &own) * 1.0).cast(DType::I32);
    // On a device whose other values nobody reads: one of them would bring the report.
    let clamped = |t: Tensor| {
        t.to_host().expect_err("an index is out of range");
        values(&t)
    };
    assert_eq!(clamped(table.gather_rows(&computed(&[-5.0, 1.0, 7.0]))), [1.0, 2.0, 3.0]);
    let logits = upload(&[0.0, 1.0, 2.0], &[1, 3], DType::F32, &own);
    assert_eq!(clamped(logits.cross_entropy_rows(&computed(&[9.0]))), values(&logits.cross_entropy_rows(&computed(&[2.0]))));
}

/// The published test vectors of Threefry-2x32-20 (Salmon et al.), through a tensor.
#[test]
fn random_bits_are_threefrys() {
    let bits = Tensor::random_bits([1], &Generator::new(0), device()).and_then(|t| t.to_vec::<u32>()).expect("bits");
    assert_eq!(bits, [0x6B20_0159]);
}

/// The gradient of cross entropy is multiplied by the incoming one, a factor per row.
#[test]
fn cross_entropy_passes_the_gradient_on() {
    let labels = |d: &Device| Tensor::from_slice(&[0, 3, 1], [3], d).expect("valid");
    agrees("cross entropy", &[&[3, 4]], |t| {
        let losses = t[0].cross_entropy_rows(&labels(&t[0].device().expect("valid")));
        let ct = Tensor::arange(1.0, 4.0, 1.0, &t[0].device().expect("valid")).expect("valid").cast(t[0].dtype().expect("valid"));
        vec![losses.backward_with(&ct).and_then(|g| g.get(&t[0])).expect("a gradient")]
    });
}

/// Batch axes along which one operand or the other is broadcast.
#[test]
fn batches_are_stretched_on_either_side() {
    agrees("batches", &[&[3, 1, 4, 8], &[2, 8, 5]], |t| vec![t[0].matmul(&t[1]), t[1].t().matmul(&t[0].t())]);
}

/// An element that is the maximum of several windows gets all their gradients.
#[test]
fn overlapping_windows_add_up() {
    agrees("max pool", &[&[1, 2, 6, 6]], |t| {
        let y = t[0].max_pool2d_with(3, PoolOptions::default().stride(1)).square().sum();
        vec![y.backward().and_then(|g| g.get(&t[0])).expect("a gradient")]
    });
}

/// A kernel that reads a cell late in a plan must still come before the one that writes it.
#[test]
fn an_old_value_is_read_before_it_is_overwritten() {
    let x = upload(&[1.0, 1.0, 0.0, 1.0], &[2, 2], DType::F32, device());
    let p = Param::new(&upload(&[1.0, 2.0, 3.0, 4.0], &[2, 2], DType::F32, device())).expect("float");
    let late = x.matmul(&x).matmul(&x).matmul(&p.tensor());
    let anchor = p.assign_with(&(&x + 7.0), &(&x * 2.0)).expect("assigns");
    Tensor::eval_all(&[&late, &anchor]).expect("one plan");
    assert_eq!(values(&late), [10.0, 14.0, 3.0, 4.0]);
    assert_eq!(values(&p.tensor()), [8.0, 8.0, 7.0, 8.0]);
}
