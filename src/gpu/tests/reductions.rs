//! Reductions against loops.

use super::*;

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
fn reductions_outlast_a_drivers_loop_limit() {
    // llvmpipe ends an invocation's loops after 65,535 iterations.
    let (outputs, length) = (256, 66_001);
    let data: Vec<f32> = (0..outputs * length).map(|k| if k % length == length - 1 { 5.0 } else { 1e-3 }).collect();
    let view = View::contiguous(Shape::of(&[outputs, length]));
    let mut value = Expr::new(view.shape);
    let root = load(&mut value, 0, view, DType::F32);
    let value = value.finish(root);
    let epilogue = Expr::identity(Shape::of(&[outputs]), DType::F32);
    let reads = [HostData::F32(data)];
    let sum = Kernel::Reduce { op: ReduceOp::Sum, value: value.clone(), kept: 1, epilogue };
    let Some(got) = run_one(sum, &reads, (DType::F32, outputs), &[], &[]) else { return };
    close(&got, &vec![71.0; outputs], 1e-4, "sum");
    let Some(got) = run_one(Kernel::ArgReduce { op: ReduceOp::Max, value }, &reads, (DType::I32, outputs), &[], &[]) else {
        return;
    };
    assert_eq!(got, HostData::I32(vec![66_000; outputs]));
}

#[test]
fn arg_reductions_find_the_first() {
    for (op, n) in [(ReduceOp::Max, 5000), (ReduceOp::Min, 5000)] {
        // Equal extremes in several chunks.
        let extreme = if op == ReduceOp::Max { 9 } else { -9 };
        let data: Vec<i32> = (0..n).map(|k| if k % 1000 == 777 { extreme } else { k % 5 }).collect();
        let shape = Shape::of(&[1, 5000]);
        let mut value = Expr::new(shape);
        let root = load(&mut value, 0, View::contiguous(shape), DType::I32);
        let kernel = Kernel::ArgReduce { op, value: value.finish(root) };
        let Some(got) = run_one(kernel, &[HostData::I32(data)], (DType::I32, 1), &[], &[]) else { return };
        assert_eq!(got, HostData::I32(vec![777]), "{op:?}");
    }
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
