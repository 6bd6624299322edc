//! Element types, and the host's typed arrays of them.
//!
//! # Storage types
//! F16 and U8 save memory: a GPU stores two, or four, elements in a 32-bit word. Nothing computes in them. Kernels unpack
//! what they load and pack what they store, so an image set stays resident as bytes and
//! `images.cast(DType::F32) * (1.0 / 255.0)` is one kernel. Views, [`Tensor::gather_rows`] and casts keep them as they are.
//! The CPU device, where memory rarely runs out, stores each of their elements in a 32-bit word.
//!
//! # Casts
//! [`Tensor::cast`] converts as Rust's `as` does:
//!
//! | from | to Bool | to U8 | to U32, I32 | to F16 | to F32 | to F64 |
//! |---|---|---|---|---|---|---|
//! | Bool | | 0 or 1 | 0 or 1 | 0 or 1 | 0 or 1 | 0 or 1 |
//! | U8 | `x != 0` | | exact | exact | exact | exact |
//! | U32, I32 | `x != 0` | low 8 bits | the same 32 bits | as through F32 | rounded | exact |
//! | F16 | `x != 0` | truncated, saturated | truncated, saturated | | exact | exact |
//! | F32 | `x != 0` | truncated, saturated | truncated, saturated | rounded | | exact |
//! | F64 | `x != 0` | truncated, saturated | truncated, saturated | as through F32 | rounded | |
//!
//! *Rounded* is to the nearest, ties to even; what is too large becomes infinite (to F16: from 65,520 on) and what is too
//! small a subnormal or 0, with its sign. *Truncated, saturated* is towards 0, into the integer type's range, and NaN gives
//! 0. NaN stays NaN between floats and is true as Bool.
//!
//! # Promotion
//! There is one implicit conversion, an exact one:
//!
//! | operands | arithmetic, comparison, reduction, product (not views, `gather_rows`, `where_`, `cat`: they keep any dtype) |
//! |---|---|
//! | F16 | widened to F32; the result is F32 where it would have had the operands' dtype |
//! | F16 with F32 | the same, where the operands broadcast, in `where_`, `matmul` and `conv2d`; elsewhere an error: cast one |
//! | U8 | an error: cast to F32, or to I32 or U32 |
//! | any other two dtypes that differ | an error: cast one |
//! | a tensor and a number | the number takes the tensor's dtype (F32 with F16), which must be able to represent it: no fraction with integers |
//!
//! Parameters and optimizer states are F32 (F64 on the CPU device). Gradients are F32 throughout: a cast from F16 passes its
//! gradient on rounded to F16 values, as in PyTorch, and the gradient with respect to an F16 tensor has dtype F32.
//!
//! [`Tensor::cast`]: crate::Tensor::cast
//! [`Tensor::gather_rows`]: crate::Tensor::gather_rows

mod half;

pub use half::F16;
use std::fmt;

/// A tensor's element type.
///
/// `Bool` is stored as one `u32` (0 or 1) per element on every device. `F64` exists on the CPU device only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// Truth values, stored as 0 or 1 in 32 bits.
    Bool,
    /// Unsigned bytes, for storage: cast them to compute.
    U8,
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers.
    I32,
    /// IEEE 754 half precision, for storage: arithmetic widens it to F32.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision, on the CPU device only.
    F64,
}

impl DType {
    /// Bytes an element takes in a GPU's memory and in files (there a truth value takes one).
    pub const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F16 => 2,
            Self::U8 => 1,
            _ => 4,
        }
    }

    /// Whether this type can represent a number; a float takes every number, rounded.
    pub(crate) fn holds(self, value: f64) -> bool {
        let within = |low: f64, high: f64| value.fract() == 0.0 && (low..=high).contains(&value);
        match self {
            Self::Bool => within(0.0, 1.0),
            Self::U8 => within(0.0, f64::from(u8::MAX)),
            Self::U32 => within(0.0, f64::from(u32::MAX)),
            Self::I32 => within(f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::F16 | Self::F32 | Self::F64 => true,
        }
    }

    /// Bytes that `len` elements take in a GPU's memory: whole 32-bit words.
    pub const fn bytes(self, len: usize) -> usize {
        (self.size() * len).next_multiple_of(4)
    }

    /// How many elements a 32-bit word holds.
    pub(crate) const fn per_word(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::U8 => 4,
            _ => 1,
        }
    }

    /// The dtype that arithmetic on this one computes in and gives: F32 for F16, else itself.
    pub const fn arithmetic(self) -> Self {
        match self {
            Self::F16 => Self::F32,
            other => other,
        }
    }

    /// Whether the type is a floating-point one, so that gradients can flow through it.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Whether the type is an integer (not a truth value).
    pub const fn is_int(self) -> bool {
        matches!(self, Self::U8 | Self::U32 | Self::I32)
    }

    /// The name as Rust and NumPy write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Elements in host memory. `Bool` tensors are `U32` here.
