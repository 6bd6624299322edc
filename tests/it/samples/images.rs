//! Convolutions over one and three axes, transposed ones, pooling, folding, resizing.

use super::{Sample, operand};
use wgrad::{ConvOptions, ConvTransposeOptions, FoldOptions, GridOptions, Interpolation, PoolOptions, Tensor};

pub fn images() -> Vec<Sample> {
    let mut rows = convolutions();
    rows.extend(transposed());
    rows.extend(pools());
    rows.extend(resampling());
    rows
}

fn conv(
    op: &'static str,
    x: &[usize],
    w: &[usize],
    co: usize,
    run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
) -> Sample {
    let operands = vec![operand(x, -1.0, 1.0), operand(w, -1.0, 1.0), operand(&[co], -1.0, 1.0)];
    Sample::new(op, "", operands, run).within(5e-6, 5e-6)
}

fn convolutions() -> Vec<Sample> {
    let plain = ConvOptions::<1>::default;
    let one = [
        ([2, 3, 6], [4, 3, 3], plain()),
        ([1, 4, 7], [6, 2, 2], ConvOptions { stride: [2], padding: [1], groups: 2, ..plain() }),
        ([2, 2, 8], [3, 2, 3], ConvOptions { dilation: [2], padding: [2], ..plain() }),
    ];
    let cube = ConvOptions::<3>::default;
    let three = [
        ([1, 2, 3, 3, 3], [2, 2, 2, 2, 2], cube()),
        ([2, 2, 4, 3, 3], [2, 1, 3, 2, 1], ConvOptions { stride: [2, 1, 2], padding: [1, 0, 1], groups: 2, ..cube() }),
        ([1, 1, 5, 3, 3], [2, 1, 2, 1, 3], ConvOptions { dilation: [3, 1, 1], padding: [0, 0, 1], ..cube() }),
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
    rows.push(Sample::new("pad_same", "conv1d", same, |t| {
        t[0].pad_same(&[4], &[2]).conv1d(&t[1], None, ConvOptions { dilation: [2], ..ConvOptions::default() })
    }));
    rows.push(Sample::new("pad_same", "of two axes", vec![operand(&[2, 3, 2], -1.0, 1.0)], |t| {
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
        // More output padding than the stride requires.
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
    for (shape, kernel, options) in [
        ([2, 3, 6], 2, PoolOptions::default()),
        ([1, 2, 7], 3, PoolOptions { stride: Some([2]), padding: [1], count_include_pad: false, ..Default::default() }),
    ] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(Sample::new("max_pool1d", format!("{kernel:?} {options:?}"), x.clone(), move |t| {
            t[0].max_pool1d_with(kernel, options).square()
        }));
        rows.push(
            Sample::new("avg_pool1d", format!("{kernel:?} {options:?}"), x, move |t| {
                t[0].avg_pool1d_with(kernel, options).square()
            })
            .smooth(),
        );
    }
    for (shape, kernel, options) in [
        ([1, 2, 2, 4, 4], [2; 3], PoolOptions::default()),
        (
            [2, 1, 4, 3, 5],
            [3, 2, 3],
            PoolOptions { stride: Some([1, 1, 2]), padding: [1, 0, 1], count_include_pad: false, ..Default::default() },
        ),
    ] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(Sample::new("max_pool3d", format!("{kernel:?} {options:?}"), x.clone(), move |t| {
            t[0].max_pool3d_with(kernel, options).square()
        }));
        rows.push(
            Sample::new("avg_pool3d", format!("{kernel:?} {options:?}"), x, move |t| {
                t[0].avg_pool3d_with(kernel, options).square()
            })
            .smooth(),
        );
    }
    let dilated = PoolOptions::default().stride(1).dilation(2);
    rows.push(Sample::new("max_pool1d", "dilated", vec![operand(&[1, 2, 6], -1.0, 1.0)], move |t| {
        t[0].max_pool1d_with(2, dilated).square()
    }));
    for (shape, size) in [([2, 2, 4, 6], [2, 3]), ([1, 2, 5, 7], [3, 2]), ([1, 1, 2, 3], [3, 5]), ([2, 3, 3, 4], [1, 1])] {
        let x = vec![operand(&shape, -1.0, 1.0)];
        rows.push(
            Sample::new("adaptive_avg_pool2d", format!("{size:?}"), x.clone(), move |t| t[0].adaptive_avg_pool2d(size).square())
                .smooth(),
        );
        rows.push(Sample::new("adaptive_max_pool2d", format!("{size:?}"), x, move |t| t[0].adaptive_max_pool2d(size).square()));
    }
    for shape in [&[2, 3, 4][..], &[2, 3, 2, 3]] {
        let x = vec![operand(shape, -1.0, 1.0)];
        rows.push(Sample::new("global_avg_pool", "", x.clone(), |t| t[0].global_avg_pool().square()));
        rows.push(Sample::new("global_max_pool", "", x, |t| t[0].global_max_pool().square()));
    }
    rows
}

fn resampling() -> Vec<Sample> {
    let mut rows = Vec::new();
    let odd = FoldOptions { stride: [2, 1], padding: [1, 1], dilation: [1, 2] };
    for (x, columns, kernel, options) in [
        ([2, 2, 4, 3], [2, 8, 6], [2, 2], FoldOptions::default()),
        ([1, 2, 3, 5], [1, 12, 6], [2, 3], odd),
        ([1, 1, 5, 4], [1, 4, 6], [2, 2], FoldOptions::default().stride([2, 1])),
    ] {
        let size = [x[2], x[3]];
        rows.push(
            Sample::new("unfold", format!("{kernel:?} {options:?}"), vec![operand(&x, -1.0, 1.0)], move |t| {
                t[0].unfold(kernel, options).square()
            })
            .smooth(),
        );
        rows.push(
            Sample::new("fold", format!("{kernel:?} {options:?}"), vec![operand(&columns, -1.0, 1.0)], move |t| {
                t[0].fold(size, kernel, options).square()
            })
            .smooth(),
        );
    }
    let modes = [Interpolation::Nearest, Interpolation::Linear, Interpolation::LinearAligned];
    for mode in modes {
        for (x, size) in
            [(&[2, 2, 3][..], &[5][..]), (&[1, 2, 3, 4], &[6, 2]), (&[1, 2, 4, 3], &[3, 7]), (&[1, 1, 2, 3, 2], &[3, 1, 4])]
        {
            let run = move |t: &[Tensor]| t[0].interpolate(size, mode).square();
            rows.push(Sample::new("interpolate", format!("{size:?} {mode:?}"), vec![operand(x, -1.0, 1.0)], run));
        }
    }
    for align in [false, true] {
        let operands = vec![operand(&[2, 2, 3, 4], -1.0, 1.0), operand(&[2, 2, 3, 2], -1.4, 1.4)];
        rows.push(
            Sample::new("grid_sample", format!("{align}"), operands, move |t| {
                t[0].grid_sample(&t[1], GridOptions { align_corners: align })
            })
            .within(2e-5, 2e-5),
        );
        let maps = vec![operand(&[2, 2, 3], -1.0, 1.0)];
        rows.push(
            Sample::new("affine_grid", format!("{align}"), maps, move |t| {
                t[0].affine_grid([3, 2], GridOptions { align_corners: align }).square()
            })
            .smooth(),
        );
    }
    rows.push(
        Sample::new(
            "grid_sample",
            "of an affine_grid",
            vec![operand(&[1, 1, 4, 4], -1.0, 1.0), operand(&[1, 2, 3], -0.7, 0.7)],
            |t| t[0].grid_sample(&t[1].affine_grid([3, 3], GridOptions::default()), GridOptions::default()).square(),
        )
        .within(2e-5, 2e-5),
    );
    rows
}

/// Windows over one, two and three axes with further strides, paddings, dilations and groups.
pub fn arguments() -> Vec<Sample> {
    let rows = [further_convolutions(), further_pools(), grids_and_sizes(), whole_images()];
    rows.into_iter().flatten().map(|row| row.within(2e-5, 2e-5).brief()).collect()
}

/// Convolutions and transposed ones, with one stride, padding and dilation for all axes.
fn further_convolutions() -> Vec<Sample> {
    let mut rows = Vec::new();
    // Stride, padding, dilation, groups.
    let cases: [(usize, usize, usize, usize); 10] = [
        (1, 0, 1, 1),
        (2, 0, 1, 1),
        (3, 1, 1, 1),
        (1, 1, 2, 1),
        (2, 2, 1, 2),
        (1, 0, 1, 2),
        (2, 1, 2, 1),
        (1, 2, 2, 2),
        (3, 0, 1, 2),
        (2, 2, 2, 2),
    ];
    for (stride, padding, dilation, groups) in cases {
        let what = format!("stride {stride} padding {padding} dilation {dilation} groups {groups}");
        let add = |rows: &mut Vec<Sample>, op, x: &[usize], w: &[usize], run: super::Run| {
            rows.push(Sample::new(op, &what, vec![operand(x, -1.0, 1.0), operand(w, -1.0, 1.0)], run));
        };
        let o = ConvOptions { stride: [stride], padding: [padding], dilation: [dilation], groups, ..Default::default() };
        add(&mut rows, "conv1d", &[2, 2, 7], &[4, 2 / groups, 3], Box::new(move |t| t[0].conv1d(&t[1], None, o).square()));
        let o = ConvOptions { stride: [stride; 3], padding: [padding; 3], dilation: [dilation; 3], groups, ..Default::default() };
        add(
            &mut rows,
            "conv3d",
            &[1, 2, 3, 4, 3],
            &[2, 2 / groups, 2, 1, 2],
            Box::new(move |t| t[0].conv3d(&t[1], None, o).square()),
        );
        // A transposed convolution removes the padding again, so there is less of it.
        let p = padding.min(1);
        let o = ConvTransposeOptions {
            stride: [stride],
            padding: [p],
            dilation: [dilation],
            groups,
            output_padding: [stride - 1],
            ..Default::default()
        };
        add(
            &mut rows,
            "conv_transpose1d",
            &[2, 2, 4],
            &[2, 2, 3],
            Box::new(move |t| t[0].conv_transpose1d(&t[1], None, o).square()),
        );
        let o = ConvTransposeOptions {
            stride: [stride; 2],
            padding: [p; 2],
            dilation: [dilation; 2],
            groups,
            output_padding: [stride - 1, 0],
            ..Default::default()
        };
        add(
            &mut rows,
            "conv_transpose2d",
            &[1, 2, 3, 4],
            &[2, 1, 3, 2],
            Box::new(move |t| t[0].conv_transpose2d(&t[1], None, o).square()),
        );
        let o = ConvTransposeOptions {
            stride: [stride; 3],
            padding: [p, 0, 0],
            dilation: [dilation; 3],
            groups,
            output_padding: [stride - 1, 0, 0],
            ..Default::default()
        };
        add(
            &mut rows,
            "conv_transpose3d",
            &[1, 2, 2, 2, 1],
            &[2, 1, 3, 1, 2],
            Box::new(move |t| t[0].conv_transpose3d(&t[1], None, o).square()),
        );
    }
    rows
}

/// Pools and folds, with one kernel, stride and padding for all axes.
fn further_pools() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (kernel, stride, padding, include) in [
        (1, 1, 0, true),
        (2, 1, 0, true),
        (2, 2, 1, true),
        (2, 2, 1, false),
        (3, 1, 1, true),
        (3, 1, 1, false),
        (3, 2, 0, true),
        (3, 3, 1, false),
        (2, 3, 0, true),
        (3, 2, 1, false),
    ] {
        let what = format!("kernel {kernel} stride {stride} padding {padding} {include}");
        let line = PoolOptions { stride: Some([stride]), padding: [padding], count_include_pad: include, ..Default::default() };
        let cube =
            PoolOptions { stride: Some([stride; 3]), padding: [padding; 3], count_include_pad: include, ..Default::default() };
        let (x1, x3) = (|| vec![operand(&[2, 3, 7], -1.0, 1.0)], || vec![operand(&[1, 2, 4, 3, 5], -1.0, 1.0)]);
        rows.push(Sample::new("max_pool1d", &what, x1(), move |t| t[0].max_pool1d_with(kernel, line).square()));
        rows.push(Sample::new("avg_pool1d", &what, x1(), move |t| t[0].avg_pool1d_with(kernel, line).square()));
        rows.push(Sample::new("max_pool3d", &what, x3(), move |t| t[0].max_pool3d_with(kernel, cube).square()));
        rows.push(Sample::new("avg_pool3d", &what, x3(), move |t| t[0].avg_pool3d_with(kernel, cube).square()));
        let flat = PoolOptions::default().stride(stride).padding(padding).count_include_pad(include);
        let x2 = || vec![operand(&[2, 2, 5, 4], -1.0, 1.0)];
        rows.push(Sample::new("max_pool2d", &what, x2(), move |t| t[0].max_pool2d_with(kernel, flat).square()));
        rows.push(Sample::new("avg_pool2d", &what, x2(), move |t| t[0].avg_pool2d_with(kernel, flat).square()));
        let fold = FoldOptions::default().stride([stride, 1]).padding([padding, 0]);
        rows.push(Sample::new("unfold", &what, x2(), move |t| t[0].unfold([kernel, 2], fold).square()));
        let run = move |t: &[Tensor]| t[0].unfold([kernel, 2], fold).fold([5, 4], [kernel, 2], fold).square();
        rows.push(Sample::new("fold", &what, x2(), run));
    }
    rows
}

/// Images of one size from images of another: adaptive pools, grids of points.
fn grids_and_sizes() -> Vec<Sample> {
    let mut rows = Vec::new();
    for (shape, size) in [
        ([1, 1, 1, 1], [1, 1]),
        ([1, 2, 4, 4], [4, 4]),
        ([2, 1, 5, 3], [2, 3]),
        ([1, 2, 7, 2], [3, 1]),
        ([1, 1, 3, 3], [5, 7]),
        ([2, 2, 2, 2], [1, 2]),
        ([1, 1, 9, 4], [4, 3]),
        ([0, 2, 4, 4], [2, 2]),
        ([1, 3, 6, 6], [3, 2]),
    ] {
        let x = || vec![operand(&shape, -1.0, 1.0)];
        rows.push(Sample::new("adaptive_avg_pool2d", format!("{size:?}"), x(), move |t| t[0].adaptive_avg_pool2d(size).square()));
        rows.push(Sample::new("adaptive_max_pool2d", format!("{size:?}"), x(), move |t| t[0].adaptive_max_pool2d(size).square()));
        for align in [false, true] {
            let maps = vec![operand(&[shape[0], 2, 3], -1.0, 1.0)];
            rows.push(Sample::new("affine_grid", format!("{size:?} {align}"), maps, move |t| {
                t[0].affine_grid(size, GridOptions { align_corners: align }).square()
            }));
            let operands = vec![operand(&shape, -1.0, 1.0), operand(&[shape[0], size[0], size[1], 2], -1.2, 1.2)];
            rows.push(Sample::new("grid_sample", format!("{align}"), operands, move |t| {
                t[0].grid_sample(&t[1], GridOptions { align_corners: align })
            }));
        }
    }
    rows
}

/// One number per image and channel.
fn whole_images() -> Vec<Sample> {
    let mut rows = Vec::new();
    for shape in [
        &[1, 1, 1][..],
        &[2, 3, 7],
        &[0, 2, 3],
        &[1, 5, 2],
        &[2, 1, 33],
        &[1, 1, 4, 4],
        &[2, 3, 1, 5],
        &[1, 2, 2, 3, 4],
        &[2, 2, 2, 2, 2],
        &[3, 1, 5],
    ] {
        let x = || vec![operand(shape, -1.0, 1.0)];
        rows.push(Sample::new("global_avg_pool", "", x(), |t| t[0].global_avg_pool().square()));
        rows.push(Sample::new("global_max_pool", "", x(), |t| t[0].global_max_pool().square()));
    }
    rows
}
