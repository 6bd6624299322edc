//! 2-D convolution and its gradients: image by image through im2col and a matrix product.

mod im2col;

use super::elementwise;
use super::expr::{Context, Program};
use super::gemm::gemm;
use super::matrix::Matrix;
use super::scratch::with_scratch;
use crate::error::Result;
use crate::plan::{Conv2d, ConvRole};
use bytemuck::{cast_slice, cast_slice_mut};
use im2col::Columns;
use rayon::prelude::*;

/// Sizes of the products of one image and one group.
struct Sizes {
    images: usize,
    groups: usize,
    /// Output channels of a group.
    rows: usize,
    /// Taps of a group: input channels times kernel area.
    taps: usize,
    /// Output pixels.
    pixels: usize,
    /// Elements of x in one image and group.
    x: usize,
    columns: Columns,
}

impl Sizes {
    fn new(conv: &Conv2d) -> Self {
        let groups = conv.spec.groups.max(1);
        let [images, channels, h, w] = conv.x;
        Self {
            images,
            groups,
            rows: conv.y[1] / groups,
            taps: conv.w[1] * conv.w[2] * conv.w[3],
            pixels: conv.y[2] * conv.y[3],
            x: channels / groups * h * w,
            columns: Columns::new(conv),
        }
    }
}

/// The floats that a thread works in.
pub(super) fn scratch(conv: &Conv2d) -> usize {
    let s = Sizes::new(conv);
    if s.columns.is_identity() { 0 } else { s.taps * s.pixels }
}

/// Runs one of the three products.
pub(super) fn run(conv: &Conv2d, epilogue: &Program, context: Context, out: &mut [u32]) -> Result<()> {
    let (a, b): (&[f32], &[f32]) = (cast_slice(context.operands[0]), cast_slice(context.operands[1]));
    let s = Sizes::new(conv);
    if out.is_empty() {
        return Ok(());
    }
    match conv.role {
        ConvRole::Forward => each_image(&s, epilogue, context, out, |image, y, parallel| forward(&s, image, a, b, y, parallel)),
        ConvRole::InputGrad => {
            each_image(&s, epilogue, context, out, |image, dx, parallel| input_grad(&s, image, a, b, dx, parallel))
        }
        ConvRole::WeightGrad => {
            weight_grad(&s, a, b, cast_slice_mut(out))?;
            if !epilogue.is_identity {
                elementwise::run(epilogue, context, out);
            }
            Ok(())
        }
    }
}

/// Runs `body(image, its part of the result, whether it may use all threads)` and the epilogue, images in parallel.
fn each_image(
    s: &Sizes,
    epilogue: &Program,
    context: Context,
    out: &mut [u32],
    body: impl Fn(usize, &mut [f32], bool) -> Result<()> + Sync,
) -> Result<()> {
    let len = out.len() / s.images.max(1);
    if s.images == 1 {
        body(0, cast_slice_mut(out), true)?;
        if !epilogue.is_identity {
            elementwise::run(epilogue, context, out);
        }
        return Ok(());
    }
    out.par_chunks_mut(len).enumerate().try_for_each(|(image, chunk)| {
        body(image, cast_slice_mut(chunk), false)?;
        elementwise::epilogue(epilogue, context, image * len, chunk);
        Ok(())
    })
}

/// `y = w · im2col(x)` for one image.
fn forward(s: &Sizes, image: usize, x: &[f32], w: &[f32], y: &mut [f32], parallel: bool) -> Result<()> {
    for (group, y) in y.chunks_mut(s.rows * s.pixels).enumerate() {
        let x = &x[(image * s.groups + group) * s.x..][..s.x];
        let w = Matrix::rows_of(s.taps, &w[group * s.rows * s.taps..]);
        let product = |columns: &[f32], y: &mut [f32]| {
            gemm([s.rows, s.pixels, s.taps], y, false, w, Matrix::rows_of(s.pixels, columns), parallel)
        };
        if s.columns.is_identity() {
            product(x, y)?;
        } else {
            with_scratch(s.taps * s.pixels, |columns| {
                s.columns.gather(x, columns);
                product(columns, y)
            })?;
        }
    }
    Ok(())
}

/// `dx = col2im(wᵀ · dy)` for one image.
fn input_grad(s: &Sizes, image: usize, dy: &[f32], w: &[f32], dx: &mut [f32], parallel: bool) -> Result<()> {
    for (group, dx) in dx.chunks_mut(s.x).enumerate() {
        let dy = &dy[(image * s.groups + group) * s.rows * s.pixels..];
        let w = Matrix::rows_of(s.taps, &w[group * s.rows * s.taps..]).transposed();
        let product =
            |columns: &mut [f32]| gemm([s.taps, s.pixels, s.rows], columns, false, w, Matrix::rows_of(s.pixels, dy), parallel);
        if s.columns.is_identity() {
            product(dx)?;
        } else {
            with_scratch(s.taps * s.pixels, |columns| {
                product(columns)?;
                s.columns.scatter(columns, dx);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// `dw = Σ over images of dy · im2col(x)ᵀ`: fixed runs of images in parallel, combined in order.
fn weight_grad(s: &Sizes, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
    let most = ((4 << 20) / dw.len()).clamp(2, 16);
    let run = s.images.div_ceil(most).max(1);
    let partial = |first: usize| -> Result<Vec<f32>> {
        let mut sum = vec![0.0; s.groups * s.rows * s.taps];
        for image in first..(first + run).min(s.images) {
            for (group, sum) in sum.chunks_mut(s.rows * s.taps).enumerate() {
                let x = &x[(image * s.groups + group) * s.x..][..s.x];
                let dy = Matrix::rows_of(s.pixels, &dy[(image * s.groups + group) * s.rows * s.pixels..]);
                let mut product = |columns: &[f32]| {
                    let columns = Matrix::rows_of(s.pixels, columns).transposed();
                    gemm([s.rows, s.taps, s.pixels], sum, image > first, dy, columns, false)
                };
                if s.columns.is_identity() {
                    product(x)?;
                } else {
                    with_scratch(s.taps * s.pixels, |columns| {
                        s.columns.gather(x, columns);
                        product(columns)
                    })?;
                }
            }
        }
        Ok(sum)
    };
    let runs: Vec<usize> = (0..s.images).step_by(run).collect();
    let partials: Vec<Vec<f32>> = runs.into_par_iter().map(partial).collect::<Result<_>>()?;
    dw.par_chunks_mut(16 << 10).enumerate().for_each(|(i, dw)| {
        dw.fill(0.0);
        for part in &partials {
            for (a, &b) in dw.iter_mut().zip(&part[i * (16 << 10)..]) {
                *a += b;
            }
        }
    });
    Ok(())
}
