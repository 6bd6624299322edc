//! Elementwise kernels and reductions of awkward lengths between sentinels; the other tests' kernels run between them as well.
//!
//! The bench puts 1,024 sentinels before and after everything that a program writes, and looks at them after every run, with
//! the shaders' runtime checks on and off. The CPU device needs no such test: except for `gemm`, its kernels are safe Rust.

use super::{Variants, close, each_variant, f32s, noise, run, run_as};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::Lab;
use crate::gpu::program::Caps;
use crate::graph::View;
use crate::graph::op::{ReduceOp, UnaryOp};
use crate::plan::{Expr, Kernel, Term};
use crate::shape::Shape;

/// Lengths around a vector, a workgroup, a block and a partial one.
const LENGTHS: [usize; 13] = [1, 2, 3, 4, 5, 63, 64, 65, 255, 257, 1021, 1024, 4099];

fn loaded(shape: &[usize], negated: bool) -> Expr {
    let shape = Shape::of(shape);
    let mut e = Expr::new(shape);
    let mut root = e.push(Term::Load { operand: 0, view: View::contiguous(shape) }, DType::F32);
    if negated {
        root = e.push(Term::Unary(UnaryOp::Neg, root), DType::F32);
    }
    e.finish(root)
}

fn plain_epilogue(kept: &[usize]) -> Expr {
    let mut e = Expr::new(Shape::of(kept));
    let acc = e.push(Term::Acc, DType::F32);
    e.finish(acc)
}

#[test]
fn elementwise_kernels_stay_within_their_output() {
    let lab = Lab::open(true).unwrap();
    for n in LENGTHS {
        let x = noise(n, 1);
        let want: Vec<f64> = x.iter().map(|v| -v).collect();
        let got = run(&lab, Kernel::Elementwise(loaded(&[n], true)), &[f32s(&x)], n);
        close(&format!("{n} elements"), &got, &want, 0.0);
        let variants =
            each_variant(&lab, Variants::Whole, &Kernel::Elementwise(loaded(&[n], true)), &[f32s(&x)], ("elements", &want), 0.0);
        assert!(variants > 1);
    }
}

#[test]
fn reductions_stay_within_their_output() {
    let lab = Lab::open(true).unwrap();
    for n in LENGTHS {
        let shapes: [(Vec<usize>, usize); 3] = [(vec![n], 0), (vec![n, 3], 1), (vec![3, n], 1)];
        for (shape, kept) in shapes {
            let total: usize = shape.iter().product();
            let outputs: usize = shape[..kept].iter().product();
            let x = noise(total, 2);
            let rows = || x.chunks(total / outputs);
            let what = format!("{shape:?}, {kept} kept");
            let reduce = |op| Kernel::Reduce { op, value: loaded(&shape, false), kept, epilogue: plain_epilogue(&shape[..kept]) };
            let sums: Vec<f64> = rows().map(|r| r.iter().sum()).collect();
            close(&format!("sum {what}"), &run(&lab, reduce(ReduceOp::Sum), &[f32s(&x)], outputs), &sums, 1e-4);
            assert!(each_variant(&lab, Variants::Whole, &reduce(ReduceOp::Sum), &[f32s(&x)], (&what, &sums), 1e-4) > 1);
            let tops: Vec<f64> = rows().map(|r| r.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
            close(&format!("max {what}"), &run(&lab, reduce(ReduceOp::Max), &[f32s(&x)], outputs), &tops, 0.0);
            let first: Vec<f64> =
                rows().zip(&tops).map(|(r, top)| r.iter().position(|v| v == top).map_or(-1.0, |p| p as f64)).collect();
            for software in [true, false] {
                let kernel = Kernel::ArgReduce { op: ReduceOp::Max, value: loaded(&shape, false) };
                let blank = HostData::I32(vec![-7; outputs]);
                let got = run_as(&lab, kernel, &[f32s(&x)], blank, &Caps::webgpu_defaults(software));
                close(&format!("argmax {what}, software {software}"), &got, &first, 0.0);
            }
        }
    }
}
