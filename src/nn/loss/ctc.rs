//! Connectionist temporal classification: the probability of a label sequence, over all of its alignments in time.

use super::common::{Reduction, loss};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::{Fault, Range, Tensor, as_index, need_few, need_float, need_index};
use std::panic::Location;

/// A logarithm of 0 that stays finite over any number of steps, so that no gradient is NaN.
const NEVER: f64 = -1e30;

/// Options of [`ctc`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtcOptions {
    /// The class that stands for no label. Defaults to 0.
    pub blank: usize,
    /// Losses of sequences too short for their labels are 0, rather than ∞. Defaults to false.
    pub zero_infinity: bool,
    /// Defaults to the mean, of losses divided by their number of labels.
    pub reduction: Reduction,
}

/// `-ln Σ_π Π_t p[t, π_t]` over all alignments π that become the labels once repetitions are merged and blanks dropped.
///
/// Log-probabilities are `[time, n, classes]`, labels i32 `[n, longest]`, and each sample has its own number of time steps and of
/// labels; whatever follows them is ignored. The recursion over time is unrolled: its graph grows with `time`, and suits a few
/// hundred steps. Unlike in PyTorch, an infinite loss has gradient 0, and a sample has at least one time step. Source: Graves et
/// al., ICML 2006.
///
/// ```
/// # use wgrad::{Device, Tensor, nn::loss::{CtcOptions, ctc}};
/// # fn main() -> wgrad::Result<()> {
/// let device = Device::cpu()?;
/// let even = Tensor::zeros([2, 1, 3], &device)?.log_softmax(-1);
/// let labels = Tensor::from_slice(&[2], [1, 1], &device)?;
/// // Three of the nine alignments are [2]: 2 2, 2 -, - 2.
/// let loss = ctc(&even, &labels, &[2], &[1], CtcOptions::default())?;
/// assert!((loss.item()? - 3f64.ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Shapes or dtypes that do not fit; lengths outside `1..=time` and `0..=longest`; labels from the host outside
/// `0..classes`; a blank that is not a class.
#[track_caller]
pub fn ctc(
    log_probabilities: &Tensor,
    labels: &Tensor,
    times: &[usize],
    counts: &[usize],
    options: CtcOptions,
) -> Result<Tensor> {
    let (labels, at) = (as_index(labels), Location::caller());
    loss("ctc", &[log_probabilities, &labels], at, |nodes| {
        need_float(nodes[0])?;
        need_index(nodes[1])?;
        let (&[time, n, classes], &[rows, longest]) = (nodes[0].shape.dims(), nodes[1].shape.dims()) else {
            return Err(Fault::shape("the ranks do not fit", "use [time, n, classes] and labels [n, longest]"));
        };
        if rows != n || times.len() != n || counts.len() != n || time == 0 || n == 0 {
            let reason = format!("{n} samples, {rows} rows of labels, {} and {} lengths", times.len(), counts.len());
            return Err(Fault::shape(reason, "give each of at least one sample its labels and lengths, and a time step"));
        }
        need_few("time steps", time)?;
        if options.blank >= classes {
            let reason = format!("the blank {} is outside 0..{classes}", options.blank);
            return Err(Fault::attribute(reason, "use one of the classes"));
        }
        let wrong = |lens: &[usize], from: usize, to: usize| lens.iter().copied().find(|l| !(from..=to).contains(l));
        if let Some(len) = wrong(times, 1, time) {
            return Err(Fault::attribute(format!("{len} time steps are outside 1..={time}"), "check the input lengths"));
        }
        if let Some(len) = wrong(counts, 0, longest) {
            return Err(Fault::attribute(format!("{len} labels are outside 0..={longest}"), "check the label lengths"));
        }
        // Row by row, without the padding.
        let range = Range::new("ctc", classes, "labels count classes from 0", at);
        for (i, &count) in counts.iter().enumerate() {
            let row = labels.slice(0, i as isize, i as isize + 1).slice(1, 0, count as isize);
            let wrong = row.node().map(|row| range.wrong(row));
            if let Some(mut error) = wrong.unwrap_or_else(Some) {
                if let Error::Index { position, .. } = &mut error {
                    *position += i * longest;
                }
                return Ok(Tensor::from_error(error));
            }
        }
        let on_device = Range::is_computed(nodes[1]).then_some(range);
        let alignments = Alignments { n, time, longest, classes, blank: options.blank, on_device };
        Ok(alignments.loss(log_probabilities, &labels, times, counts, options).unwrap_or_else(Tensor::from_error))
    })
}

