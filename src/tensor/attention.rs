//! Scaled dot-product attention, in blocks of queries where the matrix of scores would be large.

use super::attention_fused::{self, Fused};
use super::{Fault, Tensor, need_few, need_float, need_possible};
use crate::dtype::DType;
use crate::error::{Result, counted};
use crate::graph::Op;
use crate::lazy::{GradientRule, Node, Payload, VjpAt, grad_enabled, no_grad, with_grad_mode};
use crate::rng::Generator;
use crate::shape::{Shape, product};
use std::panic::Location;
use std::sync::Arc;

/// How many scores may be in memory at once before queries are taken in blocks.
const SCORES: usize = 1 << 23;
/// The fewest queries that are worth a block.
const MIN_ROWS: usize = 128;

/// Settings of [`Tensor::scaled_dot_product_attention`].
#[derive(Debug, Clone, Default)]
pub struct AttentionOptions {
    /// Query i sees only the keys `0..=i`. Defaults to false.
    pub causal: bool,
    /// Broadcast to `[.., l, s]`. Bool: true where a query may see a key. Floating-point: added to the scores.
    pub mask: Option<Tensor>,
    /// Drops attention weights with this probability, using this generator. Defaults to none.
    pub dropout: Option<(f64, Generator)>,
    /// What the scores are multiplied by. Defaults to `1/√d`.
    pub scale: Option<f64>,
    /// Queries per block. By default as many as keep a block's scores within some 2²³ elements, and at least 128.
    pub block: Option<usize>,
}

impl AttentionOptions {
    /// Hides padding, like PyTorch's `key_padding_mask`: Bool `[n, s]`, true where a token is padding. No query of that sequence,
    /// in any head, sees it. `AttentionOptions { causal: true, ..AttentionOptions::key_padding_mask(&padding) }` hides later
    /// tokens, too.
    ///
    /// ```
    /// # use wgrad::nn::{Init, TransformerEncoderLayer};
    /// # use wgrad::{AttentionOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let device = Device::cpu()?;
    /// let tokens = Tensor::from_slice(&[5, 7, 2, 4, 0, 0], [2, 3], &device)?; // 0 is padding
    /// let layer = TransformerEncoderLayer::new(8, 2, &Init::new(&device, 0))?;
    /// let x = Tensor::ones([2, 3, 8], &device)?;
    /// assert_eq!(layer.encode(&x, &AttentionOptions::key_padding_mask(&tokens.eq(0)))?.shape()?, [2, 3, 8]);
    /// # Ok(()) }
    /// ```
    pub fn key_padding_mask(padding: &Tensor) -> Self {
        Self { mask: Some(padding.logical_not().unsqueeze(1).unsqueeze(1)), ..Self::default() }
    }
}

