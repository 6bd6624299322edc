//! How windows move: the options of convolutions, pooling and folds over any number of axes, for [`Tensor`](super::Tensor)'s
//! methods and for layers.

use crate::shape::PerAxis;

/// For each field a method of its name, to which one number may be given for all axes.
macro_rules! setters {
    ($axes:tt; $($axis:ident),*; $($field:ident: $type:ty),*) => {
        $(
            #[doc = concat!("With this `", stringify!($axis), "`: one number, or one per axis.")]
            #[must_use]
            pub fn $axis(mut self, $axis: impl PerAxis<$axes>) -> Self {
                self.$axis = $axis.per_axis().into();
                self
            }
        )*
        $(
            #[doc = concat!("With this `", stringify!($field), "`.")]
            #[must_use]
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        )*
    };
}

/// How the window of a convolution over `D` axes moves: [`Tensor::conv2d`](crate::Tensor::conv2d),
/// [`nn::Conv2d`](crate::nn::Conv2d) and those over one and three axes.
///
/// A literal has one number per axis; a method of a field's name takes one for all axes as well.
///
/// ```
/// use wgrad::ConvOptions;
///
/// let literal = ConvOptions::<2> { stride: [2, 2], padding: [1, 1], bias: false, ..Default::default() };
/// assert_eq!(literal, ConvOptions::default().stride(2).padding([1, 1]).bias(false));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvOptions<const D: usize> {
    /// Step of the window. Defaults to 1.
    pub stride: [usize; D],
    /// Zeros on both sides. Defaults to 0.
    pub padding: [usize; D],
    /// Distance between taps. Defaults to 1.
    pub dilation: [usize; D],
    /// Groups of channels that do not see each other. Defaults to 1.
    pub groups: usize,
    /// Whether a layer has a bias; a tensor's method adds the one that it is given, and refuses one if this is false. Defaults
    /// to true.
    pub bias: bool,
}

impl<const D: usize> Default for ConvOptions<D> {
    fn default() -> Self {
        Self { stride: [1; D], padding: [0; D], dilation: [1; D], groups: 1, bias: true }
    }
}

impl<const D: usize> ConvOptions<D> {
    setters!(D; stride, padding, dilation; groups: usize, bias: bool);
}

/// How the windows of a transposed convolution over `D` axes are placed:
/// [`Tensor::conv_transpose2d`](crate::Tensor::conv_transpose2d), [`nn::ConvTranspose2d`](crate::nn::ConvTranspose2d) and those
/// over one and three axes. Methods as in [`ConvOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvTransposeOptions<const D: usize> {
    /// Distance between the windows that are added up. Defaults to 1.
    pub stride: [usize; D],
    /// Elements cut from both sides of the result. Defaults to 0.
    pub padding: [usize; D],
    /// Elements added at the end of the result; less than the stride or the dilation. Defaults to 0.
    pub output_padding: [usize; D],
    /// Distance between taps. Defaults to 1.
    pub dilation: [usize; D],
    /// Groups of channels that do not see each other. Defaults to 1.
    pub groups: usize,
    /// Whether a layer has a bias, as in [`ConvOptions`]. Defaults to true.
    pub bias: bool,
}

impl<const D: usize> Default for ConvTransposeOptions<D> {
    fn default() -> Self {
        Self { stride: [1; D], padding: [0; D], output_padding: [0; D], dilation: [1; D], groups: 1, bias: true }
    }
}

impl<const D: usize> ConvTransposeOptions<D> {
    setters!(D; stride, padding, output_padding, dilation; groups: usize, bias: bool);
}

/// How the window of a pooling over `D` axes moves: [`Tensor::max_pool2d_with`](crate::Tensor::max_pool2d_with),
/// [`nn::MaxPool2d`](crate::nn::MaxPool2d), average pooling, and those over one and three axes.
///
/// ```
/// use wgrad::PoolOptions;
///
/// let literal = PoolOptions::<2> { stride: Some([2, 2]), padding: [1, 1], ..Default::default() };
/// assert_eq!(literal, PoolOptions::default().stride(2).padding(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions<const D: usize> {
    /// Step of the window. Defaults to the window's size.
    pub stride: Option<[usize; D]>,
    /// Padding on both sides, at most half the window: -∞ for max, 0 for average. Defaults to 0.
    pub padding: [usize; D],
    /// Distance between taps; max pooling only. Defaults to 1.
    pub dilation: [usize; D],
    /// Average only: padding counts in the divisor. Defaults to true.
    pub count_include_pad: bool,
}

impl<const D: usize> Default for PoolOptions<D> {
    fn default() -> Self {
        Self { stride: None, padding: [0; D], dilation: [1; D], count_include_pad: true }
    }
}

impl<const D: usize> PoolOptions<D> {
    setters!(D; stride, padding, dilation; count_include_pad: bool);
}

/// How the window of [`Tensor::unfold`](crate::Tensor::unfold) and [`Tensor::fold`](crate::Tensor::fold) moves. Methods as in
/// [`ConvOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldOptions {
    /// Step of the window. Defaults to 1.
    pub stride: [usize; 2],
    /// Zeros on both sides. Defaults to 0.
    pub padding: [usize; 2],
    /// Distance between taps. Defaults to 1.
    pub dilation: [usize; 2],
}

impl Default for FoldOptions {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }
}

impl FoldOptions {
    setters!(2; stride, padding, dilation;);
}
