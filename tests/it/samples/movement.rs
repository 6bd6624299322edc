//! Views.

use super::{Sample, operand};
use wgrad::Tensor;

pub fn movement() -> Vec<Sample> {
    let x = |shape: &[usize]| vec![operand(shape, -2.0, 2.0)];
    // Each view is followed by a product, whose gradient is not constant.
    let twice = |t: Tensor| &t * &t;
    vec![
        Sample::new("reshape", "to one axis", x(&[2, 3, 2]), move |x| twice(x[0].permute(&[1, 0, 2]).reshape([12]))),
        Sample::new("flatten", "all", x(&[3, 2]), move |x| twice(x[0].t().flatten(0, -1))),
        Sample::new("permute", "of four", x(&[2, 1, 3, 2]), move |x| twice(x[0].permute(&[3, 1, 0, 2]))),
        Sample::new("transpose", "of three", x(&[2, 3, 2]), move |x| twice(x[0].transpose(0, -1))),
        Sample::new("expand", "of a scalar", x(&[]), move |x| twice(x[0].expand([3, 2]))),
        Sample::new("squeeze", "the first", x(&[1, 4]), move |x| twice(x[0].squeeze(0))),
        Sample::new("unsqueeze", "the last", x(&[4]), move |x| twice(x[0].unsqueeze(-1))),
        Sample::new("reshape", "", x(&[2, 6]), move |x| twice(x[0].reshape([3, 4]))).smooth(),
        Sample::new("flatten", "", x(&[2, 3, 2]), move |x| twice(x[0].flatten(1, -1))),
        Sample::new("permute", "", x(&[2, 3, 4]), move |x| twice(x[0].permute(&[2, 0, 1]))).smooth(),
        Sample::new("transpose", "", x(&[3, 4]), move |x| twice(x[0].t()).reshape([12])),
        Sample::new("expand", "", x(&[3, 1]), move |x| twice(x[0].expand([2, 3, 4]))).smooth(),
        Sample::new("squeeze", "", x(&[3, 1, 2]), move |x| twice(x[0].squeeze(1).unsqueeze(0))),
        Sample::new("slice", "", x(&[4, 5]), move |x| twice(x[0].slice(1, 1, -1).slice(0, 1, 3))).smooth(),
        Sample::new("slice_step", "forth", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 1, 7, 3))),
        Sample::new("slice_step", "back", x(&[4, 7]), move |x| twice(x[0].slice_step(1, 6, 0, -2))),
        Sample::new("slice_step", "to the start", x(&[5]), move |x| twice(x[0].slice_step(0, -1, isize::MIN, -2))),
        Sample::new("slice", "empty", x(&[4]), move |x| twice(x[0].slice(0, 2, 2))).flat(),
        Sample::new("flip", "", x(&[3, 4]), move |x| twice(x[0].flip(0) + x[0].flip(1))),
        Sample::new("pad", "", x(&[2, 3]), move |x| twice(x[0].pad(&[(1, 0), (2, 1)]) + 1.0)).smooth(),
        Sample::new("pad", "of a function", x(&[2, 3]), |x| x[0].cos().pad(&[(1, 1), (0, 2)]) * 2.0),
        Sample::new("pad", "then reshape", x(&[2, 3]), move |x| twice(x[0].pad(&[(0, 1), (1, 0)]).reshape([12]) - 0.5)),
        Sample::new("cat", "", vec![operand(&[2, 3], -1.0, 1.0), operand(&[2, 2], -1.0, 1.0)], move |x| {
            twice(Tensor::cat(&[&x[0], &x[1], &x[0]], 1))
        }),
        Sample::new("stack", "", vec![operand(&[2, 3], -1.0, 1.0); 2], move |x| twice(Tensor::stack(&[&x[0], &x[1]], 1))),
        Sample::new("add", "diamond", x(&[3, 3]), |x| {
            let y = &x[0] * 2.0;
            &y * y.t() + (&y + &x[0]).t()
        })
        .smooth(),
    ]
}

/// A view squared, as above: one more shape of an op whose other samples cover every layout.
fn view(
    op: &'static str,
    what: impl AsRef<str>,
    shape: &[usize],
    run: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static,
) -> Sample {
    let squared = move |x: &[Tensor]| {
        let y = run(&x[0]);
        &y * &y
    };
    // Products of several numbers are rounded several times.
    Sample::new(op, what, vec![operand(shape, -2.0, 2.0)], squared).within(8e-6, 4e-6).brief()
}

/// Views of further shapes and arguments: no elements, no axes, axes of length 1, many axes.
pub fn arguments() -> Vec<Sample> {
    [shapes(), orders(), stretches(), axes(), cuts(), pads(), joins(), triangles()].into_iter().flatten().collect()
}

