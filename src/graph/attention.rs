//! Attention without its matrix of scores, and its gradient: what they read, and where their results are.

use crate::shape::Shape;

/// Softmax of scaled products of queries and keys, times values, for several heads: `softmax(q·kᵀ·scale + mask)·v`.
///
/// Operands: q `[b, h, l, d]`, k `[b, hk, s, d]`, v `[b, hk, s, e]`, of which head i of q sees heads `i / (h / hk)` of k and v; if
/// masked a mask `[b, h, l, s]`, Bool or F32. A query that sees no key gives zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionOp {
    /// Which part.
    pub part: AttentionPart,
    /// Whether query i sees only keys `0..=i`.
    pub causal: bool,
    /// Which mask there is.
    pub mask: AttentionMask,
    /// The bits of the f64 that scores are multiplied by.
    pub scale: u64,
}

/// What a mask does to scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionMask {
    /// There is none.
    None,
    /// Bool: true where a query may see a key.
    Bool,
    /// F32: it is added.
    Added,
}

/// The attention itself, or its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionPart {
    /// `(q, k, v, mask?)` to `[o | lse]`, one after the other: o `[b, l, h, e]`, and `[b, h, l]` logarithms of the sums of
    /// exponentials, 0 for a query that sees no key
    Forward,
    /// `(q, k, v, [o | lse], do [b, h, l, e], mask?)` to `[dq | dk | dv]`: `[b, l, h, d]`, `[b, s, hk, d]`, `[b, s, hk, e]`
    Gradient,
}

impl AttentionOp {
    /// The name that errors, plans and profiles show.
    pub const fn name(self) -> &'static str {
        match self.part {
            AttentionPart::Forward => "attention",
            AttentionPart::Gradient => "attention_grad",
        }
    }

    /// What scores are multiplied by.
    pub const fn factor(self) -> f64 {
        f64::from_bits(self.scale)
    }

    /// The position of the mask among the operands.
    pub const fn mask_operand(self) -> Option<usize> {
        match (self.mask, self.part) {
            (AttentionMask::None, _) => None,
            (_, AttentionPart::Forward) => Some(3),
            (_, AttentionPart::Gradient) => Some(5),
        }
    }
}

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionSizes {
    /// Examples, b.
    pub batch: usize,
    /// Heads of queries, h.
    pub heads: usize,
    /// Heads of keys and values, hk: a divisor of `heads`.
    pub key_heads: usize,
    /// Queries, l.
    pub queries: usize,
    /// Keys, s.
    pub keys: usize,
    /// Elements of a query and of a key, d.
    pub width: usize,
    /// Elements of a value, e.
    pub value_width: usize,
}

impl AttentionSizes {
    /// From the shapes of q, k and v.
    pub fn of(q: Shape, k: Shape, v: Shape) -> Self {
        let [batch, heads, queries, width] = [q[0], q[1], q[2], q[3]];
        Self { batch, heads, key_heads: k[1], queries, keys: k[2], width, value_width: v[3] }
    }

    /// Heads of queries that share a head of keys.
    pub const fn group(&self) -> usize {
        self.heads / self.key_heads
    }

    /// Rows of queries, over all heads.
    pub const fn rows(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// Rows of keys, over all heads.
    pub const fn key_rows(&self) -> usize {
        self.batch * self.key_heads * self.keys
    }

    /// Elements of the node of a part.
    pub const fn elements(&self, part: AttentionPart) -> usize {
        match part {
            AttentionPart::Forward => self.rows() * (self.value_width + 1),
            AttentionPart::Gradient => self.rows() * self.width + self.key_rows() * (self.width + self.value_width),
        }
    }

    /// Floating-point operations of a part.
    pub fn flops(&self, op: AttentionOp) -> u64 {
        let [d, e] = [self.width, self.value_width].map(|n| n as u64);
        let products = match op.part {
            AttentionPart::Forward => d + e,
            AttentionPart::Gradient => 3 * d + 2 * e,
        };
        let pairs = (self.rows() as u64).saturating_mul(self.keys as u64);
        let seen = if op.causal { pairs / 2 } else { pairs };
        seen.saturating_mul(2 * products)
    }
}
