//! Distributions, all of them counter-based: pure functions of a generator's seed and draw, and of the element's index.
//! Integers and uniforms are bit-equal on every device.

use super::create::draw;
use super::{Fault, Tensor, need_axis, need_float};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::op::RandomWord;
use crate::rng::Generator;
use crate::shape::IntoShape;
use std::panic::Location;

/// # Random numbers
impl Tensor {
    /// Uniform on `[low, high)`, f32: `low + (high - low)·u`, with u as in [`Tensor::rand`], and never `high`.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::uniform([1000], -1.0, 3.0, &Generator::new(0), &device)?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|u| (-1.0..3.0).contains(u)));
    /// assert!((x.mean().item()? - 1.0).abs() < 0.2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Bounds that are not finite, not in order, or equal, as f32; as [`Tensor::random_bits`].
    #[allow(clippy::cast_possible_truncation, reason = "random numbers have single precision, and fewer than 2^31 positions")]
    #[track_caller]
    pub fn uniform(shape: impl IntoShape, low: f64, high: f64, generator: &Generator, device: &Device) -> Result<Self> {
        let (lo, hi) = (low as f32, high as f32);
        if !(lo < hi && (hi - lo).is_finite()) {
            let reason = format!("{low} and {high} are not the ends of a finite range");
            return Err(Error::argument("uniform", reason, "give finite bounds, the lower one first"));
        }
        let scaled = Self::rand(shape, generator, device)? * f64::from(hi - lo);
        // A device may fuse a product and a sum, and round once where another rounds twice: not through a maximum.
        let scaled = scaled.maximum(&scaled.scalar_like(0.0)) + f64::from(lo);
        Ok(scaled.minimum(&scaled.scalar_like(f64::from(hi.next_down()))))
    }

    /// Normal with this mean and standard deviation, f32: `mean + std·n`, with n as in [`Tensor::randn`].
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::normal([1000], 5.0, 2.0, &Generator::new(0), &device)?;
    /// assert!((x.mean().item()? - 5.0).abs() < 0.2);
    /// assert!((x.std().item()? - 2.0).abs() < 0.2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A standard deviation that is negative or NaN; as [`Tensor::random_bits`].
    #[track_caller]
    pub fn normal(shape: impl IntoShape, mean: f64, std: f64, generator: &Generator, device: &Device) -> Result<Self> {
        if std.is_nan() || std < 0.0 {
            let reason = format!("{std} is not a standard deviation");
            return Err(Error::argument("normal", reason, "use std >= 0"));
        }
        Ok(Self::randn(shape, generator, device)? * std + mean)
    }

