//! Each kernel on odd sizes.

use super::*;
use crate::graph::View;
use crate::graph::binary::Pairs;
use crate::graph::op::{BinaryOp, PairOp, PoolOp, PoolSpec, RandomWord, ReduceOp, RowOp, UnaryOp};
use crate::graph::unary::Takes;
use crate::plan::expr::{Expr, Term};
use crate::plan::{MatMul, MatrixView, Row};

fn cpu() -> CpuExecutor {
    CpuExecutor::new().expect("threads can be started")
}

fn rows_of(op: RowOp, x: [usize; 2], out: [usize; 2]) -> Kernel {
    Kernel::Row(Row { op, x, out })
}

/// An expression that loads `views[i]` of operand i, one f32 term each.
fn loads(shape: Shape, views: &[(View, DType)]) -> Expr {
    let mut expr = Expr::new(shape);
    for (operand, &(view, dtype)) in views.iter().enumerate() {
        expr.push(Term::Load { operand, view }, dtype);
    }
    expr
}

#[test]
fn unary_functions() {
    let cpu = cpu();
    for &op in UnaryOp::ALL {
        // A truth value's own test is that of logic.
        if op.takes() == Takes::Truth {
            continue;
        }
        let dtype = op.result(DType::F32);
        for n in [1, 1500] {
            let mut case = Case::new();
            let x = case.float_leaf(&[n]);
            case.node(Op::Unary(op), &[x], &[n], dtype);
            let shape = Shape::of(&[n]);
            let mut expr = loads(shape, &[(View::contiguous(shape), DType::F32)]);
            expr.push(Term::Unary(op, 0), dtype);
            // Near its poles a tangent magnifies what f32 lost of its argument.
            case.check(&format!("{op:?}"), &cpu, Kernel::Elementwise(expr), if op == UnaryOp::Tan { 2e-5 } else { 1e-6 });
        }
    }
}

#[test]
fn binary_functions_of_floats_and_integers() {
    let cpu = cpu();
    for &op in BinaryOp::ALL {
        for dtype in [DType::F32, DType::I32, DType::U32, DType::Bool] {
            let skip = match dtype {
                DType::F32 => op.pairs() == Pairs::Logic,
                DType::Bool => !matches!(op.pairs(), Pairs::Logic | Pairs::Equality),
                _ => op == BinaryOp::Atan2,
            };
            if skip {
                continue;
            }
            let n = 1100;
            let mut case = Case::new();
            for seed in 0..2 {
                let data = match dtype {
                    DType::F32 => floats(n, seed),
                    DType::I32 => ints(n, seed, -5, 11),
                    DType::U32 | DType::Bool => match ints(n, seed, 0, if dtype == DType::Bool { 2 } else { 9 }) {
                        HostData::I32(v) => HostData::U32(v.into_iter().map(|x| x as u32).collect()),
                        other => other,
                    },
                    DType::F64 | DType::F16 | DType::U8 => unreachable!("not in the table"),
                };
                case.leaf(&[n], dtype, data);
            }
            let result = if op.is_comparison() { DType::Bool } else { dtype };
            case.node(Op::Binary(op), &[0, 1], &[n], result);
            let view = View::contiguous(Shape::of(&[n]));
            let mut expr = loads(view.shape, &[(view, dtype), (view, dtype)]);
            expr.push(Term::Binary(op, 0, 1), result);
            case.check(&format!("{op:?} {dtype}"), &cpu, Kernel::Elementwise(expr), 2e-6);
        }
    }
}

