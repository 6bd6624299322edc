//! Views.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn movement() -> Vec<Sample> {
    let x = |shape: &[usize]| vec![operand(shape, -2.0, 2.0)];
    // A product after each view: its gradient is not constant.
    let twice = |t: Tensor| &t * &t;
    vec![
        Sample::new("reshape to one axis", x(&[2, 3, 2]), move |x| twice(x[0].permute(&[1, 0, 2]).reshape([12]))),
        Sample::new("flatten all", x(&[3, 2]), move |x| twice(x[0].t().flatten(0, -1))),
        Sample::new("permute of four", x(&[2, 1, 3, 2]), move |x| twice(x[0].permute(&[3, 1, 0, 2]))),
        Sample::new("transpose of three", x(&[2, 3, 2]), move |x| twice(x[0].transpose(0, -1))),
        Sample::new("expand of a scalar", x(&[]), move |x| twice(x[0].expand([3, 2]))),
        Sample::new("squeeze the first", x(&[1, 4]), move |x| twice(x[0].squeeze(0))),
        Sample::new("unsqueeze the last", x(&[4]), move |x| twice(x[0].unsqueeze(-1))),
        Sample::new("reshape", x(&[2, 6]), move |x| twice(x[0].reshape([3, 4]))).smooth(),
        Sample::new("flatten", x(&[2, 3, 2]), move |x| twice(x[0].flatten(1, -1))),
        Sample::new("permute", x(&[2, 3, 4]), move |x| twice(x[0].permute(&[2, 0, 1]))).smooth(),
        Sample::new("transpose", x(&[3, 4]), move |x| twice(x[0].t()).reshape([12])),
        Sample::new("expand", x(&[3, 1]), move |x| twice(x[0].expand([2, 3, 4]))).smooth(),
        Sample::new("squeeze", x(&[3, 1, 2]), move |x| twice(x[0].squeeze(1).unsqueeze(0))),
        Sample::new("slice", x(&[4, 5]), move |x| twice(x[0].slice(1, 1, -1).slice(0, 1, 3))).smooth(),
        Sample::new("slice step", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 1, 7, 3))),
        Sample::new("slice back", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 6, 0, -2))),
        Sample::new("slice to the start", x(&[5]), move |x| twice(x[0].slice_step(0, -1, isize::MIN, -2))),
        Sample::new("empty slice", x(&[4]), move |x| twice(x[0].slice(0, 2, 2))).flat(),
        Sample::new("flip", x(&[3, 4]), move |x| twice(x[0].flip(0) + x[0].flip(1))),
        Sample::new("pad", x(&[2, 3]), move |x| twice(x[0].pad(&[(1, 0), (2, 1)]) + 1.0)).smooth(),
        Sample::new("pad of a function", x(&[2, 3]), |x| x[0].cos().pad(&[(1, 1), (0, 2)]) * 2.0),
        Sample::new("pad, then reshape", x(&[2, 3]), move |x| twice(x[0].pad(&[(0, 1), (1, 0)]).reshape([12]) - 0.5)),
        Sample::new("cat", vec![operand(&[2, 3], -1.0, 1.0), operand(&[2, 2], -1.0, 1.0)], move |x| {
            twice(Tensor::cat(&[&x[0], &x[1], &x[0]], 1))
        }),
        Sample::new("stack", vec![operand(&[2, 3], -1.0, 1.0); 2], move |x| twice(Tensor::stack(&[&x[0], &x[1]], 1))),
        Sample::new("diamond", x(&[3, 3]), |x| {
            let y = &x[0] * 2.0;
            &y * y.t() + (&y + &x[0]).t()
        })
        .smooth(),
    ]
}