/// # Attention
impl Tensor {
    /// `softmax(q · kᵀ · scale + mask) · v`: queries (self) `[.., l, d]`, keys `[.., s, d]` and values `[.., s, e]` give
    /// `[.., l, e]`; leading axes broadcast. A query that may see no key gives zeros. Queries `[.., h, l, d]` may share fewer heads
    /// of keys and values, `[.., hk, s, d]` with hk a divisor of h: head i sees head `i / (h / hk)`, as in PyTorch with `enable_gqa`.
    ///
    /// The contents of a key that `mask` hides from all queries, and of its value, do not matter, nor do those of a query that
    /// may see no key: NaN there reaches neither results nor gradients. A key that some queries see has weight 0 for the others,
    /// and 0 times NaN is NaN; of keys after a `causal` query that are far from it, nothing is computed.
    ///
    /// On the CPU device and on hardware GPUs, F32 attention with `d` and `e` of at most 128 has a kernel of its own: scores exist as
    /// tiles only, and the gradient computes them again, so memory grows with `l + s`, not with `l · s`. That does not apply with
    /// dropout, with a mask that requires a gradient, and with `block`. Then, and for other dtypes, sizes and devices, queries are
    /// taken in blocks if there are many scores, one after the other, each with an exact softmax, and the gradient computes each
    /// block's scores again. The dropout mask depends on the blocks. Unlike in PyTorch, `causal` and `mask` may be combined.
    ///
    /// Sources: A. Vaswani et al., "Attention is all you need", 2017; T. Dao et al., "FlashAttention: fast and memory-efficient exact
    /// attention with IO-awareness", 2022; J. Ainslie et al., "GQA: training generalized multi-query transformer models from
    /// multi-head checkpoints", 2023.
    ///
    /// ```
    /// # use wgrad::{AttentionOptions, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let x = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0], [2, 2], &Device::cpu()?)?;
    /// let options = AttentionOptions { causal: true, scale: Some(0.0), ..AttentionOptions::default() };
    /// let y = x.scaled_dot_product_attention(&x, &x, &options);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0, 0.5, 0.5]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn scaled_dot_product_attention(&self, key: &Self, value: &Self, options: &AttentionOptions) -> Self {
        if let Some(heads) = Heads::shared(self, key, value) {
            let mask = options.mask.as_ref().map(|mask| heads.apart_mask(mask));
            let options = AttentionOptions { mask, ..options.clone() };
            let y = heads.apart(self, true).scaled_dot_product_attention(
                &heads.apart(key, false),
                &heads.apart(value, false),
                &options,
            );
            return heads.together(&y);
        }
        let mut operands = vec![self, key, value];
        operands.extend(&options.mask);
        Self::guard("scaled_dot_product_attention", &operands, Location::caller(), |n| {
            let out = check(n)?;
            let [l, s] = [out[out.rank() - 2], n[1].shape[n[1].shape.rank() - 2]];
            if let Some((p, _)) = &options.dropout
                && !(0.0..=1.0).contains(p)
            {
                return Err(Fault::attribute(format!("p = {p} is not a probability"), "use 0 <= p <= 1"));
            }
            if options.block == Some(0) {
                return Err(Fault::attribute("a block has no queries", "use block >= 1, or None"));
            }
            let d = n[0].shape[n[0].shape.rank() - 1].max(1);
            let batch: usize = out[..out.rank() - 2].iter().product();
            let rows = options.block.unwrap_or_else(|| block_rows(product(&[batch, s]))).min(l.max(1));
            need_few("blocks of queries", l.div_ceil(rows))?;
            let dropout = options.dropout.as_ref().filter(|d| d.0 > 0.0);
            let dropout = dropout.map(|(p, g)| Dropout {
                p: *p,
                seed: g.seed(),
                offsets: (0..l.div_ceil(rows).max(1)).map(|_| g.draw()).collect(),
            });
            let scale = options.scale.unwrap_or(1.0 / (d as f64).sqrt());
            let rule = Attention { l, s, rows, scale, causal: options.causal, dropout };
            let mut operands: Vec<Self> = operands.iter().map(|&t| t.clone()).collect();
            if let Some(mask) = &options.mask {
                operands[0] = zeroed(self, &reaching(mask, -1), -1);
                operands[1] = zeroed(key, &reaching(mask, -2), -2);
                operands[2] = zeroed(value, &reaching(mask, -2), -2);
            }
            if rule.dropout.is_none() && options.block.is_none() && attention_fused::takes(&operands) {
                return Ok(Fused::run(&operands, out, options.causal, scale, Arc::new(rule)).unwrap_or_else(Self::from_error));
            }
            Ok(if rows >= l { rule.block(&operands[0], &operands, 0) } else { rule.recomputed(&operands, out) })
        })
    }

    /// This value in a buffer of its own, so that a sum of many parts does not keep them all. For differentiable values it
    /// stays an expression.
    pub(super) fn settled(&self) -> Self {
        match self.node() {
            Ok(node) if !node.requires_grad => Self::build(Op::Recomputed, &[self], node.shape, node.dtype),
            _ => self.clone(),
        }
    }

    /// The same value under another node.
    pub(super) fn alias(&self) -> Self {
        match self.node() {
            Ok(node) => Self::build(Op::Reshape, &[self], node.shape, node.dtype),
            Err(_) => self.clone(),
        }
    }

    /// This value, computed after `earlier`: a dependency and nothing else, which keeps blocks from running side by side.
    fn after(&self, earlier: &Self) -> Self {
        let Ok(node) = earlier.node() else { return earlier.clone() };
        if node.shape.numel() == 0 {
            return self.clone();
        }
        let first = earlier.detach().reshape([node.shape.numel()]).slice(0, 0, 1);
        let never = match Self::iota(1, DType::I32, &node.device) {
            Ok(index) => index.lt(&index.scalar_like(0.0)),
            Err(error) => return Self::from_error(error),
        };
        never.where_(&first, self)
    }
}