#[test]
fn casts_selects_scalars_and_sources() {
    let cpu = cpu();
    let n = 2500;
    let shape = Shape::of(&[n]);
    let view = View::contiguous(shape);
    for (from, to) in [
        (DType::F32, DType::I32),
        (DType::F32, DType::U32),
        (DType::F32, DType::Bool),
        (DType::I32, DType::F32),
        (DType::I32, DType::U32),
        (DType::I32, DType::Bool),
        (DType::I32, DType::I32),
    ] {
        let mut case = Case::new();
        let data = if from == DType::F32 { floats(n, 3) } else { ints(n, 3, -3, 7) };
        case.leaf(&[n], from, data);
        case.node(Op::Cast, &[0], &[n], to);
        let mut expr = loads(shape, &[(view, from)]);
        expr.push(Term::Cast(0), to);
        case.check(&format!("cast {from} to {to}"), &cpu, Kernel::Elementwise(expr), 0.0);
    }
    // where(x > s, x, iota)
    let mut case = Case::new();
    case.scalars = vec![0.25];
    let x = case.float_leaf(&[n]);
    let s = case.node(Op::Scalar, &[], &[], DType::F32);
    let s = case.node(Op::Reshape, &[s], &[1], DType::F32);
    let s = case.node(Op::Expand, &[s], &[n], DType::F32);
    let iota = case.node(Op::Iota, &[], &[n], DType::F32);
    let greater = case.node(Op::Binary(BinaryOp::Gt), &[x, s], &[n], DType::Bool);
    case.node(Op::Where, &[greater, x, iota], &[n], DType::F32);
    let mut expr = loads(shape, &[(view, DType::F32)]);
    expr.push(Term::Scalar { slot: 0 }, DType::F32);
    expr.push(Term::Binary(BinaryOp::Gt, 0, 1), DType::Bool);
    expr.push(Term::Index { view }, DType::F32);
    expr.push(Term::Select(2, 0, 3), DType::F32);
    case.check("where", &cpu, Kernel::Elementwise(expr), 0.0);
    for word in [RandomWord::First, RandomWord::Second] {
        let mut case = Case::new();
        case.randoms = vec![RandomKey { key: [7, 8], offset: 9 }];
        case.node(Op::Random(word), &[], &[n], DType::U32);
        let mut expr = Expr::new(shape);
        expr.push(Term::Random { slot: 0, word, view }, DType::U32);
        case.check("random", &cpu, Kernel::Elementwise(expr), 0.0);
    }
}

#[test]
fn padded_views_and_their_masks() {
    let cpu = cpu();
    let mut case = Case::new();
    let x = case.float_leaf(&[5, 7]);
    let p = case.node(Op::Permute(vec![1, 0]), &[x], &[7, 5], DType::F32);
    let p = case.node(Op::Pad { before: vec![2, 1] }, &[p], &[10, 300], DType::F32);
    case.node(Op::Unary(UnaryOp::Exp), &[p], &[10, 300], DType::F32);
    let shape = Shape::of(&[10, 300]);
    let view = View::contiguous(Shape::of(&[5, 7])).permute(&[1, 0]).pad(&[2, 1], shape);
    let mut expr = loads(shape, &[(view, DType::F32)]);
    expr.push(Term::Unary(UnaryOp::Exp, 0), DType::F32);
    case.check("exp of pad", &cpu, Kernel::Elementwise(expr.clone()), 1e-6);
    // Pad of exp: 0 where there is no element.
    let mut case = Case::new();
    let x = case.float_leaf(&[5, 7]);
    let e = case.node(Op::Unary(UnaryOp::Exp), &[x], &[5, 7], DType::F32);
    let p = case.node(Op::Permute(vec![1, 0]), &[e], &[7, 5], DType::F32);
    case.node(Op::Pad { before: vec![2, 1] }, &[p], &[10, 300], DType::F32);
    let valid = expr.push(Term::Valid { view }, DType::Bool);
    let zero = expr.push(Term::Constant { bits: 0 }, DType::F32);
    expr.push(Term::Select(valid, 1, zero), DType::F32);
    case.check("pad of exp", &cpu, Kernel::Elementwise(expr), 1e-6);
}

/// Shapes, and the axes that are reduced.
const REDUCED: &[(&[usize], &[usize])] = &[
    (&[1], &[0]),
    (&[3, 5], &[1]),
    (&[3, 5], &[0]),
    (&[200_003], &[0]),
    (&[2, 100_001], &[1]),
    (&[70_000, 3], &[0]),
    (&[131, 517], &[0]),
    (&[7, 9001], &[0]),
    (&[4, 6, 5, 3], &[0, 2, 3]),
    (&[4, 6, 5, 3], &[1, 3]),
    (&[0, 4], &[0]),
    (&[4, 0], &[0]),
    (&[2000, 3], &[1]),
];

