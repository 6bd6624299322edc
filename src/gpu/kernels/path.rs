//! How kernels read an operand that is a matrix.

use crate::plan::MatrixView;

/// How an operand of a product is read. Its inner dimension is the one that is summed over, its outer one that of rows of lhs or
/// columns of rhs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// As `vec4` along the inner dimension.
    Inner,
    /// As `vec4` along the outer dimension.
    Outer,
    /// As scalars, which are neighbours along the inner dimension.
    InnerScalars,
    /// As scalars, which are neighbours along the outer dimension.
    OuterScalars,
}

impl Path {
    /// Its name in texts and profiles.
    pub fn code(self) -> &'static str {
        match self {
            Self::Inner => "k",
            Self::Outer => "x",
            Self::InnerScalars => "s",
            Self::OuterScalars => "t",
        }
    }

    /// The element type that it reads.
    pub fn element(self) -> &'static str {
        match self {
            Self::Inner | Self::Outer => "vec4<f32>",
            Self::InnerScalars | Self::OuterScalars => "f32",
        }
    }

    /// The widest path that a view's alignment allows. `inner`/`outer` are (stride, length) of the two dimensions.
    pub fn of(view: &MatrixView, inner: (i64, usize), outer: (i64, usize)) -> Self {
        let aligned = |x: i64| x % 4 == 0;
        let fits =
            |fast: (i64, usize), slow: (i64, usize)| fast.0 == 1 && fast.1.is_multiple_of(4) && (aligned(slow.0) || slow.1 == 1);
        let starts = aligned(view.offset) && view.batch.iter().all(|&s| aligned(s));
        match () {
            () if starts && fits(inner, outer) => Self::Inner,
            () if starts && fits(outer, inner) => Self::Outer,
            () if inner.0 == 1 => Self::InnerScalars,
            () => Self::OuterScalars,
        }
    }
}
