//! Sizes at which a grid of 65,535 workgroups per dimension overflows: 65,535 · 256 elements and 65,535 of anything, ±1.
//!
//! Expected values are closed forms of the index, so whole results are compared on the host, independently of the device.

use crate::common::open;
use crate::sweep::in_whole;
use std::sync::{Mutex, PoisonError};
use wgrad::nn::BatchNorm2d;
use wgrad::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use wgrad::rng::threefry2x32;
use wgrad::{ConvOptions, DType, Device, DeviceKind, Error, Generator, HostData, Param, PoolOptions, Tensor};

/// 65,535 workgroups of 256, one less and one more.
const ELEMENTS: [usize; 3] = [16_776_959, 16_776_960, 16_776_961];
/// Rows, channels and batches.
const ROWS: [usize; 3] = [65_535, 65_536, 65_537];

/// The pattern of all inputs: a prime period, so that no multiple of a workgroup or a row hides a shift.
fn at(i: usize) -> f32 {
    (i % 251) as f32
}

/// The device of the current family and size: its memory is freed before the next.
static DEVICE: Mutex<Option<Device>> = Mutex::new(None);

fn device() -> Device {
    DEVICE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| open(false)).clone()
}

/// The pattern in the given shape.
fn pattern(shape: &[usize]) -> Tensor {
    pattern_on(shape, &device())
}

fn pattern_on(shape: &[usize], device: &Device) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_host(HostData::F32((0..n).map(at).collect()), DType::F32, shape, device).expect("uploads")
}

/// The pattern as i32, below `modulus`.
fn integers(n: usize, modulus: usize) -> Tensor {
    Tensor::from_host(HostData::I32((0..n).map(|i| (i % modulus) as i32).collect()), DType::I32, [n], &device()).expect("uploads")
}

/// Checks that every element of `t`, `len` in all, is `expected(i)`, within `tolerance · max(1, |expected|)`.
fn holds(what: &str, t: &Tensor, len: usize, tolerance: f64, expected: impl Fn(usize) -> f64) {
    let data = t.to_host().unwrap_or_else(|e| panic!("{what}: {e}"));
    let check = |i: usize, got: f64| {
        let e = expected(i);
        assert!((got - e).abs() <= tolerance * e.abs().max(1.0), "{what}: element {i} of {len} is {got}, expected {e}");
    };
    assert_eq!(data.len(), len, "{what}");
    match &data {
        HostData::F32(v) => v.iter().enumerate().for_each(|(i, &g)| check(i, f64::from(g))),
        HostData::I32(v) => v.iter().enumerate().for_each(|(i, &g)| check(i, f64::from(g))),
        HostData::U32(v) => v.iter().enumerate().for_each(|(i, &g)| check(i, f64::from(g))),
        HostData::F64(v) => v.iter().enumerate().for_each(|(i, &g)| check(i, g)),
        HostData::F16(_) | HostData::U8(_) => data.to_f64().into_iter().enumerate().for_each(|(i, g)| check(i, g)),
    }
}

/// The gradient of `Σ y` with respect to `x`.
fn gradient(y: &Tensor, x: &Tensor) -> Tensor {
    y.sum().backward().and_then(|g| g.get(x)).unwrap_or_else(|e| panic!("{e}"))
}

