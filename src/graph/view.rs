//! Strided, masked windows onto a contiguous buffer: what permute, expand, slice, flip, pad and most reshapes become.

use crate::shape::{MAX_RANK, Shape};

/// Maps coordinates of `shape` to an element index of a buffer: `offset + Σ coord[d] * strides[d]`, modulo 2⁶⁴. An index that is
/// read is within the buffer, so sums on the way to it may wrap around, as offset and strides of a view that is padded far beyond
/// its buffer do.
///
/// Where a mask is present, coordinates outside `mask[d].0 .. mask[d].1` on any axis have no element and read as 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// The coordinates' extent.
    pub shape: Shape,
    strides: [i64; MAX_RANK],
    /// The index of coordinate 0; may be negative under a mask.
    pub offset: i64,
    mask: Option<[(i64, i64); MAX_RANK]>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View{}*{:?}+{}", self.shape, self.strides(), self.offset)?;
        if let Some(mask) = self.mask() {
            write!(f, "|{mask:?}")?;
        }
        Ok(())
    }
}

impl View {
    /// The whole of a contiguous buffer of this shape.
    pub fn contiguous(shape: Shape) -> Self {
        let mut strides = [0; MAX_RANK];
        for (slot, s) in strides.iter_mut().zip(shape.strides()) {
            *slot = s as i64;
        }
        Self { shape, strides, offset: 0, mask: None }
    }

    /// Any strides from any first element, without a mask.
    pub fn strided(shape: Shape, strides: &[i64], offset: i64) -> Self {
        let mut out = Self { shape, strides: [0; MAX_RANK], offset, mask: None };
        out.strides[..strides.len()].copy_from_slice(strides);
        out
    }

    /// Strides in elements, one per axis; 0 where broadcast, negative where flipped.
    pub fn strides(&self) -> &[i64] {
        &self.strides[..self.shape.rank()]
    }

    /// The valid half-open range of each axis' coordinate, if any coordinate is invalid.
    pub fn mask(&self) -> Option<&[(i64, i64)]> {
        self.mask.as_ref().map(|m| &m[..self.shape.rank()])
    }

    /// Whether linear index `i` of the shape is element `i` of the buffer.
    pub fn is_identity(&self) -> bool {
        if self.shape.numel() == 0 {
            return true;
        }
        if self.mask.is_some() || self.offset != 0 {
            return false;
        }
        let mut expected = 1;
        for (d, &len) in self.shape.iter().enumerate().rev() {
            if len != 1 && self.strides[d] != expected {
                return false;
            }
            expected *= len as i64;
        }
        true
    }

    /// Axis `d` of the result is axis `order[d]` of this view.
    pub fn permute(&self, order: &[usize]) -> Self {
        let mut out = *self;
        let dims: Vec<usize> = order.iter().map(|&a| self.shape[a]).collect();
        out.shape = Shape::of(&dims);
        for (d, &a) in order.iter().enumerate() {
            out.strides[d] = self.strides[a];
            if let (Some(to), Some(from)) = (&mut out.mask, &self.mask) {
                to[d] = from[a];
            }
        }
        out
    }

    /// Stretches axes of length 1 to `shape`, which has the same rank.
    pub fn expand(&self, shape: Shape) -> Self {
        let mut out = *self;
        out.shape = shape;
        for d in 0..shape.rank() {
            if self.shape[d] != shape[d] {
                out.strides[d] = 0;
                if let Some(mask) = &mut out.mask {
                    // The single coordinate is either valid, and then all copies are, or none is.
                    mask[d] = if mask[d].0 <= 0 && mask[d].1 >= 1 { (0, shape[d] as i64) } else { (0, 0) };
                }
            }
        }
        out
    }