/// Heads of queries that share fewer heads of keys and values: how many of these there are, and how many share one.
struct Heads {
    keys: usize,
    group: usize,
}

impl Heads {
    /// If the heads of keys and values divide those of queries, and neither broadcast.
    fn shared(q: &Tensor, k: &Tensor, v: &Tensor) -> Option<Self> {
        let heads = |t: &Tensor| t.shape().ok().and_then(|shape| shape.axis(-3).map(|axis| shape[axis]));
        let (queries, keys) = (heads(q)?, heads(k)?);
        let shares = keys > 1 && queries > keys && queries.is_multiple_of(keys) && heads(v) == Some(keys);
        shares.then(|| Self { keys, group: queries / keys })
    }

    /// The axis of heads as two: `[.., hk, h / hk, l, d]`, or `[.., hk, 1, s, d]`.
    fn apart(&self, t: &Tensor, queries: bool) -> Tensor {
        let Ok(shape) = t.shape() else { return t.clone() };
        let (front, rows) = shape.split_at(shape.rank() - 3);
        t.reshape([front, &[self.keys, if queries { self.group } else { 1 }], &rows[1..]].concat())
    }

    fn apart_mask(&self, mask: &Tensor) -> Tensor {
        match mask.shape() {
            Ok(shape) if shape.axis(-3).is_some_and(|axis| shape[axis] == self.keys * self.group) => self.apart(mask, true),
            Ok(shape) if shape.rank() > 2 => mask.unsqueeze(-3),
            _ => mask.clone(),
        }
    }

    /// `[.., h, l, e]` of `[.., hk, h / hk, l, e]`.
    fn together(&self, y: &Tensor) -> Tensor {
        let Ok(shape) = y.shape() else { return y.clone() };
        let (front, rows) = shape.split_at(shape.rank() - 4);
        y.reshape([front, &[self.keys * self.group], &rows[2..]].concat())
    }
}

/// Where a mask lets anything through, over its queries (`axis` -2) or keys (-1): that axis then has length 1.
pub(crate) fn reaching(mask: &Tensor, axis: isize) -> Tensor {
    let Ok(shape) = mask.shape() else { return mask.clone() };
    let mask = mask.detach();
    let open = match mask.dtype() {
        Ok(DType::Bool) => mask,
        _ => mask.ne(&mask.scalar_like(f64::NEG_INFINITY)),
    };
    match shape.axis(axis) {
        Some(axis) if shape[axis] != 1 => open.any_keepdim(axis as isize),
        Some(_) => open,
        None => open.unsqueeze(0),
    }
}

/// Rows of queries, keys or values, with 0 in those that `open` hides from all: a weight of 0 times NaN would be NaN. `gone` is the
/// axis along which `open` was reduced.
pub(crate) fn zeroed(rows: &Tensor, open: &Tensor, gone: isize) -> Tensor {
    let (Ok(shape), Ok(mut seen)) = (rows.shape(), open.shape()) else { return rows.clone() };
    let mut open = if gone == -2 { open.transpose(-2, -1) } else { open.clone() };
    // Axes along which several masks share the rows: what any of these masks lets through counts.
    for from_end in 3..=seen.rank() {
        let axis = seen.rank() - from_end;
        if seen[axis] != 1 && (from_end > shape.rank() || shape[shape.rank() - from_end] == 1) {
            open = open.any_keepdim(axis as isize);
            seen = seen.with(axis, 1);
        }
    }
    for _ in shape.rank()..seen.rank() {
        open = open.squeeze(0);
    }
    open.where_(rows, &rows.scalar_like(0.0))
}

