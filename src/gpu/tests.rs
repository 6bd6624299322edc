//! Small hand-written plans on a software adapter, against plain loops. Without an adapter the tests pass vacuously.

use super::context::{self, Options};
use super::kernels;
use super::program::Caps;
use super::{Buffer, GpuExecutor};
use crate::dtype::{DType, HostData};
use crate::graph::View;
use crate::graph::op::{BinaryOp, RandomWord, ReduceOp, UnaryOp};
use crate::plan::{Bindings, BufferInfo, Expr, Kernel, Leaf, Place, Plan, RandomKey, Step, Storage, Term};
use crate::shape::Shape;
use std::sync::{Arc, OnceLock};

/// The software adapter, opened once with all checks on and limits clamped.
fn gpu() -> Option<&'static GpuExecutor> {
    static GPU: OnceLock<Option<GpuExecutor>> = OnceLock::new();
    GPU.get_or_init(|| {
        let adapter = context::list().into_iter().find(|a| a.is_software())?;
        Some(GpuExecutor::open(adapter.index, Options { clamped: true, checks: true }).expect("the software adapter opens"))
    })
    .as_ref()
}

/// The same adapter, for which kernels are chosen as for a GPU with workgroup memory.
fn pretended_gpu() -> Option<&'static GpuExecutor> {
    static GPU: OnceLock<Option<GpuExecutor>> = OnceLock::new();
    GPU.get_or_init(|| {
        let adapter = context::list().into_iter().find(|a| a.is_software())?;
        let mut gpu = GpuExecutor::open(adapter.index, Options { clamped: true, checks: false }).expect("opens");
        gpu.context.caps.software = false;
        Some(gpu)
    })
    .as_ref()
}

/// Parses and validates WGSL as a driver-independent check.
fn validate(source: &str) {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}\n{source}", e.emit_to_string(source)));
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    validator.validate(&module).unwrap_or_else(|e| panic!("{}\n{source}", e.emit_to_string(source)));
}

/// A plan of one step: leaves are read in order, output 0 is written.
fn one_step(kernel: Kernel, reads: &[(DType, usize)], out: (DType, usize)) -> Plan {
    let mut buffers: Vec<BufferInfo> =
        reads.iter().enumerate().map(|(n, &(dtype, len))| BufferInfo { place: Place::Leaf(n), dtype, len }).collect();
    buffers.push(BufferInfo { place: Place::Output(0), dtype: out.0, len: out.1 });
    let write = reads.len();
    let step = Step { kernel, reads: (0..write).collect(), write: Some(write), level: 0, flops: 0, bytes: 0 };
    Plan { steps: vec![step], buffers, slots: Vec::new(), outputs: vec![write] }
}

fn dtype_of(data: &HostData) -> DType {
    match data {
        HostData::U32(_) => DType::U32,
        HostData::I32(_) => DType::I32,
        HostData::F32(_) => DType::F32,
        HostData::F64(_) => DType::F64,
    }
}

fn leaf(buffer: &Buffer) -> Leaf {
    Leaf::Data(Storage::Gpu(buffer.clone()))
}

/// Runs a one-step plan as on a software adapter and as on a GPU, which must agree to rounding; gives the former.
fn run_one(kernel: Kernel, reads: &[HostData], out: (DType, usize), scalars: &[f64], randoms: &[RandomKey]) -> Option<HostData> {
    let infos: Vec<(DType, usize)> = reads.iter().map(|r| (dtype_of(r), r.len())).collect();
    let plan = Arc::new(one_step(kernel, &infos, out));
    for software in [true, false] {
        let lowered = kernels::lower(&plan.steps[0], &plan, &Caps::webgpu_defaults(software)).expect("lowers");
        lowered.programs.iter().for_each(|p| validate(&p.source));
    }
    let on = |gpu: &GpuExecutor| {
        let leaves = reads.iter().map(|r| leaf(&gpu.upload(r).expect("uploads"))).collect();
        let bindings = Bindings { leaves, scalars: scalars.to_vec(), randoms: randoms.to_vec() };
        let compiled = gpu.compile(plan.clone()).expect("compiles");
        let outputs = gpu.run(&compiled, &bindings).expect("runs");
        let buffer = outputs[0].as_ref().expect("an output");
        gpu.read(buffer, out.0, out.1).expect("reads")
    };
    let got = on(gpu()?);
    close(&on(pretended_gpu()?), &got.to_f64(), 1e-3, "as a GPU");
    Some(got)
}