    /// Coordinate `c` of the result is coordinate `start[d] + c * step[d]` of this view; steps may be negative.
    pub fn slice(&self, start: &[i64], step: &[i64], shape: Shape) -> Self {
        let mut out = *self;
        out.shape = shape;
        for d in 0..shape.rank() {
            out.offset = out.offset.wrapping_add(start[d].wrapping_mul(self.strides[d]));
            out.strides[d] = self.strides[d].wrapping_mul(step[d]);
            if let Some(mask) = &mut out.mask {
                let (lo, hi) = mask[d];
                // Smallest and one past the largest c with lo <= start + c * step < hi.
                let (first, last) = if step[d] > 0 {
                    (div_ceil(lo - start[d], step[d]), div_ceil(hi - start[d], step[d]))
                } else {
                    (div_ceil(start[d] - (hi - 1), -step[d]), (start[d] - lo).div_euclid(-step[d]) + 1)
                };
                let len = shape[d] as i64;
                mask[d] = (first.clamp(0, len), last.clamp(0, len));
            }
        }
        out
    }

    /// Adds coordinates without elements: `before[d]` of them in front of axis `d`.
    pub fn pad(&self, before: &[usize], shape: Shape) -> Self {
        let mut out = *self;
        out.shape = shape;
        let mut mask = self.mask.unwrap_or_else(|| {
            let mut full = [(0, 0); MAX_RANK];
            for (m, &len) in full.iter_mut().zip(self.shape.iter()) {
                *m = (0, len as i64);
            }
            full
        });
        for d in 0..shape.rank() {
            let b = before[d] as i64;
            out.offset = out.offset.wrapping_sub(b.wrapping_mul(self.strides[d]));
            mask[d] = (mask[d].0 + b, mask[d].1 + b);
        }
        out.mask = Some(mask);
        out.simplified()
    }

    /// The same elements under another shape, or `None` when no strides can express it.
    pub fn reshape(&self, shape: Shape) -> Option<Self> {
        if self.shape == shape {
            return Some(*self);
        }
        if shape.numel() == 0 {
            return Some(Self::contiguous(shape));
        }
        // Split both shapes into the shortest runs of equal product; within a run the old axes must be mergeable.
        let mut out = Self { shape, strides: [0; MAX_RANK], offset: self.offset, mask: None };
        let mut out_mask = [(0, 0); MAX_RANK];
        for (m, &len) in out_mask.iter_mut().zip(shape.iter()) {
            *m = (0, len as i64);
        }
        let old: Vec<usize> = (0..self.shape.rank()).filter(|&d| self.shape[d] != 1).collect();
        // An axis of length 1 still carries a mask that may empty the view.
        let masked = |d: usize| self.mask.as_ref().is_some_and(|m| m[d] != (0, self.shape[d] as i64));
        let dead = (0..self.shape.rank()).any(|d| self.shape[d] == 1 && masked(d));
        let new: Vec<usize> = (0..shape.rank()).filter(|&d| shape[d] != 1).collect();
        let (mut i, mut j) = (0, 0);
        while i < old.len() || j < new.len() {
            let (i0, j0) = (i, j);
            let (mut a, mut b) = (1usize, 1usize);
            while a != b || i == i0 {
                if a <= b && i < old.len() {
                    a *= self.shape[old[i]];
                    i += 1;
                } else if j < new.len() {
                    b *= shape[new[j]];
                    j += 1;
                } else {
                    return None;
                }
            }
            let (olds, news) = (&old[i0..i], &new[j0..j]);
            let unchanged = olds.len() == news.len() && olds.iter().zip(news).all(|(&o, &n)| self.shape[o] == shape[n]);
            if unchanged {
                for (&o, &n) in olds.iter().zip(news) {
                    out.strides[n] = self.strides[o];
                    if let Some(mask) = &self.mask {
                        out_mask[n] = mask[o];
                    }
                }
                continue;
            }
            if olds.iter().any(|&d| masked(d)) {
                return None;
            }
            for pair in olds.windows(2) {
                if self.strides[pair[0]] != self.strides[pair[1]].wrapping_mul(self.shape[pair[1]] as i64) {
                    return None;
                }
            }
            let mut stride = olds.last().map_or(1, |&d| self.strides[d]);
            for &n in news.iter().rev() {
                out.strides[n] = stride;
                stride = stride.wrapping_mul(shape[n] as i64);
            }
        }
        if self.mask.is_some() {
            if dead {
                out_mask[0] = (0, 0);
                if shape.rank() == 0 {
                    return None;
                }
            }
            out.mask = Some(out_mask);
        }
        Some(out.simplified())
    }