/// Other axes for the same elements.
fn shapes() -> Vec<Sample> {
    let mut rows = Vec::new();
    let reshapes: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[], &[1, 1]),
        (&[1, 1], &[]),
        (&[6], &[2, 3]),
        (&[2, 3], &[3, 2]),
        (&[2, 3], &[1, 6, 1]),
        (&[2, 3, 4], &[6, 4]),
        (&[0, 3], &[3, 0, 2]),
        (&[2, 2, 2, 2], &[4, 4]),
        (&[3, 5], &[5, 3]),
    ];
    for (from, to) in reshapes {
        rows.push(view("reshape", format!("to {to:?}"), from, move |x| x.reshape(to)));
    }
    let flattens: [(&[usize], isize, isize); 10] = [
        (&[4], 0, 0),
        (&[2, 3], 0, 1),
        (&[2, 3], -2, -1),
        (&[2, 3], 1, 1),
        (&[2, 3, 4], 0, 1),
        (&[2, 3, 4], 0, 2),
        (&[2, 0, 4], 1, 2),
        (&[1, 1, 3], 0, 1),
        (&[2, 2, 2, 2], 1, 2),
        (&[2, 2, 2, 2], -3, -1),
    ];
    for (shape, first, last) in flattens {
        rows.push(view("flatten", format!("{first} to {last}"), shape, move |x| x.flatten(first, last)));
    }
    rows
}

/// Axes in another order.
fn orders() -> Vec<Sample> {
    let mut rows = Vec::new();
    let orders: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[3], &[0]),
        (&[2, 3], &[0, 1]),
        (&[2, 3], &[1, 0]),
        (&[0, 3], &[1, 0]),
        (&[2, 3, 4], &[0, 2, 1]),
        (&[2, 3, 4], &[1, 2, 0]),
        (&[2, 3, 4], &[2, 1, 0]),
        (&[1, 4, 1, 2], &[2, 3, 0, 1]),
        (&[2, 2, 2, 2], &[3, 0, 2, 1]),
    ];
    for (shape, order) in orders {
        rows.push(view("permute", format!("{order:?}"), shape, move |x| x.permute(order)));
    }
    let swaps: [(&[usize], isize, isize); 11] = [
        (&[3], 0, 0),
        (&[2, 3], 0, 1),
        (&[2, 3], -1, -1),
        (&[0, 3], 0, 1),
        (&[1, 3], 0, 1),
        (&[2, 3, 4], 0, 1),
        (&[2, 3, 4], 1, 2),
        (&[2, 3, 4], 2, 0),
        (&[2, 0, 4], -1, 0),
        (&[2, 2, 2, 2], 1, 3),
        (&[1, 4, 1, 2], 1, 2),
    ];
    for (shape, a, b) in swaps {
        rows.push(view("transpose", format!("{a} and {b}"), shape, move |x| x.transpose(a, b)));
    }
    let matrices: [&[usize]; 12] = [
        &[1, 1],
        &[1, 3],
        &[3, 1],
        &[2, 3],
        &[5, 3],
        &[0, 3],
        &[3, 0],
        &[2, 3, 4],
        &[2, 1, 3],
        &[2, 0, 4],
        &[1, 4, 1, 2],
        &[2, 2, 2, 2],
    ];
    for shape in matrices {
        rows.push(view("t", "", shape, Tensor::t));
    }
    rows
}

/// Axes expanded and repeated.
fn stretches() -> Vec<Sample> {
    let mut rows = Vec::new();
    let stretches: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[], &[3]),
        (&[1], &[5]),
        (&[3], &[2, 3]),
        (&[1, 3], &[4, 3]),
        (&[3, 1], &[3, 4]),
        (&[2, 1, 3], &[2, 4, 3]),
        (&[1], &[0]),
        (&[0, 1], &[0, 3]),
        (&[1, 1, 2], &[2, 3, 2, 2]),
    ];
    for (from, to) in stretches {
        rows.push(view("expand", format!("to {to:?}"), from, move |x| x.expand(to)));
    }
    let counts: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[], &[3]),
        (&[3], &[1]),
        (&[3], &[3]),
        (&[1], &[4]),
        (&[0, 3], &[2, 2]),
        (&[2, 3], &[1, 1]),
        (&[2, 3], &[2, 1, 2]),
        (&[2, 1, 3], &[1, 3, 2]),
        (&[2, 3], &[3, 0]),
    ];
    for (shape, counts) in counts {
        rows.push(view("repeat", format!("{counts:?}"), shape, move |x| x.repeat(counts)));
    }
    rows
}

