//! Weight gradients: the matrix of taps times the output's gradients, pixels as inner dimension.

use super::columns::{Columns, runs};
use super::stencil::Layout;
use super::tile::{Right, Tile, VECTORS, correlate};
use super::window::{Tap, Window};
use crate::cpu::scratch::{with_scratch, with_shared};
use crate::error::Result;
use crate::plan::Conv2d;
use rayon::prelude::*;
use std::ops::Range;

/// Pixels of images whose products are added up by themselves, at least, and how many such parts there are at most.
const PIXELS: usize = 2048;
const PARTS: usize = 16;
/// Floats of all parts' sums, where there are several.
const SUMS: usize = 1 << 19;
/// Floats of the columns and gradients that are multiplied at a time.
const BLOCK: usize = 1 << 17;
/// Rows of taps that are worth a task.
const FEWEST: usize = 64;

/// The product that makes them.
pub(super) struct WeightGrad {
    lanes: usize,
    layout: Layout,
    groups: usize,
    /// Output channels of a group.
    rows: usize,
    /// Input channels of a group.
    channels: usize,
    /// Elements of a kernel.
    area: usize,
    images: usize,
    /// Elements of a channel of the input.
    plane: usize,
}

/// What a task adds up.
struct Task<'a> {
    group: usize,
    channels: Range<usize>,
    images: Range<usize>,
    sums: &'a mut [f32],
}

impl WeightGrad {
    pub fn new(conv: &Conv2d) -> Self {
        let groups = conv.spec.groups.max(1);
        Self {
            lanes: Tile::new().lanes,
            layout: Layout::new(Window::forward(conv), conv.y[1] / groups),
            groups,
            rows: conv.y[1] / groups,
            channels: conv.w[1],
            area: conv.w[2] * conv.w[3],
            images: conv.x[0],
            plane: conv.x[2] * conv.x[3],
        }
    }

    /// The floats that all threads share, and those that each works in.
    pub fn scratch(&self) -> [usize; 2] {
        let taps = self.channels * self.taps().len();
        let own = match &self.layout {
            Layout::Padded(stencil) => self.channels * stencil.plane() + stencil.pitch(),
            Layout::Columns(_) => self.block(taps) * taps,
        };
        [self.parts() * self.groups * taps * self.width(), own + self.block(taps) * self.width()]
    }

    fn taps(&self) -> &[Tap] {
        &self.layout.window().taps
    }

    /// Pixels of an image, with those that are none.
    fn pixels(&self) -> usize {
        match &self.layout {
            Layout::Padded(stencil) => stencil.results(),
            Layout::Columns(window) => window.pixels(),
        }
    }

    /// Columns of all panels of output channels.
    fn width(&self) -> usize {
        self.rows.next_multiple_of(self.lanes)
    }

    /// The sizes alone decide in which order numbers are added, not the machine.
    fn parts(&self) -> usize {
        let sums = self.groups * self.channels * self.taps().len() * self.rows.next_multiple_of(16);
        let most = (SUMS / sums.max(1)).clamp(1, PARTS).min(self.images.max(1));
        (self.images * self.pixels() / PIXELS).clamp(1, most)
    }

    /// Pixels that are multiplied at a time.
    fn block(&self, taps: usize) -> usize {
        (BLOCK / (taps + self.rows.next_multiple_of(16)) / 16 * 16).clamp(32, 512)
    }

    /// The vectors of each panel of output channels.
    fn panels(&self) -> Vec<usize> {
        let vectors = self.width() / self.lanes;
        let count = vectors.div_ceil(VECTORS);
        (0..count).map(|i| (i + 1) * vectors / count - i * vectors / count).collect()
    }

    /// Fills `dw` from the input and the output's gradients.
    pub fn run(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let [shared, own] = self.scratch();
        with_shared(shared, |sums| {
            let mut each = self.channels;
            self.tasks(sums, &mut each).into_par_iter().try_for_each(|task| {
                with_scratch(own, |memory| {
                    self.part(x, dy, task, memory);
                    Ok(())
                })
            })?;
            self.gather(sums, each, dw);
            Ok(())
        })
    }

