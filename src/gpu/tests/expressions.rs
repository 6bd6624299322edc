//! Elementwise kernels: views, functions, sources, and their translation for every backend.

use super::*;
use crate::graph::binary::Pairs;
use crate::math::portable;

#[test]
fn views_read_what_they_say() {
    let base = View::contiguous(Shape::of(&[3, 4, 5]));
    let rows = [
        ("identity", base),
        ("permuted", base.permute(&[2, 0, 1])),
        ("flipped", base.slice(&[2, 0, 4], &[-1, 1, -1], Shape::of(&[3, 4, 5]))),
        ("every other", base.slice(&[0, 1, 0], &[2, 2, 2], Shape::of(&[2, 2, 3]))),
        ("padded", base.pad(&[1, 0, 2], Shape::of(&[5, 5, 8]))),
        (
            "padded then flipped",
            base.pad(&[1, 0, 2], Shape::of(&[5, 5, 8])).slice(&[4, 4, 7], &[-1, -1, -2], Shape::of(&[5, 5, 4])),
        ),
        ("row broadcast", base.slice(&[1, 2, 0], &[1, 1, 1], Shape::of(&[1, 1, 5])).expand(Shape::of(&[4, 6, 5]))),
        ("column broadcast", base.slice(&[0, 0, 3], &[1, 1, 1], Shape::of(&[3, 4, 1])).expand(Shape::of(&[3, 4, 7]))),
        ("one element everywhere", base.slice(&[1, 1, 1], &[1, 1, 1], Shape::of(&[1, 1, 1])).expand(Shape::of(&[2, 3, 4]))),
        (
            "only padding",
            base.slice(&[0, 0, 0], &[1, 1, 1], Shape::of(&[1, 4, 5])).pad(&[1, 0, 0], Shape::of(&[2, 4, 5])).slice(
                &[0, 0, 0],
                &[1, 1, 1],
                Shape::of(&[1, 4, 5]),
            ),
        ),
        ("scalar", View::contiguous(Shape::SCALAR)),
    ];
    let data = floats(60);
    for (name, view) in rows {
        // Beside a contiguous operand of the same shape, so that merging has to respect both.
        let n = view.shape.numel();
        let mut expr = Expr::new(view.shape);
        let a = load(&mut expr, 0, view, DType::F32);
        let b = load(&mut expr, 1, View::contiguous(view.shape), DType::F32);
        let valid = expr.push(Term::Valid { view }, DType::Bool);
        let valid = expr.push(Term::Cast(valid), DType::F32);
        let sum = expr.push(Term::Binary(BinaryOp::Add, a, b), DType::F32);
        let root = expr.push(Term::Binary(BinaryOp::Add, sum, valid), DType::F32);
        let reads = [HostData::F32(data.clone()), HostData::F32(floats(n))];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (DType::F32, n), &[], &[]) else { return };
        let ones = through(&view, &[1.0; 60]);
        let want: Vec<f64> =
            through(&view, &data).iter().zip(floats(n)).zip(ones).map(|((a, b), v)| a + f64::from(b) + v).collect();
        close(&got, &want, 1e-6, name);
    }
}

#[test]
fn unary_functions_are_accurate() {
    let special =
        [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 88.5, -88.5, 1e-6, -1e-6, 0.5, 1.5, 2.5, -2.5, 1e-3, 30.0];
    let mut data: Vec<f32> = special.to_vec();
    data.extend(floats(1013));
    let shape = Shape::of(&[data.len()]);
    for &op in UnaryOp::ALL {
        let dtype = op.result(DType::F32);
        // Where every result is a number of f32, none may be off; else four ULPs, and more for what a tangent magnifies.
        let want: Vec<f64> = data.iter().map(|&x| op.of_f64(f64::from(x))).collect();
        let exact = want.iter().all(|&y| y.is_nan() || f64::from(y as f32) == y);
        let tolerance = match op {
            _ if exact => 0.0,
            UnaryOp::Tan => 2e-6,
            _ => 5e-7,
        };
        let mut expr = Expr::new(shape);
        let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
        let root = expr.push(Term::Unary(op, x), dtype);
        let reads = [HostData::F32(data.clone())];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (dtype, data.len()), &[], &[]) else {
            return;
        };
        for (i, ((g, x), want)) in got.to_f64().into_iter().zip(&data).zip(want).enumerate() {
            let overflow = want.abs() > f64::from(f32::MAX) && g.abs() == f64::INFINITY;
            let tiny = want.abs() < 2e-38 && g.abs() < 2e-38;
            let near = (g - want).abs() <= tolerance * want.abs() + if tolerance > 0.0 { 1e-7 } else { 0.0 };
            let same = g == want || (g.is_nan() && want.is_nan()) || overflow || tiny || near;
            assert!(same, "{op:?}({x}) = {g}, expected {want} (element {i})");
        }
    }
}

