//! Outputs and input gradients: packed weights times the columns of the other tensor, some images or channels per task.

use super::columns::{Columns, runs};
use super::stencil::{Layout, Stencil};
use super::tile::{Panel, Right, Tile, VECTORS, block, multiply};
use super::window::Window;
use crate::cpu::elementwise;
use crate::cpu::expr::{Context, Program};
use crate::cpu::scratch::{with_scratch, with_shared};
use crate::error::Result;
use crate::plan::{Conv2d, ConvRole};
use bytemuck::cast_slice_mut;
use rayon::prelude::*;
use std::ops::Range;

/// Terms that are added up before they are added to the sums.
const TERMS: usize = 512;
/// Panels that a block of weights is multiplied with while it is at hand, at least; more as long as they have so few floats.
const TOGETHER: usize = 2;
const FLOATS: usize = 1 << 16;

/// One of the two products.
pub(super) struct Product {
    tile: Tile,
    layouts: Vec<Layout>,
    /// Whether they are all of the result; the rest is 0.
    all: bool,
    groups: usize,
    /// Channels of a group's result.
    rows: usize,
    /// Channels of a group's source.
    channels: usize,
    /// Elements of the weights from a group, row and channel to the next.
    strides: [usize; 3],
    images: usize,
    /// Elements of a channel of the result.
    plane: usize,
    /// Elements of a channel of the source.
    source: usize,
}

/// What a task computes.
struct Task<'a> {
    images: Range<usize>,
    /// Channels of all groups; more than one image has all of them.
    rows: Range<usize>,
    out: &'a mut [u32],
}

impl Product {
    /// A forward pass or an input gradient.
    pub fn new(conv: &Conv2d) -> Self {
        let groups = conv.spec.groups.max(1);
        let [_, inputs, kh, kw] = conv.w;
        let (outputs, area) = (conv.y[1] / groups, kh * kw);
        let [x, y] = [conv.x, conv.y].map(|t| t[2] * t[3]);
        let group = outputs * inputs * area;
        let tile = Tile::new();
        let common = |(windows, all): (Vec<Window>, bool), rows, channels, strides, plane, source| Self {
            tile,
            all,
            layouts: windows.into_iter().map(|window| Layout::new(window, rows)).collect(),
            groups,
            rows,
            channels,
            strides,
            images: conv.x[0],
            plane,
            source,
        };
        match conv.role {
            ConvRole::InputGrad => common(Window::input_grad(conv), inputs, outputs, [group, area, inputs * area], x, y),
            _ => common((vec![Window::forward(conv)], true), outputs, inputs, [group, inputs * area, area], y, x),
        }
    }

    /// The floats that all threads share, and those that each works in.
    pub fn scratch(&self) -> [usize; 2] {
        let own = self.layouts.iter().map(|layout| self.vectors(layout) * self.tile.lanes * self.rows + self.filled(layout));
        [self.layouts.iter().map(|layout| self.packed(layout.window())).sum(), own.max().unwrap_or(0)]
    }

    /// Vectors that are computed together.
    fn vectors(&self, layout: &Layout) -> usize {
        let least = TOGETHER * VECTORS;
        match layout {
            Layout::Padded(_) => least,
            Layout::Columns(window) => {
                let floats = each(self.terms(window)).max(self.rows) * self.tile.lanes;
                (FLOATS / floats.max(1)).clamp(least, 4 * least)
            }
        }
    }

    /// Floats of what is laid out of the source at a time.
    fn filled(&self, layout: &Layout) -> usize {
        match layout {
            Layout::Padded(stencil) => self.channels * stencil.plane() + stencil.pitch() + self.tile.lanes,
            Layout::Columns(window) => self.vectors(layout) * self.tile.lanes * each(self.terms(window)),
        }
    }

    fn terms(&self, window: &Window) -> usize {
        self.channels * window.taps.len()
    }

    fn packed(&self, window: &Window) -> usize {
        self.groups * self.rows * self.terms(window)
    }

    /// Fills `out`, with the epilogue.
    pub fn run(&self, source: &[f32], weights: &[f32], epilogue: &Program, context: Context, out: &mut [u32]) -> Result<()> {
        let [shared, own] = self.scratch();
        with_shared(shared, |packed| {
            let mut rest = &mut *packed;
            for window in self.layouts.iter().map(Layout::window) {
                let (part, after) = rest.split_at_mut(self.packed(window));
                self.pack(window, weights, part);
                rest = after;
            }
            let packed = &*packed;
            self.tasks(out).into_par_iter().try_for_each(|task| {
                if !self.all {
                    task.out.fill(0);
                }
                let start = (task.images.start * self.groups * self.rows + task.rows.start) * self.plane;
                with_scratch(own, |memory| {
                    self.part(source, packed, (task.images, task.rows), cast_slice_mut(task.out), memory);
                    Ok(())
                })?;
                elementwise::epilogue(epilogue, context, start, task.out);
                Ok(())
            })
        })
    }