#[derive(Debug, Clone, PartialEq)]
pub enum HostData {
    /// Bytes.
    U8(Vec<u8>),
    /// Unsigned integers, or truth values as 0 and 1.
    U32(Vec<u32>),
    /// Signed integers.
    I32(Vec<i32>),
    /// The bits of half-precision numbers; [`F16`] converts them.
    F16(Vec<u16>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl HostData {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether these are elements of a dtype; truth values are stored in `u32`.
    pub(crate) fn is_of(&self, dtype: DType) -> bool {
        matches!(
            (self, dtype),
            (Self::F32(_), DType::F32)
                | (Self::F64(_), DType::F64)
                | (Self::I32(_), DType::I32)
                | (Self::U32(_), DType::U32 | DType::Bool)
                | (Self::U8(_), DType::U8)
                | (Self::F16(_), DType::F16)
        )
    }

    /// The dtype that the elements are of, if they are not truth values.
    pub(crate) fn kind(&self) -> DType {
        match self {
            Self::U8(_) => DType::U8,
            Self::U32(_) => DType::U32,
            Self::I32(_) => DType::I32,
            Self::F16(_) => DType::F16,
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    /// The elements' bytes, as a GPU stores them, without the padding to whole words.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::U8(v) => v,
            Self::F16(v) => bytemuck::cast_slice(v),
            Self::U32(v) => bytemuck::cast_slice(v),
            Self::I32(v) => bytemuck::cast_slice(v),
            Self::F32(v) => bytemuck::cast_slice(v),
            Self::F64(v) => bytemuck::cast_slice(v),
        }
    }

    /// Reads a GPU's bytes back as `len` elements of `dtype`; what follows them is padding.
    pub(crate) fn from_padded(dtype: DType, bytes: &[u8], len: usize) -> Self {
        Self::from_bytes(dtype, &bytes[..(dtype.size() * len).min(bytes.len())])
    }

    /// Reads bytes back as `dtype`. The length must be a multiple of the element size.
    pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Self {
        match dtype {
            DType::U8 => Self::U8(bytes.to_vec()),
            DType::F16 => Self::F16(bytemuck::pod_collect_to_vec(bytes)),
            DType::Bool | DType::U32 => Self::U32(bytemuck::pod_collect_to_vec(bytes)),
            DType::I32 => Self::I32(bytemuck::pod_collect_to_vec(bytes)),
            DType::F32 => Self::F32(bytemuck::pod_collect_to_vec(bytes)),
            DType::F64 => Self::F64(bytemuck::pod_collect_to_vec(bytes)),
        }
    }

    /// One 32-bit word for each element of a storage type, as the CPU device stores them; others as they are. `None`: memory has
    /// run out.
    pub(crate) fn unpacked(self) -> Option<Self> {
        Some(match self {
            Self::U8(v) => Self::U32(mapped(&v, |&x| u32::from(x))?),
            Self::F16(v) => Self::U32(mapped(&v, |&x| u32::from(x))?),
            other => other,
        })
    }

    /// The inverse of [`HostData::unpacked`].
    #[allow(clippy::cast_possible_truncation, reason = "the words hold no more than the elements' bits")]
    pub(crate) fn packed(self, dtype: DType) -> Option<Self> {
        Some(match (self, dtype) {
            (Self::U32(v), DType::U8) => Self::U8(mapped(&v, |&x| x as u8)?),
            (Self::U32(v), DType::F16) => Self::F16(mapped(&v, |&x| x as u16)?),
            (other, _) => other,
        })
    }

    /// Overwrites the elements with those of other data. Returns false, and changes nothing, if type or number are not the same.
    pub(crate) fn copy_from(&mut self, other: &Self) -> bool {
        let same = self.kind() == other.kind() && self.len() == other.len();
        match (self, other) {
            (Self::U8(to), Self::U8(from)) if same => to.copy_from_slice(from),
            (Self::U32(to), Self::U32(from)) if same => to.copy_from_slice(from),
            (Self::I32(to), Self::I32(from)) if same => to.copy_from_slice(from),
            (Self::F16(to), Self::F16(from)) if same => to.copy_from_slice(from),
            (Self::F32(to), Self::F32(from)) if same => to.copy_from_slice(from),
            (Self::F64(to), Self::F64(from)) if same => to.copy_from_slice(from),
            _ => return false,
        }
        true
    }

    /// A copy. `None`: memory has run out.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        Some(match self {
            Self::U8(v) => Self::U8(copied(v)?),
            Self::U32(v) => Self::U32(copied(v)?),
            Self::I32(v) => Self::I32(copied(v)?),
            Self::F16(v) => Self::F16(copied(v)?),
            Self::F32(v) => Self::F32(copied(v)?),
            Self::F64(v) => Self::F64(copied(v)?),
        })
    }

    /// Every element as `f64`; exact for all dtypes.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F16(v) => v.iter().map(|&x| f64::from(F16::from_bits(x).to_f32())).collect(),
            Self::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }
}

