//! The gradient of all steps of some sequences, from the last to the first.

use super::panels;
use super::rows::{divide, each_task, split, split_mut, tasks};
use crate::cpu::matrix::Matrix;
use crate::cpu::simd::vectorize;
use crate::error::Result;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp};
use crate::math::fast::tanh;
use bytemuck::cast_slice;
use std::ops::Range;

/// The floats that a task works in, per sequence: cotangents of both states.
pub(super) fn scratch(op: RecurrentOp) -> usize {
    2 * op.hidden
}

/// What a task writes: its rows of the gradients of the projected input, of both first states, and of the product with h.
struct Part<'a> {
    input: Vec<&'a mut [f32]>,
    hidden: Vec<&'a mut [f32]>,
    cell: Vec<&'a mut [f32]>,
    recurrent: Vec<&'a mut [f32]>,
}

/// Fills the slopes.
pub(super) fn run(op: RecurrentOp, operands: &[&[u32]], out: &mut [f32]) -> Result<()> {
    let (h, width) = (op.hidden, op.width());
    let slopes = op.slopes();
    let (input, rest) = out[..slopes.len].split_at_mut(slopes.hidden);
    let (hidden, rest) = rest.split_at_mut(slopes.cell - slopes.hidden);
    let (cell, recurrent) = rest.split_at_mut(slopes.recurrent - slopes.cell);
    let tasks = tasks(op.batch);
    let [input, recurrent] = [input, recurrent].map(|part| divide(part, op.batch, width, &tasks));
    let [hidden, cell] = [hidden, cell].map(|part| divide(part, op.batch, h, &tasks));
    let parts = input.into_iter().zip(hidden).zip(cell).zip(recurrent);
    let parts: Vec<Part> = parts.map(|(((input, hidden), cell), recurrent)| Part { input, hidden, cell, recurrent }).collect();
    let weight = Matrix::rows_of(h, cast_slice(operands[1]));
    each_task((weight, [width, h]), tasks, parts, scratch(op), |panels, rows, part, memory| {
        sequences(op, operands, panels, rows, part, memory);
    })
}

fn sequences(op: RecurrentOp, operands: &[&[u32]], panels: &[f32], rows: Range<usize>, part: Part, memory: &mut [f32]) {
    let (h, width, state, count) = (op.hidden, op.width(), op.state(), rows.len());
    let Part { mut input, mut hidden, mut cell, mut recurrent } = part;
    let (record, running) = (op.record(true), operands.last().filter(|_| op.masked));
    let (forward, ct): (&[f32], &[f32]) = (cast_slice(operands[0]), cast_slice(operands[2]));
    // A task's rows of a state that begins at `start`.
    let of_rows = |start: usize| start + rows.start * h..start + rows.end * h;
    let (dh, dc) = memory.split_at_mut(count * h);
    dh.copy_from_slice(&ct[of_rows(op.around(op.time(op.steps - 1))[1] * state)]);
    match op.cell {
        RecurrentCell::Lstm => dc.copy_from_slice(&ct[of_rows(record.last_cell)]),
        _ => dc.fill(0.0),
    }
    for time in (0..op.steps).rev().map(|step| op.time(step)) {
        let [before, after] = op.around(time);
        let [old, new] = [before, after].map(|at| &forward[of_rows(at * state)]);
        let cells = if op.cell == RecurrentCell::Lstm { &forward[of_rows(record.cells + time * state)] } else { &[] };
        let step = op.cell.saved() * h;
        let saved = &forward[record.saved + (time * op.batch + rows.start) * step..][..count * step];
        let input = &mut *input[time];
        let product = recurrent.get_mut(time).map_or(&mut [][..], |r| &mut **r);
        for row in 0..count {
            let (own, gates) = (row * h..(row + 1) * h, row * width..(row + 1) * width);
            if running.is_some_and(|mask| mask[time * op.batch + rows.start + row] == 0) {
                input[gates.clone()].fill(0.0);
                if !product.is_empty() {
                    product[gates].fill(0.0);
                }
                continue;
            }
            let (slopes, dh, saved) = (&mut input[gates.clone()], &mut dh[own.clone()], &saved[row * step..][..step]);
            match op.cell {
                RecurrentCell::Tanh => rnn(&new[own], dh, slopes, |y, d| d * (1.0 - y * y)),
                RecurrentCell::Relu => rnn(&new[own], dh, slopes, |y, d| if y > 0.0 { d } else { 0.0 }),
                RecurrentCell::Lstm => lstm(saved, &cells[own.clone()], dh, &mut dc[own], slopes),
                RecurrentCell::Gru => gru(saved, &old[own], dh, slopes, &mut product[gates]),
            }
        }
        // What is left in dh goes around the step.
        let earlier = &ct[of_rows(before * state)];
        vectorize(
            #[inline(always)]
            || dh.iter_mut().zip(earlier).for_each(|(d, e)| *d += e),
        );
        let slopes = if product.is_empty() { &*input } else { &*product };
        panels::accumulate([h, width], dh, slopes, panels);
    }
    hidden[0].copy_from_slice(dh);
    if let Some(cell) = cell.first_mut() {
        cell.copy_from_slice(dc);
    }
}

