//! Shapes: up to [`MAX_RANK`] dimensions, held inline.

pub(crate) use crate::dims::{MAX_PIECES, product};
pub use crate::dims::{MAX_RANK, Shape};

use crate::error::{Error, Result, counted};

impl Shape {
    /// A shape from its dimensions.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] dimensions, or more elements than fit in an `isize`.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(Error::argument(
                "shape",
                format!("{dims:?} has {} dimensions and at most {MAX_RANK} are supported", dims.len()),
                "merge neighbouring dimensions with reshape",
            ));
        }
        if !Self::of(dims).is_possible() {
            return Err(Error::argument(
                "shape",
                format!("{dims:?} has more elements than memory can address"),
                "use smaller dimensions",
            ));
        }
        Ok(Self::of(dims))
    }

    /// Checks that `len` elements fill the shape.
    #[track_caller]
    pub(crate) fn check_len(&self, what: &str, len: usize) -> Result<()> {
        if len == self.numel() {
            return Ok(());
        }
        Err(Error::argument(
            what,
            format!("the data have {}, and shape {self} holds {}", counted(len, "element"), self.numel()),
            "give as many elements as the product of the dimensions",
        ))
    }
}

/// Anything that names a shape: `[2, 3]`, `&[2, 3]`, `vec![2, 3]`, `()` for a scalar, `n` for a vector, or a [`Shape`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a shape",
    label = "not a shape",
    note = "a shape is an array, slice or Vec of usize, one usize for a vector, or () for a scalar",
    note = "there is no -1 for a length to be inferred: compute it, or use flatten and unflatten"
)]
pub trait IntoShape {
    /// The shape, checked.
    ///
    /// # Errors
    /// As [`Shape::new`].
    #[track_caller]
    fn into_shape(self) -> Result<Shape>;
}

impl IntoShape for Shape {
    fn into_shape(self) -> Result<Shape> {
        Ok(self)
    }
}
impl IntoShape for &Shape {
    fn into_shape(self) -> Result<Shape> {
        Ok(*self)
    }
}
impl IntoShape for &[usize] {
    #[track_caller]
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}
impl IntoShape for Vec<usize> {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&self)
    }
}
impl IntoShape for &Vec<usize> {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}
impl<const N: usize> IntoShape for [usize; N] {
    #[track_caller]
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&self)
    }
}
impl<const N: usize> IntoShape for &[usize; N] {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}
impl IntoShape for usize {
    #[track_caller]
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&[self])
    }
}
impl IntoShape for () {
    fn into_shape(self) -> Result<Shape> {
        Ok(Shape::SCALAR)
    }
}

/// Anything that names axes: `1`, `-1`, `[0, 2]`, a slice, or `()` for all of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no axes",
    label = "no axes",
    note = "axes are an isize such as 1 or -1, an array or slice of isize, or () for all"
)]
pub trait IntoAxes {
    /// The axes as given, or `None` for all.
    fn into_axes(self) -> Option<Vec<isize>>;
}
impl IntoAxes for () {
    fn into_axes(self) -> Option<Vec<isize>> {
        None
    }
}
impl IntoAxes for isize {
    fn into_axes(self) -> Option<Vec<isize>> {
        Some(vec![self])
    }
}
impl<const N: usize> IntoAxes for [isize; N] {
    fn into_axes(self) -> Option<Vec<isize>> {
        Some(self.to_vec())
    }
}
impl IntoAxes for &[isize] {
    fn into_axes(self) -> Option<Vec<isize>> {
        Some(self.to_vec())
    }
}
impl IntoAxes for &Vec<isize> {
    fn into_axes(self) -> Option<Vec<isize>> {
        Some(self.clone())
    }
}

/// One number for each of `D` axes, as kernels, strides and sizes are given: `[3, 5]`, or `3` for all of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one number per axis, for {D} axes",
    label = "not a usize or an array of {D}",
    note = "give one number for all axes, as in 3, or an array of one for each, as in [3; {D}]"
)]
pub trait PerAxis<const D: usize> {
    /// The number of each axis.
    fn per_axis(self) -> [usize; D];
}
impl<const D: usize> PerAxis<D> for usize {
    fn per_axis(self) -> [usize; D] {
        [self; D]
    }
}
impl<const D: usize> PerAxis<D> for [usize; D] {
    fn per_axis(self) -> [usize; D] {
        self
    }
}
