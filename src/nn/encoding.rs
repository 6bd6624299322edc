//! Encodings of positions without parameters.

use super::init::Init;
use super::module::Module;
use super::summary::observe;
use crate::dtype::HostData;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::math::portable::{cos, pow, sin};
use crate::shape::{Shape, product};
use crate::tensor::Tensor;

/// Adds `sin(pos / 10000^(2i/d))` to even and `cos` of the same to odd elements of `[.., l, d]`.
///
/// Source: A. Vaswani et al., "Attention is all you need", 2017, section 3.5.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct SinusoidalEncoding {
    /// `[max_len, d]`.
    table: Tensor,
}

/// Angles `position / base^(2i/d)` of `len` positions and `d/2` frequencies, through `f`.
#[track_caller]
fn table(len: usize, d: usize, base: f64, f: impl Fn(usize, f64) -> Vec<f64>) -> Result<Vec<f64>> {
    Shape::new(&[len, d])?;
    let mut rates = reserved("an encoding's rates", d.div_ceil(2))?;
    rates.extend((0..d.div_ceil(2)).map(|i| pow(base, -2.0 * i as f64 / d as f64)));
    let mut table = reserved("an encoding's table", product(&[len, d]))?;
    for p in 0..len {
        table.extend(rates.iter().enumerate().flat_map(|(i, r)| f(i, p as f64 * r)));
    }
    Ok(table)
}

fn upload(values: Vec<f64>, shape: [usize; 2], init: &Init) -> Result<Tensor> {
    #[allow(clippy::cast_possible_truncation, reason = "tables hold single precision")]
    let values = HostData::F32(values.into_iter().map(|v| v as f32).collect());
    Ok(Tensor::from_host(values, crate::DType::F32, shape, &init.device)?.cast(init.dtype))
}

/// The rows `offset..offset + l` of a table, for an input `[.., l, d]`.
#[track_caller]
fn rows(kind: &str, table: &Tensor, x: &Tensor, d: usize, offset: usize) -> Result<Tensor> {
    let (shape, [len, _]) = (x.shape()?, table.dims::<2>()?);
    let rank = shape.rank();
    if rank < 2 || shape[rank - 1] != d {
        let reason = format!("the input {shape} does not fit an encoding of {d} elements");
        return Err(Error::argument(kind, reason, "give [.., l, d]"));
    }
    let end = offset.saturating_add(shape[rank - 2]);
    if end > len {
        let reason = format!("positions {offset}..{end} were asked for, and the table has {len}");
        return Err(Error::argument(kind, reason, "make the encoding with a larger max_len"));
    }
    Ok(table.slice(0, offset as isize, end as isize))
}

impl SinusoidalEncoding {
    /// An encoding of up to `max_len` positions for vectors of `d` elements.
    ///
    /// # Errors
    /// An impossible shape; the device is out of memory.
    #[track_caller]
    pub fn new(d: usize, max_len: usize, init: &Init) -> Result<Self> {
        let pairs = |i: usize, angle: f64| if 2 * i + 1 < d { vec![sin(angle), cos(angle)] } else { vec![sin(angle)] };
        Ok(Self { table: upload(table(max_len, d, 10_000.0, pairs)?, [max_len, d], init)? })
    }
}

impl Module for SinusoidalEncoding {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [_, d] = self.table.dims::<2>()?;
        observe(self, "SinusoidalEncoding", x + rows("SinusoidalEncoding", &self.table, x, d, 0)?)
    }
    crate::fields!(; skip table);
}

/// Settings of a [`RotaryEncoding`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotaryConfig {
    /// Angles are `position / base^(2i/d)`. Defaults to 10000.
    pub base: f64,
    /// Whether neighbouring elements turn together, rather than those that are `d/2` apart. Defaults to false.
    pub interleaved: bool,
}

impl Default for RotaryConfig {
    fn default() -> Self {
        Self { base: 10_000.0, interleaved: false }
    }
}

/// Rotates pairs of elements of queries and keys `[.., l, d]` by angles that grow with their position.
///
/// By default element i turns with element `i + d/2`, as in Hugging Face's LLaMA and GPT-NeoX; interleaved, element 2i turns
/// with 2i + 1, as in the paper and GPT-J.
///
/// Source: J. Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
#[derive(Debug)]
#[must_use = "a layer computes nothing until its forward is called"]
pub struct RotaryEncoding {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl RotaryEncoding {
    /// An encoding of up to `max_len` positions for heads of `d` elements.
    ///
    /// # Errors
    /// As [`RotaryEncoding::with`].
    #[track_caller]
    pub fn new(d: usize, max_len: usize, init: &Init) -> Result<Self> {
        Self::with(d, max_len, RotaryConfig::default(), init)
    }

    /// An encoding with its own settings.
    ///
    /// # Errors
    /// An odd `d`; a base that is not positive; an impossible shape; the device is out of memory.
    #[track_caller]
    pub fn with(d: usize, max_len: usize, config: RotaryConfig, init: &Init) -> Result<Self> {
        let RotaryConfig { base, interleaved } = config;
        if d == 0 || !d.is_multiple_of(2) || !base.is_finite() || base <= 0.0 {
            let reason = format!("{d} elements and base {base} were given");
            return Err(Error::argument("RotaryEncoding", reason, "use an even number of elements and a positive base"));
        }
        let cos = upload(table(max_len, d, base, |_, a| vec![cos(a)])?, [max_len, d / 2], init)?;
        let sin = upload(table(max_len, d, base, |_, a| vec![sin(a)])?, [max_len, d / 2], init)?;
        Ok(Self { cos, sin, interleaved })
    }

    /// Rotates `[.., l, d]`, whose first row has position `offset`.
    ///
    /// # Errors
    /// An input that does not fit; positions past `max_len`.
    #[track_caller]
    pub fn rotate(&self, x: &Tensor, offset: usize) -> Result<Tensor> {
        let [_, half] = self.cos.dims::<2>()?;
        let cos = rows("RotaryEncoding", &self.cos, x, 2 * half, offset)?;
        let sin = rows("RotaryEncoding", &self.sin, x, 2 * half, offset)?;
        let (shape, mid) = (x.shape()?, half as isize);
        let y = if self.interleaved {
            let mut dims = shape.to_vec();
            dims.pop();
            dims.extend([half, 2]);
            let pairs = x.reshape(dims);
            let (a, b) = (pairs.slice(-1, 0, 1).squeeze(-1), pairs.slice(-1, 1, 2).squeeze(-1));
            let (first, second) = (&a * &cos - &b * &sin, b * cos + a * sin);
            Tensor::stack(&[&first, &second], -1).reshape(shape)
        } else {
            let (a, b) = (x.slice(-1, 0, mid), x.slice(-1, mid, 2 * mid));
            let (first, second) = (&a * &cos - &b * &sin, b * cos + a * sin);
            Tensor::cat(&[&first, &second], -1)
        };
        y.check()?;
        Ok(y)
    }
}

impl Module for RotaryEncoding {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        observe(self, "RotaryEncoding", self.rotate(x, 0)?)
    }
    crate::fields!(interleaved; skip cos, sin);
}
