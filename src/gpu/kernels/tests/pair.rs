//! Reductions to two values, in all forms of all devices.

use super::{Lab, Variants, close, each_variant, f32s, noise, plan_of, run, run_lowered, validate};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Target;
use crate::gpu::kernels::lower;
use crate::gpu::program::{Caps, Operand};
use crate::graph::View;
use crate::graph::op::{BinaryOp, PairOp};
use crate::plan::{Expr, Further, Kernel, Term};
use crate::shape::Shape;

/// A buffer's shape, the order of its axes, how many are kept.
type Row = (&'static [usize], &'static [usize], usize);

const ROWS: [Row; 15] = [
    (&[1], &[0], 0),
    (&[7], &[0], 0),
    (&[3, 1], &[0, 1], 1),
    (&[3, 5], &[0, 1], 1),
    (&[3, 5], &[1, 0], 1),
    (&[2, 70_001], &[0, 1], 1),
    (&[20_000, 3], &[1, 0], 1),
    (&[5000, 8], &[1, 0], 1),
    (&[6, 4, 7, 4], &[1, 0, 2, 3], 1),
    (&[6, 4, 7, 5], &[1, 0, 2, 3], 1),
    (&[32, 12, 8, 8], &[1, 0, 2, 3], 1),
    (&[9, 6, 6, 8], &[3, 0, 1, 2], 1),
    (&[4, 6, 5, 3], &[0, 2, 1, 3], 2),
    (&[1_500_007], &[0], 0),
    (&[70, 1024], &[0, 1], 1),
];

/// The view of a buffer with its axes in this order.
fn view((dims, order, _): Row) -> View {
    View::contiguous(Shape::of(dims)).permute(order)
}

fn moments(row: Row) -> Kernel {
    let view = view(row);
    let mut value = Expr::new(view.shape);
    value.push(Term::Load { operand: 0, view }, DType::F32);
    Kernel::Pair { op: PairOp::Moments, value, kept: row.2, further: Vec::new() }
}

/// Σ a and Σ a · b.
fn sums(row: Row) -> Kernel {
    let view = view(row);
    let mut value = Expr::new(view.shape);
    let a = value.push(Term::Load { operand: 0, view }, DType::F32);
    let b = value.push(Term::Load { operand: 1, view }, DType::F32);
    let product = value.push(Term::Binary(BinaryOp::Mul, a, b), DType::F32);
    value.push(Term::Pair(a, product), DType::F32);
    Kernel::Pair { op: PairOp::Sums, value, kept: row.2, further: Vec::new() }
}

/// A buffer's elements in the order of a view, a row for each result.
fn rows(row: Row, data: &[f64]) -> Vec<Vec<f64>> {
    let view = view(row);
    let (strides, shape) = (view.strides(), view.shape);
    let element = |mut i: usize| {
        let mut at = 0;
        for d in (0..shape.rank()).rev() {
            at += (i % shape[d]) * strides[d] as usize;
            i /= shape[d];
        }
        data[at]
    };
    let all: Vec<f64> = (0..data.len()).map(element).collect();
    let outputs: usize = shape[..row.2].iter().product();
    all.chunks(data.len() / outputs).map(<[f64]>::to_vec).collect()
}

/// All means, then all variances.
fn expected(rows: &[Vec<f64>]) -> Vec<f64> {
    let mean = |r: &Vec<f64>| r.iter().sum::<f64>() / r.len() as f64;
    let variance = |r: &Vec<f64>| {
        let mean = mean(r);
        r.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / r.len() as f64
    };
    rows.iter().map(mean).chain(rows.iter().map(variance)).collect()
}

#[test]
fn moments_are_those_of_f64() {
    let lab = Lab::open(true).unwrap();
    for row in ROWS {
        let n = row.0.iter().product();
        // Far from 0, where the mean of squares less the square of the mean would have no digit left.
        for (offset, tolerance) in [(0.0, 2e-6), (1000.0, 2e-6)] {
            let data = f32s(&noise(n, 3).iter().map(|x| x + offset).collect::<Vec<_>>());
            let want = expected(&rows(row, &data.to_f64()));
            let what = format!("{row:?} around {offset}");
            close(&what, &run(&lab, moments(row), std::slice::from_ref(&data), want.len()), &want, tolerance);
            assert!(each_variant(&lab, Variants::Whole, &moments(row), &[data], (&what, &want), tolerance) > 1);
        }
    }
}