    /// 1 with probability p, else 0: f32, bit-equal on every device.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let (device, generator) = (Device::cpu()?, Generator::new(1));
    /// let coins = Tensor::bernoulli([1000], 0.25, &generator, &device)?;
    /// assert!((coins.sum().item()? - 250.0).abs() < 60.0);
    /// let dice = Tensor::randint([1000], 1, 7, &generator, &device)?;
    /// assert_eq!((dice.min().item()?, dice.max().item()?), (1.0, 6.0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A p outside 0..=1; as [`Tensor::random_bits`].
    #[track_caller]
    pub fn bernoulli(shape: impl IntoShape, p: f64, generator: &Generator, device: &Device) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument("bernoulli", format!("p = {p} is not a probability"), "use 0 <= p <= 1"));
        }
        let bits = Self::random_bits(shape, generator, device)?;
        // Probabilities below 1 that round to 2³² of 2³² times have no u32.
        let threshold = (p * 4_294_967_296.0).floor();
        if threshold > f64::from(u32::MAX) {
            return Ok(bits.ones_like().cast(DType::F32));
        }
        Ok(bits.lt(&bits.scalar_like(threshold)).cast(DType::F32))
    }

    /// Integers in `low..high`, i32, bit-equal on every device. The bias is below 2⁻³².
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let dice = Tensor::randint([100], 1, 7, &Generator::new(0), &device)?.to_vec::<i32>()?;
    /// assert_eq!((dice.iter().min(), dice.iter().max()), (Some(&1), Some(&6)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Bounds that are not in order, or more than `i32::MAX` apart; as [`Tensor::random_bits`].
    #[track_caller]
    pub fn randint(shape: impl IntoShape, low: i32, high: i32, generator: &Generator, device: &Device) -> Result<Self> {
        let Some(span) = high.checked_sub(low).filter(|&s| s > 0) else {
            let reason = format!("{low}..{high} is not a range of 1 to {} integers", i32::MAX);
            return Err(Error::argument("randint", reason, "give the lower bound first; the upper one is left out"));
        };
        let shape = shape.into_shape()?;
        let key = draw(generator);
        let word = |w| Self::random_word(w, shape, key, device);
        // ⌊w·span / 2⁶⁴⌋ for the 64-bit word w, which has `high` above `low`.
        let (high, below) = (word(RandomWord::First), word(RandomWord::Second));
        let span = high.scalar_like(f64::from(span));
        let carried = &high * &span + high_product(&below, &span);
        let carry = carried.lt(&(&high * &span)).cast(DType::U32);
        Ok((high_product(&high, &span) + carry).cast(DType::I32) + f64::from(low))
    }

    /// `0..n` in random order, i32, equal on every device: an exact Fisher-Yates shuffle on the host.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let mut order = Tensor::permutation(5, &Generator::new(0), &device)?.to_vec::<i32>()?;
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// More than `i32::MAX` numbers; out of memory.
    #[allow(clippy::cast_possible_truncation, reason = "random numbers have single precision, and fewer than 2^31 positions")]
    #[track_caller]
    pub fn permutation(n: usize, generator: &Generator, device: &Device) -> Result<Self> {
        // The top bit keeps these streams apart from those that callers of `Generator::permutation` number.
        if i32::try_from(n).is_err() {
            return Err(Error::argument("permutation", format!("{n} numbers are too many"), "use at most i32::MAX"));
        }
        let order = generator.permutation(n, generator.draw() | 1 << 63)?;
        // Below n, which an i32 counts.
        let order: Vec<i32> = order.into_iter().map(|i| i as i32).collect();
        Self::from_slice(&order, [n], device)
    }

    /// One index along an axis, i32, with probability `softmax(self)`: the tensor holds logits (for probabilities, take their
    /// [`Tensor::log`]). The axis is dropped.
    ///
    /// It is the index of the largest `x - ln(-ln u)` with u on a grid of 2⁻²³, so probabilities below 1e-6 or so are coarse.
    /// Devices agree except where two choices are within rounding. Source: Gumbel, 1954.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let p = Tensor::from_slice(&[0.0f32, 1.0, 0.5, 0.5], [2, 2], &device)?;
    /// let drawn = p.log().categorical(1, &Generator::new(0)).to_vec::<i32>()?;
    /// assert!(drawn[0] == 1 && [0, 1].contains(&drawn[1]));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn categorical(&self, axis: isize, generator: &Generator) -> Self {
        Self::guard("categorical", &[self], Location::caller(), |n| {
            need_float(n[0])?;
            let axis = need_axis(&n[0].shape, axis)?;
            if n[0].shape[axis] == 0 {
                return Err(Fault::shape(format!("axis {axis} has no elements"), "give at least one choice"));
            }
            let bits = match Self::random_bits(n[0].shape, generator, &n[0].device) {
                Ok(bits) => bits,
                Err(error) => return Ok(Self::from_error(error)),
            };
            // Multiples of 2⁻²³ plus a half: neither 0 nor 1, and exact.
            let u = ((bits / f64::from(1u32 << 9)).cast(n[0].dtype) + 0.5) * (1.0 / f64::from(1u32 << 23));
            Ok((self - (-u.log()).log()).argmax_dim(axis as isize))
        })
    }
}

/// `⌊a·b / 2³²⌋` of u32, by halves: no product passes 32 bits.
fn high_product(a: &Tensor, b: &Tensor) -> Tensor {
    let half = f64::from(1u32 << 16);
    let split = |x: &Tensor| (x / half, x.logical_and(&x.scalar_like(half - 1.0)));
    let ((a1, a0), (b1, b0)) = (split(a), split(b));
    let middle = &a1 * &b0 + &a0 * &b0 / half;
    let low = &a0 * &b1 + middle.logical_and(&middle.scalar_like(half - 1.0));
    a1 * b1 + middle / half + low / half
}
