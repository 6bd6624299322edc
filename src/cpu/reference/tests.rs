//! The oracle against values known from elsewhere.

use super::elementwise::*;
use super::*;
use crate::dtype::DType;
use crate::graph::op::{BinaryOp, ConvSpec, PoolOp, PoolSpec, ReduceOp, RowOp, UnaryOp};
use crate::graph::optim::Coefficients;
use crate::graph::optim::OptimRule;
use crate::math::exact::erf;
use crate::shape::Shape;

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs()
}

#[test]
fn erf_matches_tables() {
    // Abramowitz and Stegun table 7.1, and erfc(3) and erfc(5) to 16 digits.
    let rows = [
        (0.0, 0.0),
        (1e-10, 1.128_379_167_095_512_6e-10),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (2.0, 0.995_322_265_018_952_7),
        (2.5, 0.999_593_047_982_555),
        (3.0, 1.0 - 2.209_049_699_858_544e-5),
        (5.0, 1.0 - 1.537_459_794_428_035e-12),
        (-1.0, -0.842_700_792_949_714_9),
        (f64::INFINITY, 1.0),
        (f64::NAN, f64::NAN),
    ];
    for (x, y) in rows {
        assert!(close(erf(x), y, 4e-16), "erf({x}) = {}, not {y}", erf(x));
    }
}

#[test]
fn scalar_functions_follow_their_conventions() {
    let inf = f64::INFINITY;
    let unary_rows = [
        (UnaryOp::Sign, -0.5, -1.0),
        (UnaryOp::Round, 2.5, 2.0),
        (UnaryOp::Round, -1.5, -2.0),
        (UnaryOp::Relu, f64::NAN, f64::NAN),
        (UnaryOp::Sigmoid, -1000.0, 0.0),
        (UnaryOp::Sigmoid, 1000.0, 1.0),
        (UnaryOp::Softplus, 1000.0, 1000.0),
        (UnaryOp::Softplus, -1000.0, 0.0),
        (UnaryOp::IsFinite, inf, 0.0),
        (UnaryOp::IsNan, f64::NAN, 1.0),
        (UnaryOp::Not, 0.0, 1.0),
    ];
    for (op, x, y) in unary_rows {
        assert!(close(op.of_f64(x), y, 1e-15), "{op:?}({x}) = {}", op.of_f64(x));
    }
    let binary_rows = [
        (BinaryOp::Rem, -7.0, 3.0, 2.0),
        (BinaryOp::Rem, 7.0, -3.0, -2.0),
        (BinaryOp::Pow, -2.0, 3.0, -8.0),
        (BinaryOp::Maximum, f64::NAN, 1.0, f64::NAN),
        (BinaryOp::Maximum, 1.0, f64::NAN, f64::NAN),
        (BinaryOp::Minimum, -1.0, 2.0, -1.0),
        (BinaryOp::Le, 1.0, 1.0, 1.0),
    ];
    for (op, a, b, y) in binary_rows {
        assert!(close(op.of_f64(a, b), y, 1e-15), "{op:?}({a}, {b}) = {}", op.of_f64(a, b));
    }
    let integer_rows = [
        (BinaryOp::Add, i32::MAX, 1, i32::MIN),
        (BinaryOp::Div, 7, 0, 0),
        (BinaryOp::Div, -7, 2, -3),
        (BinaryOp::Div, i32::MIN, -1, i32::MIN),
        (BinaryOp::Rem, 7, 0, 0),
        (BinaryOp::Rem, -7, 3, 2),
        (BinaryOp::Rem, i32::MIN, -1, 0),
        (BinaryOp::Pow, 3, 4, 81),
        (BinaryOp::Pow, -1, -3, -1),
        (BinaryOp::Pow, 5, -1, 0),
    ];
    for (op, a, b, y) in integer_rows {
        assert_eq!(binary_i32(op, a, b), y, "{op:?}({a}, {b})");
    }
    let casts = [(1e20, DType::I32, Numbers::I32(vec![i32::MAX])), (-1.5, DType::U32, Numbers::U32(vec![0]))];
    for (x, dtype, y) in casts {
        assert_eq!(cast(&Numbers::Float(vec![x]), dtype), y);
    }
    assert_eq!(cast(&Numbers::I32(vec![-1]), DType::U32), Numbers::U32(vec![u32::MAX]));
}

/// Shape and elements.
type Operand<'a> = (&'a [usize], &'a [f64]);

/// An op, its operands, the shape and the elements of its result.
type Row<'a> = (Op, Vec<Operand<'a>>, &'a [usize], Vec<f64>);