#[test]
fn reductions_in_both_layouts() {
    let cpu = cpu();
    for &(shape, axes) in REDUCED {
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
            for dtype in [DType::F32, DType::I32] {
                let extent = Shape::of(shape);
                if matches!(op, ReduceOp::Max | ReduceOp::Min) && extent.numel() == 0 {
                    continue;
                }
                let mut case = Case::new();
                let data = if dtype == DType::F32 { floats(extent.numel(), 5) } else { ints(extent.numel(), 5, -9, 19) };
                case.leaf(shape, dtype, data);
                let out = axes.iter().fold(extent, |s, &a| s.with(a, 1));
                case.node(Op::Reduce { op, axes: axes.to_vec() }, &[0], &out, dtype);
                let order: Vec<usize> = (0..shape.len()).filter(|d| !axes.contains(d)).chain(axes.iter().copied()).collect();
                let view = View::contiguous(extent).permute(&order);
                let value = loads(view.shape, &[(view, dtype)]);
                let kept = shape.len() - axes.len();
                let epilogue = Expr::identity(Shape::of(&view.shape[..kept]), dtype);
                let kernel = Kernel::Reduce { op, value, kept, epilogue };
                case.check(&format!("{op:?} of {shape:?} over {axes:?} in {dtype}"), &cpu, kernel, 2e-6 * 30.0);
            }
        }
    }
}

#[test]
fn pairs_in_both_layouts() {
    let cpu = cpu();
    let all = REDUCED.iter().copied().chain([(&[3, 5][..], &[][..])]);
    // Pairs of nothing are constants of the plan.
    for (shape, axes) in all.filter(|(shape, _)| !shape.contains(&0)) {
        let extent = Shape::of(shape);
        for op in [PairOp::Moments, PairOp::Sums] {
            let mut case = Case::new();
            let columns: usize = (0..shape.len()).filter(|d| !axes.contains(d)).map(|d| shape[d]).product();
            let inputs: usize = if op == PairOp::Moments { 1 } else { 2 };
            for k in 0..inputs {
                case.leaf(shape, DType::F32, floats(extent.numel(), 5 + k as u32));
            }
            case.node(Op::Pair { op, axes: axes.to_vec() }, &(0..inputs).collect::<Vec<_>>(), &[2, columns], DType::F32);
            let order: Vec<usize> = (0..shape.len()).filter(|d| !axes.contains(d)).chain(axes.iter().copied()).collect();
            let view = View::contiguous(extent).permute(&order);
            let mut value = Expr::new(view.shape);
            for operand in 0..inputs {
                value.push(Term::Load { operand, view }, DType::F32);
            }
            if inputs == 2 {
                value.push(Term::Pair(0, 1), DType::F32);
            }
            let kernel = Kernel::Pair { op, value, kept: shape.len() - axes.len(), further: Vec::new() };
            case.check(&format!("{op:?} of {shape:?} over {axes:?}"), &cpu, kernel, 2e-6);
        }
    }
}

#[test]
fn arg_reductions() {
    let cpu = cpu();
    for (shape, axis) in [(&[3usize, 50][..], 1), (&[50, 3], 0), (&[4, 5, 6], 1), (&[1, 3000], 1)] {
        for op in [ReduceOp::Max, ReduceOp::Min] {
            let extent = Shape::of(shape);
            let mut case = Case::new();
            case.leaf(shape, DType::F32, floats(extent.numel(), 2));
            case.node(Op::ArgReduce { op, axis }, &[0], &extent.with(axis, 1), DType::I32);
            let order: Vec<usize> = (0..shape.len()).filter(|&d| d != axis).chain([axis]).collect();
            let view = View::contiguous(extent).permute(&order);
            let kernel = Kernel::ArgReduce { op, value: loads(view.shape, &[(view, DType::F32)]) };
            case.check(&format!("arg {op:?} of {shape:?}"), &cpu, kernel, 0.0);
        }
    }
}