    /// Lays a window's weights out as [`multiply`] takes them, group by group, in blocks of terms.
    fn pack(&self, window: &Window, weights: &[f32], packed: &mut [f32]) {
        let terms = self.terms(window);
        if terms == 0 || self.rows == 0 {
            return;
        }
        let [group, down, channel] = self.strides;
        let taps = window.taps.len();
        for (g, packed) in packed.chunks_mut(self.rows * terms).enumerate() {
            let weights = &weights[g * group..];
            let each = each(terms);
            let blocks = packed.par_chunks_mut(self.rows * each).enumerate().with_min_len((1 << 14) / (self.rows * each) + 1);
            blocks.for_each(|(i, packed)| {
                let count = packed.len() / self.rows;
                let lines = packed.par_chunks_mut(self.tile.rows * count).enumerate();
                lines.with_min_len((1 << 14) / (self.tile.rows * count) + 1).for_each(|(j, mut lines)| {
                    let mut row = j * self.tile.rows;
                    while !lines.is_empty() {
                        let rows = block(self.tile.rows, lines.len() / count);
                        let (own, rest) = lines.split_at_mut(rows * count);
                        let (mut from, mut tap) = (i * each / taps * channel + row * down, i * each % taps);
                        for to in own.chunks_exact_mut(rows) {
                            let column = &weights[from + window.taps[tap].weight..];
                            for (r, to) in to.iter_mut().enumerate() {
                                *to = column[r * down];
                            }
                            tap += 1;
                            if tap == taps {
                                (from, tap) = (from + channel, 0);
                            }
                        }
                        (lines, row) = (rest, row + rows);
                    }
                });
            });
        }
    }

    /// Divides the result among threads: images, and if they are few, their channels.
    fn tasks<'a>(&self, mut out: &'a mut [u32]) -> Vec<Task<'a>> {
        let threads = rayon::current_num_threads().max(1);
        let pixels = self.layouts.iter().map(|layout| layout.window().pixels()).max().unwrap_or(0).max(1);
        let together = (TOGETHER * VECTORS * self.tile.lanes).div_ceil(pixels).min(self.images.div_ceil(threads)).max(1);
        let all = self.groups * self.rows;
        // Channels are divided between groups, or between the tiles of one.
        let unit = if self.groups > 1 { self.rows } else { self.tile.rows };
        let parts = (1..=all.div_ceil(unit))
            .take_while(|_| together == 1)
            .find(|parts| (self.images * parts).is_multiple_of(threads) || self.images * parts >= 4 * threads);
        let each = all.div_ceil(unit).div_ceil(parts.unwrap_or(1)) * unit;
        let mut tasks = Vec::new();
        for first in (0..self.images).step_by(together) {
            let images = first..(first + together).min(self.images);
            for row in (0..all).step_by(each) {
                let rows = row..(row + each).min(all);
                let (own, rest) = out.split_at_mut(images.len() * rows.len() * self.plane);
                tasks.push(Task { images: images.clone(), rows, out: own });
                out = rest;
            }
        }
        tasks
    }

    fn part(
        &self,
        source: &[f32],
        packed: &[f32],
        (images, rows): (Range<usize>, Range<usize>),
        out: &mut [f32],
        memory: &mut [f32],
    ) {
        let mut packed = packed;
        let image = self.groups * self.channels * self.source;
        for layout in &self.layouts {
            let window = layout.window();
            let terms = self.terms(window);
            for group in 0..self.groups {
                let own = (group * self.rows).max(rows.start)..((group + 1) * self.rows).min(rows.end);
                if own.is_empty() {
                    continue;
                }
                let part = Part {
                    product: self,
                    window,
                    image,
                    source: &source[images.start * image + group * self.channels * self.source..],
                    packed: &packed[group * self.rows * terms..][..self.rows * terms],
                    first: own.start - group * self.rows,
                    rows: own.len(),
                    height: rows.len(),
                };
                let out = &mut out[(own.start - rows.start) * self.plane..];
                let (filled, sums) = memory.split_at_mut(self.filled(layout));
                match layout {
                    Layout::Padded(stencil) => part.padded(stencil, images.len(), out, filled, sums),
                    Layout::Columns(_) => part.columns(self.vectors(layout), images.len(), out, filled, sums),
                }
            }
            packed = &packed[self.packed(window)..];
        }
    }
}

/// Terms of a block, blocks being about equal.
fn each(terms: usize) -> usize {
    terms.div_ceil(terms.div_ceil(TERMS).max(1))
}

/// Some channels of a group's result, of some images, at the places of a window.
struct Part<'a> {
    product: &'a Product,
    window: &'a Window,
    /// Elements of an image of the source.
    image: usize,
    /// From the first image's first channel on.
    source: &'a [f32],
    packed: &'a [f32],
    /// The first row within the group, and how many there are.
    first: usize,
    rows: usize,
    /// Channels per image of what is written to.
    height: usize,
}