    /// The buffer index of a coordinate, or `None` where masked.
    pub fn index(&self, coord: &[usize]) -> Option<i64> {
        let mut index = self.offset;
        for (d, &c) in coord.iter().enumerate() {
            if let Some(mask) = &self.mask
                && !(mask[d].0..mask[d].1).contains(&(c as i64))
            {
                return None;
            }
            index = index.wrapping_add((c as i64).wrapping_mul(self.strides[d]));
        }
        Some(index)
    }

    /// Drops a mask that excludes nothing.
    fn simplified(mut self) -> Self {
        if let Some(mask) = &self.mask
            && self.shape.iter().zip(mask).all(|(&len, &m)| m.0 <= 0 && m.1 >= len as i64)
        {
            self.mask = None;
        }
        self
    }
}

fn div_ceil(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All elements in row-major order, 0 where masked.
    fn read(view: &View, data: &[i64]) -> Vec<i64> {
        let n = view.shape.numel();
        let strides = view.shape.strides();
        (0..n)
            .map(|i| {
                let coord: Vec<usize> = view.shape.iter().zip(&strides).map(|(&len, &s)| i / s % len).collect();
                view.index(&coord).map_or(0, |k| data[k as usize])
            })
            .collect()
    }

    #[test]
    fn movements_compose() {
        let data: Vec<i64> = (1..=12).collect();
        let v = View::contiguous(Shape::of(&[3, 4]));
        assert_eq!(read(&v.permute(&[1, 0]), &data), [1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]);
        let flipped = v.slice(&[0, 3], &[1, -1], Shape::of(&[3, 4]));
        assert_eq!(read(&flipped, &data)[..4], [4, 3, 2, 1]);
        let padded = v.pad(&[1, 1], Shape::of(&[5, 6]));
        assert_eq!(read(&padded, &data)[6..12], [0, 1, 2, 3, 4, 0]);
        let every_other = padded.slice(&[4, 5], &[-2, -2], Shape::of(&[3, 3]));
        assert_eq!(read(&every_other, &data), [0, 0, 0, 0, 7, 5, 0, 0, 0]);
        let row = v.slice(&[1, 0], &[1, 1], Shape::of(&[1, 4])).expand(Shape::of(&[2, 4]));
        assert_eq!(read(&row, &data), [5, 6, 7, 8, 5, 6, 7, 8]);
    }

    #[test]
    fn reshape_keeps_order_or_declines() {
        let data: Vec<i64> = (0..24).collect();
        let v = View::contiguous(Shape::of(&[2, 3, 4]));
        for to in [&[6usize, 4][..], &[24], &[2, 12], &[2, 3, 2, 2], &[1, 24, 1]] {
            let r = v.reshape(Shape::of(to)).expect("contiguous views reshape");
            assert_eq!(read(&r, &data), data, "{to:?}");
        }
        let t = v.permute(&[0, 2, 1]);
        assert!(t.reshape(Shape::of(&[2, 12])).is_none());
        let split = t.reshape(Shape::of(&[2, 2, 2, 3])).expect("a split of one axis keeps strides");
        assert_eq!(read(&split, &data), read(&t, &data));
        let padded = v.pad(&[0, 0, 1], Shape::of(&[2, 3, 5]));
        assert_eq!(read(&padded.reshape(Shape::of(&[6, 5])).expect("the masked axis is untouched"), &data), read(&padded, &data));
        assert!(padded.reshape(Shape::of(&[30])).is_none());
    }
}
