//! Matrix products: layouts, odd sizes, batches, offsets, splits and epilogues.

use super::{Variants, close, each_variant, f32s, noise, plan_of, run, texts, thorough, validate};
use crate::dtype::{DType, HostData};
use crate::gpu::kernels::lab::{Lab, Target, bias_relu};
use crate::gpu::kernels::matmul::{FORCED, Variant, lower_with, select};
use crate::gpu::program::{Caps, Operand};
use crate::plan::{Expr, Further, Kernel, MatMul, MatrixView};
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

/// (batch, m, n, k, lhs transposed, rhs transposed, offset, lhs shared by the batch)
type Row = (&'static [usize], usize, usize, usize, bool, bool, usize, bool);

/// A product, its operands, and its result.
fn product((batch, m, n, k, ta, tb, offset, shared): Row) -> (MatMul, [Vec<f64>; 2], Vec<f64>) {
    let a = view(batch, shared, m, k, ta, offset);
    let b = view(batch, false, k, n, tb, offset);
    let operands = [noise(extent(&a, batch, m, k), 1), noise(extent(&b, batch, k, n), 2)];
    let mut shape = batch.to_vec();
    shape.extend([m, n]);
    let mm =
        MatMul { batch: Shape::of(batch), m, n, k, a, b, epilogue: Expr::identity(Shape::of(&shape), DType::F32), sums: None };
    let want = expected(&mm, &operands[0], &operands[1]);
    (mm, operands, want)
}

#[test]
fn matmul_matches_loops() {
    let lab = Lab::open(true).unwrap();
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
    for &row in rows {
        let (mm, [x, y], want) = product(row);
        let got = run(&lab, Kernel::MatMul(mm), &[f32s(&x), f32s(&y)], want.len());
        close(&format!("{row:?}"), &got, &want, 1e-5 * (row.3 as f64).sqrt());
    }
}

#[test]
fn every_variant_matches_loops() {
    let lab = Lab::open(true).unwrap();
    // Each path of both operands, edges in every direction, batches, and an inner dimension that splits unevenly.
    let rows: &[Row] = &[
        (&[], 1, 1, 1, false, false, 0, false),
        (&[], 17, 65, 33, false, true, 0, false),
        (&[], 65, 17, 5, true, false, 0, false),
        (&[], 68, 64, 32, true, false, 4, false),
        (&[], 20, 32, 16, false, false, 3, false),
        (&[], 8, 12, 515, true, true, 0, false),
        (&[2, 3], 8, 9, 8, false, true, 0, true),
        // At the edges of tiles.
        (&[], 129, 127, 17, true, true, 0, false),
        (&[], 127, 132, 8, false, false, 0, false),
    ];
    for (n, &row) in rows.iter().enumerate() {
        let (mm, [x, y], want) = product(row);
        let reads = [f32s(&x), f32s(&y)];
        let tolerance = 1e-5 * (row.3 as f64).sqrt();
        let of = [Variants::Short, Variants::Whole, Variants::ShortQuarter][n.min(2)];
        assert!(each_variant(&lab, of, &Kernel::MatMul(mm), &reads, (&format!("{row:?}"), &want), tolerance) > 1);
    }
}

#[test]
fn every_variant_applies_the_epilogue_once() {
    let lab = Lab::open(true).unwrap();
    for (m, n, k) in [(13, 24, 40), (24, 13, 40), (9, 7, 515)] {
        let a = view(&[], false, m, k, false, 0);
        let b = view(&[], false, k, n, true, 0);
        let mm = MatMul { batch: Shape::SCALAR, m, n, k, a, b, epilogue: bias_relu(&[m, n], 1, 2), sums: None };
        let (x, y, bias) = (noise(m * k, 1), noise(k * n, 2), noise(n, 3));
        let want: Vec<f64> = expected(&mm, &x, &y).iter().enumerate().map(|(i, v)| (v + bias[i % n]).max(0.0)).collect();
        let reads = [f32s(&x), f32s(&y), f32s(&bias)];
        let what = format!("{m}x{n}x{k}");
        let of = if k == 515 { Variants::Whole } else { Variants::Short };
        assert!(each_variant(&lab, of, &Kernel::MatMul(mm), &reads, (&what, &want), 1e-4) > 1);
    }
}

#[test]
fn sums_of_lines_are_written_besides() {
    let lab = Lab::open(true).unwrap();
    // Lines that are neighbours, as fours and one by one, and lines that are not; whole tiles, edges, and parts of the inner dimension.
    let rows: &[Row] = &[
        (&[], 65, 17, 5, true, false, 0, false),
        (&[], 33, 30, 19, false, true, 0, false),
        (&[], 132, 140, 100, true, false, 4, false),
    ];
    let (whole, lab) = (thorough(), if thorough() { lab } else { lab.unchecked() });
    let caps = texts(Caps::webgpu_defaults(true), whole);
    for &row in rows {
        let (mm, [x, y], want) = product(row);
        let (m, n, k) = (mm.m as i64, mm.n as i64, mm.k as i64);
        let line = |data: &[f64], v: &MatrixView, i: i64, along: [i64; 2]| -> f64 {
            (0..k).map(|s| data[(v.offset + i * along[0] + s * along[1]) as usize]).sum()
        };
        let expected: [Vec<f64>; 2] = [
            (0..m).map(|i| line(&x, &mm.a, i, [mm.a.row, mm.a.col])).collect(),
            (0..n).map(|i| line(&y, &mm.b, i, [mm.b.col, mm.b.row])).collect(),
        ];
        let reads = [f32s(&x), f32s(&y)];
        for (half, expected) in expected.iter().enumerate() {
            let mut mm = mm.clone();
            let expr = Expr::identity(Shape::of(&[expected.len()]), DType::F32);
            mm.sums = Some(Box::new(Further { half, expr, buffer: 2 }));
            let [out, sums] = [want.len(), expected.len()].map(|len| HostData::F32(vec![f32::NAN; len]));
            let plan = plan_of(Kernel::MatMul(mm.clone()), &reads, &out);
            let all = |variant: &&Variant| {
                whole || matches!(variant, Variant::Tiled { .. } | Variant::Register { splits: 3, tile: [4, 4], .. })
            };
            for &variant in FORCED.iter().filter(all) {
                let lowered = lower_with(&plan.steps[0], &plan, &caps, variant).unwrap();
                validate(&lowered);
                let targets = [(Operand::Write, out.clone()), (Operand::Further(0), sums.clone())];
                let targets = targets.map(|(operand, data)| Target { operand, data });
                let prepared = lab.prepare(&lowered, &reads, &targets);
                lab.run(&prepared, 1);
                let read = |target, len| lab.read(&prepared, target, DType::F32, len).to_f64();
                let what = format!("{row:?}, half {half}, {variant:?}");
                let tolerance = 1e-5 * (k as f64).sqrt();
                close(&what, &read(0, want.len()), &want, tolerance);
                close(&what, &read(1, expected.len()), expected, tolerance);
            }
        }
    }
}

/// (batch, m, n, k, the block and the parts of the inner dimension that hardware takes; none for a reduction)
type Choice = (&'static [usize], usize, usize, usize, Option<([usize; 2], usize)>);

#[test]
fn hardware_takes_the_largest_tile_that_fills_it() {
    let caps = Caps::webgpu_defaults(false);
    let rows: &[Choice] = &[
        (&[], 2048, 2048, 2048, Some(([128, 128], 1))),
        (&[], 1408, 1536, 1024, Some(([128, 128], 2))),
        (&[], 1024, 1024, 1024, Some(([128, 64], 2))),
        (&[], 1023, 1023, 1023, Some(([128, 64], 2))),
        (&[], 512, 512, 512, Some(([128, 128], 6))),
        (&[], 2048, 768, 768, Some(([64, 64], 1))),
        (&[], 64, 64, 131_072, Some(([64, 64], 384))),
        (&[12, 8], 256, 256, 64, Some(([128, 128], 1))),
        (&[], 8192, 10, 784, Some(([32, 32], 2))),
        (&[], 8192, 2, 784, Some(([32, 32], 2))),
        (&[], 1, 4096, 4096, None),
        (&[], 4096, 1, 4096, None),
    ];
    let of = |batch: &[usize], m: usize, n: usize, k: usize, caps: &Caps| {
        let (a, b) = (view(batch, false, m, k, false, 0), view(batch, false, k, n, false, 0));
        let mut shape = batch.to_vec();
        shape.extend([m, n]);
        let epilogue = Expr::identity(Shape::of(&shape), DType::F32);
        match select(&MatMul { batch: Shape::of(batch), m, n, k, a, b, epilogue, sums: None }, caps) {
            Variant::Register { tile, lanes, splits } => Some(([tile[0] * lanes[0], tile[1] * lanes[1]], splits)),
            Variant::Tiled { tile, splits } => Some(([tile.rows, tile.columns], splits)),
            Variant::Reduction => None,
        }
    };
    let mut wrong = Vec::new();
    for &(batch, m, n, k, expected) in rows {
        let got = of(batch, m, n, k, &caps);
        if got != expected {
            wrong.push(format!("{batch:?} {m}x{n}x{k}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // From a GFLOP on there are 256 workgroups, from 128 tiles of 128 x 128 on nothing smaller, and small devices take smaller tiles.
    let small = Caps { max_invocations: 64, workgroup_memory: 5 << 10, ..caps };
    let sizes = [2, 3, 16, 63, 64, 65, 100, 127, 128, 129, 500, 784, 1000, 2048, 4097, 50_257];
    for (m, n, k) in sizes.iter().flat_map(|&m| sizes.iter().flat_map(move |&n| sizes.map(|k| (m, n, k)))) {
        for caps in [caps, small] {
            let (block, splits) = of(&[], m, n, k, &caps).expect("no vector");
            let groups = m.div_ceil(block[0]) * n.div_ceil(block[1]) * splits;
            assert!(2 * m * n * k < 1_000_000_000 || groups >= 256, "{m}x{n}x{k}: {groups} workgroups of {block:?}");
            assert!(caps != small || block[0] * block[1] <= 64 * 64, "{m}x{n}x{k}: {block:?} on a small device");
        }
        let whole = m % 128 == 0 && n % 128 == 0 && m / 128 * (n / 128) >= 128;
        assert!(!whole || of(&[], m, n, k, &caps).is_some_and(|(block, _)| block == [128, 128]), "{m}x{n}x{k}");
    }
}