/// The slopes of a step with one activation, whose derivative times d is a function of its result. Nothing goes around it.
fn rnn(new: &[f32], dh: &mut [f32], slopes: &mut [f32], derivative: impl Fn(f32, f32) -> f32) {
    vectorize(
        #[inline(always)]
        || {
            for ((y, d), slope) in new.iter().zip(dh).zip(slopes) {
                *slope = derivative(*y, *d);
                *d = 0.0;
            }
        },
    );
}

/// The slopes of `[i, f, g, o]`; dc becomes the cotangent of the cell before the step. Nothing goes around it.
fn lstm(saved: &[f32], cell: &[f32], dh: &mut [f32], dc: &mut [f32], slopes: &mut [f32]) {
    let h = dh.len();
    let [i, f, g, o] = split(saved, h);
    let [di, df, dg, d_o] = split_mut(slopes, h);
    vectorize(
        #[inline(always)]
        || {
            let gates = i.iter().zip(f).zip(g).zip(o).zip(cell);
            let out = di.iter_mut().zip(df).zip(dg).zip(d_o);
            for (((((i, f), g), o), c), ((dh, dc), (((di, df), dg), d_o))) in gates.zip(dh.iter_mut().zip(dc).zip(out)) {
                let t = tanh(*f * *c + *i * *g);
                let d = *dc + *dh * *o * (1.0 - t * t);
                *di = d * *g * (*i * (1.0 - *i));
                *df = d * *c * (*f * (1.0 - *f));
                *dg = d * *i * (1.0 - *g * *g);
                *d_o = *dh * t * (*o * (1.0 - *o));
                *dc = d * *f;
                *dh = 0.0;
            }
        },
    );
}

/// The slopes of `[r, z, n]` for the projected input and for the product; what goes around the step stays in dh.
fn gru(saved: &[f32], old: &[f32], dh: &mut [f32], slopes: &mut [f32], product: &mut [f32]) {
    let h = dh.len();
    let [r, z, n, u] = split(saved, h);
    let [dr, dz, dn] = split_mut(slopes, h);
    vectorize(
        #[inline(always)]
        || {
            let gates = r.iter().zip(z).zip(n).zip(u).zip(old);
            let out = dr.iter_mut().zip(dz).zip(dn).zip(&mut product[2 * h..]);
            for (((((r, z), n), u), old), (dh, (((dr, dz), dn), du))) in gates.zip(dh.iter_mut().zip(out)) {
                let d = *dh * (1.0 - *z) * (1.0 - *n * *n);
                *dn = d;
                *du = d * *r;
                *dr = d * *u * (*r * (1.0 - *r));
                *dz = *dh * (*old - *n) * (*z * (1.0 - *z));
                *dh *= *z;
            }
        },
    );
    product[..2 * h].copy_from_slice(&slopes[..2 * h]);
}
