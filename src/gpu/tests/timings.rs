//! Prints times of single kernels; a lab, not a check.

use super::*;

#[test]
#[ignore = "prints timings"]
fn timings() {
    use std::time::Instant;
    println!("{:?}", context::list());
    let adapter = context::list().into_iter().next().expect("an adapter");
    let gpu = GpuExecutor::open(adapter.index, Options::default()).expect("opens");
    println!("{:?}", gpu.caps());
    let best = |compiled: &crate::gpu::compiled::Compiled, bindings: &Bindings| {
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
