//! Memory, in-place steps, steady loops, errors and timestamps.

use super::*;

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
        node: 0,
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
    let Some(adapter) = software() else { return };
    let gpu = GpuExecutor::open(adapter, Options::default()).expect("opens");
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
        let bindings = Bindings { leaves: vec![leaf(&batch)], scalars: vec![f64::from(i)], ..Bindings::default() };
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
    let bindings = Bindings { leaves: vec![leaf(&x)], ..Default::default() };
    let read = |outputs: Vec<Option<Buffer>>| {
        let sum = outputs.into_iter().next().flatten().expect("an output");
        gpu.read(&sum, DType::F32, 1).expect("reads")
    };
    let plain = read(gpu.run(&compiled, &bindings).expect("runs"));
    let (outputs, launched) = gpu.run_timed(&compiled, &bindings).expect("runs");
    assert_eq!(read(outputs), plain);
    assert_eq!(launched.len(), 2, "{launched:?}");
    for launch in launched {
        let taken = launch.time.map(|t| t.as_secs_f64());
        assert_eq!(taken.is_some(), gpu.context.timestamps);
        assert!(taken.is_none_or(|t| t > 0.0 && t < 10.0), "{} took {taken:?}", launch.name);
    }
}
