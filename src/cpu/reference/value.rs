//! The values that the reference computes with.

#![allow(clippy::cast_possible_truncation, reason = "casts truncate and saturate, and values are rounded to their dtype")]

use crate::dtype::{DType, F16, HostData};
use crate::error::{Error, Result};
use crate::graph::GraphNode;
use crate::shape::Shape;

/// How results are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Each node's result is rounded to its dtype.
    Native,
    /// Nodes of dtype F32 keep all 64 bits, as gradient checks need.
    F64,
}

/// The elements of a value. `Bool` is `U32` of 0 and 1; all float types are `Float`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// F16, F32 and F64.
    Float(Vec<f64>),
    /// I32.
    I32(Vec<i32>),
    /// U8, U32 and Bool.
    U32(Vec<u32>),
}

/// A contiguous tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    /// The elements' type.
    pub dtype: DType,
    /// The extent.
    pub shape: Shape,
    /// The elements in row-major order.
    pub data: Numbers,
}

impl Numbers {
    /// Elements `indices[i]`, 0 where there is none.
    pub fn pick(&self, indices: &[Option<usize>]) -> Self {
        fn go<T: Copy + Default>(v: &[T], indices: &[Option<usize>]) -> Vec<T> {
            indices.iter().map(|i| i.map_or_else(T::default, |i| v[i])).collect()
        }
        match self {
            Self::Float(v) => Self::Float(go(v, indices)),
            Self::I32(v) => Self::I32(go(v, indices)),
            Self::U32(v) => Self::U32(go(v, indices)),
        }
    }

    /// The variant that holds `dtype`, converting as Rust's `as` does.
    pub fn stored_as(self, dtype: DType) -> Self {
        match (self, dtype) {
            (Self::Float(v), DType::I32) => Self::I32(v.iter().map(|&x| x as i32).collect()),
            (Self::Float(v), DType::U8) => Self::U32(v.iter().map(|&x| u32::from(x as u8)).collect()),
            (Self::I32(v), DType::U8) => Self::U32(v.iter().map(|&x| u32::from(x as u8)).collect()),
            (Self::U32(v), DType::U8) => Self::U32(v.iter().map(|&x| u32::from(x as u8)).collect()),
            (Self::Float(v), DType::U32 | DType::Bool) => Self::U32(v.iter().map(|&x| x as u32).collect()),
            (Self::I32(v), DType::U32 | DType::Bool) => Self::U32(v.iter().map(|&x| x as u32).collect()),
            (Self::I32(v), DType::F16 | DType::F32 | DType::F64) => Self::Float(v.iter().map(|&x| f64::from(x)).collect()),
            (Self::U32(v), DType::I32) => Self::I32(v.iter().map(|&x| x as i32).collect()),
            (Self::U32(v), DType::F16 | DType::F32 | DType::F64) => Self::Float(v.iter().map(|&x| f64::from(x)).collect()),
            (same, _) => same,
        }
    }
}

impl Value {
    /// A node's value from its computed numbers, rounded as `precision` says.
    pub fn of(node: &GraphNode, data: Numbers, precision: Precision) -> Self {
        let mut data = data.stored_as(node.dtype);
        if let (Numbers::Float(v), Precision::Native) = (&mut data, precision) {
            for x in v {
                *x = match node.dtype {
                    DType::F16 => f64::from(F16::from_f32(*x as f32).to_f32()),
                    DType::F32 => f64::from(*x as f32),
                    _ => *x,
                };
            }
        }
        Self { dtype: node.dtype, shape: node.shape, data }
    }

    /// A value from host memory.
    pub fn from_host(data: &HostData, dtype: DType, shape: Shape) -> Self {
        let data = match data {
            #[allow(clippy::cast_possible_truncation, reason = "the words hold no more than the elements' bits")]
            HostData::U32(v) if dtype == DType::F16 => {
                Numbers::Float(v.iter().map(|&x| f64::from(F16::from_bits(x as u16).to_f32())).collect())
            }
            HostData::U8(v) => Numbers::U32(v.iter().map(|&x| u32::from(x)).collect()),
            HostData::U32(v) => Numbers::U32(v.clone()),
            HostData::I32(v) => Numbers::I32(v.clone()),
            HostData::F16(_) | HostData::F32(_) | HostData::F64(_) => Numbers::Float(data.to_f64()),
        };
        Self { dtype, shape, data: data.stored_as(dtype) }
    }

    /// The elements as the CPU device stores the value's dtype.
    pub fn to_host(&self) -> HostData {
        match (&self.data, self.dtype) {
            (Numbers::Float(v), DType::F64) => HostData::F64(v.clone()),
            (Numbers::Float(v), DType::F16) => {
                HostData::U32(v.iter().map(|&x| u32::from(F16::from_f32(x as f32).to_bits())).collect())
            }
            (Numbers::Float(v), _) => HostData::F32(v.iter().map(|&x| x as f32).collect()),
            (Numbers::I32(v), _) => HostData::I32(v.clone()),
            (Numbers::U32(v), _) => HostData::U32(v.clone()),
        }
    }

    /// The elements of a float tensor.
    pub fn floats(&self) -> Result<&[f64]> {
        match &self.data {
            Numbers::Float(v) => Ok(v),
            _ => Err(Error::internal(format!("a float operand is {}", self.dtype))),
        }
    }

    /// The elements of an I32 tensor.
    pub fn ints(&self) -> Result<&[i32]> {
        match &self.data {
            Numbers::I32(v) => Ok(v),
            _ => Err(Error::internal(format!("an i32 operand is {}", self.dtype))),
        }
    }
}