#[test]
fn large_angles_are_reduced_exactly() {
    let data: Vec<f32> = vec![1e4, 12345.678, -99999.5, 1e6, 1e10, -1e20, 3e38, 11.0, 355.0, -6.2831855];
    let shape = Shape::of(&[data.len()]);
    for (op, reference) in [(UnaryOp::Sin, portable::sin as fn(f64) -> f64), (UnaryOp::Cos, portable::cos)] {
        let mut expr = Expr::new(shape);
        let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
        let root = expr.push(Term::Unary(op, x), DType::F32);
        let reads = [HostData::F32(data.clone())];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (DType::F32, data.len()), &[], &[]) else {
            return;
        };
        let want: Vec<f64> = data.iter().map(|&x| reference(f64::from(x))).collect();
        close(&got, &want, 2e-7, &format!("{op:?}"));
    }
}

#[test]
fn erf_matches_tabled_values() {
    // Abramowitz and Stegun, table 7.1.
    let rows = [
        (0.0, 0.0),
        (0.1, 0.112_462_916),
        (0.5, 0.520_499_878),
        (1.0, 0.842_700_793),
        (1.5, 0.966_105_146),
        (2.0, 0.995_322_265),
        (-1.0, -0.842_700_793),
        (9.0, 1.0),
    ];
    let shape = Shape::of(&[rows.len()]);
    let mut expr = Expr::new(shape);
    let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
    let root = expr.push(Term::Unary(UnaryOp::Erf, x), DType::F32);
    let reads = [HostData::F32(rows.iter().map(|r| r.0 as f32).collect())];
    let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (DType::F32, rows.len()), &[], &[]) else { return };
    close(&got, &rows.map(|r| r.1), 2e-7, "erf");
}