#[test]
fn matrix_products_with_epilogue() {
    let cpu = cpu();
    // (batch, m, n, k, a transposed, b transposed)
    type Row = (&'static [usize], usize, usize, usize, bool, bool);
    let rows: &[Row] = &[
        (&[], 1, 1, 1, false, false),
        (&[], 3, 5, 7, false, true),
        (&[], 20, 50, 70, false, true),
        (&[], 65, 33, 130, true, false),
        (&[], 17, 1, 200, false, false),
        (&[], 2, 3, 0, false, false),
        (&[5], 4, 3, 2, true, true),
        (&[2, 3], 31, 9, 12, false, false),
        (&[40], 20, 20, 20, false, true),
    ];
    for &(batch, m, n, k, ta, tb) in rows {
        let shape = |last: [usize; 2]| [batch, &last[..]].concat();
        let rank = batch.len() + 2;
        let swap: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        let mut case = Case::new();
        let mut a = case.float_leaf(&shape(if ta { [k, m] } else { [m, k] }));
        let mut b = case.float_leaf(&shape(if tb { [n, k] } else { [k, n] }));
        let bias = case.float_leaf(&[n]);
        if ta {
            a = case.node(Op::Permute(swap.clone()), &[a], &shape([m, k]), DType::F32);
        }
        if tb {
            b = case.node(Op::Permute(swap.clone()), &[b], &shape([k, n]), DType::F32);
        }
        let out = Shape::of(&shape([m, n]));
        let product = case.node(Op::MatMul, &[a, b], &out, DType::F32);
        let ones: Vec<usize> = vec![1; rank - 1];
        let wide = case.node(Op::Reshape, &[bias], &[&ones[..], &[n]].concat(), DType::F32);
        let wide = case.node(Op::Expand, &[wide], &out, DType::F32);
        let sum = case.node(Op::Binary(BinaryOp::Add), &[product, wide], &out, DType::F32);
        case.node(Op::Unary(UnaryOp::Relu), &[sum], &out, DType::F32);
        let mut epilogue = Expr::new(out);
        epilogue.push(Term::Acc, DType::F32);
        let view = View::contiguous(Shape::of(&[&ones[..], &[n]].concat())).expand(out);
        epilogue.push(Term::Load { operand: 2, view }, DType::F32);
        epilogue.push(Term::Binary(BinaryOp::Add, 0, 1), DType::F32);
        epilogue.push(Term::Unary(UnaryOp::Relu, 2), DType::F32);
        let strides = |each: usize| -> Vec<i64> { Shape::of(batch).strides().iter().map(|&s| (s * each) as i64).collect() };
        let view = |rows: usize, cols: usize, transposed: bool| MatrixView {
            batch: strides(rows * cols),
            row: if transposed { 1 } else { cols as i64 },
            col: if transposed { rows as i64 } else { 1 },
            offset: 0,
        };
        let kernel = MatMul { batch: Shape::of(batch), m, n, k, a: view(m, k, ta), b: view(k, n, tb), epilogue, sums: None };
        case.check(&format!("{batch:?} x {m} x {n} x {k}"), &cpu, Kernel::MatMul(kernel), 1e-5);
    }
}

#[test]
fn pooling() {
    let cpu = cpu();
    let plain = PoolSpec { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], count_include_pad: true };
    let rows = [
        ([2, 3, 8, 6], plain),
        ([2, 3, 7, 9], plain),
        ([3, 1, 7, 5], PoolSpec { kernel: [3, 3], stride: [2, 1], padding: [1, 1], ..plain }),
        ([3, 1, 7, 5], PoolSpec { kernel: [3, 3], stride: [2, 1], padding: [1, 1], count_include_pad: false, ..plain }),
        ([1, 2, 9, 9], PoolSpec { kernel: [2, 3], stride: [1, 2], dilation: [2, 3], ..plain }),
        ([1, 1, 4, 4], PoolSpec { kernel: [4, 4], stride: [4, 4], ..plain }),
        ([1, 1, 1, 1], PoolSpec { stride: [1, 1], padding: [1, 1], dilation: [2, 2], count_include_pad: false, ..plain }),
    ];
    for (x, spec) in rows {
        let y = [x[0], x[1], spec.output(0, x[2]).expect("fits"), spec.output(1, x[3]).expect("fits")];
        for (op, operands, out) in [
            (PoolOp::Max, vec![x], y),
            (PoolOp::MaxScatter, vec![x, y], x),
            (PoolOp::MaxSelect, vec![x, x], y),
            (PoolOp::Avg, vec![x], y),
            (PoolOp::AvgScatter, vec![y], x),
        ] {
            for with_nan in [false, true] {
                let mut case = Case::new();
                let inputs: Vec<usize> = operands.iter().map(|s| case.float_leaf(s)).collect();
                if let (true, HostData::F32(v)) = (with_nan, &mut case.leaves[0]) {
                    // Coarse values make ties; a NaN must win.
                    v.iter_mut().for_each(|v| *v = v.round());
                    let middle = v.len() / 2;
                    v[middle] = f32::NAN;
                }
                case.node(Op::Pool(op, spec), &inputs, &out, DType::F32);
                case.check(&format!("{op:?} {x:?} {spec:?}"), &cpu, Kernel::Pool { op, spec, x, y }, 1e-6);
            }
        }
    }
}

