//! What the texts of all convolutions share.

use crate::gpu::program::Caps;
use crate::plan::{Conv2d, ConvRole};

/// Threads of a workgroup: small groups balance better over few cores, and lavapipe's vectors are 8 wide.
pub(super) fn lanes(caps: &Caps) -> usize {
    if caps.software { 16 } else { 64 }
}

/// The widest vector that divides all of these.
pub(super) fn width(lengths: &[usize]) -> usize {
    [4, 2].into_iter().find(|v| lengths.iter().all(|l| l % v == 0)).unwrap_or(1)
}

/// The WGSL type of `width` neighbours.
pub(super) fn vector(width: usize) -> String {
    if width == 1 { "f32".into() } else { format!("vec{width}<f32>") }
}

/// A product whose result is an image: forward, or the input gradient. Side `read` is convolved, side `write` is written.
pub(super) struct Sides {
    /// Channels per group, rows, columns.
    pub read: [usize; 3],
    pub write: [usize; 3],
    /// Elements of `w` between channels of the read and the written side, taps and groups.
    pub in_stride: usize,
    pub out_stride: usize,
    pub tap_stride: usize,
    pub group_stride: usize,
}

impl Sides {
    pub fn of(conv: &Conv2d) -> Self {
        let groups = conv.spec.groups;
        let x = [conv.x[1] / groups, conv.x[2], conv.x[3]];
        let y = [conv.y[1] / groups, conv.y[2], conv.y[3]];
        let [outputs, inputs, kh, kw] = conv.w;
        // Elements between input channels, taps and output channels.
        let [input, tap, output] = match conv.packed {
            Some(_) => [1, outputs * inputs, inputs],
            None => [kh * kw, 1, inputs * kh * kw],
        };
        let (tap_stride, group_stride) = (tap, outputs / groups * output);
        match conv.role {
            ConvRole::InputGrad => Self { read: y, write: x, in_stride: output, out_stride: input, tap_stride, group_stride },
            ConvRole::Forward | ConvRole::WeightGrad => {
                Self { read: x, write: y, in_stride: input, out_stride: output, tap_stride, group_stride }
            }
        }
    }
}
