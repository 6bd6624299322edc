//! The ends of f32 through softmax, norms, reductions, attention and losses. PyTorch's values, unless a comment says otherwise.

use crate::common::{close, device, upload, values};
use wgrad::nn::loss::{self, CrossEntropyOptions, Reduction};
use wgrad::{AttentionOptions, DType, Result, Tensor};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;
const BIG: f64 = 3.4e38;

fn tensor(data: &[f64], shape: &[usize]) -> Tensor {
    upload(data, shape, DType::F32, device())
}

/// A result and the gradient of its sum.
fn with_gradient(data: &[f64], shape: &[usize], f: impl Fn(&Tensor) -> Tensor) -> (Vec<f64>, Vec<f64>) {
    let x = tensor(data, shape).variable().expect("float");
    let y = f(&x);
    let g = y.sum().backward().and_then(|g| g.get(&x)).expect("a gradient");
    (values(&y), values(&g))
}

#[test]
fn softmax_of_extremes() {
    // A masked row gives zeros here and NaN in PyTorch.
    type Row = (&'static str, [f64; 3], [f64; 3], [f64; 3]);
    let third = 1.0 / 3.0;
    let ln3 = 3f64.ln();
    let rows: [Row; 8] = [
        ("huge", [BIG, BIG, BIG], [third; 3], [-ln3; 3]),
        ("hugely negative", [-BIG, -BIG, -BIG], [third; 3], [-ln3; 3]),
        ("far apart", [BIG, 0.0, -BIG], [1.0, 0.0, 0.0], [0.0, -BIG, -INF]),
        ("thousands", [1000.0, 1000.0, -1000.0], [0.5, 0.5, 0.0], [-2f64.ln(), -2f64.ln(), -2000.0 - 2f64.ln()]),
        ("partly masked", [-INF, 0.0, 0.0], [0.0, 0.5, 0.5], [-INF, -2f64.ln(), -2f64.ln()]),
        ("masked but one", [-INF, -INF, 7.0], [0.0, 0.0, 1.0], [-INF, -INF, 0.0]),
        ("masked", [-INF; 3], [0.0; 3], [-INF; 3]),
        ("NaN", [NAN, 0.0, 1.0], [NAN; 3], [NAN; 3]),
    ];
    for (name, row, soft, log) in rows {
        for axis in [0, 1] {
            // Along either axis, next to an ordinary row.
            let data: Vec<f64> =
                if axis == 1 { [&row[..], &[0.0, 0.0, 0.0]].concat() } else { row.iter().flat_map(|&v| [v, 0.0]).collect() };
            let shape = if axis == 1 { [2, 3] } else { [3, 2] };
            let pick = |v: Vec<f64>| -> Vec<f64> { (0..3).map(|i| if axis == 1 { v[i] } else { v[2 * i] }).collect() };
            let x = tensor(&data, &shape);
            close(&format!("softmax {name}, axis {axis}"), &pick(values(&x.softmax(axis))), &soft, 1e-6, 1e-37);
            close(&format!("log_softmax {name}, axis {axis}"), &pick(values(&x.log_softmax(axis))), &log, 1e-6, 1e-7);
        }
        if !row[0].is_nan() {
            let (_, g) = with_gradient(&row, &[1, 3], |x| x.softmax(1).square());
            assert!(g.iter().all(|g| g.is_finite()), "softmax {name}: gradient {g:?}");
        }
    }
    // Also if an infinity is the largest, for which there is no answer.
    assert!(values(&tensor(&[INF, 0.0, 1.0], &[1, 3]).softmax(1))[0].is_nan());
}

#[test]
fn long_masked_rows() {
    for n in [33, 300, 5000] {
        let mut data = vec![-INF; 2 * n];
        let masked = values(&tensor(&data, &[2, n]).softmax(1));
        assert!(masked.iter().all(|&v| v == 0.0), "masked rows of {n}");
        data[n + n / 2] = -BIG;
        let y = values(&tensor(&data, &[2, n]).softmax(1));
        assert!((0..2 * n).all(|i| y[i] == f64::from(u8::from(i == n + n / 2))), "rows of {n} masked but for one");
    }
}

#[test]
fn attention_with_masked_queries() {
    let q = tensor(&[1.0, -1.0, 1000.0, 1000.0], &[1, 2, 2]).variable().expect("float");
    let mask = Tensor::from_slice(&[false, false, true, false], [1, 2, 2], device()).expect("a mask");
    let options = AttentionOptions { mask: Some(mask), ..AttentionOptions::default() };
    let y = q.scaled_dot_product_attention(&q, &q, &options);
    close("attention", &values(&y), &[0.0, 0.0, 1.0, -1.0], 1e-6, 0.0);
    let g = y.sum().backward().and_then(|g| g.get(&q)).expect("a gradient");
    assert!(values(&g).iter().all(|g| g.is_finite()), "{:?}", values(&g));
}

#[test]
fn reductions_of_extremes() {
    type Row = (&'static str, fn(&Tensor) -> Tensor, [f64; 8]);
    #[rustfmt::skip]
    let data = [
        [1.0, INF, 2.0], [1.0, -INF, 2.0], [INF, -INF, 2.0], [NAN, INF, 2.0], [2.0, 1.0, NAN], [BIG, BIG, 1.0], [-BIG, -BIG, 1.0],
        [0.0, INF, 3.0],
    ];
    let rows: [Row; 10] = [
        ("sum", |x| x.sum_dim(1), [INF, -INF, NAN, NAN, NAN, INF, -INF, INF]),
        ("mean", |x| x.mean_dim(1), [INF, -INF, NAN, NAN, NAN, INF, -INF, INF]),
        ("max", |x| x.max_dim(1), [INF, 2.0, INF, NAN, NAN, BIG, 1.0, INF]),
        ("min", |x| x.min_dim(1), [1.0, -INF, -INF, NAN, NAN, 1.0, -BIG, 0.0]),
        ("argmax", |x| x.argmax_dim(1), [1.0, 2.0, 0.0, 0.0, 2.0, 0.0, 2.0, 1.0]),
        ("argmin", |x| x.argmin_dim(1), [0.0, 1.0, 1.0, 0.0, 2.0, 2.0, 0.0, 0.0]),
        ("prod", |x| x.prod_dim(1), [INF, -INF, -INF, NAN, NAN, INF, INF, NAN]),
        ("logsumexp", |x| x.logsumexp_dim(1), [INF, 2.31326169, INF, NAN, NAN, BIG, 1.0, INF]),
        ("norm 2", |x| x.norm_dim(2.0, 1), [INF, INF, INF, NAN, NAN, INF, INF, INF]),
        ("norm ∞", |x| x.norm_dim(INF, 1), [INF, INF, INF, NAN, NAN, BIG, BIG, INF]),
    ];
    for (name, f, expected) in rows {
        // Short rows, long ones (in stages), and columns.
        for n in [3, 700, 70_000] {
            let mut wide = Vec::new();
            for row in data {
                wide.extend_from_slice(&row);
                // Copies of the last number, which leave maxima and minima unchanged; sums are infinite, or not checked.
                wide.extend(std::iter::repeat_n(row[2], n - 3));
            }
            if n > 3 && ["prod", "logsumexp", "norm 2"].contains(&name) {
                continue;
            }
            close(&format!("{name} of rows of {n}"), &values(&f(&tensor(&wide, &[8, n]))), &expected, 1e-6, 0.0);
            let columns = tensor(&wide, &[8, n]).t() * 1.0;
            columns.eval().expect("a copy");
            close(&format!("{name} of columns of {n}"), &values(&f(&columns.t())), &expected, 1e-6, 0.0);
        }
    }
}

#[test]
fn norms_of_extremes() {
    // Constant rows have variance 0: the result is the bias.
    let bias = tensor(&[0.5, -0.5, 0.0, 1.0], &[4]);
    for value in [0.0, 1e-30, -7.0, 1e6] {
        let (y, g) = with_gradient(&[value; 8], &[2, 4], |x| x.layer_norm([4], None, Some(&bias), 1e-5));
        close(&format!("layer_norm of {value}"), &y, &[0.5, -0.5, 0.0, 1.0, 0.5, -0.5, 0.0, 1.0], 0.0, 0.0);
        assert!(g.iter().all(|g| g.is_finite()), "layer_norm of {value}: gradient {g:?}");
        let (y, g) = with_gradient(&[value; 8], &[2, 4], |x| x.rms_norm([4], None, Some(1e-6)));
        let root = (value * value + 1e-6).sqrt();
        close(&format!("rms_norm of {value}"), &y, &[value / root; 8], 1e-6, 1e-37);
        assert!(g.iter().all(|g| g.is_finite()), "rms_norm of {value}: gradient {g:?}");
    }
    // NaN and infinities spoil only their own row.
    for bad in [NAN, INF, -INF] {
        let y = values(&tensor(&[bad, 1.0, 2.0, 3.0, -3.0, -1.0, 1.0, 3.0], &[2, 4]).layer_norm([4], None, None, 0.0));
        assert!(y[..4].iter().all(|v| v.is_nan()), "layer_norm with {bad}: {y:?}");
        close("the other row", &y[4..], &[-3.0, -1.0, 1.0, 3.0].map(|v: f64| v / 5f64.sqrt()), 1e-6, 0.0);
    }
    let (y, _, _) = tensor(&[4.0; 6], &[3, 2]).batch_norm(None, None, 1e-5);
    assert_eq!(values(&y), [0.0; 6]);
    let y = tensor(&[3.0; 16], &[1, 4, 2, 2]);
    assert_eq!(values(&y.group_norm(2, None, None, 1e-5)), [0.0; 16]);
    assert_eq!(values(&y.instance_norm(None, None, 1e-5)), [0.0; 16]);
}

type Pair = fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>;

/// Losses at certainty: finite, and so are their gradients.
#[test]
fn losses_stay_finite_at_the_ends() {
    let probabilities = [0.0, 1.0, 0.0, 1.0, 1e-30, 1.0 - 1e-7];
    let logits = [1000.0, -1000.0, 1e30, -1e30, 88.73, -88.73];
    let targets = [0.0, 0.0, 1.0, 1.0, 1.0, 0.5];
    let signs = [1.0, -1.0, -1.0, 1.0, 1.0, -1.0];
    let plain: [(&str, Pair, [f64; 6], [f64; 6]); 13] = [
        ("binary_cross_entropy", loss::binary_cross_entropy, probabilities, targets),
        ("binary_cross_entropy_with_logits", |x, t, r| loss::binary_cross_entropy_with_logits(x, t, None, r), logits, targets),
        ("focal 2", |x, t, r| loss::focal(x, t, Some(0.25), 2.0, r), logits, targets),
        ("focal 0.5", |x, t, r| loss::focal(x, t, None, 0.5, r), [1000.0, -1000.0, 500.0, -500.0, 88.73, -88.73], targets),
        ("kl_div", |x, t, r| loss::kl_div(x, t, r), [-1000.0, 0.0, -88.73, -1e30, 0.0, -3.0], targets),
        (
            "kl_div of logarithms",
            |x, t, r| loss::kl_div_with(x, t, loss::KlDivOptions { log_target: true, reduction: r }),
            [-1000.0, 0.0, -5.0, 0.0, 0.0, -3.0],
            [-1000.0, -1000.0, 0.0, -1e30, -88.73, 0.0],
        ),
        ("mse", loss::mse, [1e18, -1e18, 0.0, 1e-30, -1e-30, 1.0], targets),
        ("l1", loss::l1, [1e38, -1e38, 0.0, 1.0, 1e-30, 0.5], targets),
        ("huber", |x, t, r| loss::huber(x, t, 1.0, r), [1e38, -1e38, 0.0, 1.0, 1e-30, 0.5], targets),
        ("smooth_l1", |x, t, r| loss::smooth_l1(x, t, 1.0, r), [1e38, -1e38, 0.0, 1.0, 1e-30, 0.5], targets),
        ("hinge", loss::hinge, logits, signs),
        ("hinge_embedding", |x, t, r| loss::hinge_embedding(x, t, 1.0, r), [1000.0, 0.0, 1e30, 0.0, 88.73, 1.0], signs),
        (
            "cross_entropy_with probabilities",
            |x, t, r| {
                let options = CrossEntropyOptions { reduction: r, ..Default::default() };
                loss::cross_entropy_with(&x.reshape([2, 3]), &t.reshape([2, 3]), &options)
            },
            [1000.0, -1000.0, 0.0, -1000.0, 88.73, -88.73],
            [0.0, 1.0, 0.0, 1.0, 0.0, 0.0],
        ),
    ];
    for (name, f, x, t) in plain {
        for reduction in [Reduction::None, Reduction::Sum] {
            let t = tensor(&t, &[6]);
            let (y, g) = with_gradient(&x, &[6], |x| f(x, &t, reduction).expect("a loss"));
            assert!(y.iter().all(|v| v.is_finite()), "{name} is {y:?}");
            assert!(g.iter().all(|v| v.is_finite()), "{name} has gradient {g:?}");
        }
    }
}

#[test]
fn losses_of_labels_stay_finite_at_the_ends() {
    let labels = Tensor::from_slice(&[0i32, 1, 2], [3], device()).expect("labels");
    let logits = [1000.0, -1000.0, 0.0, 1000.0, -1000.0, 0.0, 1e30, 1e30, 1e30];
    let expected = [0.0, 2000.0, 3f64.ln()];
    let gradient = [0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 1.0 / 3.0, 1.0 / 3.0, -2.0 / 3.0];
    type Row = (&'static str, fn(&Tensor, &Tensor) -> Tensor);
    let rows: [Row; 3] = [
        ("cross_entropy", |x, l| loss::cross_entropy(x, l, Reduction::None).expect("a loss")),
        ("cross_entropy_with", |x, l| {
            let options = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
            loss::cross_entropy_with(x, l, &options).expect("a loss")
        }),
        ("nll", |x, l| loss::nll(&x.log_softmax(1), l, None, None, Reduction::None).expect("a loss")),
    ];
    for (name, f) in rows {
        let (y, g) = with_gradient(&logits, &[3, 3], |x| f(x, &labels));
        close(name, &y, &expected, 1e-6, 1e-7);
        close(&format!("{name}'s gradient"), &g, &gradient, 1e-6, 1e-7);
    }
    // A masked class counts as absent; a label of a masked class has infinite loss.
    let (y, g) = with_gradient(&[-INF, 0.0, 0.0], &[1, 3], |x| {
        loss::cross_entropy(x, &Tensor::from_slice(&[1i32], [1], device()).expect("a label"), Reduction::Mean).expect("a loss")
    });
    close("cross_entropy beside a mask", &y, &[2f64.ln()], 1e-6, 0.0);
    close("its gradient", &g, &[0.0, -0.5, 0.5], 1e-6, 1e-7);
    // A NaN anywhere in a row is not lost.
    for place in 0..3 {
        let mut row = [1.0, 2.0, 3.0];
        row[place] = NAN;
        let label = Tensor::from_slice(&[1i32], [1], device()).expect("a label");
        let (y, g) = with_gradient(&row, &[1, 3], |x| loss::cross_entropy(x, &label, Reduction::Mean).expect("a loss"));
        assert!(y[0].is_nan() && g.iter().all(|g| g.is_nan()), "cross_entropy of {row:?} is {y:?}, gradient {g:?}");
    }
    // Vectors of length 0 have no direction, and equal ones no distance.
    let zero = tensor(&[0.0; 6], &[2, 3]);
    let signs = tensor(&[1.0, -1.0], &[2]);
    let (y, g) = with_gradient(&[0.0; 6], &[2, 3], |x| {
        let cosine = loss::cosine_embedding(x, &zero, &signs, 0.0, Reduction::Mean).expect("a loss");
        cosine + loss::triplet_margin(x, &zero, &zero, loss::TripletOptions::default()).expect("a loss")
    });
    assert!(y[0].is_finite() && g.iter().all(|v| v.is_finite()), "vectors of length 0: {y:?}, {g:?}");
}
