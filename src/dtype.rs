//! Element types, and the host's typed arrays of them.

use crate::error::{Error, Result};
use std::fmt;

/// A tensor's element type.
///
/// `Bool` is stored as one `u32` (0 or 1) an element on every device. `F64` exists on the CPU device only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// Truth values, stored as 0 or 1 in 32 bits.
    Bool,
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers.
    I32,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision, on the CPU device only.
    F64,
}

impl DType {
    /// Bytes an element takes in memory.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            _ => 4,
        }
    }

    /// Whether the type is a floating-point one, so that gradients can flow through it.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Whether the type is an integer (not a truth value).
    pub const fn is_int(self) -> bool {
        matches!(self, Self::U32 | Self::I32)
    }

    /// The name as Rust and NumPy write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U32 => "u32",
            Self::I32 => "i32",
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
    /// Unsigned integers, or truth values as 0 and 1.
    U32(Vec<u32>),
    /// Signed integers.
    I32(Vec<i32>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl HostData {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
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

    /// The elements' bytes, as a device stores them.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::U32(v) => bytemuck::cast_slice(v),
            Self::I32(v) => bytemuck::cast_slice(v),
            Self::F32(v) => bytemuck::cast_slice(v),
            Self::F64(v) => bytemuck::cast_slice(v),
        }
    }

    /// Reads device bytes back as `dtype`. The length must be a multiple of the element size.
    pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Self {
        match dtype {
            DType::Bool | DType::U32 => Self::U32(bytemuck::pod_collect_to_vec(bytes)),
            DType::I32 => Self::I32(bytemuck::pod_collect_to_vec(bytes)),
            DType::F32 => Self::F32(bytemuck::pod_collect_to_vec(bytes)),
            DType::F64 => Self::F64(bytemuck::pod_collect_to_vec(bytes)),
        }
    }

    /// Every element as `f64`; exact for all dtypes.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for bool {}
}

/// A Rust type that tensors can be made from and read as.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {
    /// The dtype that holds it.
    const DTYPE: DType;
    /// Packs a slice for upload.
    fn pack(values: &[Self]) -> HostData;
    /// Unpacks what a tensor of exactly this dtype holds.
    fn unpack(data: HostData) -> Option<Vec<Self>>;
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
            fn pack(values: &[Self]) -> HostData {
                HostData::$dtype(values.to_vec())
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
element!(f32 => F32, f64 => F64, i32 => I32, u32 => U32);

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn pack(values: &[Self]) -> HostData {
        HostData::U32(values.iter().map(|&b| u32::from(b)).collect())
    }
    fn unpack(data: HostData) -> Option<Vec<Self>> {
        match data {
            HostData::U32(v) => Some(v.into_iter().map(|x| x != 0).collect()),
            _ => None,
        }
    }
}

/// Checks that `len` elements fill a shape of `numel`.
pub(crate) fn check_len(what: &str, len: usize, numel: usize, shape: &crate::shape::Shape) -> Result<()> {
    if len == numel {
        return Ok(());
    }
    Err(Error::argument(
        what,
        format!("{len} elements were given for shape {shape}, which holds {numel}"),
        "give as many elements as the product of the dimensions",
    ))
}
