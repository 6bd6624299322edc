//! Recurrent layers of odd sizes, of all cells, in both directions, with and without a mask, and what the reference makes of them.

use crate::cpu::attention::examples::{Example, wanted};
use crate::cpu::tests::floats;
use crate::dtype::{DType, HostData};
use crate::graph::Op;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp, RecurrentPart};
use crate::plan::Kernel;
use crate::shape::Shape;

/// Steps, sequences, elements of a state.
const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [4, 3, 5], [3, 13, 8], [2, 6, 33], [7, 1, 40], [5, 17, 24]];

/// All of them: the layer with and without what is saved, and the gradient.
pub(crate) fn examples() -> Vec<Example> {
    let cells = [RecurrentCell::Tanh, RecurrentCell::Relu, RecurrentCell::Lstm, RecurrentCell::Gru];
    let mut all = Vec::new();
    for (n, (cell, [steps, batch, hidden])) in cells.into_iter().flat_map(|c| SIZES.map(|sizes| (c, sizes))).enumerate() {
        let part = RecurrentPart::Forward { kept: true };
        let op = RecurrentOp { part, cell, backward: n % 2 == 1, masked: n % 3 != 0, steps, batch, hidden };
        let forward = example(op, None);
        let record = forward.want.iter().map(|&x| x as f32).collect();
        let states = example(RecurrentOp { part: RecurrentPart::Forward { kept: false }, ..op }, None);
        let gradient = example(RecurrentOp { part: RecurrentPart::Gradient, ..op }, Some(record));
        all.extend([forward, states, gradient]);
    }
    all
}

/// With noise in all operands but the given first one; sequences end after a few steps.
fn example(op: RecurrentOp, first: Option<Vec<f32>>) -> Example {
    let dims: Vec<Shape> = op.operands().iter().map(|dims| Shape::of(dims)).collect();
    let noise = |(n, shape): (usize, &Shape)| (DType::F32, floats(shape.numel(), n as u32));
    let mut reads: Vec<(DType, HostData)> = dims.iter().enumerate().map(noise).collect();
    if let Some(first) = first {
        reads[0].1 = HostData::F32(first);
    }
    if op.masked {
        let runs = |i: usize| u32::from(i / op.batch <= i % op.batch % op.steps);
        let mask = HostData::U32((0..op.steps * op.batch).map(runs).collect());
        *reads.last_mut().expect("a mask") = (DType::Bool, mask);
    }
    let want = wanted(Op::Recurrent(op), &dims, &reads, op.elements());
    Example { name: format!("{op:?}"), kernel: Kernel::Recurrent(op), reads, want }
}
