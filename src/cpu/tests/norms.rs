//! Normalisation of rows and its gradient.

use super::{Case, CpuExecutor};
use crate::dtype::{DType, HostData};
use crate::graph::Op;
use crate::graph::row::{RowNorm, RowOp};
use crate::plan::{Kernel, Row};

fn cpu() -> CpuExecutor {
    CpuExecutor::new().expect("threads can be started")
}

/// Rows, columns, groups, positions.
const SHAPES: [[usize; 4]; 12] = [
    [1, 1, 1, 1],
    [1, 17, 1, 1],
    [3, 5, 1, 1],
    [2, 32_768, 1, 1],
    [2003, 33, 1, 1],
    [5000, 8, 1, 1],
    [6, 35, 3, 7],
    [40, 9, 8, 9],
    [1200, 64, 2, 16],
    [4, 6000, 2, 1500],
    [9, 20, 1, 4],
    [2, 30_000, 1, 30_000],
];

fn check(norm: RowNorm, x: [usize; 2], bad: Option<f32>) {
    let parameters = norm.groups * norm.channels(x[1]);
    let spoil = |case: &mut Case| {
        if let (Some(bad), HostData::F32(v)) = (bad, &mut case.leaves[0]) {
            let middle = v.len() / 2;
            v[middle] = bad;
        }
    };
    let mut case = Case::new();
    let mut inputs = vec![case.float_leaf(&x)];
    (0..usize::from(norm.scale) + usize::from(norm.shift)).for_each(|_| inputs.push(case.float_leaf(&[parameters])));
    spoil(&mut case);
    case.node(Op::Row(RowOp::RowNorm(norm)), &inputs, &x, DType::F32);
    case.check(&format!("{norm:?} of {x:?}"), &cpu(), Kernel::Row(Row { op: RowOp::RowNorm(norm), x, out: x }), 2e-6);
    let mut case = Case::new();
    let mut inputs = vec![case.float_leaf(&x), case.float_leaf(&x)];
    inputs.extend(norm.scale.then(|| case.float_leaf(&[parameters])));
    spoil(&mut case);
    let len = norm.gradient_len(x);
    case.node(Op::Row(RowOp::RowNormGrad(norm)), &inputs, &[len], DType::F32);
    let kernel = Kernel::Row(Row { op: RowOp::RowNormGrad(norm), x, out: [1, len] });
    case.check(&format!("gradient of {norm:?} of {x:?}"), &cpu(), kernel, 1e-5);
}

#[test]
fn rows_are_normalised() {
    for [rows, cols, groups, positions] in SHAPES {
        for (n, (scale, shift)) in [(true, true), (true, false), (false, true), (false, false)].into_iter().enumerate() {
            let centre = n != 1;
            let norm = RowNorm { centre, eps: 1e-2f64.to_bits(), groups, positions, scale, shift };
            check(norm, [rows, cols], None);
        }
    }
}

#[test]
fn what_is_not_a_number_spoils_its_row() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (groups, positions) in [(1, 1), (2, 5)] {
            let norm = RowNorm { centre: true, eps: 1e-5f64.to_bits(), groups, positions, scale: true, shift: true };
            check(norm, [6, 10], Some(bad));
        }
    }
}