/// The lattice of states `blank, label, blank, label, .. blank` by time steps.
struct Alignments {
    n: usize,
    time: usize,
    longest: usize,
    classes: usize,
    blank: usize,
    /// What labels that only a device knows must be.
    on_device: Option<Range>,
}

impl Alignments {
    #[track_caller]
    fn loss(
        &self,
        log_probabilities: &Tensor,
        labels: &Tensor,
        times: &[usize],
        counts: &[usize],
        options: CtcOptions,
    ) -> Result<Tensor> {
        let device = log_probabilities.device()?;
        let (n, states) = (self.n, 2 * self.longest + 1);
        let state = Tensor::iota(states, DType::I32, &device)?;
        let column = |lens: &[usize]| -> Result<Tensor> {
            // Checked to be at most an axis' length.
            let lens: Vec<i32> = lens.iter().map(|&l| i32::try_from(l).unwrap_or(i32::MAX)).collect();
            Tensor::from_slice(&lens, [n, 1], &device)
        };
        let (times, counts) = (column(times)?, column(counts)?);
        // The contents of the padding, of time and of labels, take no part.
        let step = Tensor::iota(self.time, DType::I32, &device)?.reshape([self.time, 1, 1]);
        let running = step.lt(&times.unsqueeze(0));
        let log_probabilities = running.where_(log_probabilities, &log_probabilities.scalar_like(0.0));
        let position = Tensor::iota(self.longest, DType::I32, &device)?;
        let labels = position.lt(&counts).where_(labels, &labels.scalar_like(self.blank as f64));
        let labels = match self.on_device {
            // In range, so that the states take the class that their scores are of.
            Some(range) => range.on_device(&labels).clamp(0.0, self.classes as f64 - 1.0),
            None => labels,
        };
        let class = self.states(&labels, &state);
        // A label may follow another at once, unless they are equal.
        let skips = class.ne(&shifted(&class, states, 2, &class.scalar_like(self.blank as f64), &state));
        let never = log_probabilities.scalar_like(NEVER);
        let each = class.unsqueeze(0).expand([self.time, n, states]);
        let scores = log_probabilities.gather_within(2, &each).maximum(&never);
        let at = |t: usize| scores.slice(0, t as isize, t as isize + 1).reshape([n, states]);
        let mut reached = state.lt(&state.scalar_like(2.0)).where_(&at(0), &never);
        for t in 1..self.time {
            let next = shifted(&reached, states, 1, &never, &state);
            let skip = skips.where_(&shifted(&reached, states, 2, &never, &state), &never);
            let top = reached.maximum(&next).maximum(&skip).detach();
            let sum = (&reached - &top).exp() + (next - &top).exp() + (skip - &top).exp();
            let stepped = sum.log() + top + at(t);
            reached = times.gt(&times.scalar_like(t as f64)).where_(&stepped, &reached);
        }
        // The last label, or the blank after it.
        let end = &counts * 2;
        let ends = state.eq(&end).logical_or(&state.eq(&(&end - 1)));
        let ends = ends.where_(&reached, &never);
        let top = ends.max_keepdim(1).detach();
        let losses = -((ends - &top).exp().sum_keepdim(1).log() + top).squeeze(1);
        let infinite = if options.zero_infinity { 0.0 } else { f64::INFINITY };
        let losses = losses.gt(&losses.scalar_like(-NEVER / 10.0)).where_(&losses.scalar_like(infinite), &losses);
        Ok(match options.reduction {
            Reduction::Mean => {
                let counts = counts.squeeze(1).cast(losses.dtype()?);
                (&losses / counts.maximum(&losses.scalar_like(1.0))).mean()
            }
            other => other.apply(&losses),
        })
    }

    /// The class of each state: blanks, and labels between them. `[n, states]`.
    fn states(&self, labels: &Tensor, state: &Tensor) -> Tensor {
        // Each label after a blank, and one more blank: label i at state 2i + 1.
        let spaced = labels.unsqueeze(2).pad(&[(0, 0), (0, 0), (1, 0)]).reshape([self.n, 2 * self.longest]);
        let odd = (state % 2).eq(&state.scalar_like(1.0));
        odd.where_(&spaced.pad(&[(0, 0), (0, 1)]), &state.scalar_like(self.blank as f64))
    }
}

/// `[n, states]` moved by `by` states, with `fill` in front.
fn shifted(x: &Tensor, states: usize, by: usize, fill: &Tensor, state: &Tensor) -> Tensor {
    let kept = states.saturating_sub(by);
    let moved = x.slice(1, 0, kept as isize).pad(&[(0, 0), (states - kept, 0)]);
    state.lt(&state.scalar_like(by as f64)).where_(fill, &moved)
}