fn load(expr: &mut Expr, operand: usize, view: View, dtype: DType) -> usize {
    expr.push(Term::Load { operand, view }, dtype)
}

fn floats(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32 - 500.0) / 100.0).collect()
}

fn close(got: &HostData, want: &[f64], tolerance: f64, what: &str) {
    let got = got.to_f64();
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(same, "{what}: element {i} is {g}, expected {w}");
    }
}

/// All elements of a view in row-major order, 0 where masked.
fn through(view: &View, data: &[f32]) -> Vec<f64> {
    let strides = view.shape.strides();
    (0..view.shape.numel())
        .map(|i| {
            let coord: Vec<usize> = view.shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
            view.index(&coord).map_or(0.0, |k| f64::from(data[usize::try_from(k).expect("in range")]))
        })
        .collect()
}

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
    let relu = |x: f64| if x <= 0.0 { 0.0 } else { x };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() };
    let sign = |x: f64| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0));
    let rows: [(UnaryOp, &dyn Fn(f64) -> f64, f64); 26] = [
        (UnaryOp::Neg, &|x| -x, 0.0),
        (UnaryOp::Abs, &f64::abs, 0.0),
        (UnaryOp::Sign, &sign, 0.0),
        (UnaryOp::Sqrt, &f64::sqrt, 2e-7),
        (UnaryOp::Rsqrt, &|x| 1.0 / x.sqrt(), 3e-7),
        (UnaryOp::Reciprocal, &|x| 1.0 / x, 2e-7),
        (UnaryOp::Square, &|x| x * x, 2e-7),
        (UnaryOp::Exp, &f64::exp, 3e-7),
        (UnaryOp::Expm1, &f64::exp_m1, 3e-7),
        (UnaryOp::Log, &f64::ln, 3e-7),
        (UnaryOp::Log1p, &f64::ln_1p, 3e-7),
        (UnaryOp::Sin, &f64::sin, 2e-7),
        (UnaryOp::Cos, &f64::cos, 2e-7),
        (UnaryOp::Tan, &f64::tan, 2e-6),
        (UnaryOp::Asin, &f64::asin, 3e-7),
        (UnaryOp::Acos, &f64::acos, 3e-7),
        (UnaryOp::Atan, &f64::atan, 3e-7),
        (UnaryOp::Sinh, &f64::sinh, 5e-7),
        (UnaryOp::Cosh, &f64::cosh, 5e-7),
        (UnaryOp::Tanh, &f64::tanh, 3e-7),
        (UnaryOp::Floor, &f64::floor, 0.0),
        (UnaryOp::Ceil, &f64::ceil, 0.0),
        (UnaryOp::Round, &f64::round_ties_even, 0.0),
        (UnaryOp::Sigmoid, &sigmoid, 3e-7),
        (UnaryOp::Relu, &relu, 0.0),
        (UnaryOp::Softplus, &softplus, 3e-7),
    ];
    let shape = Shape::of(&[data.len()]);
    for (op, reference, tolerance) in rows {
        let mut expr = Expr::new(shape);
        let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
        let root = expr.push(Term::Unary(op, x), DType::F32);
        let reads = [HostData::F32(data.clone())];
        let Some(got) = run_one(Kernel::Elementwise(expr.finish(root)), &reads, (DType::F32, data.len()), &[], &[]) else {
            return;
        };
        for (i, (g, x)) in got.to_f64().into_iter().zip(&data).enumerate() {
            let want = reference(f64::from(*x));
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
    for (op, reference) in [(UnaryOp::Sin, f64::sin as fn(f64) -> f64), (UnaryOp::Cos, f64::cos)] {
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

#[test]
fn reductions_match_loops() {
    // shape, kept axes, permutation of a contiguous buffer
    let rows: [(&[usize], usize, &[usize]); 12] = [
        (&[8, 12], 1, &[1, 0]),
        (&[5000, 8], 1, &[1, 0]),
        (&[6, 4, 7, 4], 1, &[1, 0, 2, 3]),
        (&[4, 4, 4, 9], 2, &[1, 3, 0, 2]),
        (&[6, 5], 1, &[0, 1]),
        (&[5, 6], 1, &[1, 0]),
        (&[2, 3, 4, 5], 2, &[0, 2, 1, 3]),
        (&[3000], 0, &[0]),
        (&[100_000], 0, &[0]),
        (&[2, 70_001], 1, &[0, 1]),
        (&[20_000, 3], 1, &[1, 0]),
        (&[300, 1000], 1, &[0, 1]),
    ];
    for (dims, kept, order) in rows {
        let view = View::contiguous(Shape::of(dims)).permute(order);
        let n: usize = dims.iter().product();
        let data = floats(n);
        for (op, scale) in [(ReduceOp::Sum, 1.0), (ReduceOp::Max, 1.0), (ReduceOp::Min, 1.0), (ReduceOp::Prod, 0.0)] {
            // Products stay near 1: value = 1 + x * scale / 1000.
            let data: Vec<f32> =
                if op == ReduceOp::Prod { data.iter().map(|x| 1.0 + x * 1e-5 + scale).collect() } else { data.clone() };
            let mut value = Expr::new(view.shape);
            let root = load(&mut value, 0, view, DType::F32);
            let kept_shape = Shape::of(&view.shape[..kept]);
            let mut epilogue = Expr::new(kept_shape);
            let acc = epilogue.push(Term::Acc, DType::F32);
            let two = epilogue.push(Term::Scalar { slot: 0 }, DType::F32);
            let end = epilogue.push(Term::Binary(BinaryOp::Mul, acc, two), DType::F32);
            let kernel = Kernel::Reduce { op, value: value.finish(root), kept, epilogue: epilogue.finish(end) };
            let outputs = kept_shape.numel();
            let reads = [HostData::F32(data.clone())];
            let Some(got) = run_one(kernel, &reads, (DType::F32, outputs), &[2.0], &[]) else { return };
            let all = through(&view, &data);
            let want: Vec<f64> = all
                .chunks(n / outputs)
                .map(|row| {
                    2.0 * match op {
                        ReduceOp::Sum => row.iter().sum::<f64>(),
                        ReduceOp::Prod => row.iter().product(),
                        ReduceOp::Max => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                        ReduceOp::Min => row.iter().copied().fold(f64::INFINITY, f64::min),
                    }
                })
                .collect();
            close(&got, &want, 1e-3, &format!("{op:?} of {dims:?}"));
        }
    }
}

#[test]
fn reductions_of_nothing_and_nan() {
    let rows: [(ReduceOp, &[f32], f64); 4] = [
        (ReduceOp::Sum, &[], 0.0),
        (ReduceOp::Prod, &[], 1.0),
        (ReduceOp::Max, &[1.0, f32::NAN, 2.0], f64::NAN),
        (ReduceOp::Min, &[f32::NAN, 1.0], f64::NAN),
    ];
    for (op, data, want) in rows {
        let shape = Shape::of(&[data.len()]);
        let mut value = Expr::new(shape);
        let root = load(&mut value, 0, View::contiguous(shape), DType::F32);
        let epilogue = Expr::identity(Shape::SCALAR, DType::F32);
        let kernel = Kernel::Reduce { op, value: value.finish(root), kept: 0, epilogue };
        let Some(got) = run_one(kernel, &[HostData::F32(data.to_vec())], (DType::F32, 1), &[], &[]) else { return };
        close(&got, &[want], 0.0, &format!("{op:?} of {data:?}"));
    }
    // Integers, and a dtype change in the epilogue.
    let shape = Shape::of(&[1000]);
    let mut value = Expr::new(shape);
    let root = load(&mut value, 0, View::contiguous(shape), DType::I32);
    let mut epilogue = Expr::new(Shape::SCALAR);
    let acc = epilogue.push(Term::Acc, DType::I32);
    let end = epilogue.push(Term::Cast(acc), DType::F32);
    let kernel = Kernel::Reduce { op: ReduceOp::Sum, value: value.finish(root), kept: 0, epilogue: epilogue.finish(end) };
    let Some(got) = run_one(kernel, &[HostData::I32((0..1000).collect())], (DType::F32, 1), &[], &[]) else { return };
    assert_eq!(got, HostData::F32(vec![499_500.0]));
}

#[test]
fn arg_reductions_find_the_first() {
    let data = vec![1.0, 3.0, 3.0, -2.0, f32::NAN, 7.0, 5.0, 5.0, 5.0, f32::INFINITY, 0.0, -f32::INFINITY];
    for (op, want) in [(ReduceOp::Max, vec![1, 0, 1]), (ReduceOp::Min, vec![3, 0, 3])] {
        let shape = Shape::of(&[3, 4]);
        let mut value = Expr::new(shape);
        let root = load(&mut value, 0, View::contiguous(shape), DType::F32);
        let kernel = Kernel::ArgReduce { op, value: value.finish(root) };
        let Some(got) = run_one(kernel, &[HostData::F32(data.clone())], (DType::I32, 3), &[], &[]) else { return };
        assert_eq!(got, HostData::I32(want), "{op:?}");
    }
}

#[test]
fn in_place_steps_and_slots() {
    let Some(gpu) = gpu() else { return };
    let n = 1000;
    let shape = Shape::of(&[n]);
    let f32s = |place| BufferInfo { place, dtype: DType::F32, len: n };
    let plus = |a: usize, b: usize| {
        let mut e = Expr::new(shape);
        let x = load(&mut e, a, View::contiguous(shape), DType::F32);
        let y = load(&mut e, b, View::contiguous(shape), DType::F32);
        let root = e.push(Term::Binary(BinaryOp::Add, x, y), DType::F32);
        Kernel::Elementwise(e.finish(root))
    };
    let step = |kernel, reads: &[usize], write, level| Step {
        kernel,
        reads: reads.to_vec(),
        write: Some(write),
        level,
        flops: 0,
        bytes: 0,
    };
    // slot = a + cell; slot += a (in place); cell += slot (in place, an assignment); out = slot + cell
    let plan = Plan {
        steps: vec![
            step(plus(0, 1), &[0, 1], 2, 0),
            step(plus(0, 1), &[2, 0], 2, 1),
            step(plus(0, 1), &[1, 2], 1, 2),
            step(plus(0, 1), &[2, 1], 3, 3),
        ],
        buffers: vec![f32s(Place::Leaf(0)), f32s(Place::Leaf(1)), f32s(Place::Slot(0)), f32s(Place::Output(0))],
        slots: vec![n * 4],
        outputs: vec![3, 1],
    };
    let compiled = gpu.compile(Arc::new(plan)).expect("compiles");
    let a = gpu.upload(&HostData::F32(vec![1.0; n])).expect("uploads");
    let arena = gpu.alloc(2 * 4096 * 4).expect("allocates");
    let cell = arena.range(4096 * 4, n as u64 * 4);
    let ten = gpu.upload(&HostData::F32(vec![10.0; n])).expect("uploads");
    gpu.copy(&ten, &cell).expect("copies");
    let bindings = Bindings { leaves: vec![leaf(&a), Leaf::Cell(Storage::Gpu(cell.clone()))], ..Default::default() };
    let outputs = gpu.run(&compiled, &bindings).expect("runs");
    let out = outputs[0].as_ref().expect("an output");
    assert_eq!(gpu.read(out, DType::F32, n).expect("reads"), HostData::F32(vec![34.0; n]));
    assert_eq!(gpu.read(&cell, DType::F32, n).expect("reads"), HostData::F32(vec![22.0; n]));
    // A cell that shares its arena with what is read: the executor copies first.
    let shared = Bindings {
        leaves: vec![leaf(&arena.range(0, n as u64 * 4)), Leaf::Cell(Storage::Gpu(cell.clone()))],
        ..Default::default()
    };
    let outputs = gpu.run(&compiled, &shared).expect("runs");
    let out = outputs[0].as_ref().expect("an output");
    assert_eq!(gpu.read(out, DType::F32, n).expect("reads"), HostData::F32(vec![66.0; n]));
}

#[test]
fn a_steady_loop_makes_nothing() {
    let Some(adapter) = context::list().into_iter().find(|a| a.is_software()) else { return };
    let gpu = GpuExecutor::open(adapter.index, Options::default()).expect("opens");
    let shape = Shape::of(&[256]);
    let mut expr = Expr::new(shape);
    let x = load(&mut expr, 0, View::contiguous(shape), DType::F32);
    let s = expr.push(Term::Scalar { slot: 0 }, DType::F32);
    let root = expr.push(Term::Binary(BinaryOp::Mul, x, s), DType::F32);
    let plan = one_step(Kernel::Elementwise(expr.finish(root)), &[(DType::F32, 256)], (DType::F32, 256));
    let compiled = gpu.compile(Arc::new(plan)).expect("compiles");
    let mut held = None;
    let mut after_warmup = None;
    for i in 0..40 {
        let batch = gpu.upload(&HostData::F32(vec![i as f32; 256])).expect("uploads");
        let bindings = Bindings { leaves: vec![leaf(&batch)], scalars: vec![f64::from(i)], randoms: Vec::new() };
        let outputs = gpu.run(&compiled, &bindings).expect("runs");
        let out = outputs.into_iter().next().flatten().expect("an output");
        let got = gpu.read(&out, DType::F32, 256).expect("reads");
        assert_eq!(got, HostData::F32(vec![(i * i) as f32; 256]));
        held = Some(out);
        if i == 10 {
            after_warmup = Some(gpu.counters());
        }
    }
    drop(held);
    let (before, after) = (after_warmup.expect("warmed up"), gpu.counters());
    assert_eq!(before.buffers_created, after.buffers_created);
    assert_eq!(before.bind_groups, after.bind_groups);
    assert_eq!(before.pipelines, after.pipelines);
}

#[test]
fn impossible_requests_are_typed_errors() {
    use crate::error::Error;
    let Some(gpu) = gpu() else { return };
    assert!(matches!(gpu.alloc(1 << 40), Err(Error::OutOfMemory { .. })));
    assert!(matches!(gpu.upload(&HostData::F64(vec![1.0])), Err(Error::Unsupported { .. })));
    let plan = one_step(Kernel::Elementwise(Expr::new(Shape::of(&[4]))), &[], (DType::F32, 4));
    assert!(gpu.compile(Arc::new(plan)).is_ok_and(|c| gpu.run(&c, &Bindings::default()).is_ok()));
    assert!(GpuExecutor::open(1000, Options::default()).is_err());
}

#[test]
fn launches_are_timed() {
    let Some(gpu) = gpu() else { return };
    let shape = Shape::of(&[1 << 18]);
    let mut value = Expr::new(shape);
    let root = load(&mut value, 0, View::contiguous(shape), DType::F32);
    let epilogue = Expr::identity(Shape::SCALAR, DType::F32);
    let kernel = Kernel::Reduce { op: ReduceOp::Sum, value: value.finish(root), kept: 0, epilogue };
    let compiled = gpu.compile(Arc::new(one_step(kernel, &[(DType::F32, 1 << 18)], (DType::F32, 1)))).expect("compiles");
    let x = gpu.upload(&HostData::F32(floats(1 << 18))).expect("uploads");
    match gpu.profile(&compiled, &Bindings { leaves: vec![leaf(&x)], ..Default::default() }) {
        Ok(times) => assert!(times.len() == 2 && times[0].seconds > 0.0 && times[0].seconds < 10.0, "{times:?}"),
        Err(e) => assert!(matches!(e, crate::error::Error::Unsupported { .. }), "{e}"),
    }
}

#[test]
#[ignore = "prints timings"]
fn timings() {
    use std::time::Instant;
    println!("{:?}", context::list());
    let adapter = context::list().into_iter().next().expect("an adapter");
    let gpu = GpuExecutor::open(adapter.index, Options::default()).expect("opens");
    println!("{:?}", gpu.caps());
    let best = |compiled: &super::Compiled, bindings: &Bindings| {
        let mut best = f64::MAX;
        for _ in 0..12 {
            let t = Instant::now();
            gpu.run(compiled, bindings).expect("runs");
            gpu.wait().expect("waits");
            best = best.min(t.elapsed().as_secs_f64());
        }
        best * 1e3
    };
    let n = 1 << 20;
    let shape = Shape::of(&[1024, 1024]);
    let x = gpu.upload(&HostData::F32(floats(n))).expect("uploads");
    let y = gpu.upload(&HostData::F32(floats(n))).expect("uploads");
    let mut rows: Vec<(String, Kernel, usize)> = Vec::new();
    let id = View::contiguous(shape);
    let mut e = Expr::new(shape);
    let (a, b) = (load(&mut e, 0, id, DType::F32), load(&mut e, 1, id, DType::F32));
    let r = e.push(Term::Binary(BinaryOp::Add, a, b), DType::F32);
    rows.push(("add".into(), Kernel::Elementwise(e.finish(r)), n));
    for op in [UnaryOp::Exp, UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Erf, UnaryOp::Sin, UnaryOp::Log, UnaryOp::Sqrt] {
        let mut e = Expr::new(shape);
        let a = load(&mut e, 0, id, DType::F32);
        let b = load(&mut e, 1, id, DType::F32);
        let u = e.push(Term::Unary(op, a), DType::F32);
        let r = e.push(Term::Binary(BinaryOp::Add, u, b), DType::F32);
        rows.push((format!("{op:?}"), Kernel::Elementwise(e.finish(r)), n));
    }
    let mut e = Expr::new(shape);
    let a = load(&mut e, 0, id.permute(&[1, 0]), DType::F32);
    let b = load(&mut e, 1, id, DType::F32);
    let r = e.push(Term::Binary(BinaryOp::Add, a, b), DType::F32);
    rows.push(("transpose add".into(), Kernel::Elementwise(e.finish(r)), n));
    let mut e = Expr::new(shape);
    let bias = View::contiguous(Shape::of(&[1, 1024])).expand(shape);
    let a = load(&mut e, 0, id, DType::F32);
    let b = load(&mut e, 1, bias, DType::F32);
    let s = e.push(Term::Binary(BinaryOp::Add, a, b), DType::F32);
    let r = e.push(Term::Unary(UnaryOp::Relu, s), DType::F32);
    rows.push(("bias relu".into(), Kernel::Elementwise(e.finish(r)), n));
    let mut e = Expr::new(shape);
    let a = e.push(Term::Random { slot: 0, word: RandomWord::First, view: id }, DType::U32);
    let r = e.push(Term::Cast(a), DType::F32);
    rows.push(("random".into(), Kernel::Elementwise(e.finish(r)), n));
    for (name, view, kept) in [
        ("sum all", View::contiguous(Shape::of(&[n])), 0),
        ("sum rows", id, 1),
        ("sum columns", id.permute(&[1, 0]), 1),
        ("sum rows 16384x64", View::contiguous(Shape::of(&[16384, 64])), 1),
        ("sum columns 16384x64", View::contiguous(Shape::of(&[16384, 64])).permute(&[1, 0]), 1),
        ("sum 64x32x512 to 32", View::contiguous(Shape::of(&[64, 32, 512])).permute(&[1, 0, 2]), 1),
    ] {
        let mut v = Expr::new(view.shape);
        let r = load(&mut v, 0, view, DType::F32);
        let kept_shape = Shape::of(&view.shape[..kept]);
        let k = Kernel::Reduce { op: ReduceOp::Sum, value: v.finish(r), kept, epilogue: Expr::identity(kept_shape, DType::F32) };
        rows.push((name.into(), k, kept_shape.numel()));
    }
    for (name, kernel, out) in rows {
        let reads: &[(DType, usize)] = match &kernel {
            Kernel::Reduce { .. } => &[(DType::F32, 1 << 20)],
            k if k.exprs()[0].operand_count() == 0 => &[],
            _ => &[(DType::F32, 1 << 20), (DType::F32, 1 << 20)],
        };
        let plan = one_step(kernel, reads, (DType::F32, out));
        let randoms = vec![RandomKey { key: [1, 2], offset: 3 }];
        let compiled = gpu.compile(Arc::new(plan)).expect("compiles");
        let bindings = Bindings { leaves: [leaf(&x), leaf(&y)][..reads.len()].to_vec(), scalars: vec![], randoms };
        println!("{name:24} {:.3} ms", best(&compiled, &bindings));
    }
    // Overhead of a launch and of a run.
    let f32s = |place| BufferInfo { place, dtype: DType::F32, len: 64 };
    let small = Shape::of(&[64]);
    let mut e = Expr::new(small);
    let a = load(&mut e, 0, View::contiguous(small), DType::F32);
    let r = e.push(Term::Unary(UnaryOp::Neg, a), DType::F32);
    let e = e.finish(r);
    for count in [1usize, 10, 100] {
        let steps = (0..count)
            .map(|i| Step {
                kernel: Kernel::Elementwise(e.clone()),
                reads: vec![i],
                write: Some(i + 1),
                level: 0,
                flops: 0,
                bytes: 0,
            })
            .collect();
        let buffers = (0..=count)
            .map(|i| {
                f32s(if i == 0 {
                    Place::Leaf(0)
                } else if i == count {
                    Place::Output(0)
                } else {
                    Place::Slot(i % 2)
                })
            })
            .collect();
        let plan = Plan { steps, buffers, slots: vec![256, 256], outputs: vec![count] };
        let compiled = gpu.compile(Arc::new(plan)).expect("compiles");
        let bindings = Bindings { leaves: vec![leaf(&x.range(0, 256))], ..Default::default() };
        let mut submit = f64::MAX;
        for _ in 0..20 {
            let t = Instant::now();
            gpu.run(&compiled, &bindings).expect("runs");
            submit = submit.min(t.elapsed().as_secs_f64());
            gpu.wait().expect("waits");
        }
        println!("{count} launches: {:.3} ms, host part {:.3} ms", best(&compiled, &bindings), submit * 1e3);
    }
}