#[test]
fn binary_functions_follow_their_definitions() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let t = |b: bool| f64::from(u8::from(b));
    let rows: Vec<(BinaryOp, f32, f32, f64)> = vec![
        (BinaryOp::Pow, -2.0, 3.0, -8.0),
        (BinaryOp::Pow, -2.0, 2.0, 4.0),
        (BinaryOp::Pow, nan, 0.0, 1.0),
        (BinaryOp::Pow, 2.0, -2.0, 0.25),
        (BinaryOp::Pow, -2.0, 0.5, f64::NAN),
        (BinaryOp::Pow, 2.0, 0.5, 2f64.sqrt()),
        (BinaryOp::Pow, 10.0, 2.5, 316.227_766_016_837_9),
        (BinaryOp::Pow, 0.0, 2.0, 0.0),
        (BinaryOp::Pow, 0.0, -1.0, f64::INFINITY),
        (BinaryOp::Rem, 5.5, 2.0, 1.5),
        (BinaryOp::Rem, -5.5, 2.0, 0.5),
        (BinaryOp::Rem, 5.5, -2.0, -0.5),
        (BinaryOp::Atan2, 1.0, -1.0, 1f64.atan2(-1.0)),
        (BinaryOp::Atan2, -3.0, 0.5, (-3f64).atan2(0.5)),
        (BinaryOp::Atan2, 0.0, 0.0, 0.0),
        (BinaryOp::Minimum, 1.0, nan, f64::NAN),
        (BinaryOp::Minimum, nan, 1.0, f64::NAN),
        (BinaryOp::Maximum, nan, -inf, f64::NAN),
        (BinaryOp::Maximum, 2.0, -inf, 2.0),
        (BinaryOp::Div, 1.0, 0.0, f64::INFINITY),
        (BinaryOp::Eq, nan, nan, t(false)),
        (BinaryOp::Ne, nan, nan, t(true)),
        (BinaryOp::Lt, nan, 1.0, t(false)),
        (BinaryOp::Ge, 2.0, 2.0, t(true)),
    ];
    let one = Shape::of(&[1]);
    for (op, a, b, want) in rows {
        let dtype = if op.is_comparison() { DType::Bool } else { DType::F32 };
        let mut expr = Expr::new(one);
        let x = load(&mut expr, 0, View::contiguous(one), DType::F32);
        let y = load(&mut expr, 1, View::contiguous(one), DType::F32);
        let root = expr.push(Term::Binary(op, x, y), dtype);
        let reads = [HostData::F32(vec![a]), HostData::F32(vec![b])];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (dtype, 1), &[], &[]) else { return };
        close(&got, &[want], 1e-6, &format!("{op:?}({a}, {b})"));
    }
    let rows = [
        (BinaryOp::Div, 7, 0, 0),
        (BinaryOp::Div, -7, 2, -3),
        (BinaryOp::Div, i32::MIN, -1, i32::MIN),
        (BinaryOp::Rem, -7, 3, 2),
        (BinaryOp::Rem, 7, -3, -2),
        (BinaryOp::Rem, 7, 0, 0),
        (BinaryOp::Pow, -2, 5, -32),
        (BinaryOp::Pow, 2, -1, 0),
        (BinaryOp::And, 12, 10, 8),
        (BinaryOp::Xor, 12, 10, 6),
        (BinaryOp::Maximum, -3, 2, 2),
    ];
    for (op, a, b, want) in rows {
        let mut expr = Expr::new(one);
        let x = load(&mut expr, 0, View::contiguous(one), DType::I32);
        let y = load(&mut expr, 1, View::contiguous(one), DType::I32);
        let root = expr.push(Term::Binary(op, x, y), DType::I32);
        let reads = [HostData::I32(vec![a]), HostData::I32(vec![b])];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (DType::I32, 1), &[], &[]) else { return };
        assert_eq!(got, HostData::I32(vec![want]), "{op:?}({a}, {b})");
    }
}

#[test]
fn casts_truncate_and_saturate() {
    let data = vec![1.9f32, -1.9, 3e9, -3e9, f32::NAN, 5e9, f32::INFINITY];
    let rows: [(DType, Vec<f64>); 3] = [
        (DType::I32, vec![1.0, -1.0, 2_147_483_647.0, -2_147_483_648.0, 0.0, 2_147_483_647.0, 2_147_483_647.0]),
        (DType::U32, vec![1.0, 0.0, 3e9, 0.0, 0.0, 4_294_967_295.0, 4_294_967_295.0]),
        (DType::Bool, vec![1.0; 7]),
    ];
    let shape = Shape::of(&[7]);
    for (to, want) in rows {
        let mut expr = Expr::new(shape);
        let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
        let root = expr.push(Term::Cast(x), to);
        let reads = [HostData::F32(data.clone())];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (to, 7), &[], &[]) else { return };
        close(&got, &want, 0.0, &format!("to {to}"));
    }
}

