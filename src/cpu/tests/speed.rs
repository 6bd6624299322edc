//! Measurements, run by hand: `cargo test --release --lib cpu::tests::speed -- --ignored --nocapture`.

use super::*;
use crate::graph::View;
use crate::graph::op::{BinaryOp, ConvSpec, OptimRule, PoolOp, PoolSpec, ReduceOp, UnaryOp};
use crate::optim::store::{Coefficients, OptimStore};
use crate::plan::expr::{Expr, Term};
use crate::plan::{Conv2d, ConvRole, MatMul, MatrixView};
use std::sync::Mutex;
use std::time::Instant;

fn time(cpu: &CpuExecutor, name: &str, plan: Plan, bindings: &Bindings) {
    let (flops, bytes) = (plan.steps.iter().map(|s| s.flops).sum::<u64>(), plan.steps.iter().map(|s| s.bytes).sum::<u64>());
    let compiled = cpu.compile(&Graph::default(), Arc::new(plan)).expect("the plan is valid");
    let mut times = Vec::new();
    for _ in 0..60 {
        let start = Instant::now();
        drop(cpu.run(&compiled, bindings).expect("the plan runs"));
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{name:32} {:9.1} us {:8.1} GFLOP/s {:7.1} GB/s",
        median * 1e6,
        flops as f64 / median / 1e9,
        bytes as f64 / median / 1e9
    );
}

/// One kernel over float leaves of the given lengths.
fn kernel(cpu: &CpuExecutor, name: &str, kernel: Kernel, reads: &[(usize, DType)], out: (usize, DType), flops: usize) {
    let mut buffers: Vec<BufferInfo> =
        reads.iter().enumerate().map(|(i, &(len, dtype))| BufferInfo { place: Place::Leaf(i), dtype, len }).collect();
    buffers.push(BufferInfo { place: Place::Output(0), dtype: out.1, len: out.0 });
    let bytes = 4 * (reads.iter().map(|r| r.0).sum::<usize>() + out.0) as u64;
    let step = Step { kernel, reads: (0..reads.len()).collect(), write: Some(reads.len()), level: 0, flops: flops as u64, bytes };
    let plan = Plan { steps: vec![step], buffers, slots: vec![], outputs: vec![reads.len()] };
    let leaf = |(i, &(len, dtype)): (usize, &(usize, DType))| {
        let data = if dtype == DType::F32 { floats(len, i as u32) } else { ints(len, i as u32, 0, 10) };
        Leaf::Data(Storage::Cpu(cpu.upload(data)))
    };
    let bindings = Bindings { leaves: reads.iter().enumerate().map(leaf).collect(), scalars: vec![0.5], ..Bindings::default() };
    time(cpu, name, plan, &bindings);
}

const F: DType = DType::F32;

fn conv(cpu: &CpuExecutor, name: &str, x: [usize; 4], co: usize) {
    let spec = ConvSpec { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };
    let w = [co, x[1], 3, 3];
    let y = [x[0], co, x[2], x[3]];
    let n = |s: [usize; 4]| s.iter().product::<usize>();
    for role in [ConvRole::Forward, ConvRole::InputGrad, ConvRole::WeightGrad] {
        let (a, b, out) = match role {
            ConvRole::Forward => (x, w, y),
            ConvRole::InputGrad => (y, w, x),
            ConvRole::WeightGrad => (x, y, w),
        };
        let mut epilogue = Expr::identity(Shape::of(&out), F);
        if role == ConvRole::Forward {
            let bias = View::contiguous(Shape::of(&[1, co, 1, 1])).expand(Shape::of(&out));
            epilogue.push(Term::Load { operand: 2, view: bias }, F);
            epilogue.push(Term::Binary(BinaryOp::Add, 0, 1), F);
            epilogue.push(Term::Unary(UnaryOp::Relu, 2), F);
        }
        let flops = 2 * n(y) * w[1] * 9;
        let reads = [(n(a), F), (n(b), F), (co, F)];
        kernel(
            cpu,
            &format!("{name} {role:?}"),
            Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue }),
            &reads,
            (n(out), F),
            flops,
        );
    }
}