/// The shape of the result, if the operands fit.
fn check(n: &[&Arc<Node>]) -> Result<Shape, Fault> {
    let [q, k, v] = [n[0], n[1], n[2]];
    need_float(q)?;
    if [k, v].iter().any(|t| t.dtype != q.dtype) {
        return Err(Fault::dtype("the dtypes of queries, keys and values differ", "cast them to one"));
    }
    if [q, k, v].iter().any(|t| t.shape.rank() < 2) {
        return Err(Fault::shape("each operand must have at least 2 axes", "use [.., length, channels]"));
    }
    let last = |t: &Node, from_end: usize| t.shape[t.shape.rank() - from_end];
    if last(q, 1) != last(k, 1) {
        let reason = format!("queries have {}, and keys have {}", counted(last(q, 1), "channel"), last(k, 1));
        return Err(Fault::shape(reason, "the last axes of queries and keys must agree"));
    }
    if last(k, 2) != last(v, 2) {
        let reason = format!("there are {} and {}", counted(last(k, 2), "key"), counted(last(v, 2), "value"));
        return Err(Fault::shape(reason, "give one value per key"));
    }
    let batch = |t: &Node| Shape::of(&t.shape[..t.shape.rank() - 2]);
    let Some(all) = batch(q).broadcast(&batch(k)).and_then(|b| b.broadcast(&batch(v))) else {
        return Err(Fault::shape("the leading axes do not broadcast", "sizes must agree or be 1"));
    };
    let ending = |a: usize, b: usize| need_possible(&[&all[..], &[a, b]].concat());
    if let Some(mask) = n.get(3) {
        if mask.dtype != DType::Bool && mask.dtype != q.dtype {
            let reason = format!("the mask is {}, neither bool nor {}", mask.dtype, q.dtype);
            return Err(Fault::dtype(reason, "compare it, or cast it"));
        }
        let scores = ending(last(q, 2), last(k, 2))?;
        if mask.shape.broadcast(&scores) != Some(scores) {
            let reason = format!("the mask {} does not stretch to the scores' {scores}", mask.shape);
            return Err(Fault::shape(reason, mask_help(&mask.shape, &scores)));
        }
    }
    ending(last(q, 2), last(v, 1))
}

/// How to make a mask fit scores `[n, .., l, s]`.
pub(crate) fn mask_help(mask: &Shape, scores: &Shape) -> String {
    match (mask.dims(), scores.dims()) {
        (&[n, s], &[batch, .., _, keys]) if scores.rank() > 2 && (n, s) == (batch, keys) => {
            let mut dims = vec![1; scores.rank()];
            (dims[0], dims[scores.rank() - 1]) = (n, s);
            format!("a padding mask [n, s] needs axes for what lies between: mask.reshape({dims:?})")
        }
        _ => "use a mask [l, s], or with leading axes that agree or are 1".to_owned(),
    }
}

/// Queries per block where each has this many scores: a power of two.
fn block_rows(scores_a_query: usize) -> usize {
    let rows = (SCORES / scores_a_query.max(1)).max(MIN_ROWS);
    1 << rows.ilog2()
}

#[derive(Debug)]
struct Dropout {
    p: f64,
    seed: u64,
    /// One draw per block, so that the gradient sees the same mask.
    offsets: Vec<u64>,
}

/// One call: its sizes and settings.
#[derive(Debug)]
struct Attention {
    l: usize,
    s: usize,
    rows: usize,
    scale: f64,
    causal: bool,
    dropout: Option<Dropout>,
}

impl Attention {
    fn range(&self, block: usize) -> (isize, isize) {
        let start = block * self.rows;
        (start as isize, (start + self.rows).min(self.l) as isize)
    }

