//! Walks a view in row-major order, a run of equal steps at a time.

use crate::cpu::simd::vectorize;
use crate::graph::View;
use crate::shape::MAX_RANK;

/// A view with its axes merged as far as strides allow.
#[derive(Debug, Clone)]
pub(in crate::cpu) struct Walk {
    /// Length, stride and valid range of each axis, outermost first; at least one axis.
    axes: Vec<Axis>,
    offset: i64,
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    len: usize,
    stride: i64,
    valid: (usize, usize),
}

impl Axis {
    fn is_whole(&self) -> bool {
        self.valid == (0, self.len)
    }
}

impl Walk {
    /// The walk over all coordinates of a view.
    pub fn new(view: &View) -> Self {
        let mut axes: Vec<Axis> = Vec::new();
        for (d, (&len, &stride)) in view.shape.iter().zip(view.strides()).enumerate() {
            let clamp = |x: i64| usize::try_from(x).unwrap_or(0).min(len);
            let valid = view.mask().map_or((0, len), |m| (clamp(m[d].0), clamp(m[d].1)));
            let axis = Axis { len, stride, valid };
            if len == 1 && axis.is_whole() {
                continue;
            }
            match axes.last_mut() {
                Some(outer) if outer.is_whole() && axis.is_whole() && outer.stride == stride.wrapping_mul(len as i64) => {
                    *outer = Axis { len: outer.len * len, stride, valid: (0, outer.len * len) };
                }
                _ => axes.push(axis),
            }
        }
        if axes.is_empty() {
            axes.push(Axis { len: 1, stride: 0, valid: (0, 1) });
        }
        Self { axes, offset: view.offset }
    }

    /// Calls `run(position in the block, length, first index and step)` for every run of elements in `start..start + len`; what is
    /// masked has no index.
    #[inline(always)]
    fn runs(&self, start: usize, len: usize, mut run: impl FnMut(usize, usize, Option<(i64, i64)>)) {
        let Some((inner, outer)) = self.axes.split_last() else { return };
        let mut coord = [0; MAX_RANK];
        let mut rest = start / inner.len.max(1);
        let mut column = start % inner.len.max(1);
        for (c, axis) in coord.iter_mut().zip(outer).rev() {
            *c = rest % axis.len;
            rest /= axis.len;
        }
        let mut at = 0;
        while at < len {
            let n = (inner.len - column).min(len - at);
            let mut base = self.offset;
            let mut valid = true;
            for (&c, axis) in coord.iter().zip(outer) {
                base = base.wrapping_add((c as i64).wrapping_mul(axis.stride));
                valid &= axis.valid.0 <= c && c < axis.valid.1;
            }
            let from = inner.valid.0.clamp(column, column + n);
            let to = if valid { inner.valid.1.clamp(from, column + n) } else { from };
            if from > column {
                run(at, from - column, None);
            }
            if to > from {
                let first = base.wrapping_add((from as i64).wrapping_mul(inner.stride));
                run(at + from - column, to - from, Some((first, inner.stride)));
            }
            if column + n > to {
                run(at + to - column, column + n - to, None);
            }
            at += n;
            column = 0;
            for (c, axis) in coord[..outer.len()].iter_mut().zip(outer).rev() {
                *c += 1;
                if *c < axis.len {
                    break;
                }
                *c = 0;
            }
        }
    }

    /// `out[i] = data[index of element start + i]`, 0 where masked.
    pub fn load(&self, start: usize, data: &[u32], out: &mut [u32]) {
        vectorize(
            #[inline(always)]
            || self.load_runs(start, data, out),
        );
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "positions of a view lie within its buffer")]
    fn load_runs(&self, start: usize, data: &[u32], out: &mut [u32]) {
        self.runs(
            start,
            out.len(),
            #[inline(always)]
            |at, n, from| {
                let target = &mut out[at..at + n];
                match from {
                    None => target.fill(0),
                    Some((first, 0)) => target.fill(data[first as usize]),
                    Some((first, 1)) => target.copy_from_slice(&data[first as usize..first as usize + n]),
                    Some((first, step @ 2..)) => {
                        let from = data[first as usize..].iter().step_by(step as usize);
                        target.iter_mut().zip(from).for_each(|(o, &x)| *o = x);
                    }
                    Some((first, step)) => {
                        let backwards = data[..=first as usize].iter().rev().step_by(step.unsigned_abs() as usize);
                        target.iter_mut().zip(backwards).for_each(|(o, &x)| *o = x);
                    }
                }
            },
        );
    }

    /// `out[i] = value(index of element start + i)`, 0 where masked.
    pub fn fill(&self, start: usize, out: &mut [u32], value: impl Fn(i64) -> u32) {
        self.runs(start, out.len(), |at, n, from| match from {
            None => out[at..at + n].fill(0),
            Some((first, step)) => {
                for (i, o) in out[at..at + n].iter_mut().enumerate() {
                    *o = value(first + i as i64 * step);
                }
            }
        });
    }

    /// The smallest and largest index that the walk reaches, if any.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let (mut low, mut high) = (self.offset, self.offset);
        for axis in &self.axes {
            let (from, to) = axis.valid;
            if from >= to {
                return None;
            }
            let (a, b) = ((from as i64).wrapping_mul(axis.stride), (to as i64 - 1).wrapping_mul(axis.stride));
            low = low.wrapping_add(a.min(b));
            high = high.wrapping_add(a.max(b));
        }
        Some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn walks_read_what_views_index() {
        let data: Vec<u32> = (1..=60).collect();
        let v = View::contiguous(Shape::of(&[3, 4, 5]));
        let rows = [
            v,
            v.permute(&[2, 0, 1]),
            v.slice(&[2, 3, 4], &[-1, -2, -3], Shape::of(&[3, 2, 2])),
            v.pad(&[1, 0, 2], Shape::of(&[5, 4, 8])),
            v.slice(&[0, 1, 0], &[1, 1, 1], Shape::of(&[3, 1, 5])).expand(Shape::of(&[3, 4, 5])),
            v.pad(&[0, 2, 0], Shape::of(&[3, 7, 5])).permute(&[1, 2, 0]),
            v.slice(&[1, 1, 1], &[1, 1, 1], Shape::of(&[1, 1, 1])).reshape(Shape::SCALAR).expect("one element"),
        ];
        for view in rows {
            let n = view.shape.numel();
            let strides = view.shape.strides();
            let expected: Vec<u32> = (0..n)
                .map(|i| {
                    let coord: Vec<usize> = view.shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
                    view.index(&coord).map_or(0, |k| data[k as usize])
                })
                .collect();
            let walk = Walk::new(&view);
            for start in 0..n {
                for len in [1, 3, 7, n] {
                    let len = len.min(n - start);
                    let mut out = vec![99; len];
                    walk.load(start, &data, &mut out);
                    assert_eq!(out, expected[start..start + len], "{view:?} from {start}");
                }
            }
        }
    }
}
