//! Losses.

use super::{Sample, operand};
use wgrad::nn::loss::{self, CrossEntropyOptions, CtcOptions, Reduction, TripletOptions};
use wgrad::{Result, Tensor};

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// An i32 tensor of labels on a tensor's device.
fn labels(like: &Tensor, values: &[i32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &like.device().expect("valid")).expect("labels upload")
}

/// 1 and -1 alternating, in a tensor's shape without its last `dropped` axes.
fn signs(like: &Tensor, dropped: usize) -> Tensor {
    let shape = like.shape().expect("valid");
    let shape = &shape.dims()[..shape.rank() - dropped];
    if shape.iter().product::<usize>() > 1 << 20 {
        // Expanded to more than fits in memory: it is never computed.
        return like.mean().expand(shape);
    }
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let made = Tensor::from_slice(&values, shape, &like.device().expect("valid")).expect("signs upload");
    made.cast(like.dtype().expect("valid"))
}

/// Losses of two float tensors of one shape.
fn pairs() -> Vec<Sample> {
    type Row = (&'static str, &'static str, [f64; 2], [f64; 2], bool, fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>);
    let wide = [-3.0, 3.0];
    let part = [0.05, 0.95];
    let table: [Row; 16] = [
        ("mse", "", wide, wide, true, loss::mse),
        ("l1", "", wide, wide, false, loss::l1),
        ("huber", "1", wide, wide, false, |x, t, r| loss::huber(x, t, 1.0, r)),
        ("huber", "0.3", wide, wide, false, |x, t, r| loss::huber(x, t, 0.3, r)),
        ("smooth_l1", "1", wide, wide, false, |x, t, r| loss::smooth_l1(x, t, 1.0, r)),
        ("smooth_l1", "2", wide, wide, false, |x, t, r| loss::smooth_l1(x, t, 2.0, r)),
        ("smooth_l1", "0", wide, wide, false, |x, t, r| loss::smooth_l1(x, t, 0.0, r)),
        ("kl_div", "", wide, part, true, |x, t, r| loss::kl_div(x, t, r)),
        ("kl_div", "of logarithms", wide, wide, true, |x, t, r| {
            loss::kl_div_with(x, t, loss::KlDivOptions { log_target: true, reduction: r })
        }),
        ("binary_cross_entropy", "", part, part, true, loss::binary_cross_entropy),
        ("binary_cross_entropy_with_logits", "", wide, part, true, |x, t, r| {
            loss::binary_cross_entropy_with_logits(x, t, None, r)
        }),
        ("focal", "", wide, part, true, |x, t, r| loss::focal(x, t, Some(0.25), 2.0, r)),
        ("focal", "without alpha", wide, part, true, |x, t, r| loss::focal(x, t, None, 0.7, r)),
        ("hinge", "", wide, wide, false, |x, t, r| loss::hinge(x, &t.sign(), r)),
        ("hinge_embedding", "", [0.0, 2.0], wide, false, |x, t, r| loss::hinge_embedding(&(x + t * 0.1), &signs(x, 0), 1.0, r)),
        ("margin_ranking", "", wide, wide, false, |x, t, r| loss::margin_ranking(x, t, &signs(x, 0), 0.3, r)),
    ];
    let mut rows = Vec::new();
    for (op, what, x, t, smooth, f) in table {
        for (shape, reduction) in [&[3, 4][..], &[2, 3, 2], &[5]].into_iter().zip(REDUCTIONS) {
            let operands = vec![operand(shape, x[0], x[1]), operand(shape, t[0], t[1])];
            let run = move |x: &[Tensor]| f(&x[0], &x[1], reduction).expect("a loss");
            let sample = Sample::new(op, format!("{what} {reduction:?}"), operands, run).within(4e-6, 2e-6);
            rows.push(if smooth { sample.smooth() } else { sample });
        }
    }
    rows
}

/// Losses of vectors along the last axis.
fn vectors() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (shape, reduction) in [&[3, 4][..], &[5, 2], &[4, 3]].into_iter().zip(REDUCTIONS) {
        let of = |n: usize| vec![operand(shape, -1.0, 1.0); n];
        for margin in [0.0, 0.3] {
            rows.push(Sample::new("cosine_embedding", format!("{margin} {reduction:?}"), of(2), move |x| {
                loss::cosine_embedding(&x[0], &x[1], &signs(&x[0], 1), margin, reduction).expect("a loss")
            }));
        }
        for (p, swap) in [(2.0, false), (2.0, true), (1.0, false), (3.0, true)] {
            let options = TripletOptions { p, swap, reduction, eps: 1e-3, ..TripletOptions::default() };
            rows.push(Sample::new("triplet_margin", format!("{p} {swap} {reduction:?}"), of(3), move |x| {
                loss::triplet_margin(&x[0], &x[1], &x[2], options).expect("a loss")
            }));
        }
    }
    rows.into_iter().map(|s| s.within(2e-5, 4e-6)).collect()
}