/// Axes of length 1 added and dropped.
fn axes() -> Vec<Sample> {
    let mut rows = Vec::new();
    let added: [(&[usize], isize); 11] = [
        (&[], 0),
        (&[], -1),
        (&[3], 0),
        (&[3], 1),
        (&[2, 3], 1),
        (&[2, 3], -1),
        (&[2, 3], -3),
        (&[0, 3], 2),
        (&[1, 1], 0),
        (&[2, 3, 4], 2),
        (&[2, 2, 2, 2], 4),
    ];
    for (shape, axis) in added {
        rows.push(view("unsqueeze", format!("{axis}"), shape, move |x| x.unsqueeze(axis)));
    }
    let dropped: [(&[usize], isize); 10] = [
        (&[1], 0),
        (&[1], -1),
        (&[1, 1], 0),
        (&[1, 3], -2),
        (&[3, 1], 1),
        (&[1, 0], 0),
        (&[2, 1, 3], 1),
        (&[2, 3, 1], -1),
        (&[1, 4, 1, 2], 2),
        (&[1, 2, 2, 2], 0),
    ];
    for (shape, axis) in dropped {
        rows.push(view("squeeze", format!("{axis}"), shape, move |x| x.squeeze(axis)));
    }
    rows
}

/// Slices, with steps and backwards.
fn cuts() -> Vec<Sample> {
    let mut rows = Vec::new();
    let cuts: [(&[usize], isize, isize, isize); 10] = [
        (&[5], 0, 0, 5),
        (&[5], 0, 1, 4),
        (&[5], -1, -3, -1),
        (&[5], 0, 4, 5),
        (&[5], 0, 5, 5),
        (&[2, 3], 0, 1, 2),
        (&[2, 3], 1, 0, 2),
        (&[2, 3, 5], 1, 1, 3),
        (&[2, 0, 4], 2, 1, 3),
        (&[2, 2, 2, 2], -2, 1, 2),
    ];
    for (shape, axis, start, stop) in cuts {
        rows.push(view("slice", format!("{axis}: {start} to {stop}"), shape, move |x| x.slice(axis, start, stop)));
    }
    let steps: [(&[usize], isize, isize, isize, isize); 10] = [
        (&[5], 0, 0, 5, 1),
        (&[5], 0, 0, 5, 2),
        (&[5], 0, 1, 5, 3),
        (&[5], 0, 4, isize::MIN, -1),
        (&[5], 0, -2, 0, -2),
        (&[5], 0, 0, 5, 9),
        (&[2, 5], 0, 1, isize::MIN, -1),
        (&[2, 5], -1, 1, 5, 2),
        (&[2, 3, 5], 1, 0, 3, 2),
        (&[0, 5], 1, 0, 5, 2),
    ];
    for (shape, axis, start, stop, step) in steps {
        let run = move |x: &Tensor| x.slice_step(axis, start, stop, step);
        rows.push(view("slice_step", format!("{axis}: {start} to {stop} by {step}"), shape, run));
    }
    let flips: [(&[usize], &[isize]); 11] = [
        (&[], &[]),
        (&[5], &[0]),
        (&[5], &[-1]),
        (&[1], &[0]),
        (&[2, 3], &[0]),
        (&[2, 3], &[1]),
        (&[2, 3], &[0, 1]),
        (&[0, 3], &[1]),
        (&[2, 3, 4], &[1]),
        (&[2, 3, 4], &[0, 2]),
        (&[2, 2, 2, 2], &[1, -1]),
    ];
    for (shape, axes) in flips {
        rows.push(view("flip", format!("{axes:?}"), shape, move |x| x.flip(axes)));
    }
    rows
}

/// Padding.
fn pads() -> Vec<Sample> {
    let mut rows = Vec::new();
    type Pads = (&'static [usize], &'static [(usize, usize)]);
    let pads: [Pads; 10] = [
        (&[], &[]),
        (&[3], &[(0, 0)]),
        (&[3], &[(2, 0)]),
        (&[3], &[(0, 2)]),
        (&[0], &[(1, 1)]),
        (&[2, 3], &[(0, 0), (1, 2)]),
        (&[2, 3], &[(3, 1), (0, 0)]),
        (&[0, 3], &[(0, 2), (1, 0)]),
        (&[2, 3, 4], &[(1, 0), (0, 1), (1, 1)]),
        (&[1, 4, 1, 2], &[(0, 1), (0, 0), (2, 0), (0, 0)]),
    ];
    for (shape, amounts) in pads {
        rows.push(view("pad", format!("{amounts:?}"), shape, move |x| x.pad(amounts)));
        rows.push(view("pad_with", format!("7, {amounts:?}"), shape, move |x| {
            x.pad_with(amounts, wgrad::PadMode::Constant(7.0))
        }));
    }
    let same: [(&[usize], &[usize], &[usize]); 11] = [
        (&[1, 2, 5], &[3], &[1]),
        (&[1, 2, 5], &[3], &[2]),
        (&[1, 2, 5], &[2], &[3]),
        (&[1, 2, 5], &[1], &[1]),
        (&[1, 2, 5, 4], &[3, 3], &[1, 1]),
        (&[1, 2, 5, 4], &[2, 5], &[1, 1]),
        (&[1, 2, 5, 4], &[1, 4], &[2, 1]),
        (&[0, 2, 5], &[3], &[1]),
        (&[1, 1, 3, 2, 2], &[3, 2, 1], &[1, 2, 1]),
        (&[5], &[3], &[1]),
        (&[2, 3], &[4], &[1]),
    ];
    for (shape, kernel, dilation) in same {
        rows.push(view("pad_same", format!("{kernel:?} {dilation:?}"), shape, move |x| x.pad_same(kernel, dilation)));
    }
    rows
}