/// A family at `n`: elements or rows.
type Family = (&'static str, fn(usize));

/// Runs each family at each size; unless all of a sweep is taken, only above the limit. One family at a time: each holds some hundred megabytes.
fn run(families: &[Family], sizes: [usize; 3]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let sizes = if in_whole() { &sizes[..] } else { &sizes[2..] };
    for (name, family) in families {
        let start = std::time::Instant::now();
        for &n in sizes {
            family(n);
            *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

/// Elementwise kernels, views and compositions of them, over n elements.
#[test]
fn elementwise_families_at_the_grid_limit() {
    let families: [Family; 8] = [
        ("unary", |n| holds("square", &pattern(&[n]).square(), n, 0.0, |i| f64::from(at(i)).powi(2))),
        ("integers", |n| holds("i32", &(integers(n, 251) * 3.0 - 7.0), n, 0.0, |i| f64::from(at(i)) * 3.0 - 7.0)),
        ("binary", |n| {
            let (a, b) = (pattern(&[n]), pattern(&[n + 1]).slice(0, 1, n as isize + 1));
            holds("a * 256 + b", &(a * 256.0 + b), n, 0.0, |i| f64::from(at(i)) * 256.0 + f64::from(at(i + 1)));
        }),
        ("compare and select", |n| {
            let x = pattern(&[n]);
            let small = x.lt(&x.full_like(100.0));
            holds("where", &small.where_(&x, &x.neg()), n, 0.0, |i| f64::from(if at(i) < 100.0 { at(i) } else { -at(i) }));
        }),
        ("flip and slice", |n| {
            let x = pattern(&[n]);
            holds("flip", &(x.flip(0) + 0.5), n, 0.0, |i| f64::from(at(n - 1 - i)) + 0.5);
            holds("slice", &(x.slice_step(0, 1, n as isize, 2) + 0.5), n / 2, 0.0, |i| f64::from(at(2 * i + 1)) + 0.5);
        }),
        ("pad and cat", |n| {
            let (x, three) = (pattern(&[n]), pattern(&[3]) + 500.0);
            let padded = |i: usize| if (1..=n).contains(&i) { f64::from(at(i - 1)) } else { 0.0 };
            holds("pad", &x.pad(&[(1, 2)]), n + 3, 0.0, padded);
            let joined = |i: usize| if i < n { f64::from(at(i)) } else { 500.0 + (i - n) as f64 };
            holds("cat", &Tensor::cat(&[&x, &three], 0), n + 3, 0.0, joined);
        }),
        ("stretch", |n| {
            let x = pattern(&[n]).reshape([1, n]);
            holds("row of one", &(x + pattern(&[1, 1]) + 1.0), n, 0.0, |i| f64::from(at(i)) + 1.0);
            holds("full", &Tensor::full([n], 3.5, &device()).expect("valid"), n, 0.0, |_| 3.5);
        }),
        ("random", |n| {
            let bits = Tensor::random_bits([n], &Generator::at(11, 3), &device()).and_then(|t| t.to_vec::<u32>()).expect("draws");
            assert_eq!(bits.len(), n);
            // With a stride that is coprime to all widths, and the whole end.
            for i in (0..n).step_by(61).chain(n - 100_000..n) {
                assert_eq!(bits[i], threefry2x32([11, 0], [i as u32, 3])[0], "word {i} of {n}");
            }
        }),
    ];
    run(&families, ELEMENTS);
}

/// Reductions of n elements, and to n elements.
#[test]
fn reductions_at_the_grid_limit() {
    let families: [Family; 6] = [
        ("sum of all", |n| {
            // Ones and zeros: every partial sum is exact in f32.
            let odd = pattern(&[n]).rem(&Tensor::scalar(2.0, &device()).expect("valid"));
            let expected = (n / 251 * 125 + (n % 251) / 2) as f64;
            holds("f32", &odd.sum(), 1, 0.0, |_| expected);
            let whole = (n / 251) * (250 * 251 / 2) + (0..n % 251).sum::<usize>();
            holds("i32", &integers(n, 251).sum(), 1, 0.0, |_| whole as f64);
        }),
        ("extremes", |n| {
            let one = Tensor::from_slice(&[300f32], [1], &device()).expect("valid");
            let last = Tensor::cat(&[&pattern(&[n - 1]), &one], 0);
            holds("max", &last.max(), 1, 0.0, |_| 300.0);
            holds("min", &last.neg().min(), 1, 0.0, |_| -300.0);
            holds("argmax", &last.argmax(), 1, 0.0, |_| (n - 1) as f64);
            holds("argmin", &last.neg().argmin(), 1, 0.0, |_| (n - 1) as f64);
        }),
        ("to n, by the last axis", |n| {
            let wide = pattern(&[n]).unsqueeze(1).expand([n, 2]);
            holds("sum", &wide.sum_dim(1), n, 0.0, |i| 2.0 * f64::from(at(i)));
            holds("argmax", &wide.argmax_dim(1), n, 0.0, |_| 0.0);
        }),
        ("to n, by the first axis", |n| {
            let tall = pattern(&[n]).unsqueeze(0).expand([2, n]);
            holds("sum", &tall.sum_dim(0), n, 0.0, |i| 2.0 * f64::from(at(i)));
        }),
        ("cumsum", |n| {
            // Its matrix of sums has 32 times as many elements, which is more than sizes of 32 bits allow.
            let n = if usize::BITS == 64 { n } else { n / 4 };
            let odd = Tensor::ones([n], &device()).expect("valid").cumsum(0);
            holds("cumsum", &odd, n, 0.0, |i| (i + 1) as f64);
        }),
        ("softmax", |n| {
            let x = pattern(&[n]);
            holds("n rows of 1", &x.reshape([n, 1]).softmax(1), n, 0.0, |_| 1.0);
            // On software adapters a thread's loops end after 65,535 iterations: wide rows fit, vast ones are refused.
            let one = Tensor::from_slice(&[400f32], [1], &device()).expect("valid");
            let wide = Tensor::cat(&[&pattern(&[1_200_000]), &one], 0).reshape([1, 1_200_001]);
            holds("1 wide row", &wide.softmax(1), 1_200_001, 0.0, |i| f64::from(u8::from(i == 1_200_000)));
            let row = Tensor::cat(&[&x.slice(0, 1, n as isize), &one], 0).reshape([1, n]).softmax(1);
            if device().kind() == DeviceKind::Software && row.eval().is_err() {
                assert!(matches!(row.eval(), Err(Error::Unsupported { op: "softmax", .. })), "{:?}", row.eval());
            } else {
                holds("1 row of n", &row, n, 0.0, |i| f64::from(u8::from(i == n - 1)));
            }
        }),
    ];
    run(&families, ELEMENTS);
}

/// Products, windows and lookups whose results or sums have n elements.
#[test]
fn heavy_kernels_at_the_grid_limit() {
    let families: [Family; 7] = [
        ("matmul", |n| {
            let two = Tensor::full([1, 1], 2.0, &device()).expect("valid");
            holds("n rows", &pattern(&[n, 1]).matmul(&two), n, 0.0, |i| 2.0 * f64::from(at(i)));
            holds("n columns", &two.matmul(&pattern(&[1, n])), n, 0.0, |i| 2.0 * f64::from(at(i)));
        }),
        ("matmul, long sum", |n| {
            let ones = Tensor::ones([1, n], &device()).expect("valid") * 1.0;
            holds("n products", &ones.matmul(&ones.t()), 1, 0.0, |_| n as f64);
        }),
        ("conv2d", |n| {
            let w = Tensor::full([1, 1, 1, 1], 2.0, &device()).expect("valid");
            let y = pattern(&[1, 1, 1, n]).conv2d(&w, None, ConvOptions::default());
            holds("width n", &y, n, 0.0, |i| 2.0 * f64::from(at(i)));
        }),
        ("pool", |n| {
            let y = pattern(&[1, 1, 1, n + 1]).max_pool2d_with([1, 2], PoolOptions::default().stride(1));
            holds("width n", &y, n, 0.0, |i| f64::from(at(i).max(at(i + 1))));
        }),
        ("gather", |n| {
            let y = (pattern(&[251, 1]) * 3.0).gather_rows(&integers(n, 251));
            holds("n rows", &y, n, 0.0, |i| 3.0 * f64::from(at(i)));
        }),
        ("optimizer: SGD", |n| {
            let w = Param::new(&Tensor::zeros([n], &device()).expect("valid")).expect("float");
            let mut sgd = Sgd::new(std::slice::from_ref(&w), SgdConfig { lr: 1.0, ..SgdConfig::default() }).expect("valid");
            let loss = (w.tensor() * pattern(&[n])).sum();
            sgd.step(loss.backward().expect("differentiable")).expect("steps");
            holds("-g", &w.tensor(), n, 0.0, |i| -f64::from(at(i)));
        }),
        ("optimizer: Adam", |n| {
            let w = Param::new(&Tensor::zeros([n], &device()).expect("valid")).expect("float");
            let mut adam = Adam::new(std::slice::from_ref(&w), AdamConfig { lr: 0.5, ..AdamConfig::default() }).expect("valid");
            let loss = (w.tensor() * pattern(&[n])).sum();
            adam.step(loss.backward().expect("differentiable")).expect("steps");
            holds("-lr · sign(g)", &w.tensor(), n, 1e-5, |i| -0.5 * f64::from(u8::from(at(i) > 0.0)));
        }),
    ];
    run(&families, ELEMENTS);
}

/// Adding n rows into few, and into n: the sums' order and the index range.
#[test]
fn scatters_at_the_grid_limit() {
    let families: [Family; 1] = [("scatter_add", |n| {
        let ones = Tensor::ones([n, 1], &device()).expect("valid");
        let counts = ones.scatter_add_rows(3, &integers(n, 3));
        holds("3 rows of n", &counts, 3, 0.0, |i| (n / 3 + usize::from(i < n % 3)) as f64);
    })];
    run(&families, ELEMENTS);
}

/// 65,535 to 65,537 rows.
#[test]
fn rows_at_the_grid_limit() {
    let families: [Family; 8] = [
        ("elementwise", |r| {
            let y = pattern(&[r, 1]) * 256.0 + pattern(&[1, 8]);
            holds("outer", &y, r * 8, 0.0, |i| f64::from(at(i / 8)) * 256.0 + (i % 8) as f64);
            holds("transposed", &(pattern(&[3, r]).t() + 1.0), 3 * r, 0.0, |i| f64::from(at(i % 3 * r + i / 3)) + 1.0);
        }),
        ("reduce", |r| {
            let x = pattern(&[r, 5]);
            let row = |i: usize| (0..5).map(move |j| f64::from(at(i * 5 + j)));
            holds("rows", &x.sum_dim(1), r, 0.0, |i| row(i).sum());
            holds("row maxima", &x.max_dim(1), r, 0.0, |i| row(i).fold(0.0, f64::max));
            let first = |i: usize| (0..5).rev().max_by(|&a, &b| at(i * 5 + a).total_cmp(&at(i * 5 + b)));
            holds("argmax", &x.argmax_dim(1), r, 0.0, |i| first(i).unwrap_or(9) as f64);
            holds("columns", &pattern(&[5, r]).sum_dim(0), r, 0.0, |i| (0..5).map(|j| f64::from(at(j * r + i))).sum());
            let long = (0..5).map(|j| (0..r).map(|i| f64::from(at(i * 5 + j))).sum()).collect::<Vec<f64>>();
            holds("down r rows", &x.sum_dim(0), 5, 0.0, |j| long[j]);
        }),
        ("softmax and cross entropy", |r| {
            // One logit far above the others, whose shares vanish in f32.
            let hot =
                pattern(&[r]).rem(&Tensor::scalar(4.0, &device()).expect("valid")).cast(DType::I32).one_hot(4).cast(DType::F32);
            let hit = |i: usize| i % 251 % 4;
            let y = (&hot * 200.0).softmax(1);
            holds("softmax", &y, 4 * r, 0.0, |i| f64::from(u8::from(hit(i / 4) == i % 4)));
            let loss = (&hot * 200.0).cross_entropy_rows(&integers(r, 4));
            holds("loss", &loss, r, 0.0, |i| if hit(i) == i % 4 { 0.0 } else { 200.0 });
        }),
        ("matmul", |r| {
            let w = pattern(&[3, 2]);
            let row = |i: usize, j: usize| (0..3).map(|k| f64::from(at(i * 3 + k)) * (k * 2 + j) as f64).sum::<f64>();
            holds("m", &pattern(&[r, 3]).matmul(&w), 2 * r, 0.0, |i| row(i / 2, i % 2));
            let column = |i: usize, j: usize| (0..3).map(|k| (i * 3 + k) as f64 * f64::from(at(k * r + j))).sum::<f64>();
            holds("n", &pattern(&[2, 3]).matmul(&pattern(&[3, r])), 2 * r, 0.0, |i| column(i / r, i % r));
            let sum = |i: usize| (0..r).map(|k| f64::from(at(i * r + k) % 2.0)).sum();
            let odd = pattern(&[2, r]).rem(&Tensor::scalar(2.0, &device()).expect("valid"));
            holds("k", &odd.matmul(&Tensor::ones([r, 1], &device()).expect("valid")), 2, 0.0, sum);
        }),
        ("matmul, batches", |b| {
            let y = pattern(&[b, 2, 2]).bmm(&pattern(&[b, 2, 1]));
            let dot = |i: usize| (0..2).map(|k| f64::from(at(i * 2 + k)) * f64::from(at(i / 2 * 2 + k))).sum();
            holds("b", &y, 2 * b, 0.0, dot);
            let shared = pattern(&[b, 1, 2]).matmul(&(pattern(&[2, 1]) + 1.0));
            holds("shared", &shared, b, 0.0, |i| f64::from(at(2 * i)) + 2.0 * f64::from(at(2 * i + 1)));
        }),
        ("gather and scatter", |r| {
            let back: Vec<i32> = (0..r as i32).rev().collect();
            let back = Tensor::from_slice(&back, [r], &device()).expect("valid");
            let x = pattern(&[r, 2]);
            let reversed = |i: usize| f64::from(at((r - 1 - i / 2) * 2 + i % 2));
            holds("gather_rows", &x.gather_rows(&back), 2 * r, 0.0, reversed);
            let counts = Tensor::ones([r, 2], &device()).expect("valid").scatter_add_rows(7, &integers(r, 7));
            holds("into 7 rows", &counts, 14, 0.0, |i| (r / 7 + usize::from(i / 2 < r % 7)) as f64);
            let table = pattern(&[5, 2]).scatter_add_rows(r, &(integers(5, 5) + (r - 5) as f64));
            holds("into r rows", &table, 2 * r, 0.0, |i| if i < 2 * (r - 5) { 0.0 } else { (i - 2 * (r - 5)) as f64 });
        }),
        ("layer norm", |r| {
            // Rows of two neighbours become -1 and 1, apart from rounding; where the period ends, 1 and -1.
            let y = pattern(&[r, 2]).layer_norm([2], None, None, 0.0);
            let sign = |i: usize| if at(i ^ 1) < at(i) { 1.0 } else { -1.0 };
            holds("layer_norm", &y, 2 * r, 1e-5, sign);
        }),
        ("cumsum and sort", |r| {
            holds("cumsum", &Tensor::ones([r], &device()).expect("valid").cumsum(0), r, 0.0, |i| (i + 1) as f64);
            let x = pattern(&[r, 2]);
            holds("sort", &x.sort(1, true).0, 2 * r, 0.0, |i| {
                let (a, b) = (f64::from(at(i)), f64::from(at(i ^ 1)));
                if i % 2 == 0 { a.max(b) } else { a.min(b) }
            });
        }),
    ];
    run(&families, ROWS);
}

/// The sum of channel c's pattern in images of `[b, c, 2, 2]`, times `w`.
fn window(b: usize, w: impl Fn(usize) -> f64) -> f64 {
    (0..4).map(|k| f64::from(at(b * 4 + k)) * w(k)).sum()
}

/// 65,535 to 65,537 images and channels, forward and backward.
#[test]
fn images_and_channels_at_the_grid_limit() {
    let families: [Family; 7] = [
        ("conv2d, images", |b| {
            let (x, w) = (pattern(&[b, 1, 2, 2]).variable().expect("float"), pattern(&[1, 1, 2, 2]).variable().expect("float"));
            let y = x.conv2d(&w, None, ConvOptions::default());
            holds("forward", &y, b, 0.0, |i| window(i, |k| k as f64));
            holds("dx", &gradient(&y, &x), 4 * b, 0.0, |i| (i % 4) as f64);
            let dw: Vec<f64> = (0..4).map(|k| (0..b).map(|i| f64::from(at(i * 4 + k))).sum()).collect();
            holds("dw", &gradient(&y, &w), 4, 0.0, |k| dw[k]);
        }),
        ("conv2d, groups", |c| {
            let (x, w) = (pattern(&[1, c, 2, 2]).variable().expect("float"), pattern(&[c, 1, 2, 2]).variable().expect("float"));
            let y = x.conv2d(&w, None, ConvOptions { groups: c, ..ConvOptions::default() });
            holds("forward", &y, c, 0.0, |i| window(i, |k| f64::from(at(i * 4 + k))));
            holds("dx", &gradient(&y, &x), 4 * c, 0.0, |i| f64::from(at(i)));
            holds("dw", &gradient(&y, &w), 4 * c, 0.0, |i| f64::from(at(i)));
        }),
        ("conv2d, channels out", |c| {
            for stride in [[1, 1], [2, 2]] {
                let (x, w) =
                    (pattern(&[1, 1, 2, 2]).variable().expect("float"), pattern(&[c, 1, 2, 2]).variable().expect("float"));
                let y = x.conv2d(&w, None, ConvOptions { stride, ..ConvOptions::default() });
                holds("forward", &y, c, 0.0, |i| window(i, |k| k as f64));
                let dx: Vec<f64> = (0..4).map(|k| (0..c).map(|i| f64::from(at(i * 4 + k))).sum()).collect();
                holds("dx", &gradient(&y, &x), 4, 0.0, |k| dx[k]);
                holds("dw", &gradient(&y, &w), 4 * c, 0.0, |i| (i % 4) as f64);
            }
        }),
        ("conv2d, channels in", |c| {
            let odd = || pattern(&[1, c, 1, 1]).rem(&Tensor::scalar(2.0, &device()).expect("valid"));
            let (x, w) = (odd().variable().expect("float"), pattern(&[1, c, 1, 1]).variable().expect("float"));
            let y = x.conv2d(&w, None, ConvOptions::default());
            let sum: f64 = (0..c).map(|i| f64::from(at(i) % 2.0 * at(i))).sum();
            holds("forward", &y, 1, 0.0, |_| sum);
            holds("dx", &gradient(&y, &x), c, 0.0, |i| f64::from(at(i)));
            holds("dw", &gradient(&y, &w), c, 0.0, |i| f64::from(at(i) % 2.0));
        }),
        ("pool", |n| {
            for shape in [[n, 1, 2, 2], [1, n, 2, 2]] {
                let x = pattern(&shape).variable().expect("float");
                let y = x.max_pool2d(2);
                let top = |i: usize| (0..4).map(|k| at(i * 4 + k)).fold(0.0, f32::max);
                holds("max", &y, n, 0.0, |i| f64::from(top(i)));
                holds("max, dx", &gradient(&y, &x), 4 * n, 0.0, |i| f64::from(u8::from(at(i) == top(i / 4))));
                let y = x.avg_pool2d(2);
                holds("avg", &y, n, 0.0, |i| window(i, |_| 0.25));
                holds("avg, dx", &gradient(&y, &x), 4 * n, 0.0, |_| 0.25);
            }
        }),
        ("batch norm", |c| {
            // Channels of two neighbouring values, which become -1 and 1.
            let x = pattern(&[c, 2]).t();
            let (y, mean, _) = x.batch_norm(None, None, 0.0);
            let sign = |i: usize| if at(i % c * 2 + (1 - i / c)) < at(i % c * 2 + i / c) { 1.0 } else { -1.0 };
            holds("batch_norm", &y, 2 * c, 1e-5, sign);
            holds("mean", &mean, c, 1e-6, |i| (f64::from(at(2 * i)) + f64::from(at(2 * i + 1))) / 2.0);
        }),
        ("cat", |n| {
            let x = pattern(&[2, n]);
            holds("channels", &Tensor::cat(&[&x, &x], 1), 4 * n, 0.0, |i| f64::from(at(i / (2 * n) * n + i % (2 * n) % n)));
            holds("rows", &Tensor::cat(&[&x.t(), &x.t()], 0), 4 * n, 0.0, |i| f64::from(at(i % 2 * n + i / 2 % n)));
        }),
    ];
    run(&families, ROWS);
}

/// A layer with running statistics over that many channels.
#[test]
fn a_module_normalises_65_537_channels() {
    let c = 65_537;
    let init = wgrad::nn::Init::new(&device(), 0);
    let norm = BatchNorm2d::new(c, &init).expect("valid");
    let x = pattern(&[c, 2]).t().reshape([2, c, 1, 1]);
    let y = wgrad::nn::Module::forward(&norm, &x).expect("valid");
    assert_eq!(y.shape().expect("valid"), [2, c, 1, 1]);
    let sign = |i: usize| if at(i % c * 2 + (1 - i / c)) < at(i % c * 2 + i / c) { 1.0 } else { -1.0 };
    holds("BatchNorm2d", &y, 2 * c, 1e-4, sign);
}

/// Calls that no device can run: each gives a typed error before anything is compiled or allocated.
#[test]
#[cfg_attr(target_pointer_width = "32", ignore = "with sizes of 32 bits no shape has so many elements")]
fn what_is_too_large_is_refused_before_any_allocation() {
    // Counters are compared, so the device is this test's own.
    let d = &open(false);
    let pattern = |shape: &[usize]| pattern_on(shape, d);
    let x = pattern(&[1, 65_537]);
    let vast = x.expand([65_536, 65_537]);
    // 2^58 elements: sizes in bytes and operation counts pass 64 bits.
    let boundless = x.slice(1, 0, 1).expand([1 << 29, 1 << 29]);
    let row = pattern(&[1, 1]).expand([1, (1 << (usize::BITS / 2)) + 1]);
    x.eval().expect("a leaf");
    let rows: [(&str, Tensor); 13] = [
        ("copy", vast.clone()),
        ("unary", vast.exp()),
        ("binary", &vast + &vast.neg()),
        ("outer", pattern(&[65_536, 1]) * &x),
        ("sum of all", vast.sum()),
        ("sum of rows", vast.exp().sum_dim(1)),
        ("max of columns", vast.max_dim(0)),
        ("argmax", vast.argmax_dim(1)),
        ("softmax", vast.softmax(1)),
        ("outer product", pattern(&[65_536, 1]).matmul(&x)),
        ("inner product", row.matmul(&row.t())),
        ("boundless", boundless.exp()),
        ("boundless sum", (boundless.exp() * 2.0).sum_dim(1).exp().sum()),
    ];
    for (name, t) in rows {
        let before = d.counters();
        let error = t.to_host().map(|_| ()).expect_err(name);
        assert!(matches!(error, Error::OutOfMemory { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains("elements") || text.contains("limit"), "{name}: {text}");
        assert!(text.contains("help"), "{name}: {text}");
        assert_eq!(d.counters(), before, "{name}");
    }
    if d.kind() != DeviceKind::Cpu {
        // A value of 2^31 bytes: a binding ends below.
        let n = 1 << 29;
        type Make = fn(usize, &Device) -> wgrad::Result<()>;
        let made: [(&str, Make); 3] = [
            ("full", |n, d| Tensor::full([n], 1.0, d)?.eval()),
            ("expand", |n, d| {
                let x = pattern_on(&[1], d).expand([n]);
                (&x * 2.0).sum().eval().and(x.exp().eval())
            }),
            ("upload", |n, d| Tensor::from_host(HostData::F32(vec![0.0; n]), DType::F32, [n], d).map(|_| ())),
        ];
        for (name, make) in made {
            let error = make(n, d).expect_err(name);
            assert!(matches!(error, Error::OutOfMemory { wanted: 0x8000_0000, .. }), "{name}: {error}");
        }
    }
    // The device keeps working.
    holds("after", &(&x + 1.0), 65_537, 0.0, |i| f64::from(at(i)) + 1.0);
}
