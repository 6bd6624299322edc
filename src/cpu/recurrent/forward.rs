//! All steps of some sequences, one after the other.

use super::panels;
use super::rows::{divide, each_task, split, split_mut, tasks};
use crate::cpu::matrix::Matrix;
use crate::cpu::simd::vectorize;
use crate::error::Result;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp};
use crate::math::fast::{relu, sigmoid, tanh};
use bytemuck::cast_slice;
use std::ops::Range;

/// The floats that a task works in, per sequence: gates, a state, and a GRU's n.
pub(super) fn scratch(op: RecurrentOp) -> usize {
    op.width() + 2 * op.hidden
}

/// What a task writes: its rows of states, of the last cell, of the cells before each step, and of what is saved.
struct Part<'a> {
    states: Vec<&'a mut [f32]>,
    last: Vec<&'a mut [f32]>,
    cells: Vec<&'a mut [f32]>,
    saved: Vec<&'a mut [f32]>,
}

/// Fills a record.
pub(super) fn run(op: RecurrentOp, kept: bool, operands: &[&[u32]], out: &mut [f32]) -> Result<()> {
    let (h, width) = (op.hidden, op.width());
    let record = op.record(kept);
    let (states, rest) = out[..record.len].split_at_mut(record.last_cell);
    let (last, rest) = rest.split_at_mut(record.cells - record.last_cell);
    let (cells, saved) = rest.split_at_mut(record.saved - record.cells);
    let tasks = tasks(op.batch);
    let [states, last, cells] = [states, last, cells].map(|part| divide(part, op.batch, h, &tasks));
    let saved = divide(saved, op.batch, op.cell.saved() * h, &tasks);
    let parts = states.into_iter().zip(last).zip(cells).zip(saved);
    let parts: Vec<Part> = parts.map(|(((states, last), cells), saved)| Part { states, last, cells, saved }).collect();
    let weight = Matrix::rows_of(h, cast_slice(operands[1])).transposed();
    each_task((weight, [h, width]), tasks, parts, scratch(op), |panels, rows, part, memory| {
        sequences(op, operands, panels, rows, part, memory);
    })
}

fn sequences(op: RecurrentOp, operands: &[&[u32]], panels: &[f32], rows: Range<usize>, part: Part, memory: &mut [f32]) {
    let (h, width, count) = (op.hidden, op.width(), rows.len());
    let Part { mut states, mut last, mut cells, mut saved } = part;
    let input: &[f32] = cast_slice(operands[0]);
    let of_rows = |n: usize| -> &[f32] { &cast_slice(operands[n])[rows.start * h..rows.end * h] };
    let bias: &[f32] = if op.cell == RecurrentCell::Gru { cast_slice(operands[3]) } else { &[] };
    let running = operands.last().filter(|_| op.masked);
    let (gates, rest) = memory.split_at_mut(count * width);
    let (previous, inner) = rest.split_at_mut(count * h);
    states[op.around(op.time(0))[0]].copy_from_slice(of_rows(2));
    if let (RecurrentCell::Lstm, Some(last)) = (op.cell, last.first_mut()) {
        last.copy_from_slice(of_rows(3));
    }
    for time in (0..op.steps).map(|step| op.time(step)) {
        let [before, after] = op.around(time);
        let x = &input[(time * op.batch + rows.start) * width..][..count * width];
        previous.copy_from_slice(states[before]);
        let next = &mut *states[after];
        // What the product is added to: x, or for a GRU, whose reset gate reaches into the product, the bias.
        match op.cell {
            RecurrentCell::Tanh | RecurrentCell::Relu => next.copy_from_slice(x),
            RecurrentCell::Lstm => gates.copy_from_slice(x),
            RecurrentCell::Gru => gates.chunks_mut(width).for_each(|row| row.copy_from_slice(bias)),
        }
        let sums = if op.cell.saved() == 0 { &mut *next } else { &mut *gates };
        panels::accumulate([width, h], sums, previous, panels);
        let cells = cells.get_mut(time).map(|cells| &mut **cells);
        if let (Some(cells), Some(last)) = (cells, last.first()) {
            cells.copy_from_slice(last);
        }
        for row in 0..count {
            let own = row * h..(row + 1) * h;
            if running.is_some_and(|mask| mask[time * op.batch + rows.start + row] == 0) {
                next[own.clone()].copy_from_slice(&previous[own.clone()]);
                gates[row * width..][..width].fill(0.0);
                inner[own].fill(0.0);
                continue;
            }
            let (gates, next) = (&mut gates[row * width..][..width], &mut next[own.clone()]);
            match op.cell {
                RecurrentCell::Tanh => each(next, tanh),
                RecurrentCell::Relu => each(next, relu),
                RecurrentCell::Lstm => lstm(gates, &mut last[0][own], next),
                RecurrentCell::Gru => gru(gates, &x[row * width..][..width], &previous[own.clone()], &mut inner[own], next),
            }
        }
        if let Some(saved) = saved.get_mut(time).filter(|saved| !saved.is_empty()) {
            save(op.cell, h, gates, inner, saved);
        }
    }
}

/// What the gradient needs of a step: a GRU's n lies between its gates and what the product gave for it.
fn save(cell: RecurrentCell, h: usize, gates: &[f32], inner: &[f32], saved: &mut [f32]) {
    if cell == RecurrentCell::Lstm {
        saved.copy_from_slice(gates);
        return;
    }
    for ((gates, inner), saved) in gates.chunks(3 * h).zip(inner.chunks(h)).zip(saved.chunks_mut(4 * h)) {
        saved[..2 * h].copy_from_slice(&gates[..2 * h]);
        saved[2 * h..3 * h].copy_from_slice(inner);
        saved[3 * h..].copy_from_slice(&gates[2 * h..]);
    }
}

fn each(values: &mut [f32], f: impl Fn(f32) -> f32) {
    vectorize(
        #[inline(always)]
        || values.iter_mut().for_each(|x| *x = f(*x)),
    );
}

/// Replaces `[i, f, g, o]` by their activations and c by c', and fills h'.
fn lstm(gates: &mut [f32], cell: &mut [f32], next: &mut [f32]) {
    let h = next.len();
    let [i, f, g, o] = split_mut(gates, h);
    vectorize(
        #[inline(always)]
        || {
            let gates = i.iter_mut().zip(f).zip(g).zip(o);
            for ((((i, f), g), o), (c, next)) in gates.zip(cell.iter_mut().zip(next)) {
                (*i, *f, *g, *o) = (sigmoid(*i), sigmoid(*f), tanh(*g), sigmoid(*o));
                *c = *f * *c + *i * *g;
                *next = *o * tanh(*c);
            }
        },
    );
}

/// Replaces what the product gave for r and z by these, and fills n and h'. `x` is the projected input.
fn gru(gates: &mut [f32], x: &[f32], previous: &[f32], inner: &mut [f32], next: &mut [f32]) {
    let h = next.len();
    let [r, z, u] = split_mut(gates, h);
    let [x_r, x_z, x_n] = split(x, h);
    vectorize(
        #[inline(always)]
        || {
            let gates = r.iter_mut().zip(z).zip(u).zip(x_r.iter().zip(x_z).zip(x_n));
            for ((((r, z), u), ((x_r, x_z), x_n)), ((before, n), next)) in gates.zip(previous.iter().zip(inner).zip(next)) {
                (*r, *z) = (sigmoid(*x_r + *r), sigmoid(*x_z + *z));
                *n = tanh(*x_n + *r * *u);
                *next = *n + *z * (*before - *n);
            }
        },
    );
}