impl Part<'_> {
    /// Image by image.
    fn padded(&self, stencil: &Stencil, images: usize, out: &mut [f32], filled: &mut [f32], sums: &mut [f32]) {
        let Product { tile: Tile { lanes, .. }, channels, plane, source, .. } = *self.product;
        let size = stencil.plane();
        let rows: Vec<usize> = (0..channels).flat_map(|c| stencil.taps.iter().map(move |&(tap, _)| c * size + tap)).collect();
        let vectors = stencil.results().div_ceil(lanes);
        // What the last vector reads, past the last channel if it is not full.
        let reach = rows.iter().max().map_or(0, |row| row + vectors * lanes);
        let grid = [self.window.grid[0], stencil.pitch()];
        let mut empty = true;
        for image in 0..images {
            let from = &self.source[image * self.image..];
            let data = if stencil.is_identity() && reach <= from.len() {
                from
            } else {
                if std::mem::take(&mut empty) {
                    filled.fill(0.0);
                }
                for (from, to) in from.chunks_exact(source).take(channels).zip(filled.chunks_exact_mut(size.max(1))) {
                    stencil.pad(from, to);
                }
                &*filled
            };
            let out = &mut out[image * self.height * plane..];
            for first in (0..vectors).step_by(TOGETHER * VECTORS) {
                let mut panels = self.panels(first..(first + TOGETHER * VECTORS).min(vectors), sums);
                for block in self.blocks() {
                    self.multiply(block.clone(), Right { data, rows: &rows[block] }, &mut panels);
                }
                for panel in &panels {
                    let range = panel.start..(panel.start + panel.vectors * lanes).min(stencil.results());
                    self.write((grid, self.window.grid[1]), range, panel, out);
                }
            }
        }
    }

    /// Columns of `together` vectors, through all images.
    fn columns(&self, together: usize, images: usize, out: &mut [f32], filled: &mut [f32], sums: &mut [f32]) {
        let lanes = self.product.tile.lanes;
        let pixels = images * self.window.pixels();
        let grid = if self.window.is_contiguous() { [1, self.window.pixels()] } else { self.window.grid };
        for first in (0..pixels).step_by(together * lanes) {
            let range = first..(first + together * lanes).min(pixels);
            let vectors = range.len().div_ceil(lanes);
            let columns = Columns::new(self.window, self.image, range.clone(), vectors * lanes);
            let mut panels = self.panels(0..vectors, sums);
            for block in self.blocks() {
                columns.fill(self.source, block.clone(), filled);
                let rows: Vec<usize> = (0..block.len()).map(|row| row * vectors * lanes).collect();
                self.multiply(block, Right { data: filled, rows: &rows }, &mut panels);
            }
            for panel in &panels {
                let start = first + panel.start;
                self.write((grid, grid[1]), start..(start + panel.vectors * lanes).min(pixels), panel, out);
            }
        }
    }

    /// Panels of about equal width for these vectors.
    fn panels<'s>(&self, vectors: Range<usize>, mut sums: &'s mut [f32]) -> Vec<Panel<'s>> {
        let lanes = self.product.tile.lanes;
        let count = vectors.len().div_ceil(VECTORS);
        let bound = |i: usize| vectors.start + i * vectors.len() / count;
        let panel = |i: usize| {
            let vectors = bound(i + 1) - bound(i);
            let (own, rest) = std::mem::take(&mut sums).split_at_mut(self.rows * vectors * lanes);
            sums = rest;
            Panel { vectors, start: bound(i) * lanes, sums: own }
        };
        (0..count).map(panel).collect()
    }

    /// Terms that are multiplied at a time; no terms are one block, of zeros.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let terms = self.product.terms(self.window);
        let each = each(terms).max(1);
        (0..terms.max(1)).step_by(each).map(move |first| first..(first + each).min(terms))
    }

    fn multiply(&self, block: Range<usize>, right: Right, panels: &mut [Panel]) {
        let packed = &self.packed[block.start * self.product.rows + self.first * block.len()..];
        multiply(packed, self.rows, right, block.start > 0, panels);
    }

    /// Puts a panel's sums where they belong; columns of the grid from `end` on are none.
    fn write(&self, (grid, end): ([usize; 2], usize), range: Range<usize>, panel: &Panel, out: &mut [f32]) {
        let (plane, width) = (self.product.plane, panel.vectors * self.product.tile.lanes);
        for run in runs(grid, range) {
            let len = run.len.min(end.saturating_sub(run.column));
            if len == 0 {
                continue;
            }
            let (at, step) = self.window.place(run.row, run.column);
            for row in 0..self.rows {
                let from = &panel.sums[row * width + run.at..][..len];
                let to = &mut out[(run.image * self.height + row) * plane..];
                if step == 1 {
                    to[at..at + len].copy_from_slice(from);
                } else {
                    to.iter_mut().skip(at).step_by(step).zip(from).for_each(|(to, &sum)| *to = sum);
                }
            }
        }
    }
}