#[test]
fn sources_agree_with_the_host() {
    let shape = Shape::of(&[5, 7]);
    let random = RandomKey { key: [0x1319_8A2E, 0x0370_7344], offset: 9 };
    for (word, part) in [(RandomWord::First, 0), (RandomWord::Second, 1)] {
        let mut expr = Expr::new(shape);
        let root = expr.push(Term::Random { slot: 0, word, view: View::contiguous(shape) }, DType::U32);
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &[], (DType::U32, 35), &[], &[random]) else { return };
        let want: Vec<u32> = (0..35).map(|i| crate::rng::threefry2x32(random.key, [i, random.offset])[part]).collect();
        assert_eq!(got, HostData::U32(want));
    }
    // scalar * index + constants that WGSL cannot write or would fold to an error.
    let mut expr = Expr::new(shape);
    let index = expr.push(Term::Index { view: View::contiguous(shape) }, DType::F32);
    let scalar = expr.push(Term::Scalar { slot: 0 }, DType::F32);
    let product = expr.push(Term::Binary(BinaryOp::Mul, index, scalar), DType::F32);
    let large = expr.push(Term::Constant { bits: 3e38f64.to_bits() }, DType::F32);
    let square = expr.push(Term::Binary(BinaryOp::Mul, large, large), DType::F32);
    let infinity = expr.push(Term::Constant { bits: f64::INFINITY.to_bits() }, DType::F32);
    let clipped = expr.push(Term::Binary(BinaryOp::Minimum, square, infinity), DType::F32);
    let root = expr.push(Term::Binary(BinaryOp::Minimum, product, clipped), DType::F32);
    let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &[], (DType::F32, 35), &[0.1], &[]) else { return };
    let want: Vec<f64> = (0..35).map(|i| f64::from(i) * 0.1).collect();
    close(&got, &want, 1e-6, "scalar times index");
}

/// Every function on every dtype that it may meet: a name and a kernel's text.
fn all_functions() -> Vec<(String, String)> {
    let dtypes = [DType::F32, DType::I32, DType::U32, DType::Bool];
    let shape = Shape::of(&[3, 4]);
    let view = View::contiguous(shape);
    let mut rows = Vec::new();
    for dtype in dtypes {
        for &op in UnaryOp::ALL {
            let to = op.result(dtype);
            let mut expr = Expr::new(shape);
            let x = load(&mut expr, 0, view, dtype);
            let root = expr.push(Term::Unary(op, x), to);
            rows.push((format!("{op:?} of {dtype}"), expr.finish(root), vec![dtype], to));
        }
        for &op in BinaryOp::ALL {
            let float_only = op == BinaryOp::Atan2;
            let int_only = op.pairs() == Pairs::Logic;
            let number = matches!(op, BinaryOp::Div | BinaryOp::Pow | BinaryOp::Rem) && dtype == DType::Bool;
            if (float_only && !dtype.is_float()) || (int_only && dtype.is_float()) || number {
                continue;
            }
            let to = if op.is_comparison() { DType::Bool } else { dtype };
            let mut expr = Expr::new(shape);
            let (a, b) = (load(&mut expr, 0, view, dtype), load(&mut expr, 1, view, dtype));
            let root = expr.push(Term::Binary(op, a, b), to);
            rows.push((format!("{op:?} of {dtype}"), expr.finish(root), vec![dtype; 2], to));
        }
        for to in dtypes {
            let mut expr = Expr::new(shape);
            let x = load(&mut expr, 0, view, dtype);
            let root = expr.push(Term::Cast(x), to);
            rows.push((format!("{dtype} to {to}"), expr.finish(root), vec![dtype], to));
        }
    }
    rows.into_iter()
        .map(|(name, expr, reads, to)| {
            let infos: Vec<(DType, usize)> = reads.into_iter().map(|d| (d, 12)).collect();
            let plan = one_step(Kernel::Elementwise(expr), &infos, (to, 12));
            let mut lowered = kernels::lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(false)).expect("lowers");
            (name, lowered.programs.remove(0).source)
        })
        .collect()
}

#[test]
fn every_function_translates_for_every_backend() {
    use naga::back::{hlsl, msl, spv};
    for (name, source) in all_functions() {
        let (module, info) = validate(&source);
        let options = spv::Options { flags: spv::WriterFlags::empty(), ..Default::default() };
        spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{name} as SPIR-V: {e}"));
        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{name} as MSL: {e}"));
        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, fake_missing_bindings: true, ..Default::default() };
        let pipeline = hlsl::PipelineOptions::default();
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{name} as HLSL: {e}"));
    }
}
