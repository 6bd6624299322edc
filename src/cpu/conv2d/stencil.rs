//! Planes laid out with their padding, so that every tap of a window is a fixed distance away from each result.

use super::window::{Window, signed};

/// The most lanes of a vector; sums over pixels have as many on every machine.
pub(super) const LANES: usize = 16;

/// A window on a plane with padding: a part for each remainder of rows and columns by the stride that some tap reads. Results lie in
/// rows as long as a part's, with columns after the last that are none.
#[derive(Debug)]
pub(super) struct Stencil {
    pub window: Window,
    /// Rows above and columns to the left of the source.
    before: [usize; 2],
    /// Rows and columns of a part.
    part: [usize; 2],
    /// The remainders of each part's rows and columns.
    parts: Vec<[usize; 2]>,
    /// How far each tap's first pixel is from the start, and the tap's weight.
    pub taps: Vec<(usize, usize)>,
}

impl Stencil {
    pub fn new(window: Window) -> Self {
        let reach = |d: usize| window.taps.iter().map(move |tap| tap.offset[d]);
        let before = [0, 1].map(|d| reach(d).map(|offset| (-offset).max(0).unsigned_abs()).max().unwrap_or(0));
        // The distance in the layout with padding, which is not negative.
        let distance = |d: usize, offset: isize| (offset + signed(before[d])).unsigned_abs();
        let [down, right] = [0, 1].map(|d| reach(d).map(|o| distance(d, o) / window.stride[d]).max().unwrap_or(0));
        let part = [window.grid[0] + down, window.grid[1] + right];
        let [sy, sx] = window.stride;
        let mut parts: Vec<[usize; 2]> = Vec::new();
        let mut taps = Vec::with_capacity(window.taps.len());
        for tap in &window.taps {
            let [y, x] = [0, 1].map(|d| distance(d, tap.offset[d]));
            let remainder = [y % sy, x % sx];
            let which = parts.iter().position(|part| *part == remainder).unwrap_or(parts.len());
            if which == parts.len() {
                parts.push(remainder);
            }
            taps.push(((which * part[0] + y / sy) * part[1] + x / sx, tap.weight));
        }
        Self { before, part, parts, taps, window }
    }

    /// Elements of a plane with its padding.
    pub fn plane(&self) -> usize {
        self.parts.len() * self.part[0] * self.part[1]
    }

    /// Elements of the results, with those that are none.
    pub fn results(&self) -> usize {
        self.window.grid[0] * self.part[1]
    }

    /// Elements of a row of results, with those that are none.
    pub fn pitch(&self) -> usize {
        self.part[1]
    }

    /// Whether a plane with its padding is the plane.
    pub fn is_identity(&self) -> bool {
        self.window.stride == [1, 1] && self.before == [0, 0] && self.part == self.window.source && !self.taps.is_empty()
    }

    /// Copies a plane to where its pixels are; what is around them stays as it is.
    pub fn pad(&self, source: &[f32], padded: &mut [f32]) {
        let [height, width] = self.window.source;
        let ([sy, sx], [rows, columns]) = (self.window.stride, self.part);
        for (&[y, x], part) in self.parts.iter().zip(padded.chunks_exact_mut((rows * columns).max(1))) {
            // The first column of the part that is in the source, and where there.
            let column = self.before[1].saturating_sub(x).div_ceil(sx);
            let from = (column * sx + x).saturating_sub(self.before[1]);
            if column >= columns || from >= width {
                continue;
            }
            for (row, line) in part.chunks_exact_mut(columns).enumerate() {
                let row = (row * sy + y).checked_sub(self.before[0]).filter(|&row| row < height);
                let Some(row) = row else { continue };
                let (line, source) = (&mut line[column..], &source[row * width + from..(row + 1) * width]);
                if sx == 1 {
                    let len = line.len().min(source.len());
                    line[..len].copy_from_slice(&source[..len]);
                } else {
                    line.iter_mut().zip(source.iter().step_by(sx)).for_each(|(to, &x)| *to = x);
                }
            }
        }
    }

    /// Puts rows of results where they belong.
    pub fn write(&self, results: &[f32], out: &mut [f32]) {
        let [height, width] = self.window.grid;
        for (row, line) in results.chunks(self.part[1]).take(height).enumerate() {
            let (at, step) = self.window.place(row, 0);
            let line = &line[..width];
            if step == 1 {
                out[at..at + width].copy_from_slice(line);
            } else {
                out[at..].iter_mut().step_by(step).zip(line).for_each(|(to, &x)| *to = x);
            }
        }
    }

    /// As [`Self::write`], the other way round.
    pub fn read(&self, plane: &[f32], results: &mut [f32]) {
        let [height, width] = self.window.grid;
        for (row, line) in results.chunks_mut(self.part[1]).take(height).enumerate() {
            let at = self.window.place(row, 0).0;
            line[..width].copy_from_slice(&plane[at..at + width]);
        }
    }
}

/// What a copied column costs, in rows of a product with it.
const COPY: usize = 33;

/// How the source of a product is laid out.
#[derive(Debug)]
pub(super) enum Layout {
    /// With its padding, image by image: taps are read where they are.
    Padded(Stencil),
    /// As columns of taps, which do not care where images end.
    Columns(Window),
}

impl Layout {
    /// With padding, results that are none are computed; columns are copied once per tap, for `rows` rows of results.
    pub fn new(window: Window, rows: usize) -> Self {
        let stencil = Stencil::new(window);
        let (results, pixels) = (stencil.results().next_multiple_of(LANES), stencil.window.pixels());
        if (results - pixels) * rows < COPY * pixels { Self::Padded(stencil) } else { Self::Columns(stencil.window) }
    }

    /// Which pixels are multiplied.
    pub fn window(&self) -> &Window {
        match self {
            Self::Padded(stencil) => &stencil.window,
            Self::Columns(window) => window,
        }
    }
}
