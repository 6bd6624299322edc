//! Element types as the safetensors format stores them: little-endian, a truth value in one byte.

use super::state_dict::HostTensor;
use crate::dtype::{DType, HostData};
use crate::error::Error;
use crate::host::{reserved, zeroed};
use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::io::{self, Read};

/// How many bytes are read or written at a time.
pub const PIECE: usize = 1 << 20;

/// An element type of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Bool,
    U8,
    F16,
    BF16,
    U32,
    I32,
    I64,
    F32,
    F64,
    /// One that has no counterpart here.
    Other(String),
}

impl Stored {
    /// From its name in the header.
    pub fn of_name(name: &str) -> Self {
        match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "F16" => Self::F16,
            "BF16" => Self::BF16,
            "U32" => Self::U32,
            "I32" => Self::I32,
            "I64" => Self::I64,
            "F32" => Self::F32,
            "F64" => Self::F64,
            other => Self::Other(other.chars().take(20).collect()),
        }
    }

    /// How our files store a type.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::Bool => Self::Bool,
            DType::U8 => Self::U8,
            DType::F16 => Self::F16,
            DType::U32 => Self::U32,
            DType::I32 => Self::I32,
            DType::F32 => Self::F32,
            DType::F64 => Self::F64,
        }
    }

    /// Bytes of an element, if they are known.
    pub fn width(&self) -> Option<u64> {
        match self {
            Self::Bool | Self::U8 => Some(1),
            Self::F16 | Self::BF16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::I64 | Self::F64 => Some(8),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::Other(name) => name,
        })
    }
}

/// Hands out a tensor's bytes as a file stores them, piece by piece.
#[track_caller]
pub fn each_piece(tensor: &HostTensor, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    if let (HostData::U32(words), DType::Bool) = (&tensor.data, tensor.dtype) {
        return words.chunks(PIECE).try_for_each(|piece| take(&piece.iter().map(|&x| u8::from(x != 0)).collect::<Vec<u8>>()));
    }
    let mut pieces = tensor.data.bytes().chunks(PIECE);
    if cfg!(target_endian = "little") {
        return pieces.try_for_each(take);
    }
    pieces.try_for_each(|piece| {
        let mut piece = piece.to_vec();
        turn(&mut piece, tensor.dtype.size());
        take(&piece)
    })
}

/// Swaps the bytes of each element, on a machine whose order is not the file's.
fn turn(bytes: &mut [u8], width: usize) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
}

/// Why a tensor's data cannot be read.
#[derive(Debug)]
pub enum Fault {
    /// The file fails, or ends early.
    Io(io::Error),
    /// What is wrong with the tensor, and what to do about it.
    Refused(String, &'static str),
    /// There is no room.
    Memory(Error),
}

/// Reads elements into vectors, and checks sums on the way.
pub struct Reading<R> {
    pub from: R,
    pub sum: crc32fast::Hasher,
}

impl<R: Read> Reading<R> {
    /// The elements of a tensor. What the crate has as it is stored goes from the file straight to its place.
    ///
    /// # Errors
    /// The file fails or ends early; the type has no counterpart; an integer is out of range; there is no room.
    #[track_caller]
    pub fn data(&mut self, dtype: &Stored, len: usize) -> Result<(DType, HostData), Fault> {
        Ok(match dtype {
            Stored::U8 => (DType::U8, HostData::U8(self.direct(len)?)),
            Stored::F16 => (DType::F16, HostData::F16(self.direct(len)?)),
            Stored::U32 => (DType::U32, HostData::U32(self.direct(len)?)),
            Stored::I32 => (DType::I32, HostData::I32(self.direct(len)?)),
            Stored::F32 => (DType::F32, HostData::F32(self.direct(len)?)),
            Stored::F64 => (DType::F64, HostData::F64(self.direct(len)?)),
            Stored::Bool => (DType::Bool, HostData::U32(self.changed(len, |[b]| Ok(u32::from(b != 0)))?)),
            // A bfloat16 is the upper half of an f32.
            Stored::BF16 => {
                let wide = |half| Ok(f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16));
                (DType::F32, HostData::F32(self.changed(len, wide)?))
            }
            Stored::I64 => {
                let narrow = |word| {
                    let x = i64::from_le_bytes(word);
                    i32::try_from(x)
                        .map_err(|_| Fault::Refused(format!("holds {x}, which does not fit in 32 bits"), "store it as i32"))
                };
                (DType::I32, HostData::I32(self.changed(len, narrow)?))
            }
            Stored::Other(name) => {
                let reason = format!("has dtype {name}, which is not supported");
                return Err(Fault::Refused(reason, "convert it to f32 or i32 first"));
            }
        })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        for piece in bytes.chunks_mut(PIECE) {
            self.from.read_exact(piece).map_err(Fault::Io)?;
            self.sum.update(piece);
        }
        Ok(())
    }

