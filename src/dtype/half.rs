//! IEEE 754 half precision: one sign bit, five of exponent, ten of mantissa.

/// A half-precision number on the host, to upload and read F16 tensors with.
///
/// ```
/// # use wgrad::{DType, Device, Tensor, dtype::F16};
/// # fn main() -> wgrad::Result<()> {
/// let x = Tensor::from_slice(&[0.1, 65504.0, 65520.0].map(F16::from_f32), [3], &Device::cpu()?)?;
/// assert_eq!(x.dtype()?, DType::F16);
/// assert_eq!(x.cast(DType::F32).to_vec::<f32>()?, [0.099975586, 65504.0, f32::INFINITY]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct F16(u16);

impl F16 {
    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The number's bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest half-precision number, ties to even; infinite from ±65,520 on, a subnormal or ±0 below 2⁻¹⁴. NaN stays NaN.
    #[allow(clippy::cast_possible_truncation, reason = "the word holds 16 bits")]
    pub const fn from_f32(x: f32) -> Self {
        let sign = (x.to_bits() >> 16) & 0x8000;
        let magnitude = x.to_bits() & 0x7FFF_FFFF;
        let bits = match magnitude {
            // A NaN keeps its upper bits, and is quiet, since those may be 0.
            0x7F80_0001.. => 0x7E00 | ((magnitude >> 13) & 0x3FF),
            0x477F_F000.. => 0x7C00,
            // The exponent's bias changes from 127 to 15. A carry out of the mantissa increments the exponent, as it should.
            0x3880_0000.. => round_off(magnitude - (112 << 23), 13),
            // Units of 2^-24. Less than half of one is 0.
            0x3300_0000.. => round_off((magnitude & 0x7F_FFFF) | 0x80_0000, 126 - (magnitude >> 23)),
            _ => 0,
        };
        Self((sign | bits) as u16)
    }

    /// The same number in single precision: exact, and NaN keeps its payload.
    pub fn to_f32(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let magnitude = u32::from(self.0 & 0x7FFF);
        let bits = match magnitude {
            0x7C00.. => 0x7F80_0000 | ((magnitude & 0x3FF) << 13),
            0x0400.. => (magnitude << 13) + (112 << 23),
            // Subnormal: units of 2^-24. The product is exact.
            _ => (f32::from(self.0 & 0x3FF) * (1.0 / 16_777_216.0)).to_bits(),
        };
        f32::from_bits(sign | bits)
    }
}

/// `x / 2^shift`, to the nearest, ties to even.
const fn round_off(x: u32, shift: u32) -> u32 {
    let down = x >> shift;
    let rest = x & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    down + (rest > half || (rest == half && down & 1 == 1)) as u32
}

impl From<F16> for f32 {
    fn from(x: F16) -> Self {
        x.to_f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_both_ways() {
        for bits in 0..=u16::MAX {
            let wide = F16::from_bits(bits).to_f32();
            if wide.is_nan() {
                assert!(F16::from_f32(wide).to_f32().is_nan(), "{bits:#x}");
            } else {
                assert_eq!(F16::from_f32(wide).to_bits(), bits, "{wide:e}");
            }
        }
    }

    #[test]
    fn neighbours_and_ties_round_to_nearest_even() {
        for bits in 0..0x7C00u16 {
            // The next number after the largest finite one would be 65,536, if there were one.
            let next = if bits == 0x7BFF { 65536.0 } else { F16::from_bits(bits + 1).to_f32() };
            let tie = (F16::from_bits(bits).to_f32() + next) / 2.0;
            let even = bits + (bits & 1);
            for (x, expected) in [(tie.next_down(), bits), (tie, even), (tie.next_up(), bits + 1)] {
                assert_eq!(F16::from_f32(x).to_bits(), expected, "{x:e}");
                assert_eq!(F16::from_f32(-x).to_bits(), expected | 0x8000, "-{x:e}");
            }
        }
        assert_eq!(F16::from_f32(f32::MAX).to_bits(), 0x7C00);
        assert_eq!(F16::from_f32(f32::from_bits(1)).to_bits(), 0);
    }
}