/// Joined, split and rolled along an axis; scanned and sorted along it.
fn joins() -> Vec<Sample> {
    let mut rows = Vec::new();
    let pairs: [(&[usize], isize); 12] = [
        (&[3], 0),
        (&[3], -1),
        (&[1], 0),
        (&[0], 0),
        (&[2, 3], 0),
        (&[2, 3], 1),
        (&[2, 3], -2),
        (&[0, 3], 1),
        (&[2, 3, 4], 1),
        (&[2, 3, 4], -1),
        (&[2, 2, 2, 2], 2),
        (&[1, 4, 1, 2], 0),
    ];
    for (shape, axis) in pairs {
        rows.push(view("cat", format!("{axis}"), shape, move |x| Tensor::cat(&[x, &x.sin(), x], axis)));
        rows.push(view("stack", format!("{axis}"), shape, move |x| Tensor::stack(&[x, &x.sin()], axis)));
        let n = shape[usize::try_from(axis).unwrap_or(shape.len() - axis.unsigned_abs())];
        let cut = n / 2;
        let run = move |x: &Tensor| {
            Tensor::cat(&x.split(axis, &[cut, n - cut]).expect("it fits").iter().rev().collect::<Vec<_>>(), axis)
        };
        rows.push(view("split", format!("{axis}"), shape, run));
        let run = move |x: &Tensor| Tensor::cat(&x.chunk(2, axis).expect("it fits").iter().rev().collect::<Vec<_>>(), axis);
        rows.push(view("chunk", format!("{axis}"), shape, run));
        for shift in [1, -2] {
            rows.push(view("roll", format!("by {shift} along {axis}"), shape, move |x| x.roll(shift, axis)));
        }
        rows.push(view("unflatten", format!("{axis}"), shape, move |x| x.unflatten(axis, &[n, 1])));
        if n > 0 {
            let last = n.cast_signed() - 1;
            rows.push(view("narrow", format!("{n} less 1 of {axis}"), shape, move |x| x.narrow(axis, 1, n - 1)));
            rows.push(view("select", format!("{last} of {axis}"), shape, move |x| x.select(axis, last)));
        }
        rows.push(view("cumsum", format!("along {axis}"), shape, move |x| x.cumsum(axis)));
        rows.push(view("cumprod", format!("along {axis}"), shape, move |x| x.cumprod(axis)));
        for down in [false, true] {
            rows.push(view("sort", format!("{axis} {down}"), shape, move |x| x.sort(axis, down).0));
        }
        rows.push(view("topk", format!("{axis}"), shape, move |x| x.topk(n.div_ceil(2), axis).0));
    }
    rows
}

/// Triangles and diagonals.
fn triangles() -> Vec<Sample> {
    let mut rows = Vec::new();
    let triangles: [(&[usize], isize); 10] = [
        (&[1, 1], 0),
        (&[3, 3], 0),
        (&[3, 3], 1),
        (&[3, 3], -1),
        (&[3, 3], 5),
        (&[3, 3], -5),
        (&[2, 5], 1),
        (&[5, 2], -2),
        (&[0, 3], 0),
        (&[2, 3, 4], 1),
    ];
    for (shape, k) in triangles {
        rows.push(view("tril", format!("{k}"), shape, move |x| x.tril(k)));
        rows.push(view("triu", format!("{k}"), shape, move |x| x.triu(k)));
    }
    for (shape, k) in [(&[1][..], 0), (&[4], 1), (&[4], -2), (&[0], 1), (&[3, 3], 0), (&[2, 5], 3), (&[5, 2], -3), (&[1, 1], 0)] {
        rows.push(view("diag", format!("{k}"), shape, move |x| x.diag(k)));
    }
    rows
}