    fn direct<T: Pod + Zeroable>(&mut self, len: usize) -> Result<Vec<T>, Fault> {
        let mut data = zeroed("a tensor", len).map_err(Fault::Memory)?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut data);
        self.fill(bytes)?;
        turn(bytes, size_of::<T>());
        Ok(data)
    }

    /// Elements that are stored in `N` bytes each.
    fn changed<const N: usize, T>(&mut self, len: usize, change: impl Fn([u8; N]) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut data = reserved("a tensor", len).map_err(Fault::Memory)?;
        let mut piece = vec![0; PIECE.min(len.saturating_mul(N))];
        let mut left = len;
        while left > 0 {
            let taken = left.min(PIECE / N);
            let Some(bytes) = piece.get_mut(..taken * N) else { break };
            self.fill(bytes)?;
            for word in bytes.as_chunks::<N>().0 {
                data.push(change(*word)?);
            }
            left -= taken;
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: Stored, bytes: &[u8]) -> Result<(DType, HostData), Fault> {
        let len = bytes.len() / usize::try_from(dtype.width().unwrap_or(1)).unwrap();
        Reading { from: bytes, sum: crc32fast::Hasher::new() }.data(&dtype, len)
    }

    #[test]
    fn narrow_types_are_widened() {
        let brain = [1.5f32, -0.0, f32::INFINITY].map(|x| (x.to_bits() >> 16) as u16);
        let bytes: Vec<u8> = brain.iter().flat_map(|b| b.to_le_bytes()).collect();
        let expected = HostData::F32(vec![1.5, -0.0, f32::INFINITY]);
        assert_eq!(read(Stored::BF16, &bytes).unwrap(), (DType::F32, expected));
        assert_eq!(read(Stored::I64, &5i64.to_le_bytes()).unwrap(), (DType::I32, HostData::I32(vec![5])));
        assert!(matches!(read(Stored::I64, &i64::MAX.to_le_bytes()), Err(Fault::Refused(..))));
        assert!(matches!(read(Stored::of_name("F8_E4M3"), &[0]), Err(Fault::Refused(..))));
        assert_eq!(read(Stored::Bool, &[0, 7]).unwrap(), (DType::Bool, HostData::U32(vec![0, 1])));
    }

    #[test]
    fn tensors_longer_than_a_piece_are_read_whole() {
        for len in [PIECE / 2 - 1, PIECE / 2, PIECE / 2 + 1, PIECE + 3] {
            let bytes: Vec<u8> = (0..2 * len).map(|i| (i % 251) as u8).collect();
            let halves: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
            assert_eq!(read(Stored::F16, &bytes).unwrap().1, HostData::F16(halves.clone()));
            let wide = halves.iter().map(|&h| u32::from(h) << 16);
            let HostData::F32(found) = read(Stored::BF16, &bytes).unwrap().1 else { panic!("f32") };
            assert!(found.iter().map(|x| x.to_bits()).eq(wide), "{len}");
        }
    }
}
