//! A recurrent layer in one direction: as one op, or step by step: f64, derivatives of its gradient, and what no buffer holds.

use super::Tensor;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Op;
use crate::graph::recurrent::{RecurrentCell, RecurrentOp, RecurrentPart};
use crate::lazy::{GradientRule, Node, Payload, VjpAt, grad_enabled, no_grad, with_grad_mode};
use crate::shape::Shape;
use std::sync::Arc;

/// What a layer reads.
pub(crate) struct Recurrence {
    /// What a step computes.
    pub cell: RecurrentCell,
    /// Whether it runs from the last step to the first.
    pub backward: bool,
    /// The inputs of all steps times their weights, plus biases: `[t, n, g·h]`.
    pub input: Tensor,
    /// `[g·h, h]`.
    pub weight: Tensor,
    /// `[n, h]`.
    pub first: Tensor,
    /// LSTM: `[n, h]`.
    pub first_cell: Option<Tensor>,
    /// GRU: what is added to the product with the state, `[3·h]`. Defaults to 0.
    pub bias: Option<Tensor>,
    /// Bool `[t, n]`: true where a sequence still runs. `None` if all run to the end.
    pub running: Option<Tensor>,
}

/// What a layer returns.
pub(crate) struct States {
    /// Hidden states in the order of time, `[t, n, h]`; 0 where a sequence has ended.
    pub outputs: Tensor,
    /// The last hidden state, `[n, h]`.
    pub hidden: Tensor,
    /// LSTM: the last cell state.
    pub cell: Option<Tensor>,
}

impl Recurrence {
    /// Runs the layer.
    #[track_caller]
    pub fn run(&self) -> Result<States> {
        let [t, n, _] = self.input.dims::<3>()?;
        let h = self.first.dims::<2>()?[1];
        let operands = self.operands(h);
        let wanted = grad_enabled() && operands.iter().any(Tensor::requires_grad);
        let op = RecurrentOp {
            part: RecurrentPart::Forward { kept: wanted },
            cell: self.cell,
            backward: self.backward,
            masked: self.running.is_some(),
            steps: t,
            batch: n,
            hidden: h,
        };
        let most = op.elements().max(if wanted { op.slopes().len } else { 0 }) as u64;
        if self.input.dtype()? != DType::F32 || most.saturating_mul(4) > self.input.device()?.executor().most_bytes() {
            return self.unrolled();
        }
        let visible = Shape::of(&[op.record(wanted).cells]);
        let (record, value) = no_grad(|| {
            let inputs: Vec<&Tensor> = operands.iter().collect();
            let record = Tensor::build(Op::Recurrent(op), &inputs, Shape::of(&[op.elements()]), DType::F32);
            let value = record.slice(0, 0, visible[0] as isize);
            (record, value)
        });
        let mut flat = value.clone();
        if wanted {
            let nodes = std::iter::once(&value).chain(&operands).chain([&record]);
            let nodes = nodes.map(|t| t.node().cloned()).collect::<Result<Vec<_>>>()?;
            let rule = Payload::Gradient(Arc::new(Rule { op }));
            flat = Tensor::from_node(Node::new(Op::Recomputed, nodes, visible, DType::F32, &self.input.device()?, rule, true));
        }
        let part = |start: usize, shape: &[usize]| {
            let stop = start + shape.iter().product::<usize>();
            flat.slice(0, start as isize, stop as isize).reshape(shape)
        };
        let state = op.state();
        let outputs = part(op.around(0)[1] * state, &[t, n, h]);
        Ok(States {
            outputs: self
                .running
                .as_ref()
                .map_or(outputs.clone(), |r| r.unsqueeze(2).where_(&outputs, &outputs.scalar_like(0.0))),
            hidden: part(op.around(op.time(t - 1))[1] * state, &[n, h]),
            cell: (self.cell == RecurrentCell::Lstm).then(|| part(op.record(wanted).last_cell, &[n, h])),
        })
    }

    /// In the order of [`RecurrentPart::Forward`], for states of h elements.
    fn operands(&self, h: usize) -> Vec<Tensor> {
        let zeros = || self.input.scalar_like(0.0).broadcast_to(Shape::of(&[3 * h]));
        let bias = (self.cell == RecurrentCell::Gru).then(|| self.bias.clone().unwrap_or_else(zeros));
        let all = [self.input.clone(), self.weight.clone(), self.first.clone()].map(Some);
        all.into_iter().chain([self.first_cell.clone(), bias, self.running.clone()]).flatten().collect()
    }

    /// The layer of an op and its operands.
    fn of(op: RecurrentOp, operands: &[Tensor]) -> Self {
        let mut rest = operands[3..].iter().cloned();
        let mut next = |there: bool| if there { rest.next() } else { None };
        Self {
            cell: op.cell,
            backward: op.backward,
            first_cell: next(op.cell == RecurrentCell::Lstm),
            bias: next(op.cell == RecurrentCell::Gru),
            running: next(op.masked),
            input: operands[0].clone(),
            weight: operands[1].clone(),
            first: operands[2].clone(),
        }
    }