fn matmul(cpu: &CpuExecutor, m: usize, n: usize, k: usize, ta: bool, tb: bool) {
    let view = |rows: usize, cols: usize, t: bool| MatrixView {
        batch: vec![],
        row: if t { 1 } else { cols as i64 },
        col: if t { rows as i64 } else { 1 },
        offset: 0,
    };
    let out = Shape::of(&[m, n]);
    let epilogue = Expr::identity(out, F);
    let mm = MatMul { batch: Shape::SCALAR, m, n, k, a: view(m, k, ta), b: view(k, n, tb), epilogue };
    kernel(
        cpu,
        &format!("matmul {m} x {n} x {k} {ta} {tb}"),
        Kernel::MatMul(mm),
        &[(m * k, F), (k * n, F)],
        (m * n, F),
        2 * m * n * k,
    );
}

#[test]
#[ignore = "a measurement"]
fn kernels() {
    let cpu = CpuExecutor::new().expect("threads can be started");
    conv(&cpu, "conv 1->16", [64, 1, 28, 28], 16);
    conv(&cpu, "conv 16->32", [64, 16, 14, 14], 32);
    conv(&cpu, "conv 64->64", [16, 64, 28, 28], 64);
    let spec = PoolSpec { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], count_include_pad: true };
    for (c, h) in [(16, 28), (32, 14)] {
        let (x, y) = ([64, c, h, h], [64, c, h / 2, h / 2]);
        let (nx, ny) = (64 * c * h * h, 64 * c * h * h / 4);
        kernel(&cpu, &format!("pool {c}"), Kernel::Pool { op: PoolOp::Max, spec, x, y }, &[(nx, F)], (ny, F), 0);
        kernel(
            &cpu,
            &format!("pool scatter {c}"),
            Kernel::Pool { op: PoolOp::MaxScatter, spec, x, y },
            &[(nx, F), (ny, F)],
            (nx, F),
            0,
        );
        // Bias gradient with the mask of a ReLU.
        let shape = Shape::of(&x);
        let order = [1, 0, 2, 3];
        let view = View::contiguous(shape).permute(&order);
        let mut value = Expr::new(view.shape);
        value.push(Term::Load { operand: 0, view }, F);
        let epilogue = Expr::identity(Shape::of(&[c]), F);
        kernel(
            &cpu,
            &format!("bias grad {c}"),
            Kernel::Reduce { op: ReduceOp::Sum, value, kept: 1, epilogue },
            &[(nx, F)],
            (c, F),
            nx,
        );
    }
    for (m, n, k) in [(64, 128, 1568), (64, 10, 128), (128, 512, 784), (128, 512, 512), (512, 512, 512), (1024, 1024, 1024)] {
        matmul(&cpu, m, n, k, false, true);
        matmul(&cpu, m, k, n, false, false);
        matmul(&cpu, n, k, m, true, false);
    }
    let n = 64 * 16 * 28 * 28;
    let shape = Shape::of(&[n]);
    let view = View::contiguous(shape);
    let mut expr = Expr::new(shape);
    expr.push(Term::Load { operand: 0, view }, F);
    expr.push(Term::Load { operand: 1, view }, F);
    expr.push(Term::Constant { bits: 0 }, F);
    expr.push(Term::Binary(BinaryOp::Gt, 0, 2), DType::Bool);
    expr.push(Term::Select(3, 1, 2), F);
    kernel(&cpu, "relu mask", Kernel::Elementwise(expr), &[(n, F), (n, F)], (n, F), n);
    for op in [UnaryOp::Exp, UnaryOp::Tanh, UnaryOp::Sigmoid, UnaryOp::Log, UnaryOp::Erf, UnaryOp::Relu, UnaryOp::Sin] {
        let mut expr = Expr::new(shape);
        expr.push(Term::Load { operand: 0, view }, F);
        expr.push(Term::Unary(op, 0), F);
        kernel(&cpu, &format!("{op:?}"), Kernel::Elementwise(expr), &[(n, F)], (n, F), n);
    }
    let square = Shape::of(&[896, 896]);
    let mut expr = Expr::new(square);
    expr.push(Term::Load { operand: 0, view: View::contiguous(square).permute(&[1, 0]) }, F);
    kernel(&cpu, "transpose 896", Kernel::Elementwise(expr), &[(896 * 896, F)], (896 * 896, F), 0);
    for kept in [0, 1] {
        let mut value = Expr::new(square);
        value.push(Term::Load { operand: 0, view: View::contiguous(square) }, F);
        let epilogue = Expr::identity(Shape::of(&[896, 896][..kept]), F);
        kernel(
            &cpu,
            &format!("sum kept {kept}"),
            Kernel::Reduce { op: ReduceOp::Sum, value, kept, epilogue },
            &[(896 * 896, F)],
            (if kept == 0 { 1 } else { 896 }, F),
            0,
        );
    }
    let mut value = Expr::new(square);
    value.push(Term::Load { operand: 0, view: View::contiguous(square).permute(&[1, 0]) }, F);
    kernel(
        &cpu,
        "sum columns",
        Kernel::Reduce { op: ReduceOp::Sum, value, kept: 1, epilogue: Expr::identity(Shape::of(&[896]), F) },
        &[(896 * 896, F)],
        (896, F),
        0,
    );
    kernel(&cpu, "softmax 128 x 1000", Kernel::Softmax { rows: 128, cols: 1000, log: false }, &[(128_000, F)], (128_000, F), 0);
    kernel(&cpu, "cross-entropy 64 x 10", Kernel::CrossEntropy { rows: 64, cols: 10 }, &[(640, F), (64, DType::I32)], (64, F), 0);

    let lens = [784 * 512, 512, 512 * 512, 512, 5120, 10];
    let rule = OptimRule::Adam { amsgrad: false };
    let buffer = |n: usize| Storage::Cpu(cpu.upload(floats(n, 1)));
    let zeros = |n: usize| Storage::Cpu(cpu.upload(HostData::F32(vec![0.0; n])));
    let store = OptimStore {
        entries: lens.map(|len| entry(&buffer(len), len)).into_iter().collect(),
        state: [lens.map(zeros), lens.map(zeros)].concat(),
        parameters: None,
        gradients: None,
        coefficients: Mutex::new(vec![
            Coefficients {
                lr: 1e-3,
                shrink: 1.0,
                beta1: 0.9,
                beta2: 0.999,
                one_minus_beta1: 0.1,
                one_minus_beta2: 0.001,
                eps: 1e-8,
                inv_sqrt_bias2: 1.0,
                grad_scale: 1.0,
                ..Default::default()
            };
            6
        ]),
    };
    let total: usize = lens.iter().sum();
    let plan = Plan {
        steps: vec![Step {
            kernel: Kernel::OptimStep { store: 6, rule, entries: (0..6).collect(), blocks: 0 },
            reads: (0..6).collect(),
            write: None,
            level: 0,
            flops: 0,
            bytes: 7 * 4 * total as u64,
        }],
        buffers: lens.iter().enumerate().map(|(i, &len)| BufferInfo { place: Place::Leaf(i), dtype: F, len }).collect(),
        ..Plan::default()
    };
    let mut leaves: Vec<Leaf> = lens.iter().map(|&n| Leaf::Data(buffer(n))).collect();
    leaves.push(Leaf::Store(Arc::new(store)));
    time(&cpu, "adam (gradients copied)", plan, &Bindings { leaves, ..Bindings::default() });
}
