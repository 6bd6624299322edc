//! Which values came from the host: with them, indices are checked where they are used, without waiting for a device.
//!
//! Integers that the host uploads stay known through views, casts, joins, selections and simple arithmetic. A GPU's are kept in
//! host memory beside the upload; the CPU device's are at hand anyway. Other dtypes keep only the mark that they are the host's:
//! cast to integers and used as indices, they are read back.

use super::Tensor;
use crate::dtype::{DType, F16, HostData};
use crate::error::Result;
use crate::graph::op::BinaryOp;
use crate::graph::row::RowOp;
use crate::graph::{Op, View};
use crate::host::reserved;
use crate::lazy::{HostLeaf, HostSource, Node, Origin, Payload, Seen, Through, ValueRange};
use crate::shape::Shape;
use std::sync::Arc;

/// With more steps than this the values are worked out, or read from a nearer node.
const MAX_STEPS: usize = 8;

/// Arithmetic and selections of more elements than this are not repeated on the host: their results count as the device's.
const MAX_REPEATED: usize = 1 << 16;
/// As [`MAX_REPEATED`], for joins, which put data sets together.
const MAX_JOINED: usize = 1 << 22;

impl Origin {
    /// Values that the host keeps.
    pub fn kept(data: HostData) -> Self {
        Self::Seen(Seen::leaf(HostSource::Kept(data), Arc::default()))
    }

    /// The origin of a new node of `op` over `inputs`.
    pub fn of(op: &Op, inputs: &[Arc<Node>], shape: Shape, dtype: DType) -> Self {
        let is_index = matches!(dtype, DType::I32 | DType::U32);
        match op {
            Op::Reshape | Op::Permute(_) | Op::Expand | Op::Slice { .. } | Op::Pad { .. } | Op::Cast => {
                Self::through(op, &inputs[0], shape, dtype)
            }
            _ if shape.numel() > MAX_REPEATED => Self::Device,
            Op::Where if is_index => {
                Self::computed(inputs, shape, |v| (0..v[1].len()).map(|i| v[usize::from(v[0][i] == 0.0) + 1][i]).collect())
            }
            Op::Binary(op) if dtype == DType::I32 => match arithmetic(*op) {
                Some(f) => Self::computed(inputs, shape, |v| v[0].iter().zip(&v[1]).map(|(&a, &b)| f(a, b)).collect()),
                None => Self::Device,
            },
            Op::Row(RowOp::Gather) if is_index => {
                let (rows, d) = (inputs[0].shape[0], inputs[0].shape[1]);
                Self::computed(inputs, shape, |v| v[1].iter().flat_map(|&row| clamped(&v[0], row, rows, d)).collect())
            }
            _ => Self::Device,
        }
    }

    /// The origin of `front` and `back` joined along axis `d`.
    pub fn joined(front: &Tensor, back: &Tensor, d: usize, shape: Shape) -> Self {
        let (Ok(a), Ok(b)) = (front.node(), back.node()) else { return Self::Device };
        let marked = |n: &Node| !matches!(n.state().origin, Self::Device);
        if !marked(a) || !marked(b) || shape.numel() > MAX_JOINED {
            return Self::Device;
        }
        if !matches!(a.dtype, DType::I32 | DType::U32) {
            return Self::Host(Arc::default());
        }
        let inner = |s: &Shape| s[d..].iter().product::<usize>();
        let (x, y) = (inner(&a.shape), inner(&b.shape));
        Self::computed(&[a.clone(), b.clone()], shape, |v| {
            let outer = v[0].len().checked_div(x).unwrap_or(0);
            (0..outer).flat_map(|i| v[0][i * x..(i + 1) * x].iter().chain(&v[1][i * y..(i + 1) * y]).copied()).collect()
        })
    }

    /// Integers computed from operands whose values are at hand.
    fn computed(inputs: &[Arc<Node>], shape: Shape, f: impl FnOnce(&[Vec<f64>]) -> Vec<f64>) -> Self {
        let seen: Option<Vec<Seen>> = inputs.iter().map(Seen::at_hand).collect();
        let Some(values) = seen.and_then(|seen| seen.iter().map(|s| s.values().ok()).collect::<Option<Vec<_>>>()) else {
            return Self::Device;
        };
        let fits = values.iter().zip(inputs).all(|(v, n)| v.len() == n.shape.numel());
        let out = if fits { f(&values) } else { Vec::new() };
        if out.len() != shape.numel() { Self::Device } else { Self::kept(whole(&out)) }
    }