    /// Runs the layer step by step, by other ops.
    fn unrolled(&self) -> Result<States> {
        let t = self.input.dims::<3>()?[0];
        let (weight, inputs) = (self.weight.t(), unstack(&self.input, t));
        let running = self.running.as_ref().map(|running| unstack(&running.unsqueeze(2), t));
        let (mut hidden, mut cell, mut outputs) = (self.first.clone(), self.first_cell.clone(), Vec::with_capacity(t));
        for i in 0..t {
            let at = if self.backward { t - 1 - i } else { i };
            let product = hidden.matmul(&weight);
            let product = self.bias.as_ref().map_or(product.clone(), |bias| product + bias);
            let (next, next_cell) = self.step(&inputs[at], &product, &hidden, cell.as_ref());
            let Some(mask) = running.as_ref().map(|r| &r[at]) else {
                outputs.push(next.clone());
                (hidden, cell) = (next, next_cell);
                continue;
            };
            outputs.push(mask.where_(&next, &next.zeros_like()));
            cell = next_cell.zip(cell).map(|(next, cell)| mask.where_(&next, &cell));
            hidden = mask.where_(&next, &hidden);
        }
        if self.backward {
            outputs.reverse();
        }
        Ok(States { outputs: Tensor::stack(&outputs.iter().collect::<Vec<_>>(), 0), hidden, cell })
    }

    /// One step's equations; the gates' order is PyTorch's: i, f, g, o and r, z, n.
    fn step(&self, x: &Tensor, u: &Tensor, hidden: &Tensor, cell: Option<&Tensor>) -> (Tensor, Option<Tensor>) {
        let part = |t: &Tensor, k: usize| {
            let len = t.shape().map_or(0, |shape| shape[1] / self.cell.gates()) as isize;
            t.slice(1, k as isize * len, (k as isize + 1) * len)
        };
        match (self.cell, cell) {
            (RecurrentCell::Relu, _) => ((x + u).relu(), None),
            (RecurrentCell::Lstm, Some(cell)) => {
                let sum = x + u;
                let [i, f, g, o] = [0, 1, 2, 3].map(|k| part(&sum, k));
                let cell = f.sigmoid() * cell + i.sigmoid() * g.tanh();
                (o.sigmoid() * cell.tanh(), Some(cell))
            }
            (RecurrentCell::Gru, _) => {
                let [r, z] = [0, 1].map(|k| (part(x, k) + part(u, k)).sigmoid());
                let n = (part(x, 2) + r * part(u, 2)).tanh();
                (&n + z * (hidden - &n), None)
            }
            _ => ((x + u).tanh(), None),
        }
    }
}

/// The gradient of a layer as one op.
#[derive(Debug)]
struct Rule {
    op: RecurrentOp,
}

impl Rule {
    /// What the op's visible result holds, by other ops: derivatives of the gradient are those of this.
    fn composed(&self, operands: &[Tensor]) -> Result<Tensor> {
        let layer = Recurrence::of(self.op, operands);
        // Without the mask of the outputs, states of sequences that have ended stay.
        let States { outputs, hidden, cell } = layer.unrolled()?;
        let op = self.op;
        let outputs = match &layer.running {
            None => outputs,
            Some(running) => {
                let running = running.unsqueeze(2);
                let ended = if op.backward { layer.first.unsqueeze(0) } else { hidden.unsqueeze(0) };
                running.where_(&outputs, &ended)
            }
        };
        let first = layer.first.unsqueeze(0);
        let states = if op.backward { Tensor::cat(&[&outputs, &first], 0) } else { Tensor::cat(&[&first, &outputs], 0) };
        let flat = |t: &Tensor| Ok::<_, crate::Error>(t.reshape([t.shape()?.numel()]));
        let mut parts = vec![flat(&states)?];
        parts.extend(cell.as_ref().map(flat).transpose()?);
        Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0))
    }
}

impl GradientRule for Rule {
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>> {
        let (record, operands) = operands.split_last().ok_or_else(|| crate::Error::internal("a layer without operands"))?;
        if grad_enabled() && (ct.requires_grad() || operands.iter().any(Tensor::requires_grad)) {
            let (y, local) = with_grad_mode(true, || {
                // Nodes of their own: one tensor may be several operands.
                let local: Vec<Tensor> = operands.iter().map(Tensor::alias).collect();
                (self.composed(&local), local)
            });
            let mut parts = vjp_at(&y?, ct, &local)?;
            parts.push(None);
            return Ok(parts);
        }
        let op = RecurrentOp { part: RecurrentPart::Gradient, ..self.op };
        let (t, n, h, width) = (op.steps, op.batch, op.hidden, op.width());
        let mut inputs = vec![record, &operands[1], ct];
        inputs.extend(operands.last().filter(|_| op.masked));
        let all = Tensor::build(Op::Recurrent(op), &inputs, Shape::of(&[op.elements()]), DType::F32);
        let part = |of: &Tensor, start: usize, shape: &[usize]| {
            let stop = start + shape.iter().product::<usize>();
            of.slice(0, start as isize, stop as isize).reshape(shape)
        };
        let (slopes, gru) = (op.slopes(), op.cell == RecurrentCell::Gru);
        let product = part(&all, if gru { slopes.recurrent } else { 0 }, &[t * n, width]);
        let before = part(record, op.around(0)[0] * op.state(), &[t * n, h]);
        let mut parts = vec![
            Some(part(&all, 0, &[t, n, width])),
            Some(product.t().matmul(&before)),
            Some(part(&all, slopes.hidden, &[n, h])),
        ];
        parts.extend((op.cell == RecurrentCell::Lstm).then(|| Some(part(&all, slopes.cell, &[n, h]))));
        parts.extend(gru.then(|| Some(product.sum_dim(0))));
        parts.resize(operands.len() + 1, None);
        Ok(parts)
    }
}

/// The slices along the first axis. Halving keeps the gradient's cost at n log n: every slice's gradient is padded to the
/// size of the one it was cut from.
pub(crate) fn unstack(x: &Tensor, len: usize) -> Vec<Tensor> {
    if len == 1 {
        return vec![x.squeeze(0)];
    }
    let (mid, end) = (len / 2, len as isize);
    let mut parts = unstack(&x.slice(0, 0, mid as isize), mid);
    parts.extend(unstack(&x.slice(0, mid as isize, end), len - mid));
    parts
}