#[test]
fn softmax_and_cross_entropy() {
    let cpu = cpu();
    for (rows, cols) in [(1, 1), (3, 10), (5, 17), (700, 33), (2, 5000)] {
        let infinite_row = |case: &mut Case| {
            if let HostData::F32(v) = &mut case.leaves[0] {
                v[..cols].fill(f32::NEG_INFINITY);
            }
        };
        for log in [false, true] {
            for masked in [false, true] {
                let mut case = Case::new();
                let x = case.float_leaf(&[rows, cols]);
                if masked {
                    infinite_row(&mut case);
                }
                case.node(Op::Row(RowOp::Softmax { log }), &[x], &[rows, cols], DType::F32);
                case.check(
                    &format!("softmax {rows} x {cols} {log}"),
                    &cpu,
                    rows_of(RowOp::Softmax { log }, [rows, cols], [rows, cols]),
                    2e-6,
                );
            }
        }
        for log in [false, true] {
            let mut case = Case::new();
            let (y, ct) = (case.float_leaf(&[rows, cols]), case.float_leaf(&[rows, cols]));
            if log {
                infinite_row(&mut case);
            }
            let op = RowOp::SoftmaxGrad { log };
            case.node(Op::Row(op), &[y, ct], &[rows, cols], DType::F32);
            case.check(&format!("softmax gradient {rows} x {cols} {log}"), &cpu, rows_of(op, [rows, cols], [rows, cols]), 1e-5);
        }
        let mut case = Case::new();
        let x = case.float_leaf(&[rows, cols]);
        infinite_row(&mut case);
        let labels = case.leaf(&[rows], DType::I32, ints(rows, 1, -1, cols as u32 + 2));
        case.node(Op::Row(RowOp::CrossEntropy), &[x, labels], &[3, rows], DType::F32);
        case.check(&format!("cross-entropy {rows} x {cols}"), &cpu, rows_of(RowOp::CrossEntropy, [rows, cols], [3, rows]), 2e-6);
        let mut case = Case::new();
        let x = case.float_leaf(&[rows, cols]);
        infinite_row(&mut case);
        let labels = case.leaf(&[rows], DType::I32, ints(rows, 1, -1, cols as u32 + 2));
        let kept = case.float_leaf(&[3, rows]);
        if let HostData::F32(v) = &mut case.leaves[2] {
            // A row of only -∞, and sums that are at least the largest element's 1.
            v[rows] = f32::NEG_INFINITY;
            v[2 * rows..].iter_mut().for_each(|sum| *sum = 1.0 + sum.abs());
            v[2 * rows] = 0.0;
        }
        let ct = case.float_leaf(&[rows]);
        case.node(Op::Row(RowOp::CrossEntropyGrad), &[x, labels, kept, ct], &[rows, cols], DType::F32);
        case.check(
            &format!("its gradient {rows} x {cols}"),
            &cpu,
            rows_of(RowOp::CrossEntropyGrad, [rows, cols], [rows, cols]),
            2e-6,
        );
    }
}