    /// The queries `q` of a block against keys, values and mask of `operands`.
    fn block(&self, q: &Tensor, operands: &[Tensor], block: usize) -> Tensor {
        let (start, stop) = self.range(block);
        let keys = self.keys(stop as usize);
        let visible = |t: &Tensor| t.slice(-2, 0, keys as isize);
        let mut scores = (q * self.scale).matmul(&visible(&operands[1]).t());
        let hidden = scores.scalar_like(f64::NEG_INFINITY);
        if let Some(mask) = operands.get(3) {
            let mask = part(&part(mask, -2, start, stop), -1, 0, keys as isize);
            scores = if mask.dtype().is_ok_and(|d| d == DType::Bool) { mask.where_(&scores, &hidden) } else { scores + mask };
        }
        if self.causal {
            let index = |len: usize| q.device().and_then(|d| Tensor::iota(len, DType::I32, &d));
            match (index((stop - start) as usize), index(keys)) {
                (Ok(row), Ok(column)) => {
                    let row = row.unsqueeze(1) + row.scalar_like(start as f64);
                    scores = column.le(&row).where_(&scores, &hidden);
                }
                (Err(error), _) | (_, Err(error)) => return Tensor::from_error(error),
            }
        }
        let mut weights = scores.softmax(-1);
        if let Some(Dropout { p, seed, offsets }) = &self.dropout {
            weights = weights.dropout(*p, &Generator::at(*seed, offsets[block]));
        }
        weights.matmul(&visible(&operands[2]))
    }

    /// How many keys the queries below `stop` can see, rounded up to quarters of all: few sizes, so few kernels.
    fn keys(&self, stop: usize) -> usize {
        if !self.causal || self.rows >= self.l {
            return self.s;
        }
        stop.next_multiple_of(self.s.div_ceil(4)).min(self.s)
    }

    /// All blocks, one after the other, with a gradient that computes them again.
    fn recomputed(self, operands: &[Tensor], shape: Shape) -> Tensor {
        let value = no_grad(|| {
            let mut blocks: Vec<Tensor> = Vec::new();
            for block in 0..self.l.div_ceil(self.rows) {
                let (start, stop) = self.range(block);
                let q = operands[0].slice(-2, start, stop);
                let q = blocks.last().map_or(q.clone(), |previous| q.after(previous));
                blocks.push(self.block(&q, operands, block));
            }
            Tensor::cat(&blocks.iter().collect::<Vec<_>>(), -2)
        });
        if !grad_enabled() || !operands.iter().any(Tensor::requires_grad) {
            return value;
        }
        let mut nodes = Vec::new();
        for tensor in std::iter::once(&value).chain(operands) {
            match tensor.node() {
                Ok(node) => nodes.push(node.clone()),
                Err(error) => return Tensor::from_error(error),
            }
        }
        let (dtype, device) = (nodes[0].dtype, nodes[0].device.clone());
        Tensor::from_node(Node::new(Op::Recomputed, nodes, shape, dtype, &device, Payload::Gradient(Arc::new(self)), true))
    }
}

impl GradientRule for Attention {
    fn vjp(&self, operands: &[Tensor], ct: &Tensor, vjp_at: VjpAt) -> Result<Vec<Option<Tensor>>> {
        let mut sums: Vec<Option<Tensor>> = vec![None; operands.len()];
        let mut queries = Vec::new();
        let mut previous = ct.clone();
        for block in 0..self.l.div_ceil(self.rows) {
            let (start, stop) = self.range(block);
            // Nodes of their own: one tensor may be several operands.
            let (y, local) = with_grad_mode(true, || {
                let mut local: Vec<Tensor> = operands.iter().map(Tensor::alias).collect();
                local[0] = operands[0].slice(-2, start, stop).after(&previous);
                (self.block(&local[0], &local, block), local)
            });
            let ct = ct.slice(-2, start, stop);
            let ct = if block == 0 { ct } else { ct.after(&previous) };
            let mut parts = vjp_at(&y, &ct, &local)?;
            if let Some(last) = parts[..2].iter().flatten().next().or(parts.iter().flatten().next()) {
                previous = last.clone();
            }
            queries.extend(parts[0].take());
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum = match (sum.take(), part) {
                    (Some(sum), Some(part)) => Some((sum + part).settled()),
                    (sum, part) => sum.or(part),
                };
            }
        }
        if !queries.is_empty() {
            sums[0] = Some(Tensor::cat(&queries.iter().collect::<Vec<_>>(), -2));
        }
        Ok(sums)
    }
}

/// A range of an axis, unless that is stretched or missing.
fn part(t: &Tensor, axis: isize, start: isize, stop: isize) -> Tensor {
    match t.shape() {
        Ok(shape) if shape.axis(axis).is_some_and(|a| shape[a] != 1) => t.slice(axis, start, stop),
        _ => t.clone(),
    }
}
