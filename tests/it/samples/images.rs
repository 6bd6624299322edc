//! Convolutions over one and three axes, transposed ones, pooling, folding, resizing.

use super::{Sample, operand};
use wgrad::{ConvNdOptions, ConvTransposeOptions, FoldOptions, Interpolation, PoolNdOptions, Tensor};

pub fn images() -> Vec<Sample> {
    let mut rows = convolutions();
    rows.extend(transposed());
    rows.extend(pools());
    rows.extend(resampling());
    rows
}

fn conv(name: &str, x: &[usize], w: &[usize], co: usize, run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Sample {
    let operands = vec![operand(x, -1.0, 1.0), operand(w, -1.0, 1.0), operand(&[co], -1.0, 1.0)];
    Sample::new(format!("{name} {x:?} {w:?}"), operands, run).within(5e-6, 5e-6)
}

fn convolutions() -> Vec<Sample> {
    let plain = ConvNdOptions::<1>::default;
    let one = [
        ([2, 3, 6], [4, 3, 3], plain()),
        ([1, 4, 7], [6, 2, 2], ConvNdOptions { stride: [2], padding: [1], groups: 2, ..plain() }),
        ([2, 2, 8], [3, 2, 3], ConvNdOptions { dilation: [2], padding: [2], ..plain() }),
    ];
    let cube = ConvNdOptions::<3>::default;
    let three = [
        ([1, 2, 3, 3, 3], [2, 2, 2, 2, 2], cube()),
        ([2, 2, 4, 3, 3], [2, 1, 3, 2, 1], ConvNdOptions { stride: [2, 1, 2], padding: [1, 0, 1], groups: 2, ..cube() }),
        ([1, 1, 5, 3, 3], [2, 1, 2, 1, 3], ConvNdOptions { dilation: [3, 1, 1], padding: [0, 0, 1], ..cube() }),
        ([2, 3, 2, 2, 2], [2, 3, 1, 1, 1], cube()),
    ];
    let mut rows = Vec::new();
    for (x, w, options) in one {
        rows.push(conv("conv1d", &x, &w, w[0], move |t| t[0].conv1d(&t[1], Some(&t[2]), options).tanh()).smooth());
    }
    for (x, w, options) in three {
        rows.push(conv("conv3d", &x, &w, w[0], move |t| t[0].conv3d(&t[1], Some(&t[2]), options).tanh()));
    }
    let same = vec![operand(&[1, 2, 5], -1.0, 1.0), operand(&[2, 2, 4], -1.0, 1.0)];
    rows.push(Sample::new("pad_same, conv1d", same, |t| {
        t[0].pad_same(&[4], &[2]).conv1d(&t[1], None, ConvNdOptions { dilation: [2], ..ConvNdOptions::default() })
    }));
    rows.push(Sample::new("pad_same of two axes", vec![operand(&[2, 3, 2], -1.0, 1.0)], |t| {
        (t[0].pad_same(&[2, 3], &[1, 1]) + 0.5).square()
    }));
    rows
}

fn transposed() -> Vec<Sample> {
    let plain = ConvTransposeOptions::<1>::default;
    let one = [
        ([2, 3, 4], [3, 2, 3], 2, plain()),
        ([1, 4, 5], [4, 1, 3], 2, ConvTransposeOptions { stride: [2], padding: [1], output_padding: [1], groups: 2, ..plain() }),
    ];
    let flat = ConvTransposeOptions::<2>::default;
    let two = [
        ([1, 2, 3, 3], [2, 3, 2, 2], 3, flat()),
        (
            [2, 2, 3, 2],
            [2, 2, 3, 3],
            2,
            ConvTransposeOptions { stride: [2, 3], padding: [1, 0], output_padding: [1, 2], ..flat() },
        ),
        ([1, 4, 3, 3], [4, 1, 3, 2], 4, ConvTransposeOptions { groups: 4, dilation: [2, 1], ..flat() }),
        // More output padding than the stride leaves over.
        (
            [1, 2, 2, 3],
            [2, 2, 2, 2],
            2,
            ConvTransposeOptions { dilation: [3, 3], output_padding: [2, 1], padding: [1, 0], ..flat() },
        ),
    ];
    let cube = ConvTransposeOptions::<3>::default;
    let three = [
        ([1, 2, 2, 2, 3], [2, 2, 2, 3, 1], 2, cube()),
        (
            [1, 2, 3, 2, 2],
            [2, 1, 3, 2, 2],
            2,
            ConvTransposeOptions { stride: [2, 2, 1], padding: [1, 0, 1], output_padding: [1, 1, 0], groups: 2, ..cube() },
        ),
    ];
    let mut rows = Vec::new();
    for (x, w, co, o) in one {
        rows.push(conv("conv_transpose1d", &x, &w, co, move |t| t[0].conv_transpose1d(&t[1], Some(&t[2]), o).tanh()).smooth());
    }
    for (x, w, co, o) in two {
        rows.push(conv("conv_transpose2d", &x, &w, co, move |t| t[0].conv_transpose2d(&t[1], Some(&t[2]), o).tanh()).smooth());
    }
    for (x, w, co, o) in three {
        rows.push(conv("conv_transpose3d", &x, &w, co, move |t| t[0].conv_transpose3d(&t[1], Some(&t[2]), o).tanh()));
    }
    rows
}

fn pools() -> Vec<Sample> {
    let mut rows = Vec::new();
    let line = PoolNdOptions::<1>::cube;
    for (shape, options) in [
        ([2, 3, 6], line(2)),
        ([1, 2, 7], PoolNdOptions { stride: Some([2]), padding: [1], count_include_pad: false, ..line(3) }),
    ] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(Sample::new(format!("max_pool1d {options:?}"), x.clone(), move |t| t[0].max_pool1d(options).square()));
        rows.push(Sample::new(format!("avg_pool1d {options:?}"), x, move |t| t[0].avg_pool1d(options).square()).smooth());
    }
    let cube = PoolNdOptions::<3>::cube;
    for (shape, options) in [
        ([1, 2, 2, 4, 4], cube(2)),
        (
            [2, 1, 4, 3, 5],
            PoolNdOptions { kernel: [3, 2, 3], stride: Some([1, 1, 2]), padding: [1, 0, 1], count_include_pad: false, ..cube(1) },
        ),
    ] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(Sample::new(format!("max_pool3d {options:?}"), x.clone(), move |t| t[0].max_pool3d(options).square()));
        rows.push(Sample::new(format!("avg_pool3d {options:?}"), x, move |t| t[0].avg_pool3d(options).square()).smooth());
    }
    let dilated = PoolNdOptions { dilation: [2], stride: Some([1]), ..line(2) };
    rows.push(Sample::new("max_pool1d dilated", vec![operand(&[1, 2, 6], -1.0, 1.0)], move |t| {
        t[0].max_pool1d(dilated).square()
    }));
    for (shape, size) in [([2, 2, 4, 6], [2, 3]), ([1, 2, 5, 7], [3, 2]), ([1, 1, 2, 3], [3, 5]), ([2, 3, 3, 4], [1, 1])] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(
            Sample::new(format!("adaptive_avg_pool2d {shape:?} {size:?}"), x.clone(), move |t| {
                t[0].adaptive_avg_pool2d(size).square()
            })
            .smooth(),
        );
        rows.push(Sample::new(format!("adaptive_max_pool2d {shape:?} {size:?}"), x, move |t| {
            t[0].adaptive_max_pool2d(size).square()
        }));
    }
    for shape in [&[2, 3, 4][..], &[2, 3, 2, 3]] {
        let x = vec![operand(shape, -1.0, 1.0)];
        rows.push(Sample::new(format!("global_avg_pool {shape:?}"), x.clone(), |t| t[0].global_avg_pool().square()));
        rows.push(Sample::new(format!("global_max_pool {shape:?}"), x, |t| t[0].global_max_pool().square()));
    }
    rows
}

