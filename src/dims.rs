//! What a shape is, below everything that can fail: up to [`MAX_RANK`] dimensions, held inline.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The most dimensions a tensor can have.
pub const MAX_RANK: usize = 8;

/// The most elements a shape can have, axes of length 0 left out: products and sums of such lengths, signed or not, and the bytes
/// of that many elements fit in 64 bits.
const MAX_ELEMENTS: usize = isize::MAX as usize / 8;

/// The most tensors that one call makes from one: pieces, taps of a kernel, blocks of queries.
pub(crate) const MAX_PIECES: usize = 1 << 16;

/// A product of lengths that stops at the largest number, which no axis can have: a shape with it is refused. 0 if any
/// factor is.
///
/// ```text
/// Lengths of one shape may be multiplied with *, since a shape has fewer than MAX_ELEMENTS elements. What is multiplied by
/// anything else, a caller's number or a length of another shape, is multiplied here.
/// ```
pub(crate) fn product(factors: &[usize]) -> usize {
    if factors.contains(&0) { 0 } else { factors.iter().fold(1, |n: usize, &f| n.saturating_mul(f)) }
}

/// The size of a tensor along each axis, outermost first. A scalar has rank 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a scalar.
    pub const SCALAR: Self = Self { dims: [0; MAX_RANK], rank: 0 };

    /// A shape from at most [`MAX_RANK`] dimensions. `Tensor::build` refuses those that are not possible.
    pub(crate) fn of(dims: &[usize]) -> Self {
        debug_assert!(dims.len() <= MAX_RANK, "shape of rank {}", dims.len());
        let mut shape = Self::SCALAR;
        for (slot, &d) in shape.dims.iter_mut().zip(dims) {
            *slot = d;
        }
        shape.rank = u8::try_from(dims.len().min(MAX_RANK)).unwrap_or(0);
        shape
    }

    /// Whether memory could address the elements if no axis had length 0.
    pub(crate) fn is_possible(&self) -> bool {
        let numel = self.dims().iter().filter(|&&d| d != 0).fold(1, |n: usize, &d| n.saturating_mul(d));
        numel <= MAX_ELEMENTS
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank()]
    }

    /// The number of elements; 1 for a scalar, 0 if any dimension is 0.
    pub fn numel(&self) -> usize {
        product(self.dims())
    }

    /// Elements to step over to move by one along each axis, in a contiguous layout.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.rank()];
        for d in (1..self.rank()).rev() {
            strides[d - 1] = strides[d].saturating_mul(self.dims[d].max(1));
        }
        strides
    }

    /// Resolves an axis that may count from the end (`-1` is the last).
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let rank = self.rank() as isize;
        let resolved = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&resolved).then_some(resolved as usize)
    }

    /// This shape with one dimension replaced.
    pub(crate) fn with(&self, axis: usize, len: usize) -> Self {
        let mut shape = *self;
        shape.dims[axis] = len;
        shape
    }

    /// The shape that two operands broadcast to, by NumPy's rule: align at the end; sizes must agree or be 1. `None` if they do
    /// not, or if the result has more elements than [`Shape::new`] allows.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        self.stretched(other).filter(Self::is_possible)
    }

    /// As [`Shape::broadcast`], but possibly too large.
    pub(crate) fn stretched(&self, other: &Self) -> Option<Self> {
        let rank = self.rank().max(other.rank());
        let mut out = vec![0; rank];
        for (i, slot) in out.iter_mut().enumerate() {
            let from_end = rank - i;
            let of = |s: &Self| if from_end <= s.rank() { s.dims()[s.rank() - from_end] } else { 1 };
            *slot = match (of(self), of(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Some(Self::of(&out))
    }
}

impl Hash for Shape {
    /// Of the dimensions that there are: graphs are looked up by a hash of all their shapes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.rank);
        self.dims().iter().for_each(|&d| state.write_usize(d));
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self.dims() == other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}
