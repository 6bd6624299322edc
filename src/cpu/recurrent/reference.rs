//! Recurrent layers and their gradients in f64, one element after the other.

use crate::cpu::reference::{Numbers, Value};
use crate::error::Result;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp, RecurrentPart};
use crate::math::exact::{relu, sigmoid};
use crate::math::portable::tanh;

/// Computes a part from its operands.
pub(crate) fn run(op: RecurrentOp, x: &[&Value]) -> Result<Numbers> {
    let running = match x.last().filter(|_| op.masked).map(|v| &v.data) {
        Some(Numbers::U32(mask)) => Some(mask.as_slice()),
        _ => None,
    };
    let runs = |time: usize, row: usize| running.is_none_or(|mask| mask[time * op.batch + row] != 0);
    let mut out = vec![0.0; op.elements()];
    match op.part {
        RecurrentPart::Forward { kept } => forward(op, kept, x, &runs, &mut out)?,
        RecurrentPart::Gradient => gradient(op, x, &runs, &mut out)?,
    }
    Ok(Numbers::Float(out))
}

fn forward(op: RecurrentOp, kept: bool, x: &[&Value], runs: &dyn Fn(usize, usize) -> bool, out: &mut [f64]) -> Result<()> {
    let (h, state, width) = (op.hidden, op.state(), op.width());
    let (input, weight, first) = (x[0].floats()?, x[1].floats()?, x[2].floats()?);
    let record = op.record(kept);
    let start = op.around(op.time(0))[0] * state;
    out[start..start + state].copy_from_slice(first);
    if op.cell == RecurrentCell::Lstm {
        out[record.last_cell..record.cells].copy_from_slice(x[3].floats()?);
    }
    let bias = (op.cell == RecurrentCell::Gru).then(|| x[3].floats()).transpose()?;
    for time in (0..op.steps).map(|step| op.time(step)) {
        let [before, after] = op.around(time);
        for (row, j) in (0..op.batch).flat_map(|row| (0..h).map(move |j| (row, j))) {
            let hidden: Vec<f64> = out[before * state + row * h..][..h].to_vec();
            let x = |gate: usize| input[(time * op.batch + row) * width + gate * h + j];
            let u = |gate: usize| {
                let product: f64 = weight[(gate * h + j) * h..][..h].iter().zip(&hidden).map(|(a, b)| a * b).sum();
                product + bias.map_or(0.0, |b| b[gate * h + j])
            };
            let (cell, mut gates) = (record.last_cell + row * h + j, [0.0; 4]);
            let next = match op.cell {
                RecurrentCell::Tanh => tanh(x(0) + u(0)),
                RecurrentCell::Relu => relu(x(0) + u(0)),
                RecurrentCell::Lstm => {
                    gates = [0, 1, 2, 3].map(|g| if g == 2 { tanh(x(g) + u(g)) } else { sigmoid(x(g) + u(g)) });
                    if kept {
                        out[record.cells + time * state + row * h + j] = out[cell];
                    }
                    let c = gates[1] * out[cell] + gates[0] * gates[2];
                    if runs(time, row) {
                        out[cell] = c;
                    }
                    gates[3] * tanh(c)
                }
                RecurrentCell::Gru => {
                    let [r, z] = [0, 1].map(|g| sigmoid(x(g) + u(g)));
                    gates = [r, z, tanh(x(2) + r * u(2)), u(2)];
                    gates[2] + z * (hidden[j] - gates[2])
                }
            };
            out[after * state + row * h + j] = if runs(time, row) { next } else { hidden[j] };
            if kept && runs(time, row) {
                for g in 0..op.cell.saved() {
                    out[record.saved + ((time * op.batch + row) * op.cell.saved() + g) * h + j] = gates[g];
                }
            }
        }
    }
    Ok(())
}

fn gradient(op: RecurrentOp, x: &[&Value], runs: &dyn Fn(usize, usize) -> bool, out: &mut [f64]) -> Result<()> {
    let (h, state, width) = (op.hidden, op.state(), op.width());
    let (forward, weight, ct) = (x[0].floats()?, x[1].floats()?, x[2].floats()?);
    let (record, slopes) = (op.record(true), op.slopes());
    let end = op.around(op.time(op.steps - 1))[1] * state;
    let mut dh = ct[end..end + state].to_vec();
    let mut dc = ct[record.last_cell..record.cells].to_vec();
    for time in (0..op.steps).rev().map(|step| op.time(step)) {
        let [before, after] = op.around(time);
        let mut earlier = ct[before * state..][..state].to_vec();
        for row in 0..op.batch {
            if !runs(time, row) {
                (0..h).for_each(|j| earlier[row * h + j] += dh[row * h + j]);
                continue;
            }
            let at = (time * op.batch + row) * width;
            let mut recurrent = vec![0.0; width];
            for j in 0..h {
                let i = row * h + j;
                let s = |g: usize| forward[record.saved + ((time * op.batch + row) * 4 + g) * h + j];
                let (old, new) = (forward[before * state + i], forward[after * state + i]);
                let slope = match op.cell {
                    RecurrentCell::Tanh => vec![dh[i] * (1.0 - new * new)],
                    RecurrentCell::Relu => vec![if new > 0.0 { dh[i] } else { 0.0 }],
                    RecurrentCell::Lstm => {
                        let c = forward[record.cells + time * state + i];
                        let t = tanh(s(1) * c + s(0) * s(2));
                        let d = dc[i] + dh[i] * s(3) * (1.0 - t * t);
                        dc[i] = d * s(1);
                        vec![
                            d * s(2) * s(0) * (1.0 - s(0)),
                            d * c * s(1) * (1.0 - s(1)),
                            d * s(0) * (1.0 - s(2) * s(2)),
                            dh[i] * t * s(3) * (1.0 - s(3)),
                        ]
                    }
                    RecurrentCell::Gru => {
                        earlier[i] += dh[i] * s(1);
                        let n = dh[i] * (1.0 - s(1)) * (1.0 - s(2) * s(2));
                        vec![n * s(3) * s(0) * (1.0 - s(0)), dh[i] * (old - s(2)) * s(1) * (1.0 - s(1)), n]
                    }
                };
                for (g, slope) in slope.into_iter().enumerate() {
                    out[at + g * h + j] = slope;
                    recurrent[g * h + j] = if g == 2 && op.cell == RecurrentCell::Gru { slope * s(0) } else { slope };
                }
            }
            if op.cell == RecurrentCell::Gru {
                out[slopes.recurrent + at..][..width].copy_from_slice(&recurrent);
            }
            for (k, slope) in recurrent.iter().enumerate() {
                (0..h).for_each(|j| earlier[row * h + j] += slope * weight[k * h + j]);
            }
        }
        dh = earlier;
    }
    out[slopes.hidden..slopes.cell].copy_from_slice(&dh);
    out[slopes.cell..slopes.recurrent].copy_from_slice(&dc);
    Ok(())
}