    fn through(op: &Op, input: &Arc<Node>, shape: Shape, dtype: DType) -> Self {
        let mut seen = match (&input.state().origin, &input.payload) {
            (Self::Seen(seen), _) => seen.clone(),
            (Self::Host(_), _) if !matches!(dtype, DType::I32 | DType::U32) => return Self::Host(Arc::default()),
            (Self::Host(range), _) => Seen::leaf(HostSource::Node(input.clone()), range.clone()),
            (Self::Device, Payload::Scalar(value)) => Seen::scalar(*value),
            (Self::Device, _) => return Self::Device,
        };
        seen.push(op, input, shape, dtype);
        if seen.steps.len() <= MAX_STEPS {
            return Self::Seen(seen);
        }
        match seen.leaf.source {
            HostSource::Kept(_) => seen.values().map_or(Self::Device, |values| Self::kept(HostData::F64(values))),
            HostSource::Node(_) if !matches!(dtype, DType::I32 | DType::U32) => Self::Host(Arc::default()),
            HostSource::Node(_) => {
                let mut near = Seen::leaf(HostSource::Node(input.clone()), Arc::default());
                near.push(op, input, shape, dtype);
                Self::Seen(near)
            }
        }
    }
}

impl Seen {
    fn leaf(source: HostSource, range: Arc<ValueRange>) -> Self {
        Self { leaf: Arc::new(HostLeaf { source, range }), steps: Vec::new() }
    }

    fn scalar(value: f64) -> Self {
        Self::leaf(HostSource::Kept(HostData::F64(vec![value])), Arc::default())
    }

    /// A node's values, if they can be had without waiting.
    fn at_hand(node: &Arc<Node>) -> Option<Self> {
        let seen = match (&node.state().origin, &node.payload) {
            (Origin::Seen(seen), _) => seen.clone(),
            (Origin::Host(range), _) => Self::leaf(HostSource::Node(node.clone()), range.clone()),
            (Origin::Device, Payload::Scalar(value)) => Self::scalar(*value),
            (Origin::Device, _) => return None,
        };
        (node.device.is_cpu() || matches!(seen.leaf.source, HostSource::Kept(_))).then_some(seen)
    }

    fn push(&mut self, op: &Op, input: &Node, shape: Shape, dtype: DType) {
        if let Op::Cast = op {
            return self.steps.push(Through::Cast { from: input.dtype, to: dtype });
        }
        let last = match self.steps.last() {
            Some(Through::View(view)) => Some(**view),
            _ => None,
        };
        let view = last.unwrap_or_else(|| View::contiguous(input.shape));
        let moved = match op {
            Op::Permute(order) => Some(view.permute(order)),
            Op::Expand => Some(view.expand(shape)),
            Op::Slice { start, step } => Some(view.slice(start, step, shape)),
            Op::Pad { before } => Some(view.pad(before, shape)),
            _ => view.reshape(shape),
        };
        match moved {
            Some(view) if last.is_some() => {
                self.steps.pop();
                self.steps.push(Through::View(Box::new(view)));
            }
            Some(view) => self.steps.push(Through::View(Box::new(view))),
            None => self.steps.push(Through::View(Box::new(View::contiguous(shape)))),
        }
    }

    /// The values in row-major order. Waits for the device where the leaf is in a GPU's memory.
    fn values(&self) -> Result<Vec<f64>> {
        let first = match self.steps.first() {
            Some(Through::View(view)) => Some(view),
            _ => None,
        };
        let mut values = self.leaf.with(|get, len| match first {
            Some(view) => picked(view, get),
            None => Ok((0..len).map(get).collect()),
        })??;
        for step in &self.steps[usize::from(first.is_some())..] {
            values = match step {
                Through::View(view) => picked(view, &|i| values[i])?,
                Through::Cast { from, to } => values.into_iter().map(|v| cast(v, *from, *to)).collect(),
            };
        }
        Ok(values)
    }