#[test]
fn rows_by_index() {
    let cpu = cpu();
    for (rows, cols, n) in [(1, 1, 1), (5, 3, 20), (50, 65, 3000), (5000, 40, 9), (3, 7, 0), (0, 3, 4)] {
        let index = ints(n, 4, -1, rows as u32 + 2);
        let mut case = Case::new();
        let table = case.float_leaf(&[rows, cols]);
        let i = case.leaf(&[n], DType::I32, index.clone());
        case.node(Op::Row(RowOp::Gather), &[table, i], &[n, cols], DType::F32);
        case.check("gather", &cpu, rows_of(RowOp::Gather, [rows, cols], [n, cols]), 0.0);
        let mut case = Case::new();
        let src = case.float_leaf(&[n, cols]);
        let i = case.leaf(&[n], DType::I32, index);
        case.node(Op::Row(RowOp::ScatterAdd), &[src, i], &[rows, cols], DType::F32);
        case.check("scatter_add", &cpu, rows_of(RowOp::ScatterAdd, [n, cols], [rows, cols]), 1e-5);
    }
}

#[test]
fn checks_of_indices() {
    let cpu = cpu();
    for (n, len, site) in [(1, 1, 1), (20, 5, 2), (3000, 8, 3), (7, u32::MAX, 4), (0, 3, 5)] {
        for (low, before) in [(0, 0), (-1, 0), (-1, 8)] {
            let mut case = Case::new();
            let index = case.leaf(&[n], DType::I32, ints(n, 4, low, 7));
            let flag = case.leaf(&[4], DType::I32, HostData::I32(vec![before, 1, -2, 3]));
            case.node(Op::Row(RowOp::Check { len, site }), &[index, flag], &[4], DType::I32);
            let kernel = rows_of(RowOp::Check { len, site }, [1, n], [1, 4]);
            case.check(&format!("check of {n}, {len}, from {low}, after {before}"), &cpu, kernel, 0.0);
        }
    }
}

#[test]
fn orders_of_rows() {
    let cpu = cpu();
    for (rows, cols) in [(1, 1), (7, 5), (3, 700), (2, 40_000), (40_000, 2), (0, 3), (3, 0)] {
        for descending in [false, true] {
            let mut floating = match floats(rows * cols, 3) {
                HostData::F32(v) => v.into_iter().map(|v| (v * 40.0).round()).collect(),
                _ => vec![],
            };
            let odd = [f32::NAN, -0.0, 0.0, f32::INFINITY, -f32::NAN, f32::NEG_INFINITY, -1e-40, 1e-40];
            floating.iter_mut().step_by(5).zip(odd).for_each(|(v, odd)| *v = odd);
            let words = (0..rows * cols).map(|i| (i as u32).wrapping_mul(0x9e37_79b9) >> 28 << 28).collect();
            for (dtype, data) in [
                (DType::F32, HostData::F32(floating)),
                (DType::I32, ints(rows * cols, 1, -20, 40)),
                (DType::U32, HostData::U32(words)),
            ] {
                let mut case = Case::new();
                let x = case.leaf(&[rows, cols], dtype, data);
                case.node(Op::Row(RowOp::ArgSort { descending }), &[x], &[rows, cols], DType::I32);
                let kernel = rows_of(RowOp::ArgSort { descending }, [rows, cols], [rows, cols]);
                case.check(&format!("argsort of {rows} x {cols} {dtype}, {descending}"), &cpu, kernel, 0.0);
            }
        }
    }
}