/// What `f` makes of each element, if there is memory for it.
fn mapped<T, U>(values: &[T], f: impl Fn(&T) -> U) -> Option<Vec<U>> {
    let mut made = Vec::new();
    made.try_reserve_exact(values.len()).ok()?;
    made.extend(values.iter().map(f));
    Some(made)
}

fn copied<T: Copy>(values: &[T]) -> Option<Vec<T>> {
    mapped(values, |&x| x)
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for u8 {}
    impl Sealed for super::F16 {}
    impl Sealed for bool {}
}

/// A Rust type that tensors can be made from and read as.
#[diagnostic::on_unimplemented(
    message = "tensors have no elements of type `{Self}`",
    label = "not an element type",
    note = "elements are f32, f64 (CPU device), i32, u32, u8, bool and dtype::F16; convert others first, such as i64 labels or usize \
            indices to i32"
)]
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The dtype of a tensor of these elements.
    const DTYPE: DType;
    /// Packs a slice for upload. `None`: memory has run out.
    fn pack(values: &[Self]) -> Option<HostData>;
    /// Unpacks the elements of a tensor of exactly this dtype.
    fn unpack(data: HostData) -> Option<Vec<Self>>;
    /// The bytes that [`Element::pack`] would give, if they lie in memory so.
    #[doc(hidden)]
    fn bytes(_values: &[Self]) -> Option<&[u8]> {
        None
    }
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
            fn bytes(values: &[Self]) -> Option<&[u8]> {
                Some(bytemuck::cast_slice(values))
            }
            fn pack(values: &[Self]) -> Option<HostData> {
                Some(HostData::$dtype(copied(values)?))
            }
            fn unpack(data: HostData) -> Option<Vec<Self>> {
                match data {
                    HostData::$dtype(v) => Some(v),
                    _ => None,
                }
            }
        }
    )*};
}
element!(f32 => F32, f64 => F64, i32 => I32, u32 => U32, u8 => U8);

impl Element for F16 {
    const DTYPE: DType = DType::F16;
    fn pack(values: &[Self]) -> Option<HostData> {
        Some(HostData::F16(mapped(values, |x| x.to_bits())?))
    }
    fn unpack(data: HostData) -> Option<Vec<Self>> {
        match data {
            HostData::F16(v) => Some(v.into_iter().map(Self::from_bits).collect()),
            _ => None,
        }
    }
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn pack(values: &[Self]) -> Option<HostData> {
        Some(HostData::U32(mapped(values, |&b| u32::from(b))?))
    }
    fn unpack(data: HostData) -> Option<Vec<Self>> {
        match data {
            HostData::U32(v) => Some(v.into_iter().map(|x| x != 0).collect()),
            _ => None,
        }
    }
}
