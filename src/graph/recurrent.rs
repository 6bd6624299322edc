//! A recurrent layer over a sequence in one direction, and its gradient: what they read, and where their results are.

use crate::shape::product;

/// What a step computes of the projected input `x`, the hidden state h and for LSTM the cell state c. With `u = W·h + b`:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecurrentCell {
    /// `h' = tanh(x + u)`
    Tanh,
    /// `h' = max(x + u, 0)`
    Relu,
    /// `[i, f, g, o] = x + u`; `c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`
    Lstm,
    /// `[r, z] = σ(x + u)`, `n = tanh(x_n + r·u_n)`; `h' = n + z·(h - n)`
    Gru,
}

impl RecurrentCell {
    /// Blocks of h elements in a projected input.
    pub const fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Blocks of h elements that a step saves for the gradient, besides states: σ(i), σ(f), tanh(g), σ(o), or r, z, n, `u_n`.
    pub const fn saved(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 0,
            Self::Lstm | Self::Gru => 4,
        }
    }
}

/// The layer itself, or its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecurrentPart {
    /// `(x [t, n, g·h], W [g·h, h], h0 [n, h], c0 [n, h] for LSTM, b [g·h] for GRU, running?)` to a [`Record`]
    Forward {
        /// Whether what the gradient needs is saved.
        kept: bool,
    },
    /// `(record, W, cotangents of the record's states and last cell, running?)` to [`Slopes`]
    Gradient,
}

/// A recurrent layer over t steps of n sequences: an op, and its sizes.
///
/// Sequences that have ended keep their state. If masked, the last operand tells: Bool `[t, n]`, true where a sequence still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecurrentOp {
    /// Which part.
    pub part: RecurrentPart,
    /// What a step computes.
    pub cell: RecurrentCell,
    /// Whether it runs from the last step to the first.
    pub backward: bool,
    /// Whether there is a mask.
    pub masked: bool,
    /// Steps, t.
    pub steps: usize,
    /// Sequences, n.
    pub batch: usize,
    /// Elements of a state, h.
    pub hidden: usize,
}

/// Where the parts of a forward result begin, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// `[n, h]`: the last cell state, after `[t + 1, n, h]` hidden states in the order of time, the first one included.
    pub last_cell: usize,
    /// `[t, n, h]`: the cell state before each step, if kept.
    pub cells: usize,
    /// `[t, n, s·h]`: what steps save, if kept; 0 for a sequence that has ended.
    pub saved: usize,
    /// All of it.
    pub len: usize,
}

/// Where the parts of a gradient begin, after `[t, n, g·h]` for the projected input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slopes {
    /// `[n, h]`, for the first hidden state.
    pub hidden: usize,
    /// `[n, h]`, for the first cell state: LSTM.
    pub cell: usize,
    /// `[t, n, 3·h]`, for `W·h + b`: GRU. For the other cells it is that of the projected input.
    pub recurrent: usize,
    /// All of it.
    pub len: usize,
}

impl RecurrentOp {
    /// The name that errors, plans and profiles show.
    pub const fn name(self) -> &'static str {
        match self.part {
            RecurrentPart::Forward { .. } => "recurrent",
            RecurrentPart::Gradient => "recurrent_grad",
        }
    }

    /// Elements of one state of all sequences.
    pub fn state(self) -> usize {
        product(&[self.batch, self.hidden])
    }

    /// Elements of a block of gates' rows: all gates of all elements.
    pub fn width(self) -> usize {
        product(&[self.cell.gates(), self.hidden])
    }

    /// The parts of a forward result; `kept` as for [`RecurrentPart::Forward`]. What no memory holds ends at the largest number.
    pub fn record(self, kept: bool) -> Record {
        let state = self.state();
        let lstm = self.cell == RecurrentCell::Lstm;
        let last_cell = product(&[self.steps.saturating_add(1), state]);
        let cells = last_cell.saturating_add(if lstm { state } else { 0 });
        let saved = cells.saturating_add(if lstm && kept { product(&[self.steps, state]) } else { 0 });
        let len = saved.saturating_add(if kept { product(&[self.steps, self.cell.saved(), state]) } else { 0 });
        Record { last_cell, cells, saved, len }
    }

    /// The parts of a gradient, likewise.
    pub fn slopes(self) -> Slopes {
        let state = self.state();
        let hidden = product(&[self.steps, self.batch, self.width()]);
        let cell = hidden.saturating_add(state);
        let recurrent = cell.saturating_add(if self.cell == RecurrentCell::Lstm { state } else { 0 });
        let len = recurrent.saturating_add(if self.cell == RecurrentCell::Gru { hidden } else { 0 });
        Slopes { hidden, cell, recurrent, len }
    }

    /// Elements of the node.
    pub fn elements(self) -> usize {
        match self.part {
            RecurrentPart::Forward { kept } => self.record(kept).len,
            RecurrentPart::Gradient => self.slopes().len,
        }
    }

    /// The index in time of the step that runs as number `step`.
    pub const fn time(self, step: usize) -> usize {
        if self.backward { self.steps - 1 - step } else { step }
    }

    /// The indices of the states before and after the step at `time`.
    pub const fn around(self, time: usize) -> [usize; 2] {
        if self.backward { [time + 1, time] } else { [time, time + 1] }
    }

    /// Shapes of the operands.
    pub fn operands(self) -> Vec<Vec<usize>> {
        let (state, lstm) = (vec![self.batch, self.hidden], self.cell == RecurrentCell::Lstm);
        let weight = vec![self.width(), self.hidden];
        let mut all = match self.part {
            RecurrentPart::Forward { .. } => vec![vec![self.steps, self.batch, self.width()], weight, state.clone()],
            RecurrentPart::Gradient => vec![vec![self.record(true).len], weight, vec![self.record(true).cells]],
        };
        if self.part != RecurrentPart::Gradient {
            all.extend(lstm.then_some(state));
            all.extend((self.cell == RecurrentCell::Gru).then(|| vec![self.width()]));
        }
        all.extend(self.masked.then(|| vec![self.steps, self.batch]));
        all
    }

    /// Floating-point operations.
    pub fn flops(self) -> u64 {
        let steps = (self.steps as u64).saturating_mul(self.state() as u64);
        steps.saturating_mul(self.cell.gates() as u64).saturating_mul(2 * self.hidden as u64 + 8)
    }
}
