//! Convolution and pooling.

use super::{Sample, operand};
use wgrad::{ConvOptions, PoolOptions};

pub fn windows() -> Vec<Sample> {
    struct Conv {
        x: [usize; 4],
        w: [usize; 4],
        options: ConvOptions<2>,
    }
    let plain = ConvOptions::default();
    let rows = [
        Conv { x: [1, 1, 3, 3], w: [1, 1, 1, 1], options: plain },
        Conv { x: [2, 3, 5, 5], w: [4, 3, 3, 3], options: plain },
        Conv { x: [2, 3, 5, 4], w: [4, 3, 3, 3], options: ConvOptions { padding: [1, 1], ..plain } },
        Conv { x: [1, 2, 6, 7], w: [3, 2, 3, 2], options: ConvOptions { stride: [2, 2], padding: [1, 0], ..plain } },
        Conv { x: [2, 2, 7, 7], w: [3, 2, 3, 3], options: ConvOptions { dilation: [2, 2], padding: [2, 1], ..plain } },
        Conv { x: [2, 4, 5, 5], w: [6, 2, 3, 3], options: ConvOptions { groups: 2, padding: [1, 1], ..plain } },
        Conv { x: [2, 4, 5, 5], w: [4, 1, 3, 3], options: ConvOptions { groups: 4, stride: [2, 1], ..plain } },
        Conv { x: [2, 3, 8, 8], w: [5, 3, 5, 5], options: ConvOptions { stride: [3, 2], padding: [2, 2], ..plain } },
        Conv { x: [3, 8, 4, 4], w: [8, 8, 1, 1], options: plain },
        Conv {
            x: [1, 5, 9, 6],
            w: [7, 5, 2, 4],
            options: ConvOptions { stride: [2, 3], dilation: [3, 1], padding: [1, 2], ..plain },
        },
    ];
    let mut out = Vec::new();
    for Conv { x, w, options } in rows {
        let operands = vec![operand(&x, -1.0, 1.0), operand(&w, -1.0, 1.0), operand(&w[..1], -1.0, 1.0)];
        out.push(
            Sample::new("conv2d", format!("{options:?}"), operands.clone(), move |t| t[0].conv2d(&t[1], None, options))
                .within(4e-6, 4e-6)
                .smooth(),
        );
        out.push(
            Sample::new("conv2d", "bias, tanh", operands, move |t| t[0].conv2d(&t[1], Some(&t[2]), options).tanh())
                .within(4e-6, 4e-6),
        );
    }
    let plain = PoolOptions::default();
    let pools = [
        ([2, 2], plain),
        ([3, 3], plain.stride(2).padding(1)),
        ([3, 3], plain.stride(1)),
        ([2, 3], PoolOptions { stride: Some([1, 2]), padding: [1, 1], count_include_pad: false, dilation: [1, 1] }),
    ];
    for (kernel, options) in pools {
        for shape in [[2, 3, 6, 6], [1, 2, 7, 5]] {
            let x = vec![operand(&shape, -1.0, 1.0)];
            out.push(Sample::new("max_pool2d", format!("{kernel:?} {options:?}"), x.clone(), move |t| {
                t[0].max_pool2d_with(kernel, options).square()
            }));
            out.push(
                Sample::new("avg_pool2d", format!("{kernel:?} {options:?}"), x, move |t| {
                    t[0].avg_pool2d_with(kernel, options).square()
                })
                .smooth(),
            );
        }
    }
    let dilated = plain.stride(1).dilation([2, 1]);
    out.push(Sample::new("max_pool2d", "dilated", vec![operand(&[1, 2, 5, 5], -1.0, 1.0)], move |t| {
        t[0].max_pool2d_with(2, dilated).square()
    }));
    out
}