/// Losses of integer labels.
fn classes() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (smoothing, ignore, reduction) in [
        (0.0, None, Reduction::Mean),
        (0.1, Some(2), Reduction::Mean),
        (0.3, Some(-100), Reduction::None),
        (0.0, Some(0), Reduction::Sum),
    ] {
        let ignored = ignore.unwrap_or(1);
        let options = move |weight: Option<&Tensor>| CrossEntropyOptions {
            weight: weight.cloned(),
            label_smoothing: smoothing,
            ignore_index: ignore,
            reduction,
        };
        let name = format!("{smoothing} {ignore:?} {reduction:?}");
        let logits = |shape: &[usize]| vec![operand(shape, -3.0, 3.0), operand(&[5], 0.5, 2.0)];
        rows.push(Sample::new("cross_entropy_with", &name, logits(&[4, 5]), move |x| {
            let labels = labels(&x[0], &[0, 4, ignored, 2], &[4]);
            loss::cross_entropy_with(&x[0], &labels, &options(Some(&x[1]))).expect("a loss")
        }));
        rows.push(Sample::new("cross_entropy_with", format!("images {name}"), logits(&[2, 5, 2]), move |x| {
            let labels = labels(&x[0], &[3, 1, ignored, 1], &[2, 2]);
            loss::cross_entropy_with(&x[0], &labels, &options(None)).expect("a loss") * x[1].sum()
        }));
        rows.push(Sample::new("nll", &name, logits(&[4, 5]), move |x| {
            let labels = labels(&x[0], &[0, 4, ignored, 2], &[4]);
            loss::nll(&x[0], &labels, Some(&x[1]), ignore, reduction).expect("a loss").square()
        }));
    }
    let soft = |x: &[Tensor]| {
        let options = CrossEntropyOptions { label_smoothing: 0.2, weight: Some(x[2].clone()), ..Default::default() };
        loss::cross_entropy_with(&x[0], &x[1], &options).expect("a loss")
    };
    for shape in [&[4, 3][..], &[2, 3, 2]] {
        let operands = vec![operand(shape, -3.0, 3.0), operand(shape, 0.0, 1.0), operand(&[3], 0.5, 2.0)];
        rows.push(Sample::new("cross_entropy_with", "probabilities", operands, soft).smooth());
    }
    let weighted =
        |x: &[Tensor]| loss::binary_cross_entropy_with_logits(&x[0], &x[1], Some(&x[2]), Reduction::Mean).expect("a loss");
    let operands = vec![operand(&[3, 4], -3.0, 3.0), operand(&[3, 4], 0.0, 1.0), operand(&[4], 0.5, 2.0)];
    rows.push(Sample::new("binary_cross_entropy_with_logits", "weighted", operands, weighted).smooth());
    rows.into_iter().map(|s| s.within(4e-6, 4e-6)).collect()
}