#[test]
fn pairs_of_sums_are_those_of_f64() {
    let lab = Lab::open(true).unwrap();
    for row in ROWS {
        let n = row.0.iter().product();
        let (a, b) = (noise(n, 5), noise(n, 6));
        let products: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        let sum = |data: &[f64]| rows(row, data).iter().map(|r| r.iter().sum()).collect::<Vec<f64>>();
        let want = [sum(&a), sum(&products)].concat();
        let reads = [f32s(&a), f32s(&b)];
        let what = format!("{row:?}");
        close(&what, &run(&lab, sums(row), &reads, want.len()), &want, 1e-4);
        assert!(each_variant(&lab, Variants::Whole, &sums(row), &reads, (&what, &want), 1e-4) > 1);
    }
}

#[test]
fn moments_of_what_is_not_finite() {
    let lab = Lab::open(true).unwrap();
    let (n, inf) = (5000, f64::INFINITY);
    // The value, and where it is; the mean.
    let cases: [(&[(usize, f64)], f64); 6] = [
        (&[(0, inf)], inf),
        (&[(2500, inf)], inf),
        (&[(7, inf), (4999, inf)], inf),
        (&[(0, inf), (64, -inf)], f64::NAN),
        (&[(0, f64::NAN)], f64::NAN),
        (&[(4998, f64::NAN)], f64::NAN),
    ];
    for (special, mean) in cases {
        for row in [(&[5000usize][..], &[0usize][..], 0), (&[5000, 4], &[1, 0], 1)] {
            let width = row.0.get(1).copied().unwrap_or(1);
            let mut data = noise(n * width, 9);
            for &(at, value) in special {
                data[at * width..(at + 1) * width].fill(value);
            }
            let want = [vec![mean; width], vec![f64::NAN; width]].concat();
            let reads = [f32s(&data)];
            for software in [true, false] {
                let out = HostData::F32(vec![-1.0; want.len()]);
                let plan = plan_of(moments(row), &reads, &out);
                let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(software)).unwrap();
                close(&format!("{special:?}, software {software}"), &run_lowered(&lab, &lowered, &reads, out), &want, 0.0);
            }
        }
    }
}

#[test]
fn moments_of_equal_values_are_exact() {
    let lab = Lab::open(true).unwrap();
    for row in ROWS {
        let data = vec![0.1f32; row.0.iter().product()];
        let outputs: usize = view(row).shape[..row.2].iter().product();
        let want = [vec![f64::from(0.1f32); outputs], vec![0.0; outputs]].concat();
        close(&format!("{row:?}"), &run(&lab, moments(row), &[HostData::F32(data)], want.len()), &want, 0.0);
    }
}

#[test]
fn further_results_are_made_of_either_half() {
    let lab = Lab::open(true).unwrap();
    for row in ROWS {
        let n = row.0.iter().product();
        let outputs: usize = view(row).shape[..row.2].iter().product();
        let shape = Shape::of(&[outputs]);
        // own · 0.75 + result, and the result itself.
        let mut running = Expr::new(shape);
        let own = running.push(Term::Load { operand: 0, view: View::contiguous(shape) }, DType::F32);
        let share = running.push(Term::Constant { bits: 0.75f64.to_bits() }, DType::F32);
        let kept = running.push(Term::Binary(BinaryOp::Mul, own, share), DType::F32);
        let acc = running.push(Term::Acc, DType::F32);
        running.push(Term::Binary(BinaryOp::Add, kept, acc), DType::F32);
        for half in [0, 1] {
            let mut kernel = moments(row);
            let Kernel::Pair { further, .. } = &mut kernel else { panic!("moments") };
            further.push(Further { half, expr: running.clone(), buffer: 1 });
            further.push(Further { half: 1 - half, expr: Expr::identity(shape, DType::F32), buffer: 1 });
            let data = f32s(&noise(n, 3));
            let want = expected(&rows(row, &data.to_f64()));
            let before = noise(outputs, 8);
            let out = HostData::F32(vec![f32::NAN; 2 * outputs]);
            let plan = plan_of(kernel, std::slice::from_ref(&data), &out);
            for software in [true, false] {
                let lowered = lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(software)).unwrap();
                validate(&lowered);
                let blank = HostData::F32(vec![f32::NAN; outputs]);
                let targets = [(Operand::Write, out.clone()), (Operand::Further(0), f32s(&before)), (Operand::Further(1), blank)];
                let targets = targets.map(|(operand, data)| Target { operand, data });
                let prepared = lab.prepare(&lowered, std::slice::from_ref(&data), &targets);
                lab.run(&prepared, 1);
                let read = |k, len| lab.read(&prepared, k, DType::F32, len).to_f64();
                let what = format!("{row:?}, half {half}, software {software}");
                close(&what, &read(0, 2 * outputs), &want, 2e-6);
                let halves = [&want[..outputs], &want[outputs..]];
                let expected: Vec<f64> = before.iter().zip(halves[half]).map(|(b, x)| b * 0.75 + x).collect();
                close(&what, &read(1, outputs), &expected, 2e-6);
                close(&what, &read(2, outputs), halves[1 - half], 2e-6);
            }
        }
    }
}
