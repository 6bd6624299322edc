//! When work happens, and how much of it.

use crate::common::{device, open, upload, values};
use wgrad::{DType, Generator, Param, Tensor, no_grad};

#[test]
fn a_loss_that_was_read_is_not_computed_again_for_backward() {
    let d = &open(false);
    let w = Param::new(&Tensor::randn([8, 8], &Generator::new(1), d).expect("valid")).expect("float");
    let x = Tensor::randn([4, 8], &Generator::new(2), d).expect("valid");
    x.eval().expect("runs");
    let loss = || x.matmul(&w.tensor()).tanh().matmul(&w.tensor()).square().mean();
    let gradient = |l: &Tensor| values(&l.backward().and_then(|g| g.get(&w)).expect("a gradient"));
    let unread = loss();
    let before = d.counters().dispatches;
    let expected = gradient(&unread);
    let whole = d.counters().dispatches - before;
    let read = loss();
    read.item().expect("a scalar");
    let before = d.counters().dispatches;
    assert_eq!(gradient(&read), expected);
    let rest = d.counters().dispatches - before;
    assert!(rest < whole, "backward after item() ran {rest} kernels, and {whole} without it");
}

#[test]
fn what_shows_a_whole_result_is_not_copied() {
    let d = &open(false);
    let numbers: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 11)).collect();
    let x = upload(&numbers, &[4, 6], DType::F32, d);
    let rows = || numbers.chunks(6);
    let sums: Vec<f64> = rows().map(|row| row.iter().sum()).collect();
    let kept = x.sum_keepdim(1);
    let cases: [(&str, Vec<Tensor>, Vec<f64>); 6] = [
        ("sum", vec![x.sum()], vec![sums.iter().sum()]),
        ("sum_dim", vec![x.sum_dim(1)], sums.clone()),
        ("twice its sum_dim, folded", vec![(x.sum_dim(1) * 2.0).reshape([2, 2])], sums.iter().map(|v| v * 2.0).collect()),
        ("argmax", vec![x.argmax_dim(1)], rows().map(first_largest).collect()),
        ("a result and a view of it", vec![kept.clone(), kept.reshape([4])], sums.clone()),
        ("two views", vec![(&x * 3.0).reshape([24]), (&x * 3.0).reshape([2, 12])], numbers.iter().map(|v| v * 3.0).collect()),
    ];
    for (what, results, expected) in cases {
        let before = d.counters().dispatches;
        Tensor::eval_all(&results).expect("runs");
        let launched = d.counters().dispatches - before;
        let distinct = if what == "two views" { 2 } else { 1 };
        assert_eq!(launched, distinct, "{what}");
        // Whoever drops first, the others keep the values.
        for result in results.into_iter().rev() {
            assert_eq!(values(&result), expected, "{what}");
        }
    }
    // A parameter made of a view has memory of its own.
    let (kept, flat) = (x.sum_keepdim(1), x.sum_keepdim(1).reshape([4]));
    Tensor::eval_all(&[&kept, &flat]).expect("runs");
    let w = Param::new(&flat).expect("float");
    w.set(&flat.zeros_like()).expect("fits");
    assert_eq!((values(&w.tensor()), values(&kept), values(&flat)), (vec![0.0; 4], sums.clone(), sums));
    // A view in another order, or of a part, is copied.
    let doubled = &x * 2.0;
    let others = [doubled.clone(), doubled.t(), doubled.narrow(0, 1, 2)];
    let before = d.counters().dispatches;
    Tensor::eval_all(&others).expect("runs");
    assert_eq!(d.counters().dispatches - before, 3);
}

fn first_largest(row: &[f64]) -> f64 {
    let top = row.iter().copied().fold(f64::MIN, f64::max);
    row.iter().position(|&v| v == top).map_or(-1.0, |at| at as f64)
}

#[test]
fn plans_are_cached_by_structure_not_by_value() {
    let d = &open(false);
    let run = |scale: f64, n: usize| {
        let x = upload(&vec![1.0; n], &[n], DType::F32, d);
        values(&((x * scale + 1.0).sqrt() * 3.0)).len()
    };
    run(1.0, 5);
    let plans = d.counters().plans;
    for i in 0..10 {
        run(f64::from(i), 5);
    }
    assert_eq!(d.counters().plans, plans, "scalars are data");
    run(1.0, 6);
    assert_eq!(d.counters().plans, plans + 1, "shapes are structure");
}

#[test]
fn long_chains_neither_overflow_nor_stall() {
    let d = device();
    let mut x = upload(&[1.0], &[1], DType::F32, d);
    for _ in 0..100_000 {
        x += 1.0;
    }
    drop(x);
    let mut y = upload(&[1.0, 2.0], &[2], DType::F32, d);
    for _ in 0..300 {
        y += 1.0;
    }
    assert_eq!(values(&y), [301.0, 302.0]);
}

#[test]
fn shared_work_is_shared_and_handles_are_independent() {
    let d = device();
    let x = Tensor::randn([16, 16], &Generator::new(3), d).expect("valid");
    let h = x.matmul(&x.t());
    let (a, b) = (h.relu(), h.neg().relu());
    Tensor::eval_all(&[&a, &b]).expect("runs");
    let sum: Vec<f64> = values(&a).iter().zip(values(&b)).map(|(a, b)| a - b).collect();
    assert_eq!(sum, values(&h));
}

#[test]
fn no_grad_frees_and_detaches() {
    let d = device();
    let w = Param::new(&Tensor::ones([2, 2], d).expect("valid")).expect("float");
    let y = no_grad(|| w.tensor().matmul(&w.tensor()));
    assert!(!y.requires_grad());
    assert!(y.sum().backward().is_err());
    assert_eq!(values(&y), [2.0; 4]);
}

#[test]
fn views_of_views_do_not_multiply_expressions() {
    let d = device();
    let mut x = upload(&[1.0; 64], &[64], DType::F32, d);
    for k in 0..24 {
        x = (&x + x.roll(1 + k % 7, 0)) * 0.5;
    }
    assert_eq!(values(&x), [1.0; 64]);
}