    /// Hands `f` each distinct value with its first position, until it finds something: axes that a view stretches are walked
    /// once.
    fn find<R>(&self, f: impl FnMut(usize, f64) -> Option<R>) -> Result<Option<R>> {
        let Some((Through::View(last), before)) = self.steps.split_last() else {
            let mut f = f;
            return Ok(self.values()?.into_iter().enumerate().find_map(|(i, v)| f(i, v)));
        };
        if before.is_empty() {
            return self.leaf.with(|get, _| found(last, get, f));
        }
        let values = Self { leaf: self.leaf.clone(), steps: before.to_vec() }.values()?;
        Ok(found(last, &|i| values[i], f))
    }

    /// Whether no value can be outside `0..len`, judging by the leaf's range.
    fn surely_within(&self, len: f64) -> bool {
        let (mut lo, mut hi) = self.leaf.range();
        for step in &self.steps {
            match step {
                Through::View(view) if view.mask().is_some() => (lo, hi) = (lo.min(0.0), hi.max(0.0)),
                Through::View(_) => {}
                Through::Cast { to: DType::U8 | DType::Bool, .. } => return false,
                Through::Cast { from, to } => (lo, hi) = (cast(lo, *from, *to), cast(hi, *from, *to)),
            }
        }
        lo >= 0.0 && hi < len
    }
}

impl HostLeaf {
    /// Hands `f` the elements and their number.
    fn with<R>(&self, f: impl FnOnce(&dyn Fn(usize) -> f64, usize) -> R) -> Result<R> {
        let on_host = |data: &HostData, dtype: Option<DType>| {
            let get: &dyn Fn(usize) -> f64 = match data {
                // The CPU device holds the bits of a half in a word.
                #[allow(clippy::cast_possible_truncation, reason = "the word holds 16 bits")]
                HostData::U32(v) if dtype == Some(DType::F16) => &|i| f64::from(F16::from_bits(v[i] as u16).to_f32()),
                HostData::U32(v) => &|i| f64::from(v[i]),
                HostData::I32(v) => &|i| f64::from(v[i]),
                HostData::U8(v) => &|i| f64::from(v[i]),
                HostData::F16(v) => &|i| f64::from(F16::from_bits(v[i]).to_f32()),
                HostData::F32(v) => &|i| f64::from(v[i]),
                HostData::F64(v) => &|i| v[i],
            };
            f(get, data.len())
        };
        match &self.source {
            HostSource::Kept(data) => Ok(on_host(data, None)),
            HostSource::Node(node) => {
                // A stand-in has no values at hand, and reads zeros.
                if node.device.is_cpu() && !node.device.is_stand_in() {
                    let storage = crate::eval::fixed(node)?;
                    return Ok(on_host(&storage.on_cpu()?.read(), Some(node.dtype)));
                }
                Ok(on_host(&crate::eval::read_quietly(node)?, None))
            }
        }
    }

    /// The smallest and the largest value; NaN if any is, or if they cannot be read.
    fn range(&self) -> (f64, f64) {
        const UNKNOWN: (f64, f64) = (f64::NAN, f64::NAN);
        let fold = |get: &dyn Fn(usize) -> f64, len| {
            (0..len).map(get).fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| {
                if v.is_nan() || lo.is_nan() { UNKNOWN } else { (lo.min(v), hi.max(v)) }
            })
        };
        match self.range.get() {
            Some(&range) => range,
            None => self.with(fold).map_or(UNKNOWN, |found| *self.range.get_or_init(|| found)),
        }
    }
}

/// The first host value of an index that is neither `but` nor in `0..len`, with its position. Values that a device computed
/// pass, unless the CPU device has them at hand.
pub(super) fn outside(index: &Arc<Node>, len: usize, but: Option<i32>) -> Result<Option<(usize, i64)>> {
    let limit = len as f64;
    #[allow(clippy::cast_possible_truncation, reason = "an integer of 32 bits")]
    let wrong = |p: usize, v: f64| (Some(v) != but.map(f64::from) && !(0.0..limit).contains(&v)).then_some((p, v as i64));
    let origin = index.state().origin.clone();
    let seen = match origin {
        Origin::Seen(seen) => seen,
        Origin::Host(range) => Seen::leaf(HostSource::Node(index.clone()), range),
        Origin::Device if index.device.is_cpu() && index.is_realised() => {
            Seen::leaf(HostSource::Node(index.clone()), Arc::default())
        }
        Origin::Device => return Ok(None),
    };
    if seen.surely_within(limit) { Ok(None) } else { seen.find(wrong) }
}