fn alignments() -> Vec<Sample> {
    type Row = (&'static str, &'static str, [usize; 3], usize, &'static [i32], &'static [usize], &'static [usize], CtcOptions);
    let plain = CtcOptions::default();
    let table: [Row; 4] = [
        ("ctc", "", [5, 2, 4], 2, &[1, 2, 3, 3], &[5, 5], &[2, 2], plain),
        (
            "ctc",
            "of lengths",
            [6, 3, 3],
            3,
            &[1, 2, 1, 2, 2, 0, 0, 0, 0],
            &[6, 4, 2],
            &[3, 2, 0],
            CtcOptions { reduction: Reduction::None, ..plain },
        ),
        ("ctc", "with the last class as blank", [4, 1, 3], 2, &[0, 1], &[4], &[2], CtcOptions { blank: 2, ..plain }),
        (
            "ctc",
            "too short",
            [3, 2, 3],
            3,
            &[1, 1, 1, 1, 2, 1],
            &[3, 3],
            &[3, 3],
            CtcOptions { zero_infinity: true, reduction: Reduction::Sum, ..plain },
        ),
    ];
    let make = |(op, what, shape, longest, values, times, counts, options): Row| {
        Sample::new(op, what, vec![operand(&shape, -2.0, 2.0)], move |x| {
            let labels = labels(&x[0], values, &[shape[1], longest]);
            loss::ctc(&x[0].log_softmax(2), &labels, times, counts, options).expect("a loss")
        })
        .within(4e-6, 4e-6)
        .smooth()
    };
    table.into_iter().map(make).collect()
}

pub fn losses() -> Vec<Sample> {
    [pairs(), vectors(), classes(), alignments()].into_iter().flatten().collect()
}

/// Losses of further shapes and reductions.
pub fn more() -> Vec<Sample> {
    let shapes: [&[usize]; 4] = [&[1], &[7, 2], &[2, 3, 5], &[2, 2, 2, 2]];
    let mut rows = Vec::new();
    for (shape, reduction) in shapes.into_iter().flat_map(|s| REDUCTIONS.map(|r| (s, r))) {
        type Row = (&'static str, [f64; 2], [f64; 2], fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>);
        let (wide, part) = ([-3.0, 3.0], [0.05, 0.95]);
        let table: [Row; 11] = [
            ("mse", wide, wide, loss::mse),
            ("l1", wide, wide, loss::l1),
            ("huber", wide, wide, |x, t, r| loss::huber(x, t, 0.6, r)),
            ("smooth_l1", wide, wide, |x, t, r| loss::smooth_l1(x, t, 0.7, r)),
            ("kl_div", wide, part, |x, t, r| loss::kl_div(x, t, r)),
            ("binary_cross_entropy", part, part, loss::binary_cross_entropy),
            ("binary_cross_entropy_with_logits", wide, part, |x, t, r| loss::binary_cross_entropy_with_logits(x, t, None, r)),
            ("focal", wide, part, |x, t, r| loss::focal(x, t, Some(0.75), 1.5, r)),
            ("hinge", wide, wide, |x, t, r| loss::hinge(x, &t.sign(), r)),
            ("hinge_embedding", [0.0, 2.0], wide, |x, t, r| loss::hinge_embedding(&(x + t * 0.1), &signs(x, 0), 1.5, r)),
            ("margin_ranking", wide, wide, |x, t, r| loss::margin_ranking(x, t, &signs(x, 0), 0.1, r)),
        ];
        for (op, x, t, f) in table {
            let operands = vec![operand(shape, x[0], x[1]), operand(shape, t[0], t[1])];
            let run = move |x: &[Tensor]| f(&x[0], &x[1], reduction).expect("a loss");
            rows.push(Sample::new(op, format!("{reduction:?}"), operands, run));
        }
        if shape.len() > 1 {
            let of = |n: usize| vec![operand(shape, 0.2, 1.0); n];
            if shape.len() == 2 {
                rows.push(Sample::new("cosine_embedding", format!("{reduction:?}"), of(2), move |x| {
                    loss::cosine_embedding(&x[0], &x[1], &signs(&x[0], 1), 0.1, reduction).expect("a loss")
                }));
            }
            let options = TripletOptions { reduction, eps: 1e-3, ..TripletOptions::default() };
            rows.push(Sample::new("triplet_margin", format!("{reduction:?}"), of(3), move |x| {
                loss::triplet_margin(&x[0], &x[1], &x[2], options).expect("a loss")
            }));
        }
    }
    for (n, c) in [(1, 2), (2, 5), (7, 3), (5, 9)] {
        for reduction in REDUCTIONS {
            let vectors = vec![operand(&[n, c], 0.2, 1.0), operand(&[n, c], -1.0, -0.2)];
            rows.push(Sample::new("cosine_embedding", format!("apart {reduction:?}"), vectors, move |x| {
                loss::cosine_embedding(&x[0], &x[1], &signs(&x[0], 1), -0.9, reduction).expect("a loss")
            }));
            let x = || vec![operand(&[n, c], -3.0, 3.0)];
            let target = move |x: &Tensor| labels(x, &(0..n).map(|i| ((i * 5 + 1) % c) as i32).collect::<Vec<_>>(), &[n]);
            rows.push(Sample::new("cross_entropy_with", format!("{reduction:?}"), x(), move |x| {
                let options = CrossEntropyOptions { label_smoothing: 0.15, reduction, ..CrossEntropyOptions::default() };
                loss::cross_entropy_with(&x[0], &target(&x[0]), &options).expect("a loss")
            }));
            rows.push(Sample::new("nll", format!("{reduction:?}"), x(), move |x| {
                loss::nll(&x[0].square(), &target(&x[0]), None, None, reduction).expect("a loss")
            }));
            let scores = vec![operand(&[c + 2, n, c], -2.0, 2.0)];
            rows.push(Sample::new("ctc", format!("{reduction:?}"), scores, move |x| {
                let labels = labels(&x[0], &vec![1; n], &[n, 1]);
                let options = CtcOptions { reduction, ..CtcOptions::default() };
                loss::ctc(&x[0].log_softmax(2), &labels, &vec![c + 2; n], &vec![1; n], options).expect("a loss")
            }));
        }
    }
    rows.into_iter().map(|row| row.within(2e-5, 4e-6).brief()).collect()
}
