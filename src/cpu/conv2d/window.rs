//! Which pixels a convolution multiplies: a grid of results, each of which reads a source at some taps.

use crate::plan::Conv2d;
use std::collections::BTreeMap;

/// One tap of a kernel: the pixel that it reads is `offset` away from the result's, times the stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Down and to the right.
    pub offset: [isize; 2],
    /// Its place in the kernel.
    pub weight: usize,
}

/// `result[i][j] = Σ over taps of source[i * stride + down][j * stride + right] * weight`; what is outside the source counts as 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Rows and columns of a channel of the source.
    pub source: [usize; 2],
    /// Rows and columns of results.
    pub grid: [usize; 2],
    /// Source pixels between results.
    pub stride: [usize; 2],
    /// Those that read a pixel of the source for some result.
    pub taps: Vec<Tap>,
    /// Columns of a channel of the target.
    width: usize,
    /// Where in the target the first result is, and how far apart results are.
    first: [usize; 2],
    step: [usize; 2],
}

impl Window {
    /// Outputs from the input.
    pub fn forward(conv: &Conv2d) -> Self {
        let [_, _, kh, kw] = conv.w;
        let (spec, source, grid) = (&conv.spec, [conv.x[2], conv.x[3]], [conv.y[2], conv.y[3]]);
        let taps = (0..kh * kw).map(|weight| {
            let k = [weight / kw, weight % kw];
            Tap { offset: [0, 1].map(|d| signed(k[d] * spec.dilation[d]) - signed(spec.padding[d])), weight }
        });
        let taps = taps.collect();
        Self { source, grid, stride: spec.stride, taps, width: grid[1], first: [0, 0], step: [1, 1] }.simplified()
    }

    /// Gradients of the input from those of the outputs: a window for each remainder of rows and columns by the stride that some tap
    /// reaches, and whether these are all of the input.
    pub fn input_grad(conv: &Conv2d) -> (Vec<Self>, bool) {
        let [_, _, kh, kw] = conv.w;
        let (spec, source, target) = (&conv.spec, [conv.y[2], conv.y[3]], [conv.x[2], conv.x[3]]);
        let mut windows: BTreeMap<[usize; 2], Vec<Tap>> = BTreeMap::new();
        for weight in 0..kh * kw {
            let k = [weight / kw, weight % kw];
            let reach = [0, 1].map(|d| signed(k[d] * spec.dilation[d]) - signed(spec.padding[d]));
            let first = [0, 1].map(|d| reach[d].rem_euclid(signed(spec.stride[d])).unsigned_abs());
            // How many outputs further up and to the left the tap of the first pixel lies.
            let offset = [0, 1].map(|d| (signed(first[d]) - reach[d]) / signed(spec.stride[d]));
            if first[0] < target[0] && first[1] < target[1] {
                windows.entry(first).or_default().push(Tap { offset, weight });
            }
        }
        let all = windows.len() == spec.stride[0].min(target[0]).saturating_mul(spec.stride[1].min(target[1]));
        let window = |(first, taps): ([usize; 2], Vec<Tap>)| {
            let grid = [0, 1].map(|d| (target[d] - first[d]).div_ceil(spec.stride[d]));
            Self { source, grid, stride: [1, 1], taps, width: target[1], first, step: spec.stride }.simplified()
        };
        (windows.into_iter().map(window).collect(), all)
    }

    /// Without taps that read nothing, and as one long row where rows continue each other.
    fn simplified(mut self) -> Self {
        let taps = std::mem::take(&mut self.taps);
        self.taps = taps.into_iter().filter(|tap| [0, 1].iter().all(|&d| !self.inside(d, tap).is_empty())).collect();
        let pointwise = self.taps.iter().all(|tap| tap.offset == [0, 0]) && !self.taps.is_empty();
        if pointwise && self.is_contiguous() && self.stride == [1, 1] && self.source == self.grid {
            let pixels = self.grid[0] * self.grid[1];
            (self.source, self.grid, self.width) = ([1, pixels], [1, pixels], pixels);
        }
        self
    }

    /// Results of a channel.
    pub fn pixels(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The rows (d = 0) or columns (d = 1) of results for which a tap is inside the source.
    pub fn inside(&self, d: usize, tap: &Tap) -> std::ops::Range<usize> {
        let (offset, stride) = (tap.offset[d], signed(self.stride[d]));
        let first = (-offset).max(0).unsigned_abs().div_ceil(self.stride[d]);
        // The last result whose pixel lies before the end.
        let last = (signed(self.source[d]) - 1 - offset).div_euclid(stride);
        let end = (last + 1).max(0).unsigned_abs().min(self.grid[d]);
        first..end.max(first)
    }

    /// Whether results follow each other in the target.
    pub fn is_contiguous(&self) -> bool {
        self.step == [1, 1] && self.width == self.grid[1]
    }

    /// Where a result is in its channel of the target, and how far its right neighbour is away.
    pub fn place(&self, row: usize, column: usize) -> (usize, usize) {
        ((self.first[0] + row * self.step[0]) * self.width + self.first[1] + column * self.step[1], self.step[1])
    }
}

/// Sizes and coordinates lie within a buffer in memory.
#[allow(clippy::cast_possible_wrap, reason = "see above")]
pub(super) fn signed(n: usize) -> isize {
    n as isize
}