/// The value of one node over f64 leaves.
fn node(op: Op, operands: &[Operand], shape: &[usize]) -> Vec<f64> {
    let mut graph = Graph::default();
    let mut inputs = ReferenceInputs::default();
    for (shape, data) in operands {
        let shape = Shape::of(shape);
        graph.nodes.push(GraphNode { op: Op::Data, inputs: vec![], shape, dtype: DType::F64 });
        inputs.leaves.push(ReferenceLeaf::Value(Value { dtype: DType::F64, shape, data: Numbers::Float(data.to_vec()) }));
    }
    let dtype = if matches!(op, Op::ArgReduce { .. } | Op::Row(RowOp::ArgSort { .. })) { DType::I32 } else { DType::F64 };
    graph.nodes.push(GraphNode { op, inputs: (0..operands.len()).collect(), shape: Shape::of(shape), dtype });
    graph.outputs = vec![operands.len()];
    let values = run(&graph, &mut inputs, Precision::Native).expect("the graph is valid");
    values[0].to_host().to_f64()
}

#[test]
fn nodes_match_hand_computed_values() {
    const NAN: f64 = f64::NAN;
    let x: Vec<f64> = (1..=6).map(f64::from).collect();
    let x23: Operand = (&[2, 3], &x);
    let image: Vec<f64> = (1..=9).map(f64::from).collect();
    let image: Operand = (&[1, 1, 3, 3], &image);
    let conv = ConvSpec { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };
    let w: Operand = (&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let dy: Operand = (&[1, 1, 2, 2], &[1.0, 0.0, 0.0, 1.0]);
    let window = PoolSpec { kernel: [2, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], count_include_pad: true };
    let padded = PoolSpec { padding: [1, 1], stride: [2, 2], count_include_pad: false, ..window };
    let sum = |axes: &[usize]| Op::Reduce { op: ReduceOp::Sum, axes: axes.to_vec() };
    let rows: Vec<Row> = vec![
        (Op::Permute(vec![1, 0]), vec![x23], &[3, 2], vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        (Op::Slice { start: vec![1, 2], step: vec![-1, -2] }, vec![x23], &[2, 2], vec![6.0, 4.0, 3.0, 1.0]),
        (Op::Pad { before: vec![0, 1] }, vec![x23], &[2, 4], vec![0.0, 1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0]),
        (Op::Expand, vec![(&[2, 1], &[1.0, 2.0])], &[2, 2], vec![1.0, 1.0, 2.0, 2.0]),
        (sum(&[0]), vec![x23], &[1, 3], vec![5.0, 7.0, 9.0]),
        (sum(&[1]), vec![x23], &[2, 1], vec![6.0, 15.0]),
        (Op::Reduce { op: ReduceOp::Max, axes: vec![0] }, vec![(&[3], &[1.0, NAN, 2.0])], &[1], vec![NAN]),
        (Op::ArgReduce { op: ReduceOp::Max, axis: 0 }, vec![(&[4], &[1.0, 3.0, 3.0, 2.0])], &[1], vec![1.0]),
        (Op::ArgReduce { op: ReduceOp::Min, axis: 0 }, vec![(&[3], &[1.0, NAN, 0.0])], &[1], vec![1.0]),
        (Op::Row(RowOp::ArgSort { descending: false }), vec![(&[2, 3], &[2.0, -0.0, 0.0, NAN, 1.0, 1.0])], &[2, 3], {
            vec![1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
        }),
        (Op::Row(RowOp::ArgSort { descending: true }), vec![(&[2, 3], &[2.0, -0.0, 0.0, NAN, 1.0, 1.0])], &[2, 3], {
            vec![0.0, 1.0, 2.0, 0.0, 1.0, 2.0]
        }),
        (Op::MatMul, vec![x23, (&[3, 1], &[1.0, 0.0, 2.0])], &[2, 1], vec![7.0, 16.0]),
        (Op::Row(RowOp::Softmax { log: false }), vec![(&[2], &[f64::NEG_INFINITY; 2])], &[2], vec![0.0, 0.0]),
        (Op::Row(RowOp::Softmax { log: true }), vec![(&[2], &[0.0, 0.0])], &[2], vec![-(2f64.ln()), -(2f64.ln())]),
        (Op::Conv2d(conv), vec![image, w], &[1, 1, 2, 2], vec![37.0, 47.0, 67.0, 77.0]),
        (Op::Conv2dInputGrad(conv), vec![dy, w], &[1, 1, 3, 3], vec![1.0, 2.0, 0.0, 3.0, 5.0, 2.0, 0.0, 3.0, 4.0]),
        (Op::Conv2dWeightGrad(conv), vec![image, dy], &[1, 1, 2, 2], vec![6.0, 8.0, 12.0, 14.0]),
        (Op::Pool(PoolOp::Max, window), vec![image], &[1, 1, 2, 2], vec![5.0, 6.0, 8.0, 9.0]),
        (Op::Pool(PoolOp::Avg, window), vec![image], &[1, 1, 2, 2], vec![3.0, 4.0, 6.0, 7.0]),
        (Op::Pool(PoolOp::Avg, padded), vec![image], &[1, 1, 2, 2], vec![1.0, 2.5, 5.5, 7.0]),
        (Op::Pool(PoolOp::AvgScatter, padded), vec![dy], &[1, 1, 3, 3], vec![1.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.0, 0.25, 0.25]),
        (Op::Pool(PoolOp::MaxScatter, window), vec![image, dy], &[1, 1, 3, 3], {
            vec![0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        }),
        (Op::Pool(PoolOp::MaxSelect, window), vec![image, image], &[1, 1, 2, 2], vec![5.0, 6.0, 8.0, 9.0]),
    ];
    for (op, operands, shape, expected) in rows {
        let got = node(op.clone(), &operands, shape);
        assert_eq!(got.len(), expected.len(), "{op:?}");
        assert!(got.iter().zip(&expected).all(|(&a, &b)| close(a, b, 1e-15)), "{op:?} gives {got:?}, not {expected:?}");
    }
}

#[test]
fn optimizers_take_pytorchs_first_and_second_step() {
    let c = Coefficients { lr: 0.1, shrink: 1.0, eps: 0.0, grad_scale: 1.0, inv_sqrt_bias2: 1.0, ..Default::default() };
    let momentum = Coefficients { beta1: 0.5, one_minus_beta1: 1.0, ..c };
    let alpha = Coefficients { beta2: 0.75, one_minus_beta2: 0.25, beta1: 0.5, ..c };
    // (rule, coefficients, gradient, parameter after each of two steps from 1)
    let rows = [
        (OptimRule::Sgd { momentum: false, nesterov: false }, c, 2.0, [0.8, 0.6]),
        (OptimRule::Sgd { momentum: true, nesterov: false }, momentum, 2.0, [0.8, 0.5]),
        (OptimRule::Sgd { momentum: true, nesterov: true }, momentum, 2.0, [0.7, 0.35]),
        (OptimRule::AdaGrad, c, 2.0, [0.9, 0.9 - 0.1 / 2f64.sqrt()]),
        (OptimRule::RmsProp { centered: false, momentum: false }, alpha, 2.0, [0.8, 0.8 - 0.2 / 1.75f64.sqrt()]),
        (OptimRule::RmsProp { centered: false, momentum: true }, alpha, 2.0, [0.8, 0.8 - 0.1 - 0.2 / 1.75f64.sqrt()]),
    ];
    for (rule, c, g, expected) in rows {
        let mut state = vec![0.0; rule.states()];
        let mut p = 1.0;
        for wanted in expected {
            p = optim::update(rule, &c, p, g, &mut state);
            assert!((p - wanted).abs() < 1e-7, "{rule:?}: {p}, not {wanted}");
        }
    }
}

#[test]
fn assignments_reach_their_cell_in_order() {
    let shape = Shape::SCALAR;
    let node = |op, inputs: &[usize]| GraphNode { op, inputs: inputs.to_vec(), shape, dtype: DType::F32 };
    let graph = Graph {
        nodes: vec![
            node(Op::Cell, &[]),
            node(Op::Scalar, &[]),
            node(Op::Binary(BinaryOp::Add), &[0, 1]),
            node(Op::Assign, &[0, 2]),
            node(Op::Binary(BinaryOp::Mul), &[3, 0]),
            node(Op::Assign, &[3, 4]),
        ],
        outputs: vec![0, 3],
        ..Graph::default()
    };
    let value = |x: f64| Value { dtype: DType::F32, shape, data: Numbers::Float(vec![x]) };
    let mut inputs = ReferenceInputs { leaves: vec![ReferenceLeaf::Value(value(2.0))], scalars: vec![3.0], randoms: vec![] };
    let outputs = run(&graph, &mut inputs, Precision::Native).expect("the graph is valid");
    assert_eq!(outputs, [value(2.0), value(5.0)]);
    assert!(matches!(&inputs.leaves[0], ReferenceLeaf::Value(v) if *v == value(10.0)));
}
