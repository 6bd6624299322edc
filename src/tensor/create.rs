//! Making tensors: from host data, constant, counted, random.

use super::Tensor;
use crate::device::Device;
use crate::dtype::{DType, Element, HostData};
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::graph::op::RandomWord;
use crate::host::had_room;
use crate::lazy::Origin;
use crate::lazy::Payload;
use crate::rng::Generator;
use crate::rng::RandomKey;
use crate::shape::{IntoShape, Shape};
use crate::storage::Storage;
use std::sync::Arc;

/// # Creation
impl Tensor {
    /// A tensor from host elements in row-major order.
    ///
    /// ```
    /// # use wgrad::{DType, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::from_slice(&[1, 2, 3, 4, 5, 6], [2, 3], &device)?;
    /// assert_eq!((x.dtype()?, x.dim(0)?, x.dim(1)?), (DType::I32, 2, 3));
    /// assert!(Tensor::from_slice(&[1.0f32, 2.0], [3], &device).is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A number of elements that does not fill the shape; f64 on a GPU; out of memory.
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl IntoShape, device: &Device) -> Result<Self> {
        let shape = shape.into_shape()?;
        shape.check_len("from_slice", values.len())?;
        match T::bytes(values).filter(|_| !keeps(T::DTYPE, device)) {
            Some(bytes) if !device.is_cpu() => {
                need_dtype(T::DTYPE, device)?;
                Self::uploaded(device.upload_bytes(bytes)?, Origin::Host(Arc::default()), T::DTYPE, shape, device)
            }
            _ => {
                // Elements of storage types have a word each.
                device.expect_upload(values.len() as u64 * size_of::<T>().max(4) as u64)?;
                Self::from_host(had_room(T::pack(values), "a tensor", T::DTYPE, values.len())?, T::DTYPE, shape, device)
            }
        }
    }

    /// A tensor from typed host data. `Bool` data is `HostData::U32` of zeros and ones.
    ///
    /// ```
    /// # use wgrad::{DType, Device, HostData, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let truths = Tensor::from_host(HostData::U32(vec![1, 0]), DType::Bool, [2], &device)?;
    /// assert_eq!(truths.to_vec::<bool>()?, [true, false]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::from_slice`]; data whose type is not `dtype`.
    #[track_caller]
    pub fn from_host(data: HostData, dtype: DType, shape: impl IntoShape, device: &Device) -> Result<Self> {
        let shape = shape.into_shape()?;
        shape.check_len("from_host", data.len())?;
        need_dtype(dtype, device)?;
        if !data.is_of(dtype) {
            return Err(Error::argument("from_host", format!("the data is not {dtype}"), "give data of the tensor's dtype"));
        }
        if device.is_cpu() {
            return Self::uploaded(device.upload(data)?, Origin::Host(Arc::default()), dtype, shape, device);
        }
        let storage = device.upload_bytes(data.bytes())?;
        let origin = if keeps(dtype, device) { Origin::kept(data) } else { Origin::Host(Arc::default()) };
        Self::uploaded(storage, origin, dtype, shape, device)
    }

    fn uploaded(storage: Storage, origin: Origin, dtype: DType, shape: Shape, device: &Device) -> Result<Self> {
        let tensor = Self::source(Op::Data, shape, dtype, device, Payload::None);
        let mut state = tensor.node()?.state();
        (state.value, state.origin) = (Some(storage), origin);
        drop(state);
        Ok(tensor)
    }

    /// A scalar of shape `[]`, f32.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::scalar(2.5, &device)?;
    /// assert_eq!((x.shape()?.rank(), x.item()?), (0, 2.5));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// None at present; it returns a `Result`, as all creation does.
    #[track_caller]
    pub fn scalar(value: f64, device: &Device) -> Result<Self> {
        Ok(Self::source(Op::Scalar, Shape::SCALAR, DType::F32, device, Payload::Scalar(value)))
    }

    /// Every element is `value`, f32. Takes no memory until it is read.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::full([3], 0.5, &device)?.to_vec::<f32>()?, [0.5, 0.5, 0.5]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An impossible shape.
    #[track_caller]
    pub fn full(shape: impl IntoShape, value: f64, device: &Device) -> Result<Self> {
        Self::full_of(shape, value, DType::F32, device)
    }

    /// Every element is `value`, rounded to `dtype`: for integers towards 0.
    ///
    /// ```
    /// # use wgrad::{DType, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::full_of([2], -2.9, DType::I32, &device)?.to_vec::<i32>()?, [-2, -2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An impossible shape; f64 on a GPU.
    #[track_caller]
    pub fn full_of(shape: impl IntoShape, value: f64, dtype: DType, device: &Device) -> Result<Self> {
        need_dtype(dtype, device)?;
        let shape = shape.into_shape()?;
        let scalar = Self::source(Op::Scalar, Shape::SCALAR, counted_in(dtype), device, Payload::Scalar(value));
        Ok(scalar.cast(dtype).broadcast_to(shape))
    }

    /// Zeros, f32.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::zeros([2, 2], &device)?.to_vec::<f32>()?, [0.0; 4]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::full`].
    #[track_caller]
    pub fn zeros(shape: impl IntoShape, device: &Device) -> Result<Self> {
        Self::full(shape, 0.0, device)
    }

    /// Ones, f32.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::ones([2, 3], &device)?.to_vec::<f32>()?, [1.0; 6]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::full`].
    #[track_caller]
    pub fn ones(shape: impl IntoShape, device: &Device) -> Result<Self> {
        Self::full(shape, 1.0, device)
    }

    /// `start, start + step, ...` below (for a negative step: above) `stop`, f32: `⌈(stop - start) / step⌉` elements.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// let t = Tensor::arange(1.0, 2.0, 0.25, &Device::cpu()?)?;
    /// assert_eq!(t.to_vec::<f32>()?, [1.0, 1.25, 1.5, 1.75]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A step of 0, or bounds that are not finite.
    #[allow(clippy::cast_possible_truncation, reason = "a count; too large ones saturate and are refused as shapes")]
    #[track_caller]
    pub fn arange(start: f64, stop: f64, step: f64, device: &Device) -> Result<Self> {
        let count = ((stop - start) / step).ceil();
        if !count.is_finite() || count > f64::from(u32::MAX) {
            let reason = format!("from {start} to {stop} in steps of {step} is not a finite range");
            return Err(Error::argument("arange", reason, "use finite bounds and a step other than 0"));
        }
        // Checked above to be within u32.
        let len = count.max(0.0) as usize;
        let index = Self::iota(len, DType::F32, device)?;
        Ok(index * step + start)
    }

    /// `0, 1, .. len - 1` in a dtype.
    ///
    /// ```
    /// # use wgrad::{DType, Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::iota(4, DType::I32, &device)?.to_vec::<i32>()?, [0, 1, 2, 3]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// f64 on a GPU; an impossible length; more integers than the dtype can count.
    #[track_caller]
    pub fn iota(len: usize, dtype: DType, device: &Device) -> Result<Self> {
        need_dtype(dtype, device)?;
        // The last number must fit; floats round.
        let most: u64 = match dtype {
            DType::I32 => 1 << 31,
            DType::U32 => 1 << 32,
            _ => u64::MAX,
        };
        if len as u64 > most {
            let reason = format!("{len} numbers from 0 on do not fit {dtype}");
            return Err(Error::argument("iota", reason, format!("count to {most} at most")));
        }
        Ok(Self::source(Op::Iota, Shape::new(&[len])?, counted_in(dtype), device, Payload::None).cast(dtype))
    }

    /// The identity matrix, f32 `[n, n]`.
    ///
    /// ```
    /// # use wgrad::{Device, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// assert_eq!(Tensor::eye(2, &device)?.to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An impossible size.
    #[track_caller]
    pub fn eye(n: usize, device: &Device) -> Result<Self> {
        let row = Self::iota(n, DType::I32, device)?.reshape([n, 1]);
        let col = Self::iota(n, DType::I32, device)?.reshape([1, n]);
        Ok(row.eq(&col).cast(DType::F32))
    }

    /// Random bits, u32: Threefry-2x32-20 of the generator's seed and next offset, and each element's index. Bit-equal on
    /// every device.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let bits = |seed| Tensor::random_bits([4], &Generator::new(seed), &device)?.to_vec::<u32>();
    /// assert_eq!(bits(7)?, bits(7)?);
    /// assert_ne!(bits(7)?, bits(8)?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// An impossible shape, or more than 2³² elements.
    #[track_caller]
    pub fn random_bits(shape: impl IntoShape, generator: &Generator, device: &Device) -> Result<Self> {
        let shape = shape.into_shape()?;
        Ok(Self::random_word(RandomWord::First, shape, draw(generator), device))
    }

    /// Uniform on `[0, 1)`, f32: multiples of 2⁻²⁴, bit-equal on every device.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::rand([1000], &Generator::new(0), &device)?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|u| (0.0..1.0).contains(u)));
    /// assert!((x.mean().item()? - 0.5).abs() < 0.05);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::random_bits`].
    #[track_caller]
    pub fn rand(shape: impl IntoShape, generator: &Generator, device: &Device) -> Result<Self> {
        Ok(Self::random_bits(shape, generator, device)?.unit_interval())
    }

    /// Standard normal, f32, by the Box-Muller transform: `√(-2 ln u) cos(2πv)`. Devices agree to about 1e-5.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::randn([1000], &Generator::new(0), &device)?;
    /// assert!(x.mean().item()?.abs() < 0.1);
    /// assert!((x.std().item()? - 1.0).abs() < 0.1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::random_bits`].
    #[track_caller]
    pub fn randn(shape: impl IntoShape, generator: &Generator, device: &Device) -> Result<Self> {
        let shape = shape.into_shape()?;
        let key = draw(generator);
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let u = 1.0 - Self::random_word(RandomWord::First, shape, key, device).unit_interval();
        let v = Self::random_word(RandomWord::Second, shape, key, device).unit_interval();
        Ok((u.log() * -2.0).sqrt() * (v * std::f64::consts::TAU).cos())
    }

    /// [`Tensor::rand`] in this tensor's shape and device: in its dtype if that is floating-point, else f32.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// let x = Tensor::zeros([2, 3], &device)?;
    /// let noise = x.rand_like(&Generator::new(0));
    /// assert_eq!(noise.to_vec::<f32>()?, Tensor::rand([2, 3], &Generator::new(0), &device)?.to_vec::<f32>()?);
    /// # Ok(()) }
    /// ```
    pub fn rand_like(&self, generator: &Generator) -> Self {
        self.drawn_like(|shape, device| Self::rand(shape, generator, device))
    }

    /// [`Tensor::randn`] in this tensor's shape and device: in its dtype if that is floating-point, else f32.
    ///
    /// ```
    /// # use wgrad::{Device, Generator, Tensor};
    /// # fn main() -> wgrad::Result<()> {
    /// # let device = Device::cpu()?;
    /// // A sample of a normal distribution through which gradients flow to the mean and to the logarithm of the variance.
    /// let (mean, log_var) = (Tensor::zeros([4, 8], &device)?, Tensor::zeros([4, 8], &device)?);
    /// let z = &mean + (&log_var * 0.5).exp() * mean.randn_like(&Generator::new(0));
    /// assert_eq!(z.to_vec::<f32>()?, Tensor::randn([4, 8], &Generator::new(0), &device)?.to_vec::<f32>()?);
    /// # Ok(()) }
    /// ```
    pub fn randn_like(&self, generator: &Generator) -> Self {
        self.drawn_like(|shape, device| Self::randn(shape, generator, device))
    }

    fn drawn_like(&self, draw: impl FnOnce(Shape, &Device) -> Result<Self>) -> Self {
        let drawn = || {
            let (shape, dtype) = (self.shape()?, self.dtype()?);
            let drawn = draw(shape, &self.device()?)?;
            Ok(if dtype.is_float() { drawn.cast(dtype) } else { drawn })
        };
        drawn().unwrap_or_else(|error: Error| Self::from_error(error))
    }

    /// One word of each element's Threefry block.
    pub(super) fn random_word(word: RandomWord, shape: Shape, key: RandomKey, device: &Device) -> Self {
        Self::source(Op::Random(word), shape, DType::U32, device, Payload::Random(key))
    }

    /// U32 bits to multiples of 2⁻²⁴ below 1: the top 24 bits.
    fn unit_interval(&self) -> Self {
        let top = self / f64::from(1u32 << 8);
        top.cast(DType::F32) * (1.0 / f64::from(1u32 << 24))
    }
}

/// The key of a generator's next draw.
pub(super) fn draw(generator: &Generator) -> RandomKey {
    let (key, offset) = generator.counter();
    RandomKey { key, offset }
}

/// The dtype that numbers of the host take in ops with tensors of `dtype`: no source is of a storage type.
pub(super) const fn counted_in(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::U8 => DType::F32,
        other => other,
    }
}

/// Whether the host keeps what it uploads: it may be an index, and reading a GPU's memory takes long.
fn keeps(dtype: DType, device: &Device) -> bool {
    matches!(dtype, DType::I32 | DType::U32) && !device.is_cpu()
}

/// Faults on a dtype that the device does not have.
pub(super) fn need_dtype(dtype: DType, device: &Device) -> Result<()> {
    if dtype == DType::F64 && !device.is_cpu() {
        return Err(Error::Unsupported {
            op: "f64",
            reason: format!("{device} has no 64-bit floats"),
            help: "use f32, or the CPU device".into(),
        });
    }
    Ok(())
}
