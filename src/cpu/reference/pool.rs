//! 2-D pooling and its adjoints.

use super::{Numbers, Value};
use crate::error::{Error, Result};
use crate::graph::op::{PoolOp, PoolSpec};
use crate::shape::Shape;

/// The image indices (within one plane of height h and width w) of the window of output pixel (oh, ow), in row-major order.
fn window(spec: &PoolSpec, h: usize, w: usize, oh: usize, ow: usize) -> Vec<usize> {
    let mut taps = Vec::new();
    for kh in 0..spec.kernel[0] {
        for kw in 0..spec.kernel[1] {
            let ih = (oh * spec.stride[0] + kh * spec.dilation[0]).checked_sub(spec.padding[0]);
            let iw = (ow * spec.stride[1] + kw * spec.dilation[1]).checked_sub(spec.padding[1]);
            if let (Some(ih), Some(iw)) = (ih.filter(|&i| i < h), iw.filter(|&i| i < w)) {
                taps.push(ih * w + iw);
            }
        }
    }
    taps
}

/// Where the window's maximum is: the first NaN, or else the first of the largest.
fn argmax(plane: &[f64], taps: &[usize]) -> Option<usize> {
    let (mut best, rest) = taps.split_first().map(|(&first, rest)| (first, rest))?;
    for &tap in rest {
        if !plane[best].is_nan() && (plane[tap].is_nan() || plane[tap] > plane[best]) {
            best = tap;
        }
    }
    Some(best)
}

/// See [`PoolOp`].
pub(super) fn pool(op: PoolOp, spec: &PoolSpec, operands: &[&Value], shape: &Shape) -> Result<Numbers> {
    let image = if op == PoolOp::AvgScatter { *shape } else { operands[0].shape };
    let pixels = match op {
        PoolOp::MaxScatter => operands[1].shape,
        PoolOp::AvgScatter => operands[0].shape,
        _ => *shape,
    };
    let (h, w, oh, ow) = (image[2], image[3], pixels[2], pixels[3]);
    let first = operands[0].floats()?;
    let second = match op {
        PoolOp::MaxScatter | PoolOp::MaxSelect => {
            operands.get(1).ok_or_else(|| Error::internal("pool needs two operands"))?.floats()?
        }
        _ => &[],
    };
    let mut out = vec![0.0; shape.numel()];
    for plane in 0..image[0] * image[1] {
        for pixel in 0..oh * ow {
            let taps = window(spec, h, w, pixel / ow, pixel % ow);
            let divisor = if spec.count_include_pad { spec.kernel[0] * spec.kernel[1] } else { taps.len() } as f64;
            let (x0, y) = (plane * h * w, plane * oh * ow + pixel);
            match op {
                PoolOp::Max => {
                    let x = &first[x0..x0 + h * w];
                    out[y] = argmax(x, &taps).map_or(f64::NEG_INFINITY, |tap| x[tap]);
                }
                PoolOp::MaxScatter => {
                    if let Some(tap) = argmax(&first[x0..x0 + h * w], &taps) {
                        out[x0 + tap] += second[y];
                    }
                }
                PoolOp::MaxSelect => {
                    if let Some(tap) = argmax(&first[x0..x0 + h * w], &taps) {
                        out[y] = second[x0 + tap];
                    }
                }
                PoolOp::Avg if taps.is_empty() => out[y] = 0.0,
                PoolOp::Avg => out[y] = taps.iter().map(|tap| first[x0 + tap]).sum::<f64>() / divisor,
                PoolOp::AvgScatter => {
                    for tap in taps {
                        out[x0 + tap] += first[y] / divisor;
                    }
                }
            }
        }
    }
    Ok(Numbers::Float(out))
}