fn resampling() -> Vec<Sample> {
    let mut rows = Vec::new();
    let odd = FoldOptions { kernel: [2, 3], stride: [2, 1], padding: [1, 1], dilation: [1, 2] };
    for (x, columns, options) in [
        ([2, 2, 4, 3], [2, 8, 6], FoldOptions::square(2)),
        ([1, 2, 3, 5], [1, 12, 6], odd),
        ([1, 1, 5, 4], [1, 4, 6], FoldOptions { stride: [2, 1], ..FoldOptions::square(2) }),
    ] {
        let size = [x[2], x[3]];
        rows.push(
            Sample::new(format!("unfold {x:?} {options:?}"), vec![operand(&x, -1.0, 1.0)], move |t| {
                t[0].unfold(options).square()
            })
            .smooth(),
        );
        rows.push(
            Sample::new(format!("fold {x:?} {options:?}"), vec![operand(&columns, -1.0, 1.0)], move |t| {
                t[0].fold(size, options).square()
            })
            .smooth(),
        );
    }
    let modes =
        [Interpolation::Nearest, Interpolation::Linear { align_corners: false }, Interpolation::Linear { align_corners: true }];
    for mode in modes {
        for (x, size) in
            [(&[2, 2, 3][..], &[5][..]), (&[1, 2, 3, 4], &[6, 2]), (&[1, 2, 4, 3], &[3, 7]), (&[1, 1, 2, 3, 2], &[3, 1, 4])]
        {
            let run = move |t: &[Tensor]| t[0].interpolate(size, mode).square();
            rows.push(Sample::new(format!("interpolate {x:?} {size:?} {mode:?}"), vec![operand(x, -1.0, 1.0)], run));
        }
    }
    for align in [false, true] {
        let operands = vec![operand(&[2, 2, 3, 4], -1.0, 1.0), operand(&[2, 2, 3, 2], -1.4, 1.4)];
        rows.push(
            Sample::new(format!("grid_sample {align}"), operands, move |t| t[0].grid_sample(&t[1], align)).within(2e-5, 2e-5),
        );
        let maps = vec![operand(&[2, 2, 3], -1.0, 1.0)];
        rows.push(Sample::new(format!("affine_grid {align}"), maps, move |t| t[0].affine_grid([3, 2], align).square()).smooth());
    }
    rows.push(
        Sample::new(
            "grid_sample of an affine_grid",
            vec![operand(&[1, 1, 4, 4], -1.0, 1.0), operand(&[1, 2, 3], -0.7, 0.7)],
            |t| t[0].grid_sample(&t[1].affine_grid([3, 3], false), false).square(),
        )
        .within(2e-5, 2e-5),
    );
    rows
}
