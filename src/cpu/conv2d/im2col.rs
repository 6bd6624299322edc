//! The matrix of taps: row (channel, kh, kw), column (oh, ow).

use crate::plan::Conv2d;
use std::ops::Range;

/// Geometry of im2col for one image and group.
pub(super) struct Columns {
    channels: usize,
    image: [usize; 2],
    kernel: [usize; 2],
    output: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

impl Columns {
    /// The geometry of a convolution.
    pub fn new(conv: &Conv2d) -> Self {
        Self {
            channels: conv.w[1],
            image: [conv.x[2], conv.x[3]],
            kernel: [conv.w[2], conv.w[3]],
            output: [conv.y[2], conv.y[3]],
            stride: conv.spec.stride,
            padding: conv.spec.padding,
            dilation: conv.spec.dilation,
        }
    }

    /// Whether the matrix of taps is the image itself.
    pub fn is_identity(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// The outputs along axis `d` whose tap k is inside the image, and the input coordinate of the first of them.
    fn inside(&self, d: usize, k: usize) -> (Range<usize>, usize) {
        let (tap, pad, stride) = (k * self.dilation[d], self.padding[d], self.stride[d]);
        let first = pad.saturating_sub(tap).div_ceil(stride);
        let end = (self.image[d] + pad).saturating_sub(tap).div_ceil(stride).min(self.output[d]);
        if first >= end { (0..0, 0) } else { (first..end, first * stride + tap - pad) }
    }

    /// Calls `row(row of taps, its valid columns' range of (oh), per oh ...)`: see the two users.
    fn each_tap(&self, mut tap: impl FnMut(usize, usize, (Range<usize>, usize), (Range<usize>, usize))) {
        let mut row = 0;
        for channel in 0..self.channels {
            for kh in 0..self.kernel[0] {
                for kw in 0..self.kernel[1] {
                    tap(row, channel, self.inside(0, kh), self.inside(1, kw));
                    row += 1;
                }
            }
        }
    }

    /// Fills the matrix from an image.
    pub fn gather(&self, x: &[f32], columns: &mut [f32]) {
        let [h, w] = self.image;
        let [oh, ow] = self.output;
        let (down, right) = (self.stride[0], self.stride[1]);
        self.each_tap(|row, channel, (ys, y0), (xs, x0)| {
            let target = &mut columns[row * oh * ow..][..oh * ow];
            target[..ys.start * ow].fill(0.0);
            target[ys.end * ow..].fill(0.0);
            for (i, line) in target[ys.start * ow..ys.end * ow].chunks_exact_mut(ow).enumerate() {
                line[..xs.start].fill(0.0);
                line[xs.end..].fill(0.0);
                if xs.is_empty() {
                    continue;
                }
                let from = &x[(channel * h + y0 + i * down) * w + x0..];
                let line = &mut line[xs.clone()];
                if right == 1 {
                    line.copy_from_slice(&from[..line.len()]);
                } else {
                    line.iter_mut().zip(from.iter().step_by(right)).for_each(|(o, &x)| *o = x);
                }
            }
        });
    }

    /// Adds the matrix up into an image.
    pub fn scatter(&self, columns: &[f32], dx: &mut [f32]) {
        let [h, w] = self.image;
        let [oh, ow] = self.output;
        let (down, right) = (self.stride[0], self.stride[1]);
        dx.fill(0.0);
        self.each_tap(|row, channel, (ys, y0), (xs, x0)| {
            if xs.is_empty() {
                return;
            }
            let source = &columns[row * oh * ow..][ys.start * ow..ys.end * ow];
            for (i, line) in source.chunks_exact(ow).enumerate() {
                let to = &mut dx[(channel * h + y0 + i * down) * w + x0..];
                let line = &line[xs.clone()];
                if right == 1 {
                    to.iter_mut().zip(line).for_each(|(o, &x)| *o += x);
                } else {
                    to.iter_mut().step_by(right).zip(line).for_each(|(o, &x)| *o += x);
                }
            }
        });
    }
}
