//! Ops with kernels of their own, one row each: everything that the tests know about an op is here.

use super::{Sample, operand};
use crate::confined::Reach;
use crate::fuzz::Call;
use crate::huge;
use crate::numerics::elementwise::Mark;
use crate::refusals::{WrongCall, b, f, i};
use wgrad::{Result, Tensor};

/// An op with a kernel of its own.
pub struct KernelOp {
    /// The method's name.
    pub name: &'static str,
    pub mark: Mark,
    pub samples: fn() -> Vec<Sample>,
    /// How far a value that is not finite may spread, and why, if it goes beyond what its element reaches.
    pub reach: Option<(Reach, &'static str)>,
    /// The call with all arguments drawn.
    pub call: Call,
    /// Calls that are refused whatever the number; if there are none, only operands have sizes.
    pub huge: &'static [huge::Call],
    pub wrong: fn() -> Vec<WrongCall>,
    /// Known results and gradients, at least two, of an op that has no PyTorch cases.
    pub known: &'static [Known],
}

/// For a matrix x: the result `y`, and the gradient `dx` for the cotangent `ct`.
pub struct Known {
    pub run: fn(&Tensor) -> Tensor,
    pub x: [&'static [f64]; 2],
    pub y: [&'static [f64]; 2],
    pub ct: [&'static [f64]; 2],
    pub dx: [&'static [f64]; 2],
}

/// Every op with a row here.
pub fn kernel_ops() -> Vec<KernelOp> {
    const CONSTANT: &str = "constant of one element, which is still subtracted from itself";
    vec![
        KernelOp {
            name: "softmax",
            mark: Mark::Smooth,
            samples: || {
                let mut samples = vec![
                    Sample::new("softmax", "", matrix(&[3, 5]), |x| x[0].softmax(-1)).smooth(),
                    Sample::new("softmax", "of one", matrix(&[3, 1]), |x| x[0].softmax(-1)),
                    Sample::new("softmax", "axis 0", matrix(&[3, 5]), |x| x[0].softmax(0)),
                    Sample::new("softmax", "axis 1 of 3", matrix(&[2, 3, 4]), |x| x[0].softmax(1)),
                ];
                samples.extend(along_axes("softmax", Tensor::softmax));
                samples
            },
            reach: Some((Reach::Row, CONSTANT)),
            call: |d, t| Ok(t[0].softmax(d.axis())),
            huge: &[huge::Call::Axis(|a| Ok(f(&[2]).softmax(a)))],
            wrong: || {
                vec![
                    wrong("softmax", f(&[2, 3]).softmax(2), &["axis 2"]),
                    wrong("softmax", f(&[2, 3]).softmax(-3), &["axis -3"]),
                    wrong("softmax", i(&[1]).softmax(0), &["floating"]),
                    wrong("softmax", b(&[2, 3]).softmax(0), &["floating"]),
                ]
            },
            known: &[],
        },
        KernelOp {
            name: "log_softmax",
            mark: Mark::Smooth,
            samples: || {
                let mut samples = vec![
                    Sample::new("log_softmax", "", matrix(&[3, 5]), |x| x[0].log_softmax(-1)).smooth(),
                    Sample::new("log_softmax", "axis 0", matrix(&[3, 5]), |x| x[0].log_softmax(0)),
                ];
                samples.extend(along_axes("log_softmax", Tensor::log_softmax));
                samples
            },
            reach: Some((Reach::Row, CONSTANT)),
            call: |d, t| Ok(t[0].log_softmax(d.axis())),
            huge: &[huge::Call::Axis(|a| Ok(f(&[2]).log_softmax(a)))],
            wrong: || {
                vec![
                    wrong("log_softmax", f(&[2, 3]).log_softmax(2), &["axis 2"]),
                    wrong("log_softmax", f(&[]).log_softmax(0), &["scalar"]),
                    wrong("log_softmax", i(&[1]).log_softmax(0), &["floating"]),
                ]
            },
            known: &[],
        },
    ]
}

fn matrix(shape: &[usize]) -> Vec<super::Operand> {
    vec![operand(shape, -3.0, 3.0)]
}

/// A wrong call, made on the line that passes it.
fn wrong(op: &'static str, result: Tensor, parts: &[&'static str]) -> WrongCall {
    WrongCall::new(op, Result::Ok(result), parts)
}

/// An op along an axis, with further shapes.
fn along_axes(op: &'static str, run: fn(&Tensor, isize) -> Tensor) -> impl Iterator<Item = Sample> {
    AXES.iter().map(move |&(shape, axis)| {
        let sample = Sample::new(op, format!("{axis}"), matrix(shape), move |x| run(&x[0], axis).square());
        sample.within(8e-6, 8e-6).brief()
    })
}

/// Shapes and axes: vectors, rows of one element, no rows, a middle axis.
pub const AXES: [(&[usize], isize); 10] = [
    (&[1], 0),
    (&[7], 0),
    (&[33], -1),
    (&[5, 1], 1),
    (&[1, 5], -1),
    (&[0, 3], 1),
    (&[5, 3], 0),
    (&[2, 3, 5], 1),
    (&[2, 3, 5], -1),
    (&[2, 2, 2, 2], 2),
];