/// What a view shows of a buffer, in row-major order; 0 where it is masked.
fn picked(view: &View, get: &dyn Fn(usize) -> f64) -> Result<Vec<f64>> {
    let mut out = reserved("indices", view.shape.numel())?;
    walk(view, &view.shape, get, |_, v| {
        out.push(v);
        None::<()>
    });
    Ok(out)
}

/// What `f` finds among the distinct elements of a view.
fn found<R>(view: &View, get: &dyn Fn(usize) -> f64, f: impl FnMut(usize, f64) -> Option<R>) -> Option<R> {
    let strides = view.strides();
    let masked = |d: usize| view.mask().is_some_and(|m| m[d] != (0, view.shape[d] as i64));
    let once = |d: usize| strides[d] == 0 && view.shape[d] > 0 && !masked(d);
    let dims: Vec<usize> = (0..view.shape.rank()).map(|d| if once(d) { 1 } else { view.shape[d] }).collect();
    walk(view, &Shape::of(&dims), get, f)
}

/// Hands `f` the elements of a view at the coordinates of `part`, each with its position in the whole.
fn walk<R>(view: &View, part: &Shape, get: &dyn Fn(usize) -> f64, mut f: impl FnMut(usize, f64) -> Option<R>) -> Option<R> {
    let places = view.shape.strides();
    let mut coord = vec![0; part.rank()];
    for _ in 0..part.numel() {
        let value = view.index(&coord).and_then(|i| usize::try_from(i).ok()).map_or(0.0, get);
        let position = coord.iter().zip(&places).map(|(c, s)| c * s).sum();
        if let Some(found) = f(position, value) {
            return Some(found);
        }
        for d in (0..coord.len()).rev() {
            coord[d] += 1;
            if coord[d] < part[d] {
                break;
            }
            coord[d] = 0;
        }
    }
    None
}

/// Converts as [`Tensor::cast`] does, except that u32 and i32 keep a value that the other cannot represent: as an index it is
/// wrong either way.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts truncate and saturate")]
fn cast(v: f64, from: DType, to: DType) -> f64 {
    match to {
        DType::Bool => f64::from(u8::from(v != 0.0)),
        DType::U8 if from.is_float() => f64::from(v as u8),
        DType::U8 => f64::from(v as i64 as u8),
        DType::U32 if from.is_float() => f64::from(v as u32),
        DType::I32 if from.is_float() => f64::from(v as i32),
        DType::U32 | DType::I32 | DType::F64 => v,
        DType::F16 => f64::from(F16::from_f32(v as f32).to_f32()),
        DType::F32 => f64::from(v as f32),
    }
}

/// The arithmetic of indices that the host repeats.
fn arithmetic(op: BinaryOp) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        BinaryOp::Add => |a, b| wrapped(a + b),
        BinaryOp::Sub => |a, b| wrapped(a - b),
        BinaryOp::Mul => |a, b| wrapped(a * b),
        BinaryOp::Minimum => f64::min,
        BinaryOp::Maximum => f64::max,
        _ => return None,
    })
}

/// An exact result, of less than 2^63, in 32 bits.
#[allow(clippy::cast_possible_truncation, reason = "integers wrap around")]
fn wrapped(v: f64) -> f64 {
    f64::from(v as i64 as i32)
}

/// Row `row` of `[rows, d]`, clamped into range.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into range")]
fn clamped(table: &[f64], row: f64, rows: usize, d: usize) -> impl Iterator<Item = f64> {
    let row = (row.max(0.0) as usize).min(rows.saturating_sub(1));
    (row * d..(row + 1) * d).map(|i| table[i])
}

/// Integers of 32 bits, compactly where they are i32.
#[allow(clippy::cast_possible_truncation, reason = "checked")]
fn whole(values: &[f64]) -> HostData {
    if values.iter().all(|&v| f64::from(v as i32) == v) {
        HostData::I32(values.iter().map(|&v| v as i32).collect())
    } else {
        HostData::F64(values.to_vec())
    }
}
