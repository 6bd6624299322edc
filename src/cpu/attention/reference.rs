//! Attention and its gradient in f64, one weight after the other.

use crate::cpu::reference::{Numbers, Value};
use crate::error::Result;
use crate::graph::attention::{AttentionOp, AttentionPart, AttentionSizes};
use crate::math::exact::maximum;
use crate::math::portable::{exp, log};

/// Computes a part from its operands.
pub(crate) fn run(op: AttentionOp, x: &[&Value]) -> Result<Numbers> {
    let n = AttentionSizes::of(x[0].shape, x[1].shape, x[2].shape);
    let (q, k, v) = (x[0].floats()?, x[1].floats()?, x[2].floats()?);
    let (d, e) = (n.width, n.value_width);
    // What is added to a score; `None` where the query does not see the key.
    let added = |b: usize, h: usize, i: usize, j: usize| -> Option<f64> {
        let at = ((b * n.heads + h) * n.queries + i) * n.keys + j;
        match op.mask_operand().map(|m| &x[m].data) {
            _ if op.causal && j > i => None,
            Some(Numbers::U32(mask)) => (mask[at] != 0).then_some(0.0),
            Some(Numbers::Float(mask)) => Some(mask[at]),
            _ => Some(0.0),
        }
    };
    let query = |b: usize, h: usize, i: usize| ((b * n.heads + h) * n.queries + i) * d;
    let key = |b: usize, h: usize, j: usize| (b * n.key_heads + h / n.group()) * n.keys + j;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let score = |b: usize, h: usize, i: usize, j: usize| {
        let product = dot(&q[query(b, h, i)..][..d], &k[key(b, h, j) * d..][..d]) * op.factor();
        added(b, h, i, j).map_or(f64::NEG_INFINITY, |a| product + a)
    };
    let places = || (0..n.batch).flat_map(|b| (0..n.queries).flat_map(move |i| (0..n.heads).map(move |h| (b, h, i))));
    let mut out = vec![0.0; n.elements(op.part)];
    if op.part == AttentionPart::Forward {
        for (b, h, i) in places() {
            let scores: Vec<f64> = (0..n.keys).map(|j| score(b, h, i, j)).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, maximum);
            if top == f64::NEG_INFINITY {
                continue;
            }
            let sum: f64 = scores.iter().map(|s| exp(s - top)).sum();
            for (j, s) in scores.iter().enumerate() {
                for c in 0..e {
                    out[((b * n.queries + i) * n.heads + h) * e + c] += exp(s - top) / sum * v[key(b, h, j) * e + c];
                }
            }
            out[n.rows() * e + (b * n.heads + h) * n.queries + i] = top + log(sum);
        }
        return Ok(Numbers::Float(out));
    }
    let (forward, gradient) = (x[3].floats()?, x[4].floats()?);
    let (to_k, to_v) = (n.rows() * d, n.rows() * d + n.key_rows() * d);
    for (b, h, i) in places() {
        let row = (b * n.queries + i) * n.heads + h;
        let lse = forward[n.rows() * e + (b * n.heads + h) * n.queries + i];
        let dy = &gradient[((b * n.heads + h) * n.queries + i) * e..][..e];
        let mean = dot(dy, &forward[row * e..][..e]);
        for j in 0..n.keys {
            let score = score(b, h, i, j);
            if score == f64::NEG_INFINITY {
                continue;
            }
            let weight = exp(score - lse);
            let slope = weight * (dot(dy, &v[key(b, h, j) * e..][..e]) - mean) * op.factor();
            let to = (b * n.keys + j) * n.key_heads + h / n.group();
            for c in 0..d {
                out[row * d + c] += slope * k[key(b, h, j) * d + c];
                out[to_k + to * d + c] += slope * q[query(b, h, i) + c];
            }
            for (c, dy) in dy.iter().enumerate() {
                out[to_v + to * e + c] += weight * dy;
            }
        }
    }
    Ok(Numbers::Float(out))
}
