//! Convolutions in each layout, odd sizes, steps and groups.

use super::*;
use crate::graph::op::{ConvSpec, UnaryOp};
use crate::plan::expr::{Expr, Term};
use crate::plan::{Conv2d, ConvRole};

#[test]
fn convolutions_and_their_gradients() {
    let cpu = CpuExecutor::new().expect("threads can be started");
    let plain = ConvSpec { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };
    // (x, co, kernel, spec)
    let rows = [
        ([1, 1, 5, 5], 1, [3, 3], plain),
        ([3, 2, 6, 7], 4, [3, 2], ConvSpec { padding: [1, 1], ..plain }),
        ([2, 4, 9, 8], 6, [3, 3], ConvSpec { stride: [2, 3], padding: [1, 2], groups: 2, ..plain }),
        ([5, 3, 7, 7], 3, [3, 3], ConvSpec { dilation: [2, 2], padding: [2, 2], groups: 3, ..plain }),
        ([17, 3, 4, 4], 5, [1, 1], plain),
        ([2, 3, 4, 4], 5, [1, 1], ConvSpec { stride: [2, 2], ..plain }),
        ([2, 2, 3, 1], 2, [3, 3], ConvSpec { padding: [2, 3], dilation: [2, 3], ..plain }),
        ([2, 1, 4, 5], 2, [4, 5], plain),
        // Several parts of a weight gradient; more terms than are added up at once, as columns and with padding.
        ([40, 3, 12, 12], 5, [3, 3], ConvSpec { padding: [1, 1], ..plain }),
        ([3, 70, 4, 4], 60, [3, 3], ConvSpec { padding: [1, 1], ..plain }),
        ([2, 60, 9, 20], 3, [3, 3], ConvSpec { padding: [1, 1], stride: [2, 1], ..plain }),
        // One tap of nine meets the image; rows that continue each other; one row; groups of several channels.
        ([64, 4, 1, 1], 40, [3, 3], ConvSpec { padding: [1, 1], ..plain }),
        ([1, 6, 5, 5], 37, [1, 1], plain),
        ([2, 3, 1, 40], 20, [1, 9], ConvSpec { padding: [0, 4], stride: [1, 4], ..plain }),
        ([2, 8, 6, 6], 12, [3, 3], ConvSpec { padding: [1, 1], groups: 4, ..plain }),
        ([2, 2, 6, 6], 9, [3, 3], ConvSpec { padding: [3, 3], dilation: [3, 3], ..plain }),
        // Steps that leave pixels out, and steps larger than the image.
        ([2, 3, 9, 10], 4, [2, 2], ConvSpec { stride: [5, 4], padding: [1, 0], ..plain }),
        ([2, 3, 5, 4], 3, [2, 2], ConvSpec { stride: [70_000, 90_000], padding: [1, 1], groups: 3, ..plain }),
        ([1, 2, 5, 4], 3, [2, 2], ConvSpec { stride: [70_000, 90_000], padding: [1, 1], ..plain }),
        // A kernel per channel.
        ([2, 8, 9, 11], 8, [3, 3], ConvSpec { padding: [1, 1], stride: [2, 2], groups: 8, ..plain }),
        ([2, 6, 7, 7], 6, [7, 7], ConvSpec { padding: [3, 3], groups: 6, ..plain }),
        ([2, 3, 8, 5], 3, [2, 3], ConvSpec { padding: [1, 2], stride: [3, 1], dilation: [2, 2], groups: 3 }),
    ];
    for (x, co, k, spec) in rows {
        let w = [co, x[1] / spec.groups, k[0], k[1]];
        let oh = spec.output(0, x[2], k[0]).expect("the window fits");
        let ow = spec.output(1, x[3], k[1]).expect("the window fits");
        let y = [x[0], co, oh, ow];
        for role in [ConvRole::Forward, ConvRole::InputGrad, ConvRole::WeightGrad] {
            let (a, b, out, op) = match role {
                ConvRole::Forward => (x, w, y, Op::Conv2d(spec)),
                ConvRole::InputGrad => (y, w, x, Op::Conv2dInputGrad(spec)),
                ConvRole::WeightGrad => (x, y, w, Op::Conv2dWeightGrad(spec)),
            };
            let mut case = Case::new();
            let a = case.float_leaf(&a);
            let b = case.float_leaf(&b);
            let conv = case.node(op, &[a, b], &out, DType::F32);
            case.node(Op::Unary(UnaryOp::Square), &[conv], &out, DType::F32);
            let mut epilogue = Expr::identity(Shape::of(&out), DType::F32);
            epilogue.push(Term::Unary(UnaryOp::Square, 0), DType::F32);
            let kernel = Kernel::Conv2d(Conv2d { role, spec, x, w, y, epilogue, packed: None, moments: None });
            case.check(&format!("{role:?} {x:?} {w:?} {spec:?}"), &cpu, kernel, 5e-5);
        }
    }
}
