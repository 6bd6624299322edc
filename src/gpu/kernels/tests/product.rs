//! Matrix products: layouts, odd sizes, batches, offsets, splits and epilogues.

use super::{close, f32s, noise, run};
use crate::dtype::DType;
use crate::gpu::kernels::lab::{Lab, Target, bias_relu, one_step};
use crate::gpu::kernels::matmul::{self, Variant};
use crate::gpu::program::{Caps, Operand};
use crate::plan::{Expr, Kernel, MatMul, MatrixView};
use crate::shape::Shape;

/// `[batch.., rows, cols]`, stored transposed if `t`, after `offset` unused elements.
fn view(batch: &[usize], shared: bool, rows: usize, cols: usize, t: bool, offset: usize) -> MatrixView {
    let (row, col) = if t { (1, rows as i64) } else { (cols as i64, 1) };
    let mut stride = (rows * cols) as i64;
    let mut strides = vec![0; batch.len()];
    for d in (0..batch.len()).rev() {
        strides[d] = if shared { 0 } else { stride };
        stride *= batch[d] as i64;
    }
    MatrixView { batch: strides, row, col, offset: offset as i64 }
}

fn extent(v: &MatrixView, batch: &[usize], rows: usize, cols: usize) -> usize {
    let far: i64 = v.batch.iter().zip(batch).map(|(s, &b)| s * (b as i64 - 1)).sum();
    if rows * cols == 0 { 0 } else { (v.offset + far + v.row * (rows as i64 - 1) + v.col * (cols as i64 - 1) + 1) as usize }
}

fn expected(mm: &MatMul, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = Vec::new();
    for z in 0..mm.batch.numel() {
        let (mut rest, mut a0, mut b0) = (z, mm.a.offset, mm.b.offset);
        for d in (0..mm.batch.rank()).rev() {
            let c = (rest % mm.batch[d]) as i64;
            rest /= mm.batch[d];
            a0 += c * mm.a.batch[d];
            b0 += c * mm.b.batch[d];
        }
        for i in 0..mm.m as i64 {
            for j in 0..mm.n as i64 {
                let at = |k: i64| a[(a0 + i * mm.a.row + k * mm.a.col) as usize] * b[(b0 + k * mm.b.row + j * mm.b.col) as usize];
                out.push((0..mm.k as i64).map(at).sum());
            }
        }
    }
    out
}

#[test]
fn matmul_matches_loops() {
    let lab = Lab::open(true).unwrap();
    // (batch, m, n, k, lhs transposed, rhs transposed, offset, lhs shared by the batch)
    type Row = (&'static [usize], usize, usize, usize, bool, bool, usize, bool);
    let rows: &[Row] = &[
        (&[], 1, 1, 1, false, false, 0, false),
        (&[], 3, 5, 7, false, false, 0, false),
        (&[], 17, 65, 33, false, true, 0, false),
        (&[], 65, 17, 5, true, false, 0, false),
        (&[], 16, 24, 12, true, true, 0, false),
        (&[], 64, 64, 64, false, false, 0, false),
        (&[], 64, 60, 36, false, true, 0, false),
        (&[], 68, 64, 32, true, false, 4, false),
        (&[], 20, 32, 16, false, false, 3, false),
        (&[], 1, 100, 64, false, false, 0, false),
        (&[], 100, 1, 64, false, true, 0, false),
        (&[], 10, 10, 3000, false, true, 0, false),
        (&[], 8, 12, 2049, true, false, 0, false),
        (&[3], 5, 9, 6, false, false, 0, false),
        (&[2, 3], 8, 8, 8, false, true, 0, true),
        (&[2], 4, 1024, 1024, false, false, 0, false),
        (&[], 0, 4, 4, false, false, 0, false),
        (&[], 5, 4, 0, false, false, 0, false),
    ];
    for &(batch, m, n, k, ta, tb, offset, shared) in rows {
        let a = view(batch, shared, m, k, ta, offset);
        let b = view(batch, false, k, n, tb, offset);
        let (len_a, len_b) = (extent(&a, batch, m, k), extent(&b, batch, k, n));
        let mut shape = batch.to_vec();
        shape.extend([m, n]);
        let mm = MatMul { batch: Shape::of(batch), m, n, k, a, b, epilogue: Expr::identity(Shape::of(&shape), DType::F32) };
        let (x, y) = (noise(len_a, 1), noise(len_b, 2));
        let want = expected(&mm, &x, &y);
        let what = format!("{batch:?} {m}x{n}x{k} {ta} {tb} +{offset}");
        let got = run(&lab, Kernel::MatMul(mm.clone()), &[f32s(&x), f32s(&y)], want.len());
        close(&what, &got, &want, 1e-5 * (k as f64).sqrt());
    }
}

#[test]
fn every_variant_applies_the_epilogue_once() {
    let lab = Lab::open(true).unwrap();
    for (m, n, k) in [(13, 24, 40), (24, 13, 40), (9, 7, 515)] {
        for splits in [1, 3] {
            for (tile, lanes) in [([4, 4], [8, 1]), ([8, 8], [1, 8]), ([8, 16], [2, 4]), ([4, 8], [4, 2])] {
                let a = view(&[], false, m, k, false, 0);
                let b = view(&[], false, k, n, true, 0);
                let mm = MatMul { batch: Shape::SCALAR, m, n, k, a, b, epilogue: bias_relu(&[m, n], 1, 2) };
                let (x, y, bias) = (noise(m * k, 1), noise(k * n, 2), noise(n, 3));
                let want: Vec<f64> = expected(&mm, &x, &y).iter().enumerate().map(|(i, v)| (v + bias[i % n]).max(0.0)).collect();
                let lens = [(DType::F32, m * k), (DType::F32, k * n), (DType::F32, n), (DType::F32, m * n)];
                let plan = one_step(Kernel::MatMul(mm), &lens);
                let variant = Variant { tile, lanes, splits };
                let lowered = matmul::lower_with(&plan.steps[0], &plan, &Caps::webgpu_defaults(true), variant).unwrap();
                super::validate(&lowered);
                let target = Target { operand: Operand::Write, data: f32s(&vec![f64::NAN; m * n]) };
                let prepared = lab.prepare(&lowered, &[f32s(&x), f32s(&y), f32s(&bias)], &[target]);
                lab.run(&prepared, 1);
                let got = lab.read(&prepared, 0, DType::F32, m * n).to_f64();
                close(&format!("{m}x{n}x{k} {variant:?}"), &got, &want, 1e-4);
            }
        }
    }
}
