//! 2-D convolution and its two gradients, as one loop over (image, output channel, output pixel, tap).

use super::{Numbers, Value};
use crate::error::Result;
use crate::graph::op::ConvSpec;
use crate::shape::Shape;

/// Calls `tap(x index, w index, y index)` for every product that the convolution sums.
fn for_each_tap(spec: &ConvSpec, x: &[usize], w: &[usize], y: &[usize], mut tap: impl FnMut(usize, usize, usize)) {
    let group_out = y[1] / spec.groups.max(1);
    for n in 0..y[0] {
        for co in 0..y[1] {
            for oh in 0..y[2] {
                for ow in 0..y[3] {
                    for ci in 0..w[1] {
                        for kh in 0..w[2] {
                            for kw in 0..w[3] {
                                // Coordinates in the padded image, then in the image.
                                let ih = (oh * spec.stride[0] + kh * spec.dilation[0]).checked_sub(spec.padding[0]);
                                let iw = (ow * spec.stride[1] + kw * spec.dilation[1]).checked_sub(spec.padding[1]);
                                let (Some(ih), Some(iw)) = (ih.filter(|&i| i < x[2]), iw.filter(|&i| i < x[3])) else {
                                    continue;
                                };
                                let channel = co / group_out * w[1] + ci;
                                tap(
                                    ((n * x[1] + channel) * x[2] + ih) * x[3] + iw,
                                    ((co * w[1] + ci) * w[2] + kh) * w[3] + kw,
                                    ((n * y[1] + co) * y[2] + oh) * y[3] + ow,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `y = x * w`.
pub(super) fn forward(spec: &ConvSpec, x: &Value, w: &Value, shape: &Shape) -> Result<Numbers> {
    let (xs, ws, mut y) = (x.floats()?, w.floats()?, vec![0.0; shape.numel()]);
    for_each_tap(spec, &x.shape, &w.shape, shape, |ix, iw, iy| y[iy] += xs[ix] * ws[iw]);
    Ok(Numbers::Float(y))
}

/// `dx`: every dy goes back along the taps that made its y.
pub(super) fn input_grad(spec: &ConvSpec, dy: &Value, w: &Value, shape: &Shape) -> Result<Numbers> {
    let (dys, ws, mut dx) = (dy.floats()?, w.floats()?, vec![0.0; shape.numel()]);
    for_each_tap(spec, shape, &w.shape, &dy.shape, |ix, iw, iy| dx[ix] += dys[iy] * ws[iw]);
    Ok(Numbers::Float(dx))
}

/// `dw`: every tap adds its x times its dy.
pub(super) fn weight_grad(spec: &ConvSpec, x: &Value, dy: &Value, shape: &Shape) -> Result<Numbers> {
    let (xs, dys, mut dw) = (x.floats()?, dy.floats()?, vec![0.0; shape.numel()]);
    for_each_tap(spec, &x.shape, shape, &dy.shape, |ix, iw, iy| dw[iw] += xs[ix] * dys[iy]);
    Ok(Numbers::Float(dw))
}