    /// Each task has some images, and `each` channels.
    fn tasks<'a>(&self, mut sums: &'a mut [f32], each: &mut usize) -> Vec<Task<'a>> {
        let (taps, parts) = (self.taps().len(), self.parts());
        let wanted = (2 * rayon::current_num_threads()).div_ceil(self.groups * parts);
        let most = (self.channels * taps / FEWEST).max(1);
        *each = self.channels.div_ceil(wanted.min(most)).max(1);
        let mut tasks = Vec::new();
        for group in 0..self.groups {
            for first in (0..self.channels).step_by(*each) {
                let channels = first..(first + *each).min(self.channels);
                for part in 0..parts {
                    let (own, rest) = sums.split_at_mut(channels.len() * taps * self.width());
                    let images = part * self.images / parts..(part + 1) * self.images / parts;
                    tasks.push(Task { group, channels: channels.clone(), images, sums: own });
                    sums = rest;
                }
            }
        }
        tasks
    }

    fn part(&self, x: &[f32], dy: &[f32], task: Task, memory: &mut [f32]) {
        let Task { group, channels, images, sums } = task;
        let taps = self.taps().len();
        let image = self.groups * self.channels * self.plane;
        let from = group * self.channels * self.plane;
        let widths = self.panels();
        // The whole kernel's taps, as the order of additions may not depend on the number of tasks.
        let step = self.block(self.channels * taps);
        if images.is_empty() || self.pixels() == 0 {
            sums.fill(0.0);
        }
        let mut accumulate = false;
        let (turned, memory) = memory.split_at_mut(step * self.width());
        match &self.layout {
            Layout::Padded(stencil) => {
                let size = stencil.plane();
                let planes = 0..channels.len();
                let rows: Vec<usize> = planes.flat_map(|c| stencil.taps.iter().map(move |&(tap, _)| c * size + tap)).collect();
                let reach = rows.iter().max().map_or(0, |row| row + self.pixels());
                let mut empty = true;
                for n in images {
                    let x = &x[n * image + from + channels.start * self.plane..];
                    let data = if stencil.is_identity() && reach <= x.len() {
                        x
                    } else {
                        if std::mem::take(&mut empty) {
                            memory.fill(0.0);
                        }
                        for (x, to) in x.chunks_exact(self.plane).take(channels.len()).zip(memory.chunks_exact_mut(size.max(1))) {
                            stencil.pad(x, to);
                        }
                        &*memory
                    };
                    let grid = ([stencil.window.grid[0], stencil.pitch()], stencil.window.grid[1]);
                    for first in (0..self.pixels()).step_by(step) {
                        let range = first..(first + step).min(self.pixels());
                        let turned = &mut turned[..range.len() * self.width()];
                        self.turn(
                            &dy[n * self.groups * self.rows * stencil.window.pixels()..],
                            group,
                            grid,
                            range.clone(),
                            turned,
                        );
                        let left = Right { data: &data[first..], rows: &rows };
                        correlate(left, turned, range.len(), &widths, accumulate, sums);
                        accumulate = true;
                    }
                }
            }
            Layout::Columns(window) => {
                let rows = channels.start * taps..channels.end * taps;
                let (x, dy) = (&x[images.start * image + from..], &dy[images.start * self.groups * self.rows * self.pixels()..]);
                let pixels = images.len() * self.pixels();
                for first in (0..pixels).step_by(step) {
                    let range = first..(first + step).min(pixels);
                    let turned = &mut turned[..range.len() * self.width()];
                    Columns::new(window, image, range.clone(), range.len()).fill(x, rows.clone(), memory);
                    self.turn(dy, group, ([1, self.pixels()], self.pixels()), range.clone(), turned);
                    let starts: Vec<usize> = (0..rows.len()).map(|row| row * range.len()).collect();
                    correlate(Right { data: memory, rows: &starts }, turned, range.len(), &widths, accumulate, sums);
                    accumulate = true;
                }
            }
        }
    }

    /// Gradients of the outputs `range` of a grid as rows of channels, in panels; channels past the last, and columns of the grid from
    /// `end` on, are 0.
    fn turn(&self, dy: &[f32], group: usize, (grid, end): ([usize; 2], usize), range: Range<usize>, out: &mut [f32]) {
        let window = self.layout.window();
        let pixels = window.pixels();
        out.fill(0.0);
        let mut before = 0;
        for vectors in self.panels() {
            let width = vectors * self.lanes;
            let (panel, columns) =
                (&mut out[before * range.len()..][..width * range.len()], before..(before + width).min(self.rows));
            before += width;
            for run in runs(grid, range.clone()) {
                let len = run.len.min(end.saturating_sub(run.column));
                let first = (run.image * self.groups + group) * self.rows * pixels + run.row * window.grid[1] + run.column;
                for start in (0..len).step_by(16) {
                    let count = (len - start).min(16);
                    let lines = &mut panel[(run.at + start) * width..][..count * width];
                    for column in columns.clone() {
                        let from = &dy[first + column * pixels + start..][..count];
                        let to = lines[column - columns.start..].iter_mut().step_by(width);
                        to.zip(from).for_each(|(to, &dy)| *to = dy);
                    }
                }
            }
        }
    }

    /// Adds the parts up, in the order of weights; a vector of output channels at a time.
    fn gather(&self, sums: &[f32], each: usize, dw: &mut [f32]) {
        let (taps, width, parts) = (self.taps().len(), self.width(), self.parts());
        let row = self.channels * self.area;
        // Of each vector, the rows before its panel, the rows of the panel, and its place there.
        let mut places = Vec::new();
        let mut before = 0;
        for vectors in self.panels() {
            places.extend((0..vectors).map(|v| (before, vectors * self.lanes, v * self.lanes)));
            before += vectors * self.lanes;
        }
        for (group, dw) in dw.chunks_mut((self.rows * row).max(1)).enumerate() {
            let vectors = dw.par_chunks_mut(self.lanes * row).zip(&places);
            vectors.with_min_len((1 << 12) / (self.lanes * row) + 1).for_each(|(dw, &(before, rows, place))| {
                dw.fill(0.0);
                for first in (0..self.channels).step_by(each) {
                    let channels = first..(first + each).min(self.channels);
                    let own = channels.len() * taps;
                    let start = parts * taps * width * (group * self.channels + first);
                    for part in 0..parts {
                        let mut sums = sums[start + part * own * width + before * own..].chunks_exact(rows);
                        for channel in channels.clone() {
                            for (tap, sums) in self.taps().iter().zip(&mut sums) {
                                let to = dw[channel * self.area + tap.weight..].iter_mut().step_by(row);
                                to.zip(&sums[place..place + self.lanes]).for_each(|(to, &sum)| *to += sum);
                            }
                        }
                    }
                }
            });
        }
    }
}
